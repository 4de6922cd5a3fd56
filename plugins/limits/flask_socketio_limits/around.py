"""What stands around connects and events, of applications that have a limit."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from . import decorator
from .limiter import limiter_here, limiters, refuse, refuse_connect

if TYPE_CHECKING:
    from flask_socketio_core import SocketIO
    from flask_socketio_core.contracts.clients import Client

_lock = threading.Lock()
_observed: WeakKeyDictionary[SocketIO, set[Callable[..., Any]]] = WeakKeyDictionary()


def observe_once(socketio: SocketIO, function: Callable[..., Any]) -> None:
    """Register a function, unless that was done before a fork, or for another application of the same object."""
    with _lock:
        functions = _observed.setdefault(socketio, set())
        if function not in functions:
            functions.add(function)
            socketio.observe(function)


def socketio_around_connect(client: Client, proceed: Callable[..., Any]) -> Any:
    """Count a client that joins a namespace."""
    if wait_s := limiter_here().connect_wait_s(client):
        refuse_connect(wait_s)
    return proceed()


def socketio_around_event(client: Client, event: str, proceed: Callable[..., Any]) -> Any:
    """Count an event."""
    if wait_s := limiter_here().event_wait_s(client, event):
        refuse(wait_s)
    return proceed()


def socketio_disconnected(client: Client) -> None:
    """Forget what was counted for a client in the memory of this process: no other will have its sid."""
    for limiter in list(limiters):
        limiter.forget(client, decorator.decorated)
