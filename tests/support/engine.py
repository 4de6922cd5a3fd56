"""What the engine's pure parts are tested with: a transport that records, a clock that stands still."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from typing import Any

from flask_socketio_core.common import options
from flask_socketio_core.common.repeats import Repeats
from flask_socketio_core.contracts import (
    AsyncCapabilities,
    AsyncMode,
    Event,
    Handle,
    Lock,
    ServeOptions,
    Task,
)
from flask_socketio_core.contracts.clients import Client
from flask_socketio_core.server.connection import Connection
from flask_socketio_core.server.interface import AckReply
from flask_socketio_core.server.shared import Shared
from flask_socketio_core.transport.packets import Outgoing
from flask_socketio_core.transport.session import Session, SessionSettings
from flask_socketio_core.websocket_protocol.deflate import Deflate


def settings(**changes: Any) -> SessionSettings:
    values: dict[str, Any] = {
        "ping_interval": 25,
        "ping_timeout": 20,
        "connect_timeout": 45,
        "monitor": True,
        "outbox_max_bytes": 1000,
        "outbox_max_packets": 10,
        "outbox_policy": "disconnect",
        "max_packets_per_s": 1000,
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
        self.held = False
        self.write: Callable[[bytes], int] | None = self._write
        self.deflate: Deflate | None = None

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

    def hold(self) -> None:
        self.held = True

    def release(self) -> None:
        self.held = False


class WokenTransport:
    """Is woken, and takes packets when it likes."""

    write: Callable[[bytes], int] | None = None
    deflate: Deflate | None = None

    def __init__(self, name: str = "polling") -> None:
        self.name = name
        self.woken = 0
        self.closed_with: int | None = None
        self.held = False

    def wake(self) -> None:
        self.woken += 1

    def close(self, code: int) -> None:
        self.closed_with = code

    def hold(self) -> None:
        self.held = True

    def release(self) -> None:
        self.held = False


class RecordingConnection(Connection):
    """Records what a session tells it; its clients are the test's."""

    def __init__(self, session: Session, shared: Shared, host: Host) -> None:
        super().__init__(session, shared)
        self.host = host

    def on_message(self, message: str | bytes, admitted: bool = False) -> None:
        self.host.messages.append(message)

    def on_connect_timeout(self) -> bool:
        self.host.connect_timeouts += 1
        return super().on_connect_timeout()

    def on_closed(self, reason: str) -> None:
        self.host.closed.append(reason)


class Host:
    """Records what a session tells its server; its clock is set by the test."""

    logger = logging.getLogger("flask_socketio_core.server")

    def __init__(self, max_pending_acks: int = 10, ack_timeout: float = 60, **changes: Any) -> None:
        self.settings = settings(**changes)
        self.now_s = 100.0
        self.clock: Callable[[], float] = lambda: self.now_s
        self.repeats = Repeats(self.clock)
        self.messages: list[str | bytes] = []
        self.closed: list[str] = []
        self.overflows: list[tuple[int, int]] = []
        self.rescheduled = 0
        self.connect_timeouts = 0
        self.too_fast = 0
        self.upgraded_from = ""
        checked = options.build({"max_pending_acks": max_pending_acks, "ack_timeout": ack_timeout})
        eio: Any = self  # as far as connections use it
        self.shared = Shared(RecordingApplication(), checked, ManualMode(), eio)

    def open(self, transport: Any) -> Session:
        session = Session("sid", {}, self, transport, threading.Lock(), self.now_s)
        session.listener = RecordingConnection(session, self.shared, self)
        return session

    def remove(self, session: Session) -> None:
        assert session.closed

    def on_upgraded(self, session: Session, before: str) -> None:
        self.upgraded_from = before

    def on_overflow(self, session: Session, packets: int, size_bytes: int) -> None:
        self.overflows.append((packets, size_bytes))

    def on_too_fast(self, session: Session) -> None:
        self.too_fast += 1

    def reschedule(self, session: Session) -> None:
        self.rescheduled += 1


def connection_of(session: Session) -> Connection:
    """Return what Socket.IO keeps of an open session."""
    assert isinstance(session.listener, Connection)
    return session.listener


def event(number: int) -> Outgoing:
    return Outgoing((f'42["e",{number}]',), is_event=True)


class ManualMode(AsyncMode):
    """An async mode whose jobs and timers run when the test says so."""

    name = "manual"
    capabilities = AsyncCapabilities(green=False, watches=False)

    def __init__(self) -> None:
        super().__init__()
        self.jobs: deque[Callable[[], object]] = deque()
        self.timers: list[tuple[float, Callable[[], object]]] = []

    def run_jobs(self) -> None:
        """Run what was spawned, and what that spawns."""
        while self.jobs:
            self.jobs.popleft()()

    def spawn(self, job: Callable[[], object]) -> None:
        self.jobs.append(job)

    def start_task(self, target: Callable[..., object], *args: Any, **kwargs: Any) -> Task:
        raise NotImplementedError

    def sleep(self, seconds: float) -> None:
        raise NotImplementedError

    def create_lock(self) -> Lock:
        return threading.Lock()

    def create_event(self) -> Event:
        return threading.Event()

    def create_queue(self, maxsize: int = 0) -> Any:
        raise NotImplementedError

    def call_later(self, delay_s: float, callback: Callable[[], object]) -> Handle:
        timer = (delay_s, callback)
        self.timers.append(timer)
        return _TimerHandle(self, timer)

    def watch(self, fd: int, callback: Callable[[], object]) -> Handle:
        raise NotImplementedError

    def serve(self, app: Any, host: str, port: int, options: ServeOptions) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        raise NotImplementedError


class _TimerHandle:
    def __init__(self, mode: ManualMode, timer: tuple[float, Callable[[], object]]) -> None:
        self._mode = mode
        self._timer = timer

    def cancel(self) -> None:
        if self._timer in self._mode.timers:
            self._mode.timers.remove(self._timer)


class RecordingObservers:
    """Observes all, or nothing but overflows, and records what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.adds_headers = False
        self.observe(False)

    def observe(self, all_of_it: bool = True) -> None:
        self.observes_events = self.observes_acks = self.observes_deliveries = all_of_it

    def observes(self, hook: str) -> bool:
        return self.observes_events

    def __getattr__(self, hook: str) -> Callable[..., None]:
        return lambda **facts: self.told.append((hook, facts))


class RecordingApplication:
    """Records what clients do; answers what the test sets."""

    def __init__(self) -> None:
        self.observers: Any = RecordingObservers()
        self.namespaces = {"/", "/chat"}
        self.refused_hosts: dict[str, str] = {}
        self.welcome: bool | BaseException = True
        self.answer: tuple[Any, ...] | None = ()
        self.log: list[tuple[Any, ...]] = []
        self.during_connect: Callable[[Any], None] | None = None

    def host_refusal(self, environ: dict[str, Any]) -> str | None:
        return self.refused_hosts.get(environ.get("HTTP_HOST", ""))

    def accepts(self, namespace: str) -> bool:
        return namespace in self.namespaces

    def on_connect(self, client: Client, auth: Any, reply: Callable[[bool | BaseException], object]) -> None:
        self.log.append(("connect", client.namespace, auth))
        if self.during_connect is not None:
            self.during_connect(client)
        if isinstance(self.welcome, BaseException):
            raise self.welcome
        reply(self.welcome)

    def on_recovered(self, client: Client, before: Client) -> None:
        self.log.append(("recovered", client.namespace, client.missed))

    def pack_session(self, client: Client) -> str | None:
        return None

    def unpack_session(self, client: Client, packed: str | None) -> None:
        if packed is not None:
            self.log.append(("session", client.namespace, packed))

    def on_connected(self, client: Client) -> None:
        self.log.append(("connected", client.namespace))

    def on_event(self, client: Client, event: str, args: tuple[Any, ...], reply: AckReply) -> None:
        self.log.append(("event", client.namespace, event, args))
        reply(self.answer)

    def on_disconnect(self, client: Client, reason: str, reply: Callable[[], object]) -> None:
        self.log.append(("disconnect", client.namespace, reason))
        reply()

    def on_invalid_ack(
        self, client: Any, event: str, args: tuple[Any, ...], error: Exception, reply: AckReply
    ) -> None:
        raise error
