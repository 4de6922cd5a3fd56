"""What the bus costs: from an emit in one server to the other server, over real brokers.

Start brokers with ``make brokers``, then ``python benchmarks/bus.py URL ...``; see ``benchmarks/README.md``. Two
processes, A and B, both publish and listen, as all servers of a cluster do. A sends, B counts. Each URL is measured in
these ways, one round of each after the other:

``library``       the broker's client library alone, with the queue's guarantee: the same bytes in, bytes out; host://
                  has none
``queue``         our plugin for it, nothing above
``cluster``       our cluster: JSON, sequence numbers, the outbox
``upstream``      python-socketio's manager, where it has one that works
``server``        two servers of ours with a WebSocket client each, from one client's event to the other client
``upstream-server``  the same with Flask-SocketIO

Latency is taken one message at a time, CPU and rate in a burst. ``core`` is the CPU time of our cluster over a queue
that does nothing.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import statistics
import sys
import tempfile
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bus_library import LIBRARIES
from generator import Generator
from process import pin_generator, running
from run import flask_command, medians_of, write_json

from flask_socketio_core.cluster import envelope
from flask_socketio_core.cluster.cluster import Cluster
from flask_socketio_core.contracts import MessageQueue, QueueCapabilities
from flask_socketio_core.contracts.clients import Emission
from flask_socketio_core.selection import Plugins
from flask_socketio_core.testing.ports import free_port
from flask_socketio_core.testing.threads import ThreadMode

if TYPE_CHECKING:
    from collections.abc import Iterable
    from multiprocessing.connection import Connection

SINGLES = 500
BURST = 5000
#: Seconds between two messages whose latency is taken.
SPACING_S = 0.002
PATIENCE_S = 60.0
TEXT = "x" * 100
Figures = dict[str, float]
Arrived = Callable[[int], object]


class LibraryEnd:
    """The client library alone."""

    def __init__(self, url: str, channel: str, arrived: Arrived) -> None:
        self._client = LIBRARIES[url.partition("://")[0]](url, channel)
        self._payload = b"%020d" + _payload()
        _in_thread(lambda: self._client.listen(lambda message: arrived(int(message[:20]))))

    def send(self, number: int) -> None:
        self._client.publish(self._payload % number)

    def flush(self) -> None:
        self._client.flush()


class QueueEnd:
    """A plugin's queue, and nothing above it."""

    def __init__(self, url: str, channel: str, arrived: Arrived) -> None:
        self._queue = Plugins().select_queue(url).load()(url, channel, mode=ThreadMode(), options={})
        self._payload = b"%020d" + _payload()

        def listen() -> None:
            for message in self._queue.listen():
                if message:
                    arrived(int(message[:20]))

        _in_thread(listen)

    def send(self, number: int) -> None:
        self._queue.publish(self._payload % number, key="room")

    def flush(self) -> None:
        self._queue.flush(PATIENCE_S)


class ClusterEnd:
    """A server of a cluster, whose clients are a function."""

    def __init__(self, url: str, channel: str, arrived: Arrived) -> None:
        self._arrived = arrived
        self._emitting = False
        server: Any = self
        queue_class = Plugins().select_queue(url).load()
        self._cluster = Cluster(queue_class, url, channel, mode=ThreadMode(), options={}, server=server)
        self._cluster.start()

    def send(self, number: int) -> None:
        self._emitting = True  # what comes now is for our own clients
        self._cluster.emit(Emission("e", ({"text": TEXT, "number": number},), to=("room",)))

    def flush(self) -> None:
        self._cluster._current().outbox.flush(PATIENCE_S)

    def emit(self, emission: Emission) -> None:
        if not self._emitting:
            self._arrived(emission.args[0]["number"])

    def is_connected(self, sid: str, namespace: str) -> bool:
        return False


class UpstreamEnd:
    """A server with python-socketio's manager, whose clients are a function."""

    def __init__(self, url: str, channel: str, arrived: Arrived) -> None:
        import socketio

        manager_class: Any = socketio.RedisManager if url.startswith("redis") else socketio.KombuManager
        self._manager = manager_class(url, channel=channel)
        self._manager._handle_emit = lambda message: arrived(message["data"][0]["number"])
        socketio.Server(client_manager=self._manager, async_mode="threading")
        self._manager.initialize()

    def send(self, number: int) -> None:
        self._manager.emit("e", {"text": TEXT, "number": number}, namespace="/", room="room")

    def flush(self) -> None:
        pass


ENDS: dict[str, Any] = {
    "library": LibraryEnd,
    "queue": QueueEnd,
    "cluster": ClusterEnd,
    "upstream": UpstreamEnd,
}
SERVERS = {"server": "flask_socketio_core", "upstream-server": "flask_socketio"}
#: What python-socketio's managers can do.
UPSTREAM = ("redis", "amqp")


class Tally:
    """What has arrived: how many, when the last one, and how late each was (a message is its time of sending)."""

    def __init__(self) -> None:
        self.count = 0
        self.last_s = 0.0
        self.delays_ms: list[float] = []

    def arrived(self, sent_ns: int) -> None:
        now_ns = time.monotonic_ns()
        self.delays_ms.append((now_ns - sent_ns) / 1e6)
        self.last_s = now_ns / 1e9
        self.count += 1


def serve_end(way: str, url: str, channel: str, orders: Connection) -> None:
    """Be one of the two processes: do what the other end of the pipe says."""
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, range(os.cpu_count() or 1))  # not where the generator is pinned to
    tally = Tally()
    end = ENDS[way](url, channel, tally.arrived)
    started_cpu = started_s = 0.0
    while True:
        order, value = orders.recv()
        answer: Any = None
        if order == "singles":
            for _ in range(value):
                end.send(time.monotonic_ns())
                time.sleep(SPACING_S)
            end.flush()
        elif order == "start":
            tally.count = 0
            tally.delays_ms.clear()
            started_cpu, started_s = time.process_time(), time.monotonic()
        elif order == "burst":
            for _ in range(value):
                end.send(time.monotonic_ns())
            end.flush()
        elif order == "await":
            deadline = time.monotonic() + PATIENCE_S
            while tally.count < value and time.monotonic() < deadline:
                time.sleep(0.02)
            answer = tally.count
        elif order == "delays":
            answer = list(tally.delays_ms)
        elif order == "figures":
            answer = (started_s, tally.last_s, time.process_time() - started_cpu)
        elif order == "end":
            return
        orders.send(answer)


class Pair:
    """Processes A and B of one way."""

    def __init__(self, way: str, url: str) -> None:
        context = multiprocessing.get_context("spawn")
        channel = f"bench-{uuid.uuid4().hex[:8]}"
        self._pipes = []
        self._processes = []
        for _ in range(2):
            ours, theirs = context.Pipe()
            process = context.Process(target=serve_end, args=(way, url, channel, theirs), daemon=True)
            process.start()
            self._pipes.append(ours)
            self._processes.append(process)

    def ask(self, end: int, order: str, value: Any = None) -> Any:
        """Have one end do something; return its answer."""
        self._pipes[end].send((order, value))
        if not self._pipes[end].poll(PATIENCE_S + 20):
            raise RuntimeError(f"no answer to {order!r}")
        return self._pipes[end].recv()

    def measure(self) -> Figures:
        """Take the figures of one round."""
        self._until_heard()
        self._start()
        self.ask(0, "singles", SINGLES)
        self._await(SINGLES)
        delays = sorted(self.ask(1, "delays"))
        self._start()
        self.ask(0, "burst", BURST)
        self._await(BURST)
        (started_s, _, cpu_a_s), (_, last_s, cpu_b_s) = (self.ask(end, "figures") for end in (0, 1))
        return {
            "p50_ms": statistics.median(delays),
            "p99_ms": delays[len(delays) * 99 // 100],
            "cpu_us": (cpu_a_s + cpu_b_s) / BURST * 1e6,
            "cpu_a_us": cpu_a_s / BURST * 1e6,
            "cpu_b_us": cpu_b_s / BURST * 1e6,
            "per_s": BURST / (last_s - started_s),
        }

    def _start(self) -> None:
        for end in (1, 0):
            self.ask(end, "start")

    def _await(self, count: int) -> None:
        found = self.ask(1, "await", count)
        if found != count:
            raise RuntimeError(f"{found} of {count} messages arrived")

    def _until_heard(self) -> None:
        deadline = time.monotonic() + 30
        while not self.ask(1, "await", 0):
            if time.monotonic() > deadline:
                raise RuntimeError("nothing arrives")
            self.ask(0, "singles", 1)
            time.sleep(0.1)
        self.ask(0, "singles", 50)
        time.sleep(1)

    def close(self) -> None:
        """End both processes."""
        for pipe in self._pipes:
            with contextlib.suppress(OSError):
                pipe.send(("end", None))
        for process in self._processes:
            process.join(3)
            process.kill()


def measure_ends(way: str, url: str) -> Figures:
    """Measure one round between two processes without WebSocket clients."""
    pair = Pair(way, url)
    try:
        return pair.measure()
    finally:
        pair.close()


def measure_servers(library: str, mode: str, url: str) -> Figures:
    """Measure one round between clients of two servers. The sending client hears its own broadcast, too."""
    log = Path(tempfile.mkdtemp(prefix="bench-")) / "servers.log"
    command = flask_command(library, mode)
    env = {**command.env, "APP_QUEUE": url, "APP_CHANNEL": f"bench-{uuid.uuid4().hex[:8]}"}
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(running(command.words, free_port(), log=log, env=env)) for _ in range(2)
        ]
        load = Generator(servers[0].port)
        stack.callback(load.close)
        for server in servers:
            load.port = server.port
            load.get(1)
            load.connect(1)
        time.sleep(2)  # until both are subscribed
        for _ in range(50):
            load.broadcast(1)
        delays = []
        for _ in range(SINGLES):
            delays.append(load.broadcast(1, timeout_s=10).wall_s * 1e3)
            time.sleep(SPACING_S)
        before = [server.usage().cpu_s for server in servers]
        wall_s = load.broadcast(BURST, window=BURST).wall_s
        used = [server.usage().cpu_s - cpu_s for server, cpu_s in zip(servers, before, strict=True)]
    delays.sort()
    return {
        "p50_ms": statistics.median(delays),
        "p99_ms": delays[len(delays) * 99 // 100],
        "cpu_us": sum(used) / BURST * 1e6,
        "cpu_a_us": used[0] / BURST * 1e6,
        "cpu_b_us": used[1] / BURST * 1e6,
        "per_s": BURST / wall_s,
    }


class Nowhere(MessageQueue):
    """A queue that keeps what is published, for the cost of what is above a queue."""

    capabilities = QueueCapabilities()

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.published: list[bytes] = []

    def publish(self, message: bytes, *, key: str = "") -> None:
        self.published.append(message)

    def listen(self) -> Iterator[bytes]:
        yield b""

    def ping(self) -> None:
        pass

    def close(self) -> None:
        pass


def measure_core() -> Figures:
    """CPU time of emitting a message, of hearing it back, and of receiving it elsewhere, microseconds; best of five."""

    class Clients:
        def emit(self, *_: Any, **__: Any) -> None:
            pass

        def is_connected(self, sid: str, namespace: str) -> bool:
            return False

    server: Any = Clients()
    mode = ThreadMode()
    a, b = (Cluster(Nowhere, "nowhere://", "c", mode=mode, options={}, server=server) for _ in range(2))
    args = ({"text": TEXT, "number": time.monotonic_ns()},)
    found: dict[str, list[float]] = defaultdict(list)

    def take(name: str, jobs: Iterable[Callable[[], object]]) -> None:
        started = time.thread_time()
        for job in jobs:
            job()
        found[name].append((time.thread_time() - started) / BURST * 1e6)

    for _ in range(5):
        queue: Any = a._current().queue
        queue.published.clear()
        take("emit_us", [lambda: a.emit(Emission("e", args, to=("room",)))] * BURST)
        for name, end in (("hear_back_us", a), ("receive_us", b)):
            receive = end._current()._receive
            take(name, [partial(receive, message) for message in queue.published])
    return {name: min(values) for name, values in found.items()}


def ways(url: str, chosen: list[str] | None, mode: str) -> Iterator[tuple[str, Callable[[], Figures]]]:
    """Return the ways to send over a URL, by name."""
    for way in [*ENDS, *SERVERS]:
        if way == "library" and url.partition("://")[0] not in LIBRARIES:
            continue
        if way.startswith("upstream") and url.partition("://")[0] not in UPSTREAM:
            continue
        if chosen and way not in chosen:
            continue
        if way in SERVERS:
            yield way, lambda way=way: measure_servers(SERVERS[way], mode, url)  # type: ignore[misc]  # bound default
        else:
            yield way, lambda way=way: measure_ends(way, url)  # type: ignore[misc]  # bound default


def measure(url: str, chosen: list[str] | None, mode: str, repeat: int) -> dict[str, dict[str, list[float]]]:
    """Measure every way in turn, again and again."""
    runs: dict[str, dict[str, list[float]]] = {}
    for round_ in range(repeat):
        for way, run in ways(url, chosen, mode):
            print(
                f"{url.partition('://')[0]}: round {round_ + 1} of {repeat}: {way}",
                file=sys.stderr,
                flush=True,
            )
            columns = runs.setdefault(way, defaultdict(list))
            for column, value in run().items():
                columns[column].append(value)
    return runs


def table(medians: dict[str, dict[str, Figures]]) -> str:
    """Lay the medians out; the ratio is to the library's CPU time."""
    lines = ["| queue | way | p50 ms | p99 ms | CPU us | of A | of B | ratio | per s |", "|---" * 9 + "|"]
    for queue, found in medians.items():
        bare = found.get("library", {}).get("cpu_us")
        for way, row in found.items():
            ratio = f"{row['cpu_us'] / bare:.2f}" if bare and way not in SERVERS else "-"
            lines.append(
                f"| {queue} | {way} | {row['p50_ms']:.2f} | {row['p99_ms']:.2f} | {row['cpu_us']:.0f} "
                f"| {row['cpu_a_us']:.0f} | {row['cpu_b_us']:.0f} | {ratio} | {row['per_s']:.0f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Parse the command line, measure, print the table and write the JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("urls", nargs="+", help="URLs of message queues")
    parser.add_argument("--ways", nargs="*", choices=[*ENDS, *SERVERS])
    parser.add_argument("--mode", default="gevent", help="async mode of the servers")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", type=Path, help="where to write the figures")
    args = parser.parse_args()
    pin_generator()
    runs = {url.partition("://")[0]: measure(url, args.ways, args.mode, args.repeat) for url in args.urls}
    medians = {queue: medians_of(found) for queue, found in runs.items()}
    core = measure_core()
    print(table(medians))
    print("core, CPU us: " + ", ".join(f"{name[:-3]} {value:.1f}" for name, value in core.items()))
    if args.json is not None:
        write_json(args.json, repeat=args.repeat, mode=args.mode, core=core, medians=medians, runs=runs)


def _payload() -> bytes:
    """Return what the cluster would publish."""
    node = uuid.uuid4().hex
    emission = Emission("e", ({"text": TEXT, "number": time.monotonic_ns()},), to=("room",))
    message = envelope.emit(emission, host_id=node, callback=None)
    return envelope.stamp(envelope.Wire().encode(message), node, 1000)


def _in_thread(target: Callable[[], object]) -> None:
    threading.Thread(target=target, daemon=True).start()


if __name__ == "__main__":
    main()
