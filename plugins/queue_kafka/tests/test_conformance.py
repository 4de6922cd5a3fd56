"""Kafka passes the suite that every queue passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flask_socketio_core.testing.conformance.queues import QueueConformance
from flask_socketio_queue_kafka.queue import KafkaQueue

if TYPE_CHECKING:
    from support.brokers import Broker

pytestmark = pytest.mark.timeout(180)


class TestKafka(QueueConformance):
    queue_class = KafkaQueue

    @pytest.fixture
    def url(self, kafka_url: str) -> str:
        return kafka_url

    @pytest.fixture
    def broker(self, kafka_broker: Broker) -> Broker:
        return kafka_broker
