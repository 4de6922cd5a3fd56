"""What the engine's pure parts are tested with: a transport that records, a clock that stands still."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from flask_socketio_core.server.packets import Codec, Decoder, Outgoing
from flask_socketio_core.server.session import Session, SessionSettings


def settings(**changes: Any) -> SessionSettings:
    values: dict[str, Any] = {
        "ping_interval": 25,
        "ping_timeout": 20,
        "connect_timeout": 45,
        "monitor": True,
        "outbox_max_bytes": 1000,
        "outbox_max_packets": 10,
        "outbox_policy": "disconnect",
    }
    return SessionSettings(**(values | changes))


class DirectTransport:
    """Takes ``room`` bytes, then no more until it gets more room."""

    name = "websocket"

    def __init__(self, room: int = 1 << 30) -> None:
        self.room = room
        self.written = b""
        self.woken = 0
        self.closed_with: int | None = None
        self.write: Callable[[bytes], int] | None = self._write

    def _write(self, frames: bytes) -> int:
        if not self.room:
            raise BlockingIOError
        count = min(self.room, len(frames))
        self.room -= count
        self.written += frames[:count]
        return count

    def wake(self) -> None:
        self.woken += 1

    def close(self, code: int) -> None:
        self.closed_with = code


class WokenTransport:
    """Is woken, and takes packets when it likes."""

    write: Callable[[bytes], int] | None = None

    def __init__(self, name: str = "polling") -> None:
        self.name = name
        self.woken = 0
        self.closed_with: int | None = None

    def wake(self) -> None:
        self.woken += 1

    def close(self, code: int) -> None:
        self.closed_with = code


class Host:
    """Records what a session tells its server; its clock is set by the test."""

    def __init__(self, **changes: Any) -> None:
        self.settings = settings(**changes)
        self.now_s = 100.0
        self.clock: Callable[[], float] = lambda: self.now_s
        self.messages: list[str | bytes] = []
        self.closed: list[str] = []
        self.overflows: list[tuple[int, int]] = []
        self.rescheduled = 0

    def open(self, transport: Any) -> Session:
        return Session("sid", {}, self, transport, threading.Lock(), Decoder(Codec()), self.now_s)

    def on_message(self, session: Session, message: str | bytes) -> None:
        self.messages.append(message)

    def on_closed(self, session: Session, reason: str) -> None:
        self.closed.append(reason)

    def on_overflow(self, session: Session, packets: int, size_bytes: int) -> None:
        self.overflows.append((packets, size_bytes))

    def reschedule(self, session: Session) -> None:
        self.rescheduled += 1


def event(number: int) -> Outgoing:
    return Outgoing((f'42["e",{number}]',), is_event=True)
