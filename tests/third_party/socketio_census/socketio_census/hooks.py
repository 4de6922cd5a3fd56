"""Clients by server, for clients (`ask` on `/census`) and for `flask socketio census`; and a rate for every client."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import click
from flask import current_app
from flask.cli import with_appcontext

from flask_socketio_core import EventRejected, Namespace
from flask_socketio_core.contracts.settings import Setting, configured
from flask_socketio_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from flask_socketio_core import SocketIO
    from flask_socketio_core.contracts.clients import Client

TOPIC = "socketio-census.count"
RATE = Setting("census_rate", int, 100, "most events of a client per second", above=0)


class Census:
    """What one application has counted in this process."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.sids: set[str] = set()
        self.events: Counter[str] = Counter()
        self.second = 0
        self._lock = threading.Lock()

    def wait_s(self, sid: str) -> float:
        """Count an event; return after how many seconds the client may send it again, 0 for at once."""
        with self._lock:
            now_s = time.monotonic()
            if int(now_s) != self.second:
                self.second = int(now_s)
                self.events.clear()
            self.events[sid] += 1
            return self.second + 1 - now_s if self.events[sid] > self.rate else 0.0


# Several applications may be in one process, so nothing is kept in the module itself.
_censuses: WeakKeyDictionary[SocketIO, Census] = WeakKeyDictionary()


def ask(socketio: SocketIO) -> dict[str, Any]:
    found = socketio.servers.ask(TOPIC, timeout_s=3)
    missing = {**found.missing, **found.errors, **dict.fromkeys(found.unable, "has no census")}
    return {"servers": dict(found.answers), "missing": missing, "complete": found.complete}


class CensusNamespace(Namespace):
    def __init__(self, namespace: str, extension: SocketIO) -> None:
        super().__init__(namespace)
        self._extension = extension

    def on_ask(self) -> dict[str, Any]:
        return ask(self._extension)


@hookimpl
def socketio_settings() -> Setting[int]:
    return RATE


@hookimpl
def socketio_setup(socketio: SocketIO, app: Flask) -> None:
    census = _censuses[socketio] = Census(configured(RATE, app.config))
    socketio.on_namespace(CensusNamespace("/census", socketio))
    socketio.servers.on_topic(TOPIC, lambda payload, node: len(census.sids))


@hookimpl
def socketio_teardown(socketio: SocketIO) -> None:
    _censuses.pop(socketio, None)


@hookimpl
def socketio_connected(sid: str, socketio: SocketIO) -> None:
    if (census := _censuses.get(socketio)) is not None:
        census.sids.add(sid)


@hookimpl
def socketio_disconnected(sid: str, socketio: SocketIO) -> None:
    if (census := _censuses.get(socketio)) is not None:
        census.sids.discard(sid)


@hookimpl
def socketio_around_event(client: Client, proceed: Callable[..., Any], socketio: SocketIO) -> Any:
    census = _censuses.get(socketio)
    if census is not None and (wait_s := census.wait_s(client.sid)):
        raise EventRejected(ack={"error": "too fast", "retry_after": wait_s})
    return proceed()


@hookimpl
def socketio_cli(group: click.Group) -> None:
    group.add_command(show)


@click.command("census")
@with_appcontext
def show() -> None:
    """Show how many clients each server has."""
    found = ask(current_app.extensions["socketio"])
    for node, count in found["servers"].items():
        click.echo(f"{node}  {count}")
    for node, reason in found["missing"].items():
        click.echo(f"{node}  {reason}")
