"""What a listener of ``host://`` lets gather under load arrives in order; the same in every async mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_socketio_core.testing.conformance.queues import Listener

from .nodes import wait_until

if TYPE_CHECKING:
    from flask_socketio_queue_host.queue import HostQueue


def assert_gathers_in_order(queue: HostQueue) -> None:
    """Publish until its listener pauses, and then so little that it stops."""
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
