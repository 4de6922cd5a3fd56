"""Who is connected where: asked over every queue, in parts, and what came back counts although somebody is silent."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from flask_socketio_core.cluster.clients import Finding
from flask_socketio_core.common.sids import new_sid
from flask_socketio_core.contracts.found import ClientInfo, Clients
from flask_socketio_core.server.interface import Group
from support.nodes import Bus, Member, Node, emitter, wait_until

from .buses import KINDS, make_bus
from .test_processes import start

pytestmark = pytest.mark.timeout(120)

#: Long enough that a test which waits for it fails.
LONG_S = 20.0


def joined(*nodes: Node) -> None:
    """Start nodes and return when they know each other."""
    for node in nodes:
        node.tell_of_clients().start()
    wait_until(
        lambda: all(len(node.cluster.health().peers) == len(nodes) - 1 for node in nodes),
        "servers that know each other",
    )


class Pair:
    """Two servers, a process that only sends, and four clients: two in a room on the first, one on the second."""

    def __init__(self, bus: Bus) -> None:
        self.nodes = Node(bus), Node(bus)
        joined(*self.nodes)
        self.outside = emitter(bus)
        self.members: list[Member] = [self.nodes[number].connect() for number in (0, 0, 1, 1)]
        self.chat = self.nodes[1].connect("/chat")
        for member in self.members[:3]:
            self.nodes[0].cluster.move(Group("/", (member.sid,)), ("room", ("table", 7)), ())
        wait_until(lambda: self.nodes[1].server.members("room"), "entry at the other server")

    @property
    def findings(self) -> list[Finding]:
        """What asks: both servers and the process that only sends."""
        return [*(node.finding for node in self.nodes), Finding(self.outside, None)]

    @property
    def sids(self) -> list[str]:
        return [member.sid for member in self.members]

    @property
    def ids(self) -> list[str]:
        return [node.cluster.node for node in self.nodes]

    def close(self) -> None:
        self.outside.close()
        for node in self.nodes:
            node.close()


@pytest.fixture(scope="module", params=KINDS)
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    pair = Pair(make_bus(request, request.param))
    yield pair
    pair.close()


def test_all_servers_count_and_everybody_gets_the_sum(pair: Pair) -> None:
    _, two, _, four = pair.sids
    expected = [
        (Group(), {0: 2, 1: 2}),
        (Group("/", ("room",)), {0: 2, 1: 1}),
        (Group("/", ("room", four), frozenset({two})), {0: 1, 1: 2}),
        (Group("/", (("table", 7),), frozenset({"room"})), {0: 0, 1: 0}),
        (Group("/chat"), {0: 0, 1: 1}),
        (Group("/nobody"), {0: 0, 1: 0}),
    ]
    for finding in pair.findings:
        for group, parts in expected:
            count = finding.count(group, timeout_s=LONG_S)
            assert (count, count.by_node) == (
                sum(parts.values()),
                {pair.ids[number]: part for number, part in parts.items()},
            )
            assert count.complete and json.dumps([count]) == f"[{sum(parts.values())}]"
        for namespace in ("/", "*"):
            rooms = finding.rooms(namespace, timeout_s=LONG_S)
            assert rooms == {"room": 3, ("table", 7): 3} and rooms.complete
    assert [finding.count(Group(), timeout_s=LONG_S, local=True) for finding in pair.findings] == [2, 2, 0]


def test_all_servers_tell_of_their_clients(pair: Pair) -> None:
    three = pair.members[2].sid
    client = pair.nodes[1].server.client(three)
    client.data["seat"], client.user = {"row": [3]}, "ada"
    for finding in pair.findings:
        found = finding.who(Group(), timeout_s=LONG_S)
        assert found.complete and found.next is None
        assert [(one.node, one.sid) for one in found] == sorted(
            [(pair.ids[number // 2], sid) for number, sid in enumerate(pair.sids)]
        )
        (told,) = finding.who(Group("/", (three,)), timeout_s=LONG_S)
        assert told.data == {"seat": {"row": [3]}} and told.data is not client.data
        assert sorted(map(str, told.rooms)) == ["('table', 7)", "room"]
        assert (told.user, told.transport, told.namespace, told.node) == (
            "ada",
            "polling",
            "/",
            pair.ids[1],
        )
        assert told.address is None and abs(told.connected_at - time.time()) < 600
    client.user = None


def test_pages_have_each_client_once(pair: Pair) -> None:
    for finding in pair.findings:
        for limit in (1, 2, 3, 4, 5):
            pages: list[Clients] = [finding.who(Group(), timeout_s=LONG_S, limit=limit)]
            while following := pages[-1].next:
                pages.append(finding.who(Group(), timeout_s=LONG_S, limit=limit, after=following))
            assert [one for page in pages for one in page] == list(finding.who(Group(), timeout_s=LONG_S))
            assert all(len(page) == limit for page in pages[:-1])


def test_what_is_no_page_is_an_error(pair: Pair) -> None:
    for after in ("", "x", "no node here ", "node "):
        with pytest.raises(ValueError, match="is not what an earlier page has as 'next'"):
            pair.findings[0].who(Group(), timeout_s=LONG_S, after=after)
    with pytest.raises(ValueError, match="expected 1 or more"):
        pair.findings[0].who(Group(), timeout_s=LONG_S, limit=0)


# ------------------------------------------------------------------------------------------ on one queue are enough


@pytest.fixture
def trio(request: pytest.FixtureRequest) -> Iterator[list[Node]]:
    bus = make_bus(request, "memory")
    nodes = [Node(bus) for _ in range(3)]
    joined(*nodes)
    yield nodes
    for node in nodes:
        node.close()


def test_what_is_too_much_for_one_message_comes_in_parts(
    trio: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    for node in trio:
        node.here._most_bytes = lambda: 600  # two or three clients
    for number in range(24):
        trio[number % 2].connect()
    everybody = sorted((node.cluster.node, sid) for node in trio for sid in node.server.members(None))
    for limit in (None, 5, 12, 30):
        found = trio[2].finding.who(Group(), timeout_s=LONG_S, limit=limit)
        assert [(one.node, one.sid) for one in found] == everybody[:limit]
        assert found.complete and (found.next is None) == (len(found) == 24)
    trio[0].server.move(Group(), [f"room {number}" for number in range(40)], ())
    rooms = trio[1].finding.rooms("/", timeout_s=LONG_S)
    assert rooms == {f"room {number}": 12 for number in range(40)} and rooms.complete


def test_who_stays_is_on_one_page_while_others_come_and_go(trio: list[Node]) -> None:
    members = [trio[number % 3].connect() for number in range(12)]
    stay = {member.sid for member in members[:6]}
    seen: list[str] = []
    page = trio[0].finding.who(Group(), timeout_s=LONG_S, limit=2)
    while True:
        seen += [one.sid for one in page]
        if page.next is None:
            break
        trio[len(seen) % 3].connect()
        members.pop().leave() if len(members) > 6 else None
        page = trio[0].finding.who(Group(), timeout_s=LONG_S, limit=2, after=page.next)
    assert stay <= set(seen)
    assert len(seen) == len(set(seen))


def test_who_is_silent_takes_nothing_from_the_others(trio: list[Node]) -> None:
    gate = threading.Event()
    for node in trio:
        node.connect()
    slow, fails = trio[1], trio[2]
    answer = slow.here.answer
    slow.here.answer = lambda question: gate.wait(LONG_S)  # type: ignore[method-assign]
    fails.here.answer = lambda question: 1 / 0  # type: ignore[method-assign]
    try:
        missing = {slow.cluster.node: "silent", fails.cluster.node: "ZeroDivisionError('division by zero')"}
        count = trio[0].finding.count(Group(), timeout_s=2.0)
        assert (count, count.missing, count.complete) == (1, missing, False)
        found = trio[0].finding.who(Group(), timeout_s=2.0)
        assert (len(found), found.missing, found.next) == (1, missing, None)
    finally:
        slow.here.answer = answer  # type: ignore[method-assign]
        gate.set()
    for wrong in ("none", None, [1, 2], True, -1, 0.5, 2**63, [[["sid"]], False], [[], 0]):
        fails.here.answer = lambda question, wrong=wrong: wrong  # type: ignore[method-assign,misc]
        missing = {fails.cluster.node: "an answer that is none"}
        who = trio[0].finding.who(Group(), timeout_s=LONG_S)
        rooms = trio[0].finding.rooms("/", timeout_s=LONG_S)
        count = trio[0].finding.count(Group(), timeout_s=LONG_S)
        assert (len(who), rooms, count) == (2, {}, 2)
        assert who.missing == rooms.missing == count.missing == missing


def test_only_what_was_asked_for_is_an_answer(trio: list[Node]) -> None:
    fails = trio[1]
    client = [new_sid(), "/", ["a", ["b", 1]], "ann", {}, "polling", "10.0.0.1", 1.5]
    room = ['"a"', "a", 2]

    def ask(item: list[Any]) -> tuple[list[ClientInfo], dict[Any, int], list[bool]]:
        fails.here.answer = lambda question: [[item], False]  # type: ignore[method-assign]
        who = trio[0].finding.who(Group(), timeout_s=LONG_S)
        rooms = trio[0].finding.rooms("/", timeout_s=LONG_S)
        return list(who), dict(rooms), [who.complete, rooms.complete]

    assert [len(ask(client)[0]), *ask(client)[2]] == [1, True, False]
    assert ask(room) == ([], {"a": 2}, [False, True])
    wrong_client: tuple[Any, ...] = (1, 2, [{}], 7, [], None, {}, 10**400)
    for item, values in ((client, wrong_client), (room, (1, {}, "2"))):
        for number, value in enumerate(values):
            wrong = [*item[:number], value, *item[number + 1 :]]
            assert ask(wrong) == ([], {}, [False, False]), wrong


def test_data_that_cannot_be_told_is_left_out_and_logged_once(
    trio: list[Node], caplog: pytest.LogCaptureFixture
) -> None:
    members = [trio[0].connect() for _ in range(3)]
    given: tuple[dict[str, Any], ...] = ({"at": {1}}, {"much": "x" * 70_000}, {"good": 1})
    for member, data in zip(members, given, strict=True):
        trio[0].server.client(member.sid).data.update(data)
    trio[0].server.move(Group(), [frozenset({1}), "room"], ())
    found = trio[1].finding.who(Group(), timeout_s=LONG_S)
    assert sorted([str(one.data) for one in found]) == ["None", "None", "{'good': 1}"]
    assert [one.rooms for one in found] == [("room",)] * 3
    assert trio[1].finding.rooms("/", timeout_s=LONG_S) == {"room": 3}
    assert caplog.text.count("cannot be told to other servers") == 1


def test_a_server_that_knows_nothing_of_it_is_named(trio: list[Node], request: pytest.FixtureRequest) -> None:
    trio[0].connect()
    trio[0]._topics.add("other", print)
    older = Node(
        Bus(type(trio[0].cluster._link.queue), "memory://", trio[0].cluster._link.queue.channel)
    ).start()
    try:
        wait_until(lambda: len(trio[0].cluster.health().peers) == 3, "older server")
        count = trio[0].finding.count(Group(), timeout_s=LONG_S)
        assert (count, count.missing) == (1, {older.cluster.node: "unable"})
    finally:
        older.close()


@pytest.mark.parametrize("kind", ["redis", "rabbitmq"])
def test_a_server_that_is_killed_in_the_middle_is_missing_and_the_rest_is_told(
    request: pytest.FixtureRequest, kind: str
) -> None:
    bus = make_bus(request, kind)
    node = Node(bus).tell_of_clients().start()
    module, name = bus.queue_class.__module__, bus.queue_class.__name__
    with start("teller.py", module, name, bus.url, bus.channel) as victim:
        assert victim.stdout is not None
        victim.stdout.readline()
        asking: list[Any] = []
        try:
            wait_until(node.has_peer, "peer")
            (peer,) = node.cluster.health().peers
            node.connect()
            asker = threading.Thread(
                target=lambda: asking.append(node.finding.who(Group(), timeout_s=60.0)), daemon=True
            )
            asker.start()
            assert victim.stdout.readline() == "asked for the second part\n"
        finally:
            victim.kill()
        started = time.monotonic()
        asker.join(30)
        assert time.monotonic() - started < 20
        (found,) = asking
        # It has told of some of its clients before.
        assert sorted(one.node == node.cluster.node for one in found) == [False, False, True]
        assert (dict(found.missing), found.complete, found.next) == ({peer.node: "left"}, False, None)
        count = node.finding.count(Group(), timeout_s=60.0)
        assert (count, count.complete) == (1, True)
        outside = emitter(bus)
        assert Finding(outside, None).count(Group(), timeout_s=60.0) == 1
        outside.close()
        node.close()
