"""The store: a file of SQLite's, for the processes of one host. ``drawer:///var/lib/shop/drawer.sqlite``."""

from __future__ import annotations

import sqlite3
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import unquote

from flask_socketio_core.contracts import Position, Store, StoreCapabilities, Stretch, stores
from flask_socketio_core.contracts.stores import Setting
from flask_socketio_core.errors import StoreClosed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from flask_socketio_core.contracts import AsyncMode

MAX_BYTES = 16 * 1024 * 1024
SETTINGS = (Setting("timeout_s", float, 2.0, "seconds to wait for another process that writes", above=0),)
TABLES = """
CREATE TABLE IF NOT EXISTS pairs (name TEXT PRIMARY KEY, value BLOB, ends REAL);
CREATE TABLE IF NOT EXISTS streams (name TEXT PRIMARY KEY, epoch TEXT, top INTEGER, ends REAL);
CREATE TABLE IF NOT EXISTS items (name TEXT, number INTEGER, value BLOB, ends REAL, PRIMARY KEY (name, number));
CREATE INDEX IF NOT EXISTS pair_ends ON pairs (ends);
CREATE INDEX IF NOT EXISTS stream_ends ON streams (ends);
"""


class DrawerStore(Store):
    """A connection for each call: SQLite's may not be used by several threads at once, and are quickly made."""

    # SQLite waits in C, where no patch reaches it, and not for long: nothing has to be patched.
    capabilities: ClassVar[StoreCapabilities] = StoreCapabilities(
        durable=True, max_value_bytes=MAX_BYTES, needs_patched=()
    )

    def __init__(self, url: str, channel: str, *, mode: AsyncMode, options: Mapping[str, Any]) -> None:
        super().__init__(url, channel, mode=mode, options=options)
        parsed = stores.parse(url)
        settings = stores.read(SETTINGS, options, parsed.query, where="drawer")
        self._path = unquote(parsed.path)
        self._timeout_s: float = settings["timeout_s"]
        self._errors = stores.ClientErrors("SQLite", url, sqlite3.Error)
        self._closed = False

    def put(self, key: str, value: bytes, *, ttl_s: float) -> None:
        stores.check_size(value, MAX_BYTES, "drawer")
        with self._writing(key) as (rows, name, now):
            rows.execute("REPLACE INTO pairs VALUES (?, ?, ?)", (name, value, now + ttl_s))

    def take(self, key: str) -> bytes | None:
        with self._writing(key) as (rows, name, _):
            found = rows.execute("SELECT value FROM pairs WHERE name = ?", (name,)).fetchone()
            rows.execute("DELETE FROM pairs WHERE name = ?", (name,))
            return None if found is None else bytes(found[0])

    def add(self, key: str, value: bytes, *, ttl_s: float) -> bytes | None:
        stores.check_size(value, MAX_BYTES, "drawer")
        with self._writing(key) as (rows, name, now):
            found = rows.execute("SELECT value FROM pairs WHERE name = ?", (name,)).fetchone()
            if found is not None:
                return None if found[0] == value else bytes(found[0])
            rows.execute("INSERT INTO pairs VALUES (?, ?, ?)", (name, value, now + ttl_s))
            return None

    def append(self, stream: str, value: bytes, *, size: int, max_bytes: int, ttl_s: float) -> Position:
        stores.check_size(value, MAX_BYTES, "drawer")
        with self._writing(stream) as (rows, name, now):
            found = rows.execute("SELECT epoch, top FROM streams WHERE name = ?", (name,)).fetchone()
            epoch, top = found or (uuid.uuid4().hex, 0)
            top += 1
            rows.execute("REPLACE INTO streams VALUES (?, ?, ?, ?)", (name, epoch, top, now + ttl_s))
            rows.execute("INSERT INTO items VALUES (?, ?, ?, ?)", (name, top, value, now + ttl_s))
            newest = "SELECT number, length(value) FROM items WHERE name = ? ORDER BY number DESC"
            kept, kept_bytes = top + 1, 0
            for number, length in rows.execute(newest, (name,)).fetchall():
                kept_bytes += length
                if kept_bytes > max_bytes or top - number >= size:
                    break
                kept = number
            rows.execute("DELETE FROM items WHERE name = ? AND number < ?", (name, kept))
            return Position(epoch, top)

    def read(self, stream: str, *, after: Position | None = None, limit: int) -> Stretch:
        with self._writing(stream) as (rows, name, _):
            found = rows.execute("SELECT epoch, top FROM streams WHERE name = ?", (name,)).fetchone()
            if found is None:
                return Stretch(complete=after is None)
            epoch, top = found
            oldest = (
                rows.execute("SELECT min(number) FROM items WHERE name = ?", (name,)).fetchone()[0] or top + 1
            )
            if after is None:
                wanted = max(top - limit + 1, 1)
            else:
                known = after.epoch == epoch and after.number <= top
                wanted = after.number + 1 if known else 0
            first = max(wanted, oldest)
            items = "SELECT value FROM items WHERE name = ? AND number >= ? ORDER BY number LIMIT ?"
            values = tuple(bytes(value) for (value,) in rows.execute(items, (name, first, limit)))
            return Stretch(epoch=epoch, first=first, values=values, top=top, complete=wanted >= oldest)

    def ping(self) -> None:
        with self._writing("ping"):
            pass

    def close(self) -> None:
        self._closed = True

    @contextmanager
    def _writing(self, name: str) -> Iterator[tuple[sqlite3.Connection, str, float]]:
        """Have the file to oneself; yield a connection, the name in this channel, and the time."""
        if self._closed:
            raise StoreClosed("the drawer was closed")
        name, now = f"{self.channel}:{stores.check_name(name)}", time.time()
        with (
            self._errors,
            closing(sqlite3.connect(self._path, timeout=self._timeout_s, isolation_level=None)) as rows,
        ):
            rows.executescript(TABLES)
            rows.execute("BEGIN IMMEDIATE")
            for table in ("pairs", "streams"):
                rows.execute(f"DELETE FROM {table} WHERE ends <= ?", (now,))
            rows.execute("DELETE FROM items WHERE name = ? AND ends <= ?", (name, now))
            rows.execute("DELETE FROM items WHERE name NOT IN (SELECT name FROM streams)")
            yield rows, name, now
            rows.execute("COMMIT")
