"""An application that is observed by every hook there is for that, and notes all it is told."""

from __future__ import annotations

import inspect
from typing import Any

from flask import Flask, request

from flask_socketio_core.contracts import hookspecs
from support.apps import base

KINDS = (hookspecs.DESCRIBING, hookspecs.SETTING_UP, hookspecs.SURROUNDING)
OBSERVED = [
    name
    for name in vars(hookspecs)
    if name.startswith("socketio_") and not any(name in kind for kind in KINDS)
]
OBSERVED.remove("socketio_response_headers")  # it is asked for every response


def make_app() -> tuple[Flask, Any]:
    """Make the application and its extension object."""
    library = base.library()
    journal = base.Journal()
    app = Flask(__name__)
    socketio = library.SocketIO(app, **base.options())
    for hook in OBSERVED:
        socketio.observe(observer(hook, journal, socketio))

    @socketio.observe
    def socketio_response_headers(environ: dict[str, Any], first: bool) -> dict[str, str]:
        return {"X-First": str(first), "Content-Length": "1", "X-Method": environ["REQUEST_METHOD"]}

    @socketio.on("join")
    def join(room: str) -> None:
        library.join_room(room)
        library.join_room(room)

    @socketio.on("part")
    def part(room: str) -> None:
        library.leave_room(room)

    @socketio.on("say")
    def say(room: str, text: str) -> None:
        socketio.emit("said", text, to=room, callback=lambda *_: None)

    @socketio.on("fail")
    def fail(after_s: float = 0) -> None:
        socketio.sleep(after_s)
        raise ValueError("as asked")

    @socketio.on("kick me")
    def kick(reason: str) -> None:
        library.disconnect(reason=getattr(socketio.reason, reason))

    @socketio.on("flood me")
    def flood() -> None:
        for _ in range(200):  # 20 MB, more than sockets take
            socketio.emit("flood", "x" * 100_000, to=request.sid)

    @socketio.on("connect")
    @socketio.on("disconnect")
    def come_and_go() -> None:
        """Have a handler, which observers are told of."""

    @socketio.on("map")
    def map_both_ways() -> list[Any]:
        client = socketio.server.client(request.sid)
        others = socketio.server.clients_of(client.engine_sid)
        return [client.engine_sid, [[other.sid, other.namespace] for other in others]]

    @socketio.on("join", namespace="/second")
    def join_second() -> None:
        """Have a namespace."""

    base.add_views(app, socketio, journal)
    return app, socketio


def observer(hook: str, journal: base.Journal, extension: Any) -> Any:
    """Return a function for a hook that notes all its arguments by name."""
    names = ", ".join(inspect.signature(getattr(hookspecs, hook)).parameters)

    def note(facts: dict[str, Any]) -> None:
        assert facts.pop("socketio") is extension
        facts.pop("args", None)  # they may be large, and the journal is read again and again
        if "environ" in facts:
            facts["environ"] = {key: facts["environ"][key] for key in ("PATH_INFO", "QUERY_STRING")}
        if "reason" in facts:
            facts["detail"] = facts["reason"].detail
        journal.note(hook.removeprefix("socketio_"), facts)

    scope: dict[str, Any] = {"note": note}
    exec(f"def {hook}({names}):\n    return note(locals())", scope)
    return scope[hook]
