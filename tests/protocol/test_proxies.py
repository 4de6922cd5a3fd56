"""Real proxies with TLS in front of a server whose application knows nothing of them."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from flask import Flask

from flask_socketio_core.testing.ports import free_port
from protocol.test_origins import exchange, opens
from support import nginx, web_proxies
from support.servers import HOST, AppSpec, Server, ServerKind, serving
from support.tls import certificate, needs_openssl

pytestmark = [pytest.mark.one_kind, needs_openssl]

MOUNTS = {
    "/same": {},
    "/fix": {"fix": {"x_for": 1, "x_proto": 1}, "early": True},
    "/trusted": {"config": {"TRUSTED_HOSTS": ["app.example"]}},
}


def with_nginx(folder: Path, port: int, server_port: int) -> list[str]:
    """Return the command for nginx with the deployment page's configuration, and TLS."""
    certificate_file, key = certificate()
    site = nginx.site(
        f"{port} ssl; ssl_certificate {certificate_file}; ssl_certificate_key {key}", server_port
    )
    assert "location /socket.io/" in site
    return nginx.command(folder, site.replace("location /socket.io/", "location ~ /socket.io/"))


def with_haproxy(folder: Path, port: int, server_port: int) -> list[str]:
    """Return the command for HAProxy, which passes ``Host`` on by itself."""
    both = folder / "both.pem"
    both.write_text("".join(Path(name).read_text() for name in certificate()))
    config = folder / "haproxy.cfg"
    config.write_text(
        "defaults\n    mode http\n    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n"
        f"frontend tls\n    bind {HOST}:{port} ssl crt {both}\n"
        "    http-request set-header X-Forwarded-Proto https\n    default_backend app\n"
        f"backend app\n    server app {HOST}:{server_port}\n"
    )
    return ["haproxy", "-db", "-f", str(config)]


KNOWS_TRUSTED_HOSTS = "TRUSTED_HOSTS" in Flask.default_config
"""Flask does since 3.1."""


@pytest.fixture(scope="module")
def server(kind: ServerKind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Give a server that speaks no TLS."""
    with serving(
        kind, AppSpec(app="origins", settings={"mounts": MOUNTS}), tmp_path_factory.mktemp("proxied")
    ) as server:
        yield server


@contextmanager
def running(command: list[str], port: int) -> Iterator[ssl.SSLContext]:
    """Run a proxy, and give what a client needs to speak to it."""
    trust = ssl.create_default_context(cafile=certificate()[0])
    trust.check_hostname = False
    with web_proxies.running(command, lambda: answers(port, trust)):
        yield trust


def answers(port: int, trust: ssl.SSLContext) -> bool:
    try:
        return b" 200 " in exchange(port, "GET /ready HTTP/1.1", [("Host", "app.example")], trust)
    except OSError:
        return False


@pytest.mark.parametrize("proxy", [with_nginx, with_haproxy])
def test_behind_a_proxy_with_tls_pages_of_the_host_are_let_in_and_no_others(
    server: Server, tmp_path: Path, proxy: Callable[[Path, int, int], list[str]]
) -> None:
    port = free_port()
    table = [
        (mount, host, origin, welcome)
        for mount in MOUNTS
        for host, origin, welcome in (
            ("app.example", "https://app.example", True),
            ("app.example:8443", "https://app.example:8443", True),
            ("app.example", "http://app.example", False),
            ("app.example", "https://evil.example", False),
            ("evil.example", "https://evil.example", mount != "/trusted" or not KNOWS_TRUSTED_HOSTS),
        )
    ]
    with running(proxy(tmp_path, port, server.port), port) as trust:
        for mount, host, origin, welcome in table:
            for transport in ("polling", "websocket"):
                headers = [("Host", host), ("Origin", origin)]
                let_in = opens(port, mount, headers, transport, trust)
                assert let_in is welcome, f"{transport} of {origin} to {host}{mount}"
