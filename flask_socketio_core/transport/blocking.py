"""The blocking shell: a WebSocket of a server that keeps its socket. The request's own task reads, another writes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ..common.reasons import Reason
from ..errors import ProtocolError

if TYPE_CHECKING:
    from ..contracts import AsyncMode, BlockingTransport, Event, Handle
    from ..websocket_protocol.deflate import Deflate
    from .detached import Target
    from .packets import Outgoing


PAUSE_S = 0.001
"""How long a client that sends a lot lets others run, now and then, seconds: one that has more to be read never waits,
and neither a green socket nor Python's lock would change to another task."""

CLOSE_TIMEOUT_S = 10.0
"""How long a closed connection may take to send what waits, seconds; a peer that does not read would take for ever."""


class BlockingConnection:
    """A woken transport over a :class:`~flask_socketio_core.contracts.BlockingTransport`.

    :param report: logs what a peer did wrong, or an unexpected error.
    """

    __slots__ = (
        "_code",
        "_deadline",
        "_held",
        "_mode",
        "_over",
        "_released",
        "_report",
        "_transport",
        "_wakeup",
        "target",
    )

    name: str = "websocket"
    write: Callable[[bytes], int] | None = None
    deflate: Deflate | None = None  # the transport below does it

    def __init__(
        self, transport: BlockingTransport, mode: AsyncMode, report: Callable[[BaseException, str], None]
    ) -> None:
        self._report = report
        self._transport = transport
        self._mode = mode
        self._wakeup = mode.create_event()
        self._code: int | None = None
        self._deadline: Handle | None = None
        self._over = False  # nothing is written any more
        self._held = False
        self._released: Event | None = None  # made when it is first needed
        self.target: Target | None = None

    def wake(self) -> None:
        """Let the writer take what waits."""
        self._wakeup.set()

    def close(self, code: int) -> None:
        """Let the writer send what still waits, then close; at once if it cannot send."""
        if self._code is None:
            self._code = code
            if not self._over:
                self._deadline = self._mode.call_later(CLOSE_TIMEOUT_S, self._cut_off)
        self._wakeup.set()
        self.release()

    def _cut_off(self) -> None:
        if not self._over:
            self._mode.start_task(self._transport.close, 1000)

    def hold(self) -> None:
        """Let the reader wait before it takes another message."""
        if self._released is None:
            self._released = self._mode.create_event()
        self._held = True

    def release(self) -> None:
        """Let the reader go on."""
        self._held = False
        if self._released is not None:
            self._released.set()

    def answer(self, outgoing: Outgoing) -> bool:
        """Send one small packet while an upgrade is tried; only the reading task does that."""
        for packet in outgoing.packets:
            self._transport.send(packet)
        return True

    def run(self, target: Target) -> None:
        """Read until the connection ends."""
        self.target = target
        self._transport.on_control = self._count
        writer = self._mode.start_task(self._write_all)
        try:
            reason = self._read_all()
        except Exception as error:  # noqa: BLE001  # one connection's fault ends that connection, session included
            self._report(error, "a WebSocket connection")
            reason = Reason.TRANSPORT_ERROR
        self.close(1000)
        assert self.target is not None
        self.target.lost(reason)
        writer.join(10)

    def _read_all(self) -> str:
        try:
            # What comes behind the end is nobody's, and would keep the writer from its last words.
            while self._code is None and (message := self._transport.receive()) is not None:
                assert self.target is not None
                self.target.receive(message)
                self._count()
                if self._held:
                    self._wait_while_held()
        except ProtocolError as error:
            assert self.target is not None
            self._report(error, f"the WebSocket of session {self.target.sid}")
            self.target.violate(error)
            return Reason.TRANSPORT_ERROR
        except OSError:
            return Reason.TRANSPORT_ERROR
        return Reason.TRANSPORT_CLOSE

    def _count(self) -> None:
        target = self.target
        assert target is not None
        target.allowance -= 1
        if target.allowance < 0:
            target.overdrawn()
            self._mode.sleep(PAUSE_S)
            if self._held:
                self._wait_while_held()

    def _wait_while_held(self) -> None:
        released = self._released
        assert released is not None
        while self._held and self._code is None:
            released.wait()
            released.clear()

    def _write_all(self) -> None:
        try:
            while self._code is None:
                self._wakeup.wait()
                self._wakeup.clear()
                self._send_waiting()
        except OSError:
            pass  # the peer is gone; the reader learns it as well
        finally:
            self._transport.close(1000 if self._code is None else self._code)
            self._over = True
            deadline, self._deadline = self._deadline, None
            if deadline is not None:
                deadline.cancel()

    def _send_waiting(self) -> None:
        take = getattr(
            self.target, "take_packets", None
        )  # an upgrade that is being tried has nothing to write
        if take is not None:
            for packet in take(self):
                self._transport.send(packet)
