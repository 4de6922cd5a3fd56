"""From polling to WebSocket.

Source: engine.io-protocol v4, "Upgrade".
"""

from __future__ import annotations

import concurrent.futures
from typing import TYPE_CHECKING

import pytest

from support.servers import Server
from support.wire.engine import Closed, Polling, WebSocket

if TYPE_CHECKING:
    from support.servers import StartServer


def connected(server: Server) -> Polling:
    """Open a polling session that is in the default namespace."""
    session = Polling(server.port)
    session.post("40")
    session.receive()
    return session


def probe(session: Polling) -> WebSocket:
    """Open the session's WebSocket and have the probe answered."""
    client = WebSocket(session.port, sid=session.sid)
    client.send("2probe")
    assert client.receive() == "3probe"
    return client


def upgrade(session: Polling) -> WebSocket:
    """Upgrade the session."""
    client = probe(session)
    client.send("5")
    return client


def test_session_goes_on_over_the_websocket(server: Server) -> None:
    client = upgrade(connected(server))
    client.send('42["message","after"]')
    assert client.receive() == '42["message-back","after"]'
    client.abort()
    assert server.wait_journal("disconnect")[-1] == ["disconnect", "/", "transport close"]


def test_pending_poll_is_released_with_a_noop(server: Server) -> None:
    session = connected(server)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        poll = pool.submit(session.get)
        assert not concurrent.futures.wait([poll], timeout=0.15).done
        client = probe(session)
        assert poll.result(timeout=2).text == "6"
    client.send("5")
    client.abort()


def test_poll_during_the_upgrade_gets_a_noop(server: Server) -> None:
    session = connected(server)
    client = probe(session)
    answer = session.get()
    assert (answer.status, answer.text) == (200, "6")
    client.send("5")
    client.send('42["message",1]')
    assert client.receive() == '42["message-back",1]'
    client.abort()


def test_messages_of_the_upgrade_arrive_once_and_in_order(start: StartServer) -> None:
    session = connected(start(async_handlers=False))
    session.post('42["burst",10]')
    client = WebSocket(session.port, sid=session.sid)
    client.send("2probe")
    packets = [p for p in session.receive() if p != "6"]
    assert client.receive() == "3probe"
    session.post('42["burst",10]')
    client.send("5")
    while len(packets) < 20:
        packets.append(client.receive())
    assert packets == [f'42["numbered",{number},"x"]' for number in (*range(10), *range(10))]
    client.abort()


def test_http_is_refused_after_the_upgrade(server: Server) -> None:
    session = connected(server)
    client = upgrade(session)
    client.send('42["message",1]')
    assert client.receive() == '42["message-back",1]'
    assert session.get().status == 400
    assert session.post('42["message",2]').status == 400
    client.send('42["message",3]')
    assert client.receive() == '42["message-back",3]'
    client.abort()


def test_second_websocket_is_closed_after_the_upgrade(server: Server) -> None:
    session = connected(server)
    client = upgrade(session)
    client.send('42["message",1]')
    assert client.receive() == '42["message-back",1]'
    WebSocket(session.port, sid=session.sid).wait_closed()
    client.send('42["message",2]')
    assert client.receive() == '42["message-back",2]'
    client.abort()


def test_second_websocket_is_closed_during_the_upgrade(server: Server) -> None:
    session = connected(server)
    client = probe(session)
    WebSocket(session.port, sid=session.sid).wait_closed()
    client.send("5")
    client.send('42["message",1]')
    assert client.receive() == '42["message-back",1]'
    client.abort()


@pytest.mark.parametrize(
    "packets", [["2"], ["2nonsense"], ['42["message",1]'], ["2probe", "3"], ["2probe", "abc"]]
)
def test_wrong_probe_leaves_the_polling_session_alone(server: Server, packets: list[str]) -> None:
    session = connected(server)
    client = WebSocket(session.port, sid=session.sid)
    for packet in packets:
        client.send(packet)
    client.wait_closed()
    assert session.post('42["message",1]').status == 200
    assert [p for p in session.receive() if p != "6"] == ['42["message-back",1]']


def test_websocket_that_goes_away_leaves_the_polling_session_alone(server: Server) -> None:
    session = connected(server)
    probe(session).abort()
    assert session.post('42["message",1]').status == 200
    found: list[str | bytes] = []
    while not found:
        found = [p for p in session.receive() if p != "6"]
    assert found == ['42["message-back",1]']


@pytest.mark.one_kind
def test_upgrade_that_takes_too_long_is_given_up(start: StartServer) -> None:
    session = connected(start(upgrade_timeout=0.3))
    client = probe(session)
    client.wait_closed(timeout_s=2)
    assert session.post('42["message",1]').status == 200
    assert [p for p in session.receive() if p != "6"] == ['42["message-back",1]']


def test_websocket_of_a_closed_session_ends(server: Server) -> None:
    session = connected(server)
    client = probe(session)
    session.post("1")
    client.wait_closed()
    assert session.receive() == ["6"]  # a poll that the CLOSE packet has overtaken on its way
    with pytest.raises(Closed):
        session.receive()


def test_a_session_that_ends_during_its_upgrade_ends_where_its_client_goes_on(server: Server) -> None:
    session = connected(server)
    client = probe(session)
    assert session.receive() == ["6"]  # the client polls no more
    assert session.post("9").status == 400  # no packet, which ends the session
    server.wait_journal("disconnect")
    with pytest.raises(TimeoutError):  # the JavaScript client would stand still
        client.receive(timeout_s=0.3)
    client.send("5")
    client.wait_closed(timeout_s=2)


def test_websocket_session_cannot_be_polled(server: Server) -> None:
    client = WebSocket(server.port)
    opened = client.receive()
    assert isinstance(opened, str)
    sid = opened.split('"sid":"')[1].split('"')[0]
    assert server.get(f"/socket.io/?EIO=4&transport=polling&sid={sid}").status == 400
    client.abort()
