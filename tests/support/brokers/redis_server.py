"""A Redis server: one process, ready in some 30 ms."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from flask_socketio_core.testing.ports import free_port
from support import tls

from .broker import Broker, BrokerMissing, Process, exchange

if TYPE_CHECKING:
    from pathlib import Path


class RedisBroker(Broker):
    """Redis with an append-only file, so that streams outlive a restart as they do in production."""

    kind = "redis"
    install = "apt-get install redis-server"

    tls_port = 0

    def __init__(self, *arguments: str, encrypted: bool = False) -> None:
        """Prepare a server with further arguments, such as ``"--requirepass", "secret"``.

        :param encrypted: listen with TLS, too; needs openssl, and a Redis that was built with TLS.
        """
        super().__init__()
        self._arguments = arguments
        self._encrypted = encrypted

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def unix_socket(self) -> Path:
        """The path that the same server listens on as a Unix socket."""
        return self.folder / "redis.sock"

    def find(self) -> None:
        if shutil.which("redis-server") is None:
            raise BrokerMissing(f"redis-server is not installed: {self.install}")

    def _prepare(self) -> None:
        self.port, self.tls_port = free_port(), free_port()

    def _launch(self) -> list[Process]:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--unixsocket", str(self.unix_socket), "--save", "", "--appendonly", "yes"]
        return [Process([*command, *self._tls_arguments(), *self._arguments], log=self._log)]

    def _tls_arguments(self) -> list[str]:
        if not self._encrypted:
            return []
        files = tls.authority()
        names = {"cert-file": files.certificate, "key-file": files.key, "ca-cert-file": files.authority}
        found = [word for name, path in names.items() for word in (f"--tls-{name}", str(path))]
        return ["--tls-port", str(self.tls_port), "--tls-auth-clients", "no", *found]

    def close_connections(self) -> None:
        """Let the server hang up on everybody."""
        exchange(self.port, b"CLIENT KILL TYPE pubsub\r\nCLIENT KILL TYPE normal SKIPME yes\r\n", size=8)

    def _answers(self) -> bool:
        return exchange(self.port, b"PING\r\n", size=7) in (b"+PONG\r\n", b"-NOAUTH")


class SentinelBroker(Broker):
    """A Sentinel that watches one Redis server under the name ``main``.

    :param master: a running server.
    """

    kind = "sentinel"
    install = RedisBroker.install

    def __init__(self, master: RedisBroker) -> None:
        super().__init__()
        self._master = master

    @property
    def url(self) -> str:
        return f"redis+sentinel://127.0.0.1:{self.port}/0/main"

    def find(self) -> None:
        if shutil.which("redis-server") is None:
            raise BrokerMissing(f"redis-server is not installed: {self.install}")

    def _prepare(self) -> None:
        self.port = free_port()
        lines = (
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {self.folder}",
            f"sentinel monitor main 127.0.0.1 {self._master.port} 1",
            "sentinel down-after-milliseconds main 500",
            "sentinel failover-timeout main 2000",
            "",
        )
        (self.folder / "sentinel.conf").write_text("\n".join(lines))

    def _launch(self) -> list[Process]:
        return [Process(["redis-server", str(self.folder / "sentinel.conf"), "--sentinel"], log=self._log)]

    def _answers(self) -> bool:
        return exchange(self.port, b"PING\r\n", size=7) == b"+PONG\r\n"
