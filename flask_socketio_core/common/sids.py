"""Socket.IO session ids: every server recognises them by their form, without asking anybody.

::

    xuy1yW1VkELyE2x1sf2b1d1c    q7XwyW1VkELyE2x1t09c1d52
    |--------------||------|    |--||----------||------|
    random          "s" and     address         "t" and
                    a checksum      random      a checksum

The second form begins with the address of the server that has the client, where the message queue can send to one
server alone; see :attr:`~flask_socketio_core.contracts.MessageQueue.address`.

A client alone is reached by its sid, so nobody may be in a room of that name; and whether a name is the sid of a client
on some other server must be known at once. The checksum is public: who makes up a name with a fitting one only finds it
refused. No hexadecimal number and no text in capitals has this form; of other names of this length, one in 2**40 has at
most.
"""

from __future__ import annotations

import re
import secrets
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

RANDOM_CHARACTERS = 16
"""They hold 96 bits, as many as in python-socketio's sids."""

_FOREIGN = re.compile(r"[A-Za-z0-9_-]{20}")

LENGTH = RANDOM_CHARACTERS + 8


ADDRESS_DIGITS = 6
"""Hexadecimal digits of an address, which takes the place of the first four random characters."""

PLAIN, ADDRESSED = "s", "t"
"""What a checksum begins with: of a sid without an address, and of one that begins with it."""

_ADDRESS = re.compile(r"[0-9a-f]{6}")
_ADDRESS_IN_SID = re.compile(r"[A-Za-z0-9_-]{4}")


def new_sid(address: str = "") -> str:
    """Return a sid: 24 characters safe in URLs.

    :param address: of the server that has the client, :data:`ADDRESS_DIGITS` hexadecimal digits; empty for none.
    """
    random = secrets.token_urlsafe(12)
    if not address:
        return random + _checksum(random, PLAIN)
    random = urlsafe_b64encode(bytes.fromhex(address)).decode() + random[ADDRESS_DIGITS * 2 // 3 :]
    return random + _checksum(random, ADDRESSED)


def address_in(name: Any) -> str:
    """Return the address of the server that has the client with a sid; empty for other names."""
    if is_sid(name) and name[RANDOM_CHARACTERS] == ADDRESSED and _ADDRESS_IN_SID.match(name):
        return urlsafe_b64decode(name[: ADDRESS_DIGITS * 2 // 3]).hex()
    return ""


def is_address(text: str) -> bool:
    """Return whether a text has the form of an address."""
    return _ADDRESS.fullmatch(text) is not None


def is_sid(name: Any) -> bool:
    """Return whether a room's name has the form of a sid, be there such a client or not."""
    return (
        isinstance(name, str)
        and len(name) == LENGTH
        and name.isascii()
        and name[RANDOM_CHARACTERS] in (PLAIN, ADDRESSED)
        and name[RANDOM_CHARACTERS:] == _checksum(name[:RANDOM_CHARACTERS], name[RANDOM_CHARACTERS])
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


def _checksum(random: str, form: str) -> str:
    return f"{form}{zlib.crc32(random.encode(), form == ADDRESSED) & 0xFFF_FFFF:07x}"
