"""Events and acks, text and binary, in both directions."""

from __future__ import annotations

from typing import Any

from compat.stage import Stage, act
from support.apps.scenario.events import EMITTED, RETURNS
from support.wire.packets import Packet
from support.wire.recorder import Recorder

ARGUMENTS: tuple[tuple[Any, ...], ...] = (
    (),
    (None,),
    ("text",),
    ("naïve ☃ 𝄞", 1, -2.5, True, None),
    ([], {}, [[[]]], {"a": {"b": ["c"]}}),
    (b"\x00\x01\xff",),
    (b"0 looks like text",),
    (b"",),
    ({"deep": [b"1", {"er": b"2"}], "plain": 1}, b"3"),
    ("x" * 20_000,),
)


@act
def arguments_of_events(stage: Stage) -> None:
    client = stage.client()
    for arguments in ARGUMENTS:
        client.call("echo", *arguments)


@act
def arguments_of_events_over_polling(stage: Stage) -> None:
    client = stage.client(transport="polling")
    for arguments in ARGUMENTS:
        client.call("echo", *arguments)


@act
def types_of_arguments(stage: Stage) -> None:
    stage.client().call("kinds", None, True, 1, 1.5, "x", b"x", [1], {"a": 1})


@act
def event_without_ack(stage: Stage) -> None:
    stage.client().emit("echo", "no ack wanted")
    stage.wait("echo")
    stage.settle()


@act
def ack_values(stage: Stage) -> None:
    client = stage.client()
    for name in RETURNS:
        client.call("return", name)


@act
def emitted_values(stage: Stage) -> None:
    client = stage.client()
    for name in EMITTED:
        client.emit("emit", name)
        client.wait_event("emitted")


@act
def emitted_values_over_polling(stage: Stage) -> None:
    client = stage.client(transport="polling")
    for name in EMITTED:
        client.emit("emit", name)
        client.wait_event("emitted")


@act
def event_nobody_handles_gets_no_ack(stage: Stage) -> None:
    client = stage.client()
    client.send(2, ["nobody handles this"], id=7)
    stage.settle()


def _answer(client: Recorder, *args: Any) -> Packet:
    question = client.read_until(lambda packet: packet.event in ("question", "message"))
    client.ack(question, *args)
    return question


@act
def callbacks_of_emit(stage: Stage) -> None:
    client = stage.client()
    for answer in ((), ("one",), (1, "two", {"three": [3]}), (b"binary", {"a": b"x"})):
        client.emit("ask me", "how", "are you")
        _answer(client, *answer)
    stage.wait(*["acknowledged"] * 4)


@act
def callback_of_send(stage: Stage) -> None:
    client = stage.client()
    client.emit("ask me by message")
    _answer(client, "fine")
    stage.wait("acknowledged")


@act
def ack_for_an_unknown_id_is_ignored(stage: Stage) -> None:
    client = stage.client()
    client.send(3, ["unexpected"], id=99)
    client.emit("ask me")
    question = _answer(client, "first answer counts")
    stage.wait("acknowledged")
    client.ack(question, "second answer does not")
    stage.settle()


@act
def call_returns_the_answer(stage: Stage) -> None:
    client = stage.client()
    for number, answer in enumerate(((), ("one",), (1, "two"), (b"x",), ([1, 2],))):
        client.send(2, ["call me", number], id=1000 + number)
        _answer(client, *answer)
        client.read_until(lambda packet, number=number: packet.id == 1000 + number)  # type: ignore[misc]  # early binding


@act
def call_by_the_extension_object(stage: Stage) -> None:
    client = stage.client()
    client.send(2, ["call by server object", "value"], id=1000)
    _answer(client, "answer")
    client.read_until(lambda packet: packet.id == 1000)


@act
def call_another_client(stage: Stage) -> None:
    first, second = stage.client("A"), stage.client("B")
    first.send(2, ["call other", second.sids["/"], "value"], id=1000)
    _answer(second, "from B")
    first.read_until(lambda packet: packet.id == 1000)


@act
def call_times_out(stage: Stage) -> None:
    stage.client().call("call nobody")


@act
def text_and_json_messages(stage: Stage) -> None:
    client = stage.client()
    client.call("message", "text")
    client.call("json", {"a": [1]})
    client.call("message", {"not": "text"})
    stage.settle()


@act
def send_to_rooms(stage: Stage) -> None:
    first, second = stage.client("A"), stage.client("B")
    second.call("join", stage.room("post"))
    first.call("send all", stage.room("post"))
    stage.settle()


@act(variant="in order")
def handlers_run_in_order(stage: Stage) -> None:
    client = stage.client()
    for number in range(30):
        client.emit("order", number)
    stage.settle()


@act(variant="custom json")
def custom_json_module(stage: Stage) -> None:
    client = stage.client()
    client.call("echo", 1.5, {"a": [2.5]})
    client.emit("emit set")
    client.wait_event("emitted")


@act
def background_task_emits(stage: Stage) -> None:
    client = stage.client()
    client.call("background", 3)
    client.call("background go")
    client.wait_event("done")


@act
def background_task_asks_and_calls(stage: Stage) -> None:
    client = stage.client()
    client.emit("background ask")
    _answer(client, "an answer", 2)
    stage.wait("answered")
    client.emit("background call")
    _answer(client, "called back")
    client.wait_event("answer was")


@act
def view_emits(stage: Stage) -> None:
    client = stage.client()
    room = stage.room("view")
    client.call("join", room)
    stage.note(stage.server.get(f"/emit?room={room.replace(' ', '+')}").text)
    stage.settle()


@act
def view_moves_clients_between_rooms(stage: Stage) -> None:
    client = stage.client()
    answer = stage.server.get(f"/rooms?sid={client.sids['/']}&room={stage.room('view').replace(' ', '+')}")
    stage.note(answer.text)
    stage.settle()


@act
def view_disconnects_a_client(stage: Stage) -> None:
    client = stage.client()
    stage.note(stage.server.get(f"/disconnect?sid={client.sids['/']}").text)
    stage.wait("disconnect")
    client.read_until(lambda packet: packet.name == "DISCONNECT")
