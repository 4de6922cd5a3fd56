"""What this plugin registers; Kombu is imported by ``load`` only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_socketio_core.contracts import QueueInfo
from flask_socketio_core.hookspecs import hookimpl

from .transports import claims

if TYPE_CHECKING:
    from flask_socketio_core.contracts import MessageQueue

_REQUIRES = ("kombu>=5.4,<6", "amqp>=5.1.1,<6")
_INSTALL = "pip install flask-socketio-queue-kombu"


def _load_rabbitmq() -> type[MessageQueue]:
    from .rabbitmq import RabbitMQQueue

    return RabbitMQQueue


def _load_kombu() -> type[MessageQueue]:
    from .queue import KombuQueue

    return KombuQueue


@hookimpl
def socketio_message_queues() -> list[QueueInfo]:
    """Describe RabbitMQ, and whatever else Kombu can broadcast over."""
    rabbitmq = QueueInfo(
        name="rabbitmq",
        schemes=("amqp", "amqps", "pyamqp"),
        load=_load_rabbitmq,
        requires=_REQUIRES,
        install=_INSTALL,
        summary="durable, resumes",
    )
    kombu = QueueInfo(
        name="kombu",
        schemes=("kombu+*",),
        load=_load_kombu,
        catch_all=True,
        claims=claims,
        requires=_REQUIRES,
        install=_INSTALL,
        summary="Kombu's transports that can fan out",
    )
    return [rabbitmq, kombu]
