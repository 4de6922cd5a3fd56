"""What this plugin registers; kafka-python is imported by ``load`` only."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_socketio_core.contracts import QueueInfo
from flask_socketio_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from flask_socketio_core.contracts import MessageQueue


def _load() -> type[MessageQueue]:
    from .queue import KafkaQueue

    return KafkaQueue


@hookimpl
def socketio_message_queues() -> QueueInfo:
    """Describe Kafka."""
    return QueueInfo(
        name="kafka",
        schemes=("kafka",),
        load=_load,
        requires=("kafka-python>=3.0.6,<4",),
        install="pip install flask-socketio-queue-kafka",
        summary="durable, resumes",
    )
