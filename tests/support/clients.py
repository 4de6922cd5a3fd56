"""What a test needs of python-socketio's client beyond what that offers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socketio


def handle_in_order(client: socketio.Client) -> socketio.Client:
    """Let a client handle messages one by one.

    By default each message has a thread of its own, and one may overtake another: even an attachment the packet that
    it belongs to.
    """
    trigger = client.eio._trigger_event
    client.eio._trigger_event = lambda *args, **keywords: trigger(*args, **{**keywords, "run_async": False})
    return client
