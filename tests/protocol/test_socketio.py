"""Socket.IO packets.

Source: socket.io-protocol v5, "Exchange protocol" and "Packet encoding".
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from support.servers import Server, wait_until
from support.wire.engine import Closed, WebSocket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.servers import StartServer


def opened(server: Server) -> WebSocket:
    """Open a WebSocket that is in no namespace yet."""
    client = WebSocket(server.port)
    client.receive()
    return client


@pytest.fixture
def fresh(server: Server) -> Iterator[WebSocket]:
    """Give a WebSocket that is in no namespace yet."""
    client = opened(server)
    yield client
    client.abort()


@pytest.fixture
def client(fresh: WebSocket) -> WebSocket:
    """Give a WebSocket that is in the default namespace."""
    fresh.send("40")
    fresh.receive()
    return fresh


def alive(client: WebSocket, namespace: str = "") -> bool:
    """Say whether the next thing that the server sends is the answer to this question."""
    client.send(f'42{namespace}["message","alive?"]')
    return client.receive() == f'42{namespace}["message-back","alive?"]'


def test_connect_is_answered_with_a_session_id(fresh: WebSocket) -> None:
    fresh.send("40")
    answer = fresh.receive()
    assert isinstance(answer, str)
    assert answer.startswith("40{")
    assert list(json.loads(answer[2:])) == ["sid"]


@pytest.mark.parametrize("packet", ["40/custom", "40/custom,", '40/custom,{"token":1}', "40/custom?x=1,"])
def test_connect_to_a_namespace(server: Server, fresh: WebSocket, packet: str) -> None:
    fresh.send(packet)
    answer = fresh.receive()
    assert isinstance(answer, str)
    assert answer.startswith("40/custom,{")
    auth = {"token": 1} if "token" in packet else None
    assert ["connect", "/custom", auth] in server.wait_journal("connect")


def test_session_ids_differ_from_the_engines_and_between_namespaces(server: Server) -> None:
    client = WebSocket(server.port)
    packets = [client.receive()]
    for packet in ("40", "40/custom,"):
        client.send(packet)
        packets.append(client.receive())
    client.abort()
    sids = {str(packet).split('"sid":"')[1].split('"')[0] for packet in packets}
    assert len(sids) == 3


def test_unknown_namespace_is_refused_by_name(fresh: WebSocket) -> None:
    fresh.send("40/random")
    assert fresh.receive() == '44/random,{"message":"Invalid namespace"}'
    fresh.send("40")
    assert str(fresh.receive()).startswith("40{")


def test_refusal_carries_message_and_data(fresh: WebSocket) -> None:
    fresh.send('40/refusing,{"a":1}')
    assert fresh.receive() == '44/refusing,{"message":"not today","data":{"a":1}}'


def test_refused_client_may_try_again_at_once(fresh: WebSocket) -> None:
    for _ in range(20):
        fresh.send("40/refusing,")
        assert fresh.receive() == '44/refusing,{"message":"not today","data":null}'


@pytest.mark.parametrize("left_by", ["client", "server"])
def test_client_may_come_back_while_its_disconnect_handler_runs(
    server: Server, fresh: WebSocket, left_by: str
) -> None:
    fresh.send("40/slow-farewell,")
    first = fresh.receive()
    if left_by == "client":
        fresh.send("41/slow-farewell,")
    else:
        fresh.send('42/slow-farewell,["leave"]')
        assert fresh.receive() == "41/slow-farewell,"
    fresh.send("40/slow-farewell,")
    second = fresh.receive(timeout_s=0.4)
    assert str(second).startswith("40/slow-farewell,{")
    assert second != first
    server.wait_journal("slow farewell")
    fresh.send('42/slow-farewell,1["message-with-ack"]')
    assert fresh.receive() == '43/slow-farewell,1["here"]'
    fresh.abort()
    server.wait_journal("slow farewell", "slow farewell")  # or it would be in the next test's journal


def test_event_before_connect_is_not_handled(server: Server, fresh: WebSocket) -> None:
    fresh.send('42["note","too early"]')
    fresh.send("40")
    fresh.receive()
    assert alive(fresh)
    assert [entry for entry in server.journal() if entry[0] == "note"] == []


def test_event_to_a_namespace_the_client_is_not_in_is_not_handled(server: Server, client: WebSocket) -> None:
    client.send('42/custom,["note","not there"]')
    assert alive(client)
    assert [entry[0] for entry in server.journal() if entry[0] == "note"] == []


@pytest.mark.parametrize("event", ["connect", "disconnect"])
def test_client_cannot_fake_a_reserved_event(server: Server, client: WebSocket, event: str) -> None:
    client.send(f'42["{event}"]')
    client.send('42["note"]')
    client.wait_closed()
    names = [entry[0] for entry in server.wait_journal("disconnect")]
    assert names.count("connect") == 1
    assert names.count("disconnect") == 1


@pytest.mark.parametrize(
    "packet",
    [
        pytest.param("4abc", id="unknown packet type"),
        pytest.param("4", id="empty packet"),
        pytest.param("47", id="packet type 7"),
        pytest.param("42{}", id="event that is no list"),
        pytest.param("42[]", id="event without a name"),
        pytest.param("42[{}]", id="event whose name is an object"),
        pytest.param('42["unfinished', id="broken JSON"),
        pytest.param('42abc["message-with-ack"]', id="broken ack id"),
        pytest.param("42", id="event without data"),
        pytest.param("431{}", id="ack that is no list"),
        pytest.param('44{"message":"no"}', id="CONNECT_ERROR from a client"),
        pytest.param('45["message"]', id="binary event without a count"),
        pytest.param('4511111111-["message"]', id="absurd number of attachments"),
        pytest.param(
            '451-["message",{"_placeholder":true,"num":0}]\n42["x"]', id="text instead of an attachment"
        ),
        pytest.param('451-["message",{"_placeholder":true,"num":5}]\nb', id="attachment that does not exist"),
        pytest.param('451-["message",{"_placeholder":true,"num":-1}]\nb', id="negative attachment"),
        pytest.param('451-["message",{"_placeholder":true,"num":"0"}]\nb', id="attachment by name"),
    ],
)
def test_invalid_packet_ends_the_connection(server: Server, client: WebSocket, packet: str) -> None:
    for part in packet.split("\n"):
        client.send(b"attachment" if part == "b" else part)
    client.wait_closed()
    server.wait_journal("disconnect")


def test_unexpected_attachment_ends_the_connection(server: Server, client: WebSocket) -> None:
    client.send(b"attachment of nothing")
    client.wait_closed()
    server.wait_journal("disconnect")


def test_deeply_nested_json_is_no_harm(server: Server, client: WebSocket) -> None:
    client.send("42" + "[" * 100_000 + "]" * 100_000)
    client.wait_closed()
    assert server.get("/ready").status == 200


def test_invalid_first_packet_ends_the_connection(fresh: WebSocket) -> None:
    fresh.send("4abc")
    fresh.wait_closed()


@pytest.mark.one_kind
def test_client_that_joins_nothing_is_closed(start: StartServer) -> None:
    opened(start(connect_timeout=0.3)).wait_closed(timeout_s=2)


@pytest.mark.one_kind
def test_client_that_joined_in_time_stays(start: StartServer) -> None:
    client = opened(start(connect_timeout=0.3))
    client.send("40")
    client.receive()
    with pytest.raises(TimeoutError):
        client.receive(timeout_s=0.6)
    assert alive(client)
    client.abort()


def test_leaving_a_namespace_keeps_the_connection(server: Server, client: WebSocket) -> None:
    client.send("40/custom,")
    client.receive()
    client.send("41/custom,")
    server.wait_journal("disconnect")
    assert alive(client)


def test_leaving_the_last_namespace_keeps_the_connection(hasty: Server) -> None:
    client = opened(hasty)
    client.send("40")
    client.receive()
    client.send("41")
    assert client.receive() == "2"
    client.send("3")
    client.send("40")
    assert str(client.receive()).startswith("40{")
    client.abort()


def test_disconnect_by_the_server_names_the_namespace(client: WebSocket) -> None:
    client.send("40/custom,")
    client.receive()
    client.send('42/custom,["leave"]')
    assert client.receive() == "41/custom,"
    assert alive(client)


def test_a_client_that_is_kicked_leaves_all_namespaces_before_its_connection_is_closed(
    client: WebSocket,
) -> None:
    client.send("40/custom,")
    client.receive()
    client.send('42/custom,["be kicked"]')
    heard = [client.receive() for _ in range(3)]
    assert sorted(map(str, heard)) == ["1", "41", "41/custom,"] and heard[-1] == "1"
    with pytest.raises(Closed):
        client.receive()


@pytest.mark.parametrize("number", [0, 1, 456, 2**31, 2**53 - 1])
def test_ack_repeats_the_id(client: WebSocket, number: int) -> None:
    client.send(f'42{number}["message-with-ack",1,"2",{{"3":[false]}}]')
    assert client.receive() == f'43{number}[1,"2",{{"3":[false]}}]'


def test_ack_in_a_namespace(client: WebSocket) -> None:
    client.send("40/custom,")
    client.receive()
    client.send('42/custom,7["message-with-ack","x"]')
    assert client.receive() == '43/custom,7["x"]'


def test_binary_event_and_binary_ack(client: WebSocket) -> None:
    client.send('452-789["message-with-ack",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]')
    client.send(bytes([1, 2, 3]))
    client.send(bytes([4, 5, 6]))
    assert client.receive() == '462-789[{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]'
    assert client.receive() == bytes([1, 2, 3])
    assert client.receive() == bytes([4, 5, 6])


def test_attachments_may_be_referred_to_in_any_order(client: WebSocket) -> None:
    client.send('452-["message",{"b":{"_placeholder":true,"num":1}},{"_placeholder":true,"num":0}]')
    client.send(b"first")
    client.send(b"second")
    answer = client.receive()
    assert isinstance(answer, str)
    assert answer.startswith('452-["message-back",')
    assert [client.receive(), client.receive()] == [b"second", b"first"]


def test_client_acknowledges_with_text_and_binary(server: Server, client: WebSocket) -> None:
    for _ in range(2):
        client.send('42["ask","how"]')
    first, second = (str(client.receive()) for _ in range(2))
    client.send("43" + first[2:].split("[")[0] + '["fine",1]')
    client.send("461-" + second[2:].split("[")[0] + '[{"_placeholder":true,"num":0}]')
    client.send(b"\x00\x01")
    answers = [entry[1] for entry in server.wait_journal("answer", "answer") if entry[0] == "answer"]
    assert sorted(answers, key=str) == sorted([["fine", 1], [{"bytes": "0001"}]], key=str)


def test_ack_counts_only_once(server: Server, client: WebSocket) -> None:
    client.send('42["ask"]')
    number = str(client.receive())[2:].split("[")[0]
    for answer in ("first", "second"):
        client.send(f'43{number}["{answer}"]')
    server.wait_journal("answer")
    assert alive(client)
    assert [entry for entry in server.journal() if entry[0] == "answer"] == [["answer", ["first"]]]


def test_with_more_handlers_in_call_than_workers_all_return(start: StartServer) -> None:
    workers = 4
    client = opened(start(max_workers=workers, max_handlers_per_client=workers))
    client.send("40")
    client.receive()
    for number in range(workers + 1):
        client.send(f'42{number}["consult",{number}]')
    questions = [str(client.receive()) for _ in range(workers - 1)]
    assert all('["question",' in packet for packet in questions), (
        "all wait but one, which is for other clients"
    )
    answered: set[str] = set()
    while len(answered) <= workers:
        for question in questions:
            client.send("43" + question[2:].split("[")[0] + '["yes"]')
        packet = str(client.receive())
        questions = [packet] if packet.startswith("42") else []
        if not questions:
            answered.add(packet)
    assert answered == {f'43{number}["yes"]' for number in range(workers + 1)}
    client.abort()


def test_no_context_variable_survives_its_event(client: WebSocket) -> None:
    for number in range(30):
        client.send(f'42{number}["leave a variable",{number}]')
        assert client.receive() == f"43{number}[]", "what the event before it had left"


def test_ack_nobody_waits_for_is_ignored(client: WebSocket) -> None:
    client.send("4399[]")
    assert alive(client)


def test_second_connect_to_a_namespace_makes_no_second_client(server: Server, client: WebSocket) -> None:
    client.send("40/custom,")
    client.receive()
    client.send("40/custom,")
    assert alive(client, "/custom,")
    client.abort()

    def noted() -> list[str]:
        """Return what happened on a namespace on which no client of the test before may still be leaving."""
        return [name for name, namespace, *_ in server.journal() if namespace == "/custom"]

    assert wait_until(lambda: "disconnect" in noted(), timeout_s=5)
    assert noted() == ["connect", "disconnect"]


def test_characters_outside_ascii_survive(client: WebSocket) -> None:
    client.send('42["message","é☃𝄞\\u0000\\u001e"]')
    answer = client.receive()
    assert isinstance(answer, str)
    assert json.loads(answer[2:]) == ["message-back", "é☃𝄞\x00\x1e"]
