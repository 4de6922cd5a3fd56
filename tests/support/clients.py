"""What a test needs of python-socketio's client beyond what that offers."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import socketio


def handle_in_order(client: socketio.Client) -> socketio.Client:
    """Let a client handle messages one by one, in one thread of their own.

    By default each message has its thread, and one may overtake another: even an attachment the packet that it belongs
    to. The thread that reads may not handle them, because a DISCONNECT waits for its end.
    """
    trigger = client.eio._trigger_event
    thread = ThreadPoolExecutor(1)

    def trigger_in_order(*args: Any, run_async: bool = False, **keywords: Any) -> Any:
        if run_async:
            return thread.submit(trigger, *args, run_async=False, **keywords)
        return trigger(*args, run_async=False, **keywords)

    client.eio._trigger_event = trigger_in_order
    return client
