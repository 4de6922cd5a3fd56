"""What the configuration may say, and whom a limit counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from limits import RateLimitItem, parse_many
from limits.strategies import STRATEGIES

from flask_socketio_core.contracts.clients import Client, address_of
from flask_socketio_core.contracts.settings import Setting

Rates = tuple[RateLimitItem, ...]
"""All of them hold."""

Key = Callable[[Client], str]
"""Says under which name a client is counted."""


def rates(text: str) -> Rates:
    """Read what is written in the notation of the library: ``"10 per second; 1000/hour"``.

    :raises ValueError: with an example of what is expected.
    """
    try:
        return tuple(parse_many(text))
    except ValueError:
        raise ValueError(
            f"cannot read {text!r:.80}, expected for example '10/second' or '100 per minute; 1000/hour'"
        ) from None


def of_client(client: Client) -> str:
    """Count each client, which a person may have many of."""
    return f"client {client.sid}"


def of_address(client: Client) -> str:
    """Count all clients of an address together; one that has none, as behind a Unix socket, by itself."""
    address = address_of(client.environ)
    return of_client(client) if address is None else f"address {address}"


def of_user(client: Client) -> str:
    """Count all clients of a user together, and those of nobody by their address."""
    user = client.user
    if user is None:
        return of_address(client)
    return f"user {user}"


KEYS: Mapping[str, Key] = {"client": of_client, "user": of_user, "address": of_address}


def key(value: str | Key) -> Key:
    """Return the function of a name, or the function that is given.

    :raises ValueError: if it is neither.
    """
    found = KEYS.get(value) if isinstance(value, str) else value
    if not callable(found):
        raise ValueError(f"expected one of {', '.join(KEYS)}, or a function of a client, got {value!r:.80}")
    return found


def _rates_by_event(given: Mapping[Any, Any]) -> dict[str, Rates]:
    found = {}
    for pattern, text in given.items():
        if not (isinstance(pattern, str) and isinstance(text, str)):
            raise ValueError("expected a dict of limits by event, such as {'chat.*': '5/second'}")
        found[pattern] = rates(text)
    return found


EVENTS: Setting[Rates | None] = Setting(
    "limits_events", str, None, "most events, all together, such as '20/second; 1000/hour'", parse=rates
)
BY_EVENT: Setting[dict[str, Rates]] = Setting(
    "limits_by_event",
    dict,
    {},
    "most events of a name or a pattern, such as {'login': '3/minute', 'chat.*': '5/second'}",
    parse=_rates_by_event,
)
CONNECTS: Setting[Rates | None] = Setting(
    "limits_connects",
    str,
    None,
    "how often one address may join namespaces, such as '30/minute'",
    parse=rates,
)
KEY: Setting[Key] = Setting(
    "limits_key",
    object,
    of_client,
    "who has the limits of events: 'client', 'user', 'address', or a function of a client that returns a text",
    expects="'client', 'user', 'address' or a function",
    parse=key,
)
STORAGE = Setting(
    "limits_storage", str, "memory://", "URL of where events are counted; several processes share a redis://"
)
STORAGE_OPTIONS: Setting[dict[str, Any]] = Setting(
    "limits_storage_options", dict, {}, "further arguments for the storage, as the library names them"
)
STRATEGY = Setting(
    "limits_strategy", str, "fixed-window", "how the library counts", choices=tuple(sorted(STRATEGIES))
)
WHEN_AWAY = Setting(
    "limits_when_away",
    str,
    "allow",
    "what becomes of events and connects while the storage cannot be reached",
    choices=("allow", "refuse"),
)
ALL: tuple[Setting[Any], ...] = (
    EVENTS,
    BY_EVENT,
    CONNECTS,
    KEY,
    STORAGE,
    STORAGE_OPTIONS,
    STRATEGY,
    WHEN_AWAY,
)
