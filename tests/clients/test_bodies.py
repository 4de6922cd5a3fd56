"""How an HTTP library may send a request's body, and what a broken one comes to, on every kind of server."""

from __future__ import annotations

import socket

import pytest

from support.servers import Server, wait_until
from support.wire.engine import Polling
from support.wire.http import HOST

CHUNKED = "Transfer-Encoding: chunked\r\n\r\n"


def post(session: Polling, rest: str, *, ends: bool = False) -> bytes:
    """Send a POST request from its second line on and return the response's first line, ``b""`` if there is none.

    :param ends: close the connection for writing.
    """
    with socket.create_connection((HOST, session.port), timeout=5) as connection:
        head = f"POST {session.target} HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n"
        connection.sendall((head + rest).encode())
        if ends:
            connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as answer:
            return answer.readline()


@pytest.mark.parametrize("chunks", ["2\r\n40\r\n", "1\r\n4\r\n1\r\n0\r\n"])
def test_a_body_may_come_in_chunks(server: Server, chunks: str) -> None:
    session = Polling(server.port)
    assert b" 200 " in post(session, f"{CHUNKED}{chunks}0\r\n\r\n")
    assert str(session.receive()[0]).startswith("40")


@pytest.mark.parametrize(
    "body",
    [
        pytest.param("Content-Length: 10\r\n\r\n40", id="short body"),
        pytest.param(f"{CHUNKED}zz\r\n40\r\n0\r\n\r\n", id="chunk without a size"),
        pytest.param(f"{CHUNKED}5\r\n40", id="short chunk"),
        pytest.param(f"{CHUNKED}2\r\n40\r\n", id="no last chunk"),
        pytest.param(f"{CHUNKED}fffffffff\r\n40\r\n0\r\n\r\n", id="chunk beyond every limit"),
    ],
)
def test_a_broken_body_ends_its_session_without_a_traceback(server: Server, body: str) -> None:
    session = Polling(server.port)
    begin = len(server.log_text())
    answer = post(session, body, ends=True)
    assert (
        not answer or b" 400 " in answer or b" 413 " in answer
    )  # uWSGI's router answers nobody who ended early
    assert wait_until(lambda: session.post("40").status == 400, timeout_s=5), "the session goes on"
    assert "Traceback" not in server.log_text()[begin:]


def test_a_folded_header_gets_into_no_response(server: Server) -> None:
    session = Polling(server.port)
    begin = len(server.log_text())
    answer = post(session, "Access-Control-Request-Headers: x\r\n Evil: 1\r\nContent-Length: 2\r\n\r\n40")
    # Werkzeug unfolds it, as it may; gunicorn refuses it by itself.
    assert b" 400 " in answer or (server.kind.mode == "threading" and b" 200 " in answer)
    assert "Traceback" not in server.log_text()[begin:]
