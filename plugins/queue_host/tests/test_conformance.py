"""The queue of one host passes the suite that every queue passes; the green modes' tests run it as well."""

from __future__ import annotations

from pathlib import Path

import pytest

from flask_socketio_core.testing.conformance.queues import QueueConformance
from flask_socketio_queue_host.queue import HostQueue

pytestmark = pytest.mark.timeout(60)


class TestHostQueue(QueueConformance):
    queue_class = HostQueue

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"host://?directory={tmp_path}"


class TestHostQueueWithAName(TestHostQueue):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"host://blue?directory={tmp_path}"

    @pytest.fixture
    def secret_url(self) -> None:
        """There is none: a user in the URL is an error."""
