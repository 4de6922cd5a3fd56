"""The in-memory queue is the reference for the conformance suite."""

from __future__ import annotations

import pytest

from flask_socketio_core.cluster.memory import MemoryQueue
from flask_socketio_core.testing.conformance.queues import QueueConformance


class TestMemoryQueue(QueueConformance):
    queue_class = MemoryQueue

    @pytest.fixture
    def url(self) -> str:
        return "memory://"


def test_dropping_a_test_of_the_suite_is_an_error() -> None:
    with pytest.raises(
        TypeError, match=r"test_a_queue_hears_itself replaces a test of the conformance suite"
    ):

        class Sloppy(QueueConformance):
            def test_a_queue_hears_itself(self) -> None:  # type: ignore[override]  # the mistake under test
                pass


def test_a_reason_makes_an_exception_from_the_suite() -> None:
    class Honest(QueueConformance):
        @pytest.mark.xfail(reason="sends only")
        def test_a_queue_hears_itself(self) -> None:  # type: ignore[override]  # as a plugin author would
            pass

    assert "Honest" in repr(Honest)
