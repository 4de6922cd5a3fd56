"""Clients that try to make the server keep a lot: what they send, what waits for them, what they never answer.

Each test measures the memory of a real server's process, and the bound is the assertion.
"""

from __future__ import annotations

import json
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from flask_socketio_core.testing.rawclient import BINARY, TEXT, RawClient, masked
from support.servers import MODE_KINDS, UWSGI_GEVENT, AppSpec, Server, kind_params, serving, wait_until
from support.wire.engine import Polling
from support.wire.http import HttpError

MB = 1_000_000
OPTIONS = {
    "max_pending_bytes": 4 * MB,
    "max_total_pending_bytes": 16 * MB,
    "outbox_max_bytes": MB,
    "max_pending_acks": 1000,
    "websocket_compression": True,
    "max_workers": 200,
}
BRACKETS = "42" + json.dumps(["slow", [[]] * 100_000], separators=(",", ":"))
"""0.3 MB of text, about 6.5 MB when it is decoded."""

ATTACK_S = 1.0
"""How long an attacker goes on."""


@pytest.fixture(scope="module", params=kind_params(*MODE_KINDS, UWSGI_GEVENT))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(
        request.param, AppSpec(app="pending", options=OPTIONS), tmp_path_factory.mktemp("memory")
    ) as server:
        yield server


@pytest.fixture(autouse=True)
def gate(server: Server) -> Iterator[None]:
    """Have handlers wait during a test, and finish behind it, before the next one begins."""
    server.post("/gate?open=0")
    yield
    server.post("/gate?open=1")
    seen: list[tuple[int, int]] = []

    def finished() -> bool:
        counts = json.loads(server.get("/counts").body)
        seen.append((counts["waiting"], counts["slow"]))
        return seen[-1][0] == 0 and len(set(seen[-3:])) == 1 and len(seen) >= 3

    assert wait_until(finished, timeout_s=40, interval_s=0.1), seen


def resident(pid: int) -> int:
    """Return what a process has in memory, bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} is gone")


@contextmanager
def grows_at_most(server: Server, most: int) -> Iterator[None]:
    """Watch the server's memory meanwhile."""
    before = peak = resident(server.worker_pid)
    over = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.02):
            peak = max(peak, resident(server.worker_pid))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        over.set()
        watching.join()
    assert peak - before < most, f"{(peak - before) / MB:.0f} MB more than before"


def join(port: int, namespace: str = "", *, compressed: bool = False) -> RawClient:
    """Open a WebSocket and connect; on ``/slow`` nobody answers that."""
    client = RawClient(port)
    head = [
        "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        "Sec-WebSocket-Version: 13",
        *(["Sec-WebSocket-Extensions: permessage-deflate"] if compressed else []),
    ]
    client.send(("\r\n".join(head) + "\r\n\r\n").encode())
    answer = client.read_head()
    assert answer.startswith("HTTP/1.1 101 ")
    if compressed and "permessage-deflate" not in answer:
        client.sock.close()
        pytest.skip("this server's WebSockets are not compressed")
    client.send(masked(TEXT, f"40{namespace}".encode()))
    client.read_frame()
    if not namespace:
        client.read_frame()
    return client


def push(clients: list[RawClient], data: bytes) -> None:
    """Send as much as the server takes in a while, to each client the same."""
    left = {client: memoryview(data) for client in clients}
    until_s = time.monotonic() + ATTACK_S
    for client in clients:
        client.sock.setblocking(False)
    while left and time.monotonic() < until_s:
        for client, rest in list(left.items()):
            try:
                left[client] = rest[client.sock.send(rest[:262_144]) :]
            except BlockingIOError:
                time.sleep(0.001)
            except ConnectionError:
                left[client] = rest[:0]
            if not left[client]:
                del left[client]
    time.sleep(max(until_s - time.monotonic(), 0))  # what was sent is to be read
    for client in clients:
        client.sock.settimeout(10)


def assert_served(server: Server) -> None:
    """See that another client is answered."""
    with join(server.port) as honest:
        honest.send(masked(TEXT, b'420["echo","here"]'))
        while honest.read_frame()[1] != b'430["here"]':
            pass


def test_large_events_on_slow_handlers(server: Server) -> None:
    with grows_at_most(server, 50 * MB), join(server.port) as client:
        push([client], 14 * masked(TEXT, BRACKETS.encode()))
        assert_served(server)


def test_large_events_of_many_connections(server: Server) -> None:
    with grows_at_most(server, 50 * MB), ExitStack() as stack:
        clients = [stack.enter_context(join(server.port)) for _ in range(14)]
        push(clients, masked(TEXT, BRACKETS.encode()))
        assert_served(server)


def test_large_polling_requests(server: Server) -> None:
    with grows_at_most(server, 50 * MB):
        pollers = [Polling(server.port) for _ in range(14)]
        for poller in pollers:
            poller.post("40")
        posts = [threading.Thread(target=poller.post, args=(BRACKETS,)) for poller in pollers]
        for post in posts:
            post.start()
        for post in posts:
            post.join(10)
        assert_served(server)


def test_compressed_events_on_slow_handlers(server: Server) -> None:
    compressor = zlib.compressobj(wbits=-15)
    small = compressor.compress(BRACKETS.encode()) + compressor.flush(zlib.Z_SYNC_FLUSH)
    frame = masked(TEXT | 0x40, small.removesuffix(b"\x00\x00\xff\xff"))
    with grows_at_most(server, 50 * MB), join(server.port, compressed=True) as client:
        assert len(14 * frame) < 65_536  # one read
        push([client], 14 * frame)
        assert_served(server)


def test_attachments_whose_last_one_does_not_come(server: Server) -> None:
    head = '4510-["slow",' + ",".join(f'{{"_placeholder":true,"num":{number}}}' for number in range(10)) + "]"
    data = masked(TEXT, head.encode()) + 9 * masked(BINARY, bytes(900_000))
    with grows_at_most(server, 60 * MB), ExitStack() as stack:
        clients = [stack.enter_context(join(server.port)) for _ in range(12)]
        push(clients, data)
        assert_served(server)


def test_a_broadcast_to_clients_whose_connect_handler_runs(server: Server) -> None:
    with grows_at_most(server, 40 * MB), join(server.port, "/slow") as client:  # of 60 that are sent
        server.post("/broadcast?count=200&bytes=300000")
        assert client.read_rest() is not None, "it is disconnected"
        assert_served(server)


def test_handshakes_with_large_headers(server: Server) -> None:
    with grows_at_most(server, 40 * MB):
        # Several headers, each of a size that web servers take.
        headers = {f"X-Filler-{number}": f"{number}".ljust(3500, "x") for number in range(12)}
        for attempt in range(50):
            headers["X-Filler-0"] = f"{attempt}".ljust(3500, "y")
            try:
                answer = server.get("/socket.io/?EIO=4&transport=polling", headers=headers)
            except HttpError:
                assert server.kind is UWSGI_GEVENT, "uWSGI takes 4 kB, and hangs up"
                break
            assert answer.status == 431
        assert_served(server)


def test_questions_that_are_never_answered(server: Server) -> None:
    with grows_at_most(server, 30 * MB), join(server.port) as client:
        for number in range(32):  # 54 MB, if all were waited for
            client.send(masked(TEXT, b'42%d["ask",2000]' % number))
            while not client.read_frame()[1].startswith(b"43%d[" % number):
                pass
        assert_served(server)


def test_all_is_handled_in_the_end(server: Server) -> None:
    before = json.loads(server.get("/counts").body)["slow"]
    with ExitStack() as stack:
        clients = [stack.enter_context(join(server.port)) for _ in range(4)]
        for client in clients:
            client.sock.settimeout(15)
        some = "42" + json.dumps(["slow", [[]] * 30_000], separators=(",", ":"))  # two of them fit at a time
        senders = [
            threading.Thread(target=client.send, args=(5 * masked(TEXT, some.encode()),))
            for client in clients
        ]
        for sender in senders:
            sender.start()
        server.post("/gate?open=1")
        for sender in senders:
            sender.join(15)
        until_s = time.monotonic() + 15
        while (handled := json.loads(server.get("/counts").body)["slow"] - before) < 20:
            assert time.monotonic() < until_s, f"{handled} of 20 were handled"
            time.sleep(0.05)
