"""What every store must do, as tests that a plugin's author imports.

::

    class TestPostgresStore(StoreConformance):
        store_class = PostgresStore

        @pytest.fixture
        def url(self) -> str:
            return "postgresql://localhost/test"

That is all. What a store promises in its ``capabilities`` is tested, what it does not promise is skipped. With a
fixture ``broker`` that returns something with ``stop()`` and ``start()``, the outage tests run, too; with ``pause()``
and ``resume()`` besides (``SIGSTOP`` and ``SIGCONT``), that of a store that has frozen. A test that cannot pass is
overridden with ``@pytest.mark.xfail(reason=...)``; overriding one in any other way is an error.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from ...contracts import Position, Stretch
from ...contracts.store import MAX_KEY_BYTES
from ...errors import InvalidOption, StoreClosed, StoreUnavailable, UnknownOption, ValueTooLarge
from .guard import refuse_overrides
from .remote import SECRETS, FreezableBroker, RemoteConformance, StoppableBroker

if TYPE_CHECKING:
    from ...contracts import AsyncMode, Store

MakeStore = Callable[..., "Store"]

#: Seconds that nothing in a test outlives.
LONG_S = 600.0
#: Seconds that something lives in a test that waits for its end.
SHORT_S = 0.3
#: Seconds after which what lived for ``SHORT_S`` has ended, whatever the store's clock ticks in.
ENDED_S = 5.0
#: Seconds that a method may take while the store is away, and after which it must work again once it is back.
ANSWER_S = 6.0
RECOVERY_S = 30.0
#: Bytes that no stream of a test reaches.
PLENTY = 10_000_000


class StoreConformance(RemoteConformance):
    """Subclass it, name the store's class and give a ``url`` fixture."""

    store_class: ClassVar[type[Store]]
    #: Options that every store of the suite is made with.
    store_options: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        refuse_overrides(StoreConformance, cls)

    # ------------------------------------------------------------------------------------------------ fixtures

    @pytest.fixture
    def make_store(self, url: str, channel: str, mode: AsyncMode) -> Iterator[MakeStore]:
        """Return a function that makes stores; they are closed at the test's end."""
        made: list[Store] = []

        def make(on: str = channel, /, **options: Any) -> Store:
            store = self.store_class(url, on, mode=mode, options={**self.store_options, **options})
            made.append(store)
            return store

        yield make
        for store in made:
            store.close()

    @pytest.fixture
    def store(self, make_store: MakeStore) -> Store:
        """A store with nothing in it."""
        return make_store()

    # --------------------------------------------------------------------------------------------- construction

    def test_constructing_starts_no_thread_and_needs_nobody(
        self, mode: AsyncMode, url: str, channel: str
    ) -> None:
        before = set(threading.enumerate())
        store = self.store_class(url, channel, mode=mode, options=dict(self.store_options))
        assert set(threading.enumerate()) == before
        store.close()

    def test_an_unknown_option_is_refused(self, make_store: MakeStore) -> None:
        with pytest.raises(UnknownOption, match="no_such_option"):
            make_store(no_such_option=1)

    def test_the_options_given_are_not_changed(self, mode: AsyncMode, url: str, channel: str) -> None:
        options = dict(self.store_options)
        self.store_class(url, channel, mode=mode, options=options).close()
        assert options == self.store_options

    # ------------------------------------------------------------------------------------------------------ keys

    def test_what_is_put_is_taken_once(self, store: Store) -> None:
        store.put("key", b"value", ttl_s=LONG_S)
        assert store.take("key") == b"value"
        assert store.take("key") is None

    def test_what_is_put_takes_the_place_of_what_was_there(self, store: Store) -> None:
        store.put("key", b"old", ttl_s=LONG_S)
        store.put("key", b"new", ttl_s=LONG_S)
        assert store.take("key") == b"new"

    def test_what_is_added_first_stays(self, store: Store) -> None:
        assert store.add("key", b"first", ttl_s=LONG_S) is None
        assert store.add("key", b"second", ttl_s=LONG_S) == b"first"
        assert store.take("key") == b"first"
        assert store.add("key", b"third", ttl_s=LONG_S) is None

    def test_to_add_the_same_again_is_no_difference(self, store: Store) -> None:
        assert store.add("key", b"mine", ttl_s=LONG_S) is None
        assert store.add("key", b"mine", ttl_s=LONG_S) is None
        assert store.add("key", b"yours", ttl_s=LONG_S) == b"mine"

    def test_an_empty_value_is_a_value(self, store: Store) -> None:
        assert store.add("key", b"", ttl_s=LONG_S) is None
        assert store.add("key", b"other", ttl_s=LONG_S) == b""
        assert store.take("key") == b""

    def test_every_byte_is_kept_as_it_was(self, store: Store) -> None:
        value = bytes(range(256)) * 5
        store.put("key", value, ttl_s=LONG_S)
        assert store.take("key") == value

    def test_a_value_of_a_million_bytes_is_kept(self, store: Store) -> None:
        value = b"\x00\xff" * 500_000
        assert store.add("key", value, ttl_s=LONG_S) is None
        assert store.add("key", b"other", ttl_s=LONG_S) == value

    @pytest.mark.parametrize(
        "name", ["a:b", "spaces and\nlines", "ключ", "{braces}", "x" * MAX_KEY_BYTES], ids=repr
    )
    def test_names_are_what_they_are(self, store: Store, name: str) -> None:
        store.put(name, b"value", ttl_s=LONG_S)
        append(store, name, b"in a stream")
        assert store.take(name) == b"value"
        assert store.read(name, limit=10).values == (b"in a stream",)

    @pytest.mark.parametrize("name", ["", "x" * (MAX_KEY_BYTES + 1), "é" * MAX_KEY_BYTES], ids=len)
    def test_names_that_are_too_short_or_too_long_are_refused(self, store: Store, name: str) -> None:
        acts: tuple[Callable[[], object], ...] = (
            lambda: store.put(name, b"", ttl_s=LONG_S),
            lambda: store.take(name),
            lambda: store.add(name, b"", ttl_s=LONG_S),
            lambda: append(store, name, b""),
            lambda: store.read(name, limit=1),
        )
        for act in acts:
            with pytest.raises(InvalidOption, match=str(MAX_KEY_BYTES)):
                act()

    def test_a_value_beyond_the_limit_is_refused(self, store: Store) -> None:
        limit = store.capabilities.max_value_bytes
        if limit is None:
            pytest.skip("the store has no limit of its own")
        value = bytes(limit + 1)
        acts: tuple[Callable[[], object], ...] = (
            lambda: store.put("key", value, ttl_s=LONG_S),
            lambda: store.add("key", value, ttl_s=LONG_S),
            lambda: append(store, "stream", value),
        )
        for act in acts:
            with pytest.raises(ValueTooLarge, match=str(limit)):
                act()

    def test_of_several_who_take_one_gets_it(self, make_store: MakeStore) -> None:
        stores = self._stores(make_store)
        for number in range(10):
            stores[0].put(f"key-{number}", b"value", ttl_s=LONG_S)
            taken = at_once([partial(store.take, f"key-{number}") for store in stores])
            assert sorted(taken, key=repr) == [None] * (len(stores) - 1) + [b"value"]

    def test_of_several_who_add_one_has_kept_it(self, make_store: MakeStore) -> None:
        stores = self._stores(make_store)
        for number in range(10):
            found = at_once(
                [
                    partial(store.add, f"key-{number}", b"%d" % value, ttl_s=LONG_S)
                    for value, store in enumerate(stores)
                ]
            )
            kept = b"%d" % found.index(None)
            assert found.count(None) == 1 and set(found) == {None, kept}

    def _stores(self, make_store: MakeStore) -> list[Store]:
        """Return a store for each of several threads: one of its own if what is put is shared."""
        shared = self.store_class.capabilities.shared
        first = make_store()
        return [first, *(make_store() if shared else first for _ in range(5))]

    def test_channels_do_not_see_each_other(self, make_store: MakeStore, channel: str) -> None:
        here, there = make_store(), make_store(f"{channel}-other")
        there.put("key", b"for others", ttl_s=LONG_S)
        append(there, "stream", b"for others")
        assert here.add("key", b"for us", ttl_s=LONG_S) is None
        assert here.read("stream", limit=10) == Stretch()

    def test_another_store_finds_it(self, make_store: MakeStore) -> None:
        if not self.store_class.capabilities.shared:
            pytest.skip("the store does not promise to be shared")
        here, there = make_store(), make_store()
        here.put("key", b"value", ttl_s=LONG_S)
        append(here, "stream", b"first")
        append(there, "stream", b"second")
        assert there.take("key") == b"value"
        assert here.take("key") is None
        assert here.read("stream", limit=10).values == (b"first", b"second")
        assert here.read("stream", limit=10) == there.read("stream", limit=10)

    def test_what_was_put_ends_with_its_time(self, store: Store) -> None:
        store.put("put", b"short", ttl_s=SHORT_S)
        assert store.add("added", b"short", ttl_s=SHORT_S) is None
        store.put("long", b"long", ttl_s=LONG_S)
        assert ends(lambda: store.add("added", b"next", ttl_s=LONG_S) is None)
        assert ends(lambda: store.take("put") is None)
        assert store.take("long") == b"long"

    def test_to_put_it_again_begins_its_time_anew(self, store: Store) -> None:
        store.put("key", b"short", ttl_s=SHORT_S)
        store.put("key", b"long", ttl_s=LONG_S)
        store.put("other", b"long", ttl_s=LONG_S)
        store.put("other", b"short", ttl_s=SHORT_S)
        assert ends(lambda: store.add("other", b"next", ttl_s=LONG_S) is None)
        assert store.take("key") == b"long"

    # --------------------------------------------------------------------------------------------------- streams

    def test_a_stream_that_nobody_wrote_is_empty(self, store: Store) -> None:
        assert store.read("stream", limit=10) == Stretch()
        assert store.read("stream", after=Position("gone", 3), limit=10) == Stretch(complete=False)

    def test_values_are_numbered_and_read_in_their_order(self, store: Store) -> None:
        positions = [append(store, "stream", b"%d" % number) for number in range(1, 6)]
        epoch = positions[0].epoch
        assert positions == [Position(epoch, number) for number in range(1, 6)] and epoch
        everything = tuple(b"%d" % number for number in range(1, 6))
        assert store.read("stream", limit=10) == Stretch(epoch=epoch, first=1, values=everything, top=5)
        assert store.read("stream", limit=5) == Stretch(epoch=epoch, first=1, values=everything, top=5)

    def test_the_newest_are_read_without_a_position(self, store: Store) -> None:
        for number in range(1, 6):
            epoch = append(store, "stream", b"%d" % number).epoch
        assert store.read("stream", limit=2) == Stretch(epoch=epoch, first=4, values=(b"4", b"5"), top=5)

    def test_what_follows_is_read_behind_a_position(self, store: Store) -> None:
        positions = [append(store, "stream", b"%d" % number) for number in range(1, 6)]
        epoch = positions[0].epoch
        found = store.read("stream", after=positions[1], limit=2)
        assert found == Stretch(epoch=epoch, first=3, values=(b"3", b"4"), top=5)
        assert store.read("stream", after=positions[4], limit=2) == Stretch(epoch=epoch, first=6, top=5)
        assert store.read("stream", after=Position(epoch, 0), limit=1).values == (b"1",)

    def test_a_position_of_another_epoch_is_of_no_use(self, store: Store) -> None:
        epoch = append(store, "stream", b"1").epoch
        expected = Stretch(epoch=epoch, first=1, values=(b"1",), top=1, complete=False)
        assert store.read("stream", after=Position("other", 0), limit=10) == expected
        assert store.read("stream", after=Position("", 0), limit=10) == expected
        not_given_out = Position(epoch, 2)
        assert store.read("stream", after=not_given_out, limit=10) == expected

    def test_only_the_newest_are_kept(self, store: Store) -> None:
        positions = [append(store, "stream", b"%d" % number, size=3) for number in range(1, 6)]
        epoch, kept = positions[0].epoch, (b"3", b"4", b"5")
        assert positions[-1].number == 5
        found = store.read("stream", limit=10)
        assert found == Stretch(epoch=epoch, first=3, values=kept, top=5, complete=False)
        assert store.read("stream", limit=3).complete
        assert not store.read("stream", after=positions[0], limit=10).complete
        assert store.read("stream", after=positions[0], limit=10).values == kept
        assert store.read("stream", after=positions[1], limit=10).complete

    def test_no_more_bytes_are_kept_than_asked_for(self, store: Store) -> None:
        for number in range(5):
            append(store, "stream", b"%d" % number * 100, max_bytes=250)
        assert store.read("stream", limit=10).values == (b"3" * 100, b"4" * 100)
        assert append(store, "stream", b"x" * 251, max_bytes=250).number == 6
        found = store.read("stream", limit=10)
        assert (found.values, found.first, found.top, found.complete) == ((), 7, 6, False)
        assert append(store, "stream", b"next", max_bytes=250).number == 7
        assert store.read("stream", limit=10).values == (b"next",)

    def test_values_end_with_their_time(self, store: Store) -> None:
        append(store, "stream", b"old", ttl_s=SHORT_S)
        second = append(store, "stream", b"new", ttl_s=LONG_S)
        assert ends(lambda: store.read("stream", limit=10).values == (b"new",))
        found = store.read("stream", limit=10)
        assert found == Stretch(epoch=second.epoch, first=2, values=(b"new",), top=2, complete=False)

    def test_a_stream_that_has_ended_begins_another_epoch(self, store: Store) -> None:
        first = append(store, "stream", b"old", ttl_s=SHORT_S)
        assert ends(lambda: store.read("stream", limit=10) == Stretch())
        second = append(store, "stream", b"new")
        assert second.number == 1 and second.epoch != first.epoch
        assert not store.read("stream", after=first, limit=10).complete

    def test_what_several_append_is_numbered_once(self, make_store: MakeStore) -> None:
        stores = self._stores(make_store)

        def append_some(store: Store, number: int) -> list[tuple[Position, bytes]]:
            values = [b"%d.%d" % (number, count) for count in range(25)]
            return [(append(store, "stream", value), value) for value in values]

        done = at_once([partial(append_some, store, number) for number, store in enumerate(stores)])
        told = {position.number: value for part in done for position, value in part}
        found = stores[0].read("stream", limit=1000)
        assert {position.epoch for part in done for position, _ in part} == {found.epoch}
        assert dict(enumerate(found.values, found.first)) == told and len(told) == 25 * len(stores)

    # --------------------------------------------------------------------------------------------- end and state

    def test_ping_returns_while_it_is_there(self, store: Store) -> None:
        store.ping()

    def test_a_closed_store_refuses_everything(self, store: Store) -> None:
        store.put("key", b"open", ttl_s=LONG_S)
        store.close()
        store.close()
        acts: tuple[Callable[[], object], ...] = (
            lambda: store.put("key", b"", ttl_s=LONG_S),
            lambda: store.take("key"),
            lambda: store.add("key", b"", ttl_s=LONG_S),
            lambda: append(store, "stream", b""),
            lambda: store.read("stream", limit=1),
            store.ping,
        )
        for act in acts:
            with pytest.raises(StoreClosed):
                act()

    def test_close_leaves_no_thread(self, make_store: MakeStore) -> None:
        before = set(threading.enumerate())
        store = make_store()
        store.put("key", b"value", ttl_s=LONG_S)
        store.close()
        assert ends(lambda: set(threading.enumerate()) - before == set())

    # -------------------------------------------------------------------------------------------------- outages

    def test_no_error_and_no_log_line_shows_a_secret(
        self, secret_url: str | None, channel: str, mode: AsyncMode, caplog: pytest.LogCaptureFixture
    ) -> None:
        if secret_url is None:
            pytest.skip("the store's URL has no place for a user")
        caplog.set_level(logging.INFO)
        store = self.store_class(secret_url, channel, mode=mode, options=dict(self.store_options))
        acts: tuple[Callable[[], object], ...] = (
            store.ping,
            lambda: store.put("key", b"", ttl_s=LONG_S),
            lambda: store.take("key"),
            lambda: append(store, "stream", b""),
        )
        said = []
        for act in acts:
            with pytest.raises(StoreUnavailable) as raised:
                act()
            said.append(str(raised.value))
        store.close()
        shown = "\n".join((*said, caplog.text))
        assert not [secret for secret in SECRETS if secret in shown], shown

    def test_one_that_is_away_is_told_in_time_and_works_when_it_is_back(
        self, store: Store, broker: StoppableBroker | None
    ) -> None:
        if broker is None:
            pytest.skip("no broker that the test may stop")
        store.put("key", b"before", ttl_s=LONG_S)
        broker.stop()
        try:
            began_s = time.monotonic()
            with pytest.raises(StoreUnavailable):
                store.put("key", b"meanwhile", ttl_s=LONG_S)
            with pytest.raises(StoreUnavailable):
                store.ping()
            assert time.monotonic() - began_s < 2 * ANSWER_S
        finally:
            broker.start()
        assert ends(lambda: works(store), RECOVERY_S)

    def test_what_was_put_survives_a_restart(self, store: Store, broker: StoppableBroker | None) -> None:
        if broker is None or not self.store_class.capabilities.durable:
            pytest.skip("needs the capability durable, and a broker that the test may stop")
        store.put("key", b"value", ttl_s=LONG_S)
        position = append(store, "stream", b"first")
        broker.stop()
        broker.start()
        assert ends(lambda: works(store), RECOVERY_S)
        assert store.take("key") == b"value"
        assert append(store, "stream", b"second") == Position(position.epoch, 2)
        assert store.read("stream", limit=10).values == (b"first", b"second")

    def test_one_that_has_frozen_blocks_for_a_bounded_time(
        self, store: Store, frozen: FreezableBroker
    ) -> None:
        store.put("key", b"value", ttl_s=LONG_S)
        frozen.pause()
        acts: tuple[Callable[[], object], ...] = (store.ping, lambda: store.take("key"))
        for act in acts:
            began_s = time.monotonic()
            with pytest.raises(StoreUnavailable):
                act()
            assert time.monotonic() - began_s < ANSWER_S
        frozen.resume()
        assert ends(lambda: works(store), RECOVERY_S)


def append(
    store: Store,
    stream: str,
    value: bytes,
    *,
    size: int = 1000,
    max_bytes: int = PLENTY,
    ttl_s: float = LONG_S,
) -> Position:
    """Append with bounds that the value does not reach."""
    return store.append(stream, value, size=size, max_bytes=max_bytes, ttl_s=ttl_s)


def works(store: Store) -> bool:
    """Say whether a store answers."""
    try:
        store.ping()
    except StoreUnavailable:
        return False
    return True


def ends(condition: Callable[[], bool], timeout_s: float = ENDED_S) -> bool:
    """Wait for a condition; say whether it came about."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline_s:
            return False
        time.sleep(0.05)
    return True


def at_once(acts: list[Callable[[], Any]]) -> list[Any]:
    """Call functions, each in a thread, and return what they returned."""
    results: list[Any] = [RuntimeError("it did not return")] * len(acts)
    barrier = threading.Barrier(len(acts))

    def act(number: int) -> None:
        barrier.wait(ANSWER_S)
        try:
            results[number] = acts[number]()
        except Exception as error:  # noqa: BLE001  # the test shows it
            results[number] = error

    threads = [threading.Thread(target=act, args=(number,)) for number in range(len(acts))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(RECOVERY_S)
    return results
