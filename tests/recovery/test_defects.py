"""Each reported defect of the reference server's recovery, as a test with the official client.

Its connection is cut, or forgotten by what is in between, so that only the client knows and the server goes on writing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.proxy import Proxy
from support.recovering import BACK_S, Clients, Seen, clients, load
from support.servers import THREADING, AppSpec, Server, serving, wait_until
from support.wire.engine import Polling


@pytest.fixture(params=["websocket", "polling"])
def client(request: pytest.FixtureRequest, proxy: Proxy) -> Iterator[Clients]:
    """A client that has connected."""
    with clients(proxy.port, 1, request.param) as one:
        one.wait(1)
        yield one


#: What the official client says of an attempt while the proxy refuses connections.
NOTHING_PASSES = ("xhr poll error", "websocket error")


def emit(server: Server, *numbers: int, to: str = "all") -> None:
    for number in numbers:
        server.post(f"/do/emit?to={to}&number={number}")


def back(client: Clients, times: int = 2, *, with_number: int | None = None) -> Seen:
    """Wait until a client is back, and has had a number; what it has missed comes behind its CONNECT."""
    (seen,) = client.wait(times)
    if with_number is not None:
        (seen,) = client.wait_for(with_number)
    return seen


def lost(server: Server, client: Clients) -> None:
    """Wait until its loss was noticed: with polling that would be when a ping is not answered."""
    if client.one.transport == "websocket":
        server.wait_journal("disconnect")


def restored(seen: Seen) -> bool:
    return len(set(seen.sids)) == 1 and seen.recovered == [False, *[True] * (len(seen.sids) - 1)]


def test_a_client_that_has_received_nothing_comes_back(server: Server, proxy: Proxy, client: Clients) -> None:
    """socket.io#4888, #4733, #5538: without an offset it started anew."""
    with client.cut_off(proxy):
        emit(server, 1, 2)
    seen = back(client, with_number=2)
    assert restored(seen)
    assert seen.received == [1, 2]
    assert seen.early == [0, 0]  # behind its connect event, see the next test


def test_a_client_that_loses_its_connection_while_it_comes_back_gets_nothing_twice(
    server: Server, proxy: Proxy, client: Clients
) -> None:
    """What came before CONNECT it would keep, without its offset, and have once more from the next connection."""
    missed = range(200)  # more than one answer to a poll has room for
    with client.cut_off(proxy):
        emit(server, *missed)
    for _ in range(20):
        proxy.cut()
        time.sleep(0.05)
    (seen,) = client.wait_for(missed[-1])
    assert restored(seen)
    assert seen.received == list(missed)


def test_a_client_that_was_idle_for_longer_than_events_are_kept_comes_back(
    proxy_to_short: tuple[Server, Proxy],
) -> None:
    """socket.io#5282: its offset was forgotten, although it had missed nothing."""
    server, proxy = proxy_to_short
    with clients(proxy.port, 1, "websocket") as client:
        client.wait(1)
        emit(server, 1)
        client.wait_for(1)
        assert wait_until(lambda: load(server)["events"] == 0, timeout_s=10)
        with client.cut_off(proxy):
            emit(server, 2)
        seen = back(client, with_number=2)
    assert restored(seen)
    assert seen.received == [1, 2]


@pytest.fixture
def proxy_to_short(tmp_path: Path) -> Iterator[tuple[Server, Proxy]]:
    """A server that keeps everything for a short time."""
    spec = AppSpec(app="recovery", options={"recovery": 1.5, "ping_interval": 1, "ping_timeout": 1})
    with serving(THREADING, spec, tmp_path) as server:
        proxy = Proxy(server.port)
        yield server, proxy
        proxy.close()


def test_a_client_that_is_away_for_too_long_starts_anew(proxy_to_short: tuple[Server, Proxy]) -> None:
    server, proxy = proxy_to_short
    with clients(proxy.port, 1, "websocket") as client:
        client.wait(1)
        with client.cut_off(proxy):
            emit(server, 1)
            assert wait_until(lambda: load(server)["expired"] == 1, timeout_s=10)
        seen = back(client)
        assert seen.recovered == [False, False]
        assert len(set(seen.sids)) == 2
        assert seen.received == []
        emit(server, 2)
        client.wait_for(2)
    assert load(server)["failed"] == {"unknown": 1}


def test_a_volatile_event_that_ends_with_a_text_leaves_the_offset_alone(
    server: Server, proxy: Proxy, client: Clients
) -> None:
    """socket.io PR 5539: the client took that text for an offset."""
    emit(server, 1)
    client.wait_for(1)
    server.post("/do/volatile?to=all")
    assert wait_until(lambda: client.one.others != [], timeout_s=5)
    assert client.one.others[0][:2] == ["volatile", "text"]
    with client.cut_off(proxy):
        emit(server, 2)
    seen = back(client, with_number=2)
    assert restored(seen)
    assert seen.received == [1, 2]


def test_an_event_with_an_acknowledgement_leaves_it_alone_too(
    server: Server, proxy: Proxy, client: Clients
) -> None:
    emit(server, 1)
    offset = client.wait_for(1)[0].offset
    server.post(f"/do/ask?sid={client.one.sids[0]}")
    assert server.wait_journal("answered")[-1] == ["answered", client.one.sids[0]]
    assert client.one.offset == offset
    with client.cut_off(proxy):
        emit(server, 2)
    assert back(client, with_number=2).received == [1, 2]


def test_volatile_events_are_not_sent_again(server: Server, proxy: Proxy, client: Clients) -> None:
    """socket.io-redis-streams-adapter: they were kept like all others."""
    with client.cut_off(proxy):
        server.post("/do/volatile?to=all")
        emit(server, 1)
        server.post("/do/volatile?to=all")
    back(client, with_number=1)
    emit(server, 2)
    (seen,) = client.wait_for(2)
    assert seen.received == [1, 2]
    assert seen.others == []


def test_a_client_that_is_back_before_its_loss_was_noticed_has_missed_nothing_again_and_again(
    server: Server, proxy: Proxy, client: Clients
) -> None:
    """socket.io#4880, socket.io-redis-streams-adapter#26: it was not saved yet, or lost by a later time-out."""
    sid = client.one.sids[0]
    for times in range(1, 5):
        # The server goes on writing. One that polls may be between two requests.
        assert wait_until(lambda: proxy.forget() > 0, timeout_s=5)
        emit(server, 2 * times)
        client.tell("close")
        emit(server, 2 * times + 1)
        seen = back(client, times + 1, with_number=2 * times + 1)
        assert seen.received == list(range(2, 2 * times + 2))
        assert restored(seen)
    assert json.loads(server.get("/members/all").body) == [sid]
    assert load(server)["clients"] == 1


def test_events_that_were_sent_again_are_not_sent_a_third_time(
    server: Server, proxy: Proxy, client: Clients
) -> None:
    """socket.io#5419, socket.io-redis-streams-adapter#39: they had no offsets of their own."""
    for times in range(1, 5):
        with client.cut_off(proxy):
            emit(server, times)
        seen = back(client, times + 1, with_number=times)
        assert seen.received == list(range(1, times + 1))
    assert restored(seen)


def test_a_client_that_may_not_come_back_is_refused_and_its_state_gone(
    server: Server, proxy: Proxy, client: Clients
) -> None:
    """socket.io#5491: middlewares were skipped, and let in whom they would have refused."""
    server.post(f"/do/refuse?sid={client.one.sids[0]}")
    with client.cut_off(proxy):
        emit(server, 1)
    # An attempt while nothing passes is an error, too.
    assert wait_until(lambda: "no longer welcome" in client.one.errors, timeout_s=BACK_S), client.one
    seen = client.one
    assert [error for error in seen.errors if error not in NOTHING_PASSES] == ["no longer welcome"]
    assert seen.recovered == [False]
    assert seen.received == []
    assert load(server)["clients"] == 0
    (seen,) = client.tell("again")
    seen = back(client)
    assert seen.recovered == [False, False]
    assert len(set(seen.sids)) == 2


def test_events_while_the_connect_handler_runs_come_once_and_in_order(
    server: Server, proxy: Proxy, client: Clients
) -> None:
    """Read in the reference server's code: it was in its rooms, but not yet in the namespace."""
    server.post(f"/do/slow?sid={client.one.sids[0]}")
    with client.cut_off(proxy):
        emit(server, 1, 2)
    server.wait_journal("connect", "connect", timeout_s=BACK_S)
    # The second handler runs now, until it may return.
    emit(server, 3, 4)
    assert client.one.received == []
    emit(server, 5)
    server.post(f"/do/go_on?sid={client.one.sids[0]}")
    seen = back(client, with_number=5)
    assert restored(seen)
    assert seen.received == [1, 2, 3, 4, 5]


def test_too_many_events_are_not_sent_again(tmp_path: Path) -> None:
    """socket.io-redis-streams-adapter PR 47: reading all of them could exhaust the broker."""
    spec = AppSpec(app="recovery", options={"recovery": {"window": 60, "max_events": 10}})
    with serving(THREADING, spec, tmp_path) as server:
        proxy = Proxy(server.port)
        with clients(proxy.port, 1, "websocket") as client:
            client.wait(1)
            with client.cut_off(proxy):
                emit(server, *range(200, 210))
            back(client, with_number=209)
            with client.cut_off(proxy):
                emit(server, *range(300, 311))
            seen = back(client, 3)
            assert seen.received == list(range(200, 210))
            assert seen.recovered == [False, True, False]
        proxy.close()
        assert load(server)["failed"] == {"too many events": 1}


def test_two_connections_cannot_have_one_pid(server: Server, proxy: Proxy) -> None:
    """Read in the reference server's code: a session in memory was restored, and not removed."""
    with clients(proxy.port, 1, "websocket") as client:
        client.wait(1)
        pid, before = client.one.pid, load(server)["recovered"]
        connections = [Polling(server.port) for _ in range(3)]
        for connection in connections:
            connection.post(f"40{json.dumps({'pid': pid})}")

        def members() -> list[str]:
            found: list[str] = json.loads(server.get("/members/all").body)
            return found

        assert wait_until(lambda: load(server)["recovered"] > before and len(members()) == 1, timeout_s=5)
        time.sleep(0.3)
        assert members() == client.one.sids[:1]


# what belongs to it


def test_what_the_application_keeps_comes_back(server: Server, proxy: Proxy, client: Clients) -> None:
    sid = client.one.sids[0]

    def of() -> Any:
        return json.loads(server.get(f"/of/{sid}").body)

    client.tell('["keep","ann"]')
    assert wait_until(lambda: of()["user"] == "ann", timeout_s=5)
    server.post(f"/do/enter?sid={sid}&room=left")
    server.post(f"/do/enter?sid={sid}&room=closed")
    with client.cut_off(proxy):
        lost(server, client)
        server.post(f"/do/enter?sid={sid}&room=entered")
        server.post(f"/do/leave?sid={sid}&room=left")
        server.post("/do/close?room=closed")
        emit(server, 1, to="entered")
        emit(server, 2, to="left")
        emit(server, 3, to="closed")
        emit(server, 4, to=sid)
        emit(server, 5, to="of%20ann")
    seen = back(client, with_number=5)
    assert seen.received == [1, 4, 5]
    assert of() == {"rooms": [sid, "all", "entered", "of ann"], "data": {"name": "ann"}, "user": "ann"}
    assert server.wait_journal("connect", "connect")[-1] == ["connect", sid, True, 3, None, "ann", "ann"]


def test_a_kick_while_it_is_away_holds(server: Server, proxy: Proxy, client: Clients) -> None:
    sid = client.one.sids[0]
    with client.cut_off(proxy):
        lost(server, client)
        server.post(f"/do/kick?sid={sid}")
        emit(server, 1)
    seen = back(client)
    assert seen.recovered == [False, False]
    assert seen.received == []


def test_a_client_that_leaves_by_itself_starts_anew(server: Server, client: Clients) -> None:
    emit(server, 1)
    client.wait_for(1)
    client.tell("again")
    seen = back(client)
    assert seen.recovered == [False, False]
    assert len(set(seen.sids)) == 2
    emit(server, 2)
    assert client.wait_for(2)[0].received == [1, 2]


def test_binary_events_are_sent_again(server: Server, proxy: Proxy, client: Clients) -> None:
    with client.cut_off(proxy):
        server.post("/do/binary?to=all")
    back(client)
    assert wait_until(lambda: client.one.others != [], timeout_s=5)
    seen = client.one
    assert restored(seen)
    ((name, data, offset),) = seen.others
    assert name == "bytes"
    assert data == {"data": {"type": "Buffer", "data": [0, 1]}, "more": "text"}
    assert offset == seen.offset
    with client.cut_off(proxy):
        pass
    assert len(back(client, 3).others) == 1


def test_each_namespace_of_a_connection_comes_back_by_itself(server: Server, proxy: Proxy) -> None:
    with clients(proxy.port, "/,/chat", "websocket") as both:
        one, chat = both.wait(1)
        assert one.pid != chat.pid
        with both.cut_off(proxy):
            emit(server, 1)
            server.post("/do/chat?number=2")
        both.wait(2)
        assert wait_until(lambda: all(seen.received for seen in both.tell()), timeout_s=5)
        one, chat = both.tell()
        assert restored(one)
        assert restored(chat)
        assert (one.received, chat.received) == ([1], [2])
        with both.cut_off(proxy):
            server.post(f"/do/kick?sid={one.sids[0]}")
        one, chat = both.wait(3)
    assert one.recovered == [False, True, False]
    assert chat.recovered == [False, True, True]


def test_many_recoveries_leave_nothing_behind(server: Server, proxy: Proxy) -> None:
    def size() -> Any:
        return json.loads(server.get("/size").body)

    with clients(proxy.port, 5, "websocket") as some:
        some.wait(1)
        for times in range(2, 6):
            with some.cut_off(proxy):
                emit(server, times)
            some.wait(times)
        before = size()
        for times in range(6, 26):
            with some.cut_off(proxy):
                emit(server, times)
            some.wait(times)
        assert load(server)["clients"] == 5
        assert load(server)["lost_clients"] == 0
        assert wait_until(
            lambda: (
                size()["descriptors"] <= before["descriptors"] + 2
                and size()["threads"] <= before["threads"] + 6
            ),
            timeout_s=5,
        ), (before, size())
        assert all(restored(one) and one.received == list(range(2, 26)) for one in some.wait_for(25))
