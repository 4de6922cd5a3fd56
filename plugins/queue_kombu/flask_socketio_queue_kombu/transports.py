"""Which of Kombu's transports can carry a broadcast, known without importing Kombu.

A transport that cannot fan out drops a broadcast silently, so it has to be refused before it is used.
"""

from __future__ import annotations

from flask_socketio_core.contracts import OK, Verdict

#: Transports whose messages to a fanout exchange reach every bound queue.
FAN_OUT = frozenset(
    {
        "amqp",
        "amqps",
        "filesystem",
        "gcpubsub",
        "librabbitmq",
        "memory",
        "mongodb",
        "pgmq",
        "pyamqp",
        "qpid",
        "redis",
        "rediss",
        "sentinel",
        "sqs",
    }
)
#: Transports that drop them.
NO_FAN_OUT = frozenset(
    {
        "azureservicebus",
        "azurestoragequeues",
        "confluentkafka",
        "consul",
        "etcd",
        "kafka",
        "pyro",
        "slmq",
        "sqla",
        "sqlalchemy",
        "zookeeper",
    }
)
#: Transports that fan out only when they are told to, by a transport option of this name.
ON_REQUEST = {"sqs": "supports_fanout"}


def claims(scheme: str) -> Verdict | None:
    """Return whether a URL scheme names a transport that can carry a broadcast.

    :param scheme: with or without ``kombu+`` before it.
    :returns: ``None`` if Kombu has no such transport.
    """
    name = transport_of(scheme)
    if name in FAN_OUT:
        return OK
    if name in NO_FAN_OUT:
        reason = f"Kombu's transport {name!r} cannot fan out: it drops every broadcast silently"
        return Verdict(usable=False, reason=reason)
    return None


def transport_of(scheme: str) -> str:
    """Return the transport's name in a scheme: ``redis`` for ``kombu+redis``, ``sqla`` for ``sqla+mysql``."""
    return scheme.lower().removeprefix("kombu+").partition("+")[0]
