"""A server of Flask-SocketIO and one of ours on one channel serve an application together, while it moves over."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
import socketio as python_socketio

from support.nodes import Bus, wait_until
from support.servers import REFERENCE, THREADING, serving

from .buses import broker_of, make_bus
from .stage import EVERYONE, OUTSIDE, Stage, cluster_app, emitting

pytestmark = pytest.mark.timeout(120)

OURS, THEIRS = "ours", "theirs"
MANAGERS: dict[str, Any] = {"redis": python_socketio.RedisManager, "rabbitmq": python_socketio.KombuManager}
BINARY = {"a": [b"\x00\xff"]}


@pytest.fixture(scope="module", params=MANAGERS)
def bus(request: pytest.FixtureRequest) -> Bus:
    return make_bus(request, request.param)


@pytest.fixture(scope="module")
def stage(bus: Bus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A server of each library, and a process of ours that only sends."""
    directory = tmp_path_factory.mktemp("both")
    ours = cluster_app(bus)
    theirs = dataclasses.replace(
        ours, library=REFERENCE, options={"message_queue": bus.url, "channel": bus.channel}
    )
    with ExitStack() as stack:
        stage = Stage(stack.enter_context(emitting(bus)))
        for name, app in ((OURS, ours), (THEIRS, theirs)):
            server = stack.enter_context(serving(THREADING, app, directory))
            stack.callback(stage.add(name, server).close)
        stage.become_one()
        yield stage


@pytest.fixture
def their_emitter(bus: Bus) -> Iterator[Any]:
    manager = MANAGERS[bus.kind](bus.url, channel=bus.channel, write_only=True)
    yield manager
    if bus.kind == "redis":
        manager.redis.connection_pool.disconnect()
    else:
        manager.publisher_connection.close()


def assert_heard(stage: Stage, *events: tuple[Any, ...]) -> None:
    """Assert that everybody has heard these events of one name, each once, and no others of that name."""
    expected = sorted(events, key=repr)
    assert stage.heard(events[0][0]) == dict.fromkeys(stage.people, expected)


def test_everybody_hears_everybody_once(stage: Stage) -> None:
    for name, sender in stage.senders.items():
        sender.do("emit", "to all", (name, BINARY))
        sender.do("emit", "to a room", name, to=EVERYONE)
        for person in stage.people.values():
            sender.do("emit", "to one", name, to=person.sid)
            sender.do("emit", "to others", name, to=EVERYONE, skip_sid=person.sid)
    stage.settle("")
    assert_heard(stage, *(("to all", name, BINARY) for name in stage.senders))
    for event in ("to a room", "to one", "to others"):
        assert_heard(stage, *((event, name) for name in stage.senders))


def test_their_write_only_emitter_is_heard_once(stage: Stage, their_emitter: Any) -> None:
    their_emitter.emit("from a manager", BINARY)
    their_emitter.emit("last of a manager", 1, room=EVERYONE)
    for name, person in stage.people.items():
        wait_until(partial(person.numbers, "last of a manager"), f"last event at the client of {name}")
    assert_heard(stage, ("from a manager", BINARY))


def test_clients_are_moved_and_answer_across_libraries(stage: Stage) -> None:
    for name, sender in stage.senders.items():
        for person in stage.people.values():
            sender.do("enter_room", person.sid, f"of {name}")
        sender.do("emit", "entered", name, to=f"of {name}")
        sender.do("leave_room", stage.people[OURS].sid, f"of {name}")
        sender.do("emit", "left", name, to=f"of {name}")
        sender.do("close_room", f"of {name}")
        sender.do("emit", "closed", name, to=f"of {name}")
    stage.settle()
    entered, left = ([(event, name) for name in sorted(stage.senders)] for event in ("entered", "left"))
    assert stage.heard("entered", "left", "closed") == {OURS: entered, THEIRS: entered + left}
    # Theirs cannot carry bytes in an answer.
    for sender in (stage.senders[OURS], stage.senders[THEIRS], stage.senders[OUTSIDE]):
        for person in stage.people.values():
            assert sender.do("call", "question", 7, to=person.sid, timeout=10) == ("answer", 7)


def test_they_hear_each_other_again_after_a_restart_of_the_broker(
    stage: Stage, bus: Bus, request: pytest.FixtureRequest
) -> None:
    broker = broker_of(request, bus.kind)
    assert broker is not None
    with broker.outage():
        pass
    stage.become_one(60)
    for name, sender in stage.senders.items():
        sender.do("emit", "after", name)
    stage.settle("")
    assert_heard(stage, *(("after", name) for name in stage.senders))
