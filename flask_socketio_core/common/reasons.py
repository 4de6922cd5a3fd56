"""Why a client was disconnected: what disconnect handlers and hooks receive."""

from __future__ import annotations

from typing import Final

MAX_DETAIL = 200
"""Most characters of an application's own reason."""


class DisconnectReason(str):
    """One of python-socketio's five texts, to which it is equal, and :attr:`detail`, which tells more of them apart."""

    __slots__ = ("detail",)

    detail: str
    """``"kicked"``, ``"shutdown"``, ``"violation"``, ``"overflow"``, ``"replaced"``, ``"expired"``, the application's
    own text, or ``""``."""

    def __new__(cls, text: str, detail: str = "") -> DisconnectReason:
        """Return a reason.

        :param text: one of python-socketio's five.
        """
        reason = super().__new__(cls, text)
        reason.detail = detail
        return reason

    def __reduce__(self) -> tuple[type[DisconnectReason], tuple[str, str]]:
        return DisconnectReason, (str(self), self.detail)


class Reason:
    """The disconnect reasons, as class attributes.

    The first five are those of python-socketio's ``Server.reason``. Each of the others is equal to one of them, so
    whoever compares with those sees no difference, and has a :attr:`~DisconnectReason.detail`: compare that, or with
    ``is``.
    """

    CLIENT_DISCONNECT: Final = DisconnectReason("client disconnect")
    SERVER_DISCONNECT: Final = DisconnectReason("server disconnect")
    PING_TIMEOUT: Final = DisconnectReason("ping timeout")
    TRANSPORT_CLOSE: Final = DisconnectReason("transport close")
    TRANSPORT_ERROR: Final = DisconnectReason("transport error")

    KICKED: Final = DisconnectReason("server disconnect", "kicked")
    """The application called ``disconnect()`` or ``kick()``."""
    SHUTDOWN: Final = DisconnectReason("server disconnect", "shutdown")
    """The server's process ends."""
    VIOLATION: Final = DisconnectReason("transport error", "violation")
    """The client broke the protocol, or a limit on what it may send."""
    OVERFLOW: Final = DisconnectReason("transport error", "overflow")
    """The client did not read, and ``outbox_policy`` is ``"disconnect"``; or no dropping helped."""
    REPLACED: Final = DisconnectReason("server disconnect", "replaced")
    """The application lets another connection of the same user take its place: ``disconnect(reason=...)``."""
    EXPIRED: Final = DisconnectReason("server disconnect", "expired")
    """What let the client in is no longer valid, says the application: ``disconnect(reason=...)``."""


def shown(reason: str) -> str:
    """Return a reason with its detail, for a log."""
    detail = getattr(reason, "detail", "")
    return f"{reason} ({detail})" if detail else str(reason)


def by_application(detail: object) -> DisconnectReason:
    """Return the reason for which the application of some server disconnects a client.

    :param detail: as that server tells it; not to be trusted.
    """
    try:
        return check_reason(detail)
    except ValueError:
        return Reason.KICKED


def check_reason(reason: object) -> DisconnectReason:
    """Return the reason for which an application disconnects a client.

    :param reason: one of those that it may give, or a text of its own.
    :raises ValueError: if it is something else.
    """
    detail = reason.detail if isinstance(reason, DisconnectReason) else reason
    known = _KNOWN.get(detail) if isinstance(detail, str) else None
    if known is Reason.KICKED or known is Reason.REPLACED or known is Reason.EXPIRED:
        return known
    own = isinstance(detail, str) and 0 < len(detail) <= MAX_DETAIL and detail.isprintable()
    if own and known is None:
        return DisconnectReason(str(Reason.SERVER_DISCONNECT), str(detail))
    raise ValueError(
        f"reason={reason!r:.300} is not why an application disconnects a client: give SocketIO.reason.KICKED, REPLACED "
        f"or EXPIRED, or a printable text of your own of at most {MAX_DETAIL} characters"
    )


_KNOWN: Final = {
    reason.detail or str(reason): reason
    for reason in vars(Reason).values()
    if isinstance(reason, DisconnectReason)
}
