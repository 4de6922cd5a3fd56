"""Socket.IO session ids: every server recognises them by their form, without asking anybody.

::

    xuy1yW1VkELyE2x1sf2b1d1c
    |--------------||------|
    random          "s" and a checksum of it

A client alone is reached by its sid, so nobody may be in a room of that name; and whether a name is the sid of a client
on some other server must be known at once. The checksum is public: who makes up a name with a fitting one only finds it
refused. No hexadecimal number and no text in capitals has this form; of other names of this length, one in 2**41 has at
most.
"""

from __future__ import annotations

import re
import secrets
import zlib
from typing import Any

RANDOM_CHARACTERS = 16
"""They hold 96 bits, as many as in python-socketio's sids."""

_FOREIGN = re.compile(r"[A-Za-z0-9_-]{20}")

LENGTH = RANDOM_CHARACTERS + 8


def new_sid() -> str:
    """Return a sid: 24 characters safe in URLs."""
    random = secrets.token_urlsafe(12)
    return random + _checksum(random)


def is_sid(name: Any) -> bool:
    """Return whether a room's name has the form of a sid, be there such a client or not."""
    return (
        isinstance(name, str)
        and len(name) == LENGTH
        and name.isascii()
        and name[RANDOM_CHARACTERS:] == _checksum(name[:RANDOM_CHARACTERS])
    )


def may_be_foreign(name: Any) -> bool:
    """Return whether a name may be the sid of a client of python-socketio's; rooms may have such a name, too.

    Source: python-engineio 4.13, ``base_server.py``, ``generate_id()``.
    """
    return isinstance(name, str) and _FOREIGN.fullmatch(name) is not None


def refuse_sid(action: str, name: Any) -> None:
    """Refuse a sid where the name of a room is expected.

    :param action: what was to be done, for the error: ``"enter"`` or ``"close"``.
    :raises ValueError: if the name has the form of a sid; says what to do.
    """
    if is_sid(name):
        raise ValueError(
            f"cannot {action} room {name!r}: it has the form of a sid, and only that client is reached by it; where "
            "clients name rooms, put something before it, as in f'room:{name}'"
        )


def _checksum(random: str) -> str:
    return f"s{zlib.crc32(random.encode()) & 0xFFF_FFFF:07x}"
