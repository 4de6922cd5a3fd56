"""An application whose handlers are coroutine functions."""

from __future__ import annotations

import asyncio
import contextvars
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from flask import Flask, g, request, session

from flask_socketio_core.errors import CallTimeout
from support.apps import base


def make_app() -> tuple[Flask, Any]:
    """Make the application and its extension object."""
    app = Flask(__name__)
    app.secret_key = "for tests only"
    library = base.library()
    socketio = library.SocketIO(app, **base.options())
    journal = base.Journal()
    base.add_views(app, socketio, journal)
    running: list[asyncio.Task[None]] = []

    @app.teardown_request
    def tear_down(error: BaseException | None) -> None:
        event = getattr(request, "event", None)
        if event is not None:
            journal.note("teardown", event["message"], error)

    @app.get("/fork")
    def fork() -> Any:
        """Fork, run a coroutine on the child's own loop, and tell what it said and which descriptors it was given."""
        coroutines = socketio._binding().dispatcher.coroutines
        with tempfile.NamedTemporaryFile() as told:
            mine = set(os.listdir("/proc/self/fd"))
            child = os.fork()
            if child == 0:
                try:
                    inherited = set(os.listdir("/proc/self/fd"))

                    async def answer() -> str:
                        await asyncio.sleep(0.01)
                        return "awaited"

                    said = coroutines.wait(answer(), contextvars.copy_context())
                    Path(told.name).write_text(json.dumps([said, len(mine - inherited)]))
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
            return Path(told.name).read_text()

    @socketio.on("connect")
    async def connect(auth: Any) -> Any:
        await asyncio.sleep(0.05)
        session["naps"] = 0
        if auth == {"refuse": "plainly"}:
            return False
        if auth == {"refuse": "with data"}:
            raise library.ConnectionRefusedError("not today", 5)
        return None

    @socketio.on("disconnect")
    async def disconnect(reason: str) -> None:
        await asyncio.sleep(0.05)
        journal.note("disconnect", reason, library.rooms())

    @socketio.on("nap")
    async def nap(seconds: float) -> Any:
        g.slept = seconds
        await asyncio.sleep(seconds)
        session["naps"] += 1
        library.emit("napped", g.slept)
        return seconds, request.sid

    @socketio.on("naps")
    def naps() -> Any:
        return session["naps"]

    @socketio.on("fail")
    async def fail() -> None:
        await asyncio.sleep(0.01)
        raise ValueError("on purpose")

    @socketio.on("reject")
    async def reject() -> None:
        await asyncio.sleep(0.01)
        raise library.EventRejected(ack="rejected")

    @socketio.on("ask")
    async def ask() -> Any:
        return await socketio.call_async("question", 1, to=request.sid, timeout=5)

    @socketio.on("ask nobody")
    async def ask_nobody() -> Any:
        try:
            return await socketio.call_async("unanswered", to=request.sid, timeout=0.1)
        except CallTimeout as error:
            return str(error)

    @socketio.on("leave behind")
    async def leave_behind() -> str:
        async def later() -> None:
            await asyncio.sleep(0.1)
            library.emit("later", request.sid)

        running.append(asyncio.create_task(later()))
        return "over"

    @socketio.on("in thread")
    async def in_thread() -> Any:
        def wait() -> str:
            time.sleep(0.01)
            return str(request.sid)

        return await asyncio.to_thread(wait)

    @socketio.on("fetch")
    async def fetch() -> str:
        reader, writer = await asyncio.open_connection("localhost", int(request.environ["SERVER_PORT"]))
        writer.write(b"GET /ready HTTP/1.0\r\n\r\n")
        line = await reader.readline()
        writer.close()
        return line.decode().split()[1]

    @socketio.on("block")
    async def block(seconds: float) -> None:
        time.sleep(seconds)  # a coroutine must not

    @socketio.on("compute")
    async def compute(seconds: float) -> None:
        until_s = time.perf_counter() + seconds
        while time.perf_counter() < until_s:
            pass

    @socketio.on("call all")
    async def call_all() -> Any:
        found = await socketio.call_all_async("question", 10, timeout=30)
        try:
            socketio.call_all("question", 10)
        except RuntimeError as error:
            return [list(found.answers.values()), found.complete, str(error)]

    @socketio.on("call back")
    async def call_back() -> None:
        async def callback(value: int) -> None:
            await asyncio.sleep(0.01)
            library.emit("called back", value)

        library.emit("question", 10, callback=callback, timeout=5)
        library.emit("question", 10, to="nobody", timeout=5, on_timeout=lambda error: callback(20))

    @socketio.on("for ever")
    async def for_ever() -> None:
        journal.note("for ever")
        try:
            await asyncio.sleep(3600)
        finally:
            app.logger.warning("cancelled in the end")

    class Methods(library.Namespace):  # type: ignore[name-defined,misc]  # the library is chosen when this runs
        async def on_say(self, text: str) -> Any:
            await asyncio.sleep(0.01)
            self.emit("said", text)
            return [text, request.sid]

        async def on_fail(self) -> None:
            await asyncio.sleep(0.01)
            raise KeyError("on purpose")

        async def error(self, error: Exception) -> str:
            await asyncio.sleep(0.01)
            return f"handled {error!r}"

    socketio.on_namespace(Methods("/methods"))

    around = library.SocketBlueprint("/around")

    @around.on("say")
    async def say(text: str) -> str:
        await asyncio.sleep(0.01)
        return f"{text} said"

    @around.on("plain")
    def plain(text: str) -> str:
        return f"{text} plain"

    @around.on("fail")
    async def fail_there() -> None:
        raise KeyError("there")

    @around.before_event("*")
    async def before(event: str, args: tuple[Any, ...]) -> Any:
        await asyncio.sleep(0.01)
        return "answered before" if args == ("stop",) else None

    @around.after_event("*")
    def after(event: str, answer: Any) -> Any:
        return f"{answer}, then after"

    @around.teardown_event("*")
    async def end(event: str, error: BaseException | None) -> None:
        journal.note("end", event, error)

    socketio.register_blueprint(around)

    @socketio.on_error("/around")
    async def handle(error: Exception) -> str:
        await asyncio.sleep(0.01)
        return f"error handler: {error!r}"

    return app, socketio
