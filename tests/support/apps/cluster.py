"""A server of a cluster that does what the test tells it, and that the clients of the test connect to."""

from __future__ import annotations

import ast
import asyncio
import dataclasses
import os
import socket
import time
from typing import Any

from flask import Flask, current_app, jsonify, request

from support.apps import base
from support.operations import Operator

BROKER_NAME = "broker.test"
"""A host that this process finds at 127.0.0.1, unless there is the file that the setting ``name_gone`` names."""
RESOLVER_S = 1.0
"""How long it takes then to say that there is none, seconds, as behind a name server that does not answer."""


def name_broker(gone: str) -> None:
    """Have this process know the broker's name."""
    look_up = socket.getaddrinfo

    def getaddrinfo(host: Any, *args: Any, **kwargs: Any) -> Any:
        if host != BROKER_NAME:
            return look_up(host, *args, **kwargs)
        if os.path.exists(gone):
            time.sleep(RESOLVER_S)
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return look_up("127.0.0.1", *args, **kwargs)

    socket.getaddrinfo = getaddrinfo


def make_app() -> tuple[Flask, Any]:
    """Make the application and its extension object.

    Settings: ``name_gone``, see :data:`BROKER_NAME`.
    """
    if "name_gone" in base.settings():
        name_broker(base.settings()["name_gone"])
    library = base.library()
    journal = base.Journal()
    app = Flask(__name__)
    socketio = library.SocketIO(app, **base.options())
    operator = Operator(socketio)

    @app.post("/do")
    def do() -> str:
        name, args, keywords = ast.literal_eval(request.get_data(as_text=True))
        return repr(operator.do(name, *args, **keywords))

    @app.get("/health")
    def health() -> Any:
        return jsonify(dataclasses.asdict(socketio.health()))

    @socketio.on("join")
    def join(*rooms: str) -> None:
        for room in rooms:
            library.join_room(room)

    @socketio.on("join whatever")
    def join_whatever(room: str) -> str:
        try:
            library.join_room(room)
        except ValueError as error:
            return str(error)
        return "in"

    @socketio.on("say")
    def say(room: str, text: str) -> None:
        library.emit("said", text, to=room, include_self=False)

    @socketio.on("join", namespace="/chat")
    def join_chat() -> None:
        library.join_room("chat")

    base.add_views(app, socketio, journal)
    if hasattr(socketio, "servers"):
        add_topics(socketio)
        socketio.user_loader(lambda auth: auth and auth["user"])
    return app, socketio


def add_topics(socketio: Any) -> None:
    """Let other servers ask this one: which mode it has, what it was told, and what takes a while."""
    told: list[Any] = []

    @socketio.on_server("remember")
    def remember(*args: Any) -> None:
        told.append(list(args))

    @socketio.on_server("remembered")
    def remembered() -> Any:
        return told

    @socketio.on_server("mode")
    async def mode(value: Any) -> Any:
        socketio.tell_servers("remember", "from a coroutine")
        return [socketio.async_mode, value, current_app.name]

    @socketio.on("ask from a coroutine")
    async def ask(room: str) -> Any:
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[Any] = loop.create_future()

        def end(*answer: Any) -> None:
            loop.call_soon_threadsafe(ended.set_result, answer)

        found = await socketio.call_all_async("question", 8, to=room, timeout=60)
        socketio.emit("question", 9, to=next(iter(found.answers)), callback=end, timeout=60, on_timeout=end)
        return [sorted(found.answers), found.complete, await ended]

    @socketio.on_server("wait")
    def wait(seconds: float) -> float:
        socketio.sleep(seconds)
        return seconds

    @socketio.on_server("fail")
    def fail(*args: Any) -> None:
        raise LookupError(*args)
