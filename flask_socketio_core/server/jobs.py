"""The jobs that run a client's handlers, and the replies by which the application ends them.

An application replies before it returns, or later and from whatever thread. So a job has two ends, the worker's return
and the reply, and is over with the second of them:

===========================  =========================================================================
the reply is given first     the worker ends the job when it returns, as with any handler that just returns
the worker returns first     it is free for other handlers; who gives the reply ends the job
an exception comes first     the engine replies: an event is not acknowledged, a client is refused
no reply is ever given       the same as a handler that never returns
===========================  =========================================================================

Until it is over, a job counts as one of its connection's: what comes behind it in order waits, its data is pending.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from ..common.quoting import handler_of, printable
from ..errors import InvalidData, refusals
from .interface import waited
from .phase import Phase
from .workers import Jobs

if TYPE_CHECKING:
    from types import FrameType

    from ..transport.session import Session
    from .clients import Client
    from .mailbox import JobQueue
    from .shared import Shared
CONNECTED = Phase.CONNECTED


class Owner(Jobs, Protocol):
    """The connection whose jobs they are."""

    session: Session
    shared: Shared
    mailbox: JobQueue | None

    def now_s(self) -> float:
        """Return the clock's reading, seconds."""

    def decide(self, client: Client, answer: bool | BaseException) -> None:
        """Let a client in, or refuse it."""

    def forget(self, client: Client) -> None:
        """Forget a client that is gone."""

    def finish(self) -> None:
        """Count a job no longer, whose worker is about to return."""

    def free_worker(self) -> None:
        """Give a worker back whose job is not over."""

    def finish_later(self) -> None:
        """Count a job no longer that has no worker."""

    def give_back(self, cost: int) -> None:
        """Count bytes as pending no longer."""

    def read_on(self) -> None:
        """Read on if the handlers have caught up."""

    def report(self, error: BaseException, what: str) -> None:
        """Log an error that nobody else will see."""


class HandlerJob:
    """A job that asks the application something about a client, and the reply.

    ``give`` of each kind is the reply: it raises :class:`RuntimeError` for a second one. Deleting a slot is atomic: of
    several threads only one can.

    :ivar given: whether the reply is given, with all that follows from it.
    :ivar left: whether the worker has returned without.
    :ivar since_s: when it began to wait, by the clock, if somebody wants to know how long it does.
    :ivar cost: pending bytes that it stands for, which are given back at its end.
    """

    __slots__ = ("_open", "_unended", "client", "connection", "cost", "given", "left", "since_s")

    def __init__(self, connection: Owner, client: Client) -> None:
        self.connection = connection
        self.client = client
        self._open = True
        self.given = self.left = False
        self.cost = 0
        self.since_s: float | None = None

    @property
    def event(self) -> str:
        """The event that is handled."""
        raise NotImplementedError

    def run(self) -> bool:
        """Ask the application; return whether the job is not over then."""
        if self.since_s is not None:
            waited.set(self.connection.now_s() - self.since_s)
        try:
            self.ask()
        except BaseException as error:  # noqa: BLE001  # it is raised again there
            return self._raised(error)
        return self._returned()

    def ask(self) -> None:
        """Ask it."""
        raise NotImplementedError

    def refuse(self) -> None:
        """Do what is to be done where the application has failed."""

    def give_back(self) -> None:
        """Count its data as pending no longer."""
        cost, self.cost = self.cost, 0
        if cost:
            self.connection.give_back(cost)

    def _returned(self) -> bool:
        if self.given:
            self.connection.finish()
            if self.cost:
                self.give_back()
            return False
        self._unended = True
        self.connection.free_worker()
        self.left = True
        self._look_again()
        return True

    def _look_again(self) -> None:
        """End the job if its reply was given meanwhile, by a thread that may have seen nobody leave."""
        if self.given:
            self._end()

    def _raised(self, error: BaseException) -> bool:
        """Reply for a handler that has raised.

        :raises BaseException: the error, for whoever runs jobs.
        """
        try:
            del self._open
        except AttributeError:
            if not self.given:  # another thread is just about to
                self.connection.report(error, f"the handler that has answered client {self.client.sid}")
                return self._returned()
        else:
            self.refuse()
            self.given = True
        self._returned()
        raise error

    def _take(self) -> None:
        """Begin to give the reply."""
        try:
            del self._open
        except AttributeError:
            raise RuntimeError(
                f"the handler of event {self.event!r} has answered client {self.client.sid} before: a reply is given "
                "once"
            ) from None

    def _close(self) -> None:
        """End the job, or let the worker end it."""
        self.given = True
        if self.left:
            self._end()

    def _end(self) -> None:
        try:
            del self._unended
        except AttributeError:
            return
        self.connection.finish_later()
        self.give_back()


class EventJob(HandlerJob):
    """Has an event handled. The reply is what to acknowledge, if the client asked for that.

    :param data: the event and its arguments.
    """

    __slots__ = ("_ack_id", "_data")

    def __init__(self, connection: Owner, client: Client, ack_id: int | None, data: list[Any]) -> None:
        self.connection = connection  # what HandlerJob.__init__ does, without the call
        self.client = client
        self._open = True
        self.given = self.left = False
        self.cost = 0
        self.since_s: float | None = None
        self._ack_id = ack_id
        self._data = data

    @property
    def event(self) -> str:
        """The event that is handled."""
        return str(self._data[0])

    def run(self) -> bool:
        """Ask the application; return whether the job is not over then."""
        connection, data = self.connection, self._data
        if self.since_s is not None:
            waited.set(connection.now_s() - self.since_s)
        try:
            connection.shared.application.on_event(self.client, data[0], tuple(data[1:]), self.give)
        except BaseException as error:  # noqa: BLE001  # it is raised again there
            return self._raised(error)
        if self.cost or not self.given:
            return self._returned()
        connection.backlog.pop()  # what connection.finish() does, without the call
        if connection.mailbox is None:
            connection.shared.workers.ended(connection)
        if connection.session.held:
            connection.read_on()
        return False

    def give(self, answer: tuple[Any, ...] | None) -> None:
        """Acknowledge values, or nothing."""
        try:
            del self._open  # what _take() does, without the call
        except AttributeError:
            self._take()
        ack_id = self._ack_id
        if ack_id is not None and answer is not None:
            client = self.client
            try:
                outgoing = self.connection.shared.codec.encode_ack(answer, client.namespace, ack_id)
                if client.phase is CONNECTED:  # what client.send() does, without the call
                    client.session.send(outgoing)
                else:
                    client.send(outgoing)
            except InvalidData as error:
                _OtherAck(self, ack_id).ask(error)
                return
            except BaseException:
                self._close()
                raise
        self.given = True  # what _close() does, without the call
        if self.left:
            self._end()

    def ask_otherwise(self, error: InvalidData, other: _OtherAck) -> None:
        """Let the application say what to acknowledge instead of something that cannot be sent."""
        data = self._data
        self.connection.shared.application.on_invalid_ack(
            self.client, data[0], tuple(data[1:]), error, other.give
        )

    end = HandlerJob._close


class _OtherAck:
    """The reply that takes the place of one that could not be sent.

    :param job: ends with this one.
    """

    __slots__ = ("_ack_id", "_job", "_open")

    def __init__(self, job: EventJob, ack_id: int) -> None:
        self._job = job
        self._ack_id = ack_id
        self._open = True

    def ask(self, error: InvalidData) -> None:
        """Ask the application for it."""
        try:
            self._job.ask_otherwise(error, self)
        except BaseException:
            if self._take():
                self._job.end()
            raise

    def give(self, answer: tuple[Any, ...] | None) -> None:
        """Acknowledge other values, or nothing."""
        job = self._job
        if not self._take():
            raise RuntimeError(
                f"the error handler of event {job.event!r} has answered {job.client.sid} before"
            )
        shared, client = job.connection.shared, job.client
        try:
            if answer is not None:
                client.send(shared.codec.encode_ack(answer, client.namespace, self._ack_id))
        except InvalidData as error:
            job.connection.report(
                error, f"what the error handler of event {printable(repr(job.event))} answered {client.sid}"
            )
        finally:
            job.end()

    def _take(self) -> bool:
        try:
            del self._open
        except AttributeError:
            return False
        return True


class ConnectJob(HandlerJob):
    """Has it decided whether a client is let in. The reply is that, or an error that refuses it.

    :param auth: what the client sent.
    """

    __slots__ = ("_auth",)

    def __init__(self, connection: Owner, client: Client, auth: Any) -> None:
        super().__init__(connection, client)
        self._auth = auth

    @property
    def event(self) -> str:
        """The event that is handled."""
        return "connect"

    def ask(self) -> None:
        """Ask the application."""
        shared = self.connection.shared
        if self.client.recovered:
            shared.tell_recovered(self.client)
        try:
            shared.application.on_connect(self.client, self._auth, self.give)
        except ConnectionRefusedError as error:
            self.give(error)
        except refusals() as error:
            self.give(error)

    def give(self, answer: bool | BaseException) -> None:
        """Let the client in, or not."""
        self._take()
        try:
            self.connection.decide(self.client, answer)
        finally:
            self._close()

    def refuse(self) -> None:
        """Do not let it in."""
        self.connection.decide(self.client, False)


class DisconnectJob(HandlerJob):
    """Has a client's disconnect handler run. The reply is that it is through."""

    __slots__ = ()

    @property
    def event(self) -> str:
        """The event that is handled."""
        return "disconnect"

    def ask(self) -> None:
        """Ask the application."""
        client = self.client
        self.connection.shared.application.on_disconnect(client, client.reason, self.give)

    def give(self) -> None:
        """Forget the client."""
        self._take()
        try:
            self.refuse()
        finally:
            self._close()

    def refuse(self) -> None:
        """Forget it all the same."""
        connection = self.connection
        try:
            connection.forget(self.client)
        finally:
            connection.shared.end_disconnect()


_RUNS = frozenset((HandlerJob.run.__code__, EventJob.run.__code__))


def handler_in(frame: FrameType) -> str | None:
    """Return which handler a frame runs; ``None`` if it runs no job of ours.

    For another thread, which sees of a greenlet nothing but its stack: a context variable is visible in its own context
    only, and a record of what runs would have to follow each switch between greenlets.
    """
    if frame.f_code not in _RUNS:
        return None
    job: HandlerJob = frame.f_locals["self"]
    return handler_of(job.event, job.client.namespace)
