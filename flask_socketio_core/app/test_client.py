"""A Socket.IO client for tests, without a network."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

from flask.testing import EnvironBuilder

from ..common.values import full_namespace
from ..server.connection import Connection
from ..server.packets import ACK, CONNECT, CONNECT_ERROR, DISCONNECT, EVENT, Decoder
from ..transport.wsgi import stored_environ
from .dispatch import run_here, run_with
from .test_transport import InlineMailbox, TestTransport

if TYPE_CHECKING:
    from flask import Flask
    from flask.testing import FlaskClient
    from typing_extensions import Self

    from ..server.packets import Incoming
    from ..transport.packets import Outgoing
    from ..transport.session import Session
    from .binding import Binding

HandlerT = TypeVar("HandlerT", bound=Callable[..., Any])
Received = dict[str, Any]
"""One event: ``name``, ``args`` (for ``"message"`` and ``"json"`` the one argument itself) and ``namespace``."""


class Testable(Protocol):
    """What a test client needs of a ``SocketIO`` object."""

    def binding_of(self, app: Flask) -> Binding:
        """Return the parts in use for an application."""


class SocketIOTestClient:
    """A client for tests::

        client = socketio.test_client(app)
        answer = client.emit("say", "hello", callback=True)
        assert client.get_received() == [{"name": "said", "args": ["hello"], "namespace": "/"}]

    It is connected by its constructor, and talks to the engine that also serves real clients. Handlers run in the
    test's own task, so :meth:`emit` returns when they have; what they raise and no error handler takes is raised
    there. Used as a context manager, it closes its connection at the end.

    :param app: the application.
    :param socketio: the application's ``SocketIO`` object.
    :param namespace: namespace to connect to.
    :param query_string: query string of the connection.
    :param headers: further headers of the connection.
    :param auth: what the client sends for the connect handler.
    :param flask_test_client: its cookies, and with them its session, become those of the connection.
    """

    def __init__(
        self,
        app: Flask,
        socketio: Testable,
        namespace: str | None = None,
        query_string: str | None = None,
        headers: Mapping[str, str] | None = None,
        auth: Any = None,
        flask_test_client: FlaskClient | None = None,
    ) -> None:
        self.app = app
        self.socketio: Any = socketio
        self.flask_test_client = flask_test_client
        self.connected: dict[str, bool] = {}
        self.refusals: dict[str, Any] = {}
        """By namespace: what the server said when it refused the client."""
        self._binding: Binding = socketio.binding_of(app)
        self._session: Session | None = None
        self._lock = self._binding.mode.create_lock()
        self._queue: list[Received] = []
        self._acks: dict[int, list[Any]] = {}
        self._ack_count = 0
        self._handlers: dict[tuple[str, str], Callable[..., Any]] = {}
        self._errors: list[Exception] = []
        self._waiters: list[Any] = []  # events of the async mode
        self.connect(namespace, query_string, headers, auth)

    @property
    def eio_sid(self) -> str:
        """The Engine.IO session id; ``""`` before the first connection."""
        return self._session.sid if self._session is not None else ""

    # connecting

    def is_connected(self, namespace: str | None = None) -> bool:
        """Return whether the client is connected to a namespace."""
        return self.connected.get(full_namespace(namespace), False)

    def connect(
        self,
        namespace: str | None = None,
        query_string: str | None = None,
        headers: Mapping[str, str] | None = None,
        auth: Any = None,
    ) -> None:
        """Connect to a namespace, on the same connection as those before.

        A connection keeps its environ, unless a query string or headers are given. See the constructor for the
        parameters.
        """
        namespace = full_namespace(namespace)
        session = self._session
        if session is None or session.closed:
            session = self._open(query_string, headers)
        elif query_string or headers:
            session.environ = self._environ(query_string, headers)
        self.refusals.pop(namespace, None)
        self._send(session, self._encode(CONNECT, auth, namespace))

    def disconnect(self, namespace: str | None = None) -> None:
        """Disconnect from a namespace, and with the last one close the connection.

        :raises RuntimeError: if the client is not connected to it.
        """
        namespace = full_namespace(namespace)
        session = self._need(namespace)
        self._send(session, self._encode(DISCONNECT, None, namespace))
        self.connected.pop(namespace, None)
        if not any(self.connected.values()):
            self.close()

    def close(self) -> None:
        """Close the connection, and with it every namespace; nothing happens if it is closed."""
        self.connected.clear()
        if self._session is not None and not self._session.closed:
            with run_with(run_here):
                self._session.receive("1")  # Engine.IO's CLOSE

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, query_string: str | None, headers: Mapping[str, str] | None) -> Session:
        self._binding.join()
        engine = self._binding.engine
        assert engine is not None  # there is an application
        server = engine.server
        decoder = Decoder(server.codec)
        transport = TestTransport(lambda packet: self._receive(decoder, packet))
        session = server.eio.add_session(self._environ(query_string, headers), transport)
        server.eio.unschedule(session)  # no pings: nothing may happen behind the test's back
        assert isinstance(session.listener, Connection)
        session.listener.mailbox = InlineMailbox(run_here)
        session.listener.recoverable = False  # a test sees the arguments that it has emitted, and no more
        transport.session = self._session = session
        return session

    def _environ(self, query_string: str | None, headers: Mapping[str, str] | None) -> dict[str, Any]:
        builder = EnvironBuilder(
            self.app,
            path=self._binding.options.endpoint,
            query_string=(query_string or "").removeprefix("?"),
            headers=dict(headers or {}),
        )
        environ = builder.get_environ()
        if self.flask_test_client is not None:
            environ.update(self.flask_test_client.environ_base)
            self.flask_test_client._add_cookies_to_wsgi(environ)
        return stored_environ(environ)

    # sending

    def emit(self, event: str, *args: Any, callback: bool = False, namespace: str | None = None) -> Any:
        """Send an event, and return when its handler has run.

        :param callback: ask for an acknowledgement and return it: the one value, or a list of several or none.
        :returns: ``None`` if no acknowledgement was asked for, or none came.
        :raises RuntimeError: if the client is not connected to the namespace.
        """
        namespace = full_namespace(namespace)
        session = self._need(namespace)
        ack_id = None
        if callback:
            self._ack_count += 1
            ack_id = self._ack_count
        self._send(session, self._encode(EVENT, [event, *args], namespace, ack_id))
        answer = self._acks.pop(ack_id, None) if ack_id is not None else None
        return answer[0] if answer is not None and len(answer) == 1 else answer

    def send(
        self, data: Any, json: bool = False, callback: bool = False, namespace: str | None = None
    ) -> Any:
        """Send a message: the event ``"message"``, or ``"json"``; see :meth:`emit`."""
        return self.emit("json" if json else "message", data, callback=callback, namespace=namespace)

    # receiving

    def get_received(self, namespace: str | None = None) -> list[Received]:
        """Return the events received on a namespace since the last call.

        :raises RuntimeError: if the client is not connected to it.
        """
        namespace = full_namespace(namespace)
        self._need(namespace)
        with self._lock:
            found = [event for event in self._queue if event["namespace"] == namespace]
            self._queue = [event for event in self._queue if event["namespace"] != namespace]
        self._raise_errors()
        return found

    def wait_for(self, event: str, timeout: float = 5.0, namespace: str | None = None) -> Received:
        """Return the oldest event of a name, waiting until there is one; it is then not in :meth:`get_received`.

        For what does not happen during :meth:`emit`: background tasks, other servers behind a message queue.

        :param timeout: how long to wait, seconds.
        :raises TimeoutError: if none comes in time.
        """
        namespace = full_namespace(namespace)
        deadline_s = time.monotonic() + timeout
        while True:
            arrived = self._binding.mode.create_event()
            with self._lock:
                for number, found in enumerate(self._queue):
                    if (found["name"], found["namespace"]) == (event, namespace):
                        return self._queue.pop(number)
                seen = [(found["name"], found["namespace"]) for found in self._queue]
                self._waiters.append(arrived)
            self._raise_errors()
            if not arrived.wait(max(deadline_s - time.monotonic(), 0)):
                with self._lock:
                    if arrived in self._waiters:
                        self._waiters.remove(arrived)
                raise TimeoutError(
                    f"no event {event!r} on namespace {namespace!r} within {timeout:g} s; received: {seen or 'nothing'}"
                )

    @overload
    def on(self, event: str, handler: HandlerT, namespace: str | None = None) -> HandlerT: ...
    @overload
    def on(
        self, event: str, handler: None = None, namespace: str | None = None
    ) -> Callable[[HandlerT], HandlerT]: ...

    def on(self, event: str, handler: Any = None, namespace: str | None = None) -> Any:
        """Answer an event of the server's: what the function returns acknowledges it, also to ``call()``.

        Usable as a decorator. The event is also in :meth:`get_received`. What the function raises is raised by the
        client's next method.

        :param handler: called with the event's arguments; a tuple that it returns stands for several values.
        """

        def register(function: HandlerT) -> HandlerT:
            self._handlers[event, full_namespace(namespace)] = function
            return function

        return register if handler is None else register(handler)

    # packets

    def _need(self, namespace: str) -> Session:
        if not self.is_connected(namespace) or self._session is None:
            refusal = self.refusals.get(namespace)
            reason = f": it was refused with {refusal!r}" if refusal is not None else ""
            raise RuntimeError(f"the test client is not connected to namespace {namespace!r}{reason}")
        return self._session

    def _encode(self, kind: int, data: Any, namespace: str, ack_id: int | None = None) -> Outgoing:
        engine = self._binding.engine
        assert engine is not None
        return engine.server.codec._encode(kind, data, namespace, ack_id)

    def _send(self, session: Session, outgoing: Outgoing) -> None:
        with run_with(run_here):
            for packet in outgoing.packets:
                session.receive(packet)
        self._raise_errors()

    def _receive(self, decoder: Decoder, packet: str | bytes) -> None:
        """Take one Engine.IO packet of the server's."""
        if isinstance(packet, bytes):
            incoming = decoder.decode(packet)
        elif packet[0] == "4":  # MESSAGE
            incoming = decoder.decode(packet[1:])
        else:
            if packet[0] == "1":  # CLOSE
                self.connected.clear()
            return
        if incoming is not None:
            self._on_packet(incoming)

    def _on_packet(self, packet: Incoming) -> None:
        kind, namespace, ack_id, data = packet
        if kind == EVENT:
            self._on_event(namespace, ack_id, data)
        elif kind == ACK and ack_id is not None:
            self._acks[ack_id] = data
        elif kind == CONNECT:
            self.connected[namespace] = True
        elif kind in (DISCONNECT, CONNECT_ERROR):
            self.connected[namespace] = False
            if kind == CONNECT_ERROR or data is not None:
                self.refusals[namespace] = data

    def _on_event(self, namespace: str, ack_id: int | None, data: list[Any]) -> None:
        name, args = data[0], data[1:]
        single = name in ("message", "json") and args
        with self._lock:
            self._queue.append({"name": name, "args": args[0] if single else args, "namespace": namespace})
            waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.set()
        handler = self._handlers.get((name, namespace))
        if handler is not None:
            try:
                answer = handler(*args)
            except Exception as error:  # noqa: BLE001  # the test's fault, not that of whoever emits
                self._errors.append(error)
                return
            if ack_id is not None:
                self._acknowledge(namespace, ack_id, answer)

    def _acknowledge(self, namespace: str, ack_id: int, answer: Any) -> None:
        values = answer if isinstance(answer, tuple) else () if answer is None else (answer,)
        session = self._session
        if session is not None and not session.closed:
            for packet in self._encode(ACK, list(values), namespace, ack_id).packets:
                session.receive(packet)

    def _raise_errors(self) -> None:
        if self._errors:
            raise self._errors.pop(0)
