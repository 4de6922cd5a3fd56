"""What every message queue must do, as tests that a plugin's author imports.

::

    class TestPostgresQueue(QueueConformance):
        queue_class = PostgresQueue

        @pytest.fixture
        def url(self) -> str:
            return "postgresql://localhost/test"

That is all. A queue that promises more (``durable``, ``replay``) says so in its ``capabilities`` and is tested for it.
With a fixture ``broker`` that returns something with ``stop()`` and ``start()``, the outage tests run, too; with
``pause()`` and ``resume()`` besides (``SIGSTOP`` and ``SIGCONT``), those of a broker that has frozen. A test
that cannot pass is overridden with ``@pytest.mark.xfail(reason=...)``; overriding one in any other way is an error.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from ... import queues
from ...common.sids import is_address
from ...errors import MessageTooLarge, QueueClosed, QueueUnavailable, UnknownOption
from .guard import refuse_overrides
from .remote import SECRETS, FreezableBroker, RemoteConformance, StoppableBroker

if TYPE_CHECKING:
    from ...contracts import AsyncMode, MessageQueue

#: Seconds after which a message that did not arrive is missing; brokers take milliseconds, a first connection more.
ARRIVAL_S = 15.0
#: Seconds in which a listener must end, or a quiet one yield ``b""``.
TICK_S = 5.0
#: Seconds that a publish may take while the broker is away.
PUBLISH_S = 6.0
#: Seconds in which nothing may happen.
QUIET_S = 0.5
#: Seconds after a broker's return in which publisher and listener must work again.
RECOVERY_S = 60.0


class Listener:
    """Collect what a queue's ``listen`` yields, in a thread; listens again after an outage as the cluster does."""

    def __init__(self, queue: MessageQueue, *, again: bool = False, pause_s: float = 0.1) -> None:
        self.messages: list[bytes] = []
        self.ticks = 0
        self.errors: list[BaseException] = []
        self.queue = queue
        self._again = again
        self._pause_s = pause_s
        self._over = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._listen()
        with self._changed:
            self._over = True
            self._changed.notify_all()

    def _listen(self) -> None:
        while True:
            try:
                for message in self.queue.listen():
                    self._note(message)
                return
            except QueueUnavailable as error:
                self._fail(error)
                if not self._again:
                    return
                time.sleep(self._pause_s)
            except Exception as error:  # noqa: BLE001  # a test asserts on it
                self._fail(error)
                return

    def _note(self, message: bytes) -> None:
        with self._changed:
            if message:
                self.messages.append(message)
            else:
                self.ticks += 1
            self._changed.notify_all()

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self.errors.append(error)
            self._changed.notify_all()

    def wait_until(self, condition: Callable[[], bool], timeout_s: float, what: str) -> None:
        """Wait for a condition on what was collected.

        :param what: what is waited for, for the text of the failure.
        """
        with self._changed:
            self._changed.wait_for(lambda: condition() or self._over, timeout_s)
            if not condition():
                raise AssertionError(
                    f"no {what} within {timeout_s:g} s: {len(self.messages)} messages, errors {self.errors!r}"
                )

    def subscribed(self) -> Listener:
        """Wait until the subscription exists."""
        self.wait_until(lambda: self.ticks > 0, ARRIVAL_S, "subscription")
        return self

    def wait_for(self, count: int, timeout_s: float = ARRIVAL_S) -> list[bytes]:
        """Wait for that many messages and return them all."""
        self.wait_until(lambda: len(self.messages) >= count, timeout_s, f"{count} messages")
        return list(self.messages)

    def ended(self) -> bool:
        """Wait for ``listen`` to end."""
        self._thread.join(TICK_S)
        return not self._thread.is_alive()


class QueueConformance(RemoteConformance):
    """Subclass it, name the queue's class and give a ``url`` fixture."""

    queue_class: ClassVar[type[MessageQueue]]
    #: Options that every queue of the suite is made with.
    queue_options: ClassVar[dict[str, Any]] = {}

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        refuse_overrides(QueueConformance, cls)

    # ------------------------------------------------------------------------------------------------ fixtures

    @pytest.fixture
    def make_queue(self, url: str, channel: str, mode: AsyncMode) -> Iterator[Callable[..., MessageQueue]]:
        """Return a function that makes queues; they are closed at the test's end."""
        made: list[MessageQueue] = []

        def make(on: str = channel, /, **options: Any) -> MessageQueue:
            queue = self.queue_class(url, on, mode=mode, options={**self.queue_options, **options})
            made.append(queue)
            return queue

        yield make
        for queue in made:
            queue.close()

    # --------------------------------------------------------------------------------------------- construction

    def test_constructing_starts_no_thread_and_needs_no_broker(
        self, mode: AsyncMode, url: str, channel: str
    ) -> None:
        before = set(threading.enumerate())
        queue = self.queue_class(url, channel, mode=mode, options=dict(self.queue_options))
        assert set(threading.enumerate()) == before
        queue.close()

    def test_an_unknown_option_is_refused(self, make_queue: Callable[..., MessageQueue]) -> None:
        with pytest.raises(UnknownOption, match="no_such_option"):
            make_queue(no_such_option=1)

    def test_the_options_given_are_not_changed(self, mode: AsyncMode, url: str, channel: str) -> None:
        options = dict(self.queue_options)
        self.queue_class(url, channel, mode=mode, options=options).close()
        assert options == self.queue_options

    # ------------------------------------------------------------------------------------------------- delivery

    def test_a_message_reaches_every_listener(self, make_queue: Callable[..., MessageQueue]) -> None:
        listeners = [Listener(make_queue()).subscribed() for _ in range(3)]
        make_queue().publish(b"hello")
        assert [listener.wait_for(1) for listener in listeners] == [[b"hello"]] * 3

    def test_a_queue_hears_itself(self, make_queue: Callable[..., MessageQueue]) -> None:
        queue = make_queue()
        listener = Listener(queue).subscribed()
        queue.publish(b"echo")
        assert listener.wait_for(1) == [b"echo"]

    def test_a_listener_hears_nothing_from_before_its_time(
        self, make_queue: Callable[..., MessageQueue]
    ) -> None:
        publisher = make_queue()
        publisher.publish(b"before")
        assert publisher.flush(ARRIVAL_S) == 0
        listener = Listener(make_queue()).subscribed()
        publisher.publish(b"after")
        assert listener.wait_for(1) == [b"after"]

    def test_channels_do_not_hear_each_other(
        self, make_queue: Callable[..., MessageQueue], channel: str
    ) -> None:
        here, there = make_queue(), make_queue(f"{channel}-other")
        listener = Listener(here).subscribed()
        there.publish(b"for others")
        assert there.flush(ARRIVAL_S) == 0
        here.publish(b"for us")
        assert listener.wait_for(1) == [b"for us"]

    def test_every_byte_arrives_as_it_was(self, make_queue: Callable[..., MessageQueue]) -> None:
        message = bytes(range(256)) * 5
        listener = Listener(make_queue()).subscribed()
        make_queue().publish(message)
        assert listener.wait_for(1) == [message]

    def test_a_message_of_a_million_bytes_arrives(self, make_queue: Callable[..., MessageQueue]) -> None:
        message = b"\x00\xff" * 500_000
        listener = Listener(make_queue()).subscribed()
        make_queue().publish(message)
        assert listener.wait_for(1) == [message]

    def test_messages_with_one_key_keep_their_order(self, make_queue: Callable[..., MessageQueue]) -> None:
        if not self.queue_class.capabilities.ordered:
            pytest.skip("the queue does not promise order")
        listener = Listener(make_queue()).subscribed()
        publisher = make_queue()
        sent = [b"%d" % number for number in range(1000)]
        for message in sent:
            publisher.publish(message, key="room")
        assert listener.wait_for(1000) == sent

    def test_what_is_for_one_object_reaches_it_in_order_with_the_rest(
        self, make_queue: Callable[..., MessageQueue]
    ) -> None:
        if not self.queue_class.capabilities.ordered:
            pytest.skip("the queue does not promise order")
        addressee, other, publisher = make_queue(), make_queue(), make_queue()
        listener, others = Listener(addressee).subscribed(), Listener(other).subscribed()
        for number in range(100):
            publisher.publish(b"%d for all" % number, key="client")
            publisher.publish_to(addressee.address, b"%d for one" % number, key="client")
            publisher.publish_to_others(b"%d for others" % number, key="client")
        publisher.publish(b"the last", key="client")
        assert publisher.knows(addressee.address) is bool(addressee.address)
        sent = [b"%d for %b" % (n, whom) for n in range(100) for whom in (b"all", b"one", b"others")]
        assert listener.wait_for(301) == [*sent, b"the last"]
        if addressee.address:
            assert others.wait_for(201) == [m for m in sent if not m.endswith(b"one")] + [b"the last"]

    def test_each_object_has_an_address_of_its_own_or_none(
        self, make_queue: Callable[..., MessageQueue]
    ) -> None:
        addresses = {make_queue().address for _ in range(3)}
        assert addresses == {""} or (len(addresses) == 3 and all(map(is_address, addresses)))

    def test_what_is_for_an_address_that_nobody_is_known_to_have_reaches_everybody(
        self, make_queue: Callable[..., MessageQueue]
    ) -> None:
        listener = Listener(make_queue()).subscribed()
        publisher, address = make_queue(), queues.new_address()
        publisher.publish_to(address, b"for somebody")
        assert listener.wait_for(1) == [b"for somebody"]
        assert not publisher.knows(address)

    def test_messages_of_several_threads_all_arrive_once(
        self, make_queue: Callable[..., MessageQueue]
    ) -> None:
        listener = Listener(make_queue()).subscribed()
        publisher = make_queue()

        def publish(thread: int) -> None:
            for number in range(50):
                publisher.publish(b"%d.%d" % (thread, number), key=str(thread))

        threads = [threading.Thread(target=publish, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(ARRIVAL_S)
        received = listener.wait_for(200)
        assert sorted(received) == sorted(b"%d.%d" % (a, b) for a in range(4) for b in range(50))

    def test_publishing_without_a_listener_is_no_error(self, make_queue: Callable[..., MessageQueue]) -> None:
        publisher = make_queue()
        publisher.publish(b"into the void")
        assert publisher.flush(ARRIVAL_S) == 0

    def test_a_quiet_channel_yields_empty_messages(self, make_queue: Callable[..., MessageQueue]) -> None:
        listener = Listener(make_queue()).subscribed()
        listener.wait_until(lambda: listener.ticks > 2, 2 * TICK_S, "sign of a quiet channel")
        assert listener.messages == []

    def test_a_message_beyond_the_limit_is_refused(self, make_queue: Callable[..., MessageQueue]) -> None:
        queue = make_queue()
        queue.ping()  # it may learn its limit from the broker
        limit = queue.max_message_bytes
        if limit is None:
            pytest.skip("the queue has no limit of its own")
        with pytest.raises(MessageTooLarge, match=str(limit)):
            queue.publish(bytes(limit + 1))

    def test_a_queue_may_listen_anew_while_its_old_listener_runs(
        self, make_queue: Callable[..., MessageQueue]
    ) -> None:
        queue = make_queue()
        old = queue.listen()
        assert next(old) == b""
        new = Listener(queue).subscribed()
        make_queue().publish(b"for the new one")
        deadline = time.monotonic() + ARRIVAL_S
        late: list[bytes] = []
        while not (new.messages or late) and time.monotonic() < deadline:
            late += [message for message in (next(old),) if message]  # it may be the old one that gets it
        assert (new.messages or late) == [b"for the new one"]
        queue.close()
        assert new.ended()

    # --------------------------------------------------------------------------------------------- end and state

    def test_ping_returns_while_the_broker_is_there(self, make_queue: Callable[..., MessageQueue]) -> None:
        make_queue().ping()

    def test_close_ends_a_listener(self, make_queue: Callable[..., MessageQueue]) -> None:
        queue = make_queue()
        listener = Listener(queue).subscribed()
        queue.close()
        assert listener.ended()
        assert not [error for error in listener.errors if not isinstance(error, QueueClosed)]

    def test_a_closed_queue_refuses_messages(self, make_queue: Callable[..., MessageQueue]) -> None:
        queue = make_queue()
        queue.publish(b"open")
        queue.close()
        queue.close()
        with pytest.raises(QueueClosed):
            queue.publish(b"closed")

    def test_close_leaves_no_thread(self, make_queue: Callable[..., MessageQueue]) -> None:
        before = set(threading.enumerate())
        queue = make_queue()
        listener = Listener(queue).subscribed()
        queue.publish(b"hello")
        listener.wait_for(1)
        queue.close()
        assert listener.ended()
        deadline = time.monotonic() + TICK_S
        while set(threading.enumerate()) - before and time.monotonic() < deadline:
            time.sleep(0.02)
        assert set(threading.enumerate()) - before == set()

    def test_nothing_is_given_back_after_the_end(self, make_queue: Callable[..., MessageQueue]) -> None:
        queue = make_queue()
        given_back: list[bytes] = []
        queue.on_failure = lambda message, key: given_back.append(message)
        queue.publish(b"the last one")
        queue.close()
        count = len(given_back)
        time.sleep(QUIET_S)
        assert len(given_back) == count

    # ------------------------------------------------------------------------------------------------- outages

    def test_no_error_and_no_log_line_shows_a_secret(
        self, secret_url: str | None, channel: str, mode: AsyncMode, caplog: pytest.LogCaptureFixture
    ) -> None:
        if secret_url is None:
            pytest.skip("the queue's URL has no place for a user")
        caplog.set_level(logging.INFO)
        queue = self.queue_class(secret_url, channel, mode=mode, options=dict(self.queue_options))
        said: list[str] = []
        for act in (queue.ping, lambda: queue.publish(b"nobody takes it"), lambda: next(queue.listen())):
            with pytest.raises(QueueUnavailable) as raised:
                act()
            said.append(str(raised.value))
        queue.close()
        shown = "\n".join((*said, caplog.text))
        assert not [secret for secret in SECRETS if secret in shown], shown

    def test_a_frozen_broker_blocks_a_publish_for_a_bounded_time(
        self, make_queue: Callable[..., MessageQueue], frozen: FreezableBroker
    ) -> None:
        publisher = make_queue()
        publisher.publish(b"before")
        assert publisher.flush(ARRIVAL_S) == 0
        frozen.pause()
        started = time.monotonic()
        accepted = 0
        with contextlib.suppress(
            QueueUnavailable
        ):  # what is only handed to the operating system may be accepted
            publisher.publish(b"meanwhile")
            accepted = 1
        assert time.monotonic() - started < PUBLISH_S
        started = time.monotonic()
        left = publisher.flush(0.5)
        assert time.monotonic() - started < PUBLISH_S
        assert 0 <= left <= accepted
        started = time.monotonic()
        with pytest.raises(QueueUnavailable):
            publisher.ping()
        assert time.monotonic() - started < PUBLISH_S

    def test_what_was_accepted_survives_the_broker(
        self, make_queue: Callable[..., MessageQueue], broker: StoppableBroker | None
    ) -> None:
        capabilities = self.queue_class.capabilities
        if broker is None or not (capabilities.durable and capabilities.replay):
            pytest.skip("needs the capabilities durable and replay, and a broker that the test may stop")
        publisher, queue = make_queue(), make_queue()
        given_back: list[bytes] = []
        publisher.on_failure = lambda message, key: given_back.append(message)
        listening = queue.listen()
        assert next(listening) == b""
        publisher.publish(b"heard", key="k")
        heard = next(message for message in listening if message)
        assert heard == b"heard"
        publisher.publish(b"accepted", key="k")
        assert publisher.flush(ARRIVAL_S) == 0
        broker.stop()
        broker.start()
        with contextlib.suppress(QueueUnavailable):
            listening.close()  # type: ignore[attr-defined]  # every generator has it
        listener = Listener(queue, again=True, pause_s=0.5)
        listener.wait_until(
            lambda: b"accepted" in listener.messages or b"accepted" in given_back, RECOVERY_S, "old message"
        )

    def test_publishing_without_a_broker_fails_in_time(
        self, make_queue: Callable[..., MessageQueue], broker: StoppableBroker | None
    ) -> None:
        if broker is None:
            pytest.skip("no broker that the test may stop")
        publisher = make_queue()
        broker.stop()
        try:
            started = time.monotonic()
            with pytest.raises(QueueUnavailable):
                publisher.publish(b"nobody takes it")
            assert time.monotonic() - started < PUBLISH_S
            with pytest.raises(QueueUnavailable):
                publisher.ping()
        finally:
            broker.start()

    def test_both_sides_work_again_after_an_outage(
        self, make_queue: Callable[..., MessageQueue], broker: StoppableBroker | None
    ) -> None:
        if broker is None:
            pytest.skip("no broker that the test may stop")
        publisher = make_queue()
        listener = Listener(make_queue(), again=True).subscribed()
        publisher.publish(b"before")
        listener.wait_for(1)
        ticks = listener.ticks
        broker.stop()
        try:
            listener.wait_until(lambda: bool(listener.errors), ARRIVAL_S, "error of the listener")
        finally:
            broker.start()
        listener.wait_until(lambda: listener.ticks > ticks + 1, RECOVERY_S, "new subscription")
        _publish_somehow(publisher, b"after")
        assert listener.wait_for(2, RECOVERY_S)[:2] == [b"before", b"after"]

    def test_a_listener_resumes_where_it_stopped(
        self, make_queue: Callable[..., MessageQueue], broker: StoppableBroker | None
    ) -> None:
        if broker is None or not self.queue_class.capabilities.replay:
            pytest.skip("needs the capability replay and a broker that the test may stop")
        publisher, queue = make_queue(), make_queue()
        skipped: list[str] = []
        queue.on_skip = skipped.append
        listener = Listener(queue, again=True, pause_s=2.0).subscribed()
        publisher.publish(b"1", key="k")
        listener.wait_for(1)
        broker.stop()
        broker.start()
        for number in range(2, 6):  # published before the listener comes back
            _publish_somehow(publisher, b"%d" % number)
        assert publisher.flush(RECOVERY_S) == 0
        assert sorted(set(listener.wait_for(5, RECOVERY_S))) == [b"1", b"2", b"3", b"4", b"5"]
        assert skipped == []


def _publish_somehow(queue: MessageQueue, message: bytes) -> None:
    """Publish as the cluster does: again and again, until the broker has it."""
    deadline = time.monotonic() + RECOVERY_S
    while True:
        try:
            queue.publish(message, key="k")
            return
        except QueueUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
