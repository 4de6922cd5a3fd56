"""What stands between a test client and the engine instead of a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..transport.session import Session
    from ..websocket_protocol.deflate import Deflate
    from .dispatch import Job


class TestTransport:
    """A transport that hands every packet over in the task that sends it.

    :param receive: takes each Engine.IO packet.
    """

    __test__ = False  # its name is no test's
    name: str = "websocket"
    write: Callable[[bytes], int] | None = None
    deflate: Deflate | None = None

    def __init__(self, receive: Callable[[str | bytes], None]) -> None:
        self._receive = receive
        self.session: Session | None = None

    def wake(self) -> None:
        """Hand over what waits."""
        if self.session is not None:
            for packet in self.session.take_packets(self):
                self._receive(packet)

    def close(self, code: int) -> None:
        """Hand over what waits, and that this was the end."""
        self.wake()
        self.session = None  # a closed session keeps its transport
        self._receive("1")

    def hold(self) -> None:
        """Do nothing: the test client's events are handled as they come."""

    def release(self) -> None:
        """Do nothing."""


class InlineMailbox:
    """Stands where a session keeps its jobs in order; runs each at once instead."""

    def __init__(self, run: Callable[[Job], None]) -> None:
        self._run = run

    def put(self, job: Job) -> None:
        """Run a job and return when it is done; raises what it raises."""
        self._run(job)

    def go_on(self) -> None:
        """Do nothing: jobs do not wait for each other."""
