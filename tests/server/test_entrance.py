"""The way of a WebSocket request into the engine when something happens at the worst moment."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

from flask_socketio_async_threading.mode import ThreadingMode
from flask_socketio_core.common import options
from flask_socketio_core.contracts import SocketLocation, WebSocketProvider
from flask_socketio_core.server.engine import Engine
from support.engine import RecordingApplication
from support.wire.frames import TEXT, frame

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class Provider(WebSocketProvider):
    """Give the engine the connection that the environ has, and do what the test wants once it is detached."""

    name = "test"
    meanwhile: Callable[[], object] = staticmethod(lambda: None)

    def detect(self, environ: WSGIEnvironment) -> bool:
        return True

    def locate(self, environ: WSGIEnvironment, start_response: StartResponse) -> SocketLocation | None:
        return SocketLocation(fd=environ["test.fd"], read_buffered=self._read_buffered)

    def _read_buffered(self) -> bytes:
        self.meanwhile()
        return b""


class World:
    """An engine over real sockets and threads."""

    def __init__(self) -> None:
        self.provider = Provider()
        self.mode = ThreadingMode()
        self.clock: Callable[[], object] = lambda: None
        self.app = RecordingApplication()
        self.engine = Engine(
            self.app, options.build({}), self.mode, [self.provider], clock=self._read_the_clock
        )

    def _read_the_clock(self) -> float:
        self.clock()
        return time.monotonic()

    @contextlib.contextmanager
    def asking(self, **query: str) -> Iterator[tuple[socket.socket, Callable[[], list[str]]]]:
        """Give a client's socket, and what serves its request and returns the statuses told to the web server."""
        server, client = socket.socketpair()
        client.settimeout(5)
        fields = "&".join(f"{name}={value}" for name, value in query.items())

        def serve() -> list[str]:
            told: list[str] = []
            environ = {
                "REQUEST_METHOD": "GET",
                "QUERY_STRING": f"EIO=4&{fields}",
                "HTTP_UPGRADE": "websocket",
                "HTTP_CONNECTION": "Upgrade",
                "HTTP_SEC_WEBSOCKET_VERSION": "13",
                "HTTP_SEC_WEBSOCKET_KEY": "c2l4dGVlbiBieXRlcyBvaw==",
                "test.fd": server.fileno(),
            }

            def start_response(status: str, headers: Any, error: Any = None) -> Any:
                told.append(status)
                return told.append

            body: Any = self.engine.handle(environ, start_response)
            if hasattr(body, "close"):
                body.close()
            return told

        with server, client:
            yield client, serve


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.clock = lambda: None
    world.engine.shutdown(5)
    world.mode.close()


def read_all(client: socket.socket) -> bytes:
    """Read to the end of the connection."""
    data = b""
    while chunk := client.recv(65_536):
        data += chunk
    return data


def connects(world: World) -> bool:
    """Say whether a new client gets into a namespace."""
    with world.asking(transport="websocket") as (client, serve):
        serve()
        client.sendall(frame(TEXT, "40"))
        data = b""
        while b"40{" not in data:
            chunk = client.recv(65_536)
            if not chunk:
                return False
            data += chunk
    return True


def test_a_server_that_ends_before_a_connection_is_served_closes_it(world: World) -> None:
    ended: list[int] = []

    def end() -> None:
        if world.engine.server.sessions and not ended:
            ended.append(0)
            ended[0] = world.engine.shutdown(0)

    world.clock = end
    with world.asking(transport="websocket") as (client, serve):
        serve()
        assert read_all(client).endswith(b"\x88\x02" + (1001).to_bytes(2, "big"))
    assert ended == [0]
    assert not world.engine.server.sessions


@pytest.mark.parametrize("transport", ["websocket", "polling"])
def test_a_client_that_comes_while_the_server_ends_is_not_left_behind(world: World, transport: str) -> None:
    looks: list[None] = []

    def end() -> None:  # before there is a session that the shutdown would see
        if not looks:
            looks.append(None)
            world.engine.shutdown(0)

    world.clock = end
    with world.asking(transport=transport) as (client, serve):
        if transport == "polling":
            assert serve() == ["503 Service Unavailable"]
        else:
            serve()
            assert read_all(client).endswith(b"\x88\x02" + (1001).to_bytes(2, "big"))
    assert not world.engine.server.sessions


def test_a_reactor_without_descriptors_ends_its_connection_and_serves_the_next(world: World) -> None:
    fillers: list[int] = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    def take_all_but_one() -> None:  # enough for the epoll set, not for what watches it
        with contextlib.suppress(OSError):
            while True:
                fillers.append(os.dup(0))
        os.close(fillers.pop())

    world.provider.meanwhile = take_all_but_one  # once
    with world.asking(transport="websocket") as (client, serve):
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 20, hard))
        try:
            with pytest.raises(OSError, match="Too many open files"):
                serve()
        finally:
            for filler in fillers:
                os.close(filler)
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        read_all(client)  # it is told at once
    assert not world.engine.server.sessions
    world.provider.meanwhile = lambda: None
    assert connects(world)
