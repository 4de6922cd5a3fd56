"""RabbitMQ and Kombu's other transports pass the suite that every queue passes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from flask_socketio_core.testing.conformance.queues import QueueConformance
from flask_socketio_queue_kombu.queue import KombuQueue
from flask_socketio_queue_kombu.rabbitmq import RabbitMQQueue

if TYPE_CHECKING:
    from pathlib import Path

    from support.brokers import Broker

pytestmark = pytest.mark.timeout(120)


class TestRabbitMQ(QueueConformance):
    queue_class = RabbitMQQueue

    @pytest.fixture
    def url(self, rabbitmq_url: str) -> str:
        return rabbitmq_url

    @pytest.fixture
    def broker(self, rabbitmq_broker: Broker) -> Broker:
        return rabbitmq_broker


class TestKombuOverAMQP(QueueConformance):
    queue_class = KombuQueue

    @pytest.fixture
    def url(self, rabbitmq_url: str) -> str:
        return f"kombu+{rabbitmq_url}"

    @pytest.fixture
    def broker(self, rabbitmq_broker: Broker) -> Broker:
        return rabbitmq_broker


# Kombu 5.4 calls redis-py in a way that redis-py 5.3 deprecates.
@pytest.mark.filterwarnings("ignore:Call to 'get_connection':DeprecationWarning")
class TestKombuOverRedis(QueueConformance):
    queue_class = KombuQueue

    @pytest.fixture
    def url(self, redis_url: str) -> str:
        return f"kombu+{redis_url}"


class TestKombuInMemory(QueueConformance):
    queue_class = KombuQueue

    @pytest.fixture
    def url(self) -> str:
        return "kombu+memory://"


class TestKombuOverTheFileSystem(QueueConformance):
    queue_class = KombuQueue

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"filesystem://{tmp_path}/bus"
