"""What Engine.IO tells those who observe, plugins and the application: the other end of the hooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ..common.headers import Headers


class Observers(Protocol):
    """Whom to tell. Each method is the hook ``socketio_*`` of its name, and is called in a task that may wait.

    What it takes an effort to say is said only if :meth:`observes`.
    """

    adds_headers: bool
    """Whether :meth:`response_headers` is to be asked."""

    def response_headers(self, *, environ: dict[str, Any], headers: Headers, first: bool) -> Headers:
        """Return a response's headers with what others add.

        :param first: whether it is the first response of a session.
        """

    def observes(self, hook: str) -> bool:
        """Return whether anybody implements a hook."""

    def session_opened(
        self, *, engine_sid: str, transport: str, address: str, environ: dict[str, Any]
    ) -> None:
        """Tell of a session that starts."""

    def session_closed(self, *, engine_sid: str, transport: str, address: str, reason: str) -> None:
        """Tell of a session that ended."""

    def transport_changed(self, *, engine_sid: str, transport: str, before: str) -> None:
        """Tell of a session that was upgraded."""

    def refused(self, *, environ: dict[str, Any], status: int, code: int, message: str) -> None:
        """Tell of a request that is answered with an error."""

    def outbox_overflow(self, *, sid: str, policy: str, packets: int, size_bytes: int) -> None:
        """Tell of a client that does not read."""
