"""The Socket.IO server over recording transports: clients, acks, rooms and their order, without a socket."""

from __future__ import annotations

import builtins
import contextlib
import gc
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from flask_socketio_async_threading.mode import ThreadingMode
from flask_socketio_core.common import options
from flask_socketio_core.common.sids import new_sid
from flask_socketio_core.contracts import Handle
from flask_socketio_core.contracts.clients import Client, Emission
from flask_socketio_core.errors import CallTimeout, ConnectionRefusedError, ProtocolError
from flask_socketio_core.server import clients
from flask_socketio_core.server.calling import call
from flask_socketio_core.server.connection import Connection
from flask_socketio_core.server.server import Server
from flask_socketio_core.transport.session import Session
from support.engine import DirectTransport, ManualMode, RecordingApplication, WokenTransport, connection_of
from support.servers import wait_until


class Bench:
    """A server with the parts a test looks at."""

    def __init__(self, **keywords: Any) -> None:
        self.mode = ManualMode()
        self.app = RecordingApplication()
        self.server = Server(self.app, options.build(keywords), self.mode, clock=lambda: self.now_s)
        self.now_s = 100.0
        self._transports: dict[str, WokenTransport] = {}

    def open(self) -> Session:
        transport = WokenTransport()
        session = self.server.eio.add_session({"HTTP_HOST": "here"}, transport)
        self._transports[session.sid] = transport
        return session

    def join(self, namespace: str = "/") -> tuple[Session, str]:
        """Open a session, join a namespace and return the client's sid."""
        session = self.open()
        session.receive("40" if namespace == "/" else f"40{namespace},")
        self.mode.run_jobs()
        self.sent(session)
        return session, connection_of(session).clients[namespace].sid

    def tick(self, *, late_s: float = 0.0) -> None:
        """Let the one timer go off, in time or so much later."""
        delay_s, timer = self.mode.timers.pop()
        self.now_s += delay_s + late_s
        timer()

    def sent(self, session: Session) -> list[str | bytes]:
        """Return what was sent since the last call."""
        return session.take_packets(self._transports[session.sid])


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_client_is_told_its_sid_after_its_handler_let_it_in(bench: Bench) -> None:
    session = bench.open()
    session.receive('40{"token":1}')
    assert bench.sent(session) == []
    bench.mode.run_jobs()
    assert bench.app.log == [("connect", "/", {"token": 1}), ("connected", "/")]
    sid = connection_of(session).clients["/"].sid
    assert bench.sent(session) == [f'40{{"sid":"{sid}"}}']


def test_names_of_namespaces_are_bounded() -> None:
    bench = Bench(max_name_length=5)
    bench.app.accepts = lambda namespace: True  # type: ignore[method-assign]  # as with namespaces="*"
    session = bench.open()
    for name in ("/four", "/fivee"):
        session.receive(f"40{name},")
    bench.mode.run_jobs()
    refusal, welcome = bench.sent(session)
    assert refusal == '44/fivee,{"message":"name of 6 characters, the server allows 5 (max_name_length)"}'
    assert str(welcome).startswith("40/four,")
    assert sorted(connection_of(session).clients) == ["/four"]


def test_rooms_of_a_client_are_bounded_and_so_are_their_names() -> None:
    bench = Bench(max_rooms=2, max_name_length=8)
    (_, sid), (_, other) = bench.join(), bench.join()
    for room in ("a", "b", "a", sid):
        bench.server.enter_room(sid, room)
    with pytest.raises(ValueError, match=r"'c'.* in 2 rooms.* max_rooms=2"):
        bench.server.enter_room(sid, "c")
    bench.server.leave_room(sid, "a")
    bench.server.enter_room(sid, "c")
    long_names: tuple[Any, ...] = ("x" * 9, ("x", "yyyy"), 10**8)
    for name in long_names:
        with pytest.raises(ValueError, match="max_name_length=8"):
            bench.server.enter_room(other, name)
    assert bench.server.room_names() == ["b", "c"]


def test_a_connection_may_be_in_so_many_namespaces_only() -> None:
    bench = Bench(max_namespaces=2)
    bench.app.accepts = lambda namespace: True  # type: ignore[method-assign]  # as with namespaces="*"
    session = bench.open()
    for name in ("a", "b", "a", "c"):
        session.receive(f"40/{name},")
    bench.mode.run_jobs()
    refusal, *_ = bench.sent(session)
    assert str(refusal).startswith('44/c,{"message":"too many namespaces on one connection')
    assert "2 (max_namespaces)" in str(refusal)
    assert sorted(connection_of(session).clients) == sorted(bench.server.namespaces()) == ["/a", "/b"]
    session.receive("41/a,")
    bench.mode.run_jobs()
    session.receive("40/c,")
    bench.mode.run_jobs()
    assert sorted(connection_of(session).clients) == ["/b", "/c"], "there is room again"


def test_what_a_connect_handler_emits_arrives_behind_connect(bench: Bench) -> None:
    bench.app.during_connect = lambda client: bench.server.emit(Emission("hi", (1,), to=(client.sid,)))
    session = bench.open()
    session.receive("40")
    bench.mode.run_jobs()
    connect, hi = bench.sent(session)
    assert str(connect).startswith('40{"sid"')
    assert hi == '42["hi",1]'


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (False, '44{"message":"Connection rejected by server"}'),
        (ConnectionRefusedError("no", {"code": 7}), '44{"message":"no","data":{"code":7}}'),
        (ConnectionRefusedError("no"), '44{"message":"no"}'),
        (builtins.ConnectionRefusedError("no"), '44{"message":"Connection refused by server"}'),
    ],
)
def test_a_refused_client_gets_the_reason_and_nothing_that_was_emitted(
    bench: Bench, answer: bool | Exception, expected: str
) -> None:
    bench.app.during_connect = lambda client: bench.server.emit(Emission("hi", (1,), to=(client.sid,)))
    bench.app.welcome = answer
    session = bench.open()
    session.receive("40")
    bench.mode.run_jobs()
    assert bench.sent(session) == [expected]
    assert connection_of(session).clients == {}
    assert bench.server.members(None) == []
    assert ("disconnect", "/", "client disconnect") not in bench.app.log


def test_always_connect_lets_in_first_and_disconnects_on_refusal() -> None:
    bench = Bench(always_connect=True)
    bench.app.welcome = False
    session = bench.open()
    session.receive("40")
    assert str(bench.sent(session)[0]).startswith('40{"sid"')
    bench.mode.run_jobs()
    assert str(bench.sent(session)[0]).startswith("41")
    assert bench.server.members(None) == []


def test_an_unknown_namespace_is_refused_by_name(bench: Bench) -> None:
    session = bench.open()
    session.receive("40/nowhere,")
    bench.mode.run_jobs()
    assert bench.sent(session) == ['44/nowhere,{"message":"Invalid namespace"}']
    assert bench.app.log == []


def test_an_event_is_acknowledged_with_what_its_handler_returned(bench: Bench) -> None:
    session, _ = bench.join()
    bench.app.answer = ("a", 1)
    session.receive('4217["hello",{"x":1}]')
    bench.mode.run_jobs()
    assert bench.app.log[-1] == ("event", "/", "hello", ({"x": 1},))
    assert bench.sent(session) == ['4317["a",1]']


def test_an_event_nobody_handles_is_not_acknowledged(bench: Bench) -> None:
    session, _ = bench.join()
    bench.app.answer = None
    session.receive('421["hello"]')
    bench.mode.run_jobs()
    assert bench.sent(session) == []


def test_an_event_right_behind_connect_waits_for_the_connect_handler(bench: Bench) -> None:
    session = bench.open()
    session.receive("40")
    session.receive('421["early"]')
    bench.mode.run_jobs()
    assert [entry[0] for entry in bench.app.log] == ["connect", "connected", "event"]
    assert bench.sent(session)[1:] == ["431[]"]
    assert not connection_of(session).backlog


def test_an_event_right_behind_connect_of_a_refused_client_is_dropped(bench: Bench) -> None:
    bench.app.welcome = False
    session = bench.open()
    session.receive("40")
    session.receive('421["early"]')
    bench.mode.run_jobs()
    assert [entry[0] for entry in bench.app.log] == ["connect"]
    assert not connection_of(session).backlog


def test_an_event_for_a_namespace_that_was_not_joined_is_dropped(bench: Bench) -> None:
    session, _ = bench.join()
    session.receive('42/chat,["hello"]')
    bench.mode.run_jobs()
    assert bench.app.log[-1] == ("connected", "/")


def test_acks_reach_their_callbacks_once(bench: Bench) -> None:
    session, sid = bench.join()
    answers: list[tuple[Any, ...]] = []
    bench.server.emit(Emission("ask", (1,), to=(sid,), on_ack=lambda *args: answers.append(args)))
    bench.server.emit(Emission("ask", (2,), to=(sid,), on_ack=lambda *args: answers.append(args)))
    assert bench.sent(session) == ['421["ask",1]', '422["ask",2]']
    session.receive('432["two",2]')
    session.receive('432["again"]')
    session.receive("431[]")
    session.receive("4399[]")
    assert answers == [("two", 2), ()]


def test_rooms_address_each_client_once(bench: Bench) -> None:
    (one, sid1), (two, sid2), (three, _) = bench.join(), bench.join(), bench.join()
    for sid in (sid1, sid2):
        bench.server.enter_room(sid, "r")
        bench.server.enter_room(sid, "q")
    bench.server.emit(Emission("e", (), to=("r", "q", sid1)))
    assert [bench.sent(session) for session in (one, two, three)] == [['42["e"]'], ['42["e"]'], []]
    bench.server.emit(Emission("e", (), skip=frozenset({sid1})))
    assert [bench.sent(session) for session in (one, two, three)] == [[], ['42["e"]'], ['42["e"]']]
    bench.server.leave_room(sid1, "r")
    bench.server.close_room("q")
    assert bench.server.rooms(sid1) == [sid1]
    assert bench.server.rooms(sid2) == [sid2, "r"]


def test_a_namespace_hears_only_its_own(bench: Bench) -> None:
    (one, _), (two, _) = bench.join(), bench.join("/chat")
    bench.server.emit(Emission("e", (), namespace="/chat"))
    assert bench.sent(one) == []
    assert bench.sent(two) == ['42/chat,["e"]']
    assert sorted(bench.server.namespaces()) == ["/", "/chat"]


def test_nobody_enters_another_clients_own_room(bench: Bench) -> None:
    (_, sid1), (_, sid2) = bench.join(), bench.join()
    for name in (sid2, new_sid()):
        with pytest.raises(ValueError, match=rf"enter room '{name}': .* form of a sid.*f'room:"):
            bench.server.enter_room(sid1, name)
        with pytest.raises(ValueError, match=r"close room .*form of a sid"):
            bench.server.close_room(name)
    bench.server.enter_room(sid1, sid1)
    assert bench.server.rooms(sid1) == [sid1]
    with pytest.raises(ValueError, match="is not connected"):
        bench.server.enter_room("nobody", "r")


@pytest.mark.parametrize(
    ("leave", "reason"),
    [
        (lambda session: session.receive("41"), "client disconnect"),
        (lambda session: session.lost(), "transport close"),
        (lambda session: session.violate(ProtocolError("x")), "transport error"),
    ],
)
def test_a_client_that_leaves_is_said_goodbye_once(bench: Bench, leave: Any, reason: str) -> None:
    session, sid = bench.join()
    bench.server.enter_room(sid, "r")
    gone: list[str] = []
    bench.server.on_client_gone(sid, "/", lambda: gone.append(sid))
    leave(session)
    assert gone == [sid]
    assert bench.server.rooms(sid) == [sid, "r"], "its handler can still read its rooms"
    session.lost()
    bench.mode.run_jobs()
    assert [entry for entry in bench.app.log if entry[0] == "disconnect"] == [("disconnect", "/", reason)]
    assert bench.server.members("r") == bench.server.members(None) == []
    with pytest.raises(KeyError):
        bench.server.client(sid)


def test_the_server_disconnects_one_namespace_only(bench: Bench) -> None:
    session, sid = bench.join()
    session.receive("40/chat,")
    bench.mode.run_jobs()
    bench.sent(session)
    bench.server.disconnect(sid)
    bench.server.disconnect(sid)
    bench.mode.run_jobs()
    assert bench.sent(session) == ["41"]
    assert bench.app.log[-1] == ("disconnect", "/", "server disconnect")
    assert list(connection_of(session).clients) == ["/chat"]


def test_a_client_that_left_while_its_handler_ran_is_said_goodbye_after_it(bench: Bench) -> None:
    session = bench.open()
    session.receive("40")
    connection = connection_of(session)
    session.lost()
    bench.mode.run_jobs()
    assert bench.app.log == [("connect", "/", None), ("disconnect", "/", "transport close")]
    assert connection.clients == {}


@pytest.mark.parametrize(
    ("always_connect", "told"),
    [(False, ['44{"message":"Connection rejected by server"}']), (True, ["41"])],
)
def test_a_client_that_its_connect_handler_disconnects_is_refused(
    always_connect: bool, told: list[str]
) -> None:
    bench = Bench(always_connect=always_connect)
    bench.app.during_connect = lambda client: bench.server.disconnect(client.sid)
    session = bench.open()
    session.receive("40")
    bench.mode.run_jobs()
    assert bench.app.log[-1] == ("disconnect", "/", "server disconnect")
    assert bench.sent(session)[-1:] == told
    assert connection_of(session).clients == {}


def test_a_farewell_after_the_connect_handler_is_waited_for(bench: Bench) -> None:
    session = bench.open()
    session.receive("40")
    session.lost()
    bench.mode.jobs.popleft()()
    assert bench.app.log == [("connect", "/", None)], "the other handler is a job of its own"
    assert bench.server.shutdown(0) == 1


def test_a_broken_packet_is_the_peers_fault(bench: Bench) -> None:
    session, _ = bench.join()
    for packet in ("4", "4x", "42{}", '42["connect"]', "42[1,", "44{}"):
        with pytest.raises(ProtocolError):
            session.receive(packet)


def test_binary_events_wait_for_their_attachments(bench: Bench) -> None:
    session, _ = bench.join()
    session.receive('452-["b",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]')
    session.receive(b"\0first")
    bench.mode.run_jobs()
    assert len(bench.app.log) == 2
    session.receive(b"\4second")
    bench.mode.run_jobs()
    assert bench.app.log[2] == ("event", "/", "b", (b"\0first", b"\4second"))


@pytest.mark.parametrize("setting", [False, "ordered"])
def test_handlers_in_order_run_one_at_a_time(setting: bool | str) -> None:
    bench = Bench(async_handlers=setting)
    session, _ = bench.join()
    for number in range(3):
        session.receive(f'42["e",{number}]')
    assert len(bench.mode.jobs) == 1
    bench.mode.run_jobs()
    assert [entry[3] for entry in bench.app.log if entry[0] == "event"] == [(0,), (1,), (2,)]


def test_handlers_in_order_do_not_wait_for_those_of_other_clients() -> None:
    bench = Bench(async_handlers="ordered")
    sessions = [bench.join()[0] for _ in range(3)]
    for session in sessions:
        session.receive('42["e",1]')
        session.receive('42["e",2]')
    assert len(bench.mode.jobs) == len(sessions)


def test_a_volatile_event_is_dropped_for_those_who_cannot_take_it_now(bench: Bench) -> None:
    (ready, _), (behind, sid) = bench.join(), bench.join()
    bench.server.emit(Emission("waits", (), to=(sid,)))
    bench.server.emit(Emission("now or never", (), volatile=True))
    assert bench.sent(ready) == ['42["now or never"]']
    assert bench.sent(behind) == ['42["waits"]']


def test_shutdown_closes_everybody_and_refuses_the_next(bench: Bench) -> None:
    session, _ = bench.join()
    assert bench.server.shutdown(0.01) == 1, "the disconnect handler has not run yet"
    assert session.closed
    bench.mode.run_jobs()
    assert bench.server.shutdown(0.01) == 0
    assert bench.app.log[-1] == ("disconnect", "/", "server disconnect")
    assert not bench.server.accepting


def test_shutdown_waits_for_the_last_although_the_first_are_through() -> None:
    mode, said = ThreadingMode(), list[str]()

    class Farewell(RecordingApplication):
        def on_disconnect(self, client: Client, reason: str, reply: Callable[[], object]) -> None:
            if client.namespace == "/chat":
                time.sleep(0.2)  # a farewell that takes its time
            said.append(client.namespace)
            reply()

    class Late(WokenTransport):
        def close(self, code: int) -> None:
            assert wait_until(lambda: said == ["/"] and not server._shared.disconnecting, timeout_s=15)

    server = Server(Farewell(), options.build({}), mode)
    for transport, namespace in ((WokenTransport(), "/"), (Late(), "/chat")):
        session = server.eio.add_session({}, transport)
        session.receive("40" if namespace == "/" else f"40{namespace},")
        assert wait_until(lambda session=session: not connection_of(session).backlog, timeout_s=15)  # type: ignore[misc]  # a default
    assert server.shutdown(5) == 0
    assert said == ["/", "/chat"]
    mode.close()


def test_one_timer_serves_all_sessions(bench: Bench) -> None:
    sessions = [bench.join()[0] for _ in range(10)]
    assert len(bench.mode.timers) == 1
    bench.tick()
    assert [bench.sent(session) for session in sessions] == [["2"]] * 10
    assert len(bench.mode.timers) == 1


def test_a_silent_client_is_closed_by_the_timer(bench: Bench) -> None:
    session, _ = bench.join()
    for _ in range(2):
        bench.tick()
    bench.mode.run_jobs()
    assert session.closed
    assert bench.app.log[-1] == ("disconnect", "/", "ping timeout")


@pytest.mark.parametrize("late_s", [0.0, 30.0])
def test_a_process_that_stood_still_reads_before_it_closes_the_silent(bench: Bench, late_s: float) -> None:
    here, gone = (bench.join()[0] for _ in range(2))
    bench.tick()
    bench.tick(late_s=30.0)
    states = [(session.closed, bench.server.eio.overdue(session)) for session in (here, gone)]
    assert states == [(False, False)] * 2
    here.receive("3")
    bench.tick(late_s=late_s)
    assert [session.closed for session in (here, gone)] == [False, True]


def test_what_was_kept_of_a_client_on_polling_is_freed_when_it_leaves(bench: Bench) -> None:
    def found() -> list[object]:
        kept = (Session, Connection, clients.Client)
        return [found for found in gc.get_objects() if isinstance(found, kept)]

    gc.collect()
    gc.disable()
    try:
        others = found()  # kept here, because threads of earlier tests may be about to let go of theirs

        def count() -> int:
            return sum(all(new is not other for other in others) for new in found())

        session, _ = bench.join()
        assert count() == 3
        session.receive("1")
        bench.mode.run_jobs()
        del session
        assert count() == 0
    finally:
        gc.enable()


def test_a_direct_transport_gets_frames(bench: Bench) -> None:
    transport = DirectTransport()
    session = bench.server.eio.add_session({}, transport)
    session.receive("40")
    bench.mode.run_jobs()
    transport.written = b""
    bench.server.emit(Emission("e", ("ü",)))
    assert transport.written == b"\x81\x10" + b'42["e","\\u00fc"]'


def test_a_call_that_is_not_answered_leaves_nothing_behind(bench: Bench) -> None:
    session, sid = bench.join()
    for _ in range(3):
        with pytest.raises(CallTimeout):
            call(bench.server, bench.mode, Emission("ask"), sid, 0)
    assert not connection_of(session).clients["/"].acks


def test_a_call_to_a_room_leaves_nothing_behind_at_those_who_do_not_answer(bench: Bench) -> None:
    sessions = [bench.join() for _ in range(2)]
    for _, sid in sessions:
        bench.server.enter_room(sid, "room")
    with pytest.raises(CallTimeout):
        call(bench.server, bench.mode, Emission("ask"), "room", 0)
    assert [connection_of(session).clients["/"].acks for session, _ in sessions] == [{}, {}]


@pytest.mark.parametrize("welcome", [SystemExit(), ConnectionRefusedError("no", object())])
@pytest.mark.parametrize("always_connect", [False, True])
def test_a_client_whose_connect_handler_went_wrong_is_refused_and_forgotten(
    welcome: BaseException, always_connect: bool
) -> None:
    bench = Bench(always_connect=always_connect)
    bench.app.welcome = welcome
    session = bench.open()
    session.receive("40")
    with contextlib.suppress(SystemExit):
        bench.mode.run_jobs()
    bench.mode.run_jobs()
    refusal = "41" if always_connect else '44{"message":"Connection rejected by server"}'
    assert bench.sent(session)[-1] == refusal
    assert connection_of(session).clients == {}
    assert bench.server.members(None) == []


def test_a_namespace_that_everybody_left_is_forgotten(bench: Bench) -> None:
    bench.app.accepts = lambda namespace: True  # type: ignore[method-assign]  # as with namespaces="*"
    session = bench.open()
    for number in range(100):
        session.receive(f"40/made-up-{number},")
        bench.mode.run_jobs()
        session.receive(f"41/made-up-{number},")
        bench.mode.run_jobs()
    assert bench.server._rooms == {}


def test_two_threads_that_set_the_timer_at_once_set_one(bench: Bench) -> None:
    original = bench.mode.call_later

    def call_later(delay_s: float, callback: Callable[[], object]) -> Handle:
        bench.mode.call_later = original  # type: ignore[method-assign]  # once
        other = bench.open()  # what another thread does meanwhile
        assert not other.closed
        return original(delay_s, callback)

    bench.mode.call_later = call_later  # type: ignore[method-assign]
    bench.open()
    bench.now_s += 30
    for timer in list(bench.mode.timers):
        if timer in bench.mode.timers:
            bench.mode.timers.remove(timer)
            timer[1]()
    assert len(bench.mode.timers) == 1


def test_a_timer_that_is_set_too_late_does_not_replace_an_earlier_one(bench: Bench) -> None:
    original = bench.mode.call_later
    session, _ = bench.join()
    bench.server.eio.unschedule(session)

    def call_later(delay_s: float, callback: Callable[[], object]) -> Handle:
        bench.mode.call_later = original  # type: ignore[method-assign]  # once
        bench.server.eio._timer._arm(bench.now_s + 1)  # what another thread does meanwhile
        return original(delay_s, callback)

    bench.mode.call_later = call_later  # type: ignore[method-assign]
    bench.server.eio._timer._arm(bench.now_s + 10)
    ((delay_s, _),) = bench.mode.timers
    assert delay_s < 2


def test_a_process_that_had_no_thread_left_for_its_timer_sets_it_later() -> None:
    mode = ThreadingMode()
    server = Server(RecordingApplication(), options.build({"ping_interval": 0.05}), mode)
    transport = WokenTransport()
    threading.stack_size(1 << 46)  # more than there is
    try:
        with pytest.raises(RuntimeError, match="can't start new thread"):
            server.eio.add_session({}, transport)
    finally:
        threading.stack_size(0)
    server.eio.add_session({}, WokenTransport())
    assert wait_until(lambda: transport.woken > 0, timeout_s=15), "not even the first one is pinged"
    server.shutdown()
    mode.close()


def test_a_client_may_come_back_as_soon_as_it_was_disconnected(bench: Bench) -> None:
    session, sid = bench.join()
    transport = bench._transports[session.sid]

    def come_back() -> None:
        if "41" in bench.sent(session):
            session.receive("40")

    transport.wake = come_back  # type: ignore[method-assign]
    bench.server.disconnect(sid)
    bench.mode.run_jobs()
    assert [entry[0] for entry in bench.app.log].count("connect") == 2
    assert connection_of(session).clients["/"].sid != sid


def test_without_observers_an_event_reads_no_clock_and_tells_nothing() -> None:
    readings: list[float] = []
    mode, app = ManualMode(), RecordingApplication()

    def clock() -> float:
        readings.append(100.0)
        return 100.0

    server = Server(app, options.build({}), mode, clock=clock)
    session = server.eio.add_session({}, WokenTransport())
    session.receive("40")
    mode.run_jobs()

    def handle() -> int:
        before = len(readings)
        session.receive('42["event"]')
        server.emit(Emission("news", ()))
        mode.run_jobs()
        return len(readings) - before

    assert (handle(), app.observers.told) == (0, [])
    app.observers.observe()
    assert handle() == 2, "when it came, and when it was taken up"
    assert [hook for hook, _ in app.observers.told] == ["delivered"]


def test_whoever_may_not_join_a_namespace_is_told_to_observers_once() -> None:
    bench = Bench(max_namespaces=2, max_name_length=20)
    bench.app.observers.observe()
    session = bench.open()
    bench.app.during_connect = lambda client: sids.append(client.sid)
    sids: list[str] = []

    def refused(packet: str, welcome: bool | BaseException = True) -> list[tuple[Any, ...]]:
        bench.app.welcome = welcome
        bench.app.observers.told.clear()
        session.receive(packet)
        bench.mode.run_jobs()
        told = [facts for hook, facts in bench.app.observers.told if hook == "client_refused"]
        assert all(facts.pop("engine_sid") == session.sid for facts in told)
        return [tuple(facts.values()) for facts in told]

    message = {"message": "Connection rejected by server"}
    assert refused("40/nowhere,") == [(None, "/nowhere", {"message": "Invalid namespace"})]
    assert refused("40", False) == [(sids[-1], "/", message)]
    answer = {"message": "no", "data": 5}
    assert refused("40", ConnectionRefusedError("no", 5)) == [(sids[-1], "/", answer)]
    bench.app.during_connect = lambda client: bench.server.disconnect(client.sid, "/")
    assert [found[1:] for found in refused("40")] == [("/", message)]
    bench.app.during_connect = None
    assert refused("40") == []
    bench.app.namespaces |= {"/a", "/b", "/" + "c" * 20}
    assert refused("40/a,") == []
    assert [found[:2] for found in refused("40/b,")] == [(None, "/b")]
    assert [found[:2] for found in refused(f"40/{'c' * 20},")] == [(None, "/" + "c" * 20)]


def test_an_acknowledgement_that_is_given_up_is_told_to_observers_with_its_event() -> None:
    bench = Bench(max_pending_acks=2, ack_timeout=30)
    bench.app.observers.observe()
    session, sid = bench.join()

    def callback(*values: Any) -> None: ...

    def ask(event: str) -> None:
        bench.server.emit(Emission(event, (), to=(sid,), on_ack=callback))

    def told() -> list[tuple[str, float]]:
        bench.mode.run_jobs()
        facts = [facts for hook, facts in bench.app.observers.told if hook == "ack_expired"]
        bench.app.observers.told.clear()
        assert all((fact["sid"], fact["namespace"]) == (sid, "/") for fact in facts)
        return [(fact["event"], fact["waited_s"]) for fact in facts]

    for event in ("first", "second", "third"):
        ask(event)
        bench.now_s += 1
    assert told() == [("first", 2)], "one more than may be waited for"
    session.receive("432[]")
    session.on_due(132)
    assert told() == [], "the second was acknowledged, the third has until 132 s"
    bench.now_s = 133
    session.on_due(133)
    assert told() == [("third", 31)]
    ask("fourth")
    bench.server.forget_acks(sid, "/", callback)
    assert told() == [("fourth", 0)]
    ask("fifth")
    session.close("transport close")
    assert told() == [], "that the client has left says it"


def test_the_load_counts_connections_clients_rooms_and_what_their_outboxes_hold(bench: Bench) -> None:
    bench.open()
    session, sid = bench.join()
    bench.join("/chat")
    direct = DirectTransport(room=100)
    full = bench.server.eio.add_session({}, direct)
    full.receive("40")
    bench.mode.run_jobs()
    direct.room = 5
    bench.server.enter_room(sid, "room")
    bench.server.emit(Emission("news", ("x" * 100,)))
    load = bench.server.load()
    assert load.connections == {"polling": 3, "websocket": 1}
    assert load.clients == {"/": 2, "/chat": 1}
    assert load.rooms == {"/": 1}
    assert (load.outbox_connections, load.outbox_packets) == (2, 1), "one polls, one was written in part"
    assert 200 < load.outbox_bytes < 300
    bench.sent(session)
    full.close("ping timeout")
    bench.mode.run_jobs()
    load = bench.server.load()
    assert load.connections == {"polling": 3, "websocket": 0}
    assert (load.clients, load.outbox_connections, load.outbox_bytes) == ({"/": 1, "/chat": 1}, 0, 0)


@pytest.mark.parametrize("setting", [True, "ordered"])
def test_the_load_counts_handlers_that_run_and_those_that_wait(setting: Any) -> None:
    bench = Bench(async_handlers=setting, max_workers=10, max_handlers_per_client=1)
    for session, _ in (bench.join(), bench.join()):
        for _ in range(3):
            session.receive('42["work"]')
    load = bench.server.load()
    assert (load.max_workers, load.busy_workers, load.waiting_handlers) == (10, 2, 4)
    bench.mode.run_jobs()
    load = bench.server.load()
    assert (load.busy_workers, load.waiting_handlers) == (0, 0)
