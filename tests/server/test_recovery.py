"""Connection state recovery over recording transports: who comes back to what, by a clock that the test sets."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from flask_socketio_core.common import options
from flask_socketio_core.common.reasons import Reason
from flask_socketio_core.common.recovery_settings import speaks_javascript
from flask_socketio_core.common.users import user
from flask_socketio_core.contracts.clients import Emission
from flask_socketio_core.server import recoverable, recovery
from flask_socketio_core.server.clients import Client
from flask_socketio_core.server.interface import Group
from flask_socketio_core.server.phase import Phase
from flask_socketio_core.server.recoverable import Event, EventLog, OnItsWay, Presented, State, Unrecoverable
from flask_socketio_core.server.recovery import Recoveries
from flask_socketio_core.server.rooms import Rooms
from flask_socketio_core.server.server import Server
from flask_socketio_core.transport.packets import Outgoing
from flask_socketio_core.transport.session import Session
from support.engine import ManualMode, RecordingApplication, WokenTransport, connection_of


class Peer:
    """A client's end of a connection.

    :param sent: what it has received, decoded: ``[kind, data]`` with kinds of Socket.IO's packets.
    """

    def __init__(self, bench: Bench, namespace: str, environ: dict[str, Any]) -> None:
        self._bench = bench
        self._transport = WokenTransport()
        self._prefix = "" if namespace == "/" else f"{namespace},"
        self.namespace = namespace
        self.session: Session = bench.server.eio.add_session(
            {"HTTP_HOST": "here", **environ}, self._transport
        )

    def connect(self, auth: Any = None) -> Peer:
        """Ask to join the namespace, and have it decided."""
        self.ask(auth)
        self._bench.mode.run_jobs()
        return self

    def ask(self, auth: Any = None) -> Peer:
        """Ask to join the namespace."""
        self.session.receive(f"40{self._prefix}{'' if auth is None else json.dumps(auth)}")
        return self

    @property
    def client(self) -> Client:
        return connection_of(self.session).clients[self.namespace]

    def received(self) -> list[tuple[str, Any]]:
        """Return the kinds and data of what was sent since the last call."""
        packets = [str(packet) for packet in self.session.take_packets(self._transport)]
        return [(packet[1], json.loads(packet[2 + len(self._prefix) :] or "null")) for packet in packets]

    def lose(self, reason: str = Reason.TRANSPORT_CLOSE) -> None:
        """Lose the connection, and have the disconnect handler run."""
        self.session.close(reason)
        self._bench.mode.run_jobs()


class Bench:
    """A server with the parts a test looks at."""

    def __init__(self, recovery: Any = 60, **keywords: Any) -> None:
        self.mode = ManualMode()
        self.app = RecordingApplication()
        self.now_s = 1000.0
        checked = options.build({"recovery": recovery, **keywords})
        self.server = Server(self.app, checked, self.mode, clock=lambda: self.now_s)

    def peer(self, auth: Any = None, namespace: str = "/", **environ: Any) -> Peer:
        """Return a client that has connected."""
        return Peer(self, namespace, environ).connect(auth)

    def opened(self, namespace: str = "/", **environ: Any) -> Peer:
        """Return a client that has a connection, but has not asked to join."""
        return Peer(self, namespace, environ)

    def emit(self, event: str, *args: Any, to: str | None = None, volatile: bool = False) -> None:
        self.server.emit(
            Emission(event, args, "/", None if to is None else (to,), frozenset(), None, volatile)
        )

    @property
    def recoveries(self) -> Recoveries:
        found = self.server._shared.recoveries
        assert found is not None
        return found

    def load(self) -> Any:
        return self.server.load().recovery

    def wait(self, seconds: float) -> None:
        """Let time pass for what is kept."""
        self.now_s += seconds
        self.recoveries.on_due(self.now_s)

    def run_timers(self) -> None:
        """Run the timers that there are now."""
        for _, timer in self.mode.timers[:]:
            timer()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def credentials(peer: Peer) -> dict[str, str]:
    """Return what a client presents that has received nothing but its CONNECT."""
    ((kind, data),) = peer.received()
    assert kind == "0"
    return {"pid": data["pid"]}


def test_a_client_comes_back_with_what_it_has_missed_behind_its_connect_packet(bench: Bench) -> None:
    peer = bench.peer()
    presented = credentials(peer)
    sid = peer.client.sid
    bench.server.enter_room(sid, "room")
    bench.emit("had", 1, to="room")
    ((_, (_, _, offset)),) = peer.received()
    peer.lose()
    bench.emit("missed", 2, to="room")
    bench.emit("not", to="another room")
    back = bench.peer({**presented, "offset": offset, "token": 1})
    connect, event = back.received()
    assert event == ("2", ["missed", 2, event[1][2]])
    assert connect == ("0", {"sid": sid, "pid": presented["pid"]})
    assert back.client.recovered
    assert back.client.missed == 1
    assert bench.server.rooms(sid) == [sid, "room"]
    assert bench.app.log[-3:] == [
        ("recovered", "/", 1),
        ("connect", "/", {"token": 1}),
        ("connected", "/"),
    ]


def test_an_event_that_is_forgotten_while_it_is_sent_again_is_sent_all_the_same() -> None:
    log = EventLog(threading.Lock(), max_bytes=10_000, max_namespace_bytes=None, max_age_s=10)
    old, new = FakeClient(), FakeClient()
    state = State("pid", old, threading.Lock(), 10, 1000)
    event = Event("offset", Outgoing(("42[]",)), 0.0, True)
    log.add("/", event)
    state.deliver(event, Outgoing(("42[]",)), False)

    def put(missed: int) -> bool:
        log.forget_old(100.0)
        return True

    state.take(new, None, put)
    assert event.outgoing is None
    assert len(new.sent) == 1


def test_a_client_that_was_kicked_while_it_came_back_is_disconnected(bench: Bench) -> None:
    peer = bench.peer()
    presented = credentials(peer)
    old = peer.client
    peer.lose()
    back = bench.peer(presented)
    assert bench.recoveries.close(old) is back.client
    assert bench.server._on_newest_connection(old) is back.client


def test_a_kick_that_comes_with_the_loss_holds(bench: Bench) -> None:
    peer = bench.peer()
    presented = credentials(peer)
    client = peer.client
    peer.session.close(Reason.TRANSPORT_CLOSE)
    client.connection.disconnect(client, Reason.KICKED, None)  # by who saw it connected a moment ago
    bench.mode.run_jobs()
    assert bench.load().clients == 0
    assert not bench.peer(presented).client.recovered


@pytest.mark.parametrize("close", [False, True])
def test_a_client_that_is_kicked_while_it_is_away_starts_anew(bench: Bench, close: bool) -> None:
    peer = bench.peer()
    presented = credentials(peer)
    sid = peer.client.sid
    peer.lose()
    bench.server.kick(Group("/", (sid,)), Reason.KICKED, close=close)
    back = bench.peer(presented)
    assert not back.client.recovered
    assert back.client.sid != sid
    assert bench.load().failed == {"unknown": 1}


def test_a_connection_that_is_closed_while_its_client_is_away_is_closed_in_all_its_namespaces() -> None:
    bench = Bench()
    peer = bench.peer()
    peer.session.receive("40/chat,")
    bench.mode.run_jobs()
    packets = [str(packet) for packet in peer.session.take_packets(peer._transport)]
    auth = {"pid": json.loads(next(packet for packet in packets if packet.startswith("40/chat,"))[8:])["pid"]}
    other, sid = bench.peer(namespace="/chat"), peer.client.sid
    ((_, kept),) = other.received()
    peer.lose()
    other.lose()
    bench.server.kick(Group("/", (sid,)), Reason.KICKED, close=True)
    assert bench.load().lost_clients == 1
    for pid, recovered in ((auth["pid"], False), (kept["pid"], True)):
        assert bench.peer({"pid": pid}, "/chat").client.recovered is recovered


def test_room_changes_by_who_has_found_it_on_its_old_connection_hold() -> None:
    bench = Bench()
    peer = bench.peer()
    presented = credentials(peer)
    old, sid = peer.client, peer.client.sid
    peer.lose()
    bench.server.enter_room(sid, "away")
    back = bench.peer(presented)
    rooms = bench.server._rooms["/"]
    assert rooms.enter(old, "late")
    assert rooms.leave(old, "away")
    assert bench.server.rooms(sid) == [sid, "late"]
    assert rooms.members("late") == [back.client]
    assert not old.rooms


def test_a_room_that_is_closed_while_a_client_is_away_has_no_members(bench: Bench) -> None:
    peer = bench.peer()
    presented = credentials(peer)
    sid = peer.client.sid
    bench.server.enter_room(sid, "room")
    peer.lose()
    bench.server.close_room("room")
    bench.peer(presented)
    assert bench.server.rooms(sid) == [sid]


def test_a_user_that_is_set_while_its_client_is_away_holds(bench: Bench) -> None:
    peer = bench.peer()
    presented = credentials(peer)
    old = peer.client
    old.user = "ann"
    peer.lose()
    old.user = "bob"
    back = bench.peer(presented).client
    assert back.user == "bob"
    assert bench.server._rooms["/"].members(user("bob")) == [back]
    old.user = "eve"  # of a connection that another one has replaced
    assert back.user == "bob"


def test_observers_are_told_that_it_left_its_rooms_before_that_it_is_back_in_them(bench: Bench) -> None:
    bench.app.observers.observe()
    peer = bench.peer()
    presented = credentials(peer)
    sid = peer.client.sid
    bench.server.enter_room(sid, "room")
    peer.session.close(Reason.TRANSPORT_CLOSE)  # its disconnect handler has not run
    bench.opened().connect(presented)
    bench.server.enter_room(sid, "more")

    def told() -> list[tuple[str, str]]:
        return [
            (hook, facts["room"])
            for hook, facts in bench.app.observers.told
            if hook in ("room_entered", "room_left")
        ]

    assert told() == [
        ("room_entered", "room"),
        ("room_left", "room"),
        ("room_entered", "room"),
        ("room_entered", "more"),
    ]


def test_what_happens_to_rooms_of_who_is_away_is_told_when_it_is_back(bench: Bench) -> None:
    bench.app.observers.observe()
    peer = bench.peer()
    presented = credentials(peer)
    sid = peer.client.sid
    bench.server.enter_room(sid, "one")
    peer.lose()
    bench.app.observers.told.clear()
    bench.server.enter_room(sid, "two")
    bench.server.leave_room(sid, "one")
    assert not bench.app.observers.told
    bench.peer(presented)
    told = [facts["room"] for hook, facts in bench.app.observers.told if hook == "room_entered"]
    assert told == ["two"]


def test_who_is_back_and_gone_before_it_was_asked_about_leaves_nothing_behind(bench: Bench) -> None:
    peer = bench.peer()
    presented = credentials(peer)
    sid = peer.client.sid
    peer.session.close(Reason.TRANSPORT_CLOSE)
    waiting = bench.opened().ask({**presented, "text": "x" * 5000})
    waiting.session.receive(f'42["early","{"x" * 5000}"]')
    pending = bench.server._shared.pending
    assert pending.total > 10_000
    waiting.session.close(Reason.TRANSPORT_CLOSE)
    bench.mode.run_jobs()
    assert pending.total == 0
    assert bench.server.members(None) == []
    assert bench.peer(presented).client.sid == sid


def test_of_two_connections_with_one_pid_the_newer_one_has_it(bench: Bench) -> None:
    peer = bench.peer()
    presented = credentials(peer)
    sid = peer.client.sid
    peer.session.close(Reason.TRANSPORT_CLOSE)
    first, second = bench.opened().ask(presented), bench.opened().ask(presented)
    bench.mode.run_jobs()
    assert first.session.closed
    assert second.client.sid == sid
    assert second.client.recovered
    assert bench.server.members(None) == [sid]
    assert bench.load().recovered == 1


@pytest.mark.parametrize("welcome", [True, False])
@pytest.mark.parametrize("always_connect", [True, False])
def test_who_is_back_while_its_connect_handler_has_not_decided_waits_for_that(
    bench: Bench, welcome: bool, always_connect: bool
) -> None:
    """Or its disconnect handler would run when it is connected again, and be taken for the end of that."""
    bench = Bench(always_connect=always_connect)
    replies: list[Callable[[bool], object]] = []
    on_connect = bench.app.on_connect

    def decide_later(client: Any, auth: Any, reply: Any) -> None:
        if not client.recovered:
            replies.append(reply)
        else:
            on_connect(client, auth, reply)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bench.app, "on_connect", decide_later)
        peer = bench.peer()
        state = peer.client.recovery
        assert state is not None
        peer.lose()
        back = bench.opened().connect({"pid": state.pid})
        assert back.client.phase is Phase.PENDING
        replies[0](welcome)
        bench.mode.run_jobs()
    assert back.client.recovered is welcome
    if welcome:
        assert bench.app.log == [
            ("disconnect", "/", "transport close"),
            ("recovered", "/", 0),
            ("connect", "/", None),
            ("connected", "/"),
        ]
    else:
        assert bench.load().failed == {"unknown": 1}


def test_handlers_that_do_not_return_are_not_waited_for_any_longer(bench: Bench) -> None:
    peer = bench.peer()
    presented = credentials(peer)
    peer.session.close(Reason.TRANSPORT_CLOSE)
    bench.mode.jobs.clear()  # its disconnect handler does not run
    back = bench.opened().ask(presented)
    ((_, resume),) = [timer for timer in bench.mode.timers if timer[0] == 1.0]
    resume()
    bench.mode.run_jobs()
    assert back.client.recovered
    resume()  # once is enough
    assert [kind for kind, _ in back.received()] == ["0"]


def test_who_takes_no_part_keeps_its_auth() -> None:
    bench = Bench({"clients": lambda environ, auth: auth == {"web": True}})
    peer = bench.peer({"pid": "of the application", "offset": "too", "web": False})
    ((_, data),) = peer.received()
    assert list(data) == ["sid"]
    assert bench.app.log[0] == (
        "connect",
        "/",
        {"pid": "of the application", "offset": "too", "web": False},
    )
    assert bench.load().clients == 0
    peer = bench.peer({"pid": "unknown", "web": True})
    ((_, data),) = peer.received()
    assert list(data) == ["sid", "pid"]
    assert bench.app.log[2] == ("connect", "/", {"web": True})


def test_events_before_connect_are_handled_where_everybody_is_connected_at_once() -> None:
    bench = Bench(always_connect=True)
    peer = bench.peer()
    presented = credentials(peer)
    peer.session.close(Reason.TRANSPORT_CLOSE)
    back = bench.opened().ask(presented)
    back.session.receive('42["early"]')
    bench.mode.run_jobs()
    assert ("event", "/", "early", ()) in bench.app.log
    assert connection_of(back.session).early == 0


# what is kept, and for how long


def numbered(count: int, size: int = 10) -> list[tuple[Event, Outgoing]]:
    """Return events of one second each."""
    packets = [Outgoing(("x" * size,)) for _ in range(count)]
    return [
        (Event(f"log-{number}", outgoing, float(number), True), outgoing)
        for number, outgoing in enumerate(packets)
    ]


def make_log(
    max_bytes: int = 10_000, max_namespace_bytes: int | None = None, max_age_s: float = 10
) -> EventLog:
    return EventLog(
        threading.Lock(), max_bytes=max_bytes, max_namespace_bytes=max_namespace_bytes, max_age_s=max_age_s
    )


def test_old_events_are_forgotten_when_it_is_their_time() -> None:
    log = make_log()
    assert log.next_due() is None
    for event, _ in numbered(5):
        log.add("/", event)
    assert log.next_due() == 10.0
    log.forget_old(12.5)
    assert len(log) == 2
    assert log.next_due() == 13.0
    log.forget_old(100.0)
    assert (len(log), log.size_bytes, log.evicted, log.next_due()) == (0, 0, 0, None)


def test_beyond_the_bytes_the_oldest_events_of_the_largest_namespace_are_forgotten() -> None:
    log = make_log(max_bytes=10 * 520 * 2, max_age_s=100)
    few, many = numbered(2), numbered(30)
    for event, _ in few:
        log.add("/few", event)
    for event, _ in many:
        log.add("/many", event)
        assert log.size_bytes <= 10 * 520 * 2
    assert all(event.outgoing for event, _ in few)
    kept = [event.outgoing is not None for event, _ in many]
    assert kept == sorted(kept)
    assert 10 <= sum(kept) < 20
    assert log.evicted == 30 - sum(kept)


def test_a_namespace_has_a_limit_of_its_own() -> None:
    (first, _), (second, _), (third, _) = numbered(3)
    log = make_log(max_namespace_bytes=first.size * 2)
    log.add("/other", first)
    log.add("/", second)
    log.add("/", third)
    assert log.evicted == 0
    (event, _), *_ = numbered(1)
    log.add("/", event)
    assert (first.forgotten, second.forgotten, third.forgotten) == (False, True, False)


def test_an_event_larger_than_all_that_is_kept_is_not_kept() -> None:
    log = make_log(max_bytes=600)
    ((event, _),) = numbered(1, size=200)
    log.add("/", event)
    assert event.forgotten
    assert (len(log), log.size_bytes) == (0, 0)


def lost_state(most: int = 100, most_bytes: int = 100_000) -> State[Any]:
    return State("pid", FakeClient(), threading.Lock(), most, most_bytes)


def test_events_without_bound_are_not_sent_again() -> None:
    state = lost_state(most=10)
    for event, outgoing in numbered(10):
        state.deliver(event, outgoing, False)
    state.check(None)
    ((one_more, outgoing), *_) = numbered(1)
    state.deliver(one_more, outgoing, False)
    with pytest.raises(Unrecoverable, match=r"^too many events$"):
        state.check(None)
    state.check("log-1")


def test_neither_are_more_than_an_outbox_takes() -> None:
    bench = Bench(outbox_max_packets=10, outbox_policy="drop_oldest")
    for missed, recovered in ((9, True), (10, False)):
        peer = bench.peer()
        presented = credentials(peer)
        peer.lose()
        for number in range(missed):
            bench.emit("number", number)
        back = bench.peer(presented)
        packets = back.received()
        assert back.client.recovered is recovered
        assert [data[1] for kind, data in packets if kind == "2"] == [*range(missed)] * recovered
        back.lose(Reason.KICKED)
    bench = Bench(outbox_max_bytes=5000)
    peer = bench.peer()
    presented = credentials(peer)
    peer.lose()
    bench.emit("large", "x" * 4000)
    assert not bench.peer(presented).client.recovered
    assert bench.load().failed == {"too many events": 1}


def test_what_was_forgotten_cannot_be_missed() -> None:
    log, state = make_log(), lost_state()
    events = numbered(5)
    for event, outgoing in events:
        log.add("/", event)
        state.deliver(event, outgoing, False)
    log.forget_old(12.5)
    with pytest.raises(Unrecoverable, match=r"^events forgotten$"):
        state.check(None)
    with pytest.raises(Unrecoverable, match=r"^events forgotten$"):
        state.check("log-1")
    state.check("log-2")  # forgotten as well, but not what came behind it


def test_who_has_had_everything_comes_back_however_long_ago_that_was() -> None:
    bench = Bench(20)
    peer = bench.peer()
    presented = credentials(peer)
    for number in range(3):
        bench.emit("number", number)
    offset = peer.received()[-1][1][-1]
    bench.wait(10_000)
    assert bench.load().events == 0
    peer.lose()
    bench.emit("number", 3)
    assert bench.peer({**presented, "offset": offset}).client.missed == 1


def test_a_client_that_gets_nothing_any_more_keeps_only_the_last_of_what_was_forgotten() -> None:
    bench = Bench(20)
    peer = bench.peer()
    client = peer.client
    assert client.recovery is not None
    for number in range(100):
        peer.received()  # a volatile event does not wait
        bench.emit("number", number, volatile=number % 2 == 1)
    sent = client.recovery.sent
    assert sent is not None
    assert len(sent) == 100
    bench.wait(100)
    assert len(sent) == 1
    assert bench.load().events == 0
    with pytest.raises(Unrecoverable, match=r"^events forgotten$"):
        client.recovery.check(None)


def test_a_client_that_gets_events_all_the_time_keeps_no_more_of_them_than_the_log() -> None:
    bench = Bench({"window": 20, "max_bytes": 50 * 600})
    client = bench.peer().client
    assert client.recovery is not None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recovery, "TRIM_EVENTS", 10)
        for number in range(500):
            bench.emit("number", number)
    assert client.recovery.sent is not None
    assert len(client.recovery.sent) <= bench.load().events + 12 <= 70
    assert bench.load().evicted_events >= 440


def test_an_offset_of_an_earlier_pid_stands_for_none() -> None:
    """The official client does not forget it, so it presents it with a pid with which it has had no event yet."""
    bench = Bench(20)
    peer = bench.peer({"pid": "unknown", "offset": "earlier-1"})
    presented = credentials(peer)
    assert bench.load().failed == {"unknown": 1}
    bench.emit("number", 1)
    peer.lose()
    bench.emit("number", 2)
    back = bench.peer({**presented, "offset": "earlier-1"})
    assert [data[1] for kind, data in back.received() if kind == "2"] == [1, 2]


def test_volatile_events_have_an_offset_and_are_not_sent_again(bench: Bench) -> None:
    peer = bench.peer()
    presented = credentials(peer)
    bench.emit("seen", volatile=True)
    ((_, (_, offset)),) = peer.received()
    bench.emit("waits in the outbox", "text")
    bench.emit("cannot be written at once", "text", volatile=True)
    peer.lose()
    bench.emit("while it is away", volatile=True)
    back = bench.peer({**presented, "offset": offset})
    events = [data for kind, data in back.received() if kind == "2"]
    assert [event[0] for event in events] == ["waits in the outbox"]


def with_volatile_events(bench: Bench, count: int) -> tuple[Peer, dict[str, Any]]:
    """Return a client that has had one event last, and was sent so many volatile ones behind it."""
    peer = bench.peer()
    presented = credentials(peer)
    bench.emit("number", 0)
    offset = peer.received()[-1][1][-1]
    for _ in range(count):
        bench.emit("moves", volatile=True)
        peer.received()  # or the next one would not be written
    return peer, {**presented, "offset": offset}


def test_volatile_events_take_no_place_of_those_that_are_sent_again() -> None:
    bench = Bench({"max_events": 10})
    peer, presented = with_volatile_events(bench, 100)
    for number in range(1, 11):
        bench.emit("number", number)
    peer.lose()
    back = bench.peer(presented)
    assert [data[1] for kind, data in back.received() if kind == "2"] == [*range(1, 11)]
    assert back.client.missed == 10


def test_but_their_places_are_bounded_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recoverable, "VOLATILE_PLACES", 20)
    bench = Bench({"max_events": 10})
    for count, recovered in ((29, True), (31, False)):
        peer, presented = with_volatile_events(bench, count)
        state = peer.client.recovery
        assert state is not None
        assert state.sent is not None
        assert len(state.sent) <= 31
        peer.lose()
        assert bench.peer(presented).client.recovered is recovered
    assert bench.load().failed == {"too many events": 1}


def test_states_are_kept_for_the_window(bench: Bench) -> None:
    peers = [bench.peer() for _ in range(2)]
    presented = [credentials(peer) for peer in peers]
    peers[0].lose()
    bench.wait(30)
    peers[1].lose()
    bench.wait(30)
    assert (bench.load().clients, bench.load().lost_clients, bench.load().expired) == (1, 1, 1)
    assert not bench.peer(presented[0]).client.recovered
    assert bench.peer(presented[1]).client.recovered


def test_a_state_expires_by_the_one_timer(bench: Bench) -> None:
    peer = bench.peer()
    presented = credentials(peer)
    peer.lose()
    due_s = bench.recoveries.next_due()
    assert due_s == bench.now_s + 60
    bench.now_s = due_s + 2
    for _ in range(3):  # the timer lets a process that stood still catch up
        bench.run_timers()
        bench.now_s += 2
    assert bench.load().clients == 0
    assert not bench.peer(presented).client.recovered
    assert bench.server._rooms["/"].lost is None or not len(bench.server._rooms["/"].lost)


def test_beyond_the_clients_who_was_lost_first_starts_anew() -> None:
    bench = Bench({"max_clients": 2})
    peers = [bench.peer() for _ in range(3)]
    presented = [credentials(peer) for peer in peers]
    for peer in peers:
        peer.lose()
    assert (bench.load().lost_clients, bench.load().displaced) == (2, 1)
    assert [bench.peer(one).client.recovered for one in presented] == [False, True, True]
    assert bench.load().lost_clients == 0


def test_nothing_is_kept_of_who_has_gone_for_good() -> None:
    bench = Bench(20)
    for reason in (Reason.KICKED, Reason.EXPIRED, Reason.VIOLATION, Reason.OVERFLOW):
        bench.peer().lose(reason)
    bench.peer().lose()
    bench.opened().ask().lose()  # before its connect handler has decided
    bench.app.welcome = False
    bench.peer()
    bench.wait(1000)
    load = bench.load()
    assert (load.clients, load.lost_clients, load.events, load.events_bytes) == (0, 0, 0, 0)
    assert bench.server._rooms == {}


# from another server


def state_from_elsewhere(earlier: list[Event], meanwhile: list[tuple[Event, Outgoing]]) -> State[Any]:
    """Return a state with what another server has sent, and what was noted here meanwhile."""
    state = State[Any]("pid", FakeClient(Phase.GONE), threading.Lock(), 10, 100_000)
    state.client.session.closed = True
    for event, outgoing in meanwhile:
        state.deliver(event, outgoing, False)
    state.take_over(earlier, True, lambda origin: False)
    return state


def test_what_another_server_has_sent_comes_before_what_was_noted_meanwhile() -> None:
    first, second, third = numbered(3)
    state = state_from_elsewhere([first[0]], [second])
    state.deliver(*third, False)
    back = FakeClient()
    state.take(back, None, lambda missed: missed == 3)
    assert back.sent == [first[1], second[1], third[1]]


def test_a_client_does_not_come_back_from_another_server_in_part() -> None:
    (forgotten, _), *others = numbered(12)
    forgotten.outgoing = None
    for earlier, meanwhile, reason in (
        ([forgotten], [], "events forgotten"),
        ([others[0][0]], others[1:], "too many events"),
        ([], others, "too many events"),
    ):
        state, back = state_from_elsewhere(earlier, meanwhile), FakeClient()
        with pytest.raises(Unrecoverable, match=rf"^{reason}$"):
            state.take(back, None, lambda missed: True)
        assert not back.sent


def test_what_was_noted_for_who_is_still_away_has_no_gap() -> None:
    (first, _), *others = numbered(12)
    state = state_from_elsewhere([first], others)
    with pytest.raises(Unrecoverable, match=r"^too many events$"):
        state.check(first.offset)
    with pytest.raises(Unrecoverable, match=r"^too many events$"):
        state.check(None)
    state.check(others[0][0].offset)


class OtherServers:
    """One of them may have what clients come back to; they note who looks for it, and answer when the test says so."""

    node = "here"

    def __init__(self) -> None:
        self.sought: list[tuple[Client, Callable[[], object]]] = []

    def seek(self, client: Client, presented: Presented, ask: Callable[[], object], until: float) -> None:
        self.sought.append((client, ask))

    def begin(self) -> object:
        return object()

    def end(self, flight: object) -> None:
        """Note nothing."""

    def lost_since(self, at_s: float) -> bool:
        return False


@pytest.fixture
def others(bench: Bench) -> OtherServers:
    found = bench.recoveries.elsewhere = OtherServers()
    return found


PACKED: dict[str, Any] = {
    "data": {"name": "ann"},
    "user": None,
    "user_session": {"logged": "in"},
    "away_s": 0.0,
    "expires_at": None,
    "session": None,
}


class Sought:
    """A client that is back here from another server, and the state that is brought here for it."""

    pid = "there.secret"
    sid = "of the client"

    def __init__(self, bench: Bench, others: OtherServers, room: str = "room") -> None:
        self._bench = bench
        self.peer = bench.peer({"pid": self.pid})
        self.client, self.ask = others.sought[-1]
        self.own_sid = self.client.sid
        state = bench.recoveries.receive(self.pid, "/", self.sid, [room], self.client)
        assert state is not None
        self.state = state
        self.absent = state.client
        assert bench.server.members(room) == bench.server.members(self.sid) == []  # it is away at once

    def arrive(self, **packed: Any) -> None:
        """Have the other server give the state away."""
        self._bench.recoveries.take_over(self.state, {**PACKED, **packed}, [], {}, True, lambda origin: False)

    def resume(self) -> None:
        self._bench.recoveries.resume(self.state, self.absent, self.client, None, self.ask)
        self._bench.mode.run_jobs()

    def fail(self) -> None:
        """Have something fail, before the client has its state."""
        self._bench.recoveries.give_up(self.state)
        self._bench.recoveries.not_found(self.client, self.pid, "no answer", self.ask)
        self._bench.mode.run_jobs()


@pytest.fixture
def sought(bench: Bench, others: OtherServers) -> Sought:
    return Sought(bench, others)


def test_a_client_comes_back_from_another_server_as_if_it_had_been_here(bench: Bench, sought: Sought) -> None:
    bench.emit("while it comes", to="room")
    bench.emit("not sent again", to="room", volatile=True)
    sought.arrive(user="ann", expires_at=time.time() + 60, session="of its own")
    bench.emit("when it is there", to="room")
    assert bench.recoveries.lost_states() == []  # or another server might take it from who is back
    assert sought.pid in bench.recoveries._coming  # a server that ends waits for it
    sought.resume()
    assert not bench.recoveries.some_come
    assert ("session", "/", "of its own") in bench.app.log
    (kind, data), *events = sought.peer.received()
    assert (kind, data) == ("0", {"sid": sought.sid, "pid": sought.pid})
    assert [event[0] for _, event in events] == ["while it comes", "when it is there"]
    client = sought.client
    assert (client.recovered, client.missed, client.data) == (True, 2, {"name": "ann"})
    assert (client.user, client.user_session) == ("ann", {"logged": "in"})
    assert client.expires_at is not None
    assert bench.server.rooms(sought.sid) == [sought.sid, "room"]
    assert (bench.load().recovered, bench.load().lost_clients) == (1, 0)


@pytest.mark.parametrize("when", ["before its state could not be had", "before that was brought here"])
def test_who_was_selected_for_an_event_is_not_sent_it_when_it_begins_anew(
    bench: Bench, sought: Sought, when: str
) -> None:
    select, rooms = Rooms.select_with_lost, bench.server._rooms["/"]

    def select_and_fail(*args: Any) -> list[Client]:
        found = select(rooms, *args)
        if "brought" in when:
            sought.arrive()
        sought.fail()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rooms, "select_with_lost", lambda self, *args: select_and_fail(*args))
        bench.emit("news", to="room")
    assert rooms.members("room") == []
    ((kind, data),) = sought.peer.received()
    assert (kind, data["sid"]) == ("0", sought.own_sid)


def test_who_begins_anew_has_nothing_of_a_state_that_was_brought_here(bench: Bench, sought: Sought) -> None:
    bench.emit("missed", to="room")
    sought.arrive(user="ann", expires_at=time.time() + 60)
    sought.fail()  # what follows does
    assert [kind for kind, _ in sought.peer.received()] == ["0"]
    client = sought.client
    assert (client.sid, client.recovered, client.missed) == (sought.own_sid, False, 0)
    assert (client.data, client.user, client.user_session, client.expires_at) == ({}, None, None, None)
    assert bench.recoveries.holder(sought.pid) is None
    assert bench.server.rooms(client.sid) == [client.sid]
    bench.emit("news")
    assert [kind for kind, _ in sought.peer.received()] == ["2"]


def test_who_leaves_while_its_state_is_looked_for_leaves_nothing_behind(bench: Bench, sought: Sought) -> None:
    sought.peer.lose()
    assert bench.recoveries.lost_states() == []  # which this server could not give away
    sought.fail()
    assert bench.server._rooms == {}


def test_who_leaves_while_its_state_comes_finds_it_here(bench: Bench, sought: Sought) -> None:
    sought.peer.lose()
    sought.arrive(away_s=50.0)
    sought.resume()
    bench.emit("missed", to="room")
    assert bench.load().lost_clients == 1
    bench.wait(50.0)  # it is away since it was here
    back = bench.peer({"pid": sought.pid})
    assert (back.client.sid, back.client.recovered, back.client.missed) == (sought.sid, True, 1)


def test_who_leaves_by_itself_while_its_state_comes_does_not_come_back(bench: Bench, sought: Sought) -> None:
    sought.peer.session.receive("41")
    bench.mode.run_jobs()
    with pytest.raises(Unrecoverable):
        sought.arrive()
    sought.fail()
    assert bench.recoveries.receive(sought.pid, "/", sought.sid, [], sought.client) is None
    assert (bench.load().clients, bench.load().lost_clients, bench.server._rooms) == (0, 0, {})


def test_who_leaves_by_itself_when_its_state_is_there_does_not_come_back(
    bench: Bench, sought: Sought
) -> None:
    sought.arrive()
    sought.peer.session.receive("41")
    sought.resume()
    assert (bench.load().clients, bench.load().lost_clients, bench.server._rooms) == (0, 0, {})


def test_who_leaves_by_itself_at_the_moment_at_which_it_has_its_state_does_not_come_back(
    bench: Bench, sought: Sought
) -> None:
    sought.arrive()
    close_coming = Recoveries._close_coming

    def resume_first(recoveries: Recoveries, client: Client) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Recoveries, "_close_coming", close_coming)
            bench.recoveries.resume(sought.state, sought.absent, sought.client, None, lambda: None)
        close_coming(recoveries, client)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recoveries, "_close_coming", resume_first)
        sought.peer.session.receive("41")
    bench.mode.run_jobs()
    assert (bench.load().clients, bench.load().lost_clients) == (0, 0)


def test_a_newer_connection_waits_for_what_was_brought_for_an_earlier_one(
    bench: Bench, sought: Sought
) -> None:
    sought.arrive()
    newer = bench.peer({"pid": sought.pid})
    assert sought.peer.session.closed
    assert newer.received() == []
    sought.resume()
    bench.run_timers()  # it looks again
    bench.mode.run_jobs()
    assert newer.client.recovered
    bench.recoveries.give_up(sought.state)  # nothing of the newer one's
    assert bench.recoveries.holder(sought.pid) is newer.client
    assert bench.server.rooms(sought.sid) == [sought.sid, "room"]


def test_a_connection_that_ended_badly_takes_nothing_from_a_newer_one(
    bench: Bench, others: OtherServers
) -> None:
    """Of a state that was brought here when its client was nowhere yet."""
    brought = bench.recoveries.receive("there.secret", "/", "of the client", ["room"], None)
    assert brought is not None
    bench.recoveries.take_over(brought, PACKED, [], {}, True, lambda origin: False)
    absent = brought.client
    peer = bench.opened().ask()
    earlier, newer = peer.client, bench.opened().ask().client
    brought.presented_by = newer
    peer.session.close(Reason.OVERFLOW)
    for client in (earlier, newer):
        bench.recoveries.resume(brought, absent, client, None, lambda: None)
    assert newer.recovered


def test_another_server_asks_again_for_what_is_brought_for_an_earlier_connection(
    bench: Bench, sought: Sought
) -> None:
    sought.arrive()
    with pytest.raises(OnItsWay):
        bench.recoveries.leave(sought.pid, "/", None)
    assert sought.peer.session.closed
    sought.resume()
    assert bench.recoveries.leave(sought.pid, "/", None) is sought.absent


def test_two_that_stand_for_a_client_one_after_the_other_leave_no_room_behind(
    bench: Bench, others: OtherServers, sought: Sought
) -> None:
    """It has left by itself and is back while it was asked for."""
    bench.peer()  # or the namespace would be forgotten
    sought.peer.session.receive("41")
    bench.mode.run_jobs()
    second = Sought(bench, others, "other room")
    second.fail()
    sought.fail()
    lost = bench.server._rooms["/"].lost
    assert lost is not None
    assert lost.count() == len(lost) == 0


def test_a_late_offer_leaves_the_rooms_of_who_is_disconnected_just_then(
    bench: Bench, others: OtherServers
) -> None:
    peer = bench.peer()
    (pid, sid), client = (peer.client.recovery.pid, peer.client.sid), peer.client  # type: ignore[union-attr]
    bench.server.enter_room(sid, "room")
    peer.session.receive("41")  # its disconnect handler has not run yet
    offered = bench.recoveries.receive(pid, "/", sid, ["offered"], None)
    assert offered is not None
    assert client.rooms == {"room"}
    bench.mode.run_jobs()
    bench.recoveries.give_up(offered)
    assert not bench.recoveries.some_come
    assert bench.server._rooms == {}


def test_no_thread_left_leaves_nothing_behind(bench: Bench, others: OtherServers) -> None:
    def no_thread(*args: Any) -> None:
        raise RuntimeError("can't start new thread")

    others.seek = no_thread  # type: ignore[method-assign, assignment]
    peer = bench.opened()
    with pytest.raises(RuntimeError):
        peer.ask({"pid": "there.secret"})
    assert not bench.recoveries.some_come


def test_nothing_is_kept_of_what_was_brought_and_is_too_much(others: OtherServers) -> None:
    bench = Bench({"max_events": 2})
    bench.recoveries.elsewhere = others
    sought = Sought(bench, others)
    for number in range(3):
        bench.emit("number", number, to="room")
    sought.arrive()
    sought.resume()
    assert not sought.client.recovered
    assert bench.load().failed == {"too many events": 1}
    assert (bench.load().clients, bench.load().lost_clients) == (1, 0)
    assert bench.server.rooms(sought.own_sid) == [sought.own_sid]
    assert bench.server._rooms["/"].members("room") == []


def test_what_a_server_that_ends_offers_is_not_taken_from_who_has_it(bench: Bench, sought: Sought) -> None:
    """Its client has just arrived here, or has even had its state since that was offered."""

    def offered() -> object:
        return bench.recoveries.receive(sought.pid, "/", sought.sid, ["room"], None)

    assert offered() is None
    sought.arrive()
    assert offered() is None
    sought.resume()
    assert offered() is None
    sought.peer.received()
    bench.emit("news", to="room")
    assert [kind for kind, _ in sought.peer.received()] == ["2"]


def test_the_end_of_who_began_anew_is_not_that_of_its_earlier_state(bench: Bench, sought: Sought) -> None:
    sought.fail()
    brought = bench.recoveries.receive(sought.pid, "/", sought.sid, ["room"], None)
    assert brought is not None
    bench.recoveries.take_over(brought, PACKED, [], {}, True, lambda origin: False)
    bench.recoveries.close(sought.client)
    assert bench.recoveries.holder(sought.pid) is brought.client
    assert bench.load().lost_clients == 1


def test_who_is_disconnected_while_its_state_comes_does_not_have_it(bench: Bench, sought: Sought) -> None:
    bench.server.disconnect(sought.sid)
    with pytest.raises(Unrecoverable):
        sought.arrive()
    sought.fail()
    assert not sought.client.recovered
    assert bench.recoveries.holder(sought.pid) is None
    sought.peer.lose(Reason.KICKED)
    assert (bench.load().clients, bench.load().lost_clients, bench.server._rooms) == (0, 0, {})


def test_whose_user_changes_while_its_state_comes_is_in_that_users_room(bench: Bench, sought: Sought) -> None:
    sought.absent.user = "ann"
    sought.arrive(user="ann")
    sought.absent.user = "bob"
    bench.emit("for ann", to=user("ann"))
    bench.emit("for bob", to=user("bob"))
    sought.resume()
    assert [data[0] for kind, data in sought.peer.received() if kind == "2"] == ["for bob"]


def test_who_could_not_have_a_state_ends_it_for_nobody_else(bench: Bench) -> None:
    """Another connection was faster, after it was seen that none was."""
    peer = bench.peer()
    client, presented = peer.client, credentials(peer)
    peer.lose()
    newer, state = bench.peer(presented), client.recovery
    assert state is not None
    bench.recoveries._abandon(state, client)
    assert bench.recoveries.holder(state.pid) is newer.client
    assert state.open


def test_a_state_that_was_just_given_to_another_server_is_nobodys_here(bench: Bench) -> None:
    peer, newer = bench.peer(), bench.peer()
    client, state = peer.client, peer.client.recovery
    assert state is not None
    peer.lose()
    assert bench.recoveries.release(state.pid, client) is state
    assert not bench.recoveries._put(state, client, newer.client, 0)
    assert state.client is client


# the end of a login


def test_the_end_of_a_login_comes_back_with_its_user(bench: Bench) -> None:
    peer = bench.peer()
    presented = credentials(peer)
    ends_at = time.time() + 1000
    peer.client.expires_at = ends_at
    peer.lose()
    back = bench.peer(presented)
    assert back.client.expires_at == ends_at
    expiry = back.client._expiry
    assert expiry is not None
    expiry.expires_at = time.time() - 1
    expiry.on_due(bench.now_s)
    assert back.session.close_reason == Reason.EXPIRED


def test_a_login_that_has_ended_meanwhile_is_not_resumed(bench: Bench) -> None:
    peer = bench.peer()
    presented = credentials(peer)
    peer.client.user = "ann"
    peer.client.expires_at = time.time() + 0.001
    peer.lose()
    time.sleep(0.002)
    bench.emit("secret", "of ann", to=user("ann"))
    back = bench.peer(presented)
    assert not back.client.recovered
    assert back.client.user is None
    assert [kind for kind, _ in back.received()] == ["0"]
    assert bench.load().failed == {"login ended": 1}


# the option


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (False, None),
        (0, None),
        ("0", None),
        ("", None),
        (True, 120),
        (30, 30),
        ("30", 30),
        (1.5, 1.5),
        ({}, 120),
        ({"window": "30"}, 30),
    ],
)
def test_the_option_is_a_number_of_seconds_or_a_mapping(value: Any, expected: float | None) -> None:
    found = options.build({"recovery": value}).recovery
    assert (None if found is None else found.window) == expected


def test_the_mapping_sets_what_it_names() -> None:
    found = options.build({"recovery": {"max_events": 5, "max_namespace_bytes": 10}}).recovery
    assert found is not None
    assert (found.window, found.max_events, found.max_namespace_bytes) == (120, 5, 10)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (-1, "recovery=-1"),
        ("soon", "recovery='soon'"),
        ([120], r"recovery=\[120\]"),
        ({"windw": 3}, "there is no setting 'windw' in it; there are window, max_events, .*clients"),
        ({"window": -3}, "window: expected a number greater than 0"),
        ({"max_events": 0}, "max_events: "),
        ({"max_bytes": "many"}, "max_bytes: "),
        ({"clients": "all"}, "clients: .*a function of environ and auth"),
    ],
)
def test_errors_in_the_option_say_what_it_can_be(value: Any, text: str) -> None:
    with pytest.raises((ValueError, TypeError), match=text):
        options.build({"recovery": value})


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64)"}, True),
        ({"HTTP_USER_AGENT": "python-requests/2.32.3"}, False),
        ({"HTTP_USER_AGENT": "Python/3.12 aiohttp/3.9.1"}, False),
        ({"HTTP_USER_AGENT": "python-httpx/0.27"}, False),
        ({}, True),  # Node.js by polling
        ({"HTTP_UPGRADE": "websocket"}, False),  # websocket-client
        ({"HTTP_UPGRADE": "websocket", "HTTP_SEC_WEBSOCKET_EXTENSIONS": "permessage-deflate"}, True),
    ],
)
def test_clients_of_python_take_no_part(environ: dict[str, str], expected: bool) -> None:
    assert speaks_javascript(environ, None) is expected
    assert (Bench().peer(**environ).client.recovery is not None) is expected


def test_both_kinds_of_clients_are_encoded_for_at_most_once_each() -> None:
    bench = Bench()
    javascript = [bench.peer() for _ in range(3)]
    python = [bench.peer(HTTP_USER_AGENT="python-requests/2.32.3") for _ in range(3)]
    for peer in (*javascript, *python):
        peer.received()
    encoded: list[tuple[Any, ...]] = []
    codec = bench.server.codec
    encode = codec.encode_event

    def counting(*args: Any) -> Outgoing:
        encoded.append(args)
        return encode(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(codec, "encode_event", counting)
        bench.emit("event", 1)
    assert len(encoded) == 2
    assert [peer.received() for peer in python] == [[("2", ["event", 1])]] * 3
    (first,), *others = [peer.received() for peer in javascript]
    assert len(first[1]) == 3
    assert others == [[first]] * 2


def test_a_function_that_fails_lets_nobody_take_part(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench({"clients": lambda environ, auth: auth["web"]})
    peer = bench.peer()
    assert not peer.session.closed
    assert peer.client.recovery is None
    assert "the function clients of the option recovery" in caplog.text


class FakeClient:
    """A client, usually one that is away."""

    closed = True

    def __init__(self, phase: Phase = Phase.GONE) -> None:
        self.phase = phase
        self.session: Any = self
        self.lock = threading.Lock()
        self.sent: list[Outgoing] = []

    def send(self, outgoing: Outgoing, volatile: bool = False) -> bool:
        self.sent.append(outgoing)
        return True

    def send_noted(self, outgoing: Outgoing, volatile: bool, log: Any, entry: Any) -> bool:
        log.append(entry)
        return self.send(outgoing, volatile)
