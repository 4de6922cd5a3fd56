"""What a supervisor hands to its workers, and how a worker takes it."""

from __future__ import annotations

import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...contracts import Listener

if TYPE_CHECKING:
    from ...contracts import AsyncMode

HANDED = "_FLASK_SOCKETIO_HANDED"
"""Environment variable with the descriptors of :class:`Handed`, with commas between them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handed:
    """Descriptors that a supervisor hands to a worker.

    :param listener: the listening socket, non-blocking.
    :param ready: the worker writes a line to it when it serves, and closes it.
    :param alive: comes to its end when the supervisor does; nothing is written to it.
    """

    listener: int
    ready: int
    alive: int

    @property
    def descriptors(self) -> tuple[int, int, int]:
        """All of them."""
        return self.listener, self.ready, self.alive

    def __str__(self) -> str:
        """Return the value of :data:`HANDED`."""
        return ",".join(map(str, self.descriptors))

    @property
    def port(self) -> int:
        """The port of the listening socket."""
        with socket.socket(fileno=os.dup(self.listener)) as copy:
            port: int = copy.getsockname()[1]
            return port

    def listen(self, line: str) -> Listener:
        """Return what the application serves.

        :param line: what the supervisor is told as soon as it does.
        """

        def tell() -> None:
            with os.fdopen(self.ready, "wb", buffering=0) as ready, suppress(BrokenPipeError):
                ready.write(line.encode())

        return Listener(fd=self.listener, on_serving=tell)

    def end_with_supervisor(self, mode: AsyncMode, graceful_s: float) -> None:
        """End this process in order when the supervisor is gone, whatever became of it; returns at once.

        :param graceful_s: how long that may take, seconds.
        """
        read, sleep = mode.original("os", "read"), mode.original("time", "sleep")

        def watch() -> None:
            read(self.alive, 1)
            signal.raise_signal(signal.SIGTERM)
            sleep(graceful_s)
            signal.raise_signal(signal.SIGKILL)

        mode.original("_thread", "start_new_thread")(watch, ())


def take() -> Handed | None:
    """Return what a supervisor has handed to this process, ``None`` without one.

    What this process starts gets none of it.
    """
    value = os.environ.pop(HANDED, None)
    if value is None:
        return None
    listener, ready, alive = map(int, value.split(","))
    for descriptor in (listener, ready, alive):
        os.set_inheritable(descriptor, False)
    return Handed(listener=listener, ready=ready, alive=alive)


def is_handed() -> bool:
    """Return whether this process is a worker that has not taken yet what it was handed."""
    return HANDED in os.environ
