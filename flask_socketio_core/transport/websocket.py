"""The way of a WebSocket request into the engine: the right provider, the right shell."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from ..common.reasons import Reason
from ..contracts.concurrency.servers import name_server
from ..contracts.detach import detach
from ..errors import ProtocolError
from ..websocket_protocol.deflate import DEFLATE, Deflate, agree
from ..websocket_protocol.handshake import HEADERS, check_upgrade, refusal_headers, response_head
from .admission import check_capacity, check_descriptors, check_handshake, placed
from .blocking import BlockingConnection
from .detached import DetachedConnection, Target
from .handover.messages import WEBSOCKET, Request
from .reactor import Reactor
from .session import GOING_AWAY
from .upgrade import UpgradeProbe
from .wsgi import BAD_REQUEST, Refusal, stored_environ

if TYPE_CHECKING:
    import _socket

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from ..contracts import SocketLocation, WebSocketProvider
    from ..contracts.detach import Detached
    from .addresses import Place
    from .server import EngineIOServer
    from .session import Session


KEEPS_CONNECTION = (
    "this session is another worker's, and the web server keeps the connection (TLS in this process, or uWSGI): it "
    "cannot be handed over, and the client stays on long polling"
)


class WebSocketEntrance:
    """Take WebSocket requests in.

    :param server: whose sessions are served.
    :param providers: usable ones, the best first; each request goes to the first that detects its server.
    """

    def __init__(self, server: EngineIOServer, providers: Sequence[WebSocketProvider]) -> None:
        self._server = server
        self._providers = providers
        self._missing_logged = False
        self.reactor = Reactor(server.mode, server.report)
        options = server.options
        self._deflate = Deflate(options.compression_threshold) if options.websocket_compression else None

    def available(self, environ: WSGIEnvironment) -> bool:
        """Return whether some provider can serve the server that made this environ."""
        return self._provider(environ) is not None

    def enter(
        self, environ: WSGIEnvironment, start_response: StartResponse, session: Session | None
    ) -> Iterable[bytes]:
        """Serve a WebSocket request: a new session, or the upgrade of one.

        Returns at once when the connection was detached, and when it is closed otherwise.
        """
        # A client can ask for any number of upgrades of one session, each of which may wait for upgrade_timeout.
        check_capacity(self._server, len(self._server.sessions if session is None else self.reactor))
        check_descriptors(self._server, self.reactor.descriptors)
        provider, accept = self._check(environ)
        if session is not None:
            return self._serve(environ, start_response, session, None, provider, accept)
        with placed(self._server, environ) as place:
            return self._serve(environ, start_response, None, place, provider, accept)

    def _check(self, environ: WSGIEnvironment) -> tuple[WebSocketProvider, str]:
        """Return who can serve the request, and the handshake's answer to its key.

        :raises Refusal: if nobody can, or it must not be served.
        """
        try:
            accept = check_upgrade(environ)
        except ProtocolError as error:
            raise Refusal(
                BAD_REQUEST, str(error), status=error.status, headers=refusal_headers(error)
            ) from error
        provider = self._provider(environ)
        if provider is None:
            raise Refusal(BAD_REQUEST, self._missing(environ))
        check_handshake(self._server, environ)
        return provider, accept

    def _serve(
        self,
        environ: WSGIEnvironment,
        start_response: StartResponse,
        session: Session | None,
        place: Place | None,
        provider: WebSocketProvider,
        accept: str,
    ) -> Iterable[bytes]:
        location = self._locate(provider, environ, start_response)
        if location is not None:
            return self._detached(environ, start_response, session, place, location, accept)
        if self._deflate is not None:
            environ[DEFLATE] = self._deflate
        environ[HEADERS] = partial(self._server.response_headers, session is None)
        opened = provider.open(
            environ, start_response, max_message_bytes=self._server.options.max_http_buffer_size
        )
        if opened is None:
            raise Refusal(
                BAD_REQUEST, f"the WebSocket provider {provider.name!r} cannot serve this connection"
            )
        connection = BlockingConnection(opened, self._server.mode, self._server.report)
        connection.run(self._target(environ, session, place, connection))
        return []

    def _locate(
        self, provider: WebSocketProvider, environ: WSGIEnvironment, start_response: StartResponse
    ) -> SocketLocation | None:
        return provider.locate(environ, start_response) if self._server.mode.capabilities.watches else None

    def locate_poll(self, environ: WSGIEnvironment, start_response: StartResponse) -> SocketLocation | None:
        """Return where a poll's connection is, if it can be taken and nothing would be missing in the response."""
        provider = self._detecting(environ)
        location = None if provider is None else self._locate(provider, environ, start_response)
        return location if location is not None and location.carries_polls else None

    def _detecting(self, environ: WSGIEnvironment) -> WebSocketProvider | None:
        return next((provider for provider in self._providers if provider.detect(environ)), None)

    def _provider(self, environ: WSGIEnvironment) -> WebSocketProvider | None:
        found = self._detecting(environ)
        if found is None and not self._missing_logged and name_server(environ) is not None:
            self._missing_logged = True
            self._server.logger.warning(
                "%s; clients stay on long polling, and those that want WebSocket only cannot connect",
                self._missing(environ),
            )
        return found

    def _missing(self, environ: WSGIEnvironment) -> str:
        places = "; ".join(provider.summary or provider.name for provider in self._providers)
        return (
            f"no installed WebSocket provider can serve {name_server(environ) or 'this web server'}; with "
            f"async_mode={self._server.mode.name!r} there is WebSocket on: {places or 'no server'}"
        )

    def _detached(
        self,
        environ: WSGIEnvironment,
        start_response: StartResponse,
        session: Session | None,
        place: Place | None,
        location: SocketLocation,
        accept: str,
    ) -> Iterable[bytes]:
        deflate, head = self._agree(environ, location, accept, first=session is None)
        detached = detach(location)
        try:
            self._start(
                detached.sock,
                detached.first_bytes,
                head,
                deflate,
                partial(self._target, environ, session, place),
            )
        except BaseException:
            detached.body.close()
            raise
        return detached.respond(start_response)

    def _agree(
        self, environ: WSGIEnvironment, location: SocketLocation, accept: str, *, first: bool
    ) -> tuple[Deflate | None, bytes]:
        """Return what compression was agreed on, and the response; it is empty where the server has written it."""
        if location.handshake_done:
            return None, b""  # the server has agreed on nothing
        deflate, headers = agree(environ, self._deflate)
        return deflate, response_head(accept, self._server.response_headers(first, environ, headers))

    def _start(
        self,
        sock: _socket.socket,
        first_bytes: bytes,
        head: bytes,
        deflate: Deflate | None,
        make_target: Callable[[DetachedConnection], Target],
    ) -> None:
        """Serve a WebSocket that belongs to us."""
        connection = DetachedConnection(
            self.reactor, sock, self._server.options.max_http_buffer_size, deflate
        )
        try:
            if head:
                connection.write_head(head)
            connection.start(make_target(connection), first_bytes)
        except BaseException:
            connection.abandon()  # the server has let go of it: nobody else would tell the client
            raise

    def hand_over(
        self,
        environ: WSGIEnvironment,
        start_response: StartResponse,
        sid: str,
        hand_over: Callable[[Request, SocketLocation], Detached],
    ) -> Iterable[bytes]:
        """Give the upgrade of another worker's session to that worker, with its connection.

        :param hand_over: takes the connection from the web server and gives it away.
        :raises Refusal: if the request is none that it could serve, or the web server keeps the connection.
        """
        provider, accept = self._check(environ)
        location = self._locate(provider, environ, start_response)
        if location is None:
            raise Refusal(BAD_REQUEST, KEEPS_CONNECTION)
        deflate, head = self._agree(environ, location, accept, first=False)
        request = Request(
            kind=WEBSOCKET, sid=sid, head=head.decode("latin-1"), compresses=deflate is not None
        )
        return hand_over(request, location).respond(start_response)

    def take_over(self, session: Session, request: Request, first_bytes: bytes, sock: _socket.socket) -> None:
        """Serve the upgrade of a session that another worker was asked for.

        :raises Refusal: if there are too many connections; this one is still the caller's then.
        """
        check_capacity(self._server, len(self.reactor))
        check_descriptors(self._server, self.reactor.descriptors)
        self._start(
            sock,
            first_bytes,
            request.head.encode("latin-1"),
            self._deflate if request.compresses else None,
            partial(self._target, {}, session, None),
        )

    def _target(
        self, environ: WSGIEnvironment, session: Session | None, place: Place | None, connection: Any
    ) -> Target:
        if session is not None:
            return UpgradeProbe(self._server, session, connection, self._server.mode.create_lock())
        session = self._server.make_session(stored_environ(environ), connection, place)
        connection.target = session  # before the server may close it
        self._server.add(session)
        session.send(self._server.open_packet(session, upgrades=False))
        if not self._server.accepting:  # since check_capacity(): shutdown() may have missed this one
            session.close(Reason.SHUTDOWN, code=GOING_AWAY)
        return session
