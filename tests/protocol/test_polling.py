"""The polling transport.

Source: engine.io-protocol v4, "HTTP long-polling", "Packet encoding" and "Heartbeat".
"""

from __future__ import annotations

import concurrent.futures
import gzip
import json
import socket
import time
from typing import TYPE_CHECKING

import pytest

from support.servers import Server, wait_until
from support.wire.engine import Closed, Polling
from support.wire.http import HOST, request

if TYPE_CHECKING:
    from collections.abc import Iterator
    from concurrent.futures import Future

    from support.servers import StartServer
    from support.wire.http import Response


@pytest.fixture
def pool() -> Iterator[concurrent.futures.ThreadPoolExecutor]:
    """Give a place to wait for a poll while something else is sent."""
    with concurrent.futures.ThreadPoolExecutor(4) as executor:
        yield executor


def connected(server: Server) -> Polling:
    """Open a session that is in the default namespace."""
    session = Polling(server.port)
    session.post("40")
    (answer,) = session.receive()
    assert isinstance(answer, str)
    assert answer.startswith("40{")
    return session


def pending(session: Polling, pool: concurrent.futures.ThreadPoolExecutor) -> Future[Response]:
    """Start a poll and return when the server has had time to take it."""
    future = pool.submit(session.get)
    assert not concurrent.futures.wait([future], timeout=0.15).done
    return future


def receive(session: Polling, count: int) -> list[str | bytes]:
    """Poll until so many packets have come."""
    found: list[str | bytes] = []
    while len(found) < count:
        found += session.receive()
    return found


def test_post_is_answered_with_ok(server: Server) -> None:
    answer = Polling(server.port).post("40")
    assert (answer.status, answer.text) == (200, "ok")


def test_text_goes_both_ways_unharmed(server: Server) -> None:
    session = connected(server)
    session.post('42["message","naïve ☃ 𝄞"]')
    (answer,) = session.receive()
    assert isinstance(answer, str)
    assert json.loads(answer[2:]) == ["message-back", "naïve ☃ 𝄞"]


def test_packets_of_one_payload_are_taken_in_order(start: StartServer) -> None:
    session = connected(start(async_handlers=False))
    session.post(*[f'42["message",{number}]' for number in range(20)])
    assert receive(session, 20) == [f'42["message-back",{number}]' for number in range(20)]


def test_binary_is_base64_in_a_payload(server: Server) -> None:
    session = connected(server)
    session.post('451-["message",{"_placeholder":true,"num":0}]', b"\x00\xff4")
    assert receive(session, 2) == ['451-["message-back",{"_placeholder":true,"num":0}]', b"\x00\xff4"]


def test_packets_queued_between_polls_come_in_one_response(server: Server) -> None:
    session = connected(server)
    session.post('420["burst",5]')
    found = receive(session, 6)
    assert found[:5] == [f'42["numbered",{number},"x"]' for number in range(5)]


def test_response_has_no_more_packets_than_the_python_client_takes(server: Server) -> None:
    session = connected(server)
    session.post('420["burst",50]')
    found: list[str | bytes] = []
    while len(found) < 51:
        packets = session.receive()
        assert len(packets) <= 16
        found += packets
    assert found == [*(f'42["numbered",{number},"x"]' for number in range(50)), "430[]"]


def test_poll_waits_until_there_is_something(
    server: Server, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    session = connected(server)
    poll = pending(session, pool)
    session.post('42["message",1]')
    assert poll.result(timeout=2).text == '42["message-back",1]'


@pytest.mark.parametrize("body", ["abc", "9", "4\x1e", "40\x1e\x1e40", "b!!!"])
def test_invalid_payload_closes_the_session(server: Server, body: str) -> None:
    session = connected(server)
    assert request(server.port, "POST", session.target, body=body).status == 400
    assert session.get().status == 400
    server.wait_journal("disconnect")


def test_payload_that_is_not_utf8_closes_the_session(server: Server) -> None:
    session = connected(server)
    assert request(server.port, "POST", session.target, body=b'42["\xff\xfe"]').status == 400
    assert session.get().status == 400


@pytest.mark.one_kind
def test_payload_beyond_the_limit_closes_the_session(start: StartServer) -> None:
    server = start(max_http_buffer_size=1000)
    session = connected(server)
    assert session.handshake.fields["maxPayload"] == 1000
    session.post(f'42["note","{"x" * 900}"]')
    server.wait_journal("note")
    assert session.post(f'42["note","{"x" * 1000}"]').status == 413
    assert session.get().status == 400
    server.wait_journal("disconnect")
    said = "packet of 1013 bytes exceeds max_http_buffer_size=1000"
    assert wait_until(lambda: said in server.log_text(), timeout_s=15), server.log_text()


@pytest.mark.one_kind
def test_too_many_packets_in_a_payload_close_the_session(start: StartServer) -> None:
    session = connected(start(max_packets_per_payload=20))
    assert session.post(*['42["note"]'] * 20).status == 200
    assert session.post(*['42["note"]'] * 21).status == 400
    assert session.get().status == 400


def test_hundreds_of_packets_in_a_payload_are_fine_by_default(server: Server) -> None:
    session = connected(server)
    assert session.post(*['42["note"]'] * 500).status == 200
    server.wait_journal(*["note"] * 500)


def test_second_poll_closes_the_session(server: Server, pool: concurrent.futures.ThreadPoolExecutor) -> None:
    session = connected(server)
    first = pending(session, pool)
    assert session.get().status == 400
    answer = first.result(timeout=2)
    assert (answer.status, answer.text) == (200, "1")
    assert session.get().status == 400


def test_close_packet_releases_a_pending_poll(
    server: Server, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    session = connected(server)
    poll = pending(session, pool)
    assert session.post("1").status == 200
    answer = poll.result(timeout=2)
    assert (answer.status, answer.text) == (200, "6")
    assert session.get().status == 400
    assert server.wait_journal("disconnect")[-1] == ["disconnect", "/", "client disconnect"]


def test_poll_after_a_cancelled_one_closes_the_session(server: Server) -> None:
    session = connected(server)
    with socket.create_connection((HOST, server.port)) as connection:
        connection.sendall(f"GET {session.target} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        time.sleep(0.1)  # until the server has taken the poll; nothing can be seen of it from here
    assert session.get().status == 400


def test_server_pings_and_a_pong_keeps_the_session(hasty: Server) -> None:
    session = Polling(hasty.port)
    for _ in range(3):
        assert session.receive(timeout_s=2) == ["2"]
        assert session.post("3").status == 200


def test_ping_comes_after_the_announced_interval(hasty: Server) -> None:
    begin = time.monotonic()
    assert Polling(hasty.port).receive(timeout_s=2) == ["2"]
    assert 0.25 <= time.monotonic() - begin <= 0.6


def test_client_that_answers_no_ping_is_forgotten(hasty: Server) -> None:
    session = connected(hasty)
    assert session.receive(timeout_s=2) == ["2"]
    assert hasty.wait_journal("disconnect")[-1] == ["disconnect", "/", "ping timeout"]
    assert session.get().status == 400


def test_client_that_never_polls_is_forgotten(hasty: Server) -> None:
    session = Polling(hasty.port)
    time.sleep(0.5)  # pingInterval + pingTimeout, as in the protocol's own test suite
    assert session.get().status == 400


def test_disconnect_by_the_server_reaches_a_pending_poll(
    server: Server, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    session = connected(server)
    poll = pending(session, pool)
    session.post('42["leave"]')
    assert "41" in poll.result(timeout=2).text.split("\x1e")


def test_a_client_that_is_kicked_leaves_all_namespaces_before_its_connection_is_closed(
    server: Server, pool: concurrent.futures.ThreadPoolExecutor
) -> None:
    session = connected(server)
    session.post("40/custom,")
    session.receive()
    poll = pending(session, pool)
    session.post('42["be kicked"]')
    heard = poll.result(timeout=5).text.split("\x1e")
    while heard[-1] != "1":
        answer = session.get()
        assert answer.status == 200, heard
        heard += answer.text.split("\x1e")
    assert sorted(heard) == ["1", "41", "41/custom,"]
    assert session.get().status == 400


def test_big_response_is_compressed_when_the_client_takes_it(server: Server) -> None:
    session = connected(server)
    session.headers = {"Accept-Encoding": "gzip"}
    session.post('42["burst",1,5000]')
    answer = session.get()
    assert answer.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(answer.body)[2:]) == ["numbered", 0, "x" * 5000]


def test_small_response_and_unwilling_client_get_no_compression(server: Server) -> None:
    session = connected(server)
    session.post('42["burst",1,5000]')
    assert "content-encoding" not in session.get().headers
    session.headers = {"Accept-Encoding": "gzip"}
    session.post('42["burst",1,5]')
    assert "content-encoding" not in session.get().headers


def test_session_is_gone_after_close(server: Server) -> None:
    session = connected(server)
    session.post("1")
    assert session.receive() == ["6"]  # a poll that the CLOSE packet has overtaken on its way
    with pytest.raises(Closed):
        session.receive()
    assert session.post("40").status == 400
