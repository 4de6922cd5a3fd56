"""A Redis server: one process, ready in some 30 ms."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from .broker import Broker, BrokerMissing, Process, exchange, free_port

if TYPE_CHECKING:
    from pathlib import Path


class RedisBroker(Broker):
    """Redis with an append-only file, so that streams outlive a restart as they do in production."""

    kind = "redis"
    install = "apt-get install redis-server"
    port = 0

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
        self.port = free_port()

    def _launch(self) -> list[Process]:
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--unixsocket", str(self.unix_socket), "--save", "", "--appendonly", "yes"]
        return [Process(command, log=self._log)]

    def _answers(self) -> bool:
        return exchange(self.port, b"PING\r\n", size=7) == b"+PONG\r\n"
