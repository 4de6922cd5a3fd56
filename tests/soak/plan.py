"""What can be run: async modes, message queues, and when what happens."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from support.brokers import Broker, KafkaBroker, RabbitMQBroker, RedisBroker
from support.proxy import Proxy
from support.servers import EVENTLET, GEVENT_BUILTIN, THREADING

MODES = {"threading": THREADING, "gevent": GEVENT_BUILTIN, "eventlet": EVENTLET}


@dataclass(frozen=True, slots=True)
class Queue:
    """A message queue.

    :param broker: what it runs on.
    :param scheme: of its URL; empty for the broker's own.
    :param loses: whether messages may be lost while the broker is away.
    """

    broker: Callable[[], Broker]
    scheme: str = ""
    loses: bool = False

    def url(self, broker: Broker, port: int | None = None) -> str:
        """Return the URL for ``SocketIO(message_queue=...)``.

        :param port: of a proxy before the broker.
        """
        url = f"{self.scheme}://{broker.url.partition('://')[2]}" if self.scheme else broker.url
        return url if port is None else url.replace(f":{broker.port}", f":{port}")


def proxy(broker: Broker) -> Proxy:
    """Return a proxy before a broker that runs."""
    # Kafka tells its clients where it is, which has to be the proxy.
    return Proxy(*broker.proxied[0]) if isinstance(broker, KafkaBroker) else Proxy(broker.port)


QUEUES = {
    "redis": Queue(RedisBroker, loses=True),
    "redis-streams": Queue(RedisBroker, "redis+streams"),
    "rabbitmq": Queue(RabbitMQBroker),
    "kafka": Queue(KafkaBroker),
    "kombu": Queue(RabbitMQBroker, "kombu+amqp", loses=True),
}

#: How a broker is taken away, in turns: as an administrator does it, and as a power cut.
RESTARTS = ("stop", "kill")
PING_INTERVAL_S = 2.0
"""Often, so that pings fall into every moment of a client's life."""
HEARTBEAT_S = 2.0
WARM_UP_S = 20.0
"""Most seconds of the time in which everything has its first turn, before the start is noted."""
OUTAGE_S = 4.0
"""That the broker is away, and that one server is cut off from it."""
ROUND_S = 120.0
"""About that often, the broker is restarted, and the last server cut off from it for a while."""
CALM_S = 25.0
"""Seconds behind an outage in which questions to other servers may find no answer."""
RECOVERY_S = 90.0
"""Seconds until everything must be as it was, behind an outage or when all clients have left; the broker's restart and
the longest pauses between two attempts are in it, on a busy machine."""
REPORT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be run.

    :param modes: one per server.
    :param seconds: of traffic, with the warm-up.
    :param visitors: who come and go at a time.
    :param ping_timeout_s: which all other time-outs go by. Less is over sooner; more is for a busy machine.
    """

    modes: Sequence[str]
    queue: str
    seconds: float
    visitors: int = 24
    ping_timeout_s: float = 20.0

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments of ``SocketIO``, but for the queue's address."""
        return {
            "message_queue_options": {
                "heartbeat_interval_s": HEARTBEAT_S,
                "ack_expires_s": self.call_timeout_s + 5,
            },
            "async_handlers": "ordered",  # or else the events of one client may overtake each other
            "ping_interval": PING_INTERVAL_S,
            "ping_timeout": self.ping_timeout_s,
            "connect_timeout": self.ping_timeout_s,
            "upgrade_timeout": self.ping_timeout_s / 2,
        }

    @property
    def silence_s(self) -> float:
        """How long a client may be silent, seconds."""
        return PING_INTERVAL_S + self.ping_timeout_s

    @property
    def call_timeout_s(self) -> float:
        """How long the application waits for a client's answer, seconds."""
        return self.ping_timeout_s / 2

    @property
    def warm_up_s(self) -> float:
        """The part of the time before the start is noted, seconds."""
        return min(WARM_UP_S, self.seconds / 4)

    @property
    def rounds(self) -> int:
        """How often the broker is restarted and a server cut off."""
        return max(1, round((self.seconds - self.warm_up_s) / ROUND_S))
