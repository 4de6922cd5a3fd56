"""The store that an application uses, whichever it is: made when it is first used, and anew in a forked child."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from ..contracts.fork import OncePerProcess
from ..contracts.urls import Secrets, mask_logs
from ..errors import PartUnsuitable, StoreRefused

if TYPE_CHECKING:
    from ..contracts import AsyncMode, Position, Store, Stretch

CHECK_TTL_S = 30.0
"""How long what a check puts is kept, should nobody take it."""

#: Stores inherited from a parent process, as the queues in ``cluster.cluster``.
_inherited: list[Store] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCheck:
    """What a check found out.

    :param problem: what is wrong, without credentials; empty if nothing is.
    :param refused: the store answers and refuses us; trying again does not help.
    :param round_trip_s: seconds until what was put was there again; ``None`` if it was not.
    """

    problem: str = ""
    refused: bool = False
    round_trip_s: float | None = None

    @property
    def up(self) -> bool:
        """Whether it keeps what it is given."""
        return not self.problem


class CurrentStore:
    """The methods of a store, on the one that this process has; no error of them shows a secret.

    Making it makes a store, which connects to nothing, so that wrong options are told at once.

    :param make: makes the selected store: its class, or a function with the same arguments.
    :param options: ``store_options``.
    """

    def __init__(
        self,
        make: Callable[..., Store],
        url: str,
        channel: str,
        *,
        mode: AsyncMode,
        options: Mapping[str, Any],
    ) -> None:
        self._secrets = Secrets(url, options)
        self._make = partial(make, url, channel, mode=mode, options=dict(options))
        self._mode = mode
        with self._masked():
            store = self._make()
        self._store = store
        self._was_closed = False
        self._is_here = OncePerProcess(mode, is_set=True)
        self._needs_patched = store.capabilities.needs_patched
        mask_logs(self._secrets, logging.getLogger(__name__), type(store).__module__.partition(".")[0])
        self.url = self._secrets.mask(url)
        """Its URL, for people."""
        self.is_shared = store.capabilities.shared
        """Whether other processes find what is put here."""

    def check_mode(self) -> None:
        """Refuse a store whose client library would block all tasks of the async mode.

        :raises PartUnsuitable: naming the modules that have to be patched.
        """
        missing = [name for name in self._needs_patched if not self._mode.is_patched(name)]
        if missing:
            raise PartUnsuitable(
                f"store {self.url} blocks in {', '.join(missing)}, which async mode {self._mode.name!r} needs patched: "
                "monkey-patch the standard library in the program's first lines"
            )

    def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        """See :meth:`Store.put`."""
        with self._masked():
            self._here().put(key, value, ttl_s=ttl_s)

    def take(self, key: str) -> bytes | None:
        """See :meth:`Store.take`."""
        with self._masked():
            return self._here().take(key)

    def add(self, key: str, value: bytes, *, ttl_s: float) -> bytes | None:
        """See :meth:`Store.add`."""
        with self._masked():
            return self._here().add(key, value, ttl_s=ttl_s)

    def append(self, stream: str, value: bytes, *, size: int, max_bytes: int, ttl_s: float) -> Position:
        """See :meth:`Store.append`."""
        with self._masked():
            return self._here().append(stream, value, size=size, max_bytes=max_bytes, ttl_s=ttl_s)

    def read(self, stream: str, *, after: Position | None = None, limit: int) -> Stretch:
        """See :meth:`Store.read`."""
        with self._masked():
            return self._here().read(stream, after=after, limit=limit)

    def check(self) -> StoreCheck:
        """Try whether what is put is there again, under a name that nobody else has."""
        key, value = f"check:{uuid.uuid4().hex}", uuid.uuid4().bytes
        began_s = time.monotonic()
        try:
            self.put(key, value, ttl_s=CHECK_TTL_S)
            found = self.take(key)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is what the check is for
            return StoreCheck(problem=self._secrets.tell(error), refused=isinstance(error, StoreRefused))
        if found != value:
            return StoreCheck(problem="what was put is not there")
        return StoreCheck(round_trip_s=time.monotonic() - began_s)

    def close(self) -> None:
        """End its connections; it is made anew if it is used again."""
        if self._is_here.is_set():
            self._is_here.clear()
            self._was_closed = True
            with self._masked():
                self._store.close()

    def _here(self) -> Store:
        if not self._is_here.is_set():
            self._is_here.run(self._make_anew)
        return self._store

    def _make_anew(self) -> None:
        if not self._was_closed:
            _inherited.append(self._store)
        self._store, self._was_closed = self._make(), False
        self._is_here.set()

    @contextmanager
    def _masked(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._secrets.clean(error)  # what led to it included: all of that is in a traceback
            raise
