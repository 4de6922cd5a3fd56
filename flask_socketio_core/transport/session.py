"""One Engine.IO session: packets in, packets out, a clock passed in. No sockets, no threads, no Flask.

A session outlives its transport: it starts on polling or WebSocket and may be upgraded from the one to the other.

============  ============================  =========================================
received      while                         does
============  ============================  =========================================
MESSAGE ``4`` open                          hands what is in it to its listener
PONG ``3``    a ping is out                 schedules the next ping
CLOSE ``1``   open                          ends the session
PING ``2``    open                          violation: the server pings (protocol 4)
others        open                          violation
============  ============================  =========================================

A violation ends the session and touches nobody else. What is in the messages is its listener's: nothing here knows
Socket.IO.

Writing has two forms. A *direct* transport has a ``write`` of its own that takes bytes and never blocks: frames go out
from the task that emits, and only what the socket does not take waits in the outbox. Any other transport is *woken*
when something waits, and comes to take it.

Source: engine.io-protocol v4.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ..common.reasons import DisconnectReason, Reason
from ..errors import ProtocolError
from .bucket import TokenBucket
from .outbox import Outbox
from .packets import CLOSE_PACKET, PING_PACKET, Outgoing

if TYPE_CHECKING:
    from ..contracts import Lock
    from ..websocket_protocol.deflate import Deflate
    from .addresses import Place

PACKETS_AT_ONCE = 100
"""So many packets of a session are counted before its rate is looked at."""

BURST_S = 10.0
"""How long a client must have sent nothing to send at once what it may send in that time, seconds."""

UNDROPPABLE_FACTOR = 2
"""How many times the outbox's limits may wait of what no policy drops."""

TIMER_LATENESS_S = 0.02
"""How late the timer is at the shortest heartbeats: two slots of its wheel, seconds."""

GOING_AWAY = 1001
"""Close code of a process that ends: its clients shall come back, to another one.

They are told by the end of their connection alone. python-engineio's client takes a CLOSE packet for the order to stay
away. Source: RFC 6455, section 7.4.1.
"""

OKHTTP = "okhttp/"
"""How the user agent of the official Java client begins. It is sent no close frame, only the end of the connection.

OkHttp stops reading at a close frame and leaves the answer to its user, but engine.io-client does not wait for that
call: it would notice at its ping time-out, 45 s by default.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSettings:
    """The options a session needs; all durations in seconds, sizes in bytes."""

    ping_interval: float
    ping_timeout: float
    connect_timeout: float
    monitor: bool
    outbox_max_bytes: int
    outbox_max_packets: int
    outbox_policy: str
    max_packets_per_s: float


class Log(Protocol):
    """What is sent is noted here, such as a list."""

    def append(self, entry: Any, /) -> object:
        """Note something; the session's lock is held."""


class Transport(Protocol):
    """What carries a session at the moment."""

    name: str
    """``"polling"`` or ``"websocket"``."""

    write: Callable[[bytes], int] | None
    """Direct form: write what the socket takes now and return how many bytes; raises OSError. ``None``: woken form."""

    deflate: Deflate | None
    """Makes the frames for :attr:`write` if the peer agreed on compression."""

    def wake(self) -> None:
        """Learn that something waits in the outbox, or that the session was closed. Must not block."""

    def close(self, code: int) -> None:
        """Close the connection below. Must not block.

        :param code: WebSocket close code to send where there is a WebSocket; 0 to send none.
        """

    def hold(self) -> None:
        """Read nothing more from the peer until :meth:`release`; the session's lock is held. Must not block."""

    def release(self) -> None:
        """Read on; the session's lock is held. Must not block."""


class Listener(Protocol):
    """What a session hands its messages to. Nothing here may block."""

    def on_message(self, message: str | bytes) -> None:
        """Take the text of a MESSAGE packet, or a binary message.

        :raises ProtocolError: if the peer broke the protocol.
        """

    def on_connect_timeout(self) -> bool:
        """Learn that ``connect_timeout`` is over; ``False`` if no client has joined, which ends the session."""

    def on_due(self, now_s: float) -> bool:
        """Give up what has waited for too long, now and then; ``False`` ends the session.

        :param now_s: clock reading, seconds.
        """

    def on_rested(self) -> None:
        """Learn that the while is over in which nothing is read because the peer has sent too much too fast."""

    def on_closed(self, reason: str) -> None:
        """Learn, once, that the session ended."""


class Nobody:
    """The listener of a session that has none yet, or none any more: a closed one does not keep what it was told."""

    def on_message(self, message: str | bytes) -> None:
        """Drop a message."""

    def on_connect_timeout(self) -> bool:
        """Say that no client has joined."""
        return False

    def on_due(self, now_s: float) -> bool:
        """Give nothing up."""
        return True

    def on_rested(self) -> None:
        """Do nothing."""

    def on_closed(self, reason: str) -> None:
        """Do nothing."""


NOBODY = Nobody()


class SessionHost(Protocol):
    """What a session tells the server that keeps it. Nothing here may block."""

    settings: SessionSettings
    clock: Callable[[], float]
    """Monotonic clock, seconds."""

    def reschedule(self, session: Session) -> None:
        """Learn that :meth:`Session.next_due` changed."""

    def remove(self, session: Session) -> None:
        """Learn, once, that a session ended, before its listener does."""

    def on_overflow(self, session: Session, packets: int, size_bytes: int) -> None:
        """Learn that the outbox reached its limit."""

    def on_too_fast(self, session: Session) -> None:
        """Learn that nothing is read from a session for a while, because it has sent too much too fast."""

    def on_upgraded(self, session: Session, before: str) -> None:
        """Learn that a session was moved from a transport of this name."""


class Session:
    """The state of one connection. Thread-safe; holds its lock for a few instructions or one non-blocking write."""

    __slots__ = (
        "_bucket",
        "_deflate",
        "_heartbeat_at",
        "_held_at_s",
        "_host",
        "_join_by",
        "_outbox",
        "_ping_out",
        "_read_again_s",
        "_transport",
        "_write",
        "allowance",
        "close_code",
        "close_reason",
        "closed",
        "dismissed",
        "environ",
        "held",
        "listener",
        "lock",
        "place",
        "posting",
        "probe",
        "sid",
        "slot",
        "unread_bytes",
    )

    def __init__(
        self,
        sid: str,
        environ: dict[str, Any],
        host: SessionHost,
        transport: Transport,
        lock: Lock,
        now_s: float,
    ) -> None:
        self.sid = sid
        self.environ = environ
        self.lock = lock
        self.listener: Listener = NOBODY  # set by the server, before anything is received
        self.closed = False
        self.close_reason = ""
        self.close_code = 1000
        self.dismissed = False  # closed with a CLOSE packet
        self.place: Place | None = None  # of its address, see addresses.py
        self.posting = False
        self.held = False
        # So many packets may still come before the rate is looked at. Only who reads from the client changes it.
        self.allowance = PACKETS_AT_ONCE
        self.probe: Transport | None = None
        self.slot = -1
        self.unread_bytes = 0  # of the answer to its last poll, about
        self._host = host
        self._transport = transport
        self._write = transport.write
        self._deflate = transport.deflate
        self._outbox: Outbox | None = None
        self._bucket: TokenBucket | None = None  # made for who sends more than a few packets
        self._read_again_s: float | None = None
        self._held_at_s = -math.inf  # clock reading when it was last held
        self._ping_out = False
        self._heartbeat_at = now_s + host.settings.ping_interval
        self._join_by: float | None = now_s + host.settings.connect_timeout

    @property
    def transport(self) -> Transport:
        """What carries the session now."""
        return self._transport

    @property
    def has_waiting(self) -> bool:
        """Whether packets wait in the outbox."""
        return self._outbox is not None

    @property
    def waiting_packets(self) -> int:
        """How many packets wait in the outbox."""
        with self.lock:
            return len(self._outbox) if self._outbox is not None else 0

    @property
    def waiting_bytes(self) -> int:
        """Their size, and that of what was written in part, bytes."""
        with self.lock:
            return self.unread_bytes + (self._outbox.size_bytes if self._outbox is not None else 0)

    # sending

    def send(self, outgoing: Outgoing, volatile: bool = False) -> bool:
        """Send one packet to this client, in order and never mixed with another.

        :param volatile: drop it if it cannot be written at once.
        :returns: ``False`` if it was dropped.
        """
        overflow = None
        # Not under the lock: compressing takes its time.
        frames = outgoing.frames if self._deflate is None else self._deflate.frames(outgoing)
        with self.lock:
            write = self._write
            if write is not None and self._outbox is None:
                # The hot path of every broadcast.
                try:
                    count = write(frames)
                except BlockingIOError:
                    count = 0
                except OSError:
                    return False  # the reader sees the broken connection and closes it
                if count == len(frames):
                    return True
                if volatile and count == 0:
                    return False
                self._keep_rest(frames, count)
                return True
            if volatile and (write is not None or self._outbox is not None):
                return False
            if not self._queue(outgoing):
                return False
            transport = self._transport
            overflow = self.apply_policy(self._outbox)
        if write is None:
            transport.wake()
        return overflow is None or self.report_overflow(overflow)

    def send_noted(self, outgoing: Outgoing, volatile: bool, log: Log, entry: Any) -> bool:
        """Send one packet as :meth:`send` does, and note it in the same step: the notes are in the order of the bytes.

        It is written out here once more, for who notes nothing would pay for each question whether there is a log.

        :param entry: what is noted.
        :returns: ``False`` if it was not: a volatile one that was dropped, or any of a session that is closed.
        """
        frames = outgoing.frames if self._deflate is None else self._deflate.frames(outgoing)
        with self.lock:
            write = self._write
            if write is not None and self._outbox is None:
                try:
                    count = write(frames)
                except BlockingIOError:
                    count = 0
                except OSError:  # the reader sees the broken connection and closes it: nothing waits for that
                    count = 0 if volatile else len(frames)
                if volatile and count == 0:
                    return False
                log.append(entry)
                if count < len(frames):
                    self._keep_rest(frames, count)
                return True
            if volatile and (write is not None or self._outbox is not None):
                return False
            if not self._queue(outgoing):
                return False
            log.append(entry)
            transport = self._transport
            overflow = self.apply_policy(self._outbox)
        if write is None:
            transport.wake()
        if overflow is not None:
            self.report_overflow(overflow)
        return True

    def _keep_rest(self, frames: bytes, count: int) -> None:
        self._outbox = Outbox()
        self._outbox.set_head(frames, count)
        self._transport.wake()

    def send_locked(self, outgoing: Outgoing) -> bool:
        """Queue one packet; the caller holds :attr:`lock` and calls :meth:`settle` after releasing it.

        :returns: ``False`` if the session is closed.
        """
        return self._queue(outgoing)

    def _queue(self, outgoing: Outgoing) -> bool:
        if self.closed:
            return False
        if self._outbox is None:
            self._outbox = Outbox()
        self._outbox.push(outgoing)
        return True

    def settle(self) -> bool:
        """Let what waits go out, and apply the outbox policy; returns ``False`` if the session is closed."""
        overflow = None
        with self.lock:
            if self.closed:
                return False
            drained = self._flush_locked()
            transport, direct = self._transport, self._write is not None
            if not drained:
                overflow = self.apply_policy(self._outbox)
                if direct:
                    transport.wake()
        if not drained and not direct:
            transport.wake()
        return overflow is None or self.report_overflow(overflow)

    def report_overflow(self, overflow: tuple[int, int, bool]) -> bool:
        """Tell of an overflow that :meth:`apply_policy` found; ``False`` if it ends the session. No lock is held."""
        packets, size_bytes, ends = overflow
        self._host.on_overflow(self, packets, size_bytes)
        if ends:
            self.close(Reason.OVERFLOW, code=1008)
            return False
        return True

    def apply_policy(self, outbox: Outbox | None) -> tuple[int, int, bool] | None:
        """Drop what the policy drops; return an overflow that is to be reported, and whether it ends the session.

        :param outbox: the session's own, or what is held back for one of its clients; :attr:`lock` is held.

        That is the first one of a connection, and the one that no dropping helps against: acks and pongs are never
        dropped, so a client that asks for them and does not read could have any number of them waiting.
        """
        settings = self._host.settings
        limits = settings.outbox_max_bytes - self.unread_bytes, settings.outbox_max_packets
        if outbox is None or not outbox.exceeds(*limits):
            return None
        packets, size_bytes = len(outbox), outbox.size_bytes
        if settings.outbox_policy == "drop_oldest":
            outbox.drop_oldest(*limits)
        elif settings.outbox_policy == "drop_newest":
            outbox.drop_newest()
        first = not outbox.overflowed
        outbox.overflowed = True
        hopeless = outbox.exceeds(
            UNDROPPABLE_FACTOR * settings.outbox_max_bytes - self.unread_bytes,
            UNDROPPABLE_FACTOR * settings.outbox_max_packets,
        )
        ends = hopeless or settings.outbox_policy == "disconnect"
        return (packets, size_bytes, ends) if first or hopeless else None

    def flush(self) -> bool:
        """Write what waits, as far as the socket takes it (direct form); return ``True`` if nothing waits any more."""
        with self.lock:
            return self._flush_locked()

    def _flush_locked(self) -> bool:
        outbox, write = self._outbox, self._write
        if outbox is None:
            return True
        if write is None:
            return False
        while frames := outbox.next_frames(self._deflate):
            try:
                count = write(frames)
            except BlockingIOError:
                return False
            except OSError:
                break  # the reader sees the broken connection and closes it
            outbox.wrote(count)
            if count < len(frames):
                return False
        self._outbox = None
        return True

    def take_packets(self, transport: Transport, most: int | None = None) -> list[str | bytes]:
        """Take out what waits, as Engine.IO packets (woken form); nothing for a transport that was left behind.

        :param most: how many at most, except that an event is not taken apart; ``None`` for all.
        """
        with self.lock:
            outbox = self._outbox
            if outbox is None or transport is not self._transport:
                return []
            packets = outbox.take_packets(most)
            if not outbox:
                self._outbox = None
            return packets

    # receiving

    def receive(self, packet: str | bytes) -> None:
        """Take one Engine.IO packet from the peer.

        :param packet: a text packet with its type, or the bytes of a binary message.
        :raises ProtocolError: if the peer broke the protocol; the caller ends the session with :meth:`violate`.
        """
        if self.closed:
            return
        if isinstance(packet, bytes):
            self.listener.on_message(packet)
            return
        kind = packet[:1]
        if kind == "4":
            self.listener.on_message(packet[1:])
        elif kind == "3":
            self._on_pong()
        elif kind == "1":
            self.close(Reason.CLIENT_DISCONNECT)
        else:
            raise ProtocolError(f"unexpected Engine.IO packet of type {kind!r}")

    def overdrawn(self) -> None:
        """Learn that :attr:`allowance` is negative; read nothing more for a while if the packets came too fast.

        So what a packet costs is a subtraction, and the clock is read once for a hundred of them.
        """
        now_s = self._host.clock()
        bucket = self._bucket
        if bucket is None:
            rate = self._host.settings.max_packets_per_s
            bucket = self._bucket = TokenBucket(rate, rate * BURST_S, now_s)
        wait_s = bucket.take(PACKETS_AT_ONCE - self.allowance, now_s)
        self.allowance = PACKETS_AT_ONCE
        if wait_s > 0:
            self._read_again_s = now_s + wait_s
            self.hold()
            self._host.reschedule(self)
            self._host.on_too_fast(self)

    @property
    def rests(self) -> bool:
        """Whether nothing is read from the peer because it has sent too much too fast."""
        return self._read_again_s is not None

    def violate(self, error: ProtocolError) -> None:
        """End the session because the peer broke the protocol."""
        self.close(Reason.VIOLATION, code=error.close_code)

    def lost(self, reason: str = Reason.TRANSPORT_CLOSE) -> None:
        """Learn from the transport that the connection is gone."""
        self.close(reason)

    def hold(self) -> None:
        """Read nothing more from the peer for now: its handlers cannot keep up, or it sends too fast."""
        with self.lock:
            if not (self.closed or self.held):
                self.held = True
                self._held_at_s = self._host.clock()
                self._transport.hold()

    def release(self) -> None:
        """Read on."""
        with self.lock:
            if self.held:
                self.held = False
                self._transport.release()

    # time

    def on_due(self, now_s: float) -> float | None:
        """Ping, or close a client that is silent or joined no namespace.

        Source: engine.io-protocol v4, "Heartbeat"; Socket.IO's ``connectTimeout``.
        """
        if self.closed:
            return None
        if self._join_by is not None and now_s >= self._join_by:
            if not self.listener.on_connect_timeout():
                self.close(Reason.TRANSPORT_CLOSE)
                return None
            self._join_by = None
        if self._read_again_s is not None and now_s >= self._read_again_s:
            self._read_again_s = None
            self.listener.on_rested()
        if not self.listener.on_due(now_s):
            self.close(Reason.VIOLATION, code=1008)
            return None
        if self._host.settings.monitor and now_s >= self._heartbeat_at:
            if self._ping_out and self._is_behind(now_s):
                self._heartbeat_at = now_s + self._host.settings.ping_timeout
            elif self._ping_out:
                self.close(Reason.PING_TIMEOUT)
                return None
            else:
                self._beat(now_s)
        return self.next_due()

    def overdue(self, now_s: float) -> bool:
        """Return whether a ping was not answered in time; exact, while the timer may be late by a slot of its wheel."""
        return (
            self._host.settings.monitor
            and self._ping_out
            and now_s >= self._heartbeat_at
            and not self._is_behind(now_s)
        )

    def _is_behind(self, now_s: float) -> bool:
        """Return whether the answer to a ping may be among what we do not read, or among what we have just begun to."""
        return self.held or now_s < self._held_at_s + self._host.settings.ping_timeout

    def _beat(self, now_s: float) -> None:
        # Counted from when the ping was due, so that the timer's usual lateness does not add up, but a client is not
        # charged for a process that stood still. Set before _ping_out, which overdue() reads first.
        self._heartbeat_at = (
            max(self._heartbeat_at, now_s - TIMER_LATENESS_S) + self._host.settings.ping_timeout
        )
        self._ping_out = True
        self.send(PING_PACKET)

    def _on_pong(self) -> None:
        if self._ping_out:
            self._ping_out = False
            self._heartbeat_at = self._host.clock() + self._host.settings.ping_interval
            self._host.reschedule(self)

    def next_due(self) -> float | None:
        """Return when :meth:`on_due` is to be called, a clock reading in seconds."""
        heartbeat = self._heartbeat_at if self._host.settings.monitor else None
        times = [time for time in (heartbeat, self._join_by, self._read_again_s) if time is not None]
        return min(times, default=None)

    # moving to another transport, and ending

    def begin_upgrade(self, probe: Transport) -> bool:
        """Let a pending poll be answered at once, so that the client can leave polling behind.

        :param probe: the transport that is being tried.
        :returns: ``False`` if the session is closed, on WebSocket already, or another upgrade is under way.

        Source: engine.io-protocol v4, "Upgrade".
        """
        with self.lock:
            if self.closed or self._transport.name != "polling" or self.probe is not None:
                return False
            self.probe = probe
        self._transport.wake()
        return True

    def abandon_upgrade(self, probe: Transport) -> bool:
        """Stay on polling: the transport that was tried is gone, or took too long.

        :returns: ``False`` if the session has moved to it already.
        """
        with self.lock:
            if self.probe is probe:
                self.probe = None
            return self._transport is not probe

    def upgrade(self, transport: Transport) -> bool:
        """Move to the transport that was tried; what waits goes out there, in order.

        :returns: ``False`` if the session is closed, or the upgrade was given up.
        """
        with self.lock:
            if self.closed or self.probe is not transport:
                return False
            old, self._transport = self._transport, transport
            self._write = transport.write
            self._deflate = transport.deflate
            self.probe = None
            if self.held:
                transport.hold()
            old.release()  # a request that still waits to be received is
        old.wake()  # a poll that still waits is answered
        self.settle()
        self._host.on_upgraded(self, old.name)
        return True

    def close(self, reason: str, *, code: int = 1000) -> bool:
        """End the session, once.

        :param reason: a value of :class:`Reason`, for the disconnect handlers; or a text, of the application's own.
        :param code: WebSocket close code. With :data:`GOING_AWAY` the client is sent no CLOSE packet.
        :returns: ``False`` if it was closed already.
        """
        if not isinstance(reason, DisconnectReason):
            reason = DisconnectReason(reason)
        with self.lock:
            if self.closed:
                return False
            self.closed = True
            self.close_reason = reason
            if self.environ.get("HTTP_USER_AGENT", "").startswith(OKHTTP):
                code = 0
            self.close_code = code
            self.dismissed = reason == Reason.SERVER_DISCONNECT and code != GOING_AWAY
            self._flush_locked()
            if self.dismissed and self._write is not None and self._outbox is None:
                self._dismiss(self._write)
            self._write = None
            transport, probe = self._transport, self.probe
        transport.close(code)
        if probe is not None and reason == Reason.CLIENT_DISCONNECT:
            probe.close(code)  # or else it is left to UpgradeProbe: the client may look nowhere else by now
        self._host.remove(self)
        self.listener.on_closed(reason)
        self.listener = NOBODY  # or neither of the two would be freed before the garbage collector comes
        return True

    @staticmethod
    def _dismiss(write: Callable[[bytes], int]) -> None:
        try:
            write(CLOSE_PACKET.frames)
        except OSError:
            pass  # the peer is gone or does not read; it learns from the closed connection
