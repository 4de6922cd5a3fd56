"""Commands that reach the clients of servers that run: shown, told, asked and kicked, from another process."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import Result

from flask_socketio_core import SocketIOTestClient, user
from flask_socketio_core.cluster.memory import MemoryQueue
from support.servers import wait_until

from .apps import Shop, make_app

Invoke = Callable[..., Result]


def heard(client: SocketIOTestClient) -> list[Any]:
    return [[event["name"], *event["args"]] for event in client.get_received()]


def test_who_is_there_is_shown(run: Callable[..., Result]) -> None:
    result = run("clients", "--room", "members")
    assert result.exit_code == 0, result.output
    # A cell that is too long goes on in a line of its own.
    lines = [line.split() for line in result.output.splitlines() if line[:1].strip()]
    assert lines[0] == ["sid", "user", "address", "since", "rooms", "server"]
    assert sorted(line[1] for line in lines[1:4]) == ["ann", "ann", "ben"]
    assert lines[-1] == ["3", "clients"]
    assert max(map(len, result.output.splitlines())) <= 80
    found = json.loads(run("clients", "--user", "ann", "--json").output)
    assert [client["user"] for client in found["clients"]] == ["ann", "ann"]
    assert len({client["node"] for client in found["clients"]}) == 2
    assert (found["count"], found["missing"], found["complete"]) == (2, {}, True)
    assert run("clients", "--limit", "1").output.splitlines()[-1] == "1 of 4 clients"


def test_rooms_are_shown_the_largest_first(run: Callable[..., Result]) -> None:
    result = run("rooms")
    lines = [line.split() for line in result.output.splitlines()]
    assert lines[:3] == [["room", "clients"], ["members", "3"], ["@user:ann", "2"]]
    assert lines[-1] == ["3", "rooms,", "4", "clients"]
    assert json.loads(run("rooms", "--json").output)["rooms"][0] == {"room": "members", "clients": 3}


def test_what_clients_have_chosen_is_harmless_to_a_terminal(run: Callable[..., Result], shop: Shop) -> None:
    evil = "\x1b]0;x\x07\x9b31m\u202e\n"
    shop.clients[0].on("price", lambda: evil)
    (ann,) = shop.socketios[0].who(to=user("ann"), local=True)
    shop.socketios[0].move(to=ann.sid, enter=f"room {evil}")
    shop.socketios[0].server.client(ann.sid).user = f"ann {evil}"
    for command in (
        ("clients", "--to", ann.sid),
        ("rooms",),
        ("call", "price", "--to", ann.sid),
        ("clients", "--json"),
        ("rooms", "--json"),
    ):
        result = run(*command)
        assert result.exit_code == 0, result.output
        shown = result.output.replace("\n", "")
        assert "x1b" in shown or "u001b" in shown, shown
        assert shown.isprintable(), command


def test_an_event_is_not_sent_to_all_namespaces(run: Callable[..., Result]) -> None:
    for command in ("emit", "call"):
        result = run(command, "note", "--namespace", "*")
        assert result.exit_code == 2 and "name it in --namespace" in result.output


def test_an_event_is_sent_and_arguments_are_json_or_text(run: Callable[..., Result], shop: Shop) -> None:
    result = run("emit", "note", "hello", '{"a": 1}', "2", "--to", "members", "--exclude", "@user:ben")
    assert result.exit_code == 0, result.output
    told = [["note", "hello", {"a": 1}, 2]]
    heard_by_all: list[list[Any]] = [[] for _ in shop.clients]

    def arrived() -> bool:
        for client, seen in zip(shop.clients, heard_by_all, strict=True):
            seen += heard(client)
        return heard_by_all == [told, [], told, []]

    assert wait_until(arrived, timeout_s=10), heard_by_all


def test_clients_are_kicked(run: Callable[..., Result], shop: Shop) -> None:
    result = run("kick")
    assert result.exit_code == 2 and "say whom: --to ROOM, --user ID, or --all" in result.output
    result = run("kick", "--user", "ann", "--reason", "banned")
    assert (result.exit_code, result.output) == (0, "2 clients\n")
    assert wait_until(lambda: shop.told == [("ann", "banned")] * 2, timeout_s=10)
    assert run("kick", "--all").output == "2 clients\n"
    assert wait_until(lambda: len(shop.told) == 4, timeout_s=10)
    assert run("kick", "--all", "--reason", "shutdown").exit_code == 1


def test_who_does_not_answer_is_shown(run: Callable[..., Result], shop: Shop) -> None:
    shop.clients[0].on("price", lambda of: of + 1)
    result = run("call", "price", "1", "--to", "members", "--timeout", "1", "--json")
    assert result.exit_code == 1, result.output
    found = json.loads(result.output)
    assert list(found["answers"].values()) == [2]
    assert list(found["missing"].values()) == ["silent", "silent"]
    lines = run("call", "price", "1", "--user", "ann", "--timeout", "1").output.splitlines()
    assert lines[-1] == "1 answers, 1 missing"


def test_without_a_queue_it_is_said_what_is_needed(invoke: Invoke) -> None:
    for command in (("clients",), ("rooms",), ("emit", "x"), ("call", "x"), ("kick", "--all")):
        result = invoke(make_app(), *command)
        assert result.exit_code == 1
        assert "reaches servers through a message queue" in result.output


def test_a_broker_that_is_away_is_told(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(MemoryQueue, "publish", _refuse)
    made = make_app(message_queue="memory://away")
    result = invoke(made, "emit", "note", "--timeout", "0.3")
    assert result.exit_code == 1
    assert "the message queue did not take it within 0.3 s: try flask socketio check" in result.output
    assert invoke(made, "clients", "--timeout", "0.3").exit_code == 1


def _refuse(queue: MemoryQueue, *message: Any, **options: Any) -> None:
    raise ConnectionRefusedError("away, for this test")
