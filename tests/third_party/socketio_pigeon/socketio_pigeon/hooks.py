"""What this plugin registers. Loaded in every process that has it installed, so it imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_socketio_core.contracts import QueueInfo
from flask_socketio_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from flask_socketio_core.contracts import MessageQueue


def load() -> type[MessageQueue]:
    from .queue import PigeonQueue

    return PigeonQueue


@hookimpl
def socketio_message_queues() -> QueueInfo:
    return QueueInfo(name="pigeon", schemes=("pigeon",), load=load, summary="by pigeon post")
