"""Real servers and clients: two on Redis of which one is killed, and the JavaScript module."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from flask_socketio_core.selection import Plugins
from support.brokers import Broker
from support.clients import JS, node
from support.servers import (
    GEVENT_BUILTIN,
    GEVENT_WORKERS,
    GTHREAD_WORKERS,
    SEVERAL,
    THREADING,
    AppSpec,
    Server,
    ServerKind,
    kind_params,
    serving,
    skip_marks,
    wait_until,
)
from support.wire.engine import WebSocket

pytestmark = pytest.mark.timeout(150)

PATIENCE_S = 20.0
RECOVERY_S = 60.0
"""Seconds after the broker's return in which everything is known: longest pause between two attempts, and slack."""


class Person:
    """A client with a user, and what it has heard of room ``doc:7``."""

    def __init__(self, server: Server, user: str, meta: dict[str, Any] | None = None) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.socket = WebSocket(server.port, timeout_s=PATIENCE_S)
        self.socket.receive()
        self.socket.send(f"40{json.dumps(user)}")
        answer = self.socket.receive()
        assert str(answer).startswith("40{"), answer
        self.socket.send(f"42{json.dumps(['open', '7', meta or {}])}")
        self.hear(lambda event, told: event == "presence_state" and user in told)

    def hear(self, wanted: Callable[[str, Any], object]) -> None:
        """Receive until something is heard."""
        while True:
            packet = self.socket.receive()
            if packet == "2":
                self.socket.send("3")
                continue
            event, told, room = json.loads(str(packet).removeprefix("42"))
            assert room == "doc:7"
            self.heard.append((event, told))
            if wanted(event, told):
                return

    def hear_change(self, kind: str, user: str) -> None:
        """Receive until a difference names a user."""
        self.hear(lambda event, told: event == "presence_diff" and user in told[kind])

    def always_saw(self, user: str) -> bool:
        """Say whether no difference that was heard left nothing of a user who was there with one connection."""
        number = 1
        for _, told in self.heard:
            number += len(told["joins"].get(user, {"metas": ()})["metas"])
            number -= len(told["leaves"].get(user, {"metas": ()})["metas"])
            if number < 1:
                return False
        return True

    def hear_until(self, *users: str) -> None:
        """Receive until what was heard comes to these users."""
        wanted = set(users)
        if self.shown() != wanted:
            self.hear(lambda *_: self.shown() == wanted)

    def shown(self) -> set[str]:
        """Return the users that a page would show which has heard the same."""
        refs: set[tuple[str, str]] = set()
        for event, told in self.heard:
            if event == "presence_state":
                refs = _refs(told)
            else:
                refs = (refs | _refs(told["joins"])) - _refs(told["leaves"])
        return {user for user, _ in refs}

    def close_document(self) -> None:
        self.socket.send('42["close","7"]')


def _refs(told: dict[str, Any]) -> set[tuple[str, str]]:
    return {(user, meta["phx_ref"]) for user, entry in told.items() for meta in entry["metas"]}


def present(server: Server) -> Any:
    return json.loads(server.get("/present/7").body)


def wait_present(server: Server, *users: str) -> None:
    assert wait_until(lambda: sorted(present(server)["users"]) == sorted(users), timeout_s=PATIENCE_S), (
        present(server)
    )


def test_the_plugin_is_listed_as_usable() -> None:
    listed = {plugin.name: plugin.status for plugin in Plugins().describe().plugins}
    assert listed["presence"] == "ok"


@pytest.mark.parametrize(
    ("broker", "kind"),
    [
        pytest.param(broker, kind, id=f"{broker}-{kind.name}", marks=skip_marks(kind))
        for broker, kind in (
            ("redis", THREADING),
            ("redis", GEVENT_BUILTIN),
            ("rabbitmq", GEVENT_BUILTIN),
            ("kafka", THREADING),
        )
    ],
)
def test_two_servers_show_one_list_and_a_killed_one_leaves_it(
    broker: str, kind: ServerKind, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    running: Broker = request.getfixturevalue(f"{broker}_broker")
    options = {
        "message_queue": running.url,
        "channel": f"presence-{uuid.uuid4().hex}",
        "message_queue_options": {"heartbeat_interval_s": 0.5},
    }
    spec = AppSpec(app="present", options=options, settings={"SOCKETIO_PRESENCE_GRACE_S": 3})
    with ExitStack() as stack:
        first = stack.enter_context(serving(kind, spec, tmp_path))
        ann = Person(first, "ann", {"tab": 1})
        second = stack.enter_context(serving(kind, spec, tmp_path))
        ben = Person(second, "ben")  # it has made its server join
        wait_present(second, "ann", "ben")
        ann.hear_change("joins", "ben")
        eve = Person(first, "eve")
        ben.hear_change("joins", "eve")

        # A page that is loaded again, on the other server: neither then nor when the time is over has its user left. If
        # the new connection is heard of before the end of the old one, they may be seen side by side.
        del ben.heard[:]
        ann.socket.abort()
        ann = Person(second, "ann", {"tab": 1})
        dan = Person(first, "dan")
        ben.hear_change("joins", "dan")
        dan.close_document()
        ben.hear_change("leaves", "dan")
        assert ben.always_saw("ann")
        assert present(first)["users"]["ann"] == [{"tab": 1}]

        # A second tab is another entry of the same user, and goes at once.
        tab = Person(second, "ann", {"tab": 2})
        eve.hear(lambda event, told: event == "presence_diff" and "ann" in told["joins"])
        tab.socket.abort()
        eve.hear(lambda event, told: event == "presence_diff" and "ann" in told["leaves"])
        assert present(first)["count"] == 3

        first.process.kill()
        first.process.wait()
        ben.hear_change("leaves", "eve")
        assert present(second) == {"users": {"ann": [{"tab": 1}], "ben": [{}]}, "count": 2}
        expected = [("joined", user) for user in ("ann", "ben", "eve", "dan")] + [
            ("left", "dan"),
            ("left", "eve"),
        ]
        noted = second.wait_journal(*(name for name, _ in expected))  # clients are told before handlers
        assert sorted((name, user) for name, _, user in noted) == sorted(expected)


@pytest.mark.parametrize("kind", kind_params(GTHREAD_WORKERS, GEVENT_WORKERS))
def test_a_worker_that_has_served_pages_only_shows_who_is_at_the_others(
    kind: ServerKind, tmp_path: Path
) -> None:
    with serving(kind, AppSpec(app="present"), tmp_path) as server:
        Person(server, "ann")
        shown: dict[int, int] = {}

        def all_show_her() -> bool:
            pid, count = json.loads(server.get("/count/7").body)
            shown[pid] = count
            return sum(shown.values()) == SEVERAL

        assert wait_until(all_show_her, timeout_s=PATIENCE_S), shown


@pytest.mark.parametrize(
    ("scheme", "kind"),
    [
        pytest.param("redis", THREADING, id="redis-threading", marks=skip_marks(THREADING)),
        pytest.param("redis+streams", GEVENT_BUILTIN, id="streams-gevent", marks=skip_marks(GEVENT_BUILTIN)),
    ],
)
def test_a_broker_that_was_away_leaves_one_list(
    scheme: str, kind: ServerKind, redis_broker: Broker, tmp_path: Path
) -> None:
    options = {
        "message_queue": f"{scheme}://{redis_broker.url.partition('://')[2]}",
        "channel": f"presence-{uuid.uuid4().hex}",
    }
    spec = AppSpec(app="present", options=options, settings={"SOCKETIO_PRESENCE_GRACE_S": 0.2})
    with ExitStack() as stack:
        servers = [stack.enter_context(serving(kind, spec, tmp_path)) for _ in range(2)]
        first, second = servers
        ann, dan = Person(first, "ann"), Person(first, "dan")
        ben, eve = Person(second, "ben"), Person(second, "eve")
        for watcher in (ann, ben):
            watcher.hear_until("ann", "ben", "dan", "eve")
        with redis_broker.outage():
            fay, gus = Person(first, "fay"), Person(second, "gus", {"tab": 1})
            dan.socket.abort()
            eve.close_document()
            ann.socket.send('42["open","7",{"busy":true}]')
            ann.hear_until("ann", "ben", "eve", "fay")
            ben.hear_until("ann", "ben", "dan", "gus")
            assert present(first)["count"] == present(second)["count"] == 4
        there = {"ann": [{"busy": True}], "ben": [{}], "fay": [{}], "gus": [{"tab": 1}]}
        wait_until(lambda: all(present(server)["users"] == there for server in servers), timeout_s=RECOVERY_S)
        assert [present(server) for server in servers] == [{"users": there, "count": 4}] * 2
        for watcher in (ann, ben, fay, gus):
            watcher.hear_until(*there)
        for server in servers:
            left = [user for name, _, user in server.wait_journal("left", "left") if name == "left"]
            assert sorted(left) == ["dan", "eve"]


def test_the_javascript_module_keeps_the_list(tmp_path: Path) -> None:
    settings = {"SOCKETIO_PRESENCE_GRACE_S": 0.2, "SOCKETIO_PRESENCE_MAX_LISTED": 3}
    with serving(THREADING, AppSpec(app="present", settings=settings), tmp_path) as server:
        done = subprocess.run(
            [node(), "presence.mjs", server.url],
            cwd=JS,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
