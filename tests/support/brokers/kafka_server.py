"""A real single-node Kafka (KRaft: no ZooKeeper), run by the machine's Java from its Maven Central jars."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from base64 import urlsafe_b64encode

from flask_socketio_core.testing.ports import free_port
from support import jars, tls

from .broker import Broker, BrokerFailed, BrokerMissing, Process, exchange

KAFKA_VERSION = "4.1.0"
_JARS = (f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}", "org.slf4j:slf4j-simple:1.7.36")
#: Kafka's name of what is spoken at each of its listeners.
_PROTOCOLS = {
    "PLAIN": "PLAINTEXT",
    "CONTROLLER": "PLAINTEXT",
    "PROXIED1": "PLAINTEXT",
    "PROXIED2": "PLAINTEXT",
    "SASL": "SASL_PLAINTEXT",
    "TLS": "SSL",
    "SASL_TLS": "SASL_SSL",
}
#: ApiVersions request, version 0, correlation id 7, no client id: needs no agreement first.
_API_VERSIONS = bytes.fromhex("0000000a0012000000000007ffff")


class KafkaBroker(Broker):
    """Kafka in one process (broker and controller), ready in some 4 seconds, 350 MB.

    It listens on several ports, each with a name: ``PLAIN``; ``SASL`` for those who know the password; where openssl is
    installed, ``TLS`` and, with both, ``SASL_TLS``; and some behind which a test can put a proxy.
    """

    kind = "kafka"
    install = "apt-get install default-jre-headless maven"
    user, password = "alice", "open sesame"
    #: For each proxy that a test may run, the port to relay to and the port to listen on: Kafka tells its clients
    #: an address, which has to be the proxy's.
    proxied: tuple[tuple[int, int], ...] = ()
    ports: dict[str, int]

    @property
    def url(self) -> str:
        return f"kafka://127.0.0.1:{self.port}"

    def find(self) -> None:
        if shutil.which("java") is None:
            raise BrokerMissing(f"java (17 or newer), which runs Kafka, is not installed: {self.install}")
        try:
            self._libs = jars.fetch(f"kafka-{KAFKA_VERSION}", *_JARS)
        except jars.JarsMissing as error:
            raise BrokerMissing(str(error)) from None

    def _prepare(self) -> None:
        names = [*_PROTOCOLS] if tls.has_openssl() else [n for n in _PROTOCOLS if "TLS" not in n]
        self.ports = {name: free_port() for name in names}
        self.port = self.ports["PLAIN"]
        advertised = {name: port for name, port in self.ports.items() if name != "CONTROLLER"}
        advertised.update((name, free_port()) for name in ("PROXIED1", "PROXIED2"))
        self.proxied = tuple((self.ports[name], advertised[name]) for name in ("PROXIED1", "PROXIED2"))
        login = f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{self.user}="{self.password}";'
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{self.ports['CONTROLLER']}",
            "listeners": _listeners(self.ports),
            "advertised.listeners": _listeners(advertised),
            "listener.security.protocol.map": ",".join(f"{name}:{_PROTOCOLS[name]}" for name in names),
            "inter.broker.listener.name": "PLAIN",
            "controller.listener.names": "CONTROLLER",
            "num.network.threads": "1",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl.plain.sasl.jaas.config": login,
            "listener.name.sasl_tls.plain.sasl.jaas.config": login,
            **self._tls_settings(),
            "log.dirs": str(self.folder / "data"),
            "num.partitions": "3",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "message.max.bytes": "8388608",
            # A broker that was killed is let in again only when its old session is over.
            "broker.session.timeout.ms": "3000",
            "broker.heartbeat.interval.ms": "500",
        }
        self._config = self.folder / "server.properties"
        self._config.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        # Given with an equals sign, because one in 64 begins with a hyphen.
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        command = self._java(
            "64m", "kafka.tools.StorageTool", "format", f"--cluster-id={cluster}", "-c", str(self._config)
        )
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode:
            raise BrokerFailed(f"Kafka could not format its storage:\n{done.stdout}{done.stderr}")

    def _tls_settings(self) -> dict[str, str]:
        if not tls.has_openssl():
            return {}
        files = tls.authority()
        store = self.folder / "keystore.pem"
        store.write_text(files.key.read_text() + files.certificate.read_text())
        return {"ssl.keystore.type": "PEM", "ssl.keystore.location": str(store)}

    def _launch(self) -> list[Process]:
        return [Process(self._java("384m", "kafka.Kafka", str(self._config)), log=self._log)]

    def _answers(self) -> bool:
        return exchange(self.port, _API_VERSIONS, size=8)[4:] == b"\x00\x00\x00\x07"

    def _java(self, memory: str, *words: str) -> list[str]:
        return ["java", f"-Xmx{memory}", "-XX:TieredStopAtLevel=1", "-cp", f"{self._libs}/*", *words]


def _listeners(ports: dict[str, int]) -> str:
    return ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items())
