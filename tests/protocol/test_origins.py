"""Which origins and hosts are let in: one table for every kind of server, on both transports."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
from collections.abc import Iterator
from typing import Any, TypeAlias

import pytest

from support.flask_apps import needs_trusted_hosts
from support.servers import AppSpec, Server, ServerKind, serving
from support.wire.engine import Polling
from support.wire.http import HOST

FIX: dict[str, int] = {"x_for": 1, "x_proto": 1}
LIST = [
    "https://a.example",
    "http://b.example:8080/",
    "https://*.c.example",
    "app://-",
    "https://bücher.example",
]
#: The applications in the server, by the path they are mounted at.
MOUNTS: dict[str, dict[str, Any]] = {
    "/same": {},
    "/any": {"options": {"cors_allowed_origins": "*"}},
    "/any-listed": {"options": {"cors_allowed_origins": ["https://a.example", "*"]}},
    "/off": {"options": {"cors_allowed_origins": []}},
    "/one": {"options": {"cors_allowed_origins": "HTTPS://A.example:443/"}},
    "/list": {"options": {"cors_allowed_origins": LIST}},
    "/commas": {"options": {"cors_allowed_origins": "https://a.example, wss://d.example,"}},
    "/config": {"config": {"SOCKETIO_CORS_ALLOWED_ORIGINS": "https://a.example,https://*.c.example"}},
    "/port": {"options": {"cors_allowed_origins": "http://*.c.example:8080"}},
    "/null": {"options": {"cors_allowed_origins": ["null", "file://"]}},
    "/blank": {"options": {"cors_allowed_origins": ""}},
    "/asked": {"options": {"cors_allowed_origins": "asks about the origin"}},
    "/asked2": {"options": {"cors_allowed_origins": "asks about the request"}},
    "/fix": {"fix": FIX},
    "/early": {"fix": FIX, "early": True},
    "/fix-all": {"fix": {**FIX, "x_host": 1, "x_port": 1}},
    "/fix-two": {"fix": {"x_for": 2, "x_proto": 2, "x_host": 2}},
    "/trusted": {"config": {"TRUSTED_HOSTS": ["app.example", ".sub.example"]}},
    "/trusted-any": {
        "config": {"TRUSTED_HOSTS": ["app.example"]},
        "options": {"cors_allowed_origins": "*"},
    },
    "/trusted-fix": {"config": {"TRUSTED_HOSTS": ["app.example"]}, "fix": {"x_host": 1}},
    "/trusted-early": {"config": {"TRUSTED_HOSTS": ["app.example"]}, "fix": {"x_host": 1}, "early": True},
}
#: Short names of the headers below.
NAMES = {"proto": "X-Forwarded-Proto", "host": "X-Forwarded-Host", "port": "X-Forwarded-Port"}
Row: TypeAlias = tuple[str, str, str | None, dict[str, str], bool]
"""Application, Host, Origin, forwarded headers, and whether the request is let in."""

ROWS: list[Row] = [
    ("/same", "app.example", None, {}, True),
    ("/same", "app.example", "http://app.example", {}, True),
    ("/same", "App.Example", "http://app.example", {}, True),
    ("/same", "app.example", "HTTP://APP.EXAMPLE", {}, True),
    ("/same", "app.example:80", "http://app.example", {}, True),
    ("/same", "app.example", "http://app.example:80", {}, True),
    ("/same", "app.example", "ws://app.example", {}, True),
    ("/same", "app.example:8080", "http://app.example:8080", {}, True),
    ("/same", "app.example:8080", "http://app.example", {}, False),
    ("/same", "app.example", "http://app.example:8080", {}, False),
    ("/same", "app.example", "https://app.example", {}, False),
    ("/same", "app.example", "http://app.example.evil.example", {}, False),
    ("/same", "app.example", "http://evil.example/app.example", {}, False),
    ("/same", "app.example", "http://app.example@evil.example", {}, False),
    ("/same", "app.example", "http://user@app.example", {}, False),
    ("/same", "app.example", "http://app.example/", {}, False),
    ("/same", "app.example", "http://app.example,http://evil.example", {}, False),
    ("/same", "app.example", "http://app.example http://evil.example", {}, False),
    ("/same", "app.example", "http://app.example:99999", {}, False),
    ("/same", "app.example", "null", {}, False),
    ("/same", "app.example", "file://", {}, False),
    ("/same", "app.example", "app.example", {}, False),
    ("/same", "app.example", "chrome-extension://app.example", {}, False),
    ("/same", "[::1]:5000", "http://[::1]:5000", {}, True),
    ("/same", "[0:0:0:0:0:0:0:1]", "http://[::1]", {}, True),
    ("/same", "[::1]", "http://[::2]", {}, False),
    ("/same", "xn--bcher-kva.example", "http://XN--bcher-kva.example", {}, True),
    # behind a proxy of which the application says nothing
    ("/same", "app.example", "https://app.example", {"proto": "https"}, True),
    ("/same", "app.example", "https://app.example", {"proto": "HTTPS"}, True),
    ("/same", "app.example", "https://app.example", {"proto": "wss"}, True),
    ("/same", "app.example", "https://app.example", {"proto": "https, http"}, True),
    ("/same", "app.example", "https://app.example", {"proto": "https,https"}, True),
    ("/same", "app.example:443", "https://app.example", {"proto": "https"}, True),
    ("/same", "app.example:8443", "https://app.example:8443", {"proto": "https"}, True),
    ("/same", "app.example", "http://app.example", {"proto": "http"}, True),
    ("/same", "app.example", "http://app.example", {"proto": "ws"}, True),
    ("/same", "app.example", "http://app.example", {"proto": "http, http"}, True),
    ("/same", "app.example", "http://app.example", {"proto": "https"}, False),
    ("/same", "app.example", "https://app.example", {"proto": "http, https"}, False),
    ("/same", "app.example", "https://evil.example", {"proto": "https"}, False),
    ("/same", "app.example", "ftp://app.example", {"proto": "ftp"}, False),
    ("/same", "app.example", "http://evil.example", {"host": "evil.example"}, False),
    ("/same", "app.example", "https://evil.example", {"proto": "https", "host": "evil.example"}, False),
    ("/same", "app.example", "http://app.example:81", {"port": "81"}, False),
    ("/same", "app.example", "https://app.example", {"proto": "https", "host": "other.example"}, True),
    # behind a proxy that the application knows
    ("/fix", "app.example", "https://app.example", {"proto": "https"}, True),
    ("/fix", "app.example", "https://app.example", {"proto": "wss"}, True),
    ("/fix", "app.example", "http://app.example", {"proto": "https"}, False),
    ("/fix", "app.example", "http://evil.example", {"host": "evil.example"}, False),
    ("/early", "app.example", "https://app.example", {"proto": "wss"}, True),
    ("/early", "app.example", "http://evil.example", {"host": "evil.example"}, False),
    ("/fix-all", "inside:5000", "https://app.example", {"proto": "https", "host": "app.example"}, True),
    (
        "/fix-all",
        "inside",
        "https://a.example:81",
        {"proto": "https", "host": "a.example", "port": "81"},
        True,
    ),
    ("/fix-all", "app.example", "https://app.example", {"proto": "https", "port": "443"}, True),
    ("/fix-all", "app.example", "https://app.example", {"proto": "https", "port": "8443"}, False),
    ("/fix-all", "inside", "http://inside", {"host": "app.example"}, False),
    ("/fix-all", "inside", "http://app.example", {"host": "evil.example, app.example"}, True),
    ("/fix-all", "inside", "http://evil.example", {"host": "evil.example, app.example"}, False),
    ("/fix-two", "inside", "https://a.example", {"proto": "https, http", "host": "a.example, b"}, True),
    # what may be listed
    ("/any", "app.example", "https://elsewhere.example", {}, True),
    ("/any", "app.example", "null", {}, True),
    ("/any", "app.example", "no origin at all", {}, True),
    ("/any-listed", "app.example", "https://elsewhere.example", {}, True),
    ("/off", "app.example", "https://elsewhere.example", {}, True),
    ("/one", "app.example", "https://a.example", {}, True),
    ("/one", "app.example", "http://a.example", {}, False),
    ("/one", "app.example", "http://app.example", {}, False),
    ("/list", "app.example", "http://b.example:8080", {}, True),
    ("/list", "app.example", "http://b.example", {}, False),
    ("/list", "app.example", "https://x.c.example", {}, True),
    ("/list", "app.example", "https://y.x.c.example", {}, True),
    ("/list", "app.example", "https://c.example", {}, False),
    ("/list", "app.example", "https://evilc.example", {}, False),
    ("/list", "app.example", "http://x.c.example", {}, False),
    ("/list", "app.example", "https://x.c.example:81", {}, False),
    ("/list", "app.example", "https://x.c.example.evil.example", {}, False),
    ("/list", "app.example", "app://-", {}, True),
    ("/list", "app.example", "https://xn--bcher-kva.example", {}, True),
    ("/list", "app.example", "null", {}, False),
    ("/commas", "app.example", "https://a.example", {}, True),
    ("/commas", "app.example", "https://d.example", {}, True),
    ("/commas", "app.example", "https://a.example, wss://d.example,", {}, False),
    ("/config", "app.example", "https://x.c.example", {}, True),
    ("/config", "app.example", "https://elsewhere.example", {}, False),
    ("/port", "app.example", "http://x.c.example:8080", {}, True),
    ("/port", "app.example", "http://x.c.example", {}, False),
    ("/null", "app.example", "null", {}, True),
    ("/null", "app.example", "file://", {}, True),
    ("/null", "app.example", "http://null", {}, False),
    ("/blank", "app.example", "http://app.example", {}, True),
    ("/blank", "app.example", "http://elsewhere.example", {}, False),
    ("/asked", "app.example", "https://elsewhere.example", {}, True),
    ("/asked", "app.example", "https://elsewhere.test", {}, False),
    ("/asked2", "app.example", "https://app.example", {}, True),
    ("/asked2", "app.example", "https://elsewhere.example", {}, False),
]
#: Which hosts Flask trusts.
TRUSTING_ROWS: list[Row] = [
    ("/trusted", "app.example", "http://app.example", {}, True),
    ("/trusted", "app.example:5000", "http://app.example:5000", {}, True),
    ("/trusted", "x.sub.example", None, {}, True),
    ("/trusted", "evil.example", "http://evil.example", {}, False),
    ("/trusted", "evil.example", None, {}, False),
    ("/trusted", "evil.example", "http://app.example", {"host": "app.example"}, False),
    ("/trusted-any", "evil.example", "http://evil.example", {}, False),
    ("/trusted-fix", "inside", "http://app.example", {"host": "app.example"}, True),
    ("/trusted-fix", "inside", "http://evil.example", {"host": "evil.example"}, False),
    ("/trusted-early", "inside", "http://app.example", {"host": "app.example"}, True),
]


@pytest.fixture(scope="module")
def server(kind: ServerKind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Give the server that has all applications."""
    with serving(
        kind, AppSpec(app="origins", settings={"mounts": MOUNTS}), tmp_path_factory.mktemp("origins")
    ) as server:
        yield server


@pytest.mark.parametrize(
    "row",
    [*ROWS, *(pytest.param(row, marks=needs_trusted_hosts) for row in TRUSTING_ROWS)],
    ids=lambda row: " ".join(map(str, row[:4])),
)
def test_both_transports_let_in_whom_the_table_says(server: Server, row: Row) -> None:
    mount, host, origin, forwarded, welcome = row
    headers = [("Host", host), *(("Origin", value) for value in (origin,) if value is not None)]
    headers += [(NAMES[name], value) for name, value in forwarded.items()]
    assert opens(server.port, mount, headers, "polling") is welcome
    assert opens(server.port, mount, headers, "websocket") is welcome


def test_several_origin_headers_are_no_origin(server: Server) -> None:
    headers = [("Host", "app.example"), ("Origin", "http://evil.example"), ("Origin", "http://app.example")]
    assert not opens(server.port, "/same", headers, "polling")
    assert not opens(server.port, "/same", headers, "websocket")


@needs_trusted_hosts
@pytest.mark.parametrize("mount", ["/trusted", "/trusted-fix"])
def test_a_view_and_our_path_trust_the_same_hosts(server: Server, mount: str) -> None:
    for host, status in (("app.example", 200), ("evil.example", 400)):
        view = exchange(server.port, f"GET {mount}/who HTTP/1.1", [("Host", host)])
        assert status_of(view) == status
        assert opens(server.port, mount, [("Host", host)], "polling") is (status == 200)


@pytest.mark.parametrize("mount", ["/fix", "/early"])
def test_a_handler_and_a_view_see_the_same_proxied_request(server: Server, mount: str) -> None:
    headers = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "https"}
    seen = json.loads(server.get(f"{mount}/who", headers=headers).body)
    assert seen[:2] == ["203.0.113.9", "https"]
    client = Polling(server.port, path=f"{mount}/socket.io/", headers=headers)
    client.post("40")
    client.post('420["who"]')
    received: list[str | bytes] = []
    while not any(str(packet).startswith("430") for packet in received):
        received += client.receive()
    answer = next(str(packet) for packet in received if str(packet).startswith("430"))
    assert json.loads(answer[3:]) == [seen]


def opens(
    port: int, mount: str, headers: list[tuple[str, str]], transport: str, tls: ssl.SSLContext | None = None
) -> bool:
    """Say whether a request gets an OPEN packet; the other answer is a refusal with status 400."""
    if transport == "websocket":
        key = ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
        headers = [*headers, ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), key]
        headers.append(("Connection", "Upgrade"))
    answer = exchange(port, f"GET {mount}/socket.io/?EIO=4&transport={transport} HTTP/1.1", headers, tls)
    if status_of(answer) == 101:
        assert answer.partition(b"\r\n\r\n")[2].startswith(b"\x81"), "opened, and not told so by a text frame"
        return True
    assert status_of(answer) in (200, 400), answer
    return status_of(answer) == 200


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def exchange(
    port: int, line: str, headers: list[tuple[str, str]], tls: ssl.SSLContext | None = None
) -> bytes:
    """Send one request and return the head of the answer, of a WebSocket with the first bytes behind it."""
    lines = [line, *(f"{name}: {value}" for name, value in headers), "", ""]
    answer = b""
    with contextlib.ExitStack() as stack:
        sock = stack.enter_context(socket.create_connection((HOST, port), timeout=5))
        if tls is not None:
            sock = stack.enter_context(tls.wrap_socket(sock))
        sock.sendall("\r\n".join(lines).encode())
        while b"\r\n\r\n" not in answer or (status_of(answer) == 101 and answer.endswith(b"\r\n\r\n")):
            received = sock.recv(65536)
            if not received:
                break
            answer += received
    return answer
