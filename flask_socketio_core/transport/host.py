"""What the transports need of the server whose connections they carry."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from .session import SessionHost

if TYPE_CHECKING:
    import logging

    from ..common.options import Options
    from ..common.repeats import Repeats
    from ..contracts import AsyncMode
    from .addresses import Addresses, Place, TooMany
    from .packets import Outgoing
    from .session import Session, Transport
    from .timer import Timed
    from .wsgi import Refusal


class Host(SessionHost, Protocol):
    """A server of sessions. Nothing here may block."""

    options: Options
    mode: AsyncMode
    clock: Callable[[], float]
    logger: logging.Logger
    repeats: Repeats
    addresses: Addresses
    sessions: dict[str, Session]
    """The open sessions by their Engine.IO sid."""

    accepting: bool
    """``False`` once the server is ending."""

    @property
    def most_connections(self) -> int | None:
        """How many there may be, ``None`` for any number."""

    def add_session(
        self, environ: dict[str, Any], transport: Transport, place: Place | None = None
    ) -> Session:
        """Start a session over a transport."""

    def make_session(
        self, environ: dict[str, Any], transport: Transport, place: Place | None = None
    ) -> Session:
        """Make a session that :meth:`add` starts.

        :param environ: environ of the first request, without the server's own objects; kept.
        :param place: what it takes of its address's share; left when it ends.
        """

    def add(self, session: Session) -> None:
        """Start a session; from now on the server may close it."""

    def open_packet(self, session: Session, *, upgrades: bool) -> Outgoing:
        """Return the OPEN packet that tells a client about its session."""

    def reschedule(self, item: Timed) -> None:
        """Put what has a due time into the one timer."""

    def unschedule(self, item: Timed) -> None:
        """Take something out of the timer."""

    def overdue(self, session: Session) -> bool:
        """Say whether a client has not answered its ping in time, before the timer finds out."""

    def report(self, error: BaseException, where: str) -> None:
        """Log an error from a worker."""

    def on_refused(self, environ: dict[str, Any], refusal: Refusal) -> None:
        """Learn that a request is answered with an error."""

    def log_full(self, limit: int) -> None:
        """Log that the server takes no more connections."""

    def log_too_many(self, address: str, error: TooMany) -> None:
        """Log that a client was refused because its address has what it may have."""
