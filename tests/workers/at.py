"""Requests that come to the worker that the test has chosen: on a connection which that worker has accepted before."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import socket
import time
from typing import TYPE_CHECKING

from flask_socketio_core.testing.rawclient import TEXT, RawClient, handshake, masked
from flask_socketio_core.transport.handover.sids import TAG, tag_of
from support.servers import descendants, serving, wait_until
from support.wire.engine import decode_payload, encode_payload, parse_open, target
from support.wire.http import Response

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from support.servers import AppSpec, Server, ServerKind

BATCH = 8
BATCHES = 60
PAUSE_S = 0.05


class At(RawClient):
    """A connection that a worker has accepted; its web server keeps it for the next request.

    Where the answer was the last one on it, the next request goes to the same worker on another connection.
    """

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._port = port
        self._ended = False
        self.pid = int(json.loads(self.request("GET", "/ready").body)["pid"])

    def begin(
        self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> None:
        """Send a request, and do not wait for the answer."""
        if self._ended:
            self._come_again()
        lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if method == "POST" and not {"Transfer-Encoding", "Content-Length"} & set(headers or {}):
            lines.append(f"Content-Length: {len(body)}")
        self.send("\r\n".join([*lines, "", ""]).encode() + body)

    def answer(self, *, timeout_s: float = 5.0) -> Response:
        """Read the response.

        :raises EOFError: if the connection ends without one.
        :raises TimeoutError: if nothing comes.
        """
        self.sock.settimeout(timeout_s)
        first, *lines = self.read_head().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        self._ended = headers.get("connection", "").lower() == "close"
        return Response(int(first.split()[1]), headers, self._take(int(headers.get("content-length", 0))))

    def _come_again(self) -> None:
        for _ in range(BATCHES):
            batch = [At(self._port) for _ in range(BATCH)]
            found = next((at for at in batch if at.pid == self.pid), None)
            for at in batch:
                if at is not found:
                    at.sock.close()
            if found is not None:
                self.sock.close()
                self.sock, self._ended = found.sock, False
                return
            time.sleep(PAUSE_S)
        raise AssertionError(f"no connection came to {self.pid}")

    def request(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        timeout_s: float = 5.0,
    ) -> Response:
        """Send a request and read the response."""
        self.begin(method, target, body, headers)
        return self.answer(timeout_s=timeout_s)

    def begin_upgrade(self, sid: str) -> None:
        """Ask for the upgrade of a session."""
        self.send(handshake(target(transport="websocket", sid=sid)))

    def say(self, text: str) -> None:
        """Send a packet over the WebSocket."""
        self.send(masked(TEXT, text.encode()))

    def upgrade_session(self, sid: str) -> None:
        """Upgrade a session, up to the point at which it is on WebSocket."""
        self.begin_upgrade(sid)
        head = self.read_head()
        assert head.startswith("HTTP/1.1 101 "), head
        self.say("2probe")
        assert self.read_frame() == (TEXT, b"3probe")
        self.say("5")


class Session:
    """A polling session, which is in namespace ``/``; each request names the connection on which it goes.

    :param at: a connection to the worker that has it.
    :param path: at which it is served.
    """

    def __init__(self, at: At, path: str = "/socket.io/") -> None:
        self.pid = at.pid
        self.sid = parse_open(at.request("GET", target(path, transport="polling")).text).sid
        self.target = target(path, transport="polling", sid=self.sid)
        self.post(at, "40")
        assert str(self.poll(at)[0]).startswith("40")

    def post(self, at: At, *packets: str) -> None:
        """Send packets."""
        answer = at.request("POST", self.target, encode_payload(*packets).encode())
        assert (answer.status, answer.text) == (200, "ok"), answer

    def poll(self, at: At, *, timeout_s: float = 5.0) -> list[str | bytes]:
        """Poll once."""
        answer = at.request("GET", self.target, timeout_s=timeout_s)
        assert answer.status == 200, answer
        return decode_payload(answer.text)


class Workers:
    """The workers of a server.

    :param runtime: the directory in which theirs is made.
    """

    def __init__(self, server: Server, runtime: Path) -> None:
        self.server = server
        self.runtime = runtime
        self._open: list[RawClient] = []

    def pids(self) -> set[int]:
        """Return the processes that serve."""
        return set(descendants(self.server.process.pid))

    def at(self, *, wanted: set[int] | None = None, but: set[int] = frozenset()) -> At:  # type: ignore[assignment]
        """Connect to a worker: to one of those wanted, and to none of the others."""
        for _ in range(BATCHES):
            batch = [At(self.server.port) for _ in range(BATCH)]
            found = next(
                (at for at in batch if at.pid not in but and (wanted is None or at.pid in wanted)), None
            )
            for at in batch:
                if at is not found:
                    at.sock.close()
            if found is not None:
                self._open.append(found)
                return found
            time.sleep(PAUSE_S)
        raise AssertionError(f"no connection came to {wanted or 'any'} but {but}, of {self.pids()}")

    def start_all(self) -> None:
        """Have each of them serve, and know the others."""
        for pid in self.pids():
            self.session(wanted={pid})
        self.close()

    def session(self, **choice: set[int]) -> Session:
        """Open a session."""
        return Session(self.at(**choice))

    def socket_of(self, session: Session) -> Path:
        """Return the socket on which the worker of a session listens."""
        (found,) = [
            path
            for path in self.runtime.glob("flask-socketio-*/*/*")
            if path.is_socket() and tag_of(path.name) == session.sid[:TAG]
        ]
        return found

    def close(self) -> None:
        """Close all connections."""
        for client in self._open:
            client.sock.close()
        self._open.clear()


@contextlib.contextmanager
def deployed(kind: ServerKind, spec: AppSpec, runtime: Path, log: Path) -> Iterator[Workers]:
    """Start the workers, which meet in a directory."""
    env = {"XDG_RUNTIME_DIR": str(runtime), "GUNICORN_CMD_ARGS": "--keep-alive 5 --no-control-socket"}
    with serving(dataclasses.replace(kind, env={**env, **kind.env}), spec, log) as server:
        workers = Workers(server, runtime)
        try:
            yield workers
        finally:
            workers.close()


def with_workers(kind: ServerKind, count: int) -> Callable[[int], list[str]]:
    """Return the command of a kind with so many workers."""

    def command(port: int) -> list[str]:
        given = kind.command(port)
        given[given.index("--workers") + 1] = str(count)
        return given

    return command


def descriptors(pid: int) -> int:
    """Count the open descriptors of a process, when it has closed what it is about to close."""
    counts = [-1]

    def calm() -> bool:
        counts.append(len(os.listdir(f"/proc/{pid}/fd")))
        return len(counts) > 10 and len(set(counts[-10:])) == 1

    assert wait_until(calm, timeout_s=10), counts
    return counts[-1]


def returns_to(pid: int, before: int, *, timeout_s: float = 5.0) -> None:
    """Wait until a process has no more open descriptors than before."""
    assert wait_until(lambda: len(os.listdir(f"/proc/{pid}/fd")) <= before, timeout_s=timeout_s), [
        before,
        *(os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")),
    ]


def connected(path: Path) -> socket.socket:
    """Connect to a worker's socket."""
    sock = socket.socket(socket.AF_UNIX)
    sock.settimeout(15)
    sock.connect(str(path))
    return sock


def is_closed(sock: socket.socket) -> bool:
    """Return whether the worker has ended a connection without a word; waits for it."""
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return True
