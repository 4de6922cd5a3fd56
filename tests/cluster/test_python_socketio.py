"""Processes with python-socketio's own managers on the same channel are heard, and hear us."""

from __future__ import annotations

import json
import logging
import threading
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import socketio

from flask_socketio_core.cluster import calls_to_all
from flask_socketio_core.common.reasons import DisconnectReason
from flask_socketio_core.contracts.clients import CallAnswers, Emission
from flask_socketio_core.server.interface import Group
from support.nodes import Bus, Node, wait_until

from .buses import make_bus

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.timeout(120)

GREETING = "are you there"
# Their threads go on until the test run ends, and what they hold must not be collected before.
_kept: list[Theirs] = []
MANAGERS = {"redis": socketio.RedisManager, "rabbitmq": socketio.KombuManager, "kombu": socketio.KombuManager}


class Theirs:
    """A server of python-socketio's that records what it hears instead of delivering it."""

    def __init__(self, bus: Bus, manager_class: Any) -> None:
        url = bus.url.removeprefix("kombu+")
        self.manager = manager_class(url, channel=bus.channel)
        self.heard: list[dict[str, Any]] = []
        for method in ("emit", "enter_room", "leave_room", "close_room", "disconnect"):
            setattr(self.manager, f"_handle_{method}", self.heard.append)
        self.server = socketio.Server(client_manager=self.manager, async_mode="threading")
        self.manager.initialize()
        self.emitter = manager_class(url, channel=bus.channel, write_only=True)

    def methods(self) -> list[tuple[str, Any]]:
        real = [message for message in self.heard if message.get("event") != GREETING]
        return [(message["method"], message.get("room")) for message in real]

    def close(self) -> None:
        """Close what can be closed; their listening threads have no end."""
        _kept.append(self)
        for manager in (self.manager, self.emitter):
            if isinstance(manager, socketio.KombuManager):
                manager.publisher_connection.close()
            elif manager.connected:
                manager.redis.connection_pool.disconnect()


@pytest.fixture(params=MANAGERS)
def kind(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def bus(request: pytest.FixtureRequest, kind: str) -> Bus:
    return make_bus(request, kind)


@pytest.fixture
def node(bus: Bus) -> Iterator[Node]:
    node = Node(bus).start()
    yield node
    node.close()


@pytest.fixture
def theirs(bus: Bus, kind: str, node: Node) -> Iterator[Theirs]:
    theirs = Theirs(bus, MANAGERS[kind])

    def hears_us() -> bool:
        node.cluster.emit(Emission(GREETING, ()))
        return bool(theirs.heard)

    wait_until(hears_us, "first message at python-socketio's server")
    yield theirs
    theirs.close()


def test_their_emitter_reaches_our_clients_once(node: Node, theirs: Theirs) -> None:
    member = node.connect()
    node.cluster.enter_room(member.sid, "room")
    binary = {"a": [b"\x00\xff"]}
    theirs.emitter.emit("to all", ("two", binary))
    theirs.emitter.emit("to room", {"n": 1}, room="room")
    theirs.emitter.emit("skipped", "x", skip_sid=member.sid)
    theirs.emitter.emit("last", None)
    assert [event for event in member.wait_for(3) if event[0] != GREETING] == [
        ["to all", "two", binary],
        ["to room", {"n": 1}],
        ["last", None],
    ]


def test_their_server_gets_our_clients_acknowledgement(node: Node, theirs: Theirs) -> None:
    member = node.connect()
    member.answer = ("yes", 7)
    answers: list[tuple[object, ...]] = []
    theirs.manager._handle_emit = lambda message: None
    theirs.manager.emit("ask", 1, room=member.sid, namespace="/", callback=lambda *args: answers.append(args))
    wait_until(lambda: (member.receive(), answers)[1], "acknowledgement at python-socketio's server")
    assert answers == [("yes", 7)]


def test_their_server_moves_and_disconnects_our_clients(node: Node, theirs: Theirs) -> None:
    member = node.connect()
    theirs.manager.enter_room(member.sid, "/", "room")
    wait_until(lambda: node.server.members("room"), "client in the room")
    theirs.manager.leave_room(member.sid, "/", "room")
    wait_until(lambda: not node.server.members("room"), "client out of the room")
    theirs.manager.disconnect(member.sid, "/")
    wait_until(lambda: (member.receive(), member.left)[1], "disconnection")


def test_their_server_hears_everything_of_ours_once(node: Node, theirs: Theirs) -> None:
    node.cluster.emit(
        Emission("one room", (b"\x00", 1), to=("room",), skip=frozenset({"s1"}), exclude=frozenset({"s2"}))
    )
    node.cluster.emit(Emission("rooms", ("x",), to=("room", "other"), namespace="/chat"))
    node.cluster.enter_room("sid", "room")
    node.cluster.leave_room("sid", "room")
    node.cluster.close_room("room")
    node.cluster.disconnect("sid")
    node.cluster.emit(Emission("last", ()))
    wait_until(lambda: len(theirs.methods()) >= 7, "last message")
    assert theirs.methods() == [
        ("emit", "room"),
        ("emit", ["room", "other"]),
        ("enter_room", "room"),
        ("leave_room", "room"),
        ("close_room", "room"),
        ("disconnect", None),
        ("emit", None),
    ]
    first, second = (message for message in theirs.heard if message.get("event") in ("one room", "rooms"))
    assert first["binary"] is True
    assert first["skip_sid"] == ["s1", "s2"]  # what is excluded may be a sid of theirs
    assert first["data"] == [[{"_placeholder": True, "num": 0}, 1], "AA=="]
    assert second["namespace"] == "/chat"
    assert json.dumps(first)  # nothing but JSON


def test_their_server_is_told_of_single_clients_that_are_moved_and_kicked(node: Node, theirs: Theirs) -> None:
    their_sid = theirs.manager.server.eio.generate_id()
    reason = DisconnectReason("server disconnect", "banned")
    node.cluster.move(Group("/", (their_sid, "room")), ("new",), ("old",))
    node.cluster.kick(
        Group("/", (their_sid, "room"), frozenset({"a room"})), reason, close=True
    )  # not theirs
    node.cluster.kick(Group("/", (their_sid,), frozenset({their_sid})), reason, close=True)  # nobody
    node.cluster.kick(Group("/", ("room", their_sid)), reason, close=True)
    node.cluster.emit(Emission("last", ()))
    wait_until(lambda: theirs.heard[-1].get("event") == "last", "last message")
    heard = [
        (message["method"], message["sid"], message.get("room"))
        for message in theirs.heard
        if message["method"] != "emit"
    ]
    assert heard == [
        ("leave_room", their_sid, "old"),
        ("enter_room", their_sid, "new"),
        ("disconnect", their_sid, None),
    ]


def test_what_our_servers_say_to_each_other_is_nothing_to_them(
    node: Node, theirs: Theirs, bus: Bus, caplog: pytest.LogCaptureFixture
) -> None:
    other = Node(bus)
    told: list[Any] = []
    other.servers.on_topic("news", lambda payload, teller: told.append(payload))
    for one in (node, other):
        one.servers.on_topic("echo", lambda payload, asker: payload)
    other.start()
    try:
        before = len(theirs.heard)
        with caplog.at_level(logging.DEBUG):
            theirs.manager._get_logger().setLevel(logging.DEBUG)
            outcome = other.servers.ask("echo", b"\x00")
            assert outcome.answers == {node.servers.node: b"\x00", other.servers.node: b"\x00"}
            assert outcome.complete  # they are not counted
            member = other.connect()
            emission = Emission("for clients of theirs, too", ())
            begin = partial(node.cluster.call_all, emission, 15.0)
            calling = threading.Thread(target=lambda: told.append(calls_to_all.wait(node.mode, begin)))
            calling.start()
            wait_until(lambda: (member.receive(), told)[1], "answers")
            assert told.pop() == CallAnswers(
                answers={member.sid: "ok"}, missing={}
            )  # of theirs nobody says anything
            node.servers.tell("news", 1)
            wait_until(lambda: told, "news")
            node.cluster.emit(Emission("last", ()))
            wait_until(lambda: theirs.methods().count(("emit", None)) == 2, "last message")
        heard = [
            record.getMessage().rpartition(" ")[2]
            for record in caplog.records
            if "pubsub message" in record.msg
        ]
        assert {"node", "ask", "answer", "tell", "asked", "acked"} <= set(
            heard
        )  # so they were there, and ignored
        assert [message["event"] for message in theirs.heard[before:]] == [emission.event, "last"]
        assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    finally:
        other.close()


def test_our_call_gets_their_clients_acknowledgement(node: Node, theirs: Theirs) -> None:
    def deliver(message: dict[str, Any]) -> None:
        sid, namespace, number = message["callback"]
        theirs.manager._return_callback(message["host_id"], sid, namespace, number, "from", "them")

    theirs.manager._handle_emit = deliver
    assert node.cluster.call(Emission("ask"), "their-sid", timeout_s=10) == ("from", "them")
