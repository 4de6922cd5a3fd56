"""What the option ``recovery`` can be: seconds, or a mapping."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .settings import Unsuitable, option, settings_of

PYTHON_CLIENTS = ("python-requests/", "Python/", "python-httpx/")
"""How the user agents of the libraries begin with which python-socketio's client connects: requests, aiohttp."""


def speaks_javascript(environ: Mapping[str, Any], auth: Any) -> bool:
    """Return whether a client is not recognised as one of python-socketio's, whose handlers have fixed arguments.

    A WebSocket by websocket-client has neither a user agent nor extensions; what browsers and Node.js open has one of
    the two at least.

    :param environ: WSGI environ of the connection's first request.
    """
    agent: str = environ.get("HTTP_USER_AGENT", "")
    if not agent:
        return "HTTP_UPGRADE" not in environ or "HTTP_SEC_WEBSOCKET_EXTENSIONS" in environ
    return not agent.startswith(PYTHON_CLIENTS)


def _predicate(value: Any) -> Callable[[Mapping[str, Any], Any], bool]:
    if not callable(value):
        raise Unsuitable
    return value  # type: ignore[no-any-return]  # what it returns is looked at when it is asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """The checked settings of connection state recovery."""

    window: float = option(
        float,
        120.0,
        "how long a client that has lost its connection can come back to its state, seconds; "
        "in Node.js ``maxDisconnectionDuration``, 120 s too",
        above=0,
    )
    max_events: int = option(
        int,
        1000,
        "most events that a client can be sent again. One who missed more starts anew",
        above=0,
    )
    max_bytes: int = option(
        int,
        64_000_000,
        "most memory for events that may have to be sent again, in this process, bytes; the oldest are "
        "forgotten first. Default 64 MB",
        above=0,
    )
    max_namespace_bytes: int | None = option(
        int,
        None,
        "the same for those of one namespace. ``None``: no limit of its own",
        above=0,
    )
    max_clients: int = option(
        int,
        10_000,
        "most clients whose state is kept after they have lost their connection; beyond, the one that was lost "
        "first starts anew",
        above=0,
    )
    clients: Callable[[Mapping[str, Any], Any], bool] = option(
        object,
        speaks_javascript,
        "says who takes part: called with the environ of the connection's first request and the auth of the "
        "client, on the hub, so it must not block. Who does is sent one more argument with each event, as by "
        "Node.js: handlers of python-socketio's clients would have to expect it. Default: everybody who is not "
        "recognised as one of those",
        expects="a function of environ and auth",
        parse=_predicate,
    )


SETTINGS = settings_of(Recovery)


def recovery(value: Any) -> Recovery | None:
    """Return the settings; ``None`` for what switches recovery off.

    :raises ValueError: for a setting that does not exist, or cannot have that value.
    """
    if value is None or value is False or value in ("", "0", 0):
        return None
    if value is True:
        return Recovery()
    given = value if isinstance(value, Mapping) else {"window": value}
    known = {setting.name: setting for setting in SETTINGS}
    if strange := [name for name in given if name not in known]:
        raise ValueError(f"there is no setting {strange[0]!r} in it; there are {', '.join(known)}")
    found: dict[str, Any] = {}
    for name, item in given.items():
        try:
            found[name] = known[name].checked(item)
        except Unsuitable as error:
            if not isinstance(value, Mapping):
                raise
            raise ValueError(f"{name}: {error}") from None
    return Recovery(**found)
