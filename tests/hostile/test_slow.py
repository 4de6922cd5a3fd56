"""Clients that are slow on purpose, on a server with few threads: alone it stands still, behind nginx it does not."""

from __future__ import annotations

import dataclasses
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from flask_socketio_core.testing.ports import free_port
from support import nginx, web_proxies
from support.servers import (
    GUNICORN_GTHREAD,
    HOST,
    AppSpec,
    Server,
    serving,
    skip_marks,
    wait_until,
)
from support.wire.engine import Polling, WebSocket

THREADS = 4
ATTACKERS = 5
PATIENCE_S = 3.0
"""What nginx is told for a request's head and body."""
ANSWER_S = 1.5
"""A server that takes longer for a small view stands still."""
LARGE = 16
"""Megabytes of an answer: more than the buffers of two connections hold."""

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(shutil.which(nginx.NAME) is None, reason="the program nginx is not installed"),
    *skip_marks(GUNICORN_GTHREAD),
]
OPTIONS = {"outbox_max_bytes": 2 * LARGE * 1_000_000}


def few_threads(port: int) -> list[str]:
    """Return the command for gunicorn."""
    command = GUNICORN_GTHREAD.command(port)
    command[command.index("--threads") + 1] = str(THREADS)
    return command


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    kind = dataclasses.replace(GUNICORN_GTHREAD, command=few_threads)
    with serving(kind, AppSpec(app="protocol", options=OPTIONS), tmp_path_factory.mktemp("slow")) as server:
        yield server


@pytest.fixture(scope="module")
def proxy(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run nginx as the deployment page says, with less patience, and give its port."""
    port = free_port()
    patience = dict.fromkeys(("client_header_timeout", "client_body_timeout"), f"{PATIENCE_S:g}s")
    command = nginx.command(tmp_path_factory.mktemp("nginx"), nginx.site(str(port), server.port, **patience))
    with web_proxies.running(command, lambda: answers(port)):
        yield port


def answers(port: int) -> bool:
    """Say whether a small view is answered."""
    return web_proxies.answers(port, "/ready", timeout_s=ANSWER_S)


def connection(port: int, text: str) -> socket.socket:
    """Connect and send a part of something."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(10)
    sock.connect((HOST, port))
    sock.sendall(text.encode())
    return sock


def half_a_head(port: int, session: Polling) -> socket.socket:
    return connection(port, f"GET {session.target} HTTP/1.1\r\nHost: {HOST}\r\nX-Slow: ")


def half_a_body(port: int, session: Polling) -> socket.socket:
    head = f"POST {session.target} HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 1000\r\n\r\n"
    return connection(port, f'{head}42["message","')


def half_an_answer(port: int, session: Polling) -> socket.socket:
    """Ask for much and read nothing."""
    return connection(port, f"GET {session.target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n")


def prepared(server: Server, slow: Callable[..., object]) -> Polling:
    """Make a session, for which a large answer waits if that is what will be asked for."""
    session = Polling(server.port)
    session.post("40")
    session.receive()
    if slow is half_an_answer:
        session.post(f'42["burst",{LARGE},1000000]')
    return session


@pytest.mark.parametrize("slow", [half_a_head, half_a_body, half_an_answer])
def test_slow_clients_take_threads_of_gunicorn_but_not_behind_nginx(
    server: Server, proxy: int, slow: Callable[[int, Polling], socket.socket]
) -> None:
    sessions = [prepared(server, slow) for _ in range(ATTACKERS)]
    witness = WebSocket(server.port)
    witness.send("40")
    with ExitStack() as stack:
        for session in sessions:
            stack.enter_context(slow(proxy, session))
        time.sleep(0.3)
        assert answers(server.port)
        assert answers(proxy)
    with ExitStack() as stack:
        for session in [prepared(server, slow) for _ in range(ATTACKERS)]:
            stack.enter_context(slow(server.port, session))
        assert wait_until(lambda: not answers(server.port), timeout_s=5)
        witness.send('421["message-with-ack","here"]')  # its WebSocket has no thread
        while witness.receive() != '431["here"]':
            pass
    assert wait_until(lambda: answers(server.port), timeout_s=10)
    witness.close()


def test_nginx_ends_requests_that_do_not_go_on(server: Server, proxy: int) -> None:
    session = Polling(server.port)
    begun_s = time.monotonic()
    with half_a_head(proxy, session) as head, half_a_body(proxy, session) as body:
        for sock in (head, body):
            answer = sock.recv(1000)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 408 ")
            assert PATIENCE_S * 0.9 < time.monotonic() - begun_s < PATIENCE_S + 3
