"""Socket.IO 5 packets, written down once more so that the library's own codec is not its own judge.

Source: socket.io-protocol v5, "Packet encoding".
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

CONNECT, DISCONNECT, EVENT, ACK, CONNECT_ERROR, BINARY_EVENT, BINARY_ACK = range(7)
NAMES = ("CONNECT", "DISCONNECT", "EVENT", "ACK", "CONNECT_ERROR", "BINARY_EVENT", "BINARY_ACK")

_FORM = re.compile(
    r"(?P<type>[0-6])((?P<attachments>\d+)-)?((?P<namespace>/[^,]*),)?(?P<id>\d+)?(?P<data>[\[{\"].*)?",
    re.DOTALL,
)


@dataclass(slots=True, kw_only=True)
class Packet:
    """One Socket.IO packet; binary values sit in ``data`` as ``bytes`` once all attachments are there."""

    type: int
    namespace: str = "/"
    id: int | None = None
    data: Any = None
    attachments: int = 0
    _received: list[bytes] = field(default_factory=list)

    @property
    def name(self) -> str:
        """Return the packet type's name."""
        return NAMES[self.type]

    @property
    def event(self) -> str | None:
        """Return the event's name, or ``None`` for another kind of packet."""
        return str(self.data[0]) if self.type in (EVENT, BINARY_EVENT) else None

    @property
    def complete(self) -> bool:
        """Say whether all attachments have arrived."""
        return len(self._received) == self.attachments

    def attach(self, data: bytes) -> None:
        """Add the next attachment."""
        self._received.append(data)
        if self.complete:
            self.data = _fill(self.data, self._received)


def decode(text: str) -> Packet:
    """Read the text part of a packet.

    :raises AssertionError: if it breaks the protocol.
    """
    found = _FORM.fullmatch(text)
    assert found is not None, f"not a Socket.IO packet: {text!r}"
    data = found["data"]
    return Packet(
        type=int(found["type"]),
        attachments=int(found["attachments"] or 0),
        namespace=found["namespace"] or "/",
        id=None if found["id"] is None else int(found["id"]),
        data=None if data is None else json.loads(data),
    )


def encode(
    packet_type: int, data: Any = None, *, namespace: str = "/", id: int | None = None
) -> list[str | bytes]:
    """Write a packet as the messages that carry it; EVENT and ACK become binary where the data asks for it."""
    attachments: list[bytes] = []
    slim = _extract(data, attachments)
    if attachments and packet_type in (EVENT, ACK):
        packet_type += BINARY_EVENT - EVENT
    count = f"{len(attachments)}-" if packet_type in (BINARY_EVENT, BINARY_ACK) else ""
    place = "" if namespace == "/" else namespace + ","
    number = "" if id is None else str(id)
    text = "" if data is None else json.dumps(slim, separators=(",", ":"))
    return [f"{packet_type}{count}{place}{number}{text}", *attachments]


def _extract(value: Any, attachments: list[bytes]) -> Any:
    if isinstance(value, bytes):
        attachments.append(value)
        return {"_placeholder": True, "num": len(attachments) - 1}
    if isinstance(value, (list, tuple)):
        return [_extract(item, attachments) for item in value]
    if isinstance(value, dict):
        return {key: _extract(item, attachments) for key, item in value.items()}
    return value


def _fill(value: Any, attachments: list[bytes]) -> Any:
    if isinstance(value, list):
        return [_fill(item, attachments) for item in value]
    if isinstance(value, dict):
        if value.get("_placeholder") is True:
            return attachments[value["num"]]
        return {key: _fill(item, attachments) for key, item in value.items()}
    return value
