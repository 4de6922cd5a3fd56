"""The settings, as keys of the application's configuration."""

from __future__ import annotations

from typing import Any

from flask_socketio_core.contracts.settings import Setting


def _patterns(given: Any) -> tuple[str, ...]:
    found = (given,) if isinstance(given, str) else given
    if not isinstance(found, (list, tuple)) or not all(isinstance(pattern, str) for pattern in found):
        raise ValueError("expected a pattern of rooms such as 'doc:*', or a list of them")
    return tuple(found)


ROOMS: Setting[tuple[str, ...]] = Setting(
    "presence_rooms",
    object,
    (),
    "rooms whose clients are tracked as soon as they enter: a pattern such as 'doc:*', or a list of them",
    expects="a pattern or a list of them",
    parse=_patterns,
)
GRACE_S = Setting(
    "presence_grace_s",
    float,
    5.0,
    "seconds after a user's last connection until that is told; one that comes back in time was never away",
    at_least=0,
)
MAX_LISTED = Setting(
    "presence_max_listed", int, 200, "most users of a room that clients are told of one by one", above=0
)
MAX_META_BYTES = Setting(
    "presence_max_meta_bytes", int, 1024, "most bytes of what is said about a connection, as JSON", above=0
)

ALL: tuple[Setting[Any], ...] = (ROOMS, GRACE_S, MAX_LISTED, MAX_META_BYTES)
