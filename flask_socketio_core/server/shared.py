"""What the connections of one process share: how they are served, and what is counted of all of them together."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..common.sendable import carries_all
from .packets import Codec
from .pending import PendingBytes
from .recovery import Recoveries
from .rooms import Namespaces
from .workers import Workers

if TYPE_CHECKING:
    from ..common.options import Options
    from ..contracts import AsyncMode, Event
    from ..transport.server import EngineIOServer
    from .clients import Client, OwedAck
    from .interface import Application

ATTACHED_FACTOR = 10
"""Most bytes in all attachments of one packet, as a multiple of ``max_http_buffer_size``; the reference server allows
ten attachments."""


class Shared:
    """One for a server and all of its connections.

    :param application: what clients do is told to it.
    :param options: the checked options.
    :param mode: the selected async mode.
    :param eio: whose sessions carry the connections.
    """

    def __init__(
        self, application: Application, options: Options, mode: AsyncMode, eio: EngineIOServer
    ) -> None:
        self.application = application
        self.observers = application.observers
        self.options = options
        self.mode = mode
        self.eio = eio
        self.codec = Codec(
            serializer=options.serializer,
            json=options.json,
            max_attachments=options.max_attachments,
            max_attached_bytes=ATTACHED_FACTOR * options.max_http_buffer_size,
        )
        self.ordered = options.async_handlers is not True
        self.most_pending = options.max_pending_events
        self.few_pending = options.max_pending_events // 2
        self.some_pending = min(options.max_pending_events, 2)  # fewer need not be looked at
        self.most_pending_bytes = options.max_pending_bytes
        self.few_pending_bytes = options.max_pending_bytes // 2
        self._idle: Event | None = None
        self.sid_address = ""
        self.recoveries: Recoveries | None = None
        self._start_empty()
        if options.recovery is not None:
            self.recoveries = Recoveries(options.recovery, self)

    def _start_empty(self) -> None:
        create_lock, options = self.mode.create_lock, self.options
        self._lock = create_lock()
        self.pending = PendingBytes(
            create_lock(), options.max_total_pending_bytes, packed=carries_all(options.serializer)
        )
        self.workers = Workers(
            self.mode.spawn, create_lock(), options.max_workers, options.max_handlers_per_client
        )
        self.namespaces = Namespaces(
            create_lock, max_rooms=options.max_rooms, max_name_length=options.max_name_length
        )
        if self.recoveries is not None:
            self.recoveries.forget_all()
        self.disconnecting = 0
        """Disconnect handlers that are to run and have not returned."""

    def forget(self) -> None:
        """Have no clients in a forked child: they are the parent's."""
        self._start_empty()

    def tell_left(self, rooms: Iterable[Any], client: Client) -> None:
        """Tell of the rooms that a client was in and is no longer."""
        if self.observers.observes("socketio_room_left"):
            for room in rooms:
                self.observers.room_left(sid=client.sid, namespace=client.namespace, room=room)

    def tell_expired(self, acks: Iterable[OwedAck], client: Client) -> None:
        """Tell of acknowledgements of a client that are waited for no longer."""
        if self.observers.observes("socketio_ack_expired"):
            now_s = self.eio.clock()
            for _, asked_s, event in acks:
                self.eio.tell(
                    partial(
                        self.observers.ack_expired,
                        sid=client.sid,
                        namespace=client.namespace,
                        event=event,
                        waited_s=now_s - asked_s,
                    )
                )

    def tell_refused(self, sid: str | None, namespace: str, engine_sid: str, refusal: Any) -> None:
        """Tell of a client that may not join a namespace."""
        if self.observers.observes("socketio_client_refused"):
            self.eio.tell(
                partial(
                    self.observers.client_refused,
                    sid=sid,
                    namespace=namespace,
                    engine_sid=engine_sid,
                    refusal=refusal,
                )
            )

    def tell_recovered(self, client: Client) -> None:
        """Tell, in a worker, of a client that is back and in its rooms again."""
        if self.observers.observes("socketio_recovered"):
            self.eio.tell(
                partial(
                    self.observers.recovered,
                    sid=client.sid,
                    namespace=client.namespace,
                    missed=client.missed,
                )
            )
        if self.observers.observes("socketio_room_entered"):
            for room in list(client.rooms or ()):
                self.observers.room_entered(sid=client.sid, namespace=client.namespace, room=room)

    def tell_not_recovered(self, client: Client, reason: str) -> None:
        """Tell of a client that wanted to come back and has to start anew."""
        if self.observers.observes("socketio_recovery_failed"):
            self.eio.tell(
                partial(
                    self.observers.recovery_failed,
                    sid=client.sid,
                    namespace=client.namespace,
                    reason=reason,
                )
            )

    def begin_disconnect(self) -> None:
        """Count a disconnect handler that is to run."""
        with self._lock:
            self.disconnecting += 1

    def end_disconnect(self) -> None:
        """Count one no longer."""
        with self._lock:
            self.disconnecting -= 1
            done = self._idle if not self.disconnecting else None
        if done is not None:
            done.set()

    def wait_for_disconnects(self, timeout_s: float) -> int:
        """Wait for the disconnect handlers, all of which have been counted; return how many are still running.

        :param timeout_s: how long, seconds.
        """
        idle = self.mode.create_event()
        with self._lock:
            running = self.disconnecting
            if running:
                self._idle = idle
        if running:
            idle.wait(timeout_s)
        with self._lock:
            self._idle = None
            return self.disconnecting
