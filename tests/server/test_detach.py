"""Taking a connection away from a server, and giving it back when that fails half-way."""

from __future__ import annotations

import os
import resource
import select
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from flask_socketio_core.contracts import SocketLocation
from flask_socketio_core.contracts.detach import Detached, detach


@pytest.fixture
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Give a server's socket and its client's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname()[:2], timeout=5)
        server, _ = listener.accept()
    with client, server:
        yield server, client


@pytest.fixture
def detached(connection: tuple[socket.socket, socket.socket]) -> Iterator[Detached]:
    """Give a connection that was taken over."""
    taken = detach(SocketLocation(fd=connection[0].fileno()))
    yield taken
    taken.sock.close()
    taken.body.close()


def test_the_client_talks_to_us(connection: tuple[socket.socket, socket.socket], detached: Detached) -> None:
    _, client = connection
    detached.sock.send(b"to the client")
    assert client.recv(100) == b"to the client"
    client.sendall(b"to us")
    assert wait_readable(detached.sock.fileno())
    assert detached.sock.recv(100) == b"to us"


def test_what_the_server_writes_does_not_reach_the_client(
    connection: tuple[socket.socket, socket.socket], detached: Detached
) -> None:
    server, client = connection
    server.sendall(b"HTTP/1.1 500 Oops\r\n\r\n")
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    detached.sock.send(b"alone")
    assert client.recv(100) == b"alone"


def test_the_server_reads_end_of_file_at_once(
    connection: tuple[socket.socket, socket.socket], detached: Detached
) -> None:
    assert connection[0].recv(100) == b""


@pytest.mark.parametrize("blocking", [True, False])
def test_the_server_s_descriptor_blocks_as_before(
    connection: tuple[socket.socket, socket.socket], blocking: bool
) -> None:
    server, _ = connection
    server.setblocking(blocking)
    taken = detach(SocketLocation(fd=server.fileno()))
    assert os.get_blocking(server.fileno()) is blocking
    assert not os.get_blocking(taken.sock.fileno())
    taken.sock.close()
    taken.body.close()


def test_no_child_program_inherits_anything(
    connection: tuple[socket.socket, socket.socket], detached: Detached
) -> None:
    assert not os.get_inheritable(detached.sock.fileno())
    assert not os.get_inheritable(connection[0].fileno())


def test_what_the_server_had_read_is_ours(connection: tuple[socket.socket, socket.socket]) -> None:
    server, client = connection
    stream = server.makefile("rb")
    client.sendall(b"GET / HTTP/1.1\r\n\r\nfirst frame")
    assert stream.readline() == b"GET / HTTP/1.1\r\n"
    assert stream.readline() == b"\r\n"
    taken = detach(SocketLocation(fd=server.fileno(), read_buffered=stream.read))
    assert taken.first_bytes == b"first frame"
    assert stream.read() == b""
    stream.close()
    taken.sock.close()
    taken.body.close()


def test_the_body_says_101_and_ends_what_the_server_holds(
    connection: tuple[socket.socket, socket.socket], detached: Detached
) -> None:
    said: list[str] = []

    def start_response(status: str, *_: object) -> Any:
        said.append(status)
        return said.append

    body = detached.respond(start_response)
    assert list(body) == []
    body.close()
    assert said == ["101 Switching Protocols"]
    with pytest.raises(BrokenPipeError):
        connection[0].send(b"nobody listens")


def test_no_descriptor_is_kept(connection: tuple[socket.socket, socket.socket]) -> None:
    before = len(os.listdir("/proc/self/fd"))
    taken = detach(SocketLocation(fd=connection[0].fileno()))
    taken.sock.close()
    taken.body.close()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_detach_that_fails_half_way_is_undone(connection: tuple[socket.socket, socket.socket]) -> None:
    server, client = connection
    before = len(os.listdir("/proc/self/fd"))

    def fail() -> bytes:
        raise OSError("the buffer is gone")

    with pytest.raises(OSError, match="the buffer is gone"):
        detach(SocketLocation(fd=server.fileno(), read_buffered=fail))
    server.sendall(b"still the server's")
    assert client.recv(100) == b"still the server's"
    assert len(os.listdir("/proc/self/fd")) == before


def test_without_a_descriptor_left_the_server_keeps_the_connection(
    connection: tuple[socket.socket, socket.socket],
) -> None:
    server, client = connection
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    fillers: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 2, hard))
    try:
        fill(fillers, server.fileno())
        os.close(fillers.pop())  # enough for the first step, not for the second
        with pytest.raises(OSError, match="Too many open files"):
            detach(SocketLocation(fd=server.fileno()))
    finally:
        for filler in fillers:
            os.close(filler)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    server.sendall(b"as before")
    assert client.recv(100) == b"as before"


def fill(fillers: list[int], fd: int) -> None:
    """Take all descriptors that there are."""
    try:
        while True:
            fillers.append(os.dup(fd))
    except OSError:
        pass


def wait_readable(fd: int) -> bool:
    """Wait until a descriptor is readable."""
    return bool(select.select([fd], [], [], 5)[0])
