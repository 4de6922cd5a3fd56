"""Measure one host with several workers: ``python benchmarks/workers.py``, see ``benchmarks/README.md``.

All processes of a server share one core, and what is shown is their CPU time together, for each unit of work. So it is
what several cores would do as long as they do not wait for each other.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import median

from generator import ECHO, Client, Generator, frame
from process import Server, pin_generator, running
from run import SERVERS_DIR, Command, Figures, before, flask_command, medians_of, warm_up, write_json

from flask_socketio_core.testing.ports import free_port
from flask_socketio_core.testing.rawclient import RawClient, handshake

GROUP = [sys.executable, str(SERVERS_DIR / "group.py")]
GEVENTWEBSOCKET = "geventwebsocket.gunicorn.workers.GeventWebSocketWorker"
OURS, UPSTREAM = "flask_socketio_core", "flask_socketio"
SOCKET_IO = "/socket.io/?EIO=4&transport="
EACH = 50
"""Clients of each worker that send, one event each at a time."""
TURNS = 3
"""How often two ways are measured in turn, on each server that was started."""
TELLERS = 20
PACES = (1_000, 3_000, 10_000)
"""Emits a second; the highest is more than one core can do across workers, so these follow as closely as can be."""
PACED_S = 0.5
"""How long emits are sent at a pace, seconds at a scale of 1."""
STARTED_S = 60.0
SETTLED_S = 0.3
"""How long handlers may take whose end nobody hears of, seconds."""


@dataclass(frozen=True)
class Setup:
    """A server with several workers.

    :param command: ``{redis}`` in it is replaced by a free port.
    :param requests: whether a request may come to another worker than its session's.
    :param apart: whether its workers know nothing of each other.
    """

    command: Command
    workers: int
    requests: bool = False
    apart: bool = False


def setups() -> dict[str, Setup]:
    """Return the servers, by name."""
    found: dict[str, Setup] = {}
    for mode, options in (
        ("gevent", "-k gevent --keep-alive 120 --worker-connections 20000"),
        ("gthread", "-k gthread --threads 100 --keep-alive 120 --worker-connections 20000"),
    ):
        for workers in (1, 2, 4):
            command = flask_command(
                OURS, "threading" if mode == "gthread" else mode, gunicorn=f"{options} -w {workers}"
            )
            found[f"ours-{mode}-{workers}"] = Setup(command, workers, requests=workers == 4)
            if workers > 1:
                alone = Command(command.words, {**command.env, "APP_APART": "1"})
                found[f"ours-{mode}-{workers}-apart"] = Setup(alone, workers, apart=True)
    ours = found["ours-gevent-4"].command
    url = {"APP_QUEUE": "redis://127.0.0.1:{redis}", "APP_CHANNEL": "bench"}
    found["ours-gevent-4-redis"] = Setup(
        Command([*GROUP, "--redis", "{redis}", "--", *ours.words], {**ours.env, **url}), 4
    )
    upstream = flask_command(
        UPSTREAM, "gevent", gunicorn=f"-k {GEVENTWEBSOCKET} -w 1 --worker-connections 20000"
    )
    found["flask-socketio-gevent-1"] = Setup(upstream, 1)
    words = [word.replace("{port}", "{own}") for word in upstream.words]
    found["flask-socketio-gevent-4-nginx-redis"] = Setup(
        Command(
            [*GROUP, "--redis", "{redis}", "--sticky", "{port}", "4", "--", *words], {**upstream.env, **url}
        ),
        4,
    )
    found["node-1"] = Setup(Command(["node", str(SERVERS_DIR / "node.mjs"), "{port}"]), 1)
    for workers in (2, 4):
        cluster = ["node", str(SERVERS_DIR / "node_cluster.mjs"), "{port}", str(workers)]
        found[f"node-{workers}"] = Setup(Command(cluster), workers)
    return found


@dataclass(slots=True)
class Team:
    """Clients over WebSocket, as many of each worker.

    :param by_worker: by the worker's process id.
    :param sids: ids of the clients, by their descriptors.
    """

    by_worker: dict[int, list[Client]] = field(default_factory=dict)
    sids: dict[int, str] = field(default_factory=dict)

    def mixed(self) -> list[Client]:
        """Return all, one of each worker after the other."""
        return [client for clients in zip(*self.by_worker.values(), strict=True) for client in clients]


def who_is(load: Generator, client: Client) -> tuple[str, int]:
    """Return a client's id and its worker's process id."""
    sid, pid = json.loads(load.ask(client, b'["whoami"]'))[0]
    return sid, pid


def gather(load: Generator, workers: int, each: int) -> Team:
    """Connect until so many clients are at each worker; close those beyond.

    :raises RuntimeError: if some worker gets too few.
    """
    team = Team({}, {})
    for _ in range(60):
        before = set(load.clients)
        load.connect(20)
        for fd in load.clients.keys() - before:
            client = load.clients[fd]
            sid, pid = who_is(load, client)
            clients = team.by_worker.setdefault(pid, [])
            if len(clients) < each:
                clients.append(client)
                team.sids[fd] = sid
            else:
                load.drop(client)
        if len(team.by_worker) == workers and min(map(len, team.by_worker.values())) == each:
            return team
    raise RuntimeError(f"clients of workers: { {pid: len(found) for pid, found in team.by_worker.items()} }")


def cpu_us(server: Server, work: Callable[[], object], units: int) -> float:
    """Return the CPU time of all processes for each unit of some work, microseconds."""
    begin = server.usage().cpu_s
    work()
    return (server.usage().cpu_s - begin) / units * 1e6


def measure_events(server: Server, load: Generator, scale: float, team: Team) -> Figures:
    """Acknowledged events of clients that are spread over the workers."""
    count, clients = max(int(scale * 20_000), 500), team.mixed()
    work = partial(load.events, count, clients=clients, in_flight=len(clients))
    return {"event_us": cpu_us(server, work, count)}


def measure_emits(server: Server, load: Generator, scale: float, team: Team) -> Figures:
    """An event whose handler emits to one client, of the same worker and of another."""
    count = max(int(scale * 5_000), 500)
    senders, *others = team.by_worker.values()
    targets = {"emit_here_us": senders[-1]}
    if others:
        targets["emit_across_us"] = others[0][-1]

    def tell(target: Client) -> None:
        heard = target.received
        payload = json.dumps(["tell", team.sids[target.sock.fileno()]]).encode()
        load.events(count, clients=senders[:TELLERS], in_flight=TELLERS, payload=payload)
        load.receive([target], heard + count)

    return in_turn(
        {name: partial(cpu_us, server, partial(tell, target), count) for name, target in targets.items()}
    )


def measure_paced(server: Server, load: Generator, scale: float, team: Team) -> Figures:
    """Emits of one worker that come at a pace, as they do without anybody waiting for an answer."""
    senders, *others = team.by_worker.values()
    targets = {"here": senders[-1]}
    if others:
        targets["across"] = others[0][-1]

    def tell(target: Client, count: int, pace: int) -> None:
        heard = target.received
        text = b"42" + json.dumps(["tell", team.sids[target.sock.fileno()]]).encode()
        load.send_paced([(senders[number % TELLERS], text) for number in range(count)], 1 / pace)
        load.receive([target], heard + count)

    figures: Figures = {}
    for pace in PACES:
        count = max(int(scale * PACED_S * pace), 300)
        figures |= in_turn(
            {
                f"{where}_{pace}_us": partial(cpu_us, server, partial(tell, target, count, pace), count)
                for where, target in targets.items()
            }
        )
    return figures


def measure_broadcast(
    server: Server, load: Generator, scale: float, askers: Sequence[Client] | None = None
) -> Figures:
    """A broadcast to everybody."""
    clients = len(load.clients)
    count = max(int(scale * 100_000 / clients), 20)
    return {"broadcast_us": cpu_us(server, lambda: load.broadcast(count, askers=askers), count * clients)}


def one_of_each(load: Generator, workers: int) -> list[Client]:
    """Return a client of each worker."""
    found: dict[int, Client] = {}
    for client in load.clients.values():
        found.setdefault(who_is(load, client)[1], client)
        if len(found) == workers:
            return list(found.values())
    raise RuntimeError(f"clients of {len(found)} workers, not of {workers}")


def in_turn(ways: dict[str, Callable[[], float]]) -> Figures:
    """Measure several ways one after the other, again and again; return the medians."""
    found: dict[str, list[float]] = defaultdict(list)
    for turn in range(TURNS + 1):
        for name, way in ways.items():
            value = way()
            if turn:  # the first one warms up
                found[name].append(value)
    return {name: median(values) for name, values in found.items()}


class Line(RawClient):
    """A connection that is kept, to one worker.

    :ivar pid: the worker's process id.
    :ivar ended: whether the server closes it behind its last response.
    """

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.ended = False
        self.pid = int(self.request("GET", "/pid"))

    def close(self) -> None:
        """Close the connection."""
        self.sock.close()

    def request(self, method: str, path: str, body: bytes = b"") -> bytes:
        """Return the body of the response.

        :raises RuntimeError: if it is no success.
        """
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
        self.send(head.encode() + body)
        lines = self.read_head().lower()
        if " 200 " not in lines:
            raise RuntimeError(lines)
        self.ended = "connection: close" in lines
        size = next(line for line in lines.split("\r\n") if line.startswith("content-length:"))
        return self._take(int(size.partition(":")[2]))

    def upgrade_session(self, sid: str) -> None:
        """Take a session of long polling to a WebSocket, on this connection."""
        self.send(handshake(f"{SOCKET_IO}websocket&sid={sid}"))
        if " 101 " not in (head := self.read_head()):
            raise RuntimeError(head)
        self.send(frame(b"2probe"))
        self._expect(b"3probe")
        self.send(frame(b"5") + frame(b"421" + ECHO))
        self._expect(b"431")

    def _expect(self, start: bytes) -> None:
        while not (text := self.read_frame()[1]).startswith(start):
            if not text:
                raise RuntimeError("an empty frame")


@dataclass(slots=True)
class Lines:
    """Kept connections to the worker that has the sessions, and to another one."""

    right: list[Line]
    wrong: list[Line]

    def sessions(self, count: int) -> list[str]:
        """Open sessions of long polling in the default namespace."""
        chosen = [self.right[number % len(self.right)] for number in range(count)]
        sids: list[str] = []
        for line in chosen:
            sids.append(json.loads(line.request("GET", f"{SOCKET_IO}polling")[1:])["sid"])
            line.request("POST", f"{SOCKET_IO}polling&sid={sids[-1]}", b"40")
        time.sleep(SETTLED_S)  # a poll that has to wait would not keep its connection
        for line, sid in zip(chosen, sids, strict=True):
            line.request("GET", f"{SOCKET_IO}polling&sid={sid}")
        return sids

    def close(self) -> None:
        """Close those that were not upgraded."""
        for line in (*self.right, *self.wrong):
            line.close()


def renewed(line: Line, port: int) -> Line:
    """Return another connection to the same worker, if the server has closed this one."""
    if not line.ended:
        return line
    line.close()
    for _ in range(50):
        found = Line(port)
        if found.pid == line.pid:
            return found
        found.close()
    raise RuntimeError(f"no connection came to process {line.pid}")


def lines(port: int, count: int) -> Lines:
    """Open kept connections until two workers have so many."""
    by_worker: dict[int, list[Line]] = defaultdict(list)
    for _ in range(50 * count):
        line = Line(port)
        if len(by_worker[line.pid]) < count:
            by_worker[line.pid].append(line)
        else:
            line.close()
        full = [found for found in by_worker.values() if len(found) == count]
        if len(full) > 1:
            for others in by_worker.values():
                for line in others if others not in full[:2] else ():
                    line.close()
            return Lines(full[0], full[1])
    raise RuntimeError("most connections came to the same worker")


def measure_hand_over(server: Server, load: Generator, scale: float) -> Figures:
    """Upgrades at the worker that has the session and at another one, and the events on these WebSockets."""
    count = max(int(scale * 200), EACH)
    upgraded: dict[str, list[Line]] = {"upgrade_right_us": [], "upgrade_wrong_us": []}
    made = [lines(server.port, count) for _ in range(TURNS + 1)]
    sessions = iter([sid for each in made for sid in each.sessions(2 * count)])
    waiting = iter([each for own in made for each in (own.right, own.wrong)])

    def upgrade(name: str) -> float:
        chosen = next(waiting)
        begin = server.usage().cpu_s
        for line in chosen:
            line.upgrade_session(next(sessions))
        upgraded[name] += chosen
        return (server.usage().cpu_s - begin) / count * 1e6

    figures = in_turn({name: partial(upgrade, name) for name in upgraded})
    clients = {name: [load.adopt(line.sock) for line in found[-EACH:]] for name, found in upgraded.items()}
    events = max(int(scale * 10_000), 500)
    figures |= in_turn(
        {
            f"event_{way}_us": partial(
                cpu_us, server, partial(load.events, events, clients=clients[f"upgrade_{way}_us"]), events
            )
            for way in ("right", "wrong")
        }
    )
    for found in clients.values():
        for client in found:
            load.drop(client)
    for own in made:
        own.close()
    return figures


def measure_requests(server: Server, load: Generator, scale: float) -> Figures:
    """A POST with an event, and the poll that fetches its acknowledgement, at either worker."""
    made = lines(server.port, EACH)
    sids = made.sessions(EACH)
    cycles = max(int(scale * 10), 2)
    found: dict[str, list[float]] = defaultdict(list)

    def send(chosen: Sequence[Line]) -> None:
        for line, sid in zip(chosen, sids, strict=True):
            line.request("POST", f"{SOCKET_IO}polling&sid={sid}", b"421" + ECHO)
        time.sleep(SETTLED_S)

    def fetch(chosen: Sequence[Line]) -> None:
        for line, sid in zip(chosen, sids, strict=True):
            answer = line.request("GET", f"{SOCKET_IO}polling&sid={sid}")
            if not answer.startswith(b"431"):
                raise RuntimeError(answer)

    for cycle in range(cycles + 1):
        for way, chosen in (("right", made.right), ("wrong", made.wrong)):
            post_us = cpu_us(server, partial(send, chosen), EACH)
            poll_us = cpu_us(server, partial(fetch, chosen), EACH)
            chosen[:] = [renewed(line, server.port) for line in chosen]
            if cycle:  # the first one warms up
                found[f"post_{way}_us"].append(post_us)
                found[f"poll_{way}_us"].append(poll_us)
    made.close()
    return {name: median(values) for name, values in found.items()}


def await_workers(port: int, workers: int) -> None:
    """Wait until so many workers have answered: a web server listens before they have loaded the application.

    :raises TimeoutError: if that takes too long.
    """
    deadline = time.monotonic() + STARTED_S
    seen: set[int] = set()
    while len(seen) < workers:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(seen)} of {workers} workers answer")
        with contextlib.suppress(TimeoutError), contextlib.closing(Line(port)) as line:
            seen.add(line.pid)


CASES = ("events", "emits", "paced", "broadcast", "requests")


def measure(setup: Setup, cases: Sequence[str], clients: int, scale: float, log: Path) -> Figures:
    """Run one server once through the cases."""
    redis_port = str(free_port())
    words, env = (
        [word.replace("{redis}", redis_port) for word in setup.command.words],
        {name: text.replace("{redis}", redis_port) for name, text in setup.command.env.items()},
    )
    figures: Figures = {}
    with running(words, free_port(), log=log, env=env) as server:
        if setup.requests:
            await_workers(server.port, setup.workers)
        load = Generator(server.port)
        try:
            if {"events", "emits", "paced"} & set(cases):
                team = gather(load, setup.workers, EACH)
                events = partial(measure_events, team=team)
                warm_up(events, server, load)
                if "events" in cases:
                    figures |= in_turn({"event_us": lambda: events(server, load, scale)["event_us"]})
                if "emits" in cases:
                    figures |= measure_emits(server, load, scale, team)
                if "paced" in cases:
                    figures |= measure_paced(server, load, scale, team)
            if "requests" in cases and setup.requests:
                figures |= measure_hand_over(server, load, scale)
                figures |= measure_requests(server, load, scale)
            if "broadcast" in cases:
                load.connect(clients - len(load.clients))
                askers = one_of_each(load, setup.workers) if setup.apart else None
                broadcast = partial(measure_broadcast, askers=askers)
                warm_up(broadcast, server, load)
                figures |= in_turn({"broadcast_us": lambda: broadcast(server, load, scale)["broadcast_us"]})
        finally:
            load.close()
    return figures


def table(medians: dict[str, Figures]) -> str:
    """Lay the medians out."""
    columns = list(dict.fromkeys(column for figures in medians.values() for column in figures))
    rows = ["| server and workers | " + " | ".join(columns) + " |", "|---" * (len(columns) + 1) + "|"]
    rows += [
        f"| {name} | {' | '.join(_cells(columns, figures))} |" for name, figures in medians.items() if figures
    ]
    return "\n".join(rows)


def _cells(columns: Sequence[str], figures: Figures) -> Iterator[str]:
    for column in columns:
        yield f"{figures[column]:.4g}" if column in figures else "-"


def main() -> None:
    """Parse the command line, measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=CASES)
    parser.add_argument("--only", nargs="*", help="names of servers")
    parser.add_argument("--clients", type=int, default=2_000, help="of a broadcast")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="1.0: 20,000 events, 100,000 deliveries")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="measure ours as it is there, too")
    args = parser.parse_args()
    pin_generator()
    chosen = {name: setup for name, setup in setups().items() if not args.only or name in args.only}
    if args.before is not None:
        earlier = before({name: setup.command for name, setup in chosen.items()}, args.before)
        chosen |= {
            name: replace(chosen[name.removesuffix("-before")], command=command)
            for name, command in earlier.items()
        }
    runs: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in chosen}
    log = Path(tempfile.mkdtemp(prefix="bench-")) / "servers.log"
    for round_ in range(args.repeat):
        for name, setup in chosen.items():
            print(f"round {round_ + 1} of {args.repeat}: {name}", file=sys.stderr, flush=True)
            figures = measure(setup, args.cases, args.clients, args.scale, log)
            print({column: round(value, 1) for column, value in figures.items()}, file=sys.stderr, flush=True)
            for column, value in figures.items():
                runs[name][column].append(value)
        if args.json is not None:  # after each round, for it takes long
            facts = {"clients": args.clients, "repeat": round_ + 1, "scale": args.scale}
            write_json(args.json, **facts, medians=medians_of(runs), runs=runs)
    print(table(medians_of(runs)))


if __name__ == "__main__":
    main()
