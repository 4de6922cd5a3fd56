"""A stranger's parts pass the suites that ours pass: the contracts say all that is needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest

from flask_socketio_core.contracts import AsyncMode, MessageQueue, Store
from flask_socketio_core.errors import QueueRefused
from flask_socketio_core.testing.conformance.async_modes import AsyncModeConformance
from flask_socketio_core.testing.conformance.providers import WebSocketProviderConformance
from flask_socketio_core.testing.conformance.queues import QueueConformance
from flask_socketio_core.testing.conformance.stores import StoreConformance
from third_party.pigeon_post import HOST, PigeonPost, pigeon_post
from third_party.socketio_drawer.socketio_drawer.store import DrawerStore
from third_party.socketio_pigeon.socketio_pigeon.queue import PigeonQueue
from third_party.socketio_tortoise.socketio_tortoise.mode import TortoiseMode
from third_party.socketio_tortoise.socketio_tortoise.queue import SpoolQueue


class TestTortoiseMode(AsyncModeConformance):
    mode_class: ClassVar[type[AsyncMode]] = TortoiseMode


class TestTortoiseProvider(WebSocketProviderConformance):
    mode: ClassVar[str] = "socketio_tortoise.mode:TortoiseMode"
    provider: ClassVar[str] = "socketio_tortoise.websocket:TortoiseProvider"
    form: ClassVar[str] = "blocking"
    environment: ClassVar[dict[str, str]] = {"PYTHONPATH": str(Path(__file__).parent / "socketio_tortoise")}


class TestSpoolQueue(QueueConformance):
    queue_class: ClassVar[type[MessageQueue]] = SpoolQueue

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"spool://{tmp_path}"


class TestPigeonQueue(QueueConformance):
    queue_class: ClassVar[type[MessageQueue]] = PigeonQueue

    @pytest.fixture(scope="class")
    @classmethod
    def broker(cls) -> Iterator[PigeonPost]:
        with pigeon_post("let me in") as post:
            yield post

    @pytest.fixture
    def url(self, broker: PigeonPost) -> str:
        return f"pigeon://:let%20me%20in@{HOST}:{broker.port}"

    def test_a_wrong_password_is_a_refusal(self, broker: PigeonPost, mode: AsyncMode) -> None:
        queue = PigeonQueue(f"pigeon://:wrong@{HOST}:{broker.port}", "letters", mode=mode, options={})
        with pytest.raises(QueueRefused, match=r"pigeon post at .* refuses us: PermissionError") as raised:
            queue.publish(b"nobody takes it")
        assert "wrong" not in str(raised.value)
        queue.close()


class TestDrawerStore(StoreConformance):
    store_class: ClassVar[type[Store]] = DrawerStore

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"drawer://{tmp_path}/drawer.sqlite"
