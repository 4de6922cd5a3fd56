"""Rooms and addressing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Flask, request

if TYPE_CHECKING:
    from support.apps.scenario.journal import Note


def register(socketio: Any, app: Flask, library: Any, note: Note) -> None:
    """Add the handlers."""
    _membership(socketio, library)
    _addressing(socketio, library, note)
    _facade(socketio, library)


def _membership(socketio: Any, library: Any) -> None:
    @socketio.on("join")
    def join(*rooms: Any) -> list[Any]:
        for room in rooms:
            library.join_room(room)
        return own_rooms()

    @socketio.on("leave")
    def leave(*rooms: Any) -> list[Any]:
        for room in rooms:
            library.leave_room(room)
        return own_rooms()

    @socketio.on("rooms")
    def own_rooms() -> list[Any]:
        return sorted((room for room in library.rooms()), key=lambda room: (room != request.sid, str(room)))

    @socketio.on("rooms of")
    def rooms_of(sid: str, namespace: str | None = None) -> list[str]:
        return sorted(library.rooms(sid, namespace), key=lambda room: (room != sid, room))

    @socketio.on("join other")
    def join_other(sid: str, room: str) -> None:
        library.join_room(room, sid=sid)

    @socketio.on("leave other")
    def leave_other(sid: str, room: str) -> None:
        library.leave_room(room, sid=sid)

    @socketio.on("close room")
    def close(room: str) -> None:
        library.close_room(room)

    @socketio.on("close room outside")
    def close_outside(room: str) -> None:
        socketio.close_room(room)

    @socketio.on("misuse rooms")
    def misuse(other: str) -> list[str]:
        return [
            _error_of(lambda: library.join_room(other)),
            _error_of(lambda: library.close_room(other)),
            _error_of(lambda: library.leave_room("never joined")),
            _error_of(lambda: library.close_room("nobody is there")),
            _error_of(lambda: library.join_room("room", namespace="/nobody-there")),
        ]


def _error_of(action: Any) -> str:
    try:
        action()
    except Exception as error:  # noqa: BLE001  # the type is what the test wants to see
        return type(error).__name__
    return "no error"


def _addressing(socketio: Any, library: Any, note: Note) -> None:
    forms: dict[str, Any] = {
        "to": lambda room: library.emit("said", "to", to=room),
        "room": lambda room: library.emit("said", "room", room=room),
        "not me": lambda room: library.emit("said", "not me", to=room, include_self=False),
        "skip me": lambda room: library.emit("said", "skip me", to=room, skip_sid=request.sid),
        "skip me in list": lambda room: library.emit(
            "said", "skip list", to=room, skip_sid=[request.sid, "x"]
        ),
        "broadcast": lambda room: library.emit("said", ["broadcast", room], broadcast=True),
        "broadcast not me": lambda room: library.emit(
            "said", ["not me", room], broadcast=True, include_self=False
        ),
        "default": lambda room: library.emit("said", ["default", room]),
        "outside": lambda room: socketio.emit("said", "outside", to=room),
        "outside all": lambda room: socketio.emit("said", ["outside all", room]),
        "outside not me": lambda room: socketio.emit("said", "outside not me", to=room, include_self=False),
        "outside skip": lambda room: socketio.emit("said", "outside skip", to=room, skip_sid=request.sid),
        "ignore queue": lambda room: library.emit("said", "ignore queue", to=room, ignore_queue=True),
        "other namespace": lambda room: library.emit("said", "other namespace", to=room, namespace="/other"),
        "all of other namespace": lambda room: library.emit("said", room, broadcast=True, namespace="/other"),
    }

    @socketio.on("say")
    def say(form: str, room: Any) -> None:
        forms[form](room)

    @socketio.on("say to both")
    def say_to_both(rooms: list[str]) -> None:
        library.emit("said", "to both", to=rooms)

    @socketio.on("connect", namespace="/other")
    def other_connect() -> None:
        note("connected to other", request.namespace)

    @socketio.on("join", namespace="/other")
    def other_join(room: str) -> list[str]:
        library.join_room(room)
        return sorted(name for name in library.rooms() if name != request.sid)

    @socketio.on("say here", namespace="/other")
    def other_say(room: str) -> None:
        library.emit("said", "here", to=room)
        library.emit("said", "there", to=room, namespace="/")

    @socketio.on("disconnect", namespace="/other")
    def other_disconnect(reason: str) -> None:
        note("disconnect", reason, request.namespace, sorted(library.rooms()) == [request.sid])

    socketio.on_event("fence", lambda: None, namespace="/other")


def _facade(socketio: Any, library: Any) -> None:
    @socketio.on("participants")
    def participants(room: str) -> list[bool]:
        return sorted(sid == request.sid for sid, _ in socketio.server.manager.get_participants("/", room))

    @socketio.on("facade")
    def facade(room: str) -> dict[str, Any]:
        server = socketio.server
        server.enter_room(request.sid, room)
        entered = room in server.rooms(request.sid)
        server.emit("said", "by server.emit", to=room)
        server.send("by server.send", to=room)
        server.leave_room(request.sid, room)
        return {
            "entered": entered,
            "left": room not in server.rooms(request.sid),
            "path": server.get_environ(request.sid)["PATH_INFO"],
            "transport": server.transport(request.sid),
            "environ has query": "who=" in server.get_environ(request.sid, namespace="/")["QUERY_STRING"],
            "async_mode": server.async_mode == socketio.async_mode,
            "reason": [library.SocketIO.reason.CLIENT_DISCONNECT, server.reason.PING_TIMEOUT],
        }

    @socketio.on("facade session")
    def facade_session(value: Any) -> list[Any]:
        server = socketio.server
        before = dict(server.get_session(request.sid))
        server.save_session(request.sid, {"value": value})
        with server.session(request.sid) as session:
            session["more"] = [value]
        return [before, dict(server.get_session(request.sid))]

    @socketio.on("facade disconnect")
    def facade_disconnect(sid: str) -> None:
        socketio.server.disconnect(sid)
