"""Replies that come later than the handler returns, from another thread, twice, or never."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from flask_socketio_core.common import options
from flask_socketio_core.contracts.clients import Client
from flask_socketio_core.errors import InvalidData
from flask_socketio_core.server.connection import REFUSED, REFUSED_PLAINLY, Connection
from flask_socketio_core.server.interface import AckReply
from flask_socketio_core.server.server import Server
from flask_socketio_core.transport.session import Session
from support.engine import ManualMode, RecordingApplication, WokenTransport, connection_of


class Later(RecordingApplication):
    """An application that keeps all replies."""

    def __init__(self) -> None:
        super().__init__()
        self.connects: list[Callable[[bool | BaseException], object]] = []
        self.events: dict[str, AckReply] = {}
        self.disconnects: list[Callable[[], object]] = []
        self.instead: list[AckReply] = []

    def on_connect(self, client: Client, auth: Any, reply: Callable[[bool | BaseException], object]) -> None:
        self.connects.append(reply)

    def on_event(self, client: Client, event: str, args: tuple[Any, ...], reply: AckReply) -> None:
        self.log.append(("event", event))
        self.events[event] = reply
        if event == "fails":
            raise ValueError("on purpose")

    def on_disconnect(self, client: Client, reason: str, reply: Callable[[], object]) -> None:
        self.log.append(("disconnect", reason))
        self.disconnects.append(reply)

    def on_invalid_ack(
        self, client: Any, event: str, args: tuple[Any, ...], error: Exception, reply: AckReply
    ) -> None:
        assert isinstance(error, InvalidData)
        self.instead.append(reply)


class World:
    """A server with one client, whose application replies when the test says so."""

    def __init__(self, *, letting_in: bool = True, **changes: Any) -> None:
        self.app, self.mode = Later(), ManualMode()
        self.server = Server(self.app, options.build(changes), self.mode)
        self.transport = WokenTransport()
        self.session: Session = self.server.eio.add_session({}, self.transport)
        self.connection: Connection = connection_of(self.session)
        self.take("40")
        if letting_in:
            self.app.connects[0](True)
            self.sent()

    def take(self, *packets: str) -> None:
        for packet in packets:
            self.session.receive(packet)
        self.mode.run_jobs()

    def sent(self) -> list[Any]:
        self.mode.run_jobs()
        return [str(packet) for packet in self.session.take_packets(self.transport)]

    @property
    def events(self) -> list[str]:
        self.mode.run_jobs()
        return [entry[1] for entry in self.app.log if entry[0] == "event"]

    @property
    def workers(self) -> int:
        return len(self.server._shared.workers._running)


def test_an_ack_comes_later_from_another_thread_and_no_worker_is_held() -> None:
    world = World()
    world.take('421["ask"]')
    assert not world.sent()
    assert not world.workers
    assert len(world.connection.backlog) == 1, "but it counts as running"
    thread = threading.Thread(target=world.app.events["ask"], args=((5,),))
    thread.start()
    thread.join()
    assert world.sent() == ["431[5]"]
    assert not world.connection.backlog


@pytest.mark.parametrize("ordered", [False, "ordered"])
def test_in_order_the_next_event_waits_for_the_reply(ordered: Any) -> None:
    world = World(async_handlers=ordered)
    world.take('421["one"]', '422["two"]', '423["three"]')
    assert world.events == ["one"]
    world.app.events["one"]((1,))
    assert world.events == ["one", "two"]
    world.app.events["two"]((2,))
    world.app.events["three"]((3,)) if "three" in world.events else None
    assert world.sent() == ["431[1]", "432[2]", "433[3]"]


def test_what_waits_for_replies_is_bounded_and_read_on_after_them() -> None:
    world = World(max_pending_events=2)
    world.take('42["one"]', '42["two"]')
    assert world.transport.held
    world.app.events["one"](None)
    assert not world.transport.held


def test_data_is_pending_until_the_reply() -> None:
    world = World()
    world.take('421["big","' + "x" * 5000 + '"]')
    assert world.connection.pending_bytes >= 5000
    world.app.events["big"](())
    assert world.connection.pending_bytes == 0 == world.server._shared.pending.total


def test_a_connection_has_no_more_handlers_than_its_share_although_it_holds_no_worker() -> None:
    world = World(max_handlers_per_client=2)
    world.take('42["one"]', '42["two"]', '42["three"]')
    assert world.events == ["one", "two"]
    world.app.events["two"](None)
    assert world.events == ["one", "two", "three"]


def test_pending_handlers_of_one_take_no_worker_from_others() -> None:
    world = World(max_workers=4, max_handlers_per_client=100)
    world.take(*(f'42["{number}"]' for number in range(20)))
    assert world.events == [str(number) for number in range(20)]


@pytest.mark.parametrize(
    "answer",
    [True, False, ConnectionRefusedError(), ValueError("on purpose")],
    ids=repr,
)
def test_a_connect_reply_after_connect_timeout_comes_to_nothing(
    answer: bool | BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(letting_in=False, connect_timeout=5)
    sid = world.connection.clients["/"].sid
    world.take('421["early","' + "x" * 5000 + '"]')
    now_s = world.connection.now_s()
    world.session.on_due(now_s + 4)
    assert not world.connection.closed
    world.session.on_due(now_s + 5)
    world.mode.run_jobs()
    assert world.session.closed
    assert world.transport.closed_with is not None
    (warning,) = caplog.messages
    assert "the connect handler of '/' has not returned within connect_timeout=5 s" in warning

    world.app.connects[0](answer)
    world.mode.run_jobs()
    assert world.app.log == ([("disconnect", "transport close")] if answer is True else []), "it was let in"
    for reply in world.app.disconnects:
        reply()
    with pytest.raises(RuntimeError, match="before"):
        world.app.connects[0](True)
    world.mode.run_jobs()
    assert caplog.messages == [warning]
    assert not world.server.is_connected(sid, "/")
    assert not (world.connection.clients or world.connection.backlog or world.connection.early)
    assert (world.server._shared.pending.total, world.workers, world.server._shared.disconnecting) == (
        0,
        0,
        0,
    )
    assert not world.server.eio.sessions


def test_a_second_reply_is_an_error_and_sends_nothing() -> None:
    world = World()
    world.take('421["ask"]')
    world.app.events["ask"]((1,))
    with pytest.raises(RuntimeError, match=r"event 'ask' has answered client .* before"):
        world.app.events["ask"]((2,))
    assert world.sent() == ["431[1]"]
    assert not world.connection.backlog


def test_a_handler_that_raises_has_replied() -> None:
    world = World(async_handlers="ordered")
    for packet in ('421["fails"]', '422["next"]'):
        world.session.receive(packet)
    with pytest.raises(ValueError, match="on purpose"):
        world.mode.run_jobs()
    assert world.events == ["fails", "next"]
    with pytest.raises(RuntimeError, match="before"):
        world.app.events["fails"](None)
    assert len(world.connection.backlog) == 1


def test_replies_from_many_threads_end_each_job_once() -> None:
    world = World(max_handlers_per_client=100)
    world.take(*(f'42{number}["{number}"]' for number in range(1, 51)))
    errors: list[RuntimeError] = []

    def reply(number: int) -> None:
        try:
            world.app.events[str(number)]((number,))
        except RuntimeError as error:
            errors.append(error)

    threads = [threading.Thread(target=reply, args=(number,)) for number in range(1, 51) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(errors) == 50
    assert len(world.sent()) == 50
    assert not world.connection.backlog


def test_what_cannot_be_acknowledged_is_asked_for_again_and_may_come_later_too() -> None:
    world = World(async_handlers="ordered")
    world.take('421["ask"]', '422["next"]')
    world.app.events["ask"]((object(),))
    assert not world.sent()
    assert world.events == ["ask"]
    world.app.instead[0](("instead",))
    assert world.sent() == ['431["instead"]']
    assert world.events == ["ask", "next"]


def test_a_client_is_let_in_later() -> None:
    world = World(letting_in=False)
    world.take('421["early"]')
    assert not world.sent()
    assert not world.workers
    world.app.connects[0](True)
    assert world.sent()[0].startswith('40{"sid"')
    assert world.events == ["early"]


@pytest.mark.parametrize(
    ("answer", "refusal"), [(False, REFUSED), (ConnectionRefusedError("no"), REFUSED_PLAINLY)]
)
def test_a_client_is_refused_later(answer: bool | BaseException, refusal: dict[str, str]) -> None:
    world = World(letting_in=False)
    world.app.connects[0](answer)
    (packet,) = world.sent()
    assert packet.startswith("44")
    assert refusal["message"] in packet
    assert not world.connection.clients


def test_a_client_that_leaves_before_it_is_let_in_has_its_disconnect_handler() -> None:
    world = World(letting_in=False)
    world.take("41")
    assert not world.app.disconnects
    world.app.connects[0](True)
    world.mode.run_jobs()
    assert len(world.app.disconnects) == 1


def test_an_answer_to_a_client_that_left_meanwhile_is_dropped() -> None:
    world = World()
    world.take('421["ask"]', "41")
    world.app.events["ask"]((1,))
    assert not world.sent()
    assert len(world.connection.backlog) == 1
    world.app.disconnects[0]()
    assert not world.connection.backlog


def test_the_shutdown_waits_for_disconnect_handlers_that_finish_later() -> None:
    world = World()
    world.session.close("on purpose")
    world.mode.run_jobs()
    assert world.server.shutdown(0) == 1
    assert world.connection.clients, "its rooms can be read until then"
    world.app.disconnects[0]()
    assert world.server.shutdown(0) == 0
    assert not world.connection.clients
