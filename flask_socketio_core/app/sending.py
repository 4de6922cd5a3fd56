"""The part of :class:`~flask_socketio_core.app.extension.SocketIO` that sends to clients."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, overload

from ..common.values import full_namespace
from ..contracts.clients import Emission
from .addressing import excluded, payload, recipients, refuse_unknown, skipped
from .operating import Operator
from .selected import Selection

if TYPE_CHECKING:
    from typing_extensions import Never

    from ..common.keywords import Recipients, Room
    from ..contracts.clients import CallAnswers
    from ..errors import CallError


class Sender(Operator):
    """Send to clients from anywhere: handlers, views, background tasks, other processes."""

    def emit(
        self,
        event: str,
        *args: Any,
        namespace: str | None = "/",
        to: Recipients = None,
        room: Recipients = None,
        include_self: bool = True,
        skip_sid: str | Iterable[str] | None = None,
        exclude: Recipients = None,
        callback: Callable[..., Any] | None = None,
        timeout: float | None = None,
        on_timeout: Callable[[CallError], Any] | None = None,
        local: bool = False,
        ignore_queue: bool = False,
        volatile: bool = False,
        **unknown: Never,
    ) -> None:
        """Send an event to clients, from anywhere.

        :param event: its name.
        :param args: the event's arguments: anything that JSON can carry, and bytes anywhere in it. A single tuple
            stands for several arguments, a single ``None`` for none.
        :param to: a room or sid, or a list of them; ``None`` for everybody in the namespace.
        :param room: the older name of ``to``.
        :param include_self: ``False`` leaves out the client whose event is being handled.
        :param skip_sid: a sid or a list of them to leave out.
        :param exclude: a room or sid, or a list of them: whoever is in one of these rooms is left out, also if ``to``
            names another one of the client's rooms. Processes of python-socketio leave out the sids alone.
        :param callback: called with what the client acknowledges; ``to`` must be one client's sid, or one room, whose
            members each cause a call when they acknowledge. Given in a handler, it runs in that handler's kind of
            context.
        :param timeout: how long an acknowledgement may take, seconds; what comes later is not passed on to
            ``callback``. For a client of another server as long as the message queue's ``ack_expires_s`` says, at most.
        :param on_timeout: called instead of ``callback``, as that is, with what :meth:`call` would raise:
            :class:`CallTimeout` if nobody has acknowledged in time, :class:`ClientGone` as soon as the client leaves.
        :param local: send to clients of this process only, not through the message queue; a process that only sends has
            none.
        :param ignore_queue: the older name of ``local``.
        :param volatile: drop it for a client that cannot be written to at once.
        :raises TypeError: for a keyword that does not exist, with the nearest match.
        :raises ValueError: for ``timeout`` without what acknowledges, or without exactly one ``to``.
        :raises NotInitialised: before ``init_app``.
        """
        if unknown:
            args = _take_data(args, unknown)
            _refuse_broadcast(unknown)
            refuse_unknown("SocketIO.emit()", unknown)
        self._binding().emit(
            Emission(
                event,
                payload(args),
                full_namespace(namespace),
                recipients(to, room),
                _NOBODY
                if include_self and not skip_sid
                else skipped(skip_sid, include_self=include_self, function="SocketIO.emit()"),
                None,
                volatile,
                local or ignore_queue,
                _NOBODY if exclude is None else excluded(exclude),
            ),
            callback,
            timeout,
            on_timeout,
        )

    def send(
        self,
        data: Any,
        json: bool = False,
        namespace: str | None = None,
        to: Recipients = None,
        callback: Callable[..., Any] | None = None,
        include_self: bool = True,
        skip_sid: str | Iterable[str] | None = None,
        *,
        room: Recipients = None,
        exclude: Recipients = None,
        timeout: float | None = None,
        on_timeout: Callable[[CallError], Any] | None = None,
        local: bool = False,
        ignore_queue: bool = False,
        volatile: bool = False,
        **unknown: Never,
    ) -> None:
        """Send a message without a name: the event ``"message"``, or ``"json"``.

        :param json: send it as ``"json"``.

        The other parameters are those of :meth:`emit`.
        """
        if unknown:
            _refuse_broadcast(unknown)
            refuse_unknown("SocketIO.send()", unknown)
        self.emit(
            "json" if json else "message",
            data,
            namespace=namespace,
            to=to,
            room=room,
            include_self=include_self,
            skip_sid=skip_sid,
            exclude=exclude,
            callback=callback,
            timeout=timeout,
            on_timeout=on_timeout,
            local=local or ignore_queue,
            volatile=volatile,
        )

    def call(
        self,
        event: str,
        *args: Any,
        namespace: str | None = "/",
        to: str | None = None,
        room: str | None = None,
        timeout: float | None = 60,
        local: bool = False,
        ignore_queue: bool = False,
        **unknown: Never,
    ) -> Any:
        """Send an event to one client, wherever it is connected, and return what it acknowledges.

        :param to: the client's sid. With a room, the first answer of a member counts.
        :param timeout: how long to wait, seconds; ``None`` waits for ever, for a client of another server as long as
            the message queue's ``ack_expires_s`` says.
        :returns: a value, a tuple of several, or ``None`` for an empty acknowledgement.
        :raises CallTimeout: if it does not acknowledge in time.
        :raises ClientGone: as soon as it leaves without.

        The other parameters are those of :meth:`emit`.
        """
        emission, target = _question_to_one(
            "SocketIO.call()",
            event,
            args,
            unknown,
            namespace,
            to if to is not None else room,
            local or ignore_queue,
        )
        return self._binding().call(emission, target, timeout)

    async def call_async(
        self,
        event: str,
        *args: Any,
        namespace: str | None = "/",
        to: str | None = None,
        room: str | None = None,
        timeout: float | None = 60,
        local: bool = False,
        ignore_queue: bool = False,
        **unknown: Never,
    ) -> Any:
        """Do as :meth:`call` does, in a coroutine::

            @socketio.on("order")
            async def order(item):
                if await socketio.call_async("confirm", item, to=request.sid):
                    await buy(item)

        No worker waits meanwhile.
        """
        emission, target = _question_to_one(
            "SocketIO.call_async()",
            event,
            args,
            unknown,
            namespace,
            to if to is not None else room,
            local or ignore_queue,
        )
        return await self._binding().call_async(emission, target, timeout)

    @overload
    def call_all(
        self,
        event: str,
        *args: Any,
        namespace: str | None = ...,
        to: Recipients = ...,
        exclude: Recipients = ...,
        include_self: bool = ...,
        local: bool = ...,
        timeout: float = ...,
        on_timeout: Literal["raise", "return"] = ...,
    ) -> CallAnswers: ...
    @overload
    def call_all(
        self,
        event: str,
        *args: Any,
        namespace: str | None = ...,
        to: Recipients = ...,
        exclude: Recipients = ...,
        include_self: bool = ...,
        local: bool = ...,
        timeout: float = ...,
        callback: Callable[[CallAnswers], Any],
    ) -> None: ...
    def call_all(
        self,
        event: str,
        *args: Any,
        namespace: str | None = "/",
        to: Recipients = None,
        exclude: Recipients = None,
        include_self: bool = True,
        local: bool = False,
        timeout: float = 5.0,
        on_timeout: Literal["raise", "return"] = "raise",
        callback: Callable[[CallAnswers], Any] | None = None,
    ) -> CallAnswers | None:
        """Send an event to many clients, wherever they are connected, and return what each of them acknowledges::

            found = socketio.call_all("ready?", to="table-7", timeout=5, on_timeout="return")
            found.answers   # {"xuy1yW1VkELyE2x1sf2b1d1c": True, ...}
            found.missing   # {"Vd7q0sXnRzaK41ppsd3a9f40": "silent", ...}

        It ends as soon as nobody is waited for any more: a client that leaves is missing at once, and the clients of a
        server that ends, or is taken for dead, with it. That is no error.

        :param to: rooms and sids; ``None`` for everybody in the namespace.
        :param local: ask clients of this process only.
        :param timeout: how long to wait, seconds; for clients of other servers as long as the message queue's
            ``ack_expires_s`` says, at most.
        :param on_timeout: ``"raise"`` an error if the time is over and somebody has not answered, or ``"return"`` what
            has come.
        :param callback: called once, as that of :meth:`emit`, with what has come in the end. Then nothing is waited for
            and ``None`` returned.
        :raises CallTimeout: as ``on_timeout`` says; its ``answers`` are what has come.
        :raises CallError: if 1000 of these are waited for already.
        :raises RuntimeError: in a coroutine, whose event loop it would block; see :meth:`call_all_async`.

        The other parameters are those of :meth:`emit`.
        """
        binding = self._binding()
        emission = _question_to_many(event, args, namespace, to, exclude, local, include_self)
        if callback is not None:
            binding.call_all_back(emission, timeout, callback)
            return None
        if binding.is_on_loop:
            raise RuntimeError(
                "SocketIO.call_all() would block the event loop: await socketio.call_all_async(...), or pass callback="
            )
        return binding.call_all(emission, timeout, returns=_returns(on_timeout))

    async def call_all_async(
        self,
        event: str,
        *args: Any,
        namespace: str | None = "/",
        to: Recipients = None,
        exclude: Recipients = None,
        include_self: bool = True,
        local: bool = False,
        timeout: float = 5.0,
        on_timeout: Literal["raise", "return"] = "raise",
    ) -> CallAnswers:
        """Do as :meth:`call_all` does, in a coroutine; no worker waits meanwhile."""
        emission = _question_to_many(event, args, namespace, to, exclude, local, include_self)
        return await self._binding().call_all_async(emission, timeout, returns=_returns(on_timeout))

    def to(self, *rooms: Recipients) -> Selection:
        """Return a selection of clients, another way to write ``to=`` of :meth:`emit`, :meth:`move` and :meth:`kick`::

            socketio.to("a", "b").exclude("c").emit("news", 1)

        :param rooms: rooms and sids, or lists of them.
        """
        return Selection(self).to(*rooms)

    def exclude(self, *rooms: Recipients) -> Selection:
        """Return a selection of everybody but those who are in some rooms; see :meth:`to`."""
        return Selection(self).exclude(*rooms)

    def close_room(self, room: Room, namespace: str | None = None) -> None:
        """Take everybody out of a room.

        :raises ValueError: if the room is a client's sid.
        """
        self._binding().emitter.close_room(room, full_namespace(namespace))


CALL_KEYWORDS = ("namespace", "to", "room", "timeout", "local", "ignore_queue")

_NOBODY: frozenset[Any] = frozenset()


def _question_to_one(
    function: str,
    event: str,
    args: tuple[Any, ...],
    unknown: dict[str, Any],
    namespace: str | None,
    to: str | None,
    local: bool,
) -> tuple[Emission, str]:
    """Return what is asked, and whom.

    :param unknown: what was given by keywords that the function does not have.
    """
    if unknown:
        args = _take_data(args, unknown)
        refuse_unknown(function, unknown, CALL_KEYWORDS)
    if to is None:
        raise ValueError(f"{function} asks one client: pass its sid as to=")
    return Emission(event, payload(args), full_namespace(namespace), local=local), to


def _question_to_many(
    event: str,
    args: tuple[Any, ...],
    namespace: str | None,
    to: Recipients,
    exclude: Recipients,
    local: bool,
    include_self: bool,
) -> Emission:
    return Emission(
        event,
        payload(args),
        full_namespace(namespace),
        recipients(to),
        skipped(None, include_self=include_self, function="SocketIO.call_all()"),
        local=local,
        exclude=excluded(exclude),
    )


def _returns(on_timeout: str) -> bool:
    if on_timeout not in ("raise", "return"):
        raise ValueError(f"on_timeout={on_timeout!r} of SocketIO.call_all(): expected 'raise' or 'return'")
    return on_timeout == "return"


def _take_data(args: tuple[Any, ...], unknown: dict[str, Any]) -> tuple[Any, ...]:
    """Return the arguments, given by position or, as python-socketio allows, as ``data=``."""
    return (unknown.pop("data"),) if "data" in unknown and not args else args


def _refuse_broadcast(unknown: Mapping[str, Any]) -> None:
    if "broadcast" in unknown:
        raise TypeError(
            "SocketIO.emit() and SocketIO.send() have no broadcast=: without to= they send to everybody in the "
            "namespace"
        )
