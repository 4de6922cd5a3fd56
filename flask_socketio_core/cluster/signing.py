"""Signatures on the bus: with a secret, only what a process that knows it has published is heard, and only once.

A signature is the last part of a message, added to its encoded bytes when the queue gets them and checked before
anything else is read of it::

    {"method":"emit",...,"node":"...","seq":7,"sig":"<time><count><mac>"}

``time`` are the milliseconds since the epoch at which it was handed to the queue, 12 hexadecimal digits; ``count``
counts what the sender has published, signs of life and repetitions included, 16 digits; ``mac`` is HMAC-SHA256 over
all bytes before it, 64 digits. Its key is the HMAC-SHA256 of the channel's name with the secret as key, so that nothing
of one channel is good on another.

What is heard twice is found by ``(node, seq)``, and a sign of life, which has no number of its own, by its ``count``:
see :mod:`~flask_socketio_core.cluster.peers`. The time decides about the rest: what was lost, or sent before this
process listened. It is taken late, so neither waiting in the sender's buffer nor being sent again makes a message old;
lying with a broker does.
"""

from __future__ import annotations

import hmac
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any

from ..errors import InvalidOption
from .envelope import SIGNATURE_BYTES, Malformed

SHORTEST_SECRET = 16
"""Fewest bytes of a secret: 128 bits if they are random. Source: NIST SP 800-131A asks for 112 bits of a key."""

CLOCK_SKEW_S = 60.0
"""Seconds that the clocks of two servers may differ, the time that a message is under way included."""

_CONTEXT = b"flask-socketio-core bus\0"
_SIGNATURE = re.compile(rb',"sig":"([0-9a-f]{12})([0-9a-f]{16})([0-9a-f]{64})"\}')
_TAIL_BYTES = SIGNATURE_BYTES + len(b"}")
_MAC_BYTES = 64 + len(b'"}')

_EXPECTED = (
    f"message queue option secret: expected text or bytes of at least {SHORTEST_SECRET} bytes, or a list of them, of "
    "which the first signs (make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))')"
)


class Unauthentic(Malformed):
    """A message from the bus that is not signed as it should be, is too old, or was heard before."""


@dataclass(frozen=True, slots=True)
class Signature:
    """What a valid signature says.

    :param age_s: seconds since the message was handed to the queue, by both clocks; negative if they differ.
    :param count: higher than that of everything that its sender has published before.
    """

    age_s: float
    count: int


def read_secrets(value: Any) -> tuple[bytes, ...]:
    """Return the secrets of an option: the first signs, all are good for others' signatures.

    :raises InvalidOption: for what is none, or too short; does not show it.
    """
    listed = value if isinstance(value, (list, tuple)) else [value]
    found = tuple(item.encode() if isinstance(item, str) else item for item in listed)
    if not found or not all(isinstance(item, bytes) and len(item) >= SHORTEST_SECRET for item in found):
        raise InvalidOption(_EXPECTED)
    return found


class Signer:
    """Sign what is published, and check what is heard.

    :param secrets: see :func:`read_secrets`.
    :param window_s: the oldest message that is heard, seconds.
    :param clock: seconds since the epoch, as other servers have it.
    """

    def __init__(
        self,
        secrets: tuple[bytes, ...],
        channel: str,
        window_s: float,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = [hmac.digest(secret, _CONTEXT + channel.encode(), "sha256") for secret in secrets]
        self._window_s = window_s
        self._clock = clock
        self._count = count(1)

    def sign(self, stamped: bytes) -> bytes:
        """Return a stamped message with a signature of this moment."""
        signed = b'%b,"sig":"%012x%016x' % (stamped[:-1], int(self._clock() * 1000), next(self._count))
        return b'%b%b"}' % (signed, _mac(self._keys[0], signed))

    def verify(self, raw: bytes, listening_s: float) -> Signature:
        """Return what a message's signature says.

        :param listening_s: for how long this process has listened, seconds: it hears nothing that is older.
        :raises Unauthentic: if it has none, one of another secret or channel, or one that is too old.
        """
        found = _SIGNATURE.fullmatch(raw[-_TAIL_BYTES:])
        if found is None:
            raise Unauthentic("not signed")
        signed, mac = raw[:-_MAC_BYTES], found[3]
        if not any(hmac.compare_digest(_mac(key, signed), mac) for key in self._keys):
            raise Unauthentic("signed with another secret, or for another channel")
        age_s = self._clock() - int(found[1], 16) / 1000
        if age_s < -CLOCK_SKEW_S:
            raise Unauthentic(
                "signed in the future", f"{-age_s:.0f} s by our clock: one of two clocks is wrong"
            )
        if age_s > min(self._window_s, listening_s) + CLOCK_SKEW_S:
            raise Unauthentic("signed too long ago", f"{age_s:.0f} s by our clock")
        return Signature(age_s, int(found[2], 16))


def unsigned(message: bytes) -> bytes:
    """Return a message as it was before :meth:`Signer.sign`."""
    return message[:-_TAIL_BYTES] + b"}"


def _mac(key: bytes, signed: bytes) -> bytes:
    return hmac.digest(key, signed, "sha256").hex().encode()
