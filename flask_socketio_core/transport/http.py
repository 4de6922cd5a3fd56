"""The WSGI end of the engine: handshakes, long polling and the way to WebSocket.

Error bodies are those of the reference server: ``{"code": 0, "message": "Transport unknown"}`` and so on, so that
clients and their authors find the codes they know.

Source: engine.io-protocol v4, "HTTP long-polling"; error codes of Engine.IO's reference server.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from ..common.quoting import printable
from ..common.reasons import Reason
from ..contracts.detach import detach
from ..errors import ProtocolError
from .admission import check_capacity, check_handshake, placed
from .cors import Cors
from .handover.messages import POLL, POST, Request
from .parked import NOOP, Response
from .payload import encode_payload
from .polling import PollingTransport
from .repetition import Repetition, keeps_connection
from .session import GOING_AWAY
from .wsgi import (
    BAD_HANDSHAKE_METHOD,
    BAD_REQUEST,
    GIVE_WAY_S,
    STATUS,
    UNKNOWN_TRANSPORT,
    UNSUPPORTED_PROTOCOL,
    Refusal,
    check_kept,
    compress,
    drop_broken_headers,
    read_body,
    refusal_body,
    refusal_of,
    sid_cookie,
    stored_environ,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from ..common.headers import Headers
    from .handover.passing import Passing
    from .parking import Parking
    from .requests import Requests
    from .server import EngineIOServer
    from .session import Session
    from .websocket import WebSocketEntrance

PROTOCOL = "4"
MOST_FIELDS = 100
"""Most parameters of a query string, of which Engine.IO has five."""
MOST_LOGGED = 100
"""So many refused origins and hosts are logged; what stands in those headers is a stranger's choice."""
TEXT_PLAIN = "text/plain; charset=UTF-8"
NOSNIFF = ("X-Content-Type-Options", "nosniff")
"""Half of what polls are answered is other clients' text: no browser may take it for a page or a script."""


class Endpoint:
    """Answer the requests to a server's path.

    :param server: whose sessions are served.
    :param websocket: takes WebSocket requests; knows the providers.
    :param requests: of the sessions that are open.
    :param parking: takes polls that wait.
    :param host_refusal: the application's, see :class:`~flask_socketio_core.server.interface.Application`.
    """

    def __init__(
        self,
        server: EngineIOServer,
        websocket: WebSocketEntrance,
        host_refusal: Callable[[dict[str, Any]], str | None],
        requests: Requests,
        parking: Parking,
    ) -> None:
        self._server = server
        self._options = server.options
        self._websocket = websocket
        self._cors = Cors(server.options)
        self._host_refusal = host_refusal
        self._requests = requests
        self._parking = parking
        capabilities = server.mode.capabilities
        self._waits_without_a_thread = capabilities.watches and not capabilities.green
        self.passing: Passing | None = None
        """Passes requests on to the workers that have the sessions, where there are several."""
        self._refused: set[str] = set()

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request (WSGI)."""
        try:
            self._check_headers(environ)
            refused = self._host_refusal(environ)
            if refused is not None:
                self._log_refused(printable(environ.get("HTTP_HOST", "")), refused)
                raise Refusal(BAD_REQUEST, refused)
            refused = self._cors.refusal(environ)
            if refused is not None:
                self._log_refused(printable(environ["HTTP_ORIGIN"]), refused)
                raise Refusal(BAD_REQUEST, refused)
            if environ["REQUEST_METHOD"] == "OPTIONS":
                return self._respond(environ, start_response, 200, b"OK", "text/plain")
            return self._serve(environ, start_response, _query(environ))
        except Refusal as refusal:
            self._server.on_refused(environ, refusal)
            if refusal.code == UNSUPPORTED_PROTOCOL[0]:
                self._log_protocol(refusal)
            body = refusal_body(refusal)
            return self._respond(
                environ, start_response, refusal.status, body, "application/json", refusal.headers
            )

    def _check_headers(self, environ: WSGIEnvironment) -> None:
        name = drop_broken_headers(environ)
        if name is None:
            return
        error = ProtocolError(f"the header {name} is folded over several lines or contains NUL")
        sid = _query(environ).get("sid", "")
        session = self._server.sessions.get(sid)
        if session is None:
            self._violate_elsewhere(sid, error)
        elif isinstance(session.transport, PollingTransport):
            self._requests.violate(session, error)
        raise refusal_of(error)

    def _violate_elsewhere(self, sid: str, error: ProtocolError) -> None:
        """End a session of another worker, if it is one; what that worker answers is not what the client is told."""
        passing = self.passing
        owner = None if passing is None else passing.owner_of(sid)
        if passing is not None and owner is not None:
            request = Request(kind=POST, sid=sid, error=str(error))
            with suppress(Refusal):
                passing.ask(owner, request, b"", self._server.longest_poll_s)

    def _log_refused(self, value: str, refused: str) -> None:
        # A client that is refused tries again and again.
        level = logging.DEBUG
        if value not in self._refused and len(self._refused) < MOST_LOGGED:
            self._refused.add(value)
            level = logging.WARNING
        self._server.logger.log(level, "%s (said once for each of %d)", refused, MOST_LOGGED)

    def _log_protocol(self, refusal: Refusal) -> None:
        # An old client shows nothing of the answer to its user, so the server's log is where it is looked for.
        more = self._server.repeats.take(UNSUPPORTED_PROTOCOL)
        if more is not None:
            self._server.logger.warning("%s%s", refusal, more)

    def _serve(
        self, environ: WSGIEnvironment, start_response: StartResponse, query: dict[str, str]
    ) -> Iterable[bytes]:
        transport = query.get("transport", "")
        if transport not in self._options.transports:
            raise Refusal(UNKNOWN_TRANSPORT)
        _check_protocol(query.get("EIO"))
        sid = query.get("sid")
        session = None
        if sid is not None:
            if self.passing is not None and sid not in self._server.sessions:
                owner = self.passing.owner_of(sid)
                if owner is not None:
                    return self._pass_on(environ, start_response, self.passing, transport, sid, owner)
            session = self._requests.find(sid, environ["REQUEST_METHOD"])
            if session is None:
                return self._respond(environ, start_response, 200, NOOP, TEXT_PLAIN)
        if session is None:
            check_kept(environ, self._options.max_header_bytes)
        if transport == "websocket":
            return self._websocket.enter(environ, start_response, session)
        if session is None:
            return self._handshake(environ, start_response)
        return self._poll_or_post(environ, start_response, session)

    def _handshake(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        if environ["REQUEST_METHOD"] != "GET":
            raise Refusal(BAD_HANDSHAKE_METHOD)
        check_capacity(self._server, len(self._server.sessions))
        check_handshake(self._server, environ)
        with placed(self._server, environ) as place:
            session = self._server.add_session(stored_environ(environ), PollingTransport(), place)
        if not self._server.accepting:  # since check_capacity(): shutdown() may have missed this one
            session.close(Reason.SHUTDOWN, code=GOING_AWAY)
            check_capacity(self._server, 0)
        upgrades = (
            self._options.allow_upgrades
            and "websocket" in self._options.transports
            and self._websocket.available(environ)
        )
        body = encode_payload(self._server.open_packet(session, upgrades=upgrades).packets)
        cookie = sid_cookie(self._options.cookie, session.sid)
        return self._respond(environ, start_response, 200, body, TEXT_PLAIN, cookie, first=True)

    def _poll_or_post(
        self, environ: WSGIEnvironment, start_response: StartResponse, session: Session
    ) -> Iterable[bytes]:
        transport = self._requests.polling(session)
        method = environ["REQUEST_METHOD"]
        try:
            if method == "GET":
                if self._waits_without_a_thread and transport.is_quiet(session):
                    parked = self._park(environ, start_response, session)
                    if parked is not None:
                        return parked
                packets = transport.poll(session, self._server.mode, self._server.longest_poll_s)
                body = self._requests.answer(session, packets)
                return self._respond(environ, start_response, 200, body, TEXT_PLAIN)
            if method == "POST":
                self._post(environ, session, transport)
                return self._respond(environ, start_response, 200, b"ok", "text/html")
        except ProtocolError as error:
            self._requests.violate(session, error)
            raise refusal_of(error) from error
        raise Refusal(BAD_REQUEST, f"method {printable(method)} is not allowed, expected GET or POST")

    def _park(
        self, environ: WSGIEnvironment, start_response: StartResponse, session: Session
    ) -> Iterable[bytes] | None:
        """Have a poll wait without a thread; ``None`` if its connection cannot be had."""
        if self._parking.is_full():
            return None
        location = self._websocket.locate_poll(environ, start_response)
        if location is None:
            return None
        response = Response(
            headers=self._headers(environ, TEXT_PLAIN),
            encodings=environ.get("HTTP_ACCEPT_ENCODING", ""),
            on_refused=self._server.teller_of_refusal(environ),
        )
        keep_alive = location.keep_alive if keeps_connection(environ) else None
        # A function of the application's may think otherwise the next time, and so may plugins that add headers.
        decided = keep_alive is not None and not (self._server.adds_headers or self._cors.asks)
        try:
            detached = detach(location)
        except OSError:  # no descriptor is left, and the server still has the connection
            return None
        try:
            self._parking.park(
                session,
                detached.sock,
                detached.first_bytes,
                response,
                keep_alive,
                Repetition.of(environ) if decided else None,
            )
        except BaseException:
            detached.body.close()
            raise
        return detached.respond(start_response, "200 OK")

    def _pass_on(
        self,
        environ: WSGIEnvironment,
        start_response: StartResponse,
        passing: Passing,
        transport: str,
        sid: str,
        owner: str,
    ) -> Iterable[bytes]:
        """Have the worker that has the session serve a request."""
        if transport == "websocket":
            hand_over = partial(passing.hand_over, owner)
            return self._websocket.hand_over(environ, start_response, sid, hand_over)
        method = environ["REQUEST_METHOD"]
        if method == "POST":
            self._pass_post(environ, passing, sid, owner)
            return self._respond(environ, start_response, 200, b"ok", "text/html")
        if method == "GET":
            if self._waits_without_a_thread:
                handed_over = self._hand_over_poll(environ, start_response, passing, sid, owner)
                if handed_over is not None:
                    return handed_over
            request = Request(kind=POLL, sid=sid)
            body = passing.ask(owner, request, b"", self._server.longest_poll_s)
            return self._respond(environ, start_response, 200, body, TEXT_PLAIN)
        raise Refusal(BAD_REQUEST, f"method {printable(method)} is not allowed, expected GET or POST")

    def _hand_over_poll(
        self, environ: WSGIEnvironment, start_response: StartResponse, passing: Passing, sid: str, owner: str
    ) -> Iterable[bytes] | None:
        """Give a poll to the worker of its session, with its connection; ``None`` if that cannot be had."""
        location = self._websocket.locate_poll(environ, start_response)
        if location is None:
            return None
        request = Request(
            kind=POLL,
            sid=sid,
            headers=self._headers(environ, TEXT_PLAIN),
            encodings=environ.get("HTTP_ACCEPT_ENCODING", ""),
        )
        try:
            detached = passing.hand_over(owner, request, location)
        except OSError:  # no descriptor is left, and the server still has the connection
            return None
        return detached.respond(start_response, "200 OK")

    def _pass_post(self, environ: WSGIEnvironment, passing: Passing, sid: str, owner: str) -> None:
        request = Request(kind=POST, sid=sid)
        try:
            body = read_body(environ, self._options.max_http_buffer_size)
        except ProtocolError as error:
            passing.ask(owner, replace(request, error=str(error)), b"", self._server.longest_poll_s)
            raise refusal_of(error) from error
        passing.ask(owner, request, body, self._server.longest_poll_s)

    def _post(self, environ: WSGIEnvironment, session: Session, transport: PollingTransport) -> None:
        self._requests.begin_post(session)
        try:
            if session.held:
                transport.wait_while_held(session, self._server.mode)
            body = read_body(environ, self._options.max_http_buffer_size)
            self._requests.take(session, transport, body)
        finally:
            session.posting = False

    def _respond(
        self,
        environ: WSGIEnvironment,
        start_response: StartResponse,
        status: int,
        body: bytes,
        content_type: str,
        headers: Headers | None = None,
        *,
        first: bool = False,
    ) -> list[bytes]:
        all_headers = self._headers(environ, content_type, headers, first=first)
        if self._options.http_compression and len(body) >= self._options.compression_threshold:
            body, encoding = compress(
                body, environ.get("HTTP_ACCEPT_ENCODING", ""), partial(self._server.mode.sleep, GIVE_WAY_S)
            )
            if encoding:
                all_headers.append(("Content-Encoding", encoding))
        if "uwsgi.version" not in environ:
            # uWSGI's HTTP router closes the connection without saying so. A client that was given a length takes it
            # for kept alive, and loses the request that it sends next.
            all_headers.append(("Content-Length", str(len(body))))
        start_response(STATUS.get(status, f"{status} Error"), all_headers)
        return [body]

    def _headers(
        self,
        environ: WSGIEnvironment,
        content_type: str,
        headers: Headers | None = None,
        *,
        first: bool = False,
    ) -> Headers:
        """Return the headers of a response, as far as they do not depend on its body."""
        found: Headers = [
            ("Content-Type", content_type),
            ("Cache-Control", "no-store"),
            NOSNIFF,
            *(headers or ()),
        ]
        found += self._cors.headers(environ)
        return self._server.response_headers(first, environ, found)


def _query(environ: WSGIEnvironment) -> dict[str, str]:
    """Return the query string's parameters, each with its last value.

    :raises Refusal: if there are too many.
    """
    try:
        fields = parse_qs(environ.get("QUERY_STRING", ""), max_num_fields=MOST_FIELDS)
    except ValueError:
        raise Refusal(BAD_REQUEST, f"query string of more than {MOST_FIELDS} fields") from None
    return {name: values[-1] for name, values in fields.items()}


def _check_protocol(version: str | None) -> None:
    if version == PROTOCOL:
        return
    if version in ("2", "3"):
        detail = (
            f"this client speaks Engine.IO protocol {version} (socket.io-client 1.x or 2.x), the server speaks 4: "
            "use socket.io-client 3.x or 4.x, or python-socketio 5.x"
        )
    else:
        named = printable(version or "missing (EIO=)")
        detail = f"Engine.IO protocol {named} is not supported, the server speaks {PROTOCOL}"
    raise Refusal(UNSUPPORTED_PROTOCOL, f"{UNSUPPORTED_PROTOCOL[1]}: {detail}")
