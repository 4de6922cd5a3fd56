"""Events: arguments, acks both ways, text and JSON messages, binary, catch-alls, ways to register."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from flask import Flask, request
from socketio import exceptions as socketio_errors

from support.apps.base import plain

if TYPE_CHECKING:
    from support.apps.scenario.journal import Note


class MarkedJson:
    """A custom JSON module that can be told from the default one on the wire."""

    @staticmethod
    def dumps(value: Any, **kwargs: Any) -> str:
        return json.dumps(value, default=lambda other: f"custom:{sorted(other)}", **kwargs)

    @staticmethod
    def loads(text: str, **kwargs: Any) -> Any:
        return json.loads(text, parse_float=lambda number: f"float:{number}", **kwargs)


#: What the event "return" answers with, by name.
RETURNS: dict[str, Any] = {
    "none": None,
    "text": "text",
    "empty text": "",
    "zero": 0,
    "false": False,
    "list": [1, 2],
    "tuple": (1, "two", [3]),
    "empty tuple": (),
    "tuple of one": ("one",),
    "dict": {"a": {"b": None}},
    "bytes": b"\x00\x01",
    "text first": b"4text",
    "nested bytes": {"a": [b"x", {"b": b"y"}], "c": 1},
    "tuple of bytes": (b"x", 1, b"y"),
}

#: What the event "emit" sends, by name.
EMITTED: dict[str, tuple[Any, ...]] = {
    "nothing": (),
    "none": (None,),
    "text": ("text",),
    "unicode": ("naïve ☃ 𝄞 \x1e \u2028",),
    "number": (1.5,),
    "false": (False,),
    "list": ([1, [2, [3]]],),
    "dict": ({"a": {"b": [None, True]}},),
    "tuple": ((1, "two", {"three": 3}),),
    "empty tuple": ((),),
    "bytes": (b"\x00\xff",),
    "high bytes": (b"0123",),
    "empty bytes": (b"",),
    "nested bytes": ({"a": b"1", "b": [b"2", {"c": b"3"}]},),
    "tuple of bytes": ((b"1", "two", b"3"),),
}


def register(socketio: Any, app: Flask, library: Any, note: Note) -> None:
    """Add the handlers."""
    _arguments(socketio, library, note)
    _callbacks(socketio, library, note)
    _messages(socketio, library, note)
    _catch_all_events(socketio, note)
    if app.config["CATCH_ALL_NAMESPACE"]:
        _catch_all_namespaces(socketio, note)
    _registration(socketio)


def _arguments(socketio: Any, library: Any, note: Note) -> None:
    @socketio.on("echo")
    def echo(*args: Any) -> Any:
        note("echo", list(args))
        return args

    @socketio.on("return")
    def returning(name: str) -> Any:
        return RETURNS[name]

    @socketio.on("emit")
    def emitting(name: str) -> None:
        library.emit("emitted", *EMITTED[name])

    @socketio.on("emit set")
    def emitting_a_set() -> None:
        library.emit("emitted", {"set": {2, 1}})

    @socketio.on("kinds")
    def kinds(*args: Any) -> list[str]:
        return [type(arg).__name__ for arg in args]

    @socketio.on("order")
    def order(number: int) -> None:
        library.emit("ordered", number)
        note("order", number)


def _callbacks(socketio: Any, library: Any, note: Note) -> None:
    def acknowledged(*args: Any) -> None:
        note("acknowledged", list(args), getattr(request, "sid", "")[:0])

    @socketio.on("ask me")
    def ask_me(*args: Any) -> None:
        library.emit("question", args, callback=acknowledged)

    @socketio.on("ask me by message")
    def ask_me_by_message() -> None:
        library.send("question", callback=acknowledged)

    @socketio.on("call me")
    def call_me(*args: Any) -> Any:
        return {"answer": plain(library.call("question", args, timeout=5))}

    @socketio.on("call other")
    def call_other(sid: str, value: Any) -> Any:
        return {"answer": plain(library.call("question", value, to=sid, timeout=5))}

    @socketio.on("call nobody")
    def call_nobody() -> list[bool]:
        try:
            library.call("question", timeout=0.2)
        except Exception as error:  # noqa: BLE001  # the type is what the test wants to see
            return [isinstance(error, socketio_errors.TimeoutError)]
        return []

    @socketio.on("call by server object")
    def call_by_object(value: Any) -> Any:
        return {"answer": plain(socketio.call("question", value, to=request.sid, timeout=5))}


def _messages(socketio: Any, library: Any, note: Note) -> None:
    @socketio.on("message")
    def message(text: Any) -> Any:
        note("message", text)
        library.send(["message", text])
        return "ack of message"

    @socketio.on("json")
    def json_message(data: Any) -> None:
        note("json", data)
        library.send(data, json=True)

    @socketio.on("send all")
    def send_all(room: str) -> None:
        library.join_room(room)
        library.send("to the room", to=room)
        library.send({"to": "the room"}, json=True, room=room)
        library.send("not to me", to=room, include_self=False)
        socketio.send("from outside", to=room)
        socketio.send([1], json=True, to=room)
        socketio.send("not to me either", to=room, skip_sid=request.sid)


def _catch_all_events(socketio: Any, note: Note) -> None:
    @socketio.on("fence", namespace="/catch-all")
    def fence() -> None:
        """Answer at once."""

    @socketio.on("known", namespace="/catch-all")
    def known(*args: Any) -> list[Any]:
        return ["known", *args]

    @socketio.on("*", namespace="/catch-all")
    def any_event(event: str, *args: Any) -> list[Any]:
        note("any event", event, list(args), request.event, request.namespace)
        return ["any", event, *args]


def _catch_all_namespaces(socketio: Any, note: Note) -> None:
    @socketio.on("fence", namespace="*")
    def fence(*args: Any) -> None:
        """Answer at once."""

    @socketio.on("known", namespace="*")
    def known_anywhere(*args: Any) -> list[Any]:
        note("known anywhere", list(args), request.event, request.namespace)
        return ["known anywhere", *args]

    @socketio.on("*", namespace="*")
    def anything_anywhere(event: str, *args: Any) -> list[Any]:
        note("anything anywhere", event, list(args), request.event, request.namespace)
        return ["anything anywhere", event, *args]


def _registration(socketio: Any) -> None:
    @socketio.event
    def by_function_name(value: Any) -> list[Any]:
        return ["by function name", value]

    @socketio.event(namespace="/registration")
    def by_function_name_elsewhere(value: Any) -> list[Any]:
        return ["elsewhere", value]

    def plain_function(value: Any) -> list[Any]:
        return ["on_event", value]

    socketio.on_event("by on_event", plain_function, namespace="/registration")
    socketio.on_event("fence", lambda: None, namespace="/registration")

    @socketio.on("replaced")
    def first() -> str:
        return "first"

    @socketio.on("replaced")
    def second() -> str:
        return "second"
