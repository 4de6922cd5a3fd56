"""Several servers as one: what one process tells clients reaches them wherever they are connected."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ..common.reasons import DisconnectReason, Reason, by_application
from ..common.sendable import FAILURES, check_name, explain
from ..common.sids import address_in, is_sid, may_be_foreign
from ..common.tracebacks import log_error
from ..common.users import refuse_reserved
from ..common.values import full_namespace
from ..contracts import settings
from ..contracts.clients import Emission
from ..contracts.fork import OncePerProcess
from ..contracts.settings import SETTINGS
from ..contracts.urls import Secrets, mask_logs
from ..errors import ConfigurationError, InvalidData, PartUnsuitable
from ..server import calling
from ..server.interface import EVERYWHERE, Group
from . import envelope
from .acks import Awaited
from .calls_to_all import CallsToAll
from .envelope import Message, Wire
from .flights import Flight, Flights
from .link import SUBSCRIBE_S, BusHealth, Link
from .outbox import Limits
from .queue_check import QueueCheck, check_queue
from .recovery import ADOPT, FIND, TAKE, Elsewhere, Heard
from .signing import Signer, read_secrets
from .topics import InOrder, Topics

if TYPE_CHECKING:
    from ..contracts import AsyncMode, Handle, MessageQueue
    from ..contracts.clients import AckCallback
    from ..contracts.servers import Answers
    from ..server.interface import LocalServer, States
    from .asking import Context
    from .calls_to_all import Pending
    from .gaps import Gap
    from .link import MessageObservers

#: Queues inherited from a parent process. They are neither used nor closed here: their connections are the parent's,
#: and to be collected as garbage would close some of them.
_inherited: list[Link] = []


class Cluster:
    """The :class:`~flask_socketio_core.server.interface.Emitter` that joins a server with others over a queue.

    Without a server it is a process that only sends: it opens no subscription and starts no task before it has to.
    It connects to nothing until it is used, and makes itself anew in a forked child.

    :param queue_class: makes the selected queue: its class, or a function with the same arguments.
    :param options: ``message_queue_options``: those of every queue
        (:data:`~flask_socketio_core.contracts.settings.SETTINGS`) and the queue's own.
    :param server: this process's clients, or ``None``.
    :param json: module or object with ``dumps`` and ``loads``.
    :param max_attachments: most binary values of one event; ``None`` if clients speak no JSON, but something that
        carries any number of them, and numbers that JSON does not have.
    :param on_state: called with ``up`` and a sentence when the bus was lost or restored.
    :param on_gap: called when this server was cut off from the others and hears them again.
    :param on_server: called with the id of another server and whether it is there.
    :param observers: told of messages, if they want to know of them.
    :param topics: what this server can be asked about.
    :param context: makes what handlers of topics run in.
    :raises UnknownOption: for an option that neither the cluster nor the queue knows.
    :raises InvalidOption: for a value that one of them cannot take.
    """

    def __init__(
        self,
        queue_class: Callable[..., MessageQueue],
        url: str,
        channel: str,
        *,
        mode: AsyncMode,
        options: Mapping[str, Any],
        server: LocalServer | None = None,
        json: Any = None,
        max_attachments: int | None = 10,
        on_state: Callable[[bool, str], object] | None = None,
        on_gap: Callable[[Gap], object] | None = None,
        on_server: Callable[[str, bool], object] | None = None,
        observers: MessageObservers | None = None,
        topics: Topics | None = None,
        context: Context = nullcontext,
        logger: logging.Logger | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        names = {setting.name for setting in SETTINGS}
        own = {name: value for name, value in options.items() if name in names}
        foreign = {name: value for name, value in options.items() if name not in names}
        self._settings = settings.read(SETTINGS, own, {}, where="cluster")
        secret = self._settings.pop("secret")
        self._signer = (
            None
            if secret is None
            else Signer(read_secrets(secret), channel, self._settings["replay_window_s"])
        )
        self._secrets = Secrets(url, options)
        self._make = partial(queue_class, url, channel, mode=mode, options=foreign)
        self._mode = mode
        self._server = server
        self._wire = Wire(json, strict=max_attachments is not None)
        self._max_attachments = max_attachments
        self._on_state = on_state
        self._on_gap = on_gap
        self._on_server = on_server
        self._observers = observers
        self._topics = Topics() if topics is None else topics
        self._context = context
        self._logger = logger or logging.getLogger("flask_socketio_core.cluster")
        self._clock = clock
        self._linked = OncePerProcess(mode, is_set=True)
        self._flights: Flights | None = None
        self._elsewhere: Elsewhere | None = None
        self._link = self._new_link()
        mask_logs(self._secrets, self._logger, type(self._link.queue).__module__.partition(".")[0])
        self._closed = False
        self._at_exit: Handle | None = None
        self._opening = mode.create_lock()
        self._topics.followers.add(self)

    def recover(self, states: States) -> None:
        """Let clients come back to this server from others, and to others from this one."""
        assert self._server is not None  # its clients they are
        self._flights = Flights(self._mode, self._clock)
        elsewhere = Elsewhere(self, states, self._server, self._flights, self._mode, self._clock)
        states.elsewhere = elsewhere
        self._elsewhere = elsewhere
        self._link.clients_come = True
        self._server.sid_address = ""  # clients keep their sids, wherever they come back
        self._topics.add(FIND, elsewhere.find)
        self._topics.add(ADOPT, elsewhere.adopt)
        self._topics.add(TAKE, InOrder(elsewhere.give))

    @property
    def link(self) -> Link:
        """This process's connection to the message queue."""
        return self._current()

    # -------------------------------------------------------------------------------------------------- lifecycle

    def check(self) -> None:
        """Refuse a queue whose client library would block all tasks of this mode.

        :raises PartUnsuitable: naming the modules that have to be patched.
        """
        missing = [
            name for name in self._link.queue.capabilities.needs_patched if not self._mode.is_patched(name)
        ]
        if missing:
            raise PartUnsuitable(
                f"message queue {self._secrets.mask(self._link.queue.url)} blocks in {', '.join(missing)}, which "
                f"async mode {self._mode.name!r} needs patched: monkey-patch the standard library in the program's "
                "first lines"
            )

    def start(self) -> None:
        """Join the other servers. Called in the process that serves; later calls in it do nothing.

        After :meth:`close` it joins them anew, under another id.
        """
        if self._server is None:
            raise ConfigurationError("a process without a server has nothing to join the cluster with")
        link = self._current()
        if self._closed:
            self._link = link = self._new_link()
            self._closed = False
        if not link.serves:
            if self._at_exit is not None:  # what it has only sent with since its last end
                self._at_exit.cancel()
                self._at_exit = None
            self.check()
            if self._elsewhere is not None:
                self._elsewhere.ends = False
                self._topics.add(ADOPT, self._elsewhere.adopt)
            link.announce()

    def await_subscription(self, timeout_s: float) -> bool:
        """Wait until messages of other servers arrive here; ``False`` if they do not by then.

        :param timeout_s: how long to wait, seconds.
        """
        return self._current().listener.wait(timeout_s)

    def close(self, timeout_s: float = 2.0) -> int:
        """Send what waits, for a bounded time, and end; return how many messages were left. May be repeated."""
        link = self._current()
        if self._closed:
            return 0
        self._closed = True
        if self._at_exit is not None:
            self._at_exit.cancel()
        return link.close(timeout_s)

    def begin_end(self, *, others_follow: bool = False) -> None:
        """Let the other servers know that this one will not keep for long what their clients come back to.

        :param others_follow: there may be others soon although there are none yet, such as workers of one web server.
        """
        if self._elsewhere is not None:
            self._elsewhere.begin_end(others_follow=others_follow)
            self._topics.remove(ADOPT)

    def hand_on(self, timeout_s: float = 3.0) -> int:
        """Have other servers keep what clients that have lost their connection come back to, before this one ends.

        :param timeout_s: how long that may take, seconds.
        :returns: how many clients have nothing to come back to.
        """
        elsewhere = self._elsewhere
        if elsewhere is None or self._closed or not self._current().serves:
            return 0
        return elsewhere.hand_on(timeout_s)

    def health(self) -> BusHealth:
        """Return how the connection to the other servers is, without asking the broker."""
        health, elsewhere = self._current().health(), self._elsewhere
        return health if elsewhere is None else replace(health, recovery=elsewhere.load())

    def ping(self) -> None:
        """Return if the broker answers now.

        :raises QueueUnavailable: if it does not.
        """
        try:
            self._current().queue.ping()
        except BaseException as error:
            self._secrets.clean(error)
            raise

    def check_queue(self, timeout_s: float) -> QueueCheck:
        """Try whether a message comes back through the broker, on connections of its own and without joining.

        :param timeout_s: how long to try, seconds.
        """
        return check_queue(self._make_queue(), self._mode, timeout_s, self._secrets, self._signer)

    def _current(self) -> Link:
        while not self._linked.is_set():
            self._linked.run(self._link_anew)
        return self._link

    def _link_anew(self) -> None:
        inherited, self._link = self._link, self._new_link()
        _inherited.append(inherited)
        self._closed, self._at_exit = False, None
        self._opening = self._mode.create_lock()
        self._linked.set()

    def _current_that_may_listen(self) -> Link:
        """Return the link to ask with: a process that does not serve begins to listen with its first question.

        :raises PartUnsuitable: as :meth:`check`.
        """
        link = self._current_to_send()
        if not link.listener.started:
            self.check()
        return link

    def _make_queue(self) -> MessageQueue:
        try:
            return self._make()
        except Exception as error:
            self._secrets.clean(error)  # what led to it included: all of that is in a traceback
            raise

    def _new_link(self) -> Link:
        chosen = self._settings
        link = Link(
            self._make_queue(),
            self._mode,
            self._wire,
            limits=Limits(
                max_messages=chosen["buffer_max_messages"],
                max_bytes=chosen["buffer_max_bytes"],
                max_age_s=chosen["buffer_max_age_s"],
            ),
            interval_s=chosen["heartbeat_interval_s"],
            clock=self._clock,
            logger=self._logger,
            on_message=self._on_message,
            is_here=self._is_here_anywhere,
            clients_come=self._elsewhere is not None,
            on_state=partial(self._report, self._on_state),
            on_gap=partial(self._report, self._on_gap),
            on_server=partial(self._report, self._on_server),
            observers=self._observers,
            secrets=self._secrets,
            topics=self._topics,
            context=self._context,
            signer=self._signer,
        )
        self._calls = CallsToAll(
            link.asking,
            self._mode,
            self._wire,
            clock=self._clock,
            server=self._server,
            encode=partial(self._encode, link),
            bus=link,
            expires_s=chosen["ack_expires_s"],
        )
        if self._server is not None and self._elsewhere is None:
            self._server.sid_address = link.queue.address
        return link

    def _report(self, observer: Callable[..., object] | None, *facts: Any) -> None:
        if observer is not None:
            try:
                observer(*facts)
            except Exception as error:  # noqa: BLE001  # an observer may raise anything
                log_error(self._logger, error, "unexpected error in an observer of the message queue")

    # ---------------------------------------------------------------------------------------------------- emitter

    def emit(self, emission: Emission) -> None:
        """Send an event to clients of all servers; see :class:`~flask_socketio_core.server.interface.Emitter`.

        A message to clients of this process alone does not travel. While the broker is away, messages wait in a
        bounded buffer.

        ``on_ack`` of a room is called for each member that acknowledges until ``ack_expires_s``; of the members at
        python-socketio's processes, for the first.

        :raises ValueError: if ``on_ack`` is given without exactly one addressee.
        :raises InvalidData: if clients could not read it; says where.
        :raises MessageTooLarge: if the queue can never carry it.
        """
        to, on_ack = emission.to, emission.on_ack
        if on_ack is not None and (to is None or len(to) != 1):
            raise ValueError(
                "an acknowledgement can be asked of one client or one room: give its sid or name as the addressee"
            )
        server = self._server
        if server is not None and to is not None and _are_here(server, to, emission.namespace):
            self._emit_here(server, to, emission)
        elif on_ack is not None:
            self._ask(emission, on_ack)
        else:
            self._publish(self._current_to_send(), emission)

    def _emit_here(self, server: LocalServer, to: tuple[Any, ...], emission: Emission) -> None:
        """Send an event to clients that are all connected to this process, or may come back to it."""
        flights = self._flights
        if flights is None or emission.on_ack is not None:
            server.emit(emission)
            return
        link = self._current_to_send()
        flight = flights.begin(link.node)
        try:
            server.emit(emission, flight)
            if not _are_here(server, to, emission.namespace):  # one has just come back at another server
                self._put(link, self._encode(link, emission, None), emission, flight)
        finally:
            flights.end(flight)

    def call(self, emission: Emission, to: str, timeout_s: float = 60.0) -> tuple[Any, ...]:
        """Send an event to one client, wherever it is connected, and return what it acknowledges.

        :param emission: what is asked; its addressees and its ``on_ack`` are set here.
        :param to: a sid; with a room, the first answer counts.
        :param timeout_s: how long to wait, seconds; for a client elsewhere, ``ack_expires_s`` at most.
        :raises CallTimeout: if it does not within the time-out, or nobody knows it.
        :raises ClientGone: if it leaves first.
        """
        ask, timeout_s = self.question(emission, to, timeout_s)
        return calling.wait(self._mode, ask, emission.event, to=to, timeout_s=timeout_s)

    def question(self, emission: Emission, to: str, timeout_s: float) -> tuple[calling.Ask, float]:
        """Return what :meth:`call` asks, and how long it waits, seconds."""
        server = self._server
        if server is not None and server.is_connected(to, emission.namespace):
            return calling.question(server, emission, to), timeout_s
        timeout_s = min(timeout_s, self._settings["ack_expires_s"])
        return partial(self._ask, emission._replace(to=(to,)), patience_s=timeout_s), timeout_s

    def _ask(
        self,
        emission: Emission,
        on_ack: AckCallback,
        on_gone: Callable[[], None] | None = None,
        *,
        patience_s: float = SUBSCRIBE_S,
    ) -> Callable[[], object]:
        """Send an event that is to be acknowledged; return what to call when nobody waits for that any more.

        :param patience_s: how long to wait for a subscription, seconds.
        """
        assert emission.to is not None  # one addressee is asked
        to = emission.to[0]
        link = self._current_that_may_listen()
        link.listen_for_answers(patience_s)
        now_s = self._clock()
        link.acks.expire(now_s)
        number = link.acks.add(Awaited(to, on_ack, on_gone, now_s + self._settings["ack_expires_s"]))
        question = _Question(number, partial(_answer_here, link, number, to))
        forget = partial(self._forget, link, question, emission.namespace, to)
        try:
            self._publish(link, emission, question)
        except BaseException:
            forget()
            raise
        return forget

    def _forget(self, link: Link, question: _Question, namespace: str, to: str) -> None:
        link.acks.forget(question.number)
        if self._server is not None:
            self._server.forget_acks(to, namespace, question.on_ack_here)

    def _publish(self, link: Link, emission: Emission, question: _Question | None = None) -> None:
        """Send an event to the clients of the other servers and to our own."""
        namespace, to = emission.namespace, emission.to
        callback = None if question is None or to is None else (to[0], namespace, question.number)
        encoded = self._encode(link, emission, None, callback)
        flight = None if self._flights is None else self._flights.begin(link.node)
        try:
            if self._server is not None:  # our own clients wait for no broker
                if question is not None:
                    emission = emission._replace(on_ack=question.on_ack_here)
                self._server.emit(emission, flight)
            self._put(link, encoded, emission, flight)
        finally:
            if self._flights is not None and flight is not None:
                self._flights.end(flight)

    def _put(self, link: Link, encoded: bytes, emission: Emission, flight: Flight | None) -> None:
        to = emission.to
        address = address_in(to[0]) if link.queue.address and to is not None and len(to) == 1 else ""
        key = _key(emission.namespace, to[0] if to else "")
        link.outbox.put(encoded, key, address=address, flight=flight)

    def _encode(
        self,
        link: Link,
        emission: Emission,
        more: Message | None,
        callback: tuple[Any, str, int] | None = None,
    ) -> bytes:
        """Return the message that sends an event.

        :param more: what it has besides.
        :param callback: room, namespace and number of the acknowledgement that is asked for.
        """
        event, args = emission.event, emission.args
        check_name(event)
        try:
            message = envelope.emit(
                emission, host_id=link.node, callback=callback, max_attachments=self._max_attachments
            )
            if more is not None:
                message.update(more, host_id=link.node)
            encoded = link.prepare(message)
        except FAILURES as error:
            raise explain(f"event {event!r}", args, error, self._wire.dumps) from error
        if "except" in message:
            link.warn_of_older(2, "whose clients receive events that exclude their rooms")
        return encoded

    def call_all(self, emission: Emission, timeout_s: float, on_done: Callable[[], object]) -> Pending:
        """Ask clients of all servers; see :meth:`CallsToAll.begin`."""
        self._current_that_may_listen()
        return self._calls.begin(emission, timeout_s, on_done)

    def enter_room(self, sid: str, room: str, namespace: str = "/") -> None:
        """Put a client into a room, wherever it is connected. A client that nobody knows is ignored.

        :raises ValueError: if the room is another client's sid, on whatever server.
        """
        if self._is_here(sid, namespace):
            assert self._server is not None
            self._server.enter_room(sid, room, namespace)
        else:
            if room != sid:
                refuse_reserved("enter", room)
            self._tell("enter_room", namespace, sid=sid, room=room)

    def leave_room(self, sid: str, room: str, namespace: str = "/") -> None:
        """Take a client out of a room, wherever it is connected."""
        if self._is_here(sid, namespace):
            assert self._server is not None
            self._server.leave_room(sid, room, namespace)
        else:
            self._tell("leave_room", namespace, sid=sid, room=room)

    def close_room(self, room: str, namespace: str = "/") -> None:
        """Take every client of every server out of a room.

        :raises ValueError: if the room is a client's sid, on whatever server.
        """
        refuse_reserved("close", room)
        if self._server is not None:
            self._server.close_room(room, namespace)
        self._tell("close_room", namespace, room=room)

    def disconnect(self, sid: str, namespace: str = "/", reason: DisconnectReason = Reason.KICKED) -> None:
        """Disconnect a client from a namespace, wherever it is connected.

        :param reason: for its disconnect handler; not told at python-socketio's processes.
        """
        if self._is_here(sid, namespace):
            assert self._server is not None
            self._server.disconnect(sid, namespace, reason)
        else:
            self._tell("disconnect", namespace, sid=sid, reason=reason.detail)

    def move(self, group: Group, enter: Sequence[Any], leave: Sequence[Any]) -> None:
        """Take clients of all servers out of rooms and put them into others.

        Of clients of python-socketio's processes, those that are named by their sids.

        :raises ValueError: if a room to enter is a client's sid; and as for a server alone, see :meth:`Emitter.move`.
        :raises MessageTooLarge: if the queue can never carry the names.
        """
        for room in enter:
            refuse_reserved("enter", room)
        here = partial(_move, enter, leave)
        message: Message = {"method": "move", "enter": list(enter), "leave": list(leave)}
        key = next(iter((*enter, *leave)), "")
        if self._reach(group, message, here, key, "whose clients are not moved"):
            for sid in _alone(group):
                for room in leave:
                    self._tell("leave_room", group.namespace, sid=sid, room=room)
                for room in enter:
                    self._tell("enter_room", group.namespace, sid=sid, room=room)

    def kick(self, group: Group, reason: DisconnectReason, *, close: bool) -> None:
        """Disconnect clients of all servers.

        Of clients of python-socketio's processes, those that are named by their sids, and without closing the
        connection.

        :param reason: for their disconnect handlers; not told at python-socketio's processes.
        :raises MessageTooLarge: if the queue can never carry the names.
        """
        here = partial(_kick, reason, close)
        message: Message = {"method": "kick", "reason": reason.detail, "close": close}
        key = "" if group.to is None else next(iter(group.to), "")
        if self._reach(group, message, here, key, "whose clients are not disconnected"):
            for sid in _alone(group):
                self._tell("disconnect", group.namespace, sid=sid, reason=reason.detail, close=close)

    def _reach(
        self,
        group: Group,
        message: Message,
        here: Callable[[LocalServer, Group], None],
        key: Any,
        otherwise: str,
    ) -> bool:
        """Do something with clients of this process, and have the other servers do it with theirs.

        :param key: what it keeps the order with, a room.
        :param otherwise: what happens at servers that do not understand that.
        :returns: whether some of the clients may be elsewhere.
        """
        server, to = self._server, group.to
        if server is not None and to is not None and _are_here(server, to, group.namespace):
            here(server, group)
            return False
        if _is_one(group):
            return True  # all versions know how to do it with one client
        link = self._current_to_send()
        encoded = link.prepare({**message, **envelope.of_group(group), "host_id": link.node})
        link.warn_of_older(3, otherwise)
        try:
            if server is not None:
                here(server, group)
        finally:
            link.outbox.put(encoded, _key(group.namespace, key))
        return True

    def _is_here(self, sid: str, namespace: str) -> bool:
        return self._server is not None and self._server.has(sid, namespace)

    def _is_here_anywhere(self, sid: str) -> bool:
        return self._server is not None and self._server.is_here(sid)

    def _tell(self, method: str, namespace: str, **details: Any) -> None:
        link = self._current_to_send()
        message: Message = {"method": method, "namespace": namespace, "host_id": link.node, **details}
        link.send(message, _key(namespace, details.get("room") or details["sid"]))

    def _current_to_send(self) -> Link:
        """Return the link of a process that sends, which loses nothing when it ends.

        One that serves closes us with its server. The requests that its web server answers still go on sending, as in a
        process without a server.
        """
        link = self._current()
        if self._server is not None:
            return self._open_again() if self._closed else link
        if self._at_exit is None:
            self._at_exit = self._mode.on_exit(self.close)
        return link

    def _open_again(self) -> Link:
        with self._opening:
            if self._closed:
                self._link, self._closed = self._new_link(), False
                self._at_exit = self._mode.on_exit(self.close)
            return self._link

    # -------------------------------------------------------------------------------------------- between servers

    @property
    def node(self) -> str:
        """This process's id on the bus."""
        return self._current().node

    def tell(self, topic: str, payload: Any) -> None:
        """Tell all other servers that know a topic; see :meth:`~flask_socketio_core.contracts.servers.Servers.tell`."""
        self._current_to_send().asking.tell(topic, payload)

    def ask(
        self,
        topic: str,
        payload: Any,
        *,
        timeout_s: float,
        node: str | None = None,
        include_self: bool = True,
    ) -> Answers:
        """Ask servers; see :meth:`~flask_socketio_core.contracts.servers.Servers.ask`."""
        here = include_self and self._server is not None
        return self._current_that_may_listen().asking.ask(
            topic, payload, timeout_s=timeout_s, node=node, here=here
        )

    @property
    def max_message_bytes(self) -> int | None:
        """How large a message may be; ``None`` for any size."""
        return self._current().queue.max_message_bytes

    def announce_topics(self) -> None:
        """Tell the other servers which topics there are now."""
        self._current().announce_topics()

    # ------------------------------------------------------------------------------------------- from other nodes

    def _on_message(self, message: Message) -> None:
        method = message["method"]
        handler = _HANDLERS.get(method)
        if handler is not None:
            if self._server is not None:
                handler(self, self._server, message)
        elif method == "callback":
            self._on_callback(message)
        elif method == "gone":
            self._on_gone(message)
        elif method == "asked":
            self._calls.on_asked(message)
        elif method == "acked":
            self._calls.on_acked(message)
        else:
            self._on_servers_message(self._current(), message)

    def _on_servers_message(self, link: Link, message: Message) -> None:
        if message["method"] == "answer":
            link.asking.on_answer(message)
        elif message["method"] == "ask" and link.serves:
            link.asking.on_ask(message)
        elif message["method"] == "tell" and link.serves:
            link.asking.on_tell(message)

    def _on_callback(self, message: Message) -> None:
        link = self._current()
        if message.get("host_id") == link.node:
            find = link.acks.look_up if message.get("room") is True else link.acks.take
            awaited = find(message["id"], envelope.room(message["sid"]))
            if awaited is not None:
                awaited.on_ack(*envelope.arguments(message.get("args", [])))

    def _on_gone(self, message: Message) -> None:
        link = self._current()
        if message.get("host_id") == link.node:
            awaited = link.acks.take(message["id"], envelope.room(message["sid"]))
            if awaited is not None and awaited.on_gone is not None:
                awaited.on_gone()

    def _on_emit(self, server: LocalServer, message: Message) -> None:
        namespace = full_namespace(message.get("namespace"))
        skip = message.get("skip_sid") or ()
        on_ack = self._return_path(server, message, namespace)
        emission = Emission(
            str(message["event"]),
            envelope.arguments(message.get("data")),
            namespace,
            envelope.addressees(message),
            frozenset((skip,) if isinstance(skip, str) else skip),
            on_ack,
            message.get("volatile") is True,
            exclude=envelope.excluded(message),
            keep=message.get("keep"),
        )
        try:
            if message.get("ask_all") is not None:
                self._calls.ask_for(emission, message)
            else:
                server.emit(emission, self._origin_of(message))
        except InvalidData as error:  # a process of python-socketio's sends what it likes
            self._current().refuse("unreadable for clients", str(error))

    def _origin_of(self, message: Message) -> Heard | None:
        if self._flights is None or "node" not in message:
            return None
        return Heard(message["node"], message["seq"])

    def _return_path(self, server: LocalServer, message: Message, namespace: str) -> AckCallback | None:
        """Return what sends a client's acknowledgement to the node that asked for it."""
        callback = message.get("callback")
        host_id = message.get("host_id")
        if not isinstance(callback, list) or len(callback) != 3 or not isinstance(host_id, str):
            return None
        sid, _, number = callback
        if not isinstance(number, int):
            return None
        is_sid = isinstance(sid, str) and server.is_connected(sid, namespace)
        ours = "node" in message
        withdraw = _nothing
        if is_sid and ours:
            gone = partial(self._return_gone, host_id, sid, number)
            withdraw = server.on_client_gone(sid, namespace, gone)
        on_ack = partial(self._return_ack, withdraw, host_id, sid, namespace, number, is_sid)
        if ours:  # a server that is not waits for ever
            forget = partial(_forget_question, server, sid, namespace, on_ack, withdraw)
            expires_at = self._clock() + self._settings["ack_expires_s"]
            self._current().unanswered.add((host_id, number), expires_at, forget)
        return on_ack

    def _return_ack(
        self,
        withdraw: Callable[[], None],
        host_id: str,
        sid: str,
        namespace: str,
        number: Any,
        is_sid: bool,
        *values: Any,
    ) -> None:
        # Runs where the client's packet was read, which must not wait for a broker.
        withdraw()
        link = self._current()
        if is_sid:
            link.unanswered.settle((host_id, number))
        args, binary = envelope.pack(list(values))
        message: Message = {
            "method": "callback",
            "host_id": host_id,
            "sid": sid,
            "namespace": namespace,
            "id": number,
            "args": args,
        }
        if binary:
            message["binary"] = True
        if not is_sid:
            message["room"] = True
        link.send_soon(message, host_id, host_id)

    def _return_gone(self, host_id: str, sid: str, number: Any) -> None:
        """Tell the asking node that the client has left without an answer."""
        link = self._current()
        link.unanswered.settle((host_id, number))
        message: Message = {"method": "gone", "host_id": host_id, "id": number, "sid": sid}
        link.send_soon(message, host_id, host_id)

    def _on_enter_room(self, server: LocalServer, message: Message) -> None:
        sid, namespace = message["sid"], full_namespace(message.get("namespace"))
        if server.is_connected(sid, namespace):
            try:
                server.enter_room(sid, envelope.room(message["room"]), namespace)
            except ValueError as error:
                self._current().refuse("no room for a client", str(error))

    def _on_leave_room(self, server: LocalServer, message: Message) -> None:
        sid, namespace = message["sid"], full_namespace(message.get("namespace"))
        if server.is_connected(sid, namespace):
            server.leave_room(sid, envelope.room(message["room"]), namespace)

    def _on_close_room(self, server: LocalServer, message: Message) -> None:
        try:
            server.close_room(envelope.room(message["room"]), full_namespace(message.get("namespace")))
        except ValueError as error:
            self._current().refuse("no room to close", str(error))

    def _on_disconnect(self, server: LocalServer, message: Message) -> None:
        sid, namespace = message["sid"], full_namespace(message.get("namespace"))
        if server.is_connected(sid, namespace):  # or else it might be a room
            reason, close = by_application(message.get("reason")), message.get("close") is True
            server.kick(Group(namespace, (sid,)), reason, close=close)

    def _on_move(self, server: LocalServer, message: Message) -> None:
        enter, leave = envelope.rooms(message.get("enter")), envelope.rooms(message.get("leave"))
        try:
            server.move(envelope.group_of(message), enter, leave)
        except ValueError as error:
            self._current().refuse("no room for a client", str(error))

    def _on_kick(self, server: LocalServer, message: Message) -> None:
        reason, close = by_application(message.get("reason")), message.get("close") is True
        server.kick(envelope.group_of(message), reason, close=close)


_HANDLERS: Mapping[str, Callable[[Cluster, LocalServer, Message], None]] = {
    "emit": Cluster._on_emit,
    "emit_sids": Cluster._on_emit,
    "enter_room": Cluster._on_enter_room,
    "leave_room": Cluster._on_leave_room,
    "close_room": Cluster._on_close_room,
    "disconnect": Cluster._on_disconnect,
    "move": Cluster._on_move,
    "kick": Cluster._on_kick,
}


@dataclass(frozen=True, slots=True)
class _Question:
    """An acknowledgement that is asked for.

    :param on_ack_here: what a client of this process calls, who is one of a room's members.
    """

    number: int
    on_ack_here: AckCallback


def _are_here(server: LocalServer, to: tuple[Any, ...], namespace: str) -> bool:
    """Return whether all who are addressed are clients of this process."""
    return all(server.has(sid, namespace) for sid in to)


def _answer_here(link: Link, number: int, to: Any, *values: Any) -> None:
    awaited = link.acks.look_up(number, to)
    if awaited is not None:
        awaited.on_ack(*values)


def _forget_question(
    server: LocalServer, to: str, namespace: str, on_ack: AckCallback, withdraw: Callable[[], None]
) -> None:
    withdraw()
    server.forget_acks(to, namespace, on_ack)


def _nothing() -> None:
    """Have nothing to forget."""


def _move(enter: Sequence[Any], leave: Sequence[Any], server: LocalServer, group: Group) -> None:
    server.move(group, enter, leave)


def _kick(reason: DisconnectReason, close: bool, server: LocalServer, group: Group) -> None:
    server.kick(group, reason, close=close)


def _is_one(group: Group) -> bool:
    """Return whether a group is a single client, named by its sid and namespace."""
    to = group.to
    return (
        to is not None
        and len(to) == 1
        and is_sid(to[0])
        and not group.exclude
        and group.namespace != EVERYWHERE
    )


def _alone(group: Group) -> list[str]:
    """Return who has to be named alone: to older servers, and to processes of python-socketio, which know no groups."""
    to = group.to or ()
    if _is_one(group):
        return [to[0]]
    if group.namespace == EVERYWHERE:
        return []  # they know no namespace of that name
    if not all(isinstance(name, str) and (is_sid(name) or may_be_foreign(name)) for name in group.exclude):
        return []  # they cannot leave out the members of a room
    return [name for name in to if may_be_foreign(name) and name not in group.exclude]


def _key(namespace: str, room: str) -> str:
    return f"{namespace} {room}"
