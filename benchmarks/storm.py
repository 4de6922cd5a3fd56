"""Cut the connections of all clients at once and let them come back: ``python benchmarks/storm.py``.

Every client presents its pid and the offset of the last event that it has had, as the official one does, while the
server goes on emitting. It is counted which of them start anew, and which events come twice or never. See
``benchmarks/README.md``.
"""

from __future__ import annotations

import argparse
import base64
import heapq
import json
import os
import random
import select
import socket
import struct
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from generator import HANDSHAKE, Client, Generator, frame
from process import pin_generator, running
from run import NODE, Command, Figures, commands, medians_of, table, write_json

from flask_socketio_core.testing.ports import free_port

SERVERS = ("ours-gevent", "ours-threading", "ours-gunicorn-gthread", NODE)
CLIENTS_PER_ROOM = 100
WARM_S, CALM_S, AFTER_S = 2.0, 5.0, 2.0
"""How long events flow before anything is measured, then without a cut, and when all are back, seconds."""
RETRY_S = 1.0
"""When a client tries again whose connection was refused. Source: socket.io-client, ``reconnectionDelay``."""
ALL = -1
"""Stands for the room of events that are for all."""


@dataclass(slots=True)
class Member(Client):
    """A client with one connection after the other.

    :param number: among the clients.
    :param room: the one that it is in.
    :param due: the number of the event that comes next to it, by room.
    :param due_at_cut: what it was when its connection was cut.
    :param missing: the newest events that others had when it came back, by room; empty once it has these, too.
    """

    number: int = 0
    room: int = 0
    connecting: bool = True
    upgraded: bool = False
    entered: bool = False
    ended: bool = False
    pid: str = ""
    offset: str = ""
    due: dict[int, int] = field(default_factory=dict)
    due_at_cut: dict[int, int] = field(default_factory=dict)
    missing: dict[int, int] = field(default_factory=dict)
    began_s: float = 0.0


class Storm(Generator):
    """Clients of one server that lose their connections all at once.

    :param port: on 127.0.0.1.
    """

    def __init__(self, port: int, count: int) -> None:
        super().__init__(port)
        self.rooms = max(count // CLIENTS_PER_ROOM, 1)
        self.members = [
            Member(socket.socket(), number=number, room=number % self.rooms) for number in range(count)
        ]
        for member in self.members:
            member.due = {ALL: 0, member.room: 0}
        self.faults: Counter[str] = Counter()
        self.retries = 0
        self.missed = 0
        """Events that clients have had again or late, since they were away."""
        self.back_s: list[float] = []
        """How long each client took from its attempt until it had what it had missed, seconds."""
        self._newest = dict.fromkeys((ALL, *range(self.rooms)), -1)
        self._attempts: list[tuple[float, int]] = []

    def join(self) -> None:
        """Connect all clients, 50 at a time, and have them enter their rooms."""
        for start in range(0, len(self.members), 50):
            some = self.members[start : start + 50]
            for member in some:
                self._attempt(member)
            self.until(lambda some=some: all(member.entered for member in some))  # type: ignore[misc]  # bound default

    def say(self, text: bytes) -> None:
        """Have one client send an event."""
        self.members[0].sock.send(frame(text))

    def pause(self, seconds: float) -> None:
        """Read what comes."""
        until_s = time.perf_counter() + seconds
        self.until(lambda: time.perf_counter() >= until_s)

    def cut(self, within_s: float) -> None:
        """Reset all connections, and let each client come back at some moment of so many seconds."""
        for member in self.members:
            self._abandon(member)
            member.due_at_cut = dict(member.due)
            member.began_s = time.perf_counter() + random.uniform(0, within_s)
            heapq.heappush(self._attempts, (member.began_s, member.number))

    def until(self, done: Callable[[], bool], timeout_s: float = 120) -> None:
        """Read until something is the case."""
        self._loop(self._on_text, done, timeout_s)

    def _once(self, on_text: Callable[[Client, bytes], None], timeout_s: float) -> None:
        while self._attempts and self._attempts[0][0] <= time.perf_counter():
            self._attempt(self.members[heapq.heappop(self._attempts)[1]])
        for fd, _ in self._poll.poll(min(timeout_s, 0.002 if self._attempts else 0.05)):
            member = self.clients[fd]
            assert isinstance(member, Member)
            try:
                self._go_on(member)
            except ConnectionError:
                if member.joined:  # nothing was to end it
                    raise
                self._try_again(member)

    def _attempt(self, member: Member) -> None:
        sock = member.sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        member.connecting, member.upgraded, member.joined, member.rest = True, False, False, b""
        sock.connect_ex(("127.0.0.1", self.port))
        self.clients[sock.fileno()] = member
        self._poll.register(sock.fileno(), select.EPOLLOUT)

    def _try_again(self, member: Member) -> None:
        self.retries += 1
        self._abandon(member)
        heapq.heappush(self._attempts, (time.perf_counter() + RETRY_S, member.number))

    def _abandon(self, member: Member) -> None:
        member.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # with a reset
        self.drop(member)

    def _go_on(self, member: Member) -> None:
        if member.connecting:
            if error := member.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise ConnectionError(os.strerror(error))
            member.connecting = False
            key = base64.b64encode(os.urandom(16)).decode()
            member.sock.send(HANDSHAKE.format(port=self.port, key=key).encode())
            self._poll.modify(member.sock.fileno(), select.EPOLLIN)
            return
        data = member.sock.recv(262_144)
        if not data:
            raise ConnectionError("the server closed a connection")
        if not member.upgraded:
            head, end, data = (member.rest + data).partition(b"\r\n\r\n")
            if not end:
                member.rest = head
                return
            if b" 101 " not in head.split(b"\r\n")[0]:
                raise ConnectionError(head.decode(errors="replace"))
            member.upgraded, member.rest = True, b""
        self._take(member, data, self._on_text)

    def _on_text(self, client: Client, text: bytes) -> None:
        assert isinstance(client, Member)
        if text[:8] == b'42["tick':
            _, room, seq, _, client.offset = json.loads(text[2:])
            self._count(client, room, seq)
        elif text[:1] == b"0":
            auth = {"pid": client.pid, "offset": client.offset} if client.pid else {}
            client.sock.send(frame(b"40" + json.dumps(auth).encode()))
        elif text[:2] == b"40":
            self._on_connected(client, json.loads(text[2:])["pid"])
        elif text[:3] == b"430":
            client.entered = True
        elif text[:7] == b'42["end':
            self._end(client, json.loads(text[2:])[1])

    def _on_connected(self, member: Member, pid: str) -> None:
        member.joined = True
        if not member.entered:
            member.pid = pid
            member.sock.send(frame(b'420["enter",%d]' % member.room))
            return
        self.faults["anew"] += pid != member.pid
        member.pid = pid
        member.missing = {room: self._newest[room] for room in member.due}
        self._find_complete(member)

    def _count(self, member: Member, room: int, seq: int) -> None:
        due = member.due[room]
        if seq < due:
            self.faults["twice"] += 1
            return
        self.faults["lost"] += seq - due
        member.due[room] = seq + 1
        self._newest[room] = max(self._newest[room], seq)
        if member.missing:
            self._find_complete(member)

    def _find_complete(self, member: Member) -> None:
        if all(member.due[room] > newest for room, newest in member.missing.items()):
            member.missing = {}
            self.back_s.append(time.perf_counter() - member.began_s)
            self.missed += sum(member.due.values()) - sum(member.due_at_cut.values())

    def _end(self, member: Member, count: int) -> None:
        member.ended = True
        first_of = {ALL: (0, 25), member.room: (member.room, self.rooms)}
        for room, (first, step) in first_of.items():
            self.faults["lost"] += len(range(first, count, step)) - member.due[room]


def measure(command: Command, clients: int, within_s: float, log: Path) -> Figures:
    """Have one server live through one storm."""
    with running(command.words, free_port(), log=log, env={**command.env, "APP_RECOVERY": "120"}) as server:
        storm = Storm(server.port, clients)
        try:
            storm.join()
            storm.say(b'42["flow",%d]' % storm.rooms)
            storm.pause(WARM_S)
            begin = server.usage()
            storm.pause(CALM_S)
            before = server.usage()
            server.forget_peak()
            cut_s = time.perf_counter()
            storm.cut(within_s)
            storm.until(lambda: len(storm.back_s) == clients)
            took_s = time.perf_counter() - cut_s
            used_s = server.usage().cpu_s - before.cpu_s
            peak_kb = server.peak_kb()
            storm.pause(AFTER_S)
            storm.say(b'42["stop"]')
            storm.until(lambda: all(member.ended for member in storm.members))
        finally:
            storm.close()
    ranked = sorted(storm.back_s)
    return {
        "all_back_s": took_s,
        "cpu_s": used_s,
        "calm_cores": (before.cpu_s - begin.cpu_s) / CALM_S,
        "back_p50_ms": ranked[len(ranked) // 2] * 1e3,
        "back_p99_ms": ranked[len(ranked) * 99 // 100] * 1e3,
        "before_mb": before.rss_kb / 1024,
        "peak_mb": peak_kb / 1024,
        "missed": storm.missed / clients,
        "retries": storm.retries,
        **{name: storm.faults[name] for name in ("anew", "lost", "twice")},
    }


def main() -> None:
    """Parse the command line, measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=5000)
    parser.add_argument("--within", type=float, default=5.0, help="seconds in which all of them come back")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=SERVERS, help="names of servers")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    args = parser.parse_args()
    pin_generator()
    runs: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in args.only}
    log = Path(tempfile.mkdtemp(prefix="storm-")) / "servers.log"
    for round_ in range(args.repeat):
        for name in args.only:
            figures = measure(commands()[name], args.clients, args.within, log)
            shown = ", ".join(f"{column} {value:.4g}" for column, value in figures.items())
            print(f"round {round_ + 1} of {args.repeat}: {name}: {shown}", file=sys.stderr, flush=True)
            for column, value in figures.items():
                runs[name][column].append(value)
    medians = medians_of(runs)
    print(table(medians))
    if args.json is not None:
        write_json(args.json, clients=args.clients, within_s=args.within, medians=medians, runs=runs)
    for name, columns in runs.items():
        faults = {column: values for column in ("anew", "lost", "twice") if any(values := columns[column])}
        if faults:
            raise SystemExit(f"{name} has not recovered all: {faults}; its log: {log}")


if __name__ == "__main__":
    main()
