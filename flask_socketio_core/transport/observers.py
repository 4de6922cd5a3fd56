"""What Engine.IO tells those who observe, plugins and the application: the other end of the hooks."""

from __future__ import annotations

from typing import Any, Protocol


class Observers(Protocol):
    """Whom to tell. Each method is the hook ``socketio_*`` of its name, and is called in a task that may wait.

    What it takes an effort to say is said only if :meth:`observes`.
    """

    def observes(self, hook: str) -> bool:
        """Say whether anybody implements a hook."""

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
