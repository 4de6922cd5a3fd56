"""From a URL and options to kafka-python's clients. Each is made when it is first needed: they connect at once."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import kafka
from kafka import errors
from kafka.net.compat import KafkaNetClient

from flask_socketio_core import queues
from flask_socketio_core.errors import InvalidOption, QueueRefused
from flask_socketio_core.queues import Setting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEFAULT_PORT = 9092
#: What Kafka itself accepts as a topic's name.
TOPIC = r"[a-zA-Z0-9._-]{1,249}"
#: Largest message on the topic that we create; Kafka's own default of 1 MiB is too small for a 1 MB payload.
TOPIC_MAX_BYTES = 8 * 1024 * 1024
#: Milliseconds after which a request without an answer ends its connection. kafka-python gives it 30 s, and sends
#: nothing meanwhile, although a new connection may work: a router that has forgotten the old one does not say so.
ANSWER_MS = 10_000
#: Longest pause between two attempts to connect, milliseconds.
RECONNECT_MS = 1000

SETTINGS: tuple[Setting[Any], ...] = (
    Setting(
        "publish_timeout_s", float, 2.0, "seconds a publish may take, a first connection included", above=0
    ),
    Setting("username", str, None, "SASL user name, when it is not in the URL"),
    Setting("password", str, None, "SASL password, when it is not in the URL"),
    Setting("sasl_mechanism", str, None, "'PLAIN' (default with a user name), 'SCRAM-SHA-256', ..."),
    Setting("security_protocol", str, None, "'PLAINTEXT', 'SSL', 'SASL_PLAINTEXT' or 'SASL_SSL'"),
    Setting("ssl_cafile", str, None, "file with the certificate authorities to trust"),
    Setting("ssl_certfile", str, None, "file with our certificate"),
    Setting("ssl_keyfile", str, None, "file with our certificate's key"),
    Setting("ssl_password", str, None, "password of the key file"),
    Setting("ssl_check_hostname", bool, True, "whether the certificate must name the host"),
    Setting("partitions", int, 6, "partitions of the topic, if it has to be created", above=0),
    Setting(
        "replication_factor",
        int,
        -1,
        "replicas of the topic, if it has to be created; -1: the broker's default",
    ),
    Setting(
        "retention_s", float, 3600.0, "seconds the topic keeps messages, if it has to be created", above=0
    ),
    Setting("linger_ms", int, 0, "milliseconds a message may wait for company", at_least=0),
    Setting(
        "fetch_max_wait_ms",
        int,
        500,
        "milliseconds the broker may hold a fetch while there is nothing",
        above=0,
    ),
    Setting("compression_type", str, None, "'gzip', or what kafka-python has a library for"),
    Setting("client_options", object, {}, "further keyword arguments for kafka-python's clients"),
)

_PASSED_ON = ("ssl_cafile", "ssl_certfile", "ssl_keyfile", "ssl_password")


class ClientFactory:
    """Make clients for one URL; connects to nothing itself."""

    def __init__(self, url: str, topic: str, options: Mapping[str, Any]) -> None:
        """Check the URL, the options and the topic's name.

        :raises InvalidOption: for one that cannot be used.
        """
        parsed = queues.parse(url)
        _check_topic(topic)
        self.topic = topic
        self.settings = queues.read(SETTINGS, options, parsed.query, where="kafka")
        self._common = self._security(parsed)
        hosts = [f"{name or 'localhost'}:{port or DEFAULT_PORT}" for name, port in parsed.hosts]
        self._common["bootstrap_servers"] = hosts or [f"localhost:{DEFAULT_PORT}"]
        self._common["request_timeout_ms"] = ANSWER_MS + self.settings["fetch_max_wait_ms"]
        self._common.update(self.settings["client_options"])

    @property
    def _timeout_ms(self) -> int:
        return int(self.settings["publish_timeout_s"] * 1000)

    def producer(self) -> Any:
        """Return a producer. Starts a thread, which ends with ``close(0)``; waits for a broker.

        :raises kafka.errors.KafkaError: when no broker answers in time.
        """
        return self._connect(
            _Producer,
            max_block_ms=self._timeout_ms,
            max_request_size=TOPIC_MAX_BYTES,
            linger_ms=self.settings["linger_ms"],
            compression_type=self.settings["compression_type"],
            metrics_enabled=False,
            allow_auto_create_topics=False,
            reconnect_backoff_max_ms=RECONNECT_MS,
        )

    def consumer(self) -> Any:
        """Return a consumer without a group: every server reads everything. Waits for a broker.

        :raises kafka.errors.KafkaError: when no broker answers in time.
        """
        return self._connect(
            kafka.KafkaConsumer,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # where our own position was trimmed; positions are set otherwise
            fetch_max_wait_ms=self.settings["fetch_max_wait_ms"],
            metrics_enabled=False,
            allow_auto_create_topics=False,
            reconnect_backoff_max_ms=RECONNECT_MS,
        )

    def ensure_topic(self) -> None:
        """Create the topic unless it is there, and wait until it can be used.

        :raises QueueRefused: when it is missing and we may not create it; the text has the command that does.
        :raises kafka.errors.KafkaError: when no broker answers in time.
        """
        with self._connect(kafka.KafkaAdminClient) as admin:
            if self.topic in admin.list_topics():
                return
            try:
                admin.create_topics(
                    {self.topic: self._topic_settings()}, timeout_ms=ANSWER_MS, wait_for_metadata=True
                )
            except errors.TopicAlreadyExistsError:
                pass  # another server was faster
            except (errors.AuthorizationError, errors.PolicyViolationError) as error:
                raise QueueRefused(
                    f"Kafka topic {self.topic!r} does not exist and may not be created by us ({type(error).__name__}); "
                    f"create it with: kafka-topics.sh --create --topic {self.topic} "
                    f"--partitions {self.settings['partitions']} --config max.message.bytes={TOPIC_MAX_BYTES}"
                ) from error

    def _connect(self, client: Callable[..., Any], **chosen: Any) -> Any:
        """Return a connected client, or say what may have kept it out.

        kafka-python's own error names only the address: it tries again until the time is over, and often misses the
        answer to a wrong password, because the broker closes the connection right behind it.
        """
        config = {**self._common, "bootstrap_timeout_ms": self._timeout_ms, **chosen}
        try:
            return _make(client, config)
        except errors.KafkaTimeoutError as error:
            to_check = ["the address", f"security_protocol ({config['security_protocol']!r} here)"]
            if "sasl_mechanism" in config:
                to_check += [
                    "the user name and password",
                    f"sasl_mechanism ({config['sasl_mechanism']!r} here)",
                ]
            if config["security_protocol"].endswith("SSL"):
                to_check.append("the certificates")
            raise errors.KafkaTimeoutError(
                f"no broker of {config['bootstrap_servers']} let us in within {self._timeout_ms / 1000:g} s; "
                f"check {', '.join(to_check)} (the logger 'kafka' has each attempt)"
            ) from error

    def _topic_settings(self) -> dict[str, Any]:
        return {
            "num_partitions": self.settings["partitions"],
            "replication_factor": self.settings["replication_factor"],
            "configs": {
                "max.message.bytes": str(TOPIC_MAX_BYTES),
                "retention.ms": str(int(self.settings["retention_s"] * 1000)),
            },
        }

    def _security(self, parsed: queues.QueueURL) -> dict[str, Any]:
        chosen = {name: self.settings[name] for name in _PASSED_ON if self.settings[name] is not None}
        chosen["ssl_check_hostname"] = self.settings["ssl_check_hostname"]
        username = parsed.username or self.settings["username"]
        if username:
            chosen["sasl_plain_username"] = username
            chosen["sasl_plain_password"] = parsed.password or self.settings["password"] or ""
        mechanism = self.settings["sasl_mechanism"] or ("PLAIN" if username else None)
        if mechanism:
            chosen["sasl_mechanism"] = mechanism
        chosen["security_protocol"] = self.settings["security_protocol"] or (
            "SASL_PLAINTEXT" if mechanism else "PLAINTEXT"
        )
        return chosen


class _Producer(kafka.KafkaProducer):
    def flush(self, timeout: float | None = None) -> None:
        """Wait until what was sent is acknowledged, or the time is over, which is no error.

        kafka-python's raises one, out of its own ``close()`` too, and the thread then goes on to send for ever.
        """
        with suppress(errors.KafkaError):
            super().flush(timeout)  # type: ignore[no-untyped-call]


class _NetClient(KafkaNetClient):
    """kafka-python's, without two busy loops of its producers while their broker is away."""

    def __init__(self, **options: Any) -> None:
        """Let an update of what is known about the brokers be asked for once, until it has come.

        A producer asks in each round while a partition has no leader, and each time wakes itself for the next round.
        """
        super().__init__(**options)  # type: ignore[no-untyped-call]
        cluster = self.cluster
        ask = cluster.request_update
        asked: Any = None

        def request_update() -> Any:
            nonlocal asked
            if asked is None or asked.is_done or not cluster.need_update:
                asked = ask()
            return asked

        cluster.request_update = request_update

    def connection_delay(self, node_id: Any) -> float:
        """Return milliseconds until the next attempt to connect, for which the producer takes it.

        kafka-python 3.0 returns seconds, so that a producer polls a thousand times too often while its broker is away.
        """
        delay_s = super().connection_delay(node_id)  # type: ignore[no-untyped-call]
        return min(1000 * float(delay_s), RECONNECT_MS)


def _make(client: Callable[..., Any], config: Mapping[str, Any]) -> Any:
    """Return a client. If it cannot connect, end what kafka-python has begun: it forgets a thread and its sockets."""
    made: list[Any] = []

    def make_net_client(**options: Any) -> Any:
        made.append(_NetClient(**options))
        return made[-1]

    try:
        return client(**{"kafka_client": make_net_client, **config})
    except BaseException:
        for net_client in made:
            net_client.close()
        raise


def _check_topic(topic: str) -> None:
    if not re.fullmatch(TOPIC, topic):
        raise InvalidOption(
            f"channel={topic!r} cannot be a Kafka topic: use 1 to 249 letters, digits, '.', '_' and '-'"
        )
