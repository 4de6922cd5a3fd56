"""What Socket.IO keeps of one connection: its clients, what they have sent, and the jobs that come of it.

An Engine.IO session hands it the messages and tells it of time and of the end; it runs the handlers and answers. The
session reads nothing more as long as too much of it is unfinished.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..common.quoting import printable
from ..common.reasons import Reason
from ..common.sids import new_sid
from ..errors import ProtocolError, refusals
from ..transport.session import GOING_AWAY
from .clients import Client
from .jobs import ConnectJob, DisconnectJob, EventJob
from .mailbox import Mailbox
from .packets import ACK, CONNECT, DISCONNECT, EVENT, Decoder
from .pending import SMALL_MESSAGE
from .phase import Phase

if TYPE_CHECKING:
    from ..transport.packets import Outgoing
    from ..transport.session import Session
    from ..transport.timer import Timed
    from .clients import OwedAck, PendingJob
    from .jobs import HandlerJob
    from .mailbox import JobQueue
    from .pending import Sender
    from .shared import Shared

Job = Callable[[], object]

INVALID_NAMESPACE = {"message": "Invalid namespace"}
"""What a client is told about a namespace that does not exist. Source: Socket.IO's server."""

REFUSED = {"message": "Connection rejected by server"}
REFUSED_PLAINLY = {"message": "Connection refused by server"}
"""What a client is told when a connect handler returned ``False``, or disconnected it. Source: python-socketio."""

DISCONNECT_PATIENCE_S = 1.0
"""How long the disconnect handlers of a client that left wait behind what it has sent, if its handlers do not return,
seconds."""

CONNECTED = Phase.CONNECTED


class Connection:
    """The listener of one session.

    :param shared: what all connections have in common.
    """

    __slots__ = (
        "_decoder",
        "ahead",
        "app_data",
        "arriving_bytes",
        "arriving_since_s",
        "backlog",
        "clients",
        "early",
        "mailbox",
        "pending_bytes",
        "recoverable",
        "session",
        "shared",
        "unread",
        "waiting",
    )

    event_job = EventJob
    connect_job = ConnectJob

    def __init__(self, session: Session, shared: Shared) -> None:
        self.session = session
        self.clients: dict[str, Client] = {}  # by namespace; changed under the session's lock
        self.app_data: Any = None
        self.recoverable = shared.recoveries is not None
        """Whether its clients may take part in connection state recovery."""
        self.shared = shared
        self._decoder = Decoder(shared.codec)
        # See workers.py, whose lock guards the second.
        self.backlog: list[None] = []
        self.waiting: deque[Job] | None = None
        self.ahead = False
        self.mailbox: JobQueue | None = None  # where handlers run in order
        if shared.ordered:
            self.mailbox = Mailbox(shared.mode.spawn, shared.mode.create_lock())
        self.early = 0  # events that wait for connect handlers; guarded by the session's lock
        # See pending.py, whose lock guards the first two and changes of the last one.
        self.pending_bytes = 0
        self.arriving_bytes = 0
        self.arriving_since_s = math.inf
        self.unread: deque[str | bytes] | None = None

    @property
    def closed(self) -> bool:
        """Whether it has ended."""
        return self.session.closed

    @property
    def max_pending_acks(self) -> int:
        """How many acknowledgements of one client are waited for."""
        return self.shared.options.max_pending_acks

    def now_s(self) -> float:
        """Return the clock's reading, seconds."""
        return self.shared.eio.clock()

    def identify(self, client: Client, user: str | None) -> None:
        """Take a client for a user's, and tell which rooms it has left and entered."""
        shared, rooms = self.shared, self.shared.namespaces.rooms.get(client.namespace)
        if rooms is None:
            client.keep_user(user)
            return
        left, entered = rooms.identify(client, user)
        if left is not None:
            shared.tell_left((left,), client)
        if entered is not None and shared.observers.observes("socketio_room_entered"):
            shared.observers.room_entered(sid=client.sid, namespace=client.namespace, room=entered)

    def reschedule(self, old: Timed | None, new: Timed | None) -> None:
        """Have the timer wait for something instead of something else."""
        if old is not None:
            self.shared.eio.unschedule(old)
        if new is not None:
            self.shared.eio.reschedule(new)

    # what the session tells

    def on_message(self, message: str | bytes, admitted: bool = False) -> None:
        """Take one Socket.IO packet, or a binary attachment.

        :param admitted: it is counted as pending already, or too small for that.
        :raises ProtocolError: if it breaks the protocol.
        """
        if (
            (len(message) > SMALL_MESSAGE or self.unread)
            and not admitted
            and not self.shared.pending.admit(self, message)
        ):
            self.session.hold()
            if self._caught_up():  # it was read in the meantime
                self.session.release()
            return
        packet = self._decoder.decode(message)
        if packet is None:
            if self.arriving_bytes:
                self.arriving_since_s = self.now_s()
            return
        kind, namespace, ack_id, data = packet
        if kind == EVENT:
            client = self.clients.get(namespace)
            if client is None:
                self._on_stray(namespace)
                if self.arriving_bytes:
                    self._forget_arrived()
                return
            job = self.event_job(self, client, ack_id, data)
            if self.shared.observers.observes_events:
                job.since_s = self.now_s()
            if self.arriving_bytes:
                job.cost = self.take_arrived()
            if client.phase is CONNECTED:
                self._run(job)
            elif client.hold_event(job):
                self._limit()
            elif client.phase is CONNECTED:  # it was let in at this very moment
                self._run(job)
        elif kind == ACK:
            self._on_ack(namespace, ack_id, data)
        elif kind == CONNECT:
            self._on_connect(namespace, data)
        elif kind == DISCONNECT:
            client = self.clients.get(namespace)
            if client is not None:
                self._close_recovery(client)
                self._client_left(client, Reason.CLIENT_DISCONNECT)
        else:
            raise ProtocolError(f"unexpected Socket.IO packet of type {kind}")
        if self.arriving_bytes:
            self._forget_arrived()

    def on_connect_timeout(self) -> bool:
        """Return whether a client has joined; log, from a worker, if it is a connect handler that takes longer."""
        clients = list(self.clients.values())
        if not all(client.pending for client in clients):
            return True
        eio = self.shared.eio
        more = eio.repeats.take("connect timeout") if clients else None
        if more is not None:
            self.shared.mode.spawn(
                partial(
                    eio.logger.warning,
                    "session %s ends: the connect handler of %s has not returned within connect_timeout=%g s%s",
                    self.session.sid,
                    ", ".join(printable(repr(client.namespace)) for client in clients),
                    self.shared.options.connect_timeout,
                    more,
                )
            )
        return False

    def on_due(self, now_s: float) -> bool:
        """Give up acknowledgements; ``False`` if the attachments of a packet have not come, and could have.

        They have the time of a heartbeat.
        """
        options = self.shared.options
        if (
            not self.session.held or self.unread
        ) and now_s - self.arriving_since_s > options.ping_interval + options.ping_timeout:
            return False
        for client in list(self.clients.values()):
            if client.acks:
                client.expire_acks(now_s - options.ack_timeout)
        return True

    def on_rested(self) -> None:
        """Read on, unless the handlers cannot keep up either."""
        self.read_on()

    def on_closed(self, reason: str) -> None:
        """Run the disconnect handlers of the clients."""
        self._start_unread(self.shared.pending.forget(self))
        for client in list(self.clients.values()):
            self._client_left(client, reason)
        self._hurry_disconnects()

    # what is pending

    def _forget_arrived(self) -> None:
        """Count what has just arrived as pending no longer: nobody goes on with it."""
        self.give_back(self.take_arrived())

    def take_arrived(self) -> int:
        """Return how many pending bytes the packet stands for that has just arrived."""
        return self.shared.pending.take(self)

    def give_back(self, cost: int) -> None:
        """Count bytes as pending no longer, and read on where that was waited for."""
        ready = self.shared.pending.give_back(self, cost)
        self.read_on()
        self._start_unread(ready)

    def _start_unread(self, ready: Sender | None) -> None:
        if ready is not None:
            self.shared.mode.spawn(ready.take_unread)

    def take_unread(self) -> None:
        """Take the messages that had to wait because of what the process had pending."""
        pending = self.shared.pending
        while (message := pending.next_unread(self)) is not None:
            try:
                self.on_message(message, admitted=True)
            except Exception as error:  # noqa: BLE001  # as in the shells: it ends this connection only
                self.shared.eio.report(error, f"session {self.session.sid}")
                self.session.violate(error if isinstance(error, ProtocolError) else ProtocolError(str(error)))
            pending.was_read(self)
        self._start_unread(pending.next_ready())
        self.read_on()

    def _run(self, job: PendingJob) -> None:
        """Run a job, which :meth:`finish` or :meth:`finish_later` ends; read no more while too many are unfinished."""
        shared, backlog = self.shared, self.backlog
        backlog.append(None)  # before the start: the job may end at once
        try:
            if self.mailbox is None:
                shared.workers.start(self, job.run)
            else:
                self.mailbox.put(job.run)
        except BaseException:  # no thread left; it ends the connection
            job.give_back()
            raise
        if len(backlog) >= shared.some_pending or self.pending_bytes:
            self._limit()

    def _limit(self) -> None:
        """Read no more if too many jobs are unfinished."""
        shared = self.shared
        count = len(self.backlog) + self.early
        if count >= shared.most_pending or self.pending_bytes >= shared.most_pending_bytes:
            self.session.hold()
            if self._caught_up():  # the handlers were faster, and saw nothing to release
                self.session.release()

    def _caught_up(self) -> bool:
        return (
            len(self.backlog) + self.early <= self.shared.few_pending
            and self.pending_bytes - self.arriving_bytes <= self.shared.few_pending_bytes
            and not self.unread
            and not self.session.rests
        )

    def read_on(self) -> None:
        """Read on if the handlers have caught up."""
        if self.session.held and self._caught_up():
            self.session.release()

    def finish(self) -> None:
        """Count a job no longer, whose worker is about to return."""
        self.backlog.pop()
        if self.mailbox is None:
            self.shared.workers.ended(self)
        if self.session.held:
            self.read_on()

    def free_worker(self) -> None:
        """Give a worker back whose job is not over; :meth:`finish_later` follows."""
        if self.mailbox is None:
            self.shared.workers.freed(self)

    def finish_later(self) -> None:
        """Count a job no longer that has no worker, and go on with what waits for it."""
        self.backlog.pop()
        if self.mailbox is None:
            self.shared.workers.ended_without(self)
        else:
            self.mailbox.go_on()
        if self.session.held:
            self.read_on()

    def report(self, error: BaseException, what: str) -> None:
        """Log an error that nobody else will see."""
        self.shared.eio.report(error, what)

    def _mark(self, job: HandlerJob) -> None:
        """Note when a job begins to wait, if somebody wants to know how long it does."""
        if self.shared.observers.observes_events:
            job.since_s = self.now_s()

    # events and acks

    def _on_stray(self, namespace: str) -> None:
        """Learn of an event for a namespace without a client."""

    def tell_expired(self, acks: list[OwedAck], client: Client) -> None:
        """Tell of acknowledgements that are waited for no longer."""
        self.shared.tell_expired(acks, client)

    def _on_ack(self, namespace: str, ack_id: int | None, data: list[Any]) -> None:
        client = self.clients.get(namespace)
        if client is None or ack_id is None or (asked := client.take_ack(ack_id)) is None:
            return
        callback, asked_s, event = asked
        shared = self.shared
        if shared.observers.observes_acks:
            shared.eio.tell(
                partial(
                    shared.observers.ack,
                    sid=client.sid,
                    namespace=namespace,
                    event=event,
                    latency_s=self.now_s() - asked_s,
                )
            )
        callback(*data)

    # clients that come

    def _on_connect(self, namespace: str, auth: Any) -> None:
        session, shared, options = self.session, self.shared, self.shared.options
        present = self.clients.get(namespace)
        if present is not None and present.phase is not Phase.GONE:
            return  # a repeated CONNECT changes nothing; one who left may come back while its handler still runs
        if not shared.application.accepts(namespace):
            self._turn_away(namespace, INVALID_NAMESPACE)
            return
        most = options.max_name_length
        if len(namespace) > most:
            text = f"name of {len(namespace)} characters, the server allows {most} (max_name_length)"
            self._turn_away(namespace, {"message": text})
            return
        most = options.max_namespaces
        if present is None and len(self.clients) >= most:
            text = f"too many namespaces on one connection, the server allows {most} (max_namespaces)"
            self._turn_away(namespace, {"message": text})
            return
        client = Client(new_sid(self.shared.sid_address), namespace, self)
        with session.lock:
            if session.closed:
                return
            self.clients[namespace] = client
        cost = self.take_arrived() if self.arriving_bytes else 0
        if shared.recoveries is not None and self.recoverable:
            shared.recoveries.begin(client, auth, partial(self._ask, client, cost))
        else:
            self._ask(client, cost, auth)

    def _ask(self, client: Client, cost: int, auth: Any) -> None:
        """Have it decided whether a client is let in.

        :param cost: pending bytes that its CONNECT stands for.
        """
        shared = self.shared
        if not client.recovered:  # or else it is in its rooms already
            shared.namespaces.add(client)
        if shared.options.always_connect:
            client.accept(self._welcome(client))
        job = self.connect_job(self, client, auth)
        self._mark(job)
        job.cost = cost
        self._run(job)

    def _welcome(self, client: Client) -> Outgoing:
        pid = None if client.recovery is None else client.recovery.pid
        return self.shared.codec.encode_connect(client.sid, client.namespace, pid)

    def _turn_away(self, namespace: str, refusal: Any) -> None:
        """Refuse a client that no connect handler is asked about."""
        self.session.send(self.shared.codec.encode_connect_error(refusal, namespace))
        self.shared.tell_refused(None, namespace, self.session.sid, refusal)

    def decide(self, client: Client, answer: bool | BaseException) -> None:
        """Let a client in, or refuse it: with what an error says, if it is one that refuses."""
        try:
            if answer is not True:
                self._refuse(client, _refusal(answer))
            elif client.confirm():
                self._let_in(client)
            else:  # it left while its connect handler ran, which has let it in
                self._start_disconnect(client)
                self._hurry_disconnects()
        except BaseException:
            self._refuse(client, REFUSED)
            raise

    def _let_in(self, client: Client) -> None:
        client.accept(self._welcome(client))
        # Also where it was accepted before: it may have waited to be asked about.
        for job in client.take_early():
            self._run(job)
        self.shared.application.on_connected(client)

    def _refuse(self, client: Client, refusal: Any) -> None:
        left = client.leave(Reason.SERVER_DISCONNECT) is not None
        self._close_recovery(client)
        self.forget(client)  # before the client learns of it and tries again
        if not left:
            return
        try:
            answer = self._encode_refusal(client.namespace, refusal)
        except (TypeError, ValueError) as error:
            self.shared.eio.report(
                error,
                f"what a connect handler on namespace '{printable(client.namespace)}' refused a client with",
            )
            refusal = REFUSED
            answer = self._encode_refusal(client.namespace, refusal)
        self.session.send(answer)
        self.shared.tell_refused(client.sid, client.namespace, self.session.sid, refusal)

    def _encode_refusal(self, namespace: str, refusal: Any) -> Outgoing:
        if self.shared.options.always_connect:
            return self.shared.codec.encode_disconnect(namespace)  # which has no room for the refusal
        return self.shared.codec.encode_connect_error(refusal, namespace)

    # clients that go

    def disconnect(
        self, client: Client, reason: str = Reason.KICKED, run: Callable[[Job], object] | None = None
    ) -> None:
        """Disconnect a client; one whose connect handler still runs is refused.

        :param reason: a value of :class:`Reason`, for its disconnect handler.
        :param run: runs the disconnect handler; ``None`` for a worker, as when the client leaves by itself.
        """
        # It leaves before it learns of it and comes back.
        before = client.leave(reason)
        self._close_recovery(client)  # also of one that has just lost its connection
        if before is None:
            return
        self.session.send(self._farewell(client, before))
        self._follow_up(client, before, run)

    def _farewell(self, client: Client, before: Phase) -> Outgoing:
        codec = self.shared.codec
        if before is Phase.PENDING:  # clients wait for a CONNECT or its refusal, and ignore anything else
            return codec.encode_connect_error(REFUSED, client.namespace)
        return codec.encode_disconnect(client.namespace)

    def _follow_up(self, client: Client, before: Phase, run: Callable[[Job], object] | None = None) -> None:
        """Do what is to be done when a client has been disconnected."""
        if before is Phase.PENDING:
            self.shared.tell_refused(client.sid, client.namespace, self.session.sid, REFUSED)
        if client.accepted:  # or else its connect handler still runs
            self._start_disconnect(client, run)

    def dismiss(self, reason: str) -> None:
        """Disconnect all clients and end the connection.

        Each namespace has its DISCONNECT packet first: official clients that only lose their connection come back. They
        are to do so where a login has ended, and have a new one.

        :param reason: a value of :class:`Reason`, for the disconnect handlers.
        """
        if reason is Reason.EXPIRED:
            self.session.close(reason, code=GOING_AWAY)
            return
        clients = list(self.clients.values())
        left = [(client, before) for client in clients if (before := client.leave(reason)) is not None]
        for client in clients:  # also of those that have just lost the connection
            self._close_recovery(client)
        with self.session.lock:  # what closes the session sends it: one poll gets all of it
            for client, before in left:
                self.session.send_locked(self._farewell(client, before))
        for client, before in left:
            self._follow_up(client, before)
        self.session.close(reason)

    def _client_left(self, client: Client, reason: str) -> None:
        if not client.leave(reason):
            return
        recoveries = self.shared.recoveries
        if recoveries is not None and client.recovery is not None:
            recoveries.lose(client, reason)
        if client.accepted:
            self._start_disconnect(client)

    def _close_recovery(self, client: Client) -> None:
        recoveries = self.shared.recoveries
        if recoveries is not None:
            recoveries.close(client)

    def _start_disconnect(self, client: Client, run: Callable[[Job], object] | None = None) -> None:
        """Have the disconnect handler of a client run that was let in and has left."""
        self.shared.begin_disconnect()
        job = DisconnectJob(self, client)
        self._mark(job)
        if run is None:
            self._run(job)
        else:
            self.backlog.append(None)
            if self.mailbox is None:
                self.shared.workers.begin()
            run(job.run)

    def _hurry_disconnects(self) -> None:
        """Have the disconnect handlers of a closed session run, although its other handlers may never return."""
        if self.session.closed and self.waiting is not None:
            workers = self.shared.workers
            self.shared.mode.call_later(
                DISCONNECT_PATIENCE_S, partial(workers.hurry, self, self._is_disconnect)
            )

    def _is_disconnect(self, job: Job) -> bool:
        return isinstance(getattr(job, "__self__", None), DisconnectJob)

    def forget(self, client: Client) -> None:
        """Forget a client that is gone, with what it has sent."""
        for job in client.take_early():
            job.give_back()
        self.read_on()
        with self.session.lock:
            if self.clients.get(client.namespace) is client:
                del self.clients[client.namespace]
        recoveries = self.shared.recoveries
        if recoveries is not None and client.recovery is not None:
            recoveries.forget(client)
        elif left := self.shared.namespaces.remove(client):
            self.shared.tell_left(left, client)


def _refusal(answer: bool | BaseException) -> Any:
    if isinstance(answer, ConnectionRefusedError):
        return REFUSED_PLAINLY
    return answer.error_args if isinstance(answer, refusals()) else REFUSED
