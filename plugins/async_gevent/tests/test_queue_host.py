"""The queue of one host passes its suite in a patched process, with gevent's tasks, events and selectors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flask_socketio_async_gevent.mode import GeventMode
from flask_socketio_core.contracts import AsyncMode
from flask_socketio_core.testing.conformance.queues import Listener, QueueConformance
from support.nodes import wait_until

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
        listener = Listener(queue).subscribed()
        pace, sent = queue._inboxes[0]._pace, [b"%d" % number for number in range(100_000)]
        published = 0

        def pauses_after(count: int) -> bool:
            nonlocal published
            for message in sent[published : published + count]:
                queue.publish(message)
            published += count
            assert listener.wait_for(published) == sent[:published]
            return bool(pace.pauses)

        wait_until(lambda: pauses_after(50), "pause under load")
        wait_until(lambda: not pauses_after(1), "end of the pauses")
        queue.close()
