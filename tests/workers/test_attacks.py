"""What strangers and broken processes do to a worker's socket, and clients to the workers: nobody else notices."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flask_socketio_core.transport.handover.messages import MOST_HEAD_BYTES, POST, WEBSOCKET, Request, encode
from support.servers import (
    GEVENT_WORKERS,
    GTHREAD_WORKERS,
    AppSpec,
    ServerKind,
    kind_params,
    serving,
    wait_until,
)

from .at import At, Session, Workers, connected, descriptors, is_closed, returns_to

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.wire.http import Response

DETACHING = (GTHREAD_WORKERS, GEVENT_WORKERS)
LIMIT = 100_000
OPTIONS = {"max_http_buffer_size": LIMIT, "cors_allowed_origins": ["http://good.example"]}
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@pytest.fixture(scope="module", params=kind_params(*DETACHING))
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    kind: ServerKind = request.param
    with tempfile.TemporaryDirectory() as runtime:  # pytest's own are too long for a socket
        env = {"XDG_RUNTIME_DIR": runtime, "GUNICORN_CMD_ARGS": "--access-logfile - --keep-alive 5"}
        kind = dataclasses.replace(kind, env=env)
        with serving(kind, AppSpec(app="workers", options=OPTIONS), tmp_path_factory.mktemp("w")) as server:
            found = Workers(server, Path(runtime))
            found.start_all()
            yield found
        assert list(Path(runtime).iterdir()) == []


@pytest.fixture
def workers(running: Workers) -> Iterator[Workers]:
    yield running
    running.close()


@pytest.fixture
def session(workers: Workers) -> Session:
    """A session, and another worker that knows the one which has it."""
    return workers.session()


@pytest.fixture
def elsewhere(workers: Workers, session: Session) -> At:
    """A connection to a worker that has not the session."""
    return workers.at(but={session.pid})


def serves(workers: Workers, session: Session) -> bool:
    """Return whether requests of a session are still served, wherever they come."""
    return all(
        echoes(session, at) for at in (workers.at(wanted={session.pid}), workers.at(but={session.pid}))
    )


def echoes(session: Session, at: At) -> bool:
    """Return whether a session's worker answers an event that comes on this connection, with a poll on it, too."""
    session.post(at, '420["echo",1]')
    return session.poll(at) == [f"430[[{session.pid},1]]"]


# -------------------------------------------------------------------------------------------------- forged ids


def test_a_forged_sid_is_refused_where_it_arrives(workers: Workers, session: Session, elsewhere: At) -> None:
    path = workers.socket_of(session)
    sid = session.sid
    other = "A" if sid[-1] != "A" else "B"
    middle = "A" if sid[10] != "A" else "B"
    moved = path.with_name("f" * 12)
    os.rename(path, path.with_name(".hidden"))  # would answer if it was asked
    try:
        forged = [sid[:-1] + other, sid[:10] + middle + sid[11:], sid[:4] + "A" * 20, sid + "A", sid[:-1]]
        forged += ["%00" * 24, "%C3%A9" * 24, "../../../x", sid[:4] + "%2F" * 20]
        for text in forged:
            for method, body in (("GET", b""), ("POST", b"2")):
                where = f"/socket.io/?EIO=4&transport=polling&sid={text}"
                answer = elsewhere.request(method, where, body)
                assert (answer.status, json.loads(answer.body)["code"]) == (400, 1), (text, answer)
    finally:
        os.rename(path.with_name(".hidden"), path)
    assert not moved.exists()


# --------------------------------------------------------------------------------------- at the worker's socket


def rights(*fds: int) -> list[tuple[int, int, bytes]]:
    return [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack(f"{len(fds)}i", *fds))]


UPGRADE = Request(kind=WEBSOCKET, sid="nobody's", head="HTTP/1.1 101 Switching Protocols\r\n\r\n")


def broken_json(pair: tuple[socket.socket, socket.socket]) -> tuple[bytes, list[Any]]:
    return struct.pack(">II", 3, 0) + b"{{{", rights(pair[0].fileno())


def wrong_types(pair: tuple[socket.socket, socket.socket]) -> tuple[bytes, list[Any]]:
    head = json.dumps({"kind": "websocket", "sid": 5, "headers": 7}).encode()
    return struct.pack(">II", len(head), 0) + head, rights(pair[0].fileno())


def several(pair: tuple[socket.socket, socket.socket]) -> tuple[bytes, list[Any]]:
    return encode(UPGRADE), rights(*[pair[0].fileno()] * 2)


def very_many(pair: tuple[socket.socket, socket.socket]) -> tuple[bytes, list[Any]]:
    return encode(UPGRADE), rights(*[pair[0].fileno()] * 200)


def a_file(pair: tuple[socket.socket, socket.socket]) -> tuple[bytes, list[Any]]:
    with open(__file__, "rb") as file:
        return encode(UPGRADE), rights(os.dup(file.fileno()))


def file_and_socket(pair: tuple[socket.socket, socket.socket]) -> tuple[bytes, list[Any]]:
    with open(__file__, "rb") as file:
        return encode(UPGRADE), rights(os.dup(file.fileno()), pair[0].fileno())


def too_large(pair: tuple[socket.socket, socket.socket]) -> tuple[bytes, list[Any]]:
    return encode(Request(kind=POST, sid="x"), bytes(LIMIT + 1)), rights(pair[0].fileno())


def too_long_a_head(pair: tuple[socket.socket, socket.socket]) -> tuple[bytes, list[Any]]:
    return struct.pack(">II", MOST_HEAD_BYTES + 1, 0), rights(pair[0].fileno())


def two_messages(pair: tuple[socket.socket, socket.socket]) -> tuple[bytes, list[Any]]:
    return 2 * encode(UPGRADE), rights(pair[0].fileno())


def no_connection(pair: tuple[socket.socket, socket.socket]) -> tuple[bytes, list[Any]]:
    return encode(UPGRADE), []


def http(pair: tuple[socket.socket, socket.socket]) -> tuple[bytes, list[Any]]:
    return b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", []


BROKEN = [
    broken_json,
    wrong_types,
    several,
    very_many,
    a_file,
    file_and_socket,
    too_large,
    too_long_a_head,
    two_messages,
    no_connection,
    http,
]


@pytest.mark.parametrize("make", BROKEN, ids=lambda make: make.__name__)
def test_a_broken_request_ends_its_connection_only(
    workers: Workers, session: Session, make: Callable[..., tuple[bytes, list[Any]]]
) -> None:
    path = workers.socket_of(session)
    before = descriptors(session.pid)
    for _ in range(20):
        pair = socket.socketpair()
        data, ancillary = make(pair)
        with connected(path) as sock:
            sent = sock.sendmsg([data], ancillary)
            pair[0].close()
            try:
                sock.sendall(data[sent:])
            except (BrokenPipeError, ConnectionResetError):
                pass
            assert is_closed(sock)
        if ancillary and make is not a_file:
            pair[1].settimeout(5)
            assert is_closed(pair[1]), "the descriptor is still open somewhere"
        pair[1].close()
        for _, _, fds in ancillary:
            for fd in set(struct.unpack(f"{len(fds) // 4}i", fds)):
                if make in (a_file, file_and_socket) and os.path.exists(f"/proc/self/fd/{fd}"):
                    os.close(fd)
    returns_to(session.pid, before)
    assert serves(workers, session)


def test_a_descriptor_for_each_byte_is_too_many(workers: Workers, session: Session) -> None:
    before = descriptors(session.pid)
    pair = socket.socketpair()
    with connected(workers.socket_of(session)) as sock:
        for byte in encode(UPGRADE)[:20]:
            try:
                sock.sendmsg([bytes([byte])], rights(pair[0].fileno()))
            except (BrokenPipeError, ConnectionResetError):
                break
            time.sleep(0.005)
        assert is_closed(sock)
    pair[0].close()
    assert is_closed(pair[1])
    pair[1].close()
    returns_to(session.pid, before)


def test_a_connection_for_an_unknown_session_is_answered_and_closed(
    workers: Workers, session: Session
) -> None:
    before = descriptors(session.pid)
    ours, theirs = socket.socketpair()
    with connected(workers.socket_of(session)) as sock:
        sock.sendmsg([encode(UPGRADE)], rights(theirs.fileno()))
        theirs.close()
        assert is_closed(sock)
    ours.settimeout(5)
    answer = b"".join(iter(lambda: ours.recv(65_536), b""))
    assert answer.startswith(b"HTTP/1.1 400 ") and b"Session ID unknown" in answer
    ours.close()
    returns_to(session.pid, before)


@pytest.mark.timeout(60)
def test_silence_and_the_end_in_the_middle_cost_nothing(workers: Workers, session: Session) -> None:
    path = workers.socket_of(session)
    before = descriptors(session.pid)
    half = encode(UPGRADE)[:30]
    pair = socket.socketpair()
    with ExitStack() as stack:
        silent = [stack.enter_context(connected(path)) for _ in range(3)]
        silent[1].sendall(half[:3])
        silent[2].sendmsg([half], rights(pair[0].fileno()))
        pair[0].close()
        for data in (b"", half[:1], half):
            connected(path).close()
            with connected(path) as sock:
                sock.sendall(data)
        returns_to(session.pid, before + 4)
        assert serves(workers, session)
        begun = time.monotonic()
        assert all(is_closed(sock) for sock in silent)
        assert time.monotonic() - begun < 12
    assert is_closed(pair[1])
    pair[1].close()
    returns_to(session.pid, before)


@pytest.mark.timeout(60)
def test_thousands_of_connections_take_nobodys_place(
    workers: Workers, session: Session, elsewhere: At
) -> None:
    path = workers.socket_of(session)
    before = descriptors(session.pid)
    with ExitStack() as stack:
        for _ in range(2000):
            stack.enter_context(connected(path))
        assert echoes(session, elsewhere)
    returns_to(session.pid, before, timeout_s=10)
    assert serves(workers, session)


CONNECT_AS_NOBODY = """
import os, socket, sys
os.chdir(sys.argv[1])
os.setuid(65534)
sock = socket.socket(socket.AF_UNIX)
sock.settimeout(5)
sock.connect(sys.argv[2])
try:
    sock.sendall(b"x")
    print(sock.recv(100))
except ConnectionError:
    print(b"")
"""


@as_root
def test_another_user_is_refused_and_named(workers: Workers, session: Session) -> None:
    path = workers.socket_of(session)
    before = descriptors(session.pid)
    path.chmod(0o777)  # so that nothing but the check of the user keeps others out
    path.parent.chmod(0o711)
    try:
        command = [sys.executable, "-c", CONNECT_AS_NOBODY, str(path.parent), path.name]
        found = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    finally:
        path.parent.chmod(0o700)
    assert found.stdout == "b''\n"
    said = "which belongs to user 65534"
    assert wait_until(lambda: said in workers.server.log_text(), timeout_s=5)
    returns_to(session.pid, before)


# ------------------------------------------------------------------------------ the same answers everywhere


def summary(answer: Response) -> tuple[int, bytes, dict[str, str]]:
    """Return what a client sees of an answer."""
    hidden = ("date", "server")
    return answer.status, answer.body, {k: v for k, v in answer.headers.items() if k not in hidden}


def asked(at: At, session: Session, method: str, body: bytes, headers: dict[str, str]) -> tuple[Any, ...]:
    at.begin(method, session.target, body, headers)
    if len(body) < int(headers.get("Content-Length", 0)):
        at.sock.shutdown(socket.SHUT_WR)
    answer = summary(at.answer())
    at.sock.close()  # or gunicorn's threaded worker waits for that, for 2 s, and does nothing else
    return answer


REQUESTS: dict[str, tuple[str, bytes, dict[str, str]]] = {
    "too large": ("POST", b"4" * (LIMIT + 1), {}),
    "announced too large": ("POST", b"", {"Content-Length": "999999999999"}),
    "chunked": ("POST", b'10\r\n42["echo",12345]\r\n0\r\n\r\n', {"Transfer-Encoding": "chunked"}),
    "chunked too large": (
        "POST",
        b"%x\r\n%s\r\n0\r\n\r\n" % (LIMIT + 1, b"4" * (LIMIT + 1)),
        {"Transfer-Encoding": "chunked"},
    ),
    "short": ("POST", b"42", {"Content-Length": "20"}),
    "no packet": ("POST", b"x", {}),
    "empty": ("POST", b"", {}),
    "not UTF-8": ("POST", b"4\xff", {}),
    "too many packets": ("POST", b"\x1e".join([b"2"] * 100), {}),
    "a method": ("PUT", b"", {}),
    "an option": ("OPTIONS", b"", {"Origin": "http://good.example", "Access-Control-Request-Method": "POST"}),
    "an origin": ("POST", b'42["echo"]', {"Origin": "http://good.example"}),
    "a bad origin": ("POST", b'42["echo"]', {"Origin": "http://bad.example"}),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_a_request_is_answered_alike_at_the_right_and_at_the_wrong_worker(
    workers: Workers, name: str
) -> None:
    answers = []
    states = []
    for wrong in (False, True):
        session = workers.session()
        at = workers.at(but={session.pid}) if wrong else workers.at(wanted={session.pid})
        answers.append(asked(at, session, *REQUESTS[name]))
        after = workers.at(wanted={session.pid}).request("POST", session.target, b"3")
        states.append((after.status, after.body))
    assert answers[0] == answers[1]
    assert states[0] == states[1], "the session has ended in one case only"


#: What differs where a poll goes to its session's worker with its connection, which that worker closes.
PER_CONNECTION = ("connection", "keep-alive")


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br"])
def test_a_poll_is_answered_alike_at_the_right_and_at_the_wrong_worker(
    workers: Workers, encoding: str
) -> None:
    found = []
    for wrong in (False, True):
        session = workers.session()
        at = workers.at(but={session.pid}) if wrong else workers.at(wanted={session.pid})
        session.post(at, f'420["echo","{"x" * 5000}"]')
        headers = {"Origin": "http://good.example", "Accept-Encoding": encoding}
        answer = at.request("GET", session.target, headers=headers)
        status, body, fields = summary(answer)
        for name in ("content-length", *PER_CONNECTION):
            fields.pop(name, None)
        found.append((status, len(body) > 5000, fields))
    assert found[0] == found[1]
    assert found[0][2]["access-control-allow-origin"] == "http://good.example"
    assert found[0][1] is (encoding == "br")


def test_a_poll_of_another_worker_is_logged_once_where_it_has_come(
    workers: Workers, session: Session, elsewhere: At
) -> None:
    mark = f"mark-{session.sid}"
    elsewhere.begin("GET", f"{session.target}&{mark}=1")
    time.sleep(0.2)
    session.post(workers.at(wanted={session.pid}), '420["echo",1]')
    assert elsewhere.answer().status == 200

    def lines() -> list[str]:
        return [line for line in workers.server.log_text().splitlines() if mark in line]

    assert wait_until(lambda: len(lines()) == 1, timeout_s=5), lines()
    assert '" 200 ' in lines()[0]
