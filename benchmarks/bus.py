"""What the bus costs: from emit in one server to the clients' side of another, over real brokers.

Start brokers with ``make brokers``, then ``python benchmarks/bus.py URL ...``. Each URL is measured three ways in this
process: with the broker's client library alone (*bare*), with our cluster, and with python-socketio's manager where it
has one that works. Latency is taken one message at a time, CPU and rate in a burst; both ends are in the CPU figure.
Delivery to clients is not: ``run.py`` measures that.
"""

from __future__ import annotations

import json
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median, quantiles
from typing import TYPE_CHECKING, Any

import socketio

from flask_socketio_core.cluster.cluster import Cluster
from flask_socketio_core.plugins import Plugins
from flask_socketio_core.testing.threads import ThreadMode

if TYPE_CHECKING:
    from flask_socketio_core.contracts import MessageQueue

PINGS = 500
BURST = 3000
WARM_UP = 50
ROUNDS = 3
ARGS = ({"text": "x" * 100, "number": 1},)


@dataclass(frozen=True)
class Figures:
    """What one way of sending costs.

    :param cpu_us: CPU time of both ends per message, microseconds.
    """

    p50_ms: float
    p99_ms: float
    cpu_us: float
    per_s: float


class Counter:
    """Counts arrivals and lets the sender wait for them."""

    def __init__(self) -> None:
        self.count = 0
        self._changed = threading.Condition()

    def arrived(self, *_: Any, **__: Any) -> None:
        with self._changed:
            self.count += 1
            self._changed.notify_all()

    def wait(self, count: int, timeout_s: float = 60) -> None:
        with self._changed:
            if not self._changed.wait_for(lambda: self.count >= count, timeout_s):
                raise RuntimeError(f"only {self.count} of {count} messages arrived")


class Sink:
    """A server whose clients are a counter: it takes an emit and counts it."""

    def __init__(self, counter: Counter) -> None:
        self.emit = counter.arrived

    def is_connected(self, sid: str, namespace: str) -> bool:
        return False


def measure(send: Callable[[], object], counter: Counter) -> Figures:
    """Send one message at a time, then a burst."""
    until_heard(send, counter)
    delays = []
    for _ in range(PINGS):
        before, started = counter.count, time.perf_counter()
        send()
        counter.wait(before + 1)
        delays.append((time.perf_counter() - started) * 1000)
    before, cpu, started = counter.count, time.process_time(), time.perf_counter()
    for _ in range(BURST):
        send()
    counter.wait(before + BURST)
    took, used = time.perf_counter() - started, time.process_time() - cpu
    return Figures(median(delays), quantiles(delays, n=100)[98], used / BURST * 1e6, BURST / took)


def until_heard(send: Callable[[], object], counter: Counter) -> None:
    """Send until the other end hears, then a little more, and let everything arrive."""
    deadline = time.monotonic() + 30
    while not counter.count:
        send()
        time.sleep(0.1)
        if time.monotonic() > deadline:
            raise RuntimeError("nothing arrives")
    for _ in range(WARM_UP):
        send()
    seen = -1
    while seen != counter.count:
        seen = counter.count
        time.sleep(0.3)


@contextmanager
def bare(queue_class: type[MessageQueue], url: str) -> Iterator[tuple[Callable[[], object], Counter]]:
    """Publish and listen with nothing above the queue: the client library and the thinnest layer over it."""
    counter, channel, mode = Counter(), _channel(), ThreadMode()
    reader, writer = (queue_class(url, channel, mode=mode, options={}) for _ in range(2))

    def listen() -> None:
        for message in reader.listen():
            if message:
                counter.arrived()

    threading.Thread(target=listen, daemon=True).start()
    payload = json.dumps({"method": "emit", "event": "e", "data": ARGS, "namespace": "/"}).encode()
    yield lambda: writer.publish(payload, key="room"), counter
    writer.flush(5)
    writer.close()
    reader.close()


@contextmanager
def ours(queue_class: type[MessageQueue], url: str) -> Iterator[tuple[Callable[[], object], Counter]]:
    """Emit on one server of a cluster, count on another."""
    counter, channel = Counter(), _channel()
    servers: list[Any] = [Sink(Counter()), Sink(counter)]
    ends = [
        Cluster(queue_class, url, channel, mode=ThreadMode(), options={}, server=server) for server in servers
    ]
    for end in ends:
        end.start()
    yield lambda: ends[0].emit("e", ARGS, to=("room",)), counter
    for end in ends:
        end.close()


@contextmanager
def theirs(manager_class: Any, url: str) -> Iterator[tuple[Callable[[], object], Counter]]:
    """Emit on one of python-socketio's managers, count on another."""
    counter, channel = Counter(), _channel()
    ends = [manager_class(url, channel=channel) for _ in range(2)]
    ends[0]._handle_emit = lambda message: None
    ends[1]._handle_emit = counter.arrived
    for end in ends:
        socketio.Server(client_manager=end, async_mode="threading")
        end.initialize()
    yield lambda: ends[0].emit("e", ARGS[0], namespace="/", room="room"), counter


def _channel() -> str:
    return f"bench-{uuid.uuid4().hex[:8]}"


def ways(url: str) -> list[tuple[str, Callable[[], Any]]]:
    """Return the ways to send over a URL, by name."""
    queue_class = Plugins().select_queue(url).load()
    found: list[tuple[str, Callable[[], Any]]] = [
        ("bare", lambda: bare(queue_class, url)),
        ("ours", lambda: ours(queue_class, url)),
    ]
    managers = {"redis": socketio.RedisManager, "amqp": socketio.KombuManager}
    manager = managers.get(url.partition("://")[0])
    if manager is not None:
        found.append(("python-socketio", lambda: theirs(manager, url)))
    return found


def run(make: Callable[[], Any]) -> Figures:
    """Measure a few times and return the medians."""
    rounds = []
    for _ in range(ROUNDS):
        with make() as (send, counter):
            rounds.append(measure(send, counter))
    return Figures(*(median(getattr(one, name) for one in rounds) for name in Figures.__dataclass_fields__))


def main(urls: list[str]) -> None:
    """Print a table."""
    out = sys.stdout
    out.write(f"{'queue':<16}{'way':<18}{'p50 ms':>8}{'p99 ms':>8}{'CPU us':>8}{'per s':>8}\n")
    for url in urls:
        for name, make in ways(url):
            figures = run(make)
            scheme = url.partition("://")[0]
            out.write(
                f"{scheme:<16}{name:<18}{figures.p50_ms:8.2f}{figures.p99_ms:8.2f}"
                f"{figures.cpu_us:8.0f}{figures.per_s:8.0f}\n"
            )
            out.flush()


if __name__ == "__main__":
    main(sys.argv[1:] or ["redis://127.0.0.1:6379/0"])
