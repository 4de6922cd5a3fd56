"""The seam of the web server: what a WebSocket provider promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ..common import descriptor_rules as rules
from .verdict import PART, Probe, always_usable

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


__all__ = [
    "BlockingTransport",
    "KeepAlive",
    "SocketLocation",
    "WebSocketProvider",
    "WebSocketProviderInfo",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSocketProviderInfo:
    """Describe one WebSocket provider.

    :param name: what ``websocket_provider=`` is compared with.
    :param async_modes: names of the async modes it serves; empty for all.
    :param priority: the highest usable one that serves the selected mode wins. Of several usable ones, each request is
        given to the first whose :meth:`WebSocketProvider.detect` says yes.
    :param load: imports the provider and returns its class.
    :param requires: as in :class:`AsyncModeInfo`.
    :param probe: as in :class:`AsyncModeInfo`.
    :param install: the command that installs what is missing.
    :param summary: a few words for the table.
    """

    name: str
    priority: int
    load: Callable[[], type[WebSocketProvider]]
    async_modes: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()
    probe: Probe = always_usable
    install: str = ""
    summary: str = ""

    def __post_init__(self) -> None:
        modes = rules.several(rules.name)
        rules.check(self, **PART, priority=rules.whole, probe=rules.function, async_modes=modes)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeepAlive:
    """How a connection that was taken for a poll goes back to its web server, for other requests than polls.

    :param longest_s: how long a client that was answered may leave it unused, seconds; then it is closed.
    :param give_back: have the server serve what comes on the connection, as if it had just accepted it. It is given the
        raw socket, which is its own from then on; nothing was read from it. Called by the engine's loop, so it must not
        block, and must not raise for a client that is gone.
    """

    longest_s: float
    give_back: Callable[[Any], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class SocketLocation:
    """Where a WSGI server keeps a connection that can be detached from it.

    :param fd: the server's descriptor of the connection, a plain TCP or Unix socket, never TLS.
    :param handshake_done: the 101 response has been written already, with no extension agreed on; otherwise the engine
        writes it.
    :param read_buffered: return (once, without blocking) the bytes that the server has read from the socket but not
        used yet; afterwards the server's buffer is at its end, so that it executes no pipelined request.
    :param carries_polls: the connection may be taken for a request that long polling has to wait with, too: the
        ``start_response`` that was given is the server's own, so that no middleware adds to a response what would be
        missing in one that the engine writes to the connection.
    :param keep_alive: how it may be kept for further requests, if the server can be given a connection back; ``None``
        to have it closed behind the answer to a poll.
    :param forget: take the descriptor out of any event loop's own poll set, before it is replaced, and have the server
        wait for no other request on it.
    """

    fd: int
    handshake_done: bool = False
    read_buffered: Callable[[], bytes] = lambda: b""
    carries_polls: bool = False
    keep_alive: KeepAlive | None = None
    forget: Callable[[], object] = lambda: None


class BlockingTransport(ABC):
    """An open WebSocket of a server that keeps its socket. One task reads, one task writes, any task closes."""

    on_control: Callable[[], object] | None = None
    """Set by the engine: called by :meth:`receive` for each control frame of the peer; may wait, if there are too many.
    A server that takes them by itself leaves it alone."""

    @abstractmethod
    def receive(self) -> str | bytes | None:
        """Wait for the next message; ``None`` when the peer is gone or :meth:`close` was called.

        Answers a ping and a close frame meanwhile, and takes no processor time while the peer is quiet.

        :raises ProtocolError: when the peer broke RFC 6455; the engine closes with the error's code.
        """

    @abstractmethod
    def send(self, message: str | bytes) -> None:
        """Write one message, text or binary, waiting as long as the peer's window is full.

        :raises OSError: when the peer is gone.
        """

    @abstractmethod
    def close(self, code: int = 1000, reason: str = "") -> None:
        """Send a close frame where the server can, and make :meth:`receive` return. Never raises; may be repeated.

        :param code: WebSocket close code; 0 to end the connection without a close frame.
        """


class WebSocketProvider(ABC):
    """Who speaks WebSocket on this server. Give at least one of the two forms, :meth:`locate` or :meth:`open`."""

    name: ClassVar[str]

    summary: str = ""
    """Set by the owner: the descriptor's, for the message to a client of a server that has no WebSocket."""

    @abstractmethod
    def detect(self, environ: WSGIEnvironment) -> bool:
        """Return whether this provider can serve a request with this environ. Cheap; touches no socket."""

    def serve_at(self, path: str) -> None:
        """Take note of the engine's path; called before any request, and again for another application.

        For a provider whose web server answers upgrades before the application sees them: it should leave those to
        this path alone, so that what the engine refuses is answered with an HTTP status.

        :param path: with both slashes (``"/socket.io/"``), as the application sees it; ``"/"`` if every request is the
            engine's.
        """

    def locate(self, environ: WSGIEnvironment, start_response: StartResponse) -> SocketLocation | None:
        """Detachable form: say where the server keeps the connection, or ``None`` to use :meth:`open`.

        Called after the engine validated the handshake headers. With an async mode where a waiting request keeps a
        thread it is called for polls as well, which are no WebSocket requests: GET requests of long polling that have
        nothing to answer yet; see ``carries_polls`` of :class:`SocketLocation`. Must not raise for a socket that it
        cannot find (middleware may have wrapped ``start_response``) or that is TLS: return ``None``.
        """
        return None

    def open(
        self, environ: WSGIEnvironment, start_response: StartResponse, *, max_message_bytes: int
    ) -> BlockingTransport | None:
        """Blocking form: complete the handshake and return the open transport, or ``None`` if this request has none.

        Call ``start_response("101 Switching Protocols", [])`` before returning, as WSGI asks of every application:
        the engine does not, and a web server that misses it writes an error to its log, or to the client, when the
        connection ends. Only a server with a function of its own that answers the handshake (uWSGI) is given none.
        Agree on no extension, except through :func:`~flask_socketio_core.contracts.framed.open_framed`, which
        compresses if the option says so, and sends the headers that plugins add.

        :param max_message_bytes: a larger message must be refused before all of it is buffered: ``receive`` raises
            :class:`~flask_socketio_core.errors.PayloadTooLarge`, and the connection is closed with code 1009.
        """
        return None
