"""A queue that raises what it must not, that hangs, and that tells its password: the cluster bounds and reports it."""

from __future__ import annotations

import logging
import queue
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from flask_socketio_core.cluster.cluster import Cluster
from flask_socketio_core.contracts import AsyncMode, MessageQueue, QueueCapabilities
from flask_socketio_core.contracts.clients import Emission
from flask_socketio_core.errors import QueueRefused, QueueUnavailable
from flask_socketio_core.testing.threads import ThreadMode
from support.nodes import Bus, Node, emitter, wait_until

URL = "rude://us3r-name:s3cret%20w@rd@bus/1?api_key=k3y-of-bus"
SECRETS = ("us3r-name", "s3cret%20w@rd", "s3cret w@rd", "k3y-of-bus", "0ption-token")

logger = logging.getLogger(f"{__name__}.client")


class Timeout(BaseException):
    """As a green library's: no Exception."""


class Rude(MessageQueue):
    """A queue in this process whose methods do what the test says first, if it says anything."""

    capabilities = QueueCapabilities(needs_patched=())
    made: list[Rude]

    def __init__(self, url: str, channel: str, *, mode: AsyncMode, options: Any) -> None:
        super().__init__(url, channel, mode=mode, options=options)
        self.does: dict[str, Callable[[], object]] = {}
        self.calls: list[str] = []
        self.over = threading.Event()
        self._inbox: queue.Queue[bytes] = queue.Queue()
        self.made.append(self)

    def _do(self, name: str) -> None:
        self.calls.append(name)
        act = self.does.get(name)
        if act is not None:
            act()

    def publish(self, message: bytes, *, key: str = "") -> None:
        self._do("publish")
        self._inbox.put(message)

    def listen(self) -> Iterator[bytes]:
        self._do("listen")
        yield b""
        while not self.over.is_set():
            self._do("heard")
            try:
                yield self._inbox.get(timeout=0.02)
            except queue.Empty:
                yield b""

    def ping(self) -> None:
        self._do("ping")

    def flush(self, timeout_s: float) -> int:
        self._do("flush")
        return 0

    def close(self) -> None:
        self._do("close")
        self.over.set()


def raises(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("flask_socketio_core.cluster.outbox.SETTLE_S", 0.05)
    monkeypatch.setattr("flask_socketio_core.cluster.link.HANGING_S", 0.5)
    monkeypatch.setattr("flask_socketio_core.cluster.link.STUCK_S", 0.5)
    monkeypatch.setattr("flask_socketio_core.cluster.link.END_S", 0.2)
    Rude.made = []
    yield
    for made in Rude.made:
        made.over.set()


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node(Bus(Rude, URL, "channel"), heartbeat_interval_s=0.1)
    yield node
    node.close()


@pytest.fixture
def rude(node: Node) -> Rude:
    node.start()
    return Rude.made[0]


def lines(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    return [record.getMessage() for record in caplog.records if text in record.getMessage()]


@pytest.mark.parametrize("error", [Timeout("late"), TypeError("mistake")])
def test_what_a_publish_raises_is_an_outage_that_is_logged_once(
    node: Node, rude: Rude, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    rude.does = {"publish": raises(error), "ping": raises(error)}
    wait_until(lambda: not node.cluster.health().up, "outage")
    rude.calls.clear()
    time.sleep(0.5)
    assert rude.calls.count("publish") + rude.calls.count("ping") < 10
    assert len(lines(caplog, "unexpected error of the message queue's publish()")) == 1
    rude.does = {}
    wait_until(lambda: node.cluster.health().up, "recovery")


def test_what_an_emit_is_interrupted_by_reaches_the_emitter_and_nothing_is_lost(
    node: Node, rude: Rude
) -> None:
    main = threading.get_ident()

    def interrupt() -> None:
        if threading.get_ident() == main:
            raise Timeout("of the application")

    rude.does = {"publish": interrupt}
    member = node.connect()
    interrupted = 0
    while not interrupted:  # at times a heartbeat is just being published, and an event only left with it
        try:
            node.cluster.emit(Emission("n", (), to=("nobody-here",)))
        except Timeout:
            interrupted += 1
    rude.does = {}
    node.cluster.emit(Emission("after", ()))
    member.wait_for(1)
    wait_until(lambda: node.cluster.health().waiting == 0, "empty buffer")
    assert node.cluster.health().lost_sent == 0


@pytest.mark.parametrize("error", [Timeout("late"), GeneratorExit(), ValueError("mistake")])
def test_what_a_listener_raises_is_logged_once_and_it_listens_again(
    node: Node, rude: Rude, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    rude.does = {"heard": raises(error), "listen": raises(error)}
    wait_until(lambda: rude.calls.count("listen") > 3, "further attempts")
    assert not node.cluster.health().up
    assert len(lines(caplog, "unexpected error of the message queue's listen()")) == 1
    rude.does = {}
    wait_until(lambda: node.cluster.health().up, "recovery")


def test_a_publish_that_hangs_is_told_as_that(
    node: Node, rude: Rude, caplog: pytest.LogCaptureFixture
) -> None:
    gate = threading.Event()
    rude.does = {"publish": lambda: gate.wait(20)}
    wait_until(lambda: len(node.states) > 1, "report")
    assert [up for up, _ in node.states] == [True, False]
    assert "publish() has not returned for" in node.states[1][1]
    health = node.cluster.health()
    assert not health.up and health.detail.startswith("sending: the queue's publish() has not returned")
    time.sleep(0.6)  # long enough for the listener to be blamed
    assert lines(caplog, "listening") == []
    rude.does = {}
    gate.set()
    wait_until(lambda: node.cluster.health().up, "recovery")
    assert node.states[-1] == (True, "publish() has returned")


def test_a_hanging_publish_shows_in_the_health_of_a_process_that_only_sends() -> None:
    cluster = emitter(Bus(Rude, URL, "channel"))
    gate = threading.Event()
    Rude.made[0].does = {"publish": lambda: gate.wait(20)}
    thread = threading.Thread(target=cluster.emit, args=(Emission("event"),))
    thread.start()
    wait_until(lambda: not cluster.health().up, "report")
    gate.set()
    thread.join(5)
    assert cluster.health().up
    cluster.close(0.1)


def test_a_stuck_listener_is_given_up_once(node: Node, rude: Rude, caplog: pytest.LogCaptureFixture) -> None:
    gate = threading.Event()
    rude.does = {"heard": lambda: gate.wait(20)}
    wait_until(lambda: lines(caplog, "the queue's listen() is stuck"), "end of the attempts")
    count = threading.active_count()
    time.sleep(1.5)
    assert threading.active_count() <= count
    assert rude.calls.count("listen") == 2
    assert "stuck" in node.cluster.health().detail
    rude.does = {}
    gate.set()
    wait_until(lambda: node.cluster.health().up, "recovery")
    assert rude.calls.count("listen") == 3
    member = node.connect()
    node.cluster.emit(Emission("heard", ()))
    assert member.wait_for(1) == [["heard"]]


@pytest.mark.parametrize("method", ["flush", "close"])
@pytest.mark.parametrize("error", [Timeout("late"), OSError("broken")])
def test_an_end_that_raises_is_logged_and_reaches_nobody(
    node: Node, rude: Rude, caplog: pytest.LogCaptureFixture, method: str, error: BaseException
) -> None:
    rude.does = {method: raises(error)}
    node.cluster.close(0.5)
    assert len(lines(caplog, f"unexpected error of the message queue's {method}()")) == 1


@pytest.mark.parametrize("method", ["flush", "close", "publish"])
def test_an_end_that_blocks_takes_a_bounded_time(
    node: Node, rude: Rude, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    rude.does = {method: lambda: rude.over.wait(20)}
    started = time.monotonic()
    node.cluster.close(0.3)
    assert time.monotonic() - started < 2
    assert lines(caplog, "did not return within 0.5 s") != [] or method == "publish"


def test_a_publish_that_fails_at_the_end_is_logged_once(
    node: Node, rude: Rude, caplog: pytest.LogCaptureFixture
) -> None:
    rude.does = {"publish": raises(RuntimeError("no")), "ping": raises(RuntimeError("no"))}
    node.cluster.emit(Emission("event", ()))
    node.cluster.close(0.5)
    assert len(lines(caplog, "unexpected error of the message queue")) == 1


def test_a_refusal_is_told_as_that(node: Node, rude: Rude, caplog: pytest.LogCaptureFixture) -> None:
    gone, refused = QueueUnavailable("gone"), QueueRefused("wrong password")
    rude.does = {name: raises(gone) for name in ("publish", "ping", "heard", "listen")}
    wait_until(lambda: not node.cluster.health().up, "outage")
    assert not node.cluster.health().refused
    rude.does = {name: raises(refused) for name in ("publish", "ping", "heard", "listen")}  # it is back
    wait_until(lambda: "sending: wrong password" in node.cluster.health().detail, "refusal")
    assert node.cluster.health().refused
    said = "sending on rude://***@bus/1?api_key=*** is refused by the broker, trying again: wrong password"
    wait_until(lambda: lines(caplog, said), "log line")
    rude.does = {}
    wait_until(lambda: node.cluster.health().up, "recovery")
    assert not node.cluster.health().refused


def test_no_text_shows_a_secret(caplog: pytest.LogCaptureFixture) -> None:
    text = f"cannot reach {URL} as us3r-name with 's3cret w@rd', k3y-of-bus and 0ption-token"
    node = Node(Bus(Rude, URL, "channel", {"token": "0ption-token"}), heartbeat_interval_s=0.1).start()
    rude = Rude.made[0]
    caplog.set_level(logging.DEBUG)

    def logs_and_raises() -> None:
        logger.warning("trying %s", text)
        try:
            raise OSError(text)
        except OSError as error:
            raise RuntimeError(text) from error

    rude.does = dict.fromkeys(("publish", "ping", "heard", "listen", "flush", "close"), logs_and_raises)
    try:
        wait_until(lambda: not node.cluster.health().up, "outage")
        with pytest.raises(RuntimeError) as raised:
            node.cluster.ping()
        found = [
            node.cluster.health().detail,
            str(raised.value),
            str(raised.value.__cause__),
            *(d for _, d in node.states),
        ]
        node.cluster.close(0.2)
        found += [caplog.text]
    finally:
        node.close()
    shown = "\n".join(found)
    assert "rude://***@bus" in shown
    assert "Traceback" in shown
    assert not [secret for secret in SECRETS if secret in shown]


def test_a_constructor_that_raises_shows_no_secret() -> None:
    def make(url: str, *_: Any, **__: Any) -> Rude:
        try:
            raise OSError(f"no route to {url}")
        except OSError as error:
            raise ValueError(f"cannot use {url}") from error

    with pytest.raises(ValueError, match=r"cannot use rude://\*\*\*@bus") as raised:
        Cluster(make, URL, "channel", mode=ThreadMode(), options={})
    shown = "".join(traceback.format_exception(raised.value))
    assert not [secret for secret in SECRETS if secret in shown]
