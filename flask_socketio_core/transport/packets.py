"""Engine.IO packets: their types, and one packet for every recipient and transport. No I/O.

Source: engine.io-protocol v4.
"""

from __future__ import annotations

from ..websocket_protocol.frames import binary_frame, text_frame

# Engine.IO packet types. Source: engine.io-protocol v4, "Protocol".
EIO_OPEN = "0"
EIO_CLOSE = "1"
EIO_PING = "2"
EIO_PONG = "3"
EIO_MESSAGE = "4"
EIO_UPGRADE = "5"
EIO_NOOP = "6"


class Outgoing:
    """One packet, encoded once, ready for every transport and shared by all recipients.

    :param packets: the Engine.IO packets it consists of: text with its type, binary attachments as bytes.
    :param is_event: whether it is a Socket.IO event, which may be dropped without breaking the protocol.
    """

    __slots__ = ("deflated", "frames", "is_event", "packets")

    deflated: bytes
    """Its frames for clients that agreed on compression;
    :class:`~flask_socketio_core.websocket_protocol.deflate.Deflate` sets them when they are first needed."""

    frames: bytes
    """All its WebSocket frames, one per packet, to be written without anything in between."""

    def __init__(self, packets: tuple[str | bytes, ...], is_event: bool = False) -> None:
        self.packets = packets
        self.is_event = is_event
        # Text that is not Unicode fails here, at its sender, and not where it is delivered.
        self.frames = (
            _frame(packets[0]) if len(packets) == 1 else b"".join([_frame(packet) for packet in packets])
        )

    @property
    def size(self) -> int:
        """What it takes on a WebSocket, bytes."""
        return len(self.frames)


def _frame(packet: str | bytes) -> bytes:
    return text_frame(packet) if isinstance(packet, str) else binary_frame(packet)


CLOSE_PACKET = Outgoing((EIO_CLOSE,))
PING_PACKET = Outgoing((EIO_PING,))
PROBE_ANSWER = Outgoing((EIO_PONG + "probe",))
"""What answers ``2probe``. Source: engine.io-protocol v4, "Upgrade"."""
