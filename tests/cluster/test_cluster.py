"""Two servers and a process that only sends act as one, over every queue."""

from __future__ import annotations

import json
import threading
from functools import partial
from typing import Any

import pytest

from flask_socketio_core.cluster.cluster import Cluster
from flask_socketio_core.cluster.envelope import Wire
from flask_socketio_core.common.reasons import DisconnectReason, Reason
from flask_socketio_core.common.sids import new_sid
from flask_socketio_core.contracts.clients import Emission
from flask_socketio_core.errors import CallTimeout, ClientGone, InvalidData, SocketIOError, UnknownOption
from flask_socketio_core.server.interface import Group
from flask_socketio_core.testing.conformance.queues import Listener
from support.nodes import Bus, Member, Node, emitter, in_threads, wait_until

from .buses import KINDS, broker_of, make_bus

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=KINDS)
def bus(request: pytest.FixtureRequest) -> Bus:
    return make_bus(request, request.param)


def _answered(member: Member, caller: Caller) -> bool:
    member.receive()
    return bool(caller.answers)


class Caller(threading.Thread):
    """Call a client in a thread of its own."""

    def __init__(self, cluster: Cluster, sid: str, namespace: str) -> None:
        super().__init__(daemon=True)
        self.answers: list[tuple[object, ...]] = []
        self.errors: list[Exception] = []
        self._call = partial(cluster.call, Emission("ask", (2,), namespace), sid, timeout_s=15)
        self.start()

    def run(self) -> None:
        try:
            self.answers.append(self._call())
        except SocketIOError as error:
            self.errors.append(error)


def rooms_of(*members: Member, nodes: tuple[Node, Node]) -> list[set[str]]:
    found = []
    for member in members:
        (node,) = [node for node in nodes if node.server.is_connected(member.sid, member.namespace)]
        found.append(set(node.server.rooms(member.sid, member.namespace)) - {member.sid})
    return found


def test_members_of_rooms_are_moved_wherever_they_are(nodes: tuple[Node, Node], outside: Cluster) -> None:
    pairs = [node.connect() for node in nodes for _ in range(2)]
    rooms = partial(rooms_of, *pairs, nodes=nodes)
    (here, also_here, there, also_there), first = pairs, nodes[0].cluster
    stranger = nodes[1].connect("/chat")
    first.move(Group(), ("lobby", ("table", 7)), ())
    wait_until(lambda: rooms() == [{"lobby", ("table", 7)}] * 4, "entry into both rooms")
    outside.move(Group("/", ("lobby",), frozenset({here.sid, also_there.sid})), ("game",), ("lobby",))
    moved = [{"lobby", ("table", 7)}, {"game", ("table", 7)}, {"game", ("table", 7)}, {"lobby", ("table", 7)}]
    wait_until(lambda: rooms() == moved, "move of those that are not excluded")
    first.move(Group("/", (("table", 7), "nobody"), frozenset({"game"})), (), (("table", 7), "lobby"))
    wait_until(lambda: rooms() == [set(), moved[1], moved[2], set()], "leaving of the rest")
    first.move(Group("/", (there.sid, also_here.sid)), ("chosen",), ("game", ("table", 7)))
    outside.move(Group("/", (here.sid,)), ("alone",), ())
    wait_until(lambda: rooms() == [{"alone"}, {"chosen"}, {"chosen"}, set()], "move of single clients")
    assert rooms_of(stranger, nodes=nodes) == [set()]
    with pytest.raises(ValueError, match=r"cannot enter room .*: it has the form of a sid"):
        outside.move(Group("/", ("lobby",)), (here.sid,), ())


def test_members_of_rooms_are_kicked_wherever_they_are(nodes: tuple[Node, Node], outside: Cluster) -> None:
    pairs = [node.connect() for node in nodes for _ in range(3)]
    chat = [node.connect("/chat") for node in nodes]
    one, two, three, four, five, six = pairs
    nodes[0].cluster.move(Group("/", tuple(member.sid for member in (one, two, four, five))), ("game",), ())
    nodes[0].cluster.kick(
        Group("/", ("game",), frozenset({two.sid})),
        DisconnectReason("server disconnect", "banned"),
        close=False,
    )

    def left(*members: Member) -> list[Member]:
        return [member for member in members if (member.receive(), member.left)[1]]

    wait_until(lambda: left(*pairs) == [one, four, five], "end of those in the room")
    outside.kick(Group("/", (two.sid,)), Reason.EXPIRED, close=False)
    outside.kick(Group("/", (six.sid, "nobody")), Reason.KICKED, close=True)
    wait_until(lambda: left(*pairs) == [one, two, four, five, six], "end of single clients")
    outside.kick(Group("/chat"), Reason.KICKED, close=True)
    wait_until(lambda: left(*chat) == chat, "end of the namespace")
    assert left(three) == []

    def told() -> list[tuple[str, str]]:
        heard = [entry for node in nodes for entry in node.application.log if entry[0] == "disconnect"]
        return sorted((reason, reason.detail) for _, _, reason in heard)

    expected = [("server disconnect", detail) for detail in ("banned", "expired", "kicked")]
    wait_until(
        lambda: told() == sorted([expected[0]] * 3 + [expected[1]] + [expected[2]] * 3), lambda: str(told())
    )
    # Handlers are told before the connection is gone.
    wait_until(
        lambda: [len(node.server.eio.sessions) for node in nodes] == [3, 2],
        "end only of what was to be closed",
    )


def test_a_broadcast_reaches_every_client_once(nodes: tuple[Node, Node], outside: Cluster) -> None:
    here, there = nodes[0].connect(), nodes[1].connect()
    nodes[0].cluster.emit(Emission("inside", (1, "two")))
    outside.emit(Emission("outside", ()))
    for member in (here, there):
        assert sorted(member.wait_for(2)) == [["inside", 1, "two"], ["outside"]]


def test_what_is_for_clients_elsewhere_is_counted_and_not_decoded(
    nodes: tuple[Node, Node], outside: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = nodes[0].connect(), nodes[1].connect("/chat")
    wait_until(lambda: not any(node.cluster.health().received for node in nodes), "quiet")
    read: list[tuple[str, Any]] = []
    decode = Wire.decode

    def note(wire: Wire, raw: bytes) -> dict[str, Any]:
        message = decode(wire, raw)
        read.append((message["method"], message.get("sids")))
        return message

    monkeypatch.setattr(Wire, "decode", note)
    gone = new_sid()  # what is for one alone others need not hear
    outside.emit(Emission("one", (1,), to=(here.sid, gone)))
    outside.emit(Emission("two", (2,), "/chat", to=(there.sid, gone)))
    assert (here.wait_for(1), there.wait_for(1)) == ([["one", 1]], [["two", 2]])
    wait_until(lambda: [node.cluster.health().received for node in nodes] == [2, 2], "count of both")
    decoded = sorted(sids for method, sids in read if method == "emit_sids")
    assert decoded == sorted([[here.sid, gone], [there.sid, gone]])
    assert [node.cluster.health().lost_received for node in nodes] == [0, 0]


def test_rooms_span_servers_and_skip_is_kept(nodes: tuple[Node, Node], outside: Cluster) -> None:
    inside = [node.connect() for node in nodes]
    beside = [node.connect() for node in nodes]
    for member in inside:
        nodes[0].cluster.enter_room(member.sid, "room")
    nodes[1].cluster.enter_room(beside[0].sid, "other")
    wait_until(lambda: nodes[1].server.members("room"), "member of the room elsewhere")
    wait_until(lambda: nodes[0].server.members("other"), "member of the other room elsewhere")
    outside.emit(Emission("rooms", (), to=("room", "other")))
    outside.emit(Emission("room", (), to=("room",), skip=frozenset({inside[1].sid})))
    outside.emit(Emission("all", ()))
    assert sorted(inside[0].wait_for(3)) == [["all"], ["room"], ["rooms"]]
    assert sorted(inside[1].wait_for(2)) == [["all"], ["rooms"]]
    assert sorted(beside[0].wait_for(2)) == [["all"], ["rooms"]]
    assert beside[1].wait_for(1) == [["all"]]


def test_members_of_excluded_rooms_are_left_out_on_every_server(
    nodes: tuple[Node, Node], outside: Cluster
) -> None:
    inside, excluded = ([node.connect() for node in nodes] for _ in range(2))
    for node, member in zip(nodes, excluded, strict=True):
        node.cluster.enter_room(member.sid, "muted")
        node.cluster.enter_room(member.sid, ("a", 1))  # type: ignore[arg-type]  # any value that can be hashed
    both: frozenset[Any] = frozenset({"muted", inside[1].sid})
    for cluster in (nodes[0].cluster, outside):
        cluster.emit(Emission("to some", (), exclude=frozenset({"muted"})))
        cluster.emit(Emission("not even it", (), exclude=both))
        cluster.emit(Emission("a tuple", (), exclude=frozenset({("a", 1)})))
        cluster.emit(Emission("all", ()))
    assert (
        sorted(inside[0].wait_for(8))
        == [["a tuple"]] * 2 + [["all"]] * 2 + [["not even it"]] * 2 + [["to some"]] * 2
    )
    assert sorted(inside[1].wait_for(6)) == [["a tuple"]] * 2 + [["all"]] * 2 + [["to some"]] * 2
    for member in excluded:
        assert member.wait_for(2) == [["all"]] * 2


def test_leaving_and_closing_a_room_works_from_elsewhere(nodes: tuple[Node, Node], outside: Cluster) -> None:
    members = [nodes[1].connect() for _ in range(2)]
    for member in members:
        nodes[1].cluster.enter_room(member.sid, "room")
    nodes[0].cluster.leave_room(members[0].sid, "room")
    wait_until(lambda: nodes[1].server.members("room") == [members[1].sid], "one member less")
    outside.close_room("room")
    wait_until(lambda: not nodes[1].server.members("room"), "closed room")


def test_a_client_elsewhere_is_disconnected(nodes: tuple[Node, Node], outside: Cluster) -> None:
    first, second = nodes[1].connect(), nodes[1].connect("/chat")
    nodes[0].cluster.disconnect(first.sid)
    outside.disconnect(second.sid, "/chat")
    wait_until(lambda: (first.receive(), first.left)[1], "disconnection by another server")
    wait_until(lambda: (second.receive(), second.left)[1], "disconnection from outside")


def test_binary_values_arrive_as_they_were(nodes: tuple[Node, Node], outside: Cluster) -> None:
    member = nodes[1].connect()
    payload = {"a": [b"\x00\xff", {"b": bytes(range(256))}], "text": "ü"}
    nodes[0].cluster.emit(Emission("from inside", (payload, b"x")))
    assert member.wait_for(1) == [["from inside", payload, b"x"]]
    outside.emit(Emission("from outside", (payload,)))
    assert member.wait_for(2)[1] == ["from outside", payload]


def test_a_megabyte_arrives(nodes: tuple[Node, Node]) -> None:
    member = nodes[1].connect()
    nodes[0].cluster.emit(Emission("big", (b"\x01" * 1_000_000,)))
    assert len(member.wait_for(1)[0][1]) == 1_000_000


def test_messages_to_a_room_keep_their_order(nodes: tuple[Node, Node], bus: Bus) -> None:
    member = nodes[1].connect()
    nodes[1].cluster.enter_room(member.sid, "room")
    for number in range(1000):
        nodes[0].cluster.emit(Emission("n", (number,), to=("room",)))
    received = [event[1] for event in member.wait_for(1000, 60)]
    if bus.queue_class.capabilities.ordered:
        assert received == list(range(1000))
    else:
        assert sorted(received) == list(range(1000))


def test_threads_that_emit_faster_than_one_publishes_lose_nothing(nodes: tuple[Node, Node], bus: Bus) -> None:
    member = nodes[1].connect()
    cluster = emitter(bus, buffer_max_messages=100)

    def emit(_: int) -> None:
        for number in range(300):
            cluster.emit(Emission("n", (number,)))

    in_threads(emit)
    assert (cluster.close(timeout_s=15), cluster.health().lost_sent) == (0, 0)
    assert sorted(event[1] for event in member.wait_for(1200, 60)) == sorted([*range(300)] * 4)


def test_what_a_stalled_broker_is_sent_right_before_the_end_arrives(
    request: pytest.FixtureRequest, bus: Bus
) -> None:
    broker = broker_of(request, bus.kind)
    if broker is None:
        pytest.skip("no broker that could stall")
    # Who listens anew because of the silence misses what a queue without replay has for it.
    node = Node(bus, heartbeat_interval_s=10).start()
    request.addfinalizer(node.close)
    member = node.connect()
    cluster = emitter(bus)
    cluster.emit(Emission("n", (0,)))
    broker.pause()
    resume = threading.Timer(0.5, broker.resume)
    resume.start()
    try:
        for number in range(1, 200):
            cluster.emit(Emission("n", (number,)))
        assert (cluster.close(timeout_s=15), cluster.health().lost_sent) == (0, 0)
    finally:
        resume.join()
    assert sorted(event[1] for event in member.wait_for(200)) == list(range(200))


def test_a_message_to_a_local_client_does_not_travel(nodes: tuple[Node, Node], bus: Bus) -> None:
    tap = Listener(bus.queue_class(bus.url, bus.channel, mode=nodes[0].mode, options={})).subscribed()
    member = nodes[0].connect()
    answers: list[tuple[object, ...]] = []
    nodes[0].cluster.emit(
        Emission("private", (), to=(member.sid,), on_ack=lambda *args: answers.append(args))
    )
    assert member.wait_for(1) == [["private"]]
    assert answers == [("ok",)]
    nodes[0].cluster.emit(Emission("public", ()))
    tap.wait_until(lambda: any(b"public" in message for message in tap.messages), 15, "public message")
    assert not any(b"private" in message for message in tap.messages)
    tap.queue.close()


def test_an_event_for_another_server_is_one_message(
    nodes: tuple[Node, Node], bus: Bus, outside: Cluster
) -> None:
    tap = Listener(bus.queue_class(bus.url, bus.channel, mode=nodes[0].mode, options={})).subscribed()
    member = nodes[1].connect()
    nodes[1].cluster.enter_room(member.sid, "room")
    for cluster in (nodes[0].cluster, outside):
        cluster.emit(Emission("to a room", (), to=("room",), exclude=frozenset({"other"})))
        cluster.emit(Emission("to one", (), to=(member.sid,)))
    member.wait_for(4)
    nodes[0].cluster.emit(Emission("last", ()))
    tap.wait_until(lambda: any(b'"last"' in message for message in tap.messages), 15, "last message")
    sent = [message["method"] for message in map(json.loads, tap.messages) if message["method"] != "node"]
    assert sorted(sent) == ["emit"] * 3 + ["emit_sids"] * (0 if tap.queue.address else 2)
    tap.queue.close()


def test_a_client_elsewhere_acknowledges(nodes: tuple[Node, Node], outside: Cluster) -> None:
    member = nodes[1].connect("/chat")
    member.answer = ("yes", {"n": 7})
    answers: list[tuple[object, ...]] = []
    nodes[0].cluster.emit(
        Emission("ask", (1,), namespace="/chat", to=(member.sid,), on_ack=lambda *args: answers.append(args))
    )
    wait_until(lambda: (member.receive(), answers)[1], "acknowledgement")
    assert answers == [("yes", {"n": 7})]
    for cluster in (nodes[0].cluster, outside):
        caller = Caller(cluster, member.sid, "/chat")
        wait_until(partial(_answered, member, caller), "answer to a call")
        assert caller.answers == [("yes", {"n": 7})]


def test_each_member_of_a_room_acknowledges_wherever_it_is(
    nodes: tuple[Node, Node], outside: Cluster
) -> None:
    members = [node.connect() for node in nodes for _ in range(2)]
    for number, member in enumerate(members):
        member.answer = (number,)
        nodes[number // 2].cluster.enter_room(member.sid, "room")

    def ask(cluster: Cluster) -> list[int]:
        answers: list[int] = []
        skip = frozenset({members[0].sid})
        cluster.emit(Emission("ask", (), to=("room",), skip=skip, on_ack=lambda *args: answers.extend(args)))
        wait_until(lambda: ([member.receive() for member in members], len(answers) == 3)[1], "answers")
        return sorted(answers)

    assert ask(nodes[0].cluster) == [1, 2, 3]
    assert ask(outside) == [1, 2, 3]


def test_the_first_answer_to_a_call_of_a_room_counts(nodes: tuple[Node, Node], outside: Cluster) -> None:
    here, there = (node.connect() for node in nodes)
    for node, member in zip(nodes, (here, there), strict=True):
        node.cluster.enter_room(member.sid, "room")
    here.answer, there.answer = ("here",), ("there",)
    for answering, answer in ((here, "here"), (there, "there")):
        caller = Caller(nodes[0].cluster, "room", "/")
        wait_until(partial(_answered, answering, caller), "answer to a call")
        assert caller.answers == [(answer,)]
    for member in (here, there):
        assert [event for event in member.wait_for(2) if event[0] == "ask"] == [["ask", 2]] * 2


def test_a_call_ends_when_its_client_leaves(nodes: tuple[Node, Node], outside: Cluster) -> None:
    for cluster in (nodes[0].cluster, outside):
        member = nodes[1].connect()
        member.answer = None
        caller = Caller(cluster, member.sid, "/")
        member.wait_for(1)
        member.leave()
        caller.join(15)
        assert [isinstance(error, ClientGone) for error in caller.errors] == [True]


def test_a_call_to_nobody_times_out(nodes: tuple[Node, Node]) -> None:
    with pytest.raises(CallTimeout, match=r"client 'nobody' did not acknowledge 'ask' within 0\.2 s"):
        nodes[0].cluster.call(Emission("ask", ()), "nobody", timeout_s=0.2)
    assert len(nodes[0].cluster._link.acks) == 0


def test_servers_know_each_other_until_one_ends(nodes: tuple[Node, Node]) -> None:
    ids = [node.cluster.health().node for node in nodes]
    wait_until(lambda: [peer.node for peer in nodes[0].cluster.health().peers] == [ids[1]], "peer")
    wait_until(lambda: [peer.node for peer in nodes[1].cluster.health().peers] == [ids[0]], "peer")
    assert nodes[0].cluster.health().peers[0].async_mode == "plain-threads"
    wait_until(lambda: nodes[0].told_servers == [(ids[1], True)], "word of the peer")
    nodes[1].close()
    wait_until(lambda: not nodes[0].cluster.health().peers, "farewell of the peer")
    wait_until(lambda: nodes[0].told_servers == [(ids[1], True), (ids[1], False)], "word of its end")


def test_a_server_that_asked_before_it_served_joins_all_the_same(nodes: tuple[Node, Node], bus: Bus) -> None:
    early = Node(bus)
    try:
        early.cluster.emit(Emission("ask", (), to=("nobody",), on_ack=lambda *args: None))
        early.start()
        ids = {node.cluster.health().node for node in nodes}
        wait_until(lambda: {peer.node for peer in early.cluster.health().peers} == ids, "peers")
        wait_until(lambda: len(nodes[0].cluster.health().peers) == 2, "one more peer")
    finally:
        early.close()


def test_a_server_that_was_closed_can_join_again(nodes: tuple[Node, Node]) -> None:
    first = nodes[0].cluster.health().node
    nodes[0].cluster.close()
    nodes[0].start()
    assert nodes[0].cluster.health().node != first
    member = nodes[0].connect()
    nodes[1].cluster.emit(Emission("hello", ()))
    assert member.wait_for(1) == [["hello"]]


def test_two_channels_do_not_hear_each_other(nodes: tuple[Node, Node], bus: Bus) -> None:
    stranger = Node(Bus(bus.queue_class, bus.url, bus.channel + "-x", bus.options)).start()
    try:
        ours, theirs = nodes[0].connect(), stranger.connect()
        stranger.cluster.emit(Emission("theirs", ()))
        nodes[1].cluster.emit(Emission("ours", ()))
        assert ours.wait_for(1) == [["ours"]]
        assert theirs.wait_for(1) == [["theirs"]]
        assert stranger.cluster.health().peers == ()
    finally:
        stranger.close()


def test_a_process_that_only_sends_starts_nothing_of_ours(bus: Bus) -> None:
    before = set(threading.enumerate())
    cluster = emitter(bus)
    assert set(threading.enumerate()) <= before
    cluster.emit(Emission("hello", ()))
    started = {thread.name for thread in set(threading.enumerate()) - before}
    assert not {name for name in started if "_run" in name or "_retry" in name}
    assert not cluster._link.listener.started
    assert cluster.close() == 0


def test_unknown_options_of_cluster_and_queue_are_refused(bus: Bus) -> None:
    with pytest.raises(UnknownOption, match=r"did you mean .buffer_max_messages"):
        emitter(bus, bufer_max_messages=5)


def test_what_clients_cannot_read_is_neither_published_nor_passed_on(
    nodes: tuple[Node, Node], outside: Cluster
) -> None:
    member = nodes[1].connect()
    for sender in (nodes[0].cluster, outside):
        for event, args in (("a", ({"x": float("nan")},)), ("disconnect", ()), ("a", (b"x",) * 11)):
            with pytest.raises(InvalidData, match=f"event '{event}' cannot be sent"):
                sender.emit(Emission(event, args))
    # A process of python-socketio's sends it all the same.
    message = {"method": "emit", "event": "a", "data": [float("nan")], "binary": False, "host_id": "x"}
    nodes[1].cluster._on_message(message)
    assert nodes[1].cluster.health().unreadable == 1
    outside.emit(Emission("readable", (memoryview(b"x"), 1.5)))
    assert member.wait_for(1) == [["readable", b"x", 1.5]]
