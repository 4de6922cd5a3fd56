"""A RabbitMQ node with a port mapper (``epmd``) of its own, ready in 7 to 20 seconds."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from flask_socketio_core.testing.ports import free_port
from support import tls

from .broker import Broker, BrokerFailed, BrokerMissing, Process, exchange

#: The package's own script. The ``rabbitmq-server`` on Debian's PATH changes the user and its directories.
_SCRIPTS = (
    Path("/usr/lib/rabbitmq/bin/rabbitmq-server"),
    Path("/opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server"),
    Path("/usr/local/opt/rabbitmq/sbin/rabbitmq-server"),
)
#: AMQP 0-9-1's protocol header; a node that is ready answers with a method frame (type 1).
_AMQP_HEADER = b"AMQP\x00\x00\x09\x01"


class RabbitMQBroker(Broker):
    """One RabbitMQ node with the default user ``guest``, which also listens with TLS where openssl is installed."""

    kind = "rabbitmq"
    install = "apt-get install rabbitmq-server"
    start_timeout_s = 120.0
    tls_port = 0

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def find(self) -> None:
        script = next((path for path in _SCRIPTS if path.exists()), None)
        epmd = shutil.which("epmd")
        if script is None or epmd is None:
            raise BrokerMissing(f"rabbitmq-server is not installed: {self.install}")
        self._script, self._epmd = script, epmd

    def _prepare(self) -> None:
        folder = self.folder
        self.port, self.tls_port, self._dist_port, self._epmd_port = (free_port() for _ in range(4))
        (folder / "enabled_plugins").write_text("[].\n")
        # A full disk on a laptop is no reason to block publishers.
        lines = [
            "disk_free_limit.absolute = 1MB",
            "log.console = true",
            "log.file = false",
            *self._tls_lines(),
        ]
        (folder / "rabbitmq.conf").write_text("\n".join((*lines, "")))
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("RABBITMQ_")},
            "HOME": str(folder),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_NODENAME": f"fsio{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
        }

    def _tls_lines(self) -> list[str]:
        if not tls.has_openssl():
            return []
        files = tls.authority()
        return [
            f"listeners.ssl.default = 127.0.0.1:{self.tls_port}",
            f"ssl_options.certfile = {files.certificate}",
            f"ssl_options.keyfile = {files.key}",
            "ssl_options.verify = verify_none",
        ]

    def close_connections(self) -> None:
        """Let the broker hang up on everybody."""
        self._control("close_all_connections", "by the test")

    def set_password(self, password: str) -> None:
        """Give the user ``guest`` another password; connections stay."""
        self._control("change_password", "guest", password)

    def _control(self, *words: str) -> None:
        command = [str(self._script.with_name("rabbitmqctl")), *words]
        done = subprocess.run(command, env=self._env, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise BrokerFailed(f"rabbitmqctl {words[0]} failed:\n{done.stdout}{done.stderr}")

    def _launch(self) -> list[Process]:
        epmd = Process([self._epmd, "-relaxed_command_check"], log=self.folder / "epmd.log", env=self._env)
        return [epmd, Process([str(self._script)], log=self._log, env=self._env)]

    def _answers(self) -> bool:
        return exchange(self.port, _AMQP_HEADER, size=1) == b"\x01"
