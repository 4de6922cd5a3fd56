"""The store of an application, whichever it is: made when it is needed, anew after a fork, and silent about secrets."""

from __future__ import annotations

import logging
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from flask_socketio_core import SocketIO
from flask_socketio_core.contracts import Store, StoreCapabilities, Stretch
from flask_socketio_core.errors import (
    InvalidOption,
    PartUnsuitable,
    StoreRefused,
    StoreUnavailable,
    UnknownOption,
    UnknownPart,
)
from flask_socketio_core.selection import Plugins
from flask_socketio_core.store.current import CurrentStore
from flask_socketio_core.store.memory import MemoryStore
from flask_socketio_core.testing.threads import ThreadMode
from third_party.socketio_drawer.socketio_drawer import hooks as drawer


def current(url: str = "memory://", channel: str = "current", make: Any = MemoryStore) -> CurrentStore:
    return CurrentStore(make, url, channel, mode=ThreadMode(), options={})


class Leaking(MemoryStore):
    """A store that shows its password, as a careless plugin's may."""

    capabilities = StoreCapabilities(needs_patched=("socket",))

    def take(self, key: str) -> bytes | None:
        raise StoreUnavailable(f"cannot reach {self.url}") from OSError(f"{self.url}: no route")

    def add(self, key: str, value: bytes, *, ttl_s: float) -> bytes | None:
        raise StoreRefused(f"{self.url} refuses us")


def test_what_is_put_is_there() -> None:
    store = current()
    store.put("key", b"value", ttl_s=60)
    assert store.add("key", b"other", ttl_s=60) == b"value"
    assert store.take("key") == b"value"
    position = store.append("stream", b"value", size=1, max_bytes=10, ttl_s=60)
    assert store.read("stream", after=position, limit=1).complete
    assert store.check().up and store.check().round_trip_s is not None


def test_no_error_shows_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    store = current("memory://user-of-it:s3cret@host", make=Leaking)
    with pytest.raises(StoreUnavailable, match=r"cannot reach memory://\*\*\*@host") as raised:
        store.take("key")
    assert "s3cret" not in str(raised.value.__cause__)
    assert store.url == "memory://***@host"
    found = store.check()
    assert not found.up and not found.refused and "s3cret" not in found.problem
    assert found.problem == "cannot reach memory://***@host"


def test_a_store_that_is_closed_is_made_anew_when_it_is_used() -> None:
    store = current()
    store.put("key", b"value", ttl_s=60)
    store.close()
    store.close()
    assert store.take("key") is None  # it was in memory
    store.put("key", b"value", ttl_s=60)
    assert store.take("key") == b"value"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_has_a_store_of_its_own(tmp_path: Path) -> None:
    made: list[Store] = []

    def make(*arguments: Any, **options: Any) -> Store:
        made.append(MemoryStore(*arguments, **options))
        return made[-1]

    store = current(make=make)
    store.put("key", b"value", ttl_s=60)
    child = os.fork()
    if child == 0:
        found = 1
        try:
            store.put("other", b"value", ttl_s=60)
            found = 0 if len(made) == 2 and store.take("key") is None else 2
            store.close()
        finally:
            os._exit(found)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert len(made) == 1 and store.take("key") == b"value" and store.take("other") is None


def test_a_mode_that_does_not_patch_what_the_store_blocks_in_is_refused() -> None:
    class Unpatched(ThreadMode):
        def is_patched(self, module: str) -> bool:
            return False

    store = CurrentStore(Leaking, "memory://user:s3cret@host", "c", mode=Unpatched(), options={})
    with pytest.raises(
        PartUnsuitable, match=r"store memory://\*\*\*@host blocks in socket, which async mode"
    ):
        store.check_mode()
    CurrentStore(MemoryStore, "memory://", "c", mode=Unpatched(), options={}).check_mode()


# ------------------------------------------------------------------------------------------------ of an application


def test_without_the_option_each_application_has_its_own_and_only_when_it_is_used() -> None:
    first, second = (SocketIO(Flask(name), async_mode="threading") for name in ("first", "second"))
    before = set(threading.enumerate())
    stores = [socketio._binding().store for socketio in (first, second)]
    stores[0].put("key", b"value", ttl_s=60)
    assert stores[1].take("key") is None
    assert stores[0] is first._binding().store
    assert not stores[0].is_shared and set(threading.enumerate()) == before


def test_two_applications_with_one_url_and_channel_share_what_they_keep() -> None:
    options: dict[str, Any] = {"async_mode": "threading", "store": "memory://shared", "channel": "shop"}
    first, second = (SocketIO(Flask(name), **options)._binding().store for name in ("first", "second"))
    other = SocketIO(Flask("other"), **{**options, "channel": "forum"})._binding().store
    first.put("key", b"value", ttl_s=60)
    assert other.take("key") is None
    assert second.take("key") == b"value"


def test_options_are_checked_at_the_start_and_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    app = Flask("shop")
    with pytest.raises(UnknownPart, match=r"store='owl://\.\.\.' is not provided") as unknown:
        SocketIO(app, store="owl://user:s3cret@host")
    with pytest.raises(UnknownOption, match="did you mean 'max_entries'"):
        SocketIO(app, store="memory://", store_options={"max_entrys": 1})
    with pytest.raises(
        InvalidOption, match="store option max_entries: expected a whole number greater than 0"
    ):
        SocketIO(app, store="memory://", store_options={"max_entries": 0})
    with pytest.raises(InvalidOption, match="max_bytes= in the store URL: expected"):
        SocketIO(app, store="memory://host?max_bytes=many")
    options = SocketIO(app, store="memory://user:s3cret@host")._binding().options
    assert "s3cret" not in repr(options) + str(unknown.value) + caplog.text


def test_the_description_says_which_one_is_in_use() -> None:
    socketio = SocketIO(Flask("shop"), store="memory://")
    assert socketio.plugins.store == "memory"
    (part,) = [part for part in socketio.plugins.parts if part.kind == "store" and part.name == "memory"]
    assert (part.selected, part.reason, part.schemes) == (True, "claims memory://", ("memory",))


def test_the_end_of_the_server_closes_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    app = Flask("shop")
    socketio = SocketIO(app, async_mode="threading", store="memory://ending")
    socketio.test_client(app)
    store = socketio._binding().store
    store.put("key", b"value", ttl_s=60)
    socketio.close()
    assert store._store._closed  # type: ignore[attr-defined]  # of the in-memory store
    assert not caplog.records


def test_a_strangers_store_is_selected_and_keeps_what_several_objects_put(tmp_path: Path) -> None:
    url = f"drawer://{tmp_path}/drawer.sqlite"
    selected = Plugins(extra=[drawer]).select_store(url)
    here, there = (CurrentStore(selected.make, url, "shop", mode=ThreadMode(), options={}) for _ in range(2))
    here.put("key", b"value", ttl_s=60)
    assert there.take("key") == b"value"
    assert here.read("stream", limit=1) == Stretch()
    assert here.is_shared
