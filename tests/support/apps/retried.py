"""Orders that are handled once; the test says when a handler goes on."""

from __future__ import annotations

from typing import Any

from flask import Flask

from support.apps import base

STEP_S = 0.02


def make_app() -> tuple[Flask, Any]:
    """Make the application and its extension object."""
    app = Flask(__name__)
    library = base.library()
    socketio = library.SocketIO(app, **base.options())
    journal = base.Journal()
    state = {"go on": False}
    base.add_views(app, socketio, journal)

    @app.get("/go-on")
    def go_on() -> str:
        state["go on"] = True
        return ""

    @app.get("/wait")
    def wait() -> str:
        state["go on"] = False
        return ""

    @socketio.user_loader
    def load_user(auth: Any) -> Any:
        return (auth or {}).get("user")

    def handle(data: Any) -> Any:
        journal.note("order", data["id"])
        while not state["go on"]:
            socketio.sleep(STEP_S)
        return {"id": data["id"], "number": len(journal.entries())}, b"\x00\xff"

    socketio.on_event("order", handle, once=lambda data: data["id"])

    async def handle_later(data: Any) -> Any:
        import asyncio

        journal.note("order", data["id"])
        while not state["go on"]:
            await asyncio.sleep(STEP_S)
        return {"id": data["id"], "number": len(journal.entries())}, b"\x00\xff"

    socketio.on_event("order_later", handle_later, once=lambda data: data["id"])

    @socketio.on("fail once", once=lambda data: data["id"])
    def fail_once(data: Any) -> Any:
        journal.note("fail once", data["id"])
        if len(journal.entries()) == 1:
            raise ZeroDivisionError
        return len(journal.entries())

    class Counter(library.Namespace):  # type: ignore[name-defined,misc]  # of the library under test
        @library.once(lambda data: data["id"])
        def on_order(self, data: Any) -> Any:
            return handle(data)

        @library.once(lambda data: data["id"])
        async def on_order_later(self, data: Any) -> Any:
            return await handle_later(data)

    socketio.on_namespace(Counter("/counter"))
    return app, socketio
