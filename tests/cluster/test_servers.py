"""Servers of every mode, a process that only sends and real clients act as one server, over every broker."""

from __future__ import annotations

import itertools
import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from flask import Flask
from flask.cli import FlaskGroup

from flask_socketio_core import SocketIO, user
from support.nodes import Bus, wait_until
from support.servers import MODE_KINDS, THREADING

from .buses import make_bus
from .stage import EVERYONE, OUTSIDE, Person, available, playing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .stage import Stage

pytestmark = pytest.mark.timeout(120)

#: Messages of one sender to one room.
MANY = 10_000
MEGABYTE = b"\x00\xff" * 500_000


@pytest.fixture(scope="module", params=["redis", "streams", "rabbitmq", "kafka", "host"])
def bus(request: pytest.FixtureRequest) -> Bus:
    return make_bus(request, request.param)


@pytest.fixture(scope="module")
def stage(bus: Bus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A server of each mode, and nobody has heard anything yet."""
    with playing(bus, available(*MODE_KINDS), tmp_path_factory.mktemp("stage")) as stage:
        yield stage


def shell(bus: Bus) -> FlaskGroup:
    """Return the commands of an application on this bus."""

    def create_app() -> Flask:
        app = Flask("shell")
        SocketIO(app, async_mode="threading", message_queue=bus.url, channel=bus.channel)
        return app

    return FlaskGroup(create_app=create_app)


def test_everybody_hears_what_is_sent_to_all(stage: Stage) -> None:
    for name, sender in stage.senders.items():
        sender.do("emit", "to all", name, {"two": [2]})
    stage.settle("")
    expected = sorted(("to all", name, {"two": [2]}) for name in stage.senders)
    assert stage.heard("to all") == dict.fromkeys(stage.people, expected)


def test_the_shell_sees_what_all_of_them_do(stage: Stage, bus: Bus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")  # Flask sets it for good; here it is undone

    def run(*arguments: str) -> list[str]:
        command = ["socketio", *arguments, "--timeout", "30"]
        with ThreadPoolExecutor() as pool:
            running = pool.submit(CliRunner().invoke, shell(bus), command)
            while not running.done():
                for person in stage.people.values():
                    person.client.call("join", ("watched",), timeout=30)
        result = running.result()
        assert result.exit_code == 0, (result.output, result.exception)
        return result.stdout.splitlines()

    found = json.loads("".join(run("top", "--json")))
    assert found["complete"] and len(found["servers"]) == len(stage.servers)
    for server in found["servers"]:
        assert server["clients"] >= 1 and server["events_per_s"] > 0 and server["handled_ms"] > 0
    seen = [
        json.loads(line)
        for line in run("tail", "--event", "join", "--args", "--rate", "2", "--limit", "12", "--json")
    ]
    samples = [item for item in seen if "left_out" not in item]
    assert {item["node"] for item in samples} == {server["node"] for server in found["servers"]}
    assert {(item["what"], item["event"], item["args"]) for item in samples} == {
        ("received", "join", "'watched'")
    }
    assert {item["sid"] for item in samples} == {person.sid for person in stage.people.values()}


def test_rooms_and_single_clients_are_reached_once_wherever_they_are(stage: Stage) -> None:
    for name, person in stage.people.items():
        person.client.call("join", (f"of {name}", f"also of {name}"), timeout=10)
    for sender_name, sender in stage.senders.items():
        for name, person in stage.people.items():
            sender.do("emit", "to room", sender_name, to=f"of {name}")
            sender.do("emit", "to rooms", sender_name, to=[f"of {name}", f"also of {name}"])
            sender.do("emit", "to one", sender_name, to=person.sid)
    stage.settle(*(f"of {name}" for name in stage.people), *(person.sid for person in stage.people.values()))
    for event in ("to room", "to rooms", "to one"):
        expected = sorted((event, name) for name in stage.senders)
        assert stage.heard(event) == dict.fromkeys(stage.people, expected), event


def test_who_is_left_out_hears_nothing(stage: Stage) -> None:
    sids = {name: person.sid for name, person in stage.people.items()}
    for name, person in stage.people.items():
        person.client.call("join", f"own room of {name}", timeout=10)
    for sender_name, sender in stage.senders.items():
        for name, sid in sids.items():
            sender.do("emit", "skipping one", sender_name, name, to=EVERYONE, skip_sid=sid)
        sender.do("emit", "skipping all", to=EVERYONE, skip_sid=list(sids.values()))
        for name in sids:
            sender.do(
                "emit", "excluding a room", sender_name, name, to=EVERYONE, exclude=f"own room of {name}"
            )
        sender.do("emit", "excluding all", exclude=EVERYONE)
        sender.do("emit", "local", sender_name, to=EVERYONE, local=True)
    for name, person in stage.people.items():
        person.client.call("say", (EVERYONE, name), timeout=10)
    stage.settle()
    assert stage.heard("skipping all", "excluding all", "said") == {
        name: [("said", other) for other in sorted(stage.people) if other != name] for name in stage.people
    }
    for event in ("skipping one", "excluding a room"):
        assert stage.heard(event) == {
            name: sorted(
                (event, *pair) for pair in itertools.product(stage.senders, stage.people) if pair[1] != name
            )
            for name in stage.people
        }
    assert stage.heard("local") == {name: [("local", name)] for name in stage.people}


def test_clients_are_moved_between_rooms_from_elsewhere(stage: Stage) -> None:
    leaver = next(iter(stage.people))
    rooms = {name: f"made by {name}" for name in stage.senders}
    for name, sender in stage.senders.items():
        for person in stage.people.values():
            sender.do("enter_room", person.sid, rooms[name])
        sender.do("emit", "entered", name, to=rooms[name])
        sender.do("leave_room", stage.people[leaver].sid, rooms[name])
        sender.do("emit", "one left", name, to=rooms[name])
        sender.do("close_room", rooms[name])
        sender.do("emit", "closed", name, to=rooms[name])
    stage.settle(*rooms.values())
    everybody = [("entered", name) for name in sorted(stage.senders)]
    rest = [("one left", name) for name in sorted(stage.senders)]
    assert stage.heard("entered", "one left", "closed") == {
        name: everybody if name == leaver else everybody + rest for name in stage.people
    }


def test_clients_are_disconnected_from_elsewhere(stage: Stage) -> None:
    for sender, server in itertools.product(stage.senders.values(), stage.servers.values()):
        guest = Person(server)
        try:
            sender.do("disconnect", guest.sid)
            wait_until(lambda guest=guest: not guest.client.connected, "disconnection")  # type: ignore[misc]
        finally:
            guest.close()
    assert all(person.client.connected for person in stage.people.values())


def test_rooms_are_moved_and_emptied_from_elsewhere(stage: Stage) -> None:
    for name, sender in stage.senders.items():
        room = f"guests of {name}"
        guests = [Person(server, room) for server in stage.servers.values()]
        rest, *gone = guests
        try:
            told = sorted((guest.sid, "websocket", "127.0.0.1", (EVERYONE, room)) for guest in guests)
            assert sorted(sender.do("who", to=room)) == told
            assert sender.do("count", to=room, exclude=rest.sid) == len(gone)
            sender.do("move", to=room, exclude=rest.sid, enter=f"kicked by {name}", leave=room)
            sender.do("emit", "bye", 1, to=f"kicked by {name}")
            sender.do("kick", to=f"kicked by {name}", reason=f"by {name}")
            wait_until(lambda gone=gone: not any(guest.client.connected for guest in gone), "end of guests")  # type: ignore[misc]
            assert [guest.numbers("bye") for guest in gone] == [[1]] * len(gone)
            rest.client.call("join", timeout=10)
        finally:
            for guest in guests:
                guest.close()
    assert all(person.client.connected for person in stage.people.values())


def test_users_are_reached_kicked_and_revoked_from_elsewhere(stage: Stage) -> None:
    for name, sender in stage.senders.items():
        owner = f"user of {name}"
        for operation in ("kick", "revoke"):
            tabs = [Person(server, user=owner) for server in stage.servers.values()]
            try:
                sender.do("emit", "to the user", operation, to=user(owner))
                for tab in tabs:
                    wait_until(lambda tab=tab: tab.numbers("to the user"), "event to the user")  # type: ignore[misc]
                assert sender.do("count", to=user(owner)) == len(tabs)
                counts = sender.do("count_rooms")
                assert (counts[user(owner)], counts[EVERYONE]) == (len(tabs), len(tabs) + len(stage.people))
                sender.do(operation, user=owner)
                wait_until(lambda tabs=tabs: all(tab.has_left for tab in tabs), f"end by {operation}")  # type: ignore[misc]
                assert [tab.numbers("to the user") for tab in tabs] == [[operation]] * len(tabs)
            finally:
                for tab in tabs:
                    tab.close()
    assert all(person.client.connected for person in stage.people.values())


def test_the_shell_reaches_clients_wherever_they_are(
    stage: Stage, bus: Bus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")  # Flask sets it for good; here it is undone

    def run(*arguments: str) -> str:
        result = CliRunner().invoke(shell(bus), ["socketio", *arguments])
        assert result.exit_code == 0, result.output
        return result.output

    sids = sorted(person.sid for person in stage.people.values())
    found = json.loads(run("clients", "--to", EVERYONE, "--json"))
    assert (sorted(client["sid"] for client in found["clients"]), found["complete"]) == (sids, True)
    assert {"room": EVERYONE, "clients": len(sids)} in json.loads(run("rooms", "--json"))["rooms"]
    run("emit", "from the shell", "1", "--to", EVERYONE)
    stage.settle()
    assert stage.heard("from the shell") == {name: [("from the shell", 1)] for name in stage.people}
    assert sorted(json.loads(run("call", "question", "7", "--to", EVERYONE, "--json"))["answers"]) == sids
    guests = [Person(server, "of the shell") for server in stage.servers.values()]
    try:
        assert run("kick", "--to", "of the shell") == f"{len(guests)} clients\n"
        wait_until(lambda: all(guest.has_left for guest in guests), "end of guests")
    finally:
        for guest in guests:
            guest.close()


def test_callbacks_and_calls_get_the_answer_of_a_client_elsewhere(stage: Stage) -> None:
    for (sender_name, sender), person in itertools.product(stage.senders.items(), stage.people.values()):
        before = len(sender.do("answers"))
        sender.do("ask", "question", sender_name, b"\x00\xff", to=person.sid)
        wait_until(lambda sender=sender, before=before: len(sender.do("answers")) > before, "answer")  # type: ignore[misc]
        assert sender.do("answers")[before:] == [("answer", sender_name, b"\x00\xff")]
        assert sender.do("call", "question", 7, to=person.sid, timeout=10) == ("answer", 7)


def test_all_clients_of_a_room_are_called_wherever_they_are(stage: Stage) -> None:
    expected = {person.sid: ("answer", 7, b"\x00\xff") for person in stage.people.values()}
    for person in stage.people.values():
        found = person.client.call("ask from a coroutine", EVERYONE, timeout=60)
        assert found == [sorted(expected), True, ["answer", 9]]
    guests = [Person(server, "left alone") for server in stage.servers.values()]
    asked: list[object] = []
    for guest in guests:  # python-socketio's client acknowledges whatever its handlers do
        setattr(guest.client, "_handle_event", lambda *event: asked.append(event))  # noqa: B010  # not for type checkers
    gone = dict.fromkeys([guest.sid for guest in guests], "gone")
    ask = ("ask_clients", "question", 7, b"\x00\xff")
    try:
        for sender in stage.senders.values():
            found = sender.do(*ask, to=EVERYONE, exclude="left alone", timeout=60)
            assert found == (expected, {})
        with ThreadPoolExecutor() as pool:
            calls = [
                pool.submit(sender.do, *ask, to=EVERYONE, timeout=60) for sender in stage.senders.values()
            ]
            wait_until(lambda: len(asked) == len(calls) * len(guests), "questions")
            for guest in guests:
                guest.close()
            assert [call.result() for call in calls] == [(expected, gone)] * len(calls)
    finally:
        for guest in guests:
            guest.close()


def test_binary_values_and_a_megabyte_arrive_as_they_were(stage: Stage) -> None:
    value = {"a": [b"\x00\xff", {"b": bytes(range(256))}], "text": "ü"}
    for name, sender in stage.senders.items():
        sender.do("emit", "binary", name, value)
        sender.do("emit", "megabyte", name, MEGABYTE)
    stage.settle("")
    senders = sorted(stage.senders)
    assert stage.heard("binary") == {
        name: [("binary", sender, value) for sender in senders] for name in stage.people
    }
    assert stage.heard("megabyte") == {
        name: [("megabyte", sender, MEGABYTE) for sender in senders] for name in stage.people
    }


def test_thousands_of_messages_to_a_room_arrive_in_order(stage: Stage) -> None:
    *_, listener = stage.people.values()
    counts = {"threading": MANY, OUTSIDE: MANY // 10}
    listener.client.call("join", tuple(counts), timeout=10)
    with ThreadPoolExecutor() as pool:
        for name, count in counts.items():
            pool.submit(stage.senders[name].do, "pour", f"number of {name}", count, to=name)
    for name, count in counts.items():
        heard = partial(listener.numbers, f"number of {name}")
        wait_until(lambda heard=heard, count=count: len(heard()) >= count, f"last of {name}", 60)  # type: ignore[misc]
        assert heard() == list(range(count))


def test_servers_know_each_other(stage: Stage) -> None:
    health = {name: stage.health(name) for name in stage.servers}
    for name, own in health.items():
        others = [state for other, state in health.items() if other != name]
        assert own["up"] is True
        assert sorted(peer["node"] for peer in own["peers"]) == sorted(state["node"] for state in others)
        assert len({peer["async_mode"] for peer in own["peers"]}) == len(others)
        assert own["lost_sent"] == own["lost_received"] == own["duplicates"] == 0
        stage.wait_sent(name)


def test_servers_of_every_mode_ask_each_other(stage: Stage) -> None:
    nodes = {stage.health(name)["node"]: name for name in stage.servers}
    expected = {
        node: [stage.servers[name].kind.mode, b"\x00", "support.apps.cluster"] for node, name in nodes.items()
    }
    failed = dict.fromkeys(nodes, "LookupError('a', 1)")
    for sender in stage.senders.values():
        assert sender.do("ask_servers", "mode", b"\x00") == {**expected, "complete": True}
        assert sender.do("ask_servers", "fail", "a", 1) == {**failed, "complete": False}
        node = sender.do("tell_servers", "remember", 7)
        assert sender.do("ask_servers", "wait", 0.0, node=next(iter(nodes)))["complete"] is True
        others = [other for other in nodes if other != node]
        wait_until(
            lambda others=others, node=node: all(  # type: ignore[misc]
                [7, node] in stage.senders[OUTSIDE].do("ask_servers", "remembered")[other] for other in others
            ),
            "what was told",
        )


def test_who_waits_for_other_servers_holds_up_nobody(stage: Stage) -> None:
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(sender.do, "ask_servers", "wait", 1.0) for sender in stage.senders.values()]
        for name in stage.servers:
            stage.health(name)
        assert [question.done() for question in waiting] == [False] * len(waiting)
        assert [question.result()["complete"] for question in waiting] == [True] * len(waiting)


def test_a_cluster_on_another_channel_hears_nothing(stage: Stage, bus: Bus, tmp_path: Path) -> None:
    other = Bus(bus.queue_class, bus.url, f"{bus.channel}-other")
    with playing(other, [THREADING], tmp_path) as strangers:
        for sender in (*stage.senders.values(), *strangers.senders.values()):
            sender.do("emit", "whose", sender in strangers.senders.values())
        stage.settle("")
        strangers.settle("")
        assert stage.heard("whose") == {name: [("whose", False)] * 4 for name in stage.people}
        assert strangers.heard("whose") == {"threading": [("whose", True)] * 2}
        assert strangers.health("threading")["peers"] == []
