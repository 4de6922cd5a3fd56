"""One client on one namespace."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ..common.reasons import Reason
from ..common.sendable import FAILURES, encode_strictly, explain
from ..common.users import checked_id
from ..transport.outbox import Outbox
from .phase import Phase

if TYPE_CHECKING:
    from ..contracts.clients import AckCallback
    from ..transport.packets import Outgoing
    from ..transport.session import Log, Session
    from ..transport.timer import Timed
    from .recoverable import State


OwedAck = tuple["AckCallback", float, str]
"""The callback of an acknowledgement, when it was asked for by the clock, and by which event."""

MILLISECONDS = 1e11
"""A number of seconds since the epoch that is larger, in the year 5138 and later, was meant to be of milliseconds."""

FAR_S = 300.0
"""The end of a login that is further away is looked at again after so many seconds, so that the timer's wheel has few
slots, and a clock that is set is noticed."""

_CONNECTED = Phase.CONNECTED
_PENDING = Phase.PENDING


class Owner(Protocol):
    """The connection of a client, as its clients see it."""

    session: Session

    early: int
    """Events that wait for connect handlers; guarded by the session's lock."""

    app_data: Any
    """Whatever the application keeps with the connection."""

    @property
    def max_pending_acks(self) -> int:
        """How many acknowledgements of one client are waited for."""

    def now_s(self) -> float:
        """Return the clock's reading, seconds."""

    def tell_expired(self, acks: list[OwedAck], client: Client) -> None:
        """Tell of acknowledgements that are waited for no longer."""

    def identify(self, client: Client, user: str | None) -> None:
        """Take one of its clients for a user's."""

    def reschedule(self, old: Timed | None, new: Timed | None) -> None:
        """Have the timer wait for something instead of something else."""

    def disconnect(
        self, client: Client, reason: str, run: Callable[[Callable[[], object]], object] | None
    ) -> None:
        """Disconnect one of its clients; see :meth:`Server.disconnect`."""

    def dismiss(self, reason: str) -> None:
        """Disconnect all of its clients and end it; if their logins have ended, in a way after which they come back."""


class Expiry:
    """The end of a client's login, for the timer.

    :param expires_at: seconds since the epoch.
    :raises TypeError: if that is no number.
    :raises ValueError: if it is none that can be meant.
    """

    __slots__ = ("_client", "expires_at", "slot")

    def __init__(self, client: Client, expires_at: float) -> None:
        if isinstance(expires_at, bool) or not isinstance(expires_at, (int, float)):
            raise TypeError(
                f"expires_at is a number of seconds since the epoch, not of type {type(expires_at).__name__}: of a "
                "datetime give its timestamp()"
            )
        if not 0 <= expires_at < MILLISECONDS:
            raise ValueError(
                f"expires_at={expires_at!r} is no time in seconds since the epoch; JavaScript counts milliseconds"
            )
        self._client = client
        self.expires_at = float(expires_at)
        self.slot = -1

    def next_due(self) -> float | None:
        """Return when the login ends, or is to be looked at again, a clock reading in seconds."""
        return self._client.connection.now_s() + min(max(self.expires_at - time.time(), 0.0), FAR_S)

    def on_due(self, now_s: float) -> float | None:
        """End the connection, if it is time."""
        if time.time() < self.expires_at:
            return self.next_due()
        self._client.expire(self)
        return None


class PendingJob(Protocol):
    """A job that has not begun, such as an event's before the connect handler has decided."""

    def run(self) -> bool:
        """Run it; return whether it is not over then."""

    def give_back(self) -> None:
        """Count its data as pending no longer."""


class Client:
    """A Socket.IO client: a sid on a namespace, one of those of a connection.

    ``phase``, ``acks`` and ``held_back`` are guarded by the session's lock, ``rooms`` by the lock of its
    :class:`~flask_socketio_core.server.rooms.Rooms`.
    """

    __slots__ = (
        "_data",
        "_expires_at",
        "_expiry",
        "_user",
        "accepted",
        "ack_count",
        "acks",
        "connected_at",
        "connection",
        "early",
        "forgotten",
        "gone_callbacks",
        "held_back",
        "missed",
        "namespace",
        "phase",
        "reason",
        "recovered",
        "recovery",
        "rooms",
        "session",
        "sid",
        "user_session",
    )

    def __init__(self, sid: str, namespace: str, connection: Owner) -> None:
        self.sid = sid
        self.namespace = namespace
        self.connection = connection
        self.session = connection.session
        self.phase = Phase.PENDING
        self.accepted = False
        self.reason = ""
        self.rooms: set[str] | None = None
        self.acks: dict[int, OwedAck] | None = None  # the oldest first
        self.ack_count = 0
        self.held_back: Outbox | None = None
        self.early: list[PendingJob] | None = None
        self.gone_callbacks: list[Callable[[], None]] | None = None
        self.user_session: dict[str, Any] | None = None
        self._user: str | None = None
        self._expiry: Expiry | None = None
        self._expires_at: float | None = None
        self.connected_at = time.time()
        self.recovery: State[Client] | None = None
        self.recovered = self.forgotten = False
        self.missed = 0
        self._data: dict[str, Any] | None = None  # made when it is first asked for

    def come_back_as(self, old: Client, *, missed: int) -> None:
        """Be a client that has lost its connection, with what the application keeps with it."""
        self.sid, self._data, self.user_session = old.sid, old._data, old.user_session
        self._user = old._user
        self.recovered, self.missed = True, missed

    @property
    def has_left(self) -> bool:
        """Whether its connection has ended, or its connect handler has refused it."""
        return self.phase is Phase.GONE

    @property
    def absent(self) -> bool:
        """Whether it stands for one that was another server's, and is not back here."""
        return self.session.transport.name == "none"

    def restore(self, packed: Mapping[str, Any]) -> None:
        """Stand for a client that has lost its connection to another server."""
        self._data, self._user, self.user_session = packed["data"], packed["user"], packed["user_session"]
        self.expires_at = packed["expires_at"]

    @property
    def pending(self) -> bool:
        """Whether the connect handler has not decided yet."""
        return self.phase is _PENDING

    @property
    def engine_sid(self) -> str:
        """The Engine.IO session id."""
        return self.session.sid

    @property
    def data(self) -> dict[str, Any]:
        """The application's own dictionary; see :attr:`~flask_socketio_core.contracts.clients.Client.data`."""
        if self._data is None:
            with self.session.lock:
                if self._data is None:
                    self._data = {}
        return self._data

    @data.setter
    def data(self, data: dict[str, Any]) -> None:
        if not isinstance(data, dict):
            raise TypeError(f"the data of a client is a dictionary, not of type {type(data).__name__}")
        copy = dict(data)
        try:
            encode_strictly(copy)
        except FAILURES as error:
            raise explain(f"data of client {self.sid}", copy, error, encode_strictly) from error
        self._data = copy

    @property
    def user(self) -> str | None:
        """Whose it is; see :attr:`~flask_socketio_core.contracts.clients.Client.user`."""
        return self._user

    @user.setter
    def user(self, user: str | int | None) -> None:
        self.connection.identify(self, None if user is None else checked_id(user))

    def keep_user(self, user: str | None) -> None:
        """Note whose it is; the rest is done."""
        self._user = user

    @property
    def expires_at(self) -> float | None:
        """When its login ends; see :attr:`~flask_socketio_core.contracts.clients.Client.expires_at`."""
        return self._expires_at

    @expires_at.setter
    def expires_at(self, expires_at: float | None) -> None:
        new = None if expires_at is None else Expiry(self, expires_at)
        with self.session.lock:
            old, self._expiry = self._expiry, new if self.phase is not Phase.GONE else None
            self._expires_at = None if new is None else new.expires_at
        self.connection.reschedule(old, new)
        if new is not None and self._expiry is not new:  # it has left, or another one was set
            self.connection.reschedule(new, None)

    def expire(self, expiry: Expiry) -> None:
        """End the connection, unless the client has left or presented something else in the meantime."""
        if self._expiry is expiry:
            self.connection.dismiss(Reason.EXPIRED)

    @property
    def app_data(self) -> Any:
        """Whatever the application keeps with the connection."""
        return self.connection.app_data

    @app_data.setter
    def app_data(self, data: Any) -> None:
        self.connection.app_data = data

    @property
    def environ(self) -> dict[str, Any]:
        """WSGI environ of the connection's first request."""
        return self.session.environ

    def send(self, outgoing: Outgoing, volatile: bool = False) -> bool:
        """Send one packet, or hold it back until the client is accepted.

        :param volatile: drop it rather than let it wait.
        :returns: ``False`` if it was dropped.
        """
        if self.phase is not _CONNECTED:
            held_back = self._hold_back(outgoing)
            if held_back is not None:
                return held_back
        return self.phase is _CONNECTED and self.session.send(outgoing, volatile)

    def send_noted(self, outgoing: Outgoing, volatile: bool, log: Log, entry: Any) -> bool:
        """Send one packet as :meth:`send` does, and note it in the same step; ``False`` if it was not noted.

        See :meth:`Session.send_noted`.
        """
        if self.phase is _PENDING and self._hold_back(outgoing, log, entry) is not None:
            return True
        return self.phase is _CONNECTED and self.session.send_noted(outgoing, volatile, log, entry)

    def _hold_back(self, outgoing: Outgoing, log: Log | None = None, entry: Any = None) -> bool | None:
        """Keep a packet until the client is accepted.

        :returns: ``False`` if it was too much, which ends the connection; ``None`` if the client does not wait for
            that any more.
        """
        with self.session.lock:
            if self.phase is not _PENDING:
                return None
            if self.held_back is None:
                self.held_back = Outbox()
            self.held_back.push(outgoing)
            if log is not None:
                log.append(entry)
            overflow = self.session.apply_policy(self.held_back)
        return overflow is None or self.session.report_overflow(overflow)

    def hold_event(self, job: PendingJob) -> bool:
        """Keep an event that came before the connect handler has decided; ``False`` if it has."""
        with self.session.lock:
            if self.phase is not _PENDING:
                return False
            if self.early is None:
                self.early = []
            self.early.append(job)
            self.connection.early += 1
            return True

    def take_early(self) -> list[PendingJob]:
        """Return and forget the events that were kept."""
        with self.session.lock:
            early, self.early = self.early or [], None
            self.connection.early -= len(early)
            return early

    def confirm(self) -> bool:
        """Note that the connect handler let the client in; ``False`` if it has left in the meantime."""
        with self.session.lock:
            if self.phase is Phase.GONE:
                return False
            self.accepted = True
            return True

    def accept(self, connect_packet: Outgoing) -> bool:
        """Send the CONNECT packet and, behind it, what was held back, unless that was done before.

        Behind it also for a client that is back, unlike the reference server. It would keep what comes before that
        for its listeners, without its offset, and keep it still if the connection is lost in between: then it has it
        twice. Source: socket.io-client 4.8, ``Socket.onevent()``.

        :returns: ``False`` if the client is not waiting for it (any more).
        """
        with self.session.lock:
            if self.phase is not _PENDING:
                return False
            self.phase = _CONNECTED
            held_back, self.held_back = self.held_back, None
            for outgoing in (connect_packet, *(held_back.take_all() if held_back is not None else ())):
                self.session.send_locked(outgoing)
        self.session.settle()
        return True

    def expect_ack(self, callback: AckCallback, event: str) -> int | None:
        """Register a callback and return the id of its ack packet; ``None`` if the client is gone."""
        with self.session.lock:
            if self.phase is Phase.GONE:
                return None
            self.ack_count += 1
            if self.acks is None:
                self.acks = {}
            ack_id = self.ack_count
            self.acks[ack_id] = callback, self.connection.now_s(), event
            if len(self.acks) <= self.connection.max_pending_acks:
                return ack_id
            oldest = self.acks.pop(next(iter(self.acks)))
        self.connection.tell_expired([oldest], self)
        return ack_id

    def expire_acks(self, before_s: float) -> None:
        """Give up what was asked before a clock reading."""
        expired = []
        with self.session.lock:
            acks = self.acks or {}
            while acks and next(iter(acks.values()))[1] < before_s:
                expired.append(acks.pop(next(iter(acks))))
        if expired:
            self.connection.tell_expired(expired, self)

    def take_ack(self, ack_id: int) -> OwedAck | None:
        """Return and forget what waits for an ack; ``None`` if nobody waits for that id."""
        with self.session.lock:
            return self.acks.pop(ack_id, None) if self.acks else None

    def forget_acks(self, callback: AckCallback) -> list[OwedAck]:
        """Call a callback no more, whatever the client acknowledges; return what it has not."""
        with self.session.lock:
            acks = self.acks or {}
            return [acks.pop(key) for key in [key for key, owed in acks.items() if owed[0] == callback]]

    def leave(self, reason: str) -> Phase | None:
        """Mark the client as gone.

        :param reason: a value of :class:`Reason`, for its disconnect handler.
        :returns: the phase that it was in; ``None`` if it was gone already.
        """
        with self.session.lock:
            if self.phase is Phase.GONE:
                return None
            self.reason = reason  # first: who sees it gone looks at that, without the lock
            before, self.phase = self.phase, Phase.GONE
            self.held_back = self.acks = None
            expiry, self._expiry = self._expiry, None
            callbacks, self.gone_callbacks = self.gone_callbacks, None
        if expiry is not None:
            self.connection.reschedule(expiry, None)
        for callback in callbacks or ():
            callback()
        return before

    def on_gone(self, callback: Callable[[], None]) -> None:
        """Call back when the client leaves; at once if it has left."""
        with self.session.lock:
            if self.phase is not Phase.GONE:
                if self.gone_callbacks is None:
                    self.gone_callbacks = []
                self.gone_callbacks.append(callback)
                return
        callback()

    def withdraw(self, callback: Callable[[], None]) -> None:
        """Do not call back when the client leaves after all."""
        with self.session.lock:
            if self.gone_callbacks and callback in self.gone_callbacks:
                self.gone_callbacks.remove(callback)
