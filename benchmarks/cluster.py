"""What servers know together costs: presence with people who come and go, and questions to all servers.

Start Redis with ``make brokers KINDS=redis``, then ``python benchmarks/cluster.py redis://...``; see
``benchmarks/README.md``. Servers of ours in processes of their own, clients over WebSocket, and one more subscriber on
the servers' channel, which counts what they say.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from generator import Client, Generator
from process import PARTS, Server, pin_generator, running
from run import SERVERS_DIR, Figures, medians_of, write_json

from flask_socketio_core.testing.ports import free_port

PATIENCE_S = 120.0
IDLE_S = 4.0
"""For so long the servers are watched with nothing to do: heartbeats, their own and the clients'."""
SETTLED_S = 1.0
"""Until what was changed last has been told: twice the time between two batches of presence, and slack."""


@dataclass(frozen=True, slots=True)
class Crowd:
    """Users who are shown, spread over rooms, and how fast they come and go.

    :param listed: most users of a room whose clients are told of one by one; in a larger one they are told the number.
    :param per_s: changes a second.
    :param changes: how many in all.
    """

    users: int
    rooms: int
    listed: int
    per_s: int
    changes: int

    def __str__(self) -> str:
        size = self.users // self.rooms
        how = "" if self.rooms > 1 else ", counted" if size > self.listed else ", listed"
        return f"{self.users} users in {self.rooms} room{'s' * (self.rooms > 1)}{how}, {self.per_s}/s"


CROWDS = [
    Crowd(100, 5, 200, 4, 60),
    Crowd(1000, 50, 200, 4, 60),
    Crowd(4000, 200, 200, 4, 60),
    Crowd(1000, 50, 200, 100, 1000),
    Crowd(1000, 1, 200, 4, 60),
    Crowd(1000, 1, 200, 100, 1000),
    Crowd(1000, 1, 2000, 4, 60),
    Crowd(1000, 1, 2000, 100, 1000),
]
#: How often each question is asked in one round, once before it is measured.
QUESTIONS = {
    "count": 50,
    "count_rooms": 10,
    "who, first 100": 20,
    "who, pages of 500": 3,
    "who": 3,
    "call_all": 5,
}


class Wire:
    """A subscriber on the servers' channel that counts their messages; signs of life are none of them."""

    def __init__(self, url: str, channel: str) -> None:
        self.messages: Counter[str] = Counter()
        self.bytes = 0
        self._subscription = redis.Redis.from_url(url).pubsub(ignore_subscribe_messages=True)
        self._subscription.subscribe(channel)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for message in self._subscription.listen():
            method = json.loads(message["data"])["method"]
            if method != "node":
                self.messages[method] += 1
                self.bytes += len(message["data"])

    def read(self) -> tuple[int, int]:
        """Return how many messages there were so far, and their bytes."""
        return self.messages.total(), self.bytes


class Stage:
    """Servers on one channel, and what they are driven with."""

    def __init__(
        self, stack: contextlib.ExitStack, url: str, mode: str, number: int, listed: int = 200
    ) -> None:
        folder = Path(tempfile.mkdtemp(prefix="bench-"))
        channel = f"bench-{uuid.uuid4().hex[:8]}"
        env = {
            "APP_MODE": mode,
            "APP_PORT": "{port}",
            "APP_QUEUE": url,
            "APP_CHANNEL": channel,
            "APP_LISTED": str(listed),
            "SOCKETIO_LOAD_PLUGINS": f"{PARTS},presence",
        }
        words = [sys.executable, str(SERVERS_DIR / "cluster_app.py")]
        self.servers: list[Server] = [
            stack.enter_context(running(words, free_port(), log=folder / "log", env=env))
            for _ in range(number)
        ]
        self.wire = Wire(url, channel)
        self.load = Generator(self.servers[0].port)
        stack.callback(self.load.close)
        for server in self.servers:  # they join with their first request
            self.load.port = server.port
            self.load.get(1, b"/present/nowhere")

    def connect(self, server: Server, count: int, users: Iterator[str] | None = None) -> list[Client]:
        """Connect clients to a server."""
        before = set(self.load.clients)
        self.load.port = server.port
        self.load.connect(count, users=users)
        return [client for fd, client in self.load.clients.items() if fd not in before]

    def get(self, server: Server, path: str) -> Any:
        """Ask a server something, while the clients do what they have to."""
        found: list[Any] = []

        def ask() -> None:
            url = f"http://127.0.0.1:{server.port}{path}"
            with urllib.request.urlopen(url, timeout=PATIENCE_S * 5) as answer:
                found.append(json.load(answer))

        asking = threading.Thread(target=ask)
        asking.start()
        self.load.answer_until(lambda: not asking.is_alive())
        if not found:
            raise RuntimeError(f"no answer to {path}")
        return found[0]

    def cpu_s(self) -> list[float]:
        """Return what each server has used so far, seconds."""
        return [server.usage().cpu_s for server in self.servers]


def measure_presence(url: str, mode: str, crowd: Crowd) -> Figures:
    """Measure one crowd on two servers; who comes and goes is on the first of them."""
    with contextlib.ExitStack() as stack:
        stage = Stage(stack, url, mode, 2, crowd.listed)
        numbers = iter(range(crowd.users))
        here, _ = (
            stage.connect(server, crowd.users // 2, (f"user-{number}" for number in numbers))
            for server in stage.servers
        )
        rooms = {
            client.sock.fileno(): f"doc:{number % crowd.rooms}"
            for number, client in enumerate(stage.load.clients.values())
        }
        clients = list(stage.load.clients.values())
        stage.load.send_paced([(client, _event("show", rooms, client)) for client in clients], 1 / 1000)
        _await_present(stage, crowd)
        stage.load.send_paced([], IDLE_S)
        idle_s, idle_cpu_s = time.monotonic(), stage.cpu_s()
        stage.load.send_paced([], IDLE_S)
        idle_s = time.monotonic() - idle_s
        idle = [(now - then) / idle_s for now, then in zip(stage.cpu_s(), idle_cpu_s, strict=True)]

        before, (messages, size) = stage.cpu_s(), stage.wire.read()
        started = time.monotonic()
        events = [
            (client, _event("show" if number // len(here) % 2 else "hide", rooms, client))
            for number in range(crowd.changes)
            for client in [here[number % len(here)]]
        ]
        heard = stage.load.send_paced(events, 1 / crowd.per_s)
        heard += stage.load.send_paced([], SETTLED_S)
        took_s = time.monotonic() - started
        used = [now - then for now, then in zip(stage.cpu_s(), before, strict=True)]
        messages, size = (now - then for now, then in zip(stage.wire.read(), (messages, size), strict=True))
    cpu_a_us, cpu_b_us = (
        (used_s - rate * took_s) / crowd.changes * 1e6 for used_s, rate in zip(used, idle, strict=True)
    )
    return {
        "messages": messages / crowd.changes,
        "bytes": size / crowd.changes,
        "heard": heard / crowd.changes,
        "cpu_a_us": cpu_a_us,
        "cpu_b_us": cpu_b_us,
        "per_s": crowd.changes / (took_s - SETTLED_S),
    }


def _event(name: str, rooms: dict[int, str], client: Client) -> bytes:
    return f'42["{name}","{rooms[client.sock.fileno()]}"]'.encode()


def _await_present(stage: Stage, crowd: Crowd) -> None:
    deadline = time.monotonic() + PATIENCE_S
    wanted = {f"doc:{room}": crowd.users // crowd.rooms for room in (0, crowd.rooms - 1)}
    while any(
        stage.get(server, f"/present/{room}")["count"] != count
        for server in stage.servers
        for room, count in wanted.items()
    ):
        if time.monotonic() > deadline:
            raise RuntimeError(f"the servers do not agree on {crowd}")
        stage.load.send_paced([], 0.2)


def measure_questions(url: str, mode: str, clients: int, called: int) -> dict[str, Figures]:
    """Measure each question to three servers; the first one asks."""
    figures: dict[str, Figures] = {}
    with contextlib.ExitStack() as stack:
        stage = Stage(stack, url, mode, 3)
        for position, server in enumerate(stage.servers):
            stage.connect(server, clients * (position + 1) // 3 - clients * position // 3)
        everybody = list(stage.load.clients.values())
        joins = [(client, b'42["join","all"]') for client in everybody]
        joins += [
            (client, b'42["join","table-%d"]' % (number % 1000)) for number, client in enumerate(everybody)
        ]
        joins += [
            (client, b'42["join","some"]') for client in everybody[:: max(clients // called, 1)][:called]
        ]
        stage.load.send_paced(joins, 1 / 2000)
        deadline = time.monotonic() + PATIENCE_S
        while any(
            stage.get(stage.servers[0], f"/ask?what={what}&times=1")["found"] < wanted
            for what, wanted in (("count", clients), ("call_all", called))
        ):
            if time.monotonic() > deadline:
                raise RuntimeError("not everybody is there")
        for what, times in QUESTIONS.items():
            target = f"/ask?what={urllib.parse.quote(what)}&times="
            stage.get(stage.servers[0], f"{target}1")
            before, (messages, size) = stage.cpu_s(), stage.wire.read()
            answer = stage.get(stage.servers[0], f"{target}{times}")
            stage.load.send_paced([], 0.2)
            used = [(now - then) / times * 1e3 for now, then in zip(stage.cpu_s(), before, strict=True)]
            said, said_bytes = stage.wire.read()
            figures[what] = {
                "found": answer["found"],
                "ms": statistics.median(answer["walls_ms"]),
                "cpu_asker_ms": used[0],
                "cpu_other_ms": statistics.mean(used[1:]),
                "messages": (said - messages) / times,
                "kb": (said_bytes - size) / times / 1000,
            }
    return figures


def table(title: str, columns: dict[str, str], medians: dict[str, Figures]) -> str:
    """Lay figures out, a line each."""
    lines = [f"| {title} | {' | '.join(columns.values())} |", "|---" * (len(columns) + 1) + "|"]
    lines += [
        f"| {name} | {' | '.join(f'{row[column]:.4g}' for column in columns)} |"
        for name, row in medians.items()
    ]
    return "\n".join(lines)


PRESENCE_COLUMNS = {
    "messages": "messages",
    "bytes": "bytes",
    "heard": "events heard",
    "cpu_a_us": "CPU us of A",
    "cpu_b_us": "of B",
    "per_s": "changes per s",
}
QUESTION_COLUMNS = {
    "found": "found",
    "ms": "ms",
    "cpu_asker_ms": "CPU ms of the asker",
    "cpu_other_ms": "of another",
    "messages": "messages",
    "kb": "kB",
}


def main() -> None:
    """Parse the command line, measure, print the tables and write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("url", help="of a Redis server")
    parser.add_argument("--cases", nargs="*", choices=["presence", "questions"])
    parser.add_argument(
        "--crowds", nargs="*", default=[""], help="texts in the names of those to be measured"
    )
    parser.add_argument("--mode", default="gevent", help="async mode of the servers")
    parser.add_argument("--clients", type=int, default=10_000, help="of the servers that are asked")
    parser.add_argument("--called", type=int, default=1_000, help="clients that call_all() asks")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    args = parser.parse_args()
    pin_generator()
    cases = args.cases or ["presence", "questions"]
    crowds = [crowd for crowd in CROWDS if any(text in str(crowd) for text in args.crowds)]
    runs: dict[str, dict[str, dict[str, list[float]]]] = {case: {} for case in cases}
    for round_ in range(args.repeat):
        for case in cases:
            print(f"round {round_ + 1} of {args.repeat}: {case}", file=sys.stderr, flush=True)
            if case == "presence":
                found = {str(crowd): measure_presence(args.url, args.mode, crowd) for crowd in crowds}
            else:
                found = measure_questions(args.url, args.mode, args.clients, args.called)
            for name, figures in found.items():
                columns = runs[case].setdefault(name, defaultdict(list))
                for column, value in figures.items():
                    columns[column].append(value)
    medians = {case: medians_of(found) for case, found in runs.items()}
    if "presence" in medians:
        print(table("presence, per change", PRESENCE_COLUMNS, medians["presence"]) + "\n")
    if "questions" in medians:
        print(table("question", QUESTION_COLUMNS, medians["questions"]))
    if args.json is not None:
        facts = {"repeat": args.repeat, "mode": args.mode, "clients": args.clients, "called": args.called}
        write_json(args.json, **facts, medians=medians, runs=runs)


if __name__ == "__main__":
    main()
