"""Class-based namespaces."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import Flask, has_request_context, request, session

from support.apps.scenario.journal import untagged

if TYPE_CHECKING:
    from support.apps.scenario.journal import Note


def register(socketio: Any, app: Flask, library: Any, note: Note) -> None:
    """Add the namespaces."""
    socketio.on_namespace(_usual(library, note)("/class"))
    socketio.on_namespace(_old_style(library, note)("/class-old-style"))
    socketio.on_namespace(_with_error_hook(library, untagged(note))("/class-errors"))
    socketio.on_namespace(_with_own_dispatch(library, untagged(note))("/class-dispatch"))
    socketio.on_namespace(_refusing(library)("/class-refusing"))
    socketio.on_namespace(_in_context(library)("/class-context"))

    @socketio.on("function", namespace="/class")
    def function(value: Any) -> list[Any]:
        return ["a function in a class-based namespace", value]


def _usual(library: Any, note: Note) -> Any:
    class Usual(library.Namespace):  # type: ignore[misc]  # its base is chosen at run time
        def on_connect(self, auth: Any) -> None:
            session["connected"] = True
            note("class connect", auth, request.namespace, request.event["message"])

        def on_disconnect(self, reason: str) -> None:
            note("class disconnect", reason, session.get("connected"))

        def on_fence(self) -> None:
            """Answer at once."""

        def on_echo(self, *args: Any) -> Any:
            return args

        def on_my_event(self, value: Any) -> list[Any]:
            return ["my_event", value, self.namespace]

        def on_message(self, text: str) -> None:
            self.send(["class got", text])

        def on_json(self, data: Any) -> None:
            library.send(data, json=True)

        def on_talk(self, room: str) -> list[str]:
            library.join_room(room)
            self.emit("talked", "to all of the namespace")
            self.emit("talked", "to the room", room=room)
            self.emit("talked", "not to me", room=room, include_self=False)
            self.send("a message", room=room)
            library.emit("talked", "by the context")
            found = sorted(name for name in self.rooms(request.sid) if name != request.sid)
            self.close_room(room)
            self.emit("talked", "to nobody", room=room)
            return found

        def on_ask(self) -> None:
            self.emit(
                "question", room=request.sid, callback=lambda *args: note("class acknowledged", list(args))
            )

    return Usual


def _old_style(library: Any, note: Note) -> Any:
    class OldStyle(library.Namespace):  # type: ignore[misc]  # its base is chosen at run time
        def on_connect(self) -> None:
            note("class connect without auth")

        def on_disconnect(self) -> None:
            note("class disconnect without reason")

        def on_fence(self) -> None:
            """Answer at once."""

    return OldStyle


def _with_error_hook(library: Any, note: Note) -> Any:
    class WithErrorHook(library.Namespace):  # type: ignore[misc]  # its base is chosen at run time
        def error(self, error: Exception) -> str:
            note("class error", error)
            return f"handled: {error}"

        def on_fence(self) -> None:
            """Answer at once."""

        def on_fail(self, text: str) -> None:
            raise ValueError(text)

    return WithErrorHook


def _with_own_dispatch(library: Any, note: Note) -> Any:
    class OwnDispatch(library.Namespace):  # type: ignore[misc]  # its base is chosen at run time
        def trigger_event(self, event: str, *args: Any) -> Any:
            if event in ("connect", "disconnect"):
                note("dispatch", event)
                return None
            if event == "fence":
                return super().trigger_event(event, *args)
            return ["dispatched", event, *args[1:]]

        def on_fence(self) -> None:
            """Answer at once."""

    return OwnDispatch


def _in_context(library: Any) -> Any:
    class InContext(library.Namespace):  # type: ignore[misc]  # its base is chosen at run time
        def trigger_event(self, event: str, *args: Any) -> Any:
            if event == "dispatch":
                return has_request_context()
            return super().trigger_event(event, *args)

        def error(self, error: Exception) -> bool:  # upstream's signature
            return has_request_context()

        def on_fail(self) -> None:
            raise ValueError

    return InContext


def _refusing(library: Any) -> Any:
    class Refusing(library.Namespace):  # type: ignore[misc]  # its base is chosen at run time
        def on_connect(self, auth: Any) -> bool:
            if auth == {"how": "raise"}:
                raise library.ConnectionRefusedError("not by this class", "data")
            return False

    return Refusing
