"""Clients to do something with, chosen step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ..common.reasons import Reason
from .addressing import recipients

if TYPE_CHECKING:
    from ..common.keywords import Recipients
    from ..contracts.clients import CallAnswers
    from ..contracts.found import Clients, Count
    from ..errors import CallError


class Emits(Protocol):
    """The ``SocketIO`` object."""

    @property
    def emit(self) -> Callable[..., None]: ...
    @property
    def move(self) -> Callable[..., None]: ...
    @property
    def kick(self) -> Callable[..., None]: ...
    @property
    def call_all(self) -> Callable[..., Any]: ...
    @property
    def who(self) -> Callable[..., Clients]: ...
    @property
    def count(self) -> Callable[..., Count]: ...


@dataclass(frozen=True, slots=True)
class Selection:
    """Clients to do something with, as :meth:`SocketIO.to` and :meth:`SocketIO.exclude` return them::

        players = socketio.to("table-7", "table-8").exclude("watching")
        players.emit("turn", 1)
        players.volatile.emit("clock", 59)
        players.move(enter="lobby", leave=["table-7", "table-8"])

    Each step makes another selection and leaves the earlier one as it is.
    """

    _sender: Emits = field(repr=False)
    _to: tuple[Any, ...] | None = None
    _exclude: tuple[Any, ...] = ()
    _local: bool = False
    _volatile: bool = False

    def to(self, *rooms: Recipients) -> Selection:
        """Select the members of more rooms, or more clients; each of them once.

        :param rooms: rooms and sids, or lists of them.
        """
        return replace(self, _to=(*(self._to or ()), *_names(rooms)))

    def exclude(self, *rooms: Recipients) -> Selection:
        """Leave out who is in one of some rooms.

        :param rooms: rooms and sids, or lists of them.
        """
        return replace(self, _exclude=(*self._exclude, *_names(rooms)))

    @property
    def local(self) -> Selection:
        """Those of them that are connected to this process."""
        return replace(self, _local=True)

    @property
    def volatile(self) -> Selection:
        """Those of them that can be written to at once."""
        return replace(self, _volatile=True)

    def emit(
        self,
        event: str,
        *args: Any,
        namespace: str | None = "/",
        include_self: bool = True,
        callback: Callable[..., Any] | None = None,
        timeout: float | None = None,
        on_timeout: Callable[[CallError], Any] | None = None,
    ) -> None:
        """Send them an event; see :meth:`SocketIO.emit`."""
        self._sender.emit(
            event,
            *args,
            namespace=namespace,
            to=self._to,
            include_self=include_self,
            exclude=self._exclude,
            callback=callback,
            timeout=timeout,
            on_timeout=on_timeout,
            local=self._local,
            volatile=self._volatile,
        )

    def call_all(
        self,
        event: str,
        *args: Any,
        namespace: str | None = "/",
        include_self: bool = True,
        timeout: float = 5.0,
        on_timeout: Literal["raise", "return"] = "raise",
    ) -> CallAnswers:
        """Send them an event and return what each acknowledges; see :meth:`SocketIO.call_all`.

        :raises ValueError: of :attr:`volatile` clients, for nobody could tell a dropped question from a silent client.
        """
        if self._volatile:
            raise ValueError("call_all() waits for answers, so it cannot be volatile")
        found: CallAnswers = self._sender.call_all(
            event,
            *args,
            namespace=namespace,
            include_self=include_self,
            timeout=timeout,
            on_timeout=on_timeout,
            **self._whom(),
        )
        return found

    def move(
        self, *, enter: Recipients = None, leave: Recipients = None, namespace: str | None = "/"
    ) -> None:
        """Put them into rooms and take them out of others; see :meth:`SocketIO.move`."""
        self._sender.move(enter=enter, leave=leave, namespace=namespace, **self._whom())

    def kick(self, *, reason: str = Reason.KICKED, close: bool = False, namespace: str | None = "/") -> None:
        """Disconnect them; see :meth:`SocketIO.kick`."""
        self._sender.kick(reason=reason, close=close, namespace=namespace, **self._whom())

    def count(self, *, namespace: str | None = "/", timeout: float = 5.0) -> Count:
        """Return how many there are; see :meth:`SocketIO.count`."""
        return self._sender.count(namespace=namespace, timeout=timeout, **self._whom())

    def who(
        self,
        *,
        namespace: str | None = "/",
        timeout: float = 5.0,
        limit: int | None = None,
        after: str | None = None,
    ) -> Clients:
        """Return what is known of them; see :meth:`SocketIO.who`."""
        return self._sender.who(
            namespace=namespace, timeout=timeout, limit=limit, after=after, **self._whom()
        )

    def _whom(self) -> dict[str, Any]:
        return {"to": self._to, "exclude": self._exclude, "local": self._local}


def _names(rooms: tuple[Recipients, ...]) -> tuple[Any, ...]:
    return tuple(name for room in rooms for name in recipients(room) or ())
