"""Emitting from where there is no client: views, background tasks, callbacks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Flask, jsonify, request

if TYPE_CHECKING:
    from support.apps.scenario.journal import Note


def register(socketio: Any, app: Flask, library: Any, note: Note) -> None:
    """Add the handlers and views."""
    _views(socketio, app, library)
    _background(socketio, note)


def _views(socketio: Any, app: Flask, library: Any) -> None:
    @app.get("/emit")
    def emit() -> str:
        room = request.args["room"]
        socketio.emit("from a view", {"by": "socketio.emit"}, to=room)
        socketio.send("by socketio.send", to=room)
        library.emit("from a view", {"by": "emit"}, to=room, namespace="/")
        library.send("by send", to=room, namespace="/")
        return "sent"

    @app.get("/rooms")
    def rooms() -> Any:
        sid, room = request.args["sid"], request.args["room"]
        library.join_room(room, sid=sid, namespace="/")
        found = library.rooms(sid, namespace="/")
        library.emit("from a view", "while in", to=room, namespace="/")
        library.leave_room(room, sid=sid, namespace="/")
        library.emit("from a view", "after leaving", to=room, namespace="/")
        library.join_room(room, sid=sid, namespace="/")
        library.close_room(room, namespace="/")
        library.emit("from a view", "after closing", to=room, namespace="/")
        return jsonify(sorted(name for name in found if name != sid))

    @app.get("/call")
    def call() -> Any:
        return jsonify(
            library.call("question", "from a view", to=request.args["sid"], namespace="/", timeout=5)
        )

    @app.get("/disconnect")
    def disconnect() -> str:
        library.disconnect(request.args["sid"], namespace="/")
        return "done"


def _background(socketio: Any, note: Note) -> None:
    told_to_go: set[str] = set()

    @socketio.on("background go")
    def go() -> None:
        told_to_go.add(request.sid)

    @socketio.on("background")
    def background(count: int) -> str:
        sid = request.sid

        def work(first: int, *, step: int) -> None:
            while sid not in told_to_go:
                socketio.sleep(0.01)
            for number in range(count):
                socketio.emit("tick", first + number * step, to=sid)
            socketio.emit("done", to=sid)

        task = socketio.start_background_task(work, 10, step=5)
        return "started" if hasattr(task, "join") else "no join"

    @socketio.on("join background")
    def join_background() -> list[str]:
        done: list[str] = []
        task = socketio.start_background_task(lambda: done.append("ran"))
        task.join()
        return done

    @socketio.on("background ask")
    def background_ask() -> None:
        sid = request.sid

        def work() -> None:
            socketio.emit(
                "question", "background", to=sid, callback=lambda *args: note("answered", list(args))
            )

        socketio.start_background_task(work)

    @socketio.on("background call")
    def background_call() -> None:
        sid = request.sid

        def work() -> None:
            answer = socketio.call("question", "called", to=sid, timeout=5)
            socketio.emit("answer was", answer, to=sid)

        socketio.start_background_task(work)
