"""Connecting, being refused, leaving."""

from __future__ import annotations

import contextlib

from compat.stage import Stage, act
from support.wire.engine import Closed

REFUSALS = ("false", "plain", "message", "data", "more", "number", "socketio")


@act
def connect_without_auth(stage: Stage) -> None:
    stage.client()
    stage.settle()


@act
def connect_with_auth(stage: Stage) -> None:
    client = stage.client(connect=None)
    client.connect("/", {"token": "é", "deep": [1, {"a": None}]})
    stage.settle()


@act
def connect_with_empty_auth(stage: Stage) -> None:
    stage.client(connect=None).connect("/", {})
    stage.settle()


@act
def connect_over_polling(stage: Stage) -> None:
    client = stage.client(transport="polling", connect=None)
    client.connect("/", {"token": 1})
    client.call("echo", "over polling", b"\x00\xff")
    stage.settle()


@act
def connect_handler_without_auth_parameter(stage: Stage) -> None:
    stage.client(connect="/no-auth").fence("/no-auth")
    stage.client("B", connect=None).connect("/no-auth", {"ignored": True})


@act
def connect_handler_with_optional_auth(stage: Stage) -> None:
    stage.client(connect="/optional-auth")
    stage.client("B", connect=None).connect("/optional-auth", {"given": True})


@act
def connect_handlers_behind_a_decorator(stage: Stage) -> None:
    for name in ("A", "B"):  # the second client's handler is called as the first one's wanted to be
        client = stage.client(name, connect=None)
        client.connect("/injected", {"token": 1})
        client.connect("/injected-alone", {"token": 1})
        client.fence("/injected-alone")


@act
def connect_handler_that_returns_something(stage: Stage) -> None:
    for name, answer in {"A": None, "B": True, "C": 0, "D": "text", "E": False}.items():
        stage.client(name, connect=None).connect("/returns", {"answer": answer})


@act
def refusals(stage: Stage) -> None:
    client = stage.client(connect=None)
    for refusal in REFUSALS:
        client.connect(f"/refuse-{refusal}")
    client.connect("/")
    stage.settle()


@act(variant="no default error handler")
def refusal_by_the_builtin_error(stage: Stage) -> None:
    stage.client(connect=None).connect("/refuse-builtin")


@act
def refusal_can_be_followed_by_another_attempt(stage: Stage) -> None:
    client = stage.client(connect=None)
    client.connect("/returns", {"answer": False})
    client.connect("/returns", {"answer": True})


@act
def refused_client_gets_no_events(stage: Stage) -> None:
    client = stage.client()
    client.connect("/refuse-false")
    client.emit("fence", namespace="/refuse-false")
    stage.settle()


@act
def several_namespaces_on_one_connection(stage: Stage) -> None:
    client = stage.client()
    client.connect("/other")
    client.connect("/class")
    client.disconnect("/other")
    stage.wait("disconnect")
    client.emit("join", "a room", namespace="/other")
    stage.note(len(set(client.sids.values())))
    stage.settle()


@act
def client_disconnects_by_packet(stage: Stage) -> None:
    client = stage.client()
    client.disconnect()
    stage.wait("disconnect")


@act
def client_connects_again_after_disconnecting(stage: Stage) -> None:
    client = stage.client()
    client.disconnect()
    stage.wait("disconnect")
    client.connect()
    client.call("echo", "back again")


@act
def client_drops_the_connection(stage: Stage) -> None:
    stage.client().abort()
    stage.wait("disconnect")


@act
def client_sends_a_close_packet(stage: Stage) -> None:
    client = stage.client()
    client.send_raw("1")
    stage.wait("disconnect")


@act
def client_closes_its_polling_session(stage: Stage) -> None:
    client = stage.client(transport="polling")
    client.abort()
    stage.wait("disconnect")


@act(variant="short pings")
def client_that_answers_no_ping_is_disconnected(stage: Stage) -> None:
    # Over polling, because with eventlet Flask-SocketIO gives a WebSocket a second time-out, with another reason.
    stage.client(transport="polling")  # polls no more, so it answers no ping
    stage.wait("disconnect")


@act
def server_disconnects_the_client(stage: Stage) -> None:
    client = stage.client()
    client.emit("disconnect me")
    stage.wait("disconnect")
    with contextlib.suppress(Closed):
        client.read_until(lambda packet: packet.name == "DISCONNECT")


@act
def disconnect_handler_runs_before_disconnect_returns(stage: Stage) -> None:
    stage.client(connect="/order").emit("disconnect me", namespace="/order")
    stage.wait("disconnect handler ran", "disconnect() returned")


@act
def server_disconnects_another_client(stage: Stage) -> None:
    first, second = stage.client("A"), stage.client("B")
    first.call("disconnect other", second.sids["/"])
    stage.wait("disconnect")
    second.read_until(lambda packet: packet.name == "DISCONNECT")
    first.call("facade disconnect", "nobody")
    stage.settle()


@act(variant="no default error handler")
def disconnect_handler_without_reason(stage: Stage) -> None:
    stage.client(connect="/old-style").disconnect("/old-style")
    stage.wait("disconnect without reason")


@act
def disconnect_handler_emits_to_others(stage: Stage) -> None:
    first, second = stage.client("A", connect="/farewell"), stage.client("B", connect="/farewell")
    for client in (first, second):
        client.call("join farewell", stage.room("hall"), namespace="/farewell")
    first.disconnect("/farewell")
    second.wait_event("left", "/farewell")
    stage.wait("farewell")


@act(variant="always connect")
def always_connect_accepts_before_the_handler_runs(stage: Stage) -> None:
    client = stage.client(connect=None)
    client.connect("/emits-on-connect")
    client.fence("/emits-on-connect")


@act(variant="factory")
def extension_made_before_the_app(stage: Stage) -> None:
    client = stage.client()
    client.call("echo", "through init_app")
    stage.note(stage.server.get("/session").status)
    stage.note(stage.server.get("/socket.io/?EIO=4&transport=polling").status)
