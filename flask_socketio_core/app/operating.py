"""The part of :class:`~flask_socketio_core.app.extension.SocketIO` for what all servers do or know together."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextvars import copy_context
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from ..cluster.topics import application_topic
from ..common.reasons import Reason, check_reason
from ..common.users import user as room_of_user
from ..common.values import full_namespace
from ..server.interface import EVERYWHERE, Group
from .addressing import excluded, recipients

if TYPE_CHECKING:
    from ..common.keywords import Recipients, Room
    from ..contracts.found import Clients, Count, RoomCounts
    from ..contracts.histories import HistoryPart
    from ..contracts.servers import Answers
    from .binding import Binding


_UNSAID: list[Any] = []
"""Stands for recipients that were not given; ``None`` is everybody, and an empty list nobody."""


class Operator(ABC):
    """Talk to the other servers from anywhere: handlers, views, background tasks, processes that only send."""

    @abstractmethod
    def _binding(self) -> Binding:
        """Return the parts to do that with."""

    def _binding_that_waits(self, function: str) -> Binding:
        """Return the parts for what waits for other servers.

        :raises RuntimeError: on the event loop.
        """
        binding = self._binding()
        if binding.is_on_loop:
            raise RuntimeError(
                f"SocketIO.{function}() would block the event loop: await asyncio.to_thread(socketio.{function}, ...)"
            )
        return binding

    def _await(self, answer: Any) -> Any:
        dispatcher = self._binding().dispatcher
        if answer.__class__ is CoroutineType and dispatcher is not None:
            return dispatcher.coroutines.wait(answer, copy_context())
        return answer

    def tell_servers(self, topic: str, *args: Any) -> None:
        """Call the functions that all other servers have for a topic, and wait for nothing::

            socketio.tell_servers("cache-cleared", key)

        As an event that is emitted, it waits in the buffer while the message queue is away. What one server tells on
        one topic is handled in that order. Without a queue there is nobody to tell.

        :param topic: of :meth:`on_server`.
        :param args: the arguments: JSON, and bytes anywhere in it.
        :raises InvalidData: if that cannot be sent; says where.
        :raises MessageTooLarge: if the queue can never carry it.
        """
        self._binding().tell(application_topic(topic), list(args))

    def ask_servers(
        self,
        topic: str,
        *args: Any,
        timeout: float = 5.0,
        node: str | None = None,
        include_self: bool = True,
    ) -> Answers:
        """Call the functions that all servers have for a topic, and return what each has answered::

            found = socketio.ask_servers("version", timeout=2)
            found.answers   # {"4f1c...": "2.1", "9a07...": "2.0"}
            found.missing   # {"c3d2...": "silent"}

        It never fails as a whole: see :class:`~flask_socketio_core.contracts.servers.Answers`. It blocks until all have
        answered or left.

        :param topic: of :meth:`on_server`.
        :param args: the arguments: JSON, and bytes anywhere in it.
        :param timeout: how long to wait, seconds; an hour at most.
        :param node: id of the only server that is asked, as in the answers; ``None`` for all.
        :param include_self: ask this server, too. A process that only sends never does.
        :raises InvalidData: if the arguments cannot be sent; says where.
        :raises MessageTooLarge: if the queue can never carry them.
        :raises RuntimeError: in a coroutine, whose event loop it would block; says what to write.
        """
        return self._binding_that_waits("ask_servers").servers.ask(
            application_topic(topic), list(args), timeout_s=timeout, node=node, include_self=include_self
        )

    def _tell_of_clients(self, question: Any, node: str) -> Any:
        """Answer what another server asks about our clients."""
        here = self._binding().finding.here
        assert here is not None  # a process that only sends is not asked
        return here.answer(question)

    def _tell_who_watches(self, question: Any, node: str) -> Any:
        """Answer what `flask socketio top` or `tail` asks."""
        watched = self._binding().watched
        assert watched is not None  # a process that only sends is not asked
        return watched.answer(question, node)

    def count(
        self,
        *,
        to: Recipients = None,
        exclude: Recipients = None,
        namespace: str | None = "/",
        timeout: float = 5.0,
        local: bool = False,
    ) -> Count:
        """Return how many clients there are, on all servers::

            socketio.emit("members", socketio.count(to="table-7"), to="table-7")

        :param to: a room or sid, or a list of them: their members, each once; ``None`` for everybody in the namespace.
        :param exclude: a room or sid, or a list of them: whoever is in one of these rooms is not counted.
        :param namespace: ``"*"`` for all.
        :param timeout: how long to wait for the other servers, seconds.
        :param local: only clients of this process.
        :returns: a number that has ``missing`` and ``complete`` besides: one server that is silent takes nothing from
            the others. ``by_node`` has the parts.
        :raises RuntimeError: in a coroutine, whose event loop it would block; says what to write.
        """
        group = Group(full_namespace(namespace), recipients(to), excluded(exclude))
        finding = self._binding_that_waits("count").finding
        return finding.count(group, timeout_s=timeout, local=local)

    def who(
        self,
        *,
        to: Recipients = None,
        exclude: Recipients = None,
        namespace: str | None = "/",
        timeout: float = 5.0,
        limit: int | None = None,
        after: str | None = None,
        local: bool = False,
    ) -> Clients:
        """Return what all servers know of some clients::

            for client in socketio.who(to="table-7"):
                print(client.sid, client.user, client.rooms, client.data, client.node)

            page = socketio.who(limit=100)
            while page.next:
                page = socketio.who(limit=100, after=page.next)

        While others come and go, whoever stays is on one page, once.

        :param limit: most clients of a page; ``None`` for all.
        :param after: ``next`` of the page before.
        :returns: a tuple that has ``missing``, ``complete`` and ``next`` besides.
        :raises ValueError: for an ``after`` that is none, or a ``limit`` below 1.

        The other parameters are those of :meth:`count`.
        """
        group = Group(full_namespace(namespace), recipients(to), excluded(exclude))
        finding = self._binding_that_waits("who").finding
        return finding.who(group, timeout_s=timeout, limit=limit, after=after, local=local)

    def count_rooms(
        self, *, namespace: str | None = "/", timeout: float = 5.0, local: bool = False
    ) -> RoomCounts:
        """Return how many clients of all servers are in each room that has some; rooms of single sids are left out.

        :param namespace: ``"*"`` for all: rooms of one name are counted together.
        :returns: a dictionary that has ``missing`` and ``complete`` besides.

        The other parameters are those of :meth:`count`.
        """
        finding = self._binding_that_waits("count_rooms").finding
        return finding.rooms(full_namespace(namespace), timeout_s=timeout, local=local)

    def read_history(
        self,
        room: Room,
        *,
        since: object = None,
        size: int | None = None,
        namespace: str | None = "/",
    ) -> HistoryPart:
        """Return what is kept of a room that has a :meth:`history`, for a view for instance::

            @app.get("/news")
            def news():
                part = socketio.read_history("news", since=request.args.get("since"), size=50)
                events = [event.args[0] for event in part.events]
                return {"events": events, "offset": part.offset, "complete": part.complete}

        Events that were not for some of the room's members (``skip_sid``, ``exclude``, ``include_self=False``) are in
        it, too.

        :param since: an offset, of this method or of :func:`~flask_socketio_core.join_room`: what has followed is
            returned, the oldest first. ``None``, one that is none, or one of which it cannot be shown what has
            followed: the newest there are.
        :param size: most events to return; ``None`` for all.
        :returns: the events, each with its offset, and whether nothing is missing between ``since`` and the first. If
            the store is away, what this server has in its memory, without offsets.
        :raises ValueError: if the room has no history.
        :raises StoreError: in a process that only sends, if the store is away.
        :raises RuntimeError: in a coroutine, whose event loop it would block; in a process that only sends, without a
            store. Says what to do.
        """
        history = self._binding_that_waits("read_history").history_of(room)
        return history.read(room, full_namespace(namespace), since, size)

    def move(
        self,
        *,
        to: Recipients,
        exclude: Recipients = None,
        enter: Recipients = None,
        leave: Recipients = None,
        namespace: str | None = "/",
        local: bool = False,
    ) -> None:
        """Put clients into rooms and take them out of others, wherever they are connected::

            socketio.move(to="lobby", enter="game-7", leave="lobby")

        Those of this process are there when it returns, the others soon; a client that connects meanwhile may be
        missed. It waits for nobody: as an event that is emitted, it waits in the buffer while the message queue is
        away.

        :param to: a room or sid, or a list of them; ``None`` for everybody in the namespace.
        :param exclude: a room or sid, or a list of them: whoever is in one of these rooms stays where it is.
        :param enter: a room or a list of rooms.
        :param leave: likewise; they are left first.
        :param local: only clients of this process.
        :raises ValueError: if a room to enter is a client's sid; of clients of this process, also if its name is too
            long, or one of them is in too many rooms: the others are in it then.
        """
        rooms = recipients(enter) or (), recipients(leave) or ()
        group = Group(full_namespace(namespace), recipients(to), excluded(exclude))
        emitter = self._binding().emitter_for(local=local)
        if emitter is not None:
            emitter.move(group, *rooms)

    def kick(
        self,
        *,
        to: Recipients = _UNSAID,
        user: str | int | None = None,
        exclude: Recipients = None,
        reason: str = Reason.KICKED,
        close: bool = False,
        namespace: str | None = "/",
        local: bool = False,
    ) -> None:
        """Disconnect clients from a namespace, wherever they are connected::

            socketio.kick(to="table-7")
            socketio.kick(to=sid, reason="banned", close=True)
            socketio.kick(user=42, namespace="*")

        It waits neither for the other servers nor for disconnect handlers. Official clients do not come back by
        themselves; one that asks to is let in by your connect handler, or not.

        :param to: a room or sid, or a list of them; ``None`` for everybody in the namespace.
        :param user: all clients of a user, as ``to=user(42)``.
        :param exclude: a room or sid, or a list of them: whoever is in one of these rooms may stay.
        :param reason: for their disconnect handlers, which are told ``"server disconnect"`` and this as its ``detail``:
            ``SocketIO.reason.KICKED``, ``REPLACED`` or ``EXPIRED``, or a text of your own. Clients are not told.
        :param close: end their connections, with all other namespaces. For the reason ``EXPIRED`` in a way after which
            official clients do come back by themselves, with a new login; see :meth:`revoke`.
        :param namespace: ``"*"`` for all.
        :param local: only clients of this process.
        :raises TypeError: if it is not said whom.
        :raises ValueError: for a reason of the library's own, or one of more than 200 characters.
        """
        why = check_reason(reason)
        whom = recipients(to)
        if user is not None:
            whom = (*(whom or ()), room_of_user(user))
        elif to is _UNSAID:
            raise TypeError("SocketIO.kick() needs to know whom: pass to=, with None for everybody, or user=")
        group = Group(full_namespace(namespace), whom, excluded(exclude))
        emitter = self._binding().emitter_for(local=local)
        if emitter is not None:
            emitter.kick(group, why, close=close)

    def revoke(self, *, user: str | int) -> None:
        """End what a user's clients were let in by, on all servers and namespaces::

            socketio.revoke(user=42)

        Their connections are closed as at :attr:`Client.expires_at
        <flask_socketio_core.contracts.clients.Client.expires_at>`: official clients come back and present what they
        have, so make what they have invalid first, and your user loader or connect handler refuses it.

        :param user: as :attr:`Client.user <flask_socketio_core.contracts.clients.Client.user>`.
        :raises TypeError: if it is neither text nor a whole number.
        """
        self.kick(user=user, reason=Reason.EXPIRED, close=True, namespace=EVERYWHERE)
