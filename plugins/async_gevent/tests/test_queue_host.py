"""The queue of one host passes its suite in a patched process, with gevent's tasks, events and selectors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_socketio_async_gevent.mode import GeventMode
from flask_socketio_core.contracts import AsyncMode
from flask_socketio_core.testing.conformance.queues import QueueConformance
from support.gathering import assert_gathers_in_order

host_queue = pytest.importorskip("flask_socketio_queue_host.queue", reason="the plugin is not installed")


class TestHostQueue(QueueConformance):
    queue_class = host_queue.HostQueue

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"host://?directory={tmp_path}"

    @pytest.fixture
    def mode(self) -> Iterator[AsyncMode]:
        mode = GeventMode()
        yield mode
        mode.close()

    def test_what_gathers_under_load_arrives_in_order(self, url: str, mode: AsyncMode) -> None:
        queue = host_queue.HostQueue(url, "pace", mode=mode, options={})
        assert_gathers_in_order(queue)
        queue.close()
