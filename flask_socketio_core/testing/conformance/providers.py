"""What every WebSocket provider must do, as tests that a plugin's author imports.

::

    class TestMyProvider(WebSocketProviderConformance):
        mode = "my_package.mode:MyMode"
        provider = "my_package.websocket:MyProvider"

The server runs in a process of its own, with :mod:`flask_socketio_core.testing.echo` as its application. Override
:meth:`~WebSocketProviderConformance.command` for a server that is not the mode's own, set ``environment`` (``PATCH``
for a green library), and ``form`` to ``"blocking"`` for a provider without a detachable form.
"""

from __future__ import annotations

import os
import re
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ..ports import free_port
from ..rawclient import BINARY, CLOSE, PING, PONG, TEXT, RawClient, get, masked
from .guard import refuse_overrides

#: Announced and sent in pieces: more than the limit and the buffers of two sockets together.
HUGE_BYTES = 16_000_000
PIECE_BYTES = 16_384
COMPLAINT = re.compile(r"Traceback \(most recent call last\):|\b(ERROR|CRITICAL)\b|Exception ignored")
#: Patches before anything else is imported, Flask included, as a program of a green mode does.
PROGRAM = """\
import importlib, os, runpy
module, _, function = os.environ.pop("PATCH", "").partition(":")
if module:
    getattr(importlib.import_module(module), function)()
runpy.run_module("flask_socketio_core.testing.echo", run_name="__main__", alter_sys=True)
"""
READY_S = 15.0
STOP_S = 8.0
#: Seconds after which a server has noticed that its clients are gone.
SETTLE_S = 5.0


@dataclass(frozen=True, slots=True)
class EchoServer:
    """A running server.

    :param port: where it listens on loopback.
    :param tls: whether it speaks TLS.
    :param log: the file that it writes its output to.
    """

    port: int
    tls: bool
    log: Path

    def client(self) -> RawClient:
        """Connect."""
        return RawClient(self.port, tls=self.tls)

    def state(self) -> dict[str, Any]:
        """Ask for what its process holds."""
        state: dict[str, Any] = get(self.port, tls=self.tls)
        return state

    def complaints(self) -> list[str]:
        """Return the lines of its log that tell of an error, each traceback as its last line."""
        lines = self.log.read_text(errors="replace").splitlines()
        return [_told(lines, number) for number, line in enumerate(lines) if COMPLAINT.search(line)]

    def wait_for(self, **wanted: int) -> dict[str, Any]:
        """Wait until the state has these values at most."""
        deadline_s = time.monotonic() + SETTLE_S
        while True:
            state = self.state()
            if all(state[name] <= value for name, value in wanted.items()):
                return state
            assert time.monotonic() < deadline_s, f"waited for {wanted}, the server has {state}"
            time.sleep(0.05)


def _told(lines: list[str], number: int) -> str:
    """Return a line, and of a traceback the line behind it that is not indented."""
    rest = (line for line in lines[number + 1 :] if line and not line.startswith((" ", "\t")))
    return f"{lines[number]} ... {next(rest, '')}" if lines[number].endswith("last):") else lines[number]


class WebSocketProviderConformance:
    """Subclass it, and name the mode and the provider."""

    mode: ClassVar[str]
    provider: ClassVar[str]
    form: ClassVar[str] = "detached"
    environment: ClassVar[dict[str, str]] = {}
    #: The bytes that a client sends behind its handshake, without waiting for the answer, are lost in the server.
    loses_early_bytes: ClassVar[bool] = False
    #: The server has a function of its own that answers the handshake, which is called in place of start_response.
    has_own_handshake: ClassVar[bool] = False

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        refuse_overrides(WebSocketProviderConformance, cls)

    @classmethod
    def command(cls, port: int) -> list[str]:
        """Return the command that serves on a port of loopback."""
        return [sys.executable, "-c", PROGRAM, cls.mode, cls.provider, str(port)]

    @pytest.fixture(scope="class")
    @classmethod
    def server(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[EchoServer]:
        """Run the server for all tests of the class."""
        port = free_port()
        log = tmp_path_factory.mktemp("server") / "log.txt"
        environment = {**os.environ, "MODE": cls.mode, "PROVIDER": cls.provider, **cls.environment}
        with log.open("wb") as output:
            process = subprocess.Popen(
                cls.command(port), stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
            )
        server = EchoServer(port, "TLS" in cls.environment, log)
        try:
            _wait_ready(server, process)
            yield server
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def test_a_message_comes_back(self, server: EchoServer) -> None:
        with server.client().upgrade() as client:
            assert client.echo(b"hello") == b"hello"
            assert client.echo(b"again") == b"again"

    @pytest.mark.parametrize("payload", [b"", b"\x00\x01\xff", b"AZaz09", b"\x04binary"])
    def test_a_binary_message_stays_one(self, server: EchoServer, payload: bytes) -> None:
        with server.client().upgrade() as client:
            assert client.echo(payload, BINARY) == payload

    @pytest.mark.parametrize("size", [125, 126, 65_535, 65_536, 900_000])
    def test_large_messages_come_back_whole(self, server: EchoServer, size: int) -> None:
        payload = os.urandom(size)
        with server.client().upgrade() as client:
            assert client.echo(payload, BINARY) == payload

    def test_nothing_follows_the_handshake(self, server: EchoServer) -> None:
        with server.client().upgrade() as client:
            assert client.silence(0.3) == b""

    def test_the_connection_is_taken_in_the_form_that_is_promised(self, server: EchoServer) -> None:
        with server.client().upgrade() as client:
            client.echo(b"here")
            assert server.state()[self.form] >= 1

    def test_a_frame_in_small_pieces_is_put_together(self, server: EchoServer) -> None:
        with server.client().upgrade() as client:
            for byte in masked(TEXT, b"slowly"):
                client.send(bytes((byte,)))
                time.sleep(0.002)
            assert client.read_frame() == (TEXT, b"slowly")

    def test_frames_sent_with_the_handshake_are_not_lost(self, server: EchoServer) -> None:
        if self.loses_early_bytes:
            pytest.skip("this server loses what comes before its answer")
        with server.client().upgrade(more=masked(TEXT, b"early") + masked(TEXT, b"bird")) as client:
            assert client.read_frame() == (TEXT, b"early")
            assert client.read_frame() == (TEXT, b"bird")
            assert client.echo(b"later") == b"later"

    def test_a_request_behind_the_handshake_is_not_executed(self, server: EchoServer) -> None:
        before = server.state()["requests"]
        with server.client().upgrade(more=b"GET /pipelined HTTP/1.1\r\nHost: x\r\n\r\n") as client:
            if not self.loses_early_bytes:
                assert client.read_frame()[0] == CLOSE
            assert b"HTTP" not in client.silence(0.3)
        assert server.state()["requests"] == before + 1

    def test_a_ping_is_answered(self, server: EchoServer) -> None:
        with server.client().upgrade() as client:
            client.send(masked(PING, b"are you there"))
            assert client.read_frame() == (PONG, b"are you there")

    def test_a_close_frame_is_answered_and_ends_the_connection(self, server: EchoServer) -> None:
        with server.client().upgrade() as client:
            client.send(masked(CLOSE, b"\x03\xe8bye"))
            assert close_code(client) == 1000
            assert client.read_rest() == b""

    def test_too_large_a_message_is_refused_before_it_is_there(self, server: EchoServer) -> None:
        message = masked(BINARY, b"x" * HUGE_BYTES)
        codes = []
        for _ in range(3):
            with server.client().upgrade() as client:
                assert send_until_answered(client, message) < HUGE_BYTES
                try:
                    codes.append(close_code(client))
                    break
                except OSError:
                    pass  # what had arrived when the server closed makes its system send a reset, which overtakes
        assert codes == [1009]

    def test_a_frame_without_a_mask_ends_the_connection(self, server: EchoServer) -> None:
        with server.client().upgrade() as client:
            client.send(b"\x81\x02hi")
            assert close_code(client) == 1002

    def test_many_connections_give_back_what_they_took(self, server: EchoServer) -> None:
        server.wait_for(detached=0, blocking=0)
        before = server.state()["fds"]
        clients = [server.client().upgrade() for _ in range(20)]
        for number, client in enumerate(clients):
            assert client.echo(b"%d" % number) == b"%d" % number
        for client in clients:
            client.sock.close()
        server.wait_for(fds=before, detached=0, blocking=0)

    def test_a_client_that_vanishes_in_mid_frame_ends_only_itself(self, server: EchoServer) -> None:
        with server.client().upgrade() as survivor:
            with server.client().upgrade() as victim:
                victim.send(masked(TEXT, b"half a frame")[:9])
                victim.reset()
            assert survivor.echo(b"still here") == b"still here"

    def test_quiet_connections_cost_no_processor_time(self, server: EchoServer) -> None:
        clients = [server.client().upgrade() for _ in range(10)]
        time.sleep(0.3)
        before_s = server.state()["cpu_s"]
        time.sleep(0.6)
        spent_s = server.state()["cpu_s"] - before_s
        for client in clients:
            client.sock.close()
        assert spent_s < 0.12

    def test_the_server_goes_on_serving_requests(self, server: EchoServer) -> None:
        with server.client().upgrade() as client:
            for _ in range(5):
                assert server.state()["pid"] > 0
            assert client.echo(b"both") == b"both"

    def test_a_request_of_long_polling_is_answered_wherever_its_connection_is(
        self, server: EchoServer
    ) -> None:
        """``locate`` is called for those, too; middleware may add to what ``start_response`` is given."""
        before = server.state()["fds"]
        for _ in range(10):
            assert get(server.port, "/poll", tls=server.tls)["form"] in ("kept", "taken")
            assert get(server.port, "/poll/hidden", tls=server.tls)["form"] == "kept"
        server.wait_for(fds=before)

    def test_the_blocking_form_calls_start_response(self, server: EchoServer) -> None:
        if self.has_own_handshake:
            pytest.skip("this server has a function of its own that answers the handshake")
        with server.client().upgrade() as client:
            client.echo(b"here")
            assert server.state()["without_start_response"] == 0

    def test_the_server_has_logged_no_error(self, server: EchoServer) -> None:
        # The last one, so that it sees what the others have done.
        with server.client().upgrade() as client:
            client.echo(b"here")
            client.reset()
        server.wait_for(detached=0, blocking=0)
        assert server.complaints() == []


def close_code(client: RawClient) -> int:
    """Return the code of the close frame that comes next; with it there may be a reason."""
    opcode, payload = client.read_frame()
    assert opcode == CLOSE
    return int.from_bytes(payload[:2], "big")


def send_until_answered(client: RawClient, data: bytes) -> int:
    """Send until the server says something or reads no more; return how many bytes were sent."""
    for start in range(0, len(data), PIECE_BYTES):
        readable, _, _ = select.select([client.sock], [], [], 0.005)
        if readable:
            return start
        try:
            client.send(data[start : start + PIECE_BYTES])
        except OSError:
            return start
    return len(data)


def _wait_ready(server: EchoServer, process: subprocess.Popen[bytes]) -> None:
    deadline_s = time.monotonic() + READY_S
    while not _answers(server):
        if process.poll() is not None or time.monotonic() > deadline_s:
            raise AssertionError(
                f"the server does not answer; it wrote:\n{server.log.read_text(errors='replace')}"
            )
        time.sleep(0.05)


def _answers(server: EchoServer) -> bool:
    try:
        return bool(server.state())
    except (OSError, EOFError):
        return False
