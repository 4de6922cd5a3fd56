"""The engine over TLS that Python itself ends: the blocking shell, in every mode."""

from __future__ import annotations

import concurrent.futures
import contextlib
import http.client
import importlib.util
import json
import os
import signal
import ssl
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_socketio_core.testing.ports import free_port
from flask_socketio_core.testing.rawclient import BINARY, CLOSE, TEXT, RawClient, get, handshake, masked
from support.servers import CORE, TESTS, wait_for_end, wait_until
from support.tls import certificate, needs_openssl

PATH = "/socket.io/?EIO=4&transport=websocket"
MODES = ("threading", "eventlet", "gevent")

pytestmark = [needs_openssl, pytest.mark.timeout(60)]


class EncryptedServer:
    """An application served with TLS, in a process of its own."""

    def __init__(self, mode: str, directory: Path) -> None:
        certfile, keyfile = certificate()
        self.mode = mode
        self.port = free_port()
        self.log = directory / "log.txt"
        environment = {
            "PYTHONPATH": str(TESTS),
            "APP_UNDER_TEST": "ending",
            "LIBRARY_UNDER_TEST": CORE,
            "OPTIONS_UNDER_TEST": json.dumps({"async_mode": mode, "websocket_compression": True}),
            "RUN_UNDER_TEST": json.dumps({"certfile": certfile, "keyfile": keyfile}),
        }
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "support.apps.launch", str(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, **environment},
            )

    def is_ready(self) -> bool:
        """Say whether it answers."""
        assert self.process.poll() is None, self.log.read_text()
        try:
            return bool(get(self.port, "/ready", tls=True))
        except (OSError, EOFError):
            return False

    def join(self, header: bytes = b"") -> RawClient:
        """Connect a client to the default namespace.

        :param header: one more header of its handshake.
        """
        client = RawClient(self.port, tls=True)
        client.send(handshake(PATH).removesuffix(b"\r\n") + header + b"\r\n")
        assert client.read_head().startswith("HTTP/1.1 101 ")
        assert client.read_frame()[1].startswith(b'0{"sid"')
        client.send(masked(TEXT, b"40"))
        assert client.read_frame()[1].startswith(b'40{"sid"')
        return client


@contextlib.contextmanager
def serving_encrypted(mode: str, directory: Path) -> Iterator[EncryptedServer]:
    """Serve with TLS in a mode."""
    if mode != "threading" and importlib.util.find_spec(mode) is None:
        pytest.skip(f"{mode} is not installed")
    running = EncryptedServer(mode, directory)
    try:
        assert wait_until(running.is_ready, timeout_s=30), running.log.read_text()
        yield running
    finally:
        running.process.kill()
        running.process.wait()


@pytest.fixture(scope="module", params=MODES)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EncryptedServer]:
    """Give a server that all tests share."""
    with serving_encrypted(request.param, tmp_path_factory.mktemp("encrypted")) as running:
        yield running


def test_text_and_binary_events_are_acknowledged(server: EncryptedServer) -> None:
    with server.join() as client:
        client.send(masked(TEXT, b'421["echo",5]'))
        assert client.read_frame() == (TEXT, b"431[5]")
        client.send(masked(TEXT, b'451-2["echo",{"_placeholder":true,"num":0}]') + masked(BINARY, b"bytes"))
        assert client.read_frame() == (TEXT, b'461-2[{"_placeholder":true,"num":0}]')
        assert client.read_frame() == (BINARY, b"bytes")


def test_both_directions_are_used_at_once(server: EncryptedServer) -> None:
    with server.join() as client:
        for _ in range(10):
            for number in range(40):
                client.send(masked(TEXT, b'42%d["echo","%s"]' % (number, b"x" * 1000)))
            answers = {client.read_frame()[1].partition(b"[")[0] for _ in range(40)}
            assert answers == {b"43%d" % number for number in range(40)}


def test_messages_are_compressed_for_a_client_that_offers_it(server: EncryptedServer) -> None:
    text = b"compress me " * 200
    with server.join(b"Sec-WebSocket-Extensions: permessage-deflate\r\n") as client:
        client.send(masked(TEXT, b'421["echo","%s"]' % text))
        _, answer = client.read_frame()
        assert len(answer) < 100
        assert zlib.decompressobj(wbits=-15).decompress(answer) == b'431["%s"]' % text


def test_headers_are_added_to_the_answer_to_a_handshake(server: EncryptedServer) -> None:
    with RawClient(server.port, tls=True) as client:
        client.send(handshake(PATH))
        assert "X-First: True" in client.read_head().split("\r\n")


def test_a_poll_waits_and_is_answered(server: EncryptedServer) -> None:
    def ask(method: str, more: str = "", body: bytes | None = None) -> str:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=10, context=context)
        with contextlib.closing(connection):
            connection.request(method, f"/socket.io/?EIO=4&transport=polling{more}", body)
            return connection.getresponse().read().decode()

    sid = f"&sid={json.loads(ask('GET')[1:])['sid']}"
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        poll = executor.submit(ask, "GET", sid)
        assert not concurrent.futures.wait([poll], timeout=0.3).done
        assert ask("POST", sid, b"1") == "ok"
        assert poll.result(timeout=5) == "6"


def test_a_client_that_does_not_speak_tls_ends_only_itself(server: EncryptedServer) -> None:
    with server.join() as client:
        with RawClient(server.port) as stranger:
            stranger.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            stranger.read_rest()
        client.send(masked(TEXT, b'421["echo",5]'))
        assert client.read_frame() == (TEXT, b"431[5]")
        assert server.is_ready()


@pytest.mark.parametrize("mode", MODES)
def test_a_signal_tells_the_clients_and_ends_the_server(mode: str, tmp_path: Path) -> None:
    with serving_encrypted(mode, tmp_path) as server, server.join() as client:
        server.process.send_signal(signal.SIGTERM)
        frames = [client.read_frame()]
        while frames[-1][0] != CLOSE:
            frames.append(client.read_frame())
        assert wait_for_end(server.process, 8, server.log.read_text) == 0
        assert server.log.read_text().count("farewell in ") == 1
