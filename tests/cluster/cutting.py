"""Ways to cut one server off from its broker while the others go on."""

from __future__ import annotations

import dataclasses
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import redis

if TYPE_CHECKING:
    from support.nodes import Bus


class Gate:
    """Keeps listeners from subscribing and, if a test wants, from their messages."""

    def __init__(self) -> None:
        self._subscriptions = threading.Event()
        self._messages = threading.Event()
        self.open()

    @contextmanager
    def shut(self) -> Iterator[None]:
        """Let nobody subscribe for the length of a ``with`` block.

        Who is subscribed goes on to listen, and so notices that its connection is lost.
        """
        self._subscriptions.clear()
        try:
            yield
        finally:
            self.open()

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Let nobody subscribe or take a message for the length of a ``with`` block."""
        self._messages.clear()
        with self.shut():
            yield

    def open(self) -> None:
        """Let everybody go on."""
        self._messages.set()
        self._subscriptions.set()

    def before(self, bus: Bus) -> Bus:
        """Return a bus whose listeners have to pass this gate to subscribe, and for each message."""
        subscriptions, messages = self._subscriptions, self._messages

        class Held(bus.queue_class):  # type: ignore[misc,name-defined]  # a class that is known at run time only
            def listen(self) -> Iterator[bytes]:
                while not subscriptions.wait(0.1):
                    if self._closed:
                        return
                for message in super().listen():
                    if message:
                        messages.wait()
                    yield message

        return dataclasses.replace(bus, queue_class=Held)


def named(bus: Bus) -> tuple[Bus, str]:
    """Return a bus whose connections have a name for Redis, and that name."""
    name = f"victim-{uuid.uuid4().hex[:8]}"
    return dataclasses.replace(bus, url=f"{bus.url}?client_name={name}"), name


def cut_subscriber(url: str, name: str) -> int:
    """Have Redis close the listening connection of the client of a name; return how many there were."""
    with redis.Redis.from_url(url) as client:
        listeners = [item for item in _clients(client) if item["name"] == name and _listens(item)]
        for item in listeners:
            client.client_kill_filter(_id=item["id"])
        return len(listeners)


def _clients(client: Any) -> list[dict[str, str]]:
    clients: list[dict[str, str]] = client.client_list()
    return clients


def _listens(item: dict[str, str]) -> bool:
    return item["sub"] != "0" or item["cmd"].startswith("xread")
