"""What is counted for one application in one process."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn
from weakref import WeakSet

from flask import current_app
from limits.errors import StorageError
from limits.storage import Storage, storage_from_string
from limits.strategies import STRATEGIES

from flask_socketio_core import EventRejected
from flask_socketio_core.contracts.fork import ProcessFlag
from flask_socketio_core.contracts.settings import configured
from flask_socketio_core.contracts.urls import describe
from flask_socketio_core.errors import ContextError, InvalidOption

from . import settings
from .memory import Memory

if TYPE_CHECKING:
    from flask import Flask
    from limits.strategies import RateLimiter

    from flask_socketio_core.contracts.clients import Client

Counted = tuple[settings.Rates, str]
"""Limits, and the name of what they are for."""

EXTENSION = "flask_socketio_limits"
"""Where an application has its limiter: ``app.extensions``."""
ERROR = "rate limited"
EVENTS = "events"
"""Under which name all events are counted together."""
REDIS_TIMEOUT_S = 1.0
"""How long a handler waits for Redis at most, seconds, for a connection and for an answer."""
AWAY_S = 5.0
"""How long a storage that failed is not asked again, seconds: a handler would wait for each time-out."""

limiters: WeakSet[Limiter] = WeakSet()
"""Of all applications of this process."""

_logger = logging.getLogger("flask_socketio_limits")


class Limiter:
    """The limits of one application, and where they are counted. Thread-safe, as the library's storages are.

    :param config: the application's configuration.
    :raises InvalidOption: if a setting is not what it has to be.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.events = configured(settings.EVENTS, config)
        self.by_event = configured(settings.BY_EVENT, config)
        self.connects = configured(settings.CONNECTS, config)
        self._key = configured(settings.KEY, config)
        self._refuses_when_away = configured(settings.WHEN_AWAY, config) == "refuse"
        self._url = configured(settings.STORAGE, config)
        options = configured(settings.STORAGE_OPTIONS, config)
        self._options = dict(options)
        if "redis" in self._url.partition("://")[0]:
            self._options = {
                "socket_timeout": REDIS_TIMEOUT_S,
                "socket_connect_timeout": REDIS_TIMEOUT_S,
                **self._options,
            }
        self.limits_events = self.events is not None or bool(self.by_event)
        self._strategy = STRATEGIES[configured(settings.STRATEGY, config)]
        self.opened_here = ProcessFlag()
        self.open()

    def open(self) -> None:
        """Begin with a storage of this process's own; a forked child may not use its parent's connections.

        :raises InvalidOption: for a URL that the library does not know, or whose client library is missing.
        """
        where = f"app.config[{settings.STORAGE.config_key!r}]"
        try:
            in_memory = self._url.partition("://")[0] == "memory"
            make = Memory if in_memory else partial(storage_from_string, self._url, wrap_exceptions=True)
            storage = make(**self._options)
        except Exception as error:  # noqa: BLE001  # what a client library raises, which may be missing
            raise InvalidOption(f"{where}: {describe(error, self._url)}") from None
        if not isinstance(storage, Storage):
            raise InvalidOption(
                f"{where}: expected a storage that is no async one, such as redis://localhost:6379/0"
            )
        self._limiter: RateLimiter = self._strategy(storage)
        self.forgets = isinstance(storage, Memory)
        self.opened_here.set()
        self._lock = threading.Lock()
        self._asks_again_s = 0.0

    def connect_wait_s(self, client: Client) -> float:
        """Count a client that joins a namespace; return after how many seconds it may try again, 0 for at once."""
        if self.connects is None:
            return 0.0
        return self._wait_s(self.connects, "connects", settings.of_address(client))

    def event_wait_s(self, client: Client, event: str) -> float:
        """Count an event; return after how many seconds the client may send it again, 0 for at once."""
        who = self._key(client)
        wait_s = 0.0 if self.events is None else self._wait_s(self.events, EVENTS, who)
        for pattern, rates in self.by_event.items():
            if not wait_s and fnmatchcase(event, pattern):
                wait_s = self._wait_s(rates, _of_pattern(pattern), who)
        return wait_s

    def wait_s(self, rates: settings.Rates, what: str, key: settings.Key | None, client: Client) -> float:
        """Count something that has limits of its own; by ``limits_key`` if it has no key of its own."""
        return self._wait_s(rates, what, (key or self._key)(client))

    def forget(self, client: Client, others: Iterable[Counted]) -> None:
        """Forget what was counted in memory for a client that has left.

        :param others: what is limited besides events.
        """
        if not self.forgets:
            return
        who = settings.of_client(client)
        counted = [(rates, _of_pattern(pattern)) for pattern, rates in self.by_event.items()]
        if self.events is not None:
            counted.append((self.events, EVENTS))
        for rates, what in (*counted, *others):
            for rate in rates:
                self._limiter.clear(rate, what, who)

    def _wait_s(self, rates: settings.Rates, what: str, who: str) -> float:
        now_s = time.monotonic()
        if now_s < self._asks_again_s:
            return self._asks_again_s - now_s if self._refuses_when_away else 0.0
        try:
            for rate in rates:
                if not self._limiter.hit(rate, what, who):
                    reset_s = self._limiter.get_window_stats(rate, what, who).reset_time - time.time()
                    return max(round(reset_s, 3), 0.001)
        except StorageError as error:
            self._note_away(error.storage_error)
            return AWAY_S if self._refuses_when_away else 0.0
        if self._asks_again_s:
            self._note_back()
        return 0.0

    def _note_away(self, error: Exception) -> None:
        with self._lock:
            is_new, self._asks_again_s = not self._asks_again_s, time.monotonic() + AWAY_S
        if is_new:
            _logger.error(
                "the storage of rate limits cannot be reached (%s: %s), until it can all events and connects are %s;"
                " see SOCKETIO_LIMITS_STORAGE and SOCKETIO_LIMITS_WHEN_AWAY",
                type(error).__name__,
                error,
                "refused" if self._refuses_when_away else "let pass",
            )

    def _note_back(self) -> None:
        with self._lock:
            is_new, self._asks_again_s = bool(self._asks_again_s), 0.0
        if is_new:
            _logger.warning("the storage of rate limits is back")


def _of_pattern(pattern: str) -> str:
    return f"event {pattern}"


def open_limiter(app: Flask) -> Limiter:
    """Return the limiter of an application, which it has once, whoever serves it; in a forked child with a new storage.

    :raises InvalidOption: if a setting is not what it has to be.
    """
    limiter: Limiter | None = app.extensions.get(EXTENSION)
    if limiter is None:
        limiter = app.extensions.setdefault(EXTENSION, Limiter(app.config))
        limiters.add(limiter)
    elif not limiter.opened_here.is_set():
        limiter.open()
    return limiter


def limiter_here() -> Limiter:
    """Return the limiter of the application whose context is active.

    :raises ContextError: if it has none, because this plugin is not loaded.
    """
    limiter: Limiter | None = current_app.extensions.get(EXTENSION)
    if limiter is None:
        raise ContextError(
            "a handler has a limit, but the plugin 'limits' is not loaded here: see `flask socketio plugins` and"
            " SOCKETIO_LOAD_PLUGINS"
        )
    return limiter


def refuse(wait_s: float) -> NoReturn:
    """Answer an event instead of its handler.

    :raises EventRejected: with the seconds to wait.
    """
    raise EventRejected(ack={"error": ERROR, "retry_after": wait_s})


def refuse_connect(wait_s: float) -> NoReturn:
    """Refuse a client.

    :raises ConnectionRefusedError: with the seconds to wait.
    """
    # Here, because it imports python-socketio and what that finds installed; plugins are listed without that.
    from flask_socketio_core.errors import ConnectionRefusedError

    raise ConnectionRefusedError(ERROR, {"retry_after": wait_s})
