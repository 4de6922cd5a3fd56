"""The Engine.IO session, at memory speed."""

from __future__ import annotations

import pytest

from flask_socketio_core.common.reasons import Reason
from flask_socketio_core.errors import ProtocolError
from flask_socketio_core.server.clients import Client
from flask_socketio_core.server.phase import Phase
from flask_socketio_core.transport.packets import Outgoing
from flask_socketio_core.transport.session import GOING_AWAY
from support.engine import DirectTransport, Host, WokenTransport, connection_of, event


def test_a_packet_is_written_directly_when_the_socket_takes_it() -> None:
    transport = DirectTransport()
    session = Host().open(transport)
    assert session.send(event(1))
    assert transport.written == event(1).frames
    assert transport.woken == 0
    assert not session.has_waiting


def test_what_the_socket_does_not_take_waits_and_keeps_its_order() -> None:
    transport = DirectTransport(room=5)
    session = Host().open(transport)
    for number in (1, 2, 3):
        assert session.send(event(number))
    assert transport.woken == 1, "asking for writability once is enough"
    transport.room = 7
    assert not session.flush()
    transport.room = 1 << 30
    assert session.flush()
    assert transport.written == b"".join(event(number).frames for number in (1, 2, 3))


def test_volatile_is_dropped_when_something_waits_or_the_socket_is_full() -> None:
    transport = DirectTransport(room=0)
    session = Host().open(transport)
    assert not session.send(event(1), volatile=True)
    assert not session.has_waiting
    transport.room = 3
    assert session.send(event(2), volatile=True), "a packet that was begun is finished"
    assert not session.send(event(3), volatile=True)
    transport.room = 1 << 30
    session.flush()
    assert transport.written == event(2).frames


def test_an_overflow_disconnects_by_default_and_is_reported_once() -> None:
    host = Host(outbox_max_packets=3)
    transport = DirectTransport(room=0)
    session = host.open(transport)
    results = [session.send(event(number)) for number in range(6)]
    assert results == [True, True, True, True, False, False]
    assert host.closed == ["transport error"]
    assert len(host.overflows) == 1
    assert transport.closed_with == 1008


@pytest.mark.parametrize(("policy", "kept"), [("drop_oldest", [4, 5]), ("drop_newest", [1, 2])])
def test_an_overflow_drops_what_the_policy_says(policy: str, kept: list[int]) -> None:
    host = Host(outbox_max_packets=2, outbox_policy=policy)
    transport = DirectTransport(room=0)
    session = host.open(transport)
    for number in range(6):
        session.send(event(number))
    assert host.closed == []
    assert len(host.overflows) == 1
    transport.room = 1 << 30
    session.flush()
    expected = [event(0), *(event(number) for number in kept)]  # the first one was being written
    assert transport.written == b"".join(outgoing.frames for outgoing in expected)


def test_a_woken_transport_takes_packets_when_it_likes() -> None:
    transport = WokenTransport()
    session = Host().open(transport)
    session.send(event(1))
    session.send(event(2))
    assert transport.woken == 2
    assert session.take_packets(transport) == ['42["e",1]', '42["e",2]']
    assert session.take_packets(transport) == []


def test_an_upgrade_loses_and_reorders_nothing() -> None:
    polling, websocket = WokenTransport(), DirectTransport()
    session = Host().open(polling)
    session.send(event(1))
    assert session.begin_upgrade(websocket)
    assert polling.woken == 2, "the pending poll is answered"
    assert session.take_packets(polling) == ['42["e",1]']
    session.send(event(2))
    assert session.upgrade(websocket)
    session.send(event(3))
    assert session.take_packets(polling) == [], "polling was left behind"
    assert websocket.written == event(2).frames + event(3).frames
    assert session.transport.name == "websocket"


def test_a_second_upgrade_is_refused() -> None:
    session = Host().open(WokenTransport())
    first, second = DirectTransport(), DirectTransport()
    assert session.begin_upgrade(first)
    assert not session.begin_upgrade(second)
    session.abandon_upgrade(first)
    assert session.begin_upgrade(second)
    session.upgrade(second)
    assert not session.begin_upgrade(first)


@pytest.mark.parametrize(
    ("reason", "closed_with"), [(Reason.CLIENT_DISCONNECT, 1000), (Reason.SHUTDOWN, None), ("kicked", None)]
)
def test_a_session_that_ends_leaves_its_upgrade_to_its_client_if_that_does_not_know(
    reason: str, closed_with: int | None
) -> None:
    session = Host().open(WokenTransport())
    websocket = DirectTransport()
    session.begin_upgrade(websocket)
    session.close(reason)
    assert websocket.closed_with == closed_with
    assert not session.upgrade(websocket)


def test_messages_go_to_the_host() -> None:
    host = Host()
    session = host.open(DirectTransport())
    session.receive('42["hello"]')
    session.receive(b"\4\5")
    assert host.messages == ['2["hello"]', b"\4\5"]


@pytest.mark.parametrize("packet", ["2", "2probe", "5", "6", "0{}", "x", ""])
def test_an_unexpected_packet_is_a_violation(packet: str) -> None:
    session = Host().open(DirectTransport())
    with pytest.raises(ProtocolError, match="unexpected Engine"):
        session.receive(packet)


def test_a_close_packet_ends_the_session() -> None:
    host = Host()
    session = host.open(DirectTransport())
    session.receive("1")
    assert host.closed == ["client disconnect"]
    assert not session.send(event(1))


def test_closing_twice_is_told_once() -> None:
    host = Host()
    transport = DirectTransport()
    session = host.open(transport)
    assert session.close("server disconnect")
    assert not session.close("transport close")
    assert host.closed == ["server disconnect"]
    assert transport.written == Outgoing(("1",)).frames
    assert transport.closed_with == 1000


def test_a_process_that_ends_sends_no_close_packet() -> None:
    host = Host()
    transport = DirectTransport()
    session = host.open(transport)
    assert session.close("server disconnect", code=GOING_AWAY)
    assert host.closed == ["server disconnect"]
    assert transport.written == b""
    assert transport.closed_with == GOING_AWAY


def test_a_ping_is_sent_after_the_interval_and_a_silent_client_closed_after_the_timeout() -> None:
    host = Host(connect_timeout=1000)
    transport = DirectTransport()
    session = host.open(transport)
    assert session.next_due() == 125
    assert session.on_due(125) == 145
    assert transport.written == Outgoing(("2",)).frames
    assert session.on_due(145) is None
    assert host.closed == ["ping timeout"]


def test_a_pong_starts_the_interval_again() -> None:
    host = Host(connect_timeout=1000)
    session = host.open(DirectTransport())
    session.on_due(125)
    host.now_s = 126
    session.receive("3")
    assert session.next_due() == 151
    assert host.rescheduled == 1
    assert session.on_due(145) == 151, "called early, it only says when to call again"
    assert host.closed == []


def test_a_client_that_joins_no_namespace_is_closed() -> None:
    host = Host(connect_timeout=10)
    session = host.open(DirectTransport())
    assert session.next_due() == 110
    session.on_due(110)
    assert host.closed == ["transport close"]


def test_a_client_whose_connect_handler_does_not_return_is_closed() -> None:
    host = Host(connect_timeout=10)
    session = host.open(DirectTransport())
    connection_of(session).clients["/"] = Client("client", "/", connection_of(session))
    session.on_due(110)
    assert host.closed == ["transport close"]
    assert host.connect_timeouts == 1


@pytest.mark.parametrize("policy", ["disconnect", "drop_oldest", "drop_newest"])
def test_what_is_held_back_for_a_pending_client_is_bounded(policy: str) -> None:
    host = Host(outbox_policy=policy)
    session = host.open(DirectTransport())
    connection_of(session).clients["/"] = client = Client("client", "/", connection_of(session))
    for number in range(100):
        if not session.closed:
            client.send(event(number))
    assert host.overflows == [(11, 11 * event(10).size - 10)]
    assert host.closed == (["transport error"] if policy == "disconnect" else [])
    assert client.held_back is not None
    assert len(client.held_back) <= 11


def test_acknowledgements_that_are_waited_for_are_bounded_and_expire() -> None:
    def first(*data: object) -> None:
        raise AssertionError

    def second(*data: object) -> None:
        raise AssertionError

    host = Host(max_pending_acks=10, ack_timeout=60)
    session = host.open(DirectTransport())
    connection_of(session).clients["/"] = client = Client("client", "/", connection_of(session))
    client.phase = Phase.CONNECTED
    for _ in range(15):
        client.expect_ack(first, "first")
    assert client.take_ack(5) is None
    assert client.take_ack(6) == (first, 100.0, "first")
    host.now_s = 130
    client.expect_ack(second, "second")
    session.on_due(161)
    assert client.take_ack(15) is None
    assert client.take_ack(16) == (second, 130, "second")


def test_without_monitoring_nothing_is_pinged() -> None:
    host = Host(monitor=False)
    session = host.open(DirectTransport())
    connection_of(session).clients["/"] = client = Client("client", "/", connection_of(session))
    client.phase = Phase.CONNECTED
    assert session.on_due(145) is None


def test_an_upgrade_that_was_given_up_cannot_be_completed() -> None:
    polling, websocket = WokenTransport(), WokenTransport("websocket")
    session = Host().open(polling)
    assert session.begin_upgrade(websocket)
    assert session.abandon_upgrade(websocket)
    assert not session.upgrade(websocket)
    assert session.transport is polling


def test_an_upgrade_that_was_completed_cannot_be_given_up() -> None:
    websocket = WokenTransport("websocket")
    session = Host().open(WokenTransport())
    assert session.begin_upgrade(websocket)
    assert session.upgrade(websocket)
    assert not session.abandon_upgrade(websocket), "its time was over in the same moment"
    assert session.transport is websocket


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest"])
def test_a_client_that_never_reads_its_acks_is_disconnected_whatever_the_policy(policy: str) -> None:
    host = Host(outbox_max_packets=5, outbox_policy=policy)
    session = host.open(DirectTransport(room=0))
    for number in range(100):
        session.send(Outgoing((f"43{number}[]",)))
    assert host.closed == ["transport error"]
