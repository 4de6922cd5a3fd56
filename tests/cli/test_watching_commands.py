"""`flask socketio top` and `tail`: running servers are looked at from another process, which may end in any way."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask

from flask_socketio_core import SocketIO, emit
from flask_socketio_core.cli import watching_view
from flask_socketio_core.cli.watching import Tally
from flask_socketio_core.cluster.memory import MemoryQueue
from flask_socketio_core.cluster.topics import WATCH
from flask_socketio_core.selection import Plugins
from support.brokers import Broker
from support.nodes import Bus, Node
from support.servers import wait_until

from .apps import Shop, make_app

Run = Callable[..., Result]

pytestmark = pytest.mark.timeout(120)

#: Seconds within which a process must have started, or ended, on a loaded machine.
PATIENCE_S = 60.0


class Traffic:
    """Events at the servers of a shop, until the end."""

    def __init__(self, shop: Shop) -> None:
        self._ended = threading.Event()
        self._clients = shop.clients
        for socketio in shop.socketios:
            socketio.on_error_default(lambda error: None)
            socketio.on("say")(lambda *words: emit("said", *words, to="members"))
            socketio.on("fail")(self._fail)
        self._thread = threading.Thread(target=self._go_on)
        self._thread.start()

    @staticmethod
    def _fail() -> None:
        raise ValueError("as asked")

    def _go_on(self) -> None:
        while not self._ended.wait(0.01):
            for client in self._clients:
                client.emit("say", "secret\x1b[31m \u202e")
                client.emit("fail")
                client.get_received()  # or it would be one that does not read

    def end(self) -> None:
        self._ended.set()
        self._thread.join()


@pytest.fixture
def busy(shop: Shop) -> Iterator[Shop]:
    traffic = Traffic(shop)
    yield shop
    traffic.end()


def plugins_of(shop: Shop) -> list[Plugins]:
    return [socketio._binding().plugins for socketio in shop.socketios]


def nodes_of(shop: Shop) -> list[str]:
    return sorted(socketio.servers.node for socketio in shop.socketios)


def is_free(plugins: Plugins) -> bool:
    return not (plugins.observes_events or plugins.observes_deliveries)


def test_top_has_the_numbers_of_all_servers(run: Run, busy: Shop) -> None:
    result = run("top", "--json", "--interval", "0.5")
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert [server["node"] for server in found["servers"]] == nodes_of(busy)
    assert (found["missing"], found["complete"]) == ({}, True)
    for server in found["servers"]:
        assert (server["clients"], server["outbox_packets"]) == (2, 0)
        assert server["events_per_s"] > server["failed_per_s"] > 0
        assert server["recipients_per_s"] >= server["sent_per_s"] > 0
        assert server["rooms"] > 0 and server["handled_ms"] > 0
        assert server["waited_ms"] >= 0 and server["bus_lag_ms"] is not None
    assert wait_until(lambda: all(map(is_free, plugins_of(busy))), timeout_s=10)


def test_tail_shows_samples_of_all_servers(run: Run, busy: Shop) -> None:
    result = run("tail", "--limit", "40")
    assert result.exit_code == 0, result.output
    lines = [line.split() for line in result.output.splitlines() if line[2] == ":"]
    assert len(lines) == 40
    assert {line[1] for line in lines} == {node[:8] for node in nodes_of(busy)}
    told = {(line[2], line[3]) for line in lines}
    assert told == {("received", "'say'"), ("sent", "'said'"), ("received", "'fail'"), ("failed", "'fail'")}
    assert "secret" not in result.output
    assert wait_until(lambda: all(map(is_free, plugins_of(busy))), timeout_s=10)


def test_tail_shows_what_it_is_asked_for(run: Run, busy: Shop) -> None:
    result = run("tail", "--limit", "3", "--event", "said", "--room", "members", "--args", "--json")
    samples = [json.loads(line) for line in result.stdout.splitlines() if "left_out" not in line]
    assert [(item["what"], item["event"], item["to"]) for item in samples] == [
        ("sent", "said", ["members"])
    ] * 3
    assert [item["args"] for item in samples] == [r"'secret\x1b[31m \u202e'"] * 3
    result = run("tail", "--limit", "2", "--user", "ben", "--namespace", "/", "--event", "fail", "--json")
    samples = [json.loads(line) for line in result.stdout.splitlines() if "left_out" not in line]
    (ben,) = busy.socketios[0].who(to="@user:ben", local=True)
    assert {item["sid"] for item in samples} == {ben.sid}


def test_what_is_more_than_the_rate_is_left_out_and_told(run: Run, busy: Shop) -> None:
    result = run("tail", "--rate", "2", "--limit", "8")
    assert len([line for line in result.stdout.splitlines() if line[2] == ":"]) == 8
    told = [line for line in result.stdout.splitlines() if line.startswith("...")]
    assert told and all(line.endswith("are left out") for line in told)
    assert {line.split()[5] for line in told} == {node[:8] for node in nodes_of(busy)}


def test_who_does_not_answer_is_named(run: Run, shop: Shop) -> None:
    release = threading.Event()
    bus = Bus(MemoryQueue, shop.options["message_queue"], shop.options["channel"])
    silent, wrong, old = Node(bus), Node(bus), Node(bus)
    silent._topics.add(WATCH, lambda payload, node: release.wait(30))
    wrong._topics.add(WATCH, lambda payload, node: {"clients": "\x1b[31m", "samples": [{}], "seen": 1})
    try:
        for node in (silent, wrong, old):
            node.start()
        missing = {
            silent.cluster.node: "silent",
            wrong.cluster.node: "an answer that is none",
            old.cluster.node: "unable",
        }
        result = run("top", "--json", "--timeout", "2", "--interval", "0.1")
        assert result.exit_code == 1
        found = json.loads(result.output)
        assert (found["missing"], found["complete"], len(found["servers"])) == (missing, False, 2)
        shop.socketios[0].on("say")(lambda: None)
        with ticking(lambda: shop.clients[0].emit("say")):
            result = run("tail", "--limit", "1", "--timeout", "2")
        assert sorted(result.stderr.splitlines()[1:4]) == sorted(
            f"missing: server {node}: {cause}" for node, cause in missing.items()
        )
    finally:
        release.set()
        for node in (silent, wrong, old):
            node.close()


@contextmanager
def ticking(work: Callable[[], object]) -> Iterator[None]:
    """Do something again and again."""
    ended = threading.Event()

    def go_on() -> None:
        while not ended.wait(0.05):
            work()

    thread = threading.Thread(target=go_on)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_where_no_server_is_it_is_said(invoke: Callable[..., Result]) -> None:
    result = invoke(make_app(message_queue="memory://nobody"), "top", "--json", "--interval", "0.1")
    assert (result.exit_code, json.loads(result.output)["servers"]) == (1, [])
    assert "A server joins at its first request" in " ".join(watching_view.top_lines([], {}, width=80))
    result = invoke(make_app(), "tail")
    assert result.exit_code == 1 and "reaches servers through a message queue" in result.output


# ------------------------------------------------------------------------------------------------ how it is shown

READING = dict.fromkeys(("at_s", "since_s", *watching_view.NOW, *watching_view.GROWING), 0)


def test_rates_come_from_two_readings_of_one_server() -> None:
    before = {**READING, "at_s": 5.0, "handled": 10, "handled_s": 1.0, "begun": 10}
    now = {
        **before,
        "at_s": 7.0,
        "handled": 30,
        "handled_s": 1.5,
        "begun": 20,
        "recipients": 8,
        "bus_lag_s": 0.5,
        "recovered": 6,
        "not_recovered": 2,
    }
    found = watching_view.server_data("n", now, before)
    rates = [
        found[name] for name in ("events_per_s", "handled_ms", "waited_ms", "recipients_per_s", "bus_lag_ms")
    ]
    assert rates == [10, 25, 0, 4, 500]
    assert (found["recovered_per_s"], found["not_recovered_per_s"], found["evicted_events_per_s"]) == (
        3,
        1,
        0,
    )
    for other in (
        None,
        {**before, "since_s": 1.0},
        now,
    ):  # none, one that has begun anew, and no time between them
        assert watching_view.server_data("n", now, other)["events_per_s"] is None


def test_a_table_fits_80_columns_and_says_what_should_not_be() -> None:
    large = {**READING, **dict.fromkeys(watching_view.NOW, 123_456)}
    now = {**large, "at_s": 1.0, "handled": 98_765, "handled_s": 9.9e4, "recipients": 10**7, "failed": 7}
    now |= {"not_recovered": 3, "evicted_events": 10**6}
    servers = [watching_view.server_data(str(n) * 32, {**now, "bus_lag_s": 12.5}, large) for n in range(3)]
    lines = watching_view.top_lines(
        servers, {"9" * 32: "silent", "8" * 32: "gone \x1b[31m" + "x" * 200}, width=80
    )
    assert max(map(len, lines)) <= 80 and all(line.isprintable() for line in lines)
    assert lines[0].split() == [
        "server",
        "clients",
        "rooms",
        "events/s",
        "ms",
        "sent/s",
        "busy",
        "outbox",
        "lag",
        "ms",
    ]
    assert lines[4].split()[:4] == ["all", "3", "370368", "370368"]
    text = "\n".join(lines)
    assert f"missing: server {'9' * 32}: silent" in text
    assert "server 00000000: 7 handlers fail per second" in text
    assert "server 00000000: 3 clients come back per second and have to start anew" in text
    assert "1000000 events that clients may miss are forgotten per second" in text


def test_no_answer_is_believed() -> None:
    reading, sample = watching_view.reading_of, watching_view.samples_of
    assert reading(READING) and reading({**READING, "bus_lag_s": 0.1, "later": "version"})
    wrong: list[Any] = [None, [], {}, {**READING, "clients": "1"}, {**READING, "bus_lag_s": []}]
    for answer in (*wrong, {**READING, "at_s": float("nan")}):
        assert reading(answer) is None
    good: dict[str, Any] = {
        "at": 1.5,
        "what": "sent",
        "namespace": "/",
        "event": "e\x1b",
        "to": ["r\n"],
        "recipients": 1,
        "size_bytes": 2,
    }
    found = sample({"samples": [{**good, "later": "version"}], "seen": 3})
    assert found == ([good], 3)
    line = watching_view.sample_line({**good, "node": "n" * 32})
    assert line.isprintable() and line[12:] == r" nnnnnnnn sent     'e\x1b' to r\n, 1 clients, 2 bytes"
    for samples in ([{**good, "to": [1]}], [{**good, "what": "told"}], [None], None):
        assert sample({"samples": samples, "seen": 1}) is None
    assert sample({"samples": []}) is None and sample(None) is None


def test_what_was_lost_on_the_way_is_left_out_too() -> None:
    tally = Tally()
    one, two = {"at": 2.0}, {"at": 1.0}
    assert tally.take({"a": ([], 0)}) == ([], {})
    assert tally.take({"a": ([one], 3), "b": ([two], 1)}) == (
        [{"node": "b", **two}, {"node": "a", **one}],
        {"a": 2},
    )
    assert tally.take({"a": ([one], 9)}) == ([{"node": "a", **one}], {"a": 5})
    assert tally.take({"a": ([one], 1)}) == ([{"node": "a", **one}], {})  # it has begun anew


# ------------------------------------------------------------------------------------------ processes of their own

APP = """\
from flask import Flask
from flask_socketio_core import SocketIO
app = Flask(__name__)
SocketIO(app, **{options!r})
"""


class Shell:
    """A command in a process of its own, in a mode if that is installed."""

    def __init__(self, folder: Path, mode: str, options: dict[str, Any], *arguments: str) -> None:
        if importlib.util.find_spec(f"flask_socketio_async_{mode}") is None:
            mode = "threading"
        name = f"app_{uuid.uuid4().hex[:8]}"
        (folder / f"{name}.py").write_text(APP.format(options={**options, "async_mode": mode}))
        self._told = folder / f"{name}.err"
        with self._told.open("wb") as told:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flask", "--app", name, "socketio", *arguments],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=told,
            )
        assert self.process.stdout is not None
        self.stdout = self.process.stdout

    @property
    def told(self) -> str:
        return self._told.read_text()

    def wait_until_watching(self) -> None:
        assert wait_until(lambda: "watching: " in self.told, timeout_s=PATIENCE_S), self.told

    def end(self) -> int:
        """Wait for its end and return its status."""
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.stdout.close()


@pytest.mark.timeout(300)
def test_the_servers_are_free_again_however_the_command_ends(redis_broker: Broker, tmp_path: Path) -> None:
    pytest.importorskip("flask_socketio_queue_redis", reason="the plugin for Redis is not installed")
    options: dict[str, Any] = {"message_queue": redis_broker.url, "channel": f"watch-{uuid.uuid4().hex[:12]}"}
    app = Flask("server")
    socketio = SocketIO(app, async_mode="threading", **options)
    watched = socketio.binding_of(app).watched  # plugins may observe besides
    assert watched is not None
    client = socketio.test_client(app)
    shells = [
        Shell(tmp_path, "threading", options, "tail", "--timeout", "2"),
        Shell(tmp_path, "eventlet", options, "tail", "--timeout", "2"),
        Shell(tmp_path, "gevent", options, "top", "--timeout", "2", "--interval", "0.5"),
    ]
    killed, unread, interrupted = shells
    try:
        assert b"events/s" in interrupted.stdout.readline()
        interrupted.process.send_signal(signal.SIGINT)
        assert interrupted.end() == 0, interrupted.told
        shown = interrupted.stdout.read().decode()
        assert "\x1b" not in shown and " 1 " in shown.splitlines()[0], shown
        unread.wait_until_watching()
        unread.stdout.close()  # and nothing happens that could not be written
        assert unread.end() == 1
        assert unread.told.splitlines()[-1].startswith("watching: "), unread.told
        killed.wait_until_watching()
        assert watched.is_watched
        killed.process.kill()
        killed.end()
        # Nobody says so, and an event finds it out once the lease is over.
        with ticking(lambda: socketio.emit("news")):
            assert wait_until(lambda: not watched.is_watched, timeout_s=30)
    finally:
        for shell in shells:
            shell.close()
        client.disconnect()
        socketio.close()
