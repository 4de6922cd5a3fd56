"""The history of a room: who joins later is sent what was sent there lately, in order, none twice and none missing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask

from flask_socketio_core import SocketIO, emit, join_room, leave_room
from flask_socketio_core.app import history as history_module
from flask_socketio_core.app.offsets import HEAD, Lineup
from flask_socketio_core.contracts import Stretch
from flask_socketio_core.errors import StoreUnavailable
from flask_socketio_core.store.memory import MemoryStore
from support.flask_apps import Connect, MakeApp

Received = list[Any]


def follow(socketio: SocketIO) -> None:
    """Have clients join the rooms that they name."""

    @socketio.on("follow")
    def join(room: str, rewind: int = 20) -> None:
        join_room(room, rewind=rewind)


@pytest.fixture(autouse=True)
def following(socketio: SocketIO) -> None:
    follow(socketio)


def received(client: Any, event: str = "said") -> Received:
    return [packet["args"][0] for packet in client.get_received() if packet["name"] == event]


def say(socketio: SocketIO, *words: Any, to: Any = "news", **options: Any) -> None:
    for word in words:
        socketio.emit("said", word, to=to, **options)


def test_who_joins_is_sent_the_last_ones_and_then_what_follows(socketio: SocketIO, connect: Connect) -> None:
    socketio.history("news")
    say(socketio, *range(30))
    client = connect()
    client.emit("follow", "news", 20)
    say(socketio, 30)
    assert received(client) == list(range(10, 31))


def test_who_is_there_already_is_sent_nothing_again(socketio: SocketIO, connect: Connect) -> None:
    socketio.history("news")
    say(socketio, 1)
    client = connect()
    client.emit("follow", "news")
    client.emit("follow", "news")
    assert received(client) == [1]
    socketio.on_event("unfollow", leave_room)
    client.emit("unfollow", "news")
    say(socketio, 2)
    client.emit("follow", "news")
    assert received(client) == [1, 2]


def test_without_rewind_nothing_is_sent(socketio: SocketIO, connect: Connect) -> None:
    socketio.history("news")
    say(socketio, 1)
    client = connect()
    socketio.on_event("join", lambda room: join_room(room))
    client.emit("join", "news")
    say(socketio, 2)
    assert received(client) == [2]


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ({"size": 3}, [7, 8, 9]),
        ({"latest": True}, [9]),
        ({"max_bytes": 150}, [8, 9]),
    ],
    ids=repr,
)
def test_no_more_is_kept_than_declared(
    socketio: SocketIO, connect: Connect, declared: dict[str, Any], expected: Received
) -> None:
    socketio.history("news", **declared)
    say(socketio, *range(10))
    client = connect()
    client.emit("follow", "news")
    assert received(client) == expected


def test_what_is_kept_ends_with_its_time(socketio: SocketIO, connect: Connect) -> None:
    socketio.history("news", ttl=0.3)
    say(socketio, "old")
    time.sleep(0.35)
    say(socketio, "new")
    client = connect()
    client.emit("follow", "news")
    assert received(client) == ["new"]


def test_rooms_are_declared_by_pattern_and_namespace(make_app: MakeApp) -> None:
    app, socketio = make_app(namespaces="*")
    follow(socketio)
    socketio.history("price:*", latest=True)
    socketio.history("price:gold", size=2)
    socketio.history("news", namespace="/other")
    for room in ("price:gold", "price:tin"):
        say(socketio, 1, 2, 3, to=room)
    say(socketio, 1, namespace="/other")
    client = socketio.test_client(app)
    for room in ("price:gold", "price:tin"):
        client.emit("follow", room)
    assert received(client) == [2, 3, 3]
    with pytest.raises(
        ValueError, match=r"room 'news' of namespace '/' has no history to rewind: socketio\.history"
    ):
        client.emit("follow", "news")


def test_a_room_without_a_history_is_refused(socketio: SocketIO, connect: Connect) -> None:
    with pytest.raises(
        ValueError, match=r"room 'news' has no history to rewind: socketio\.history\('news'\)"
    ):
        connect().emit("follow", "news")


def test_a_negative_number_of_events_is_refused(socketio: SocketIO, connect: Connect) -> None:
    socketio.history("news")
    with pytest.raises(ValueError, match="rewind=-1 must be a number of events"):
        connect().emit("follow", "news", -1)


@pytest.mark.parametrize("bound", ["size", "ttl", "max_bytes"])
def test_a_bound_is_greater_than_0(socketio: SocketIO, bound: str) -> None:
    with pytest.raises(ValueError, match=rf"history\('news'\): {bound}=0 must be greater than 0"):
        socketio.history("news", **{bound: 0})  # type: ignore[arg-type]  # one of three


def test_all_kinds_of_data_are_kept(socketio: SocketIO, connect: Connect) -> None:
    socketio.history("news")
    data = [b"\x00\xff", {"deep": [None, 1.5, "x", b"y"]}, [], "text"]
    say(socketio, *data)
    socketio.emit("said", (1, b"2"), to="news")
    client = connect()
    client.emit("follow", "news")
    packets = [packet["args"] for packet in client.get_received()]
    assert [args[0] for args in packets] == [*data, 1]


def test_only_what_is_for_the_room_is_kept(socketio: SocketIO, connect: Connect) -> None:
    socketio.history("news")
    say(socketio, "to the room", ("both",), to=["news", "other"])
    say(socketio, "elsewhere", to="other")
    say(socketio, "to all", to=None)
    say(socketio, "volatile", volatile=True)
    say(socketio, "local", local=True)
    client = connect()
    client.emit("follow", "news")
    assert received(client) == ["to the room", "both"]


def test_who_was_not_to_receive_it_does_not_get_it_later(socketio: SocketIO, connect: Connect) -> None:
    socketio.history("news")
    client, other = connect(), connect()
    sid = socketio.server.manager.sid_from_eio_sid(client.eio_sid, "/")

    @socketio.on("mute")
    def mute() -> None:
        join_room("muted")

    client.emit("mute")
    say(socketio, "not to the muted", exclude="muted")
    say(socketio, "not to that client", skip_sid=sid)
    say(socketio, "to all")
    for who in (client, other):
        who.emit("follow", "news")
    assert received(client) == ["to all"]
    assert received(other) == ["not to the muted", "not to that client", "to all"]


def test_an_event_that_nobody_can_read_is_an_error_and_not_kept(socketio: SocketIO, connect: Connect) -> None:
    socketio.history("news")
    member, client = connect(), connect()
    member.emit("follow", "news")
    with pytest.raises(TypeError):
        say(socketio, {1, 2})
    say(socketio, "fine")
    client.emit("follow", "news")
    assert received(member) == received(client) == ["fine"]


def test_a_client_that_is_not_here_cannot_be_rewound(socketio: SocketIO, connect: Connect) -> None:
    socketio.history("news")

    @socketio.on("for another")
    def join() -> None:
        join_room("news", sid="x" * 24, rewind=5)

    with pytest.raises(ValueError, match="rewind= is for a client of this server"):
        connect().emit("for another")


def test_a_room_that_cannot_be_entered_leaves_nothing_behind(make_app: MakeApp) -> None:
    app, socketio = make_app(max_rooms=1)
    follow(socketio)
    socketio.history("*")
    client = socketio.test_client(app)
    client.emit("follow", "news")
    with pytest.raises(ValueError, match="max_rooms=1"):
        client.emit("follow", "other")
    say(socketio, 1, to="other")
    assert received(client) == []
    assert all(room.is_idle for room in socketio._binding().history._rooms.values())


def test_in_a_coroutine_it_is_called_in_a_worker(socketio: SocketIO, connect: Connect) -> None:
    import asyncio

    socketio.history("news")
    say(socketio, 1)

    @socketio.on("follow later")
    async def join(away: bool) -> None:
        if away:
            await asyncio.to_thread(join_room, "news", rewind=5)
        else:
            join_room("news", rewind=5)

    client = connect()
    with pytest.raises(
        RuntimeError, match=r"await asyncio\.to_thread\(join_room, room, rewind=\.\.\.\) instead"
    ):
        client.emit("follow later", False)
    client.emit("follow later", True)
    assert received(client) == [1]


def test_an_emit_in_a_handler_is_kept(socketio: SocketIO, connect: Connect) -> None:
    socketio.history("news")
    socketio.on_event("say", lambda word: emit("said", word, to="news"))
    connect().emit("say", "hello")
    client = connect()
    client.emit("follow", "news")
    assert received(client) == ["hello"]


def test_without_a_history_an_emission_has_no_id(socketio: SocketIO, connect: Connect) -> None:
    connect()
    say(socketio, 1)
    server = socketio._binding().server
    assert server is not None
    assert socketio._binding()._history is None and server.recorder is None


# ------------------------------------------------------------------------------------------------------ the race


@pytest.mark.parametrize("size", [10, 5000])
def test_with_many_who_emit_each_client_has_all_in_order_from_where_it_begins(
    make_app: MakeApp, size: int
) -> None:
    app, socketio = make_app()
    follow(socketio)
    socketio.history("news", size=size)
    emitters, each = 4, 100

    def emit_each(emitter: int) -> None:
        for number in range(each):
            socketio.emit("said", [emitter, number], to="news")
            time.sleep(0.001)

    threads = [threading.Thread(target=emit_each, args=(number,)) for number in range(emitters)]
    for thread in threads:
        thread.start()
    clients: list[Any] = []
    while any(thread.is_alive() for thread in threads) and len(clients) < 40:
        clients.append(socketio.test_client(app))
        clients[-1].emit("follow", "news", size)
    for thread in threads:
        thread.join(20)
    assert len(clients) > 3
    for client in clients:
        got = received(client)
        assert len(got) == len({tuple(item) for item in got}), "one came twice"
        if size > emitters * each:
            assert len(got) == emitters * each, "one is missing"
        for emitter in range(emitters):
            numbers = [number for who, number in got if who == emitter]
            assert numbers == list(range(each - len(numbers), each)), "one is missing, or out of order"


def test_what_comes_while_a_client_is_given_what_was_kept_waits(
    socketio: SocketIO, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    socketio.history("news")
    member, client = connect(), connect()
    member.emit("follow", "news")
    say(socketio, 1, 2)
    history = socketio._binding().history
    send = history._send

    def emit_meanwhile(*given: Any) -> None:
        monkeypatch.setattr(history, "_send", send)
        say(socketio, 3)
        send(*given)
        say(socketio, 4)

    monkeypatch.setattr(history, "_send", emit_meanwhile)
    client.emit("follow", "news")
    say(socketio, 5)
    assert received(member) == received(client) == [1, 2, 3, 4, 5]


def test_what_is_being_delivered_is_waited_for(
    socketio: SocketIO, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    socketio.history("news")
    member, client = connect(), connect()
    member.emit("follow", "news")
    server = socketio._binding().server
    assert server is not None
    emit_now, begun, go_on = server.emit, threading.Event(), threading.Event()

    def emit_slowly(emission: Any, origin: Any = None) -> None:
        if emission.keep is None and emission.args == ("slow",) and emission.to == ("news",):
            begun.set()
            assert go_on.wait(5)
        emit_now(emission, origin)

    monkeypatch.setattr(server, "emit", emit_slowly)
    slow = threading.Thread(target=say, args=(socketio, "slow"))
    slow.start()
    assert begun.wait(5)
    joining = threading.Thread(target=client.emit, args=("follow", "news"))
    joining.start()
    time.sleep(0.1)
    assert joining.is_alive()
    go_on.set()
    for thread in (slow, joining):
        thread.join(5)
    assert received(member) == received(client) == ["slow"]


# ---------------------------------------------------------------------------------------------------- several


@pytest.fixture
def make_server(make_app: MakeApp, request: pytest.FixtureRequest) -> Callable[..., tuple[Flask, SocketIO]]:
    """Return a function that makes one more server of a cluster."""

    def make(**options: Any) -> tuple[Flask, SocketIO]:
        app, socketio = make_app(
            message_queue=f"memory://{request.node.name}",
            message_queue_options={"heartbeat_interval_s": 0.5},
            **options,
        )
        follow(socketio)
        socketio.history("news", size=50)
        socketio._binding().join()
        assert socketio._binding().cluster.await_subscription(5)  # type: ignore[union-attr]
        return app, socketio

    return make


MakeServer = Callable[..., tuple[Flask, SocketIO]]


def wait_for(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.02)


def wait_received(client: Any) -> Received:
    """Wait for what a client receives next."""
    got: Received = []
    deadline_s = time.monotonic() + 10
    while not got:
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
        got = received(client)
    return got


def join_at(server: tuple[Flask, SocketIO]) -> Any:
    app, socketio = server
    client = socketio.test_client(app)
    client.emit("follow", "news")
    return client


def test_each_server_has_kept_what_any_has_emitted(make_server: MakeServer) -> None:
    first, second = make_server(), make_server()
    member = join_at(second)
    say(first[1], 1)
    assert wait_received(member) == [1]
    assert received(join_at(second)) == received(join_at(first)) == [1]


def test_a_server_that_starts_has_it_from_another(make_server: MakeServer) -> None:
    first = make_server()
    say(first[1], *range(5))
    second = make_server()
    client = join_at(second)
    say(second[1], 5)
    assert received(client) == list(range(6))
    assert received(join_at(second)) == list(range(6))


def test_what_a_server_has_heard_itself_is_not_doubled_when_it_asks(make_server: MakeServer) -> None:
    first = make_server()
    say(first[1], 0, 1)
    second = make_server()
    question = {"namespace": "/", "room": "news", "most": 9, "count": True}
    histories = [socketio._binding().history for _, socketio in (first, second)]
    say(second[1], 2)
    wait_for(lambda: histories[0].answer(question, "") == 3)
    say(first[1], 3)
    wait_for(lambda: histories[1].answer(question, "") == 2)
    assert received(join_at(second)) == [0, 1, 2, 3]
    assert received(join_at(second)) == [0, 1, 2, 3]


def test_what_is_still_on_its_way_is_sent_once(make_server: MakeServer) -> None:
    first, second = make_server(), make_server()
    member = join_at(second)
    say(first[1], 1)
    assert wait_received(member) == [1]
    history = second[1]._binding().history
    server = second[1]._binding().server
    assert server is not None
    late: list[Any] = []
    deliver, server.recorder = history.deliver, lambda *come: late.append(come)
    say(first[1], 2)
    wait_for(lambda: len(late) == 1)
    history.reload()
    client = join_at(second)  # it has 2 from the other server
    server.recorder = deliver
    deliver(*late[0])
    say(second[1], 3)
    assert received(client) == [1, 2, 3]
    assert received(member) == [2, 3]
    assert received(join_at(second)) == [1, 2, 3]


def test_what_is_on_its_way_while_the_others_are_asked_twice_is_sent_once(make_server: MakeServer) -> None:
    first, second = make_server(), make_server()
    join_at(second)
    history, server = second[1]._binding().history, second[1]._binding().server
    assert server is not None
    late: list[Any] = []
    deliver, server.recorder = history.deliver, lambda *come: late.append(come)
    say(first[1], 1, 2)
    wait_for(lambda: len(late) == 2)
    clients = []
    for _ in range(2):
        history.reload()
        clients.append(join_at(second))
    server.recorder = deliver
    for emission in late:
        deliver(*emission)
    assert [received(client) for client in clients] == [[1, 2]] * 2
    assert received(join_at(second)) == [1, 2]


def test_many_who_join_at_once_ask_the_others_once(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = make_server(), make_server()
    say(first[1], 1)
    history = second[1]._binding().history
    asked: list[Any] = []
    load = history._load_now

    def load_slowly(key: Any, declared: Any) -> None:
        asked.append(key)
        time.sleep(0.2)
        load(key, declared)

    monkeypatch.setattr(history, "_load_now", load_slowly)
    app, socketio = second
    clients = [socketio.test_client(app) for _ in range(5)]
    threads = [threading.Thread(target=client.emit, args=("follow", "news")) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert [received(client) for client in clients] == [[1]] * 5 and len(asked) == 1


def test_what_cannot_be_read_is_left_out(
    make_app: MakeApp, durable: str, caplog: pytest.LogCaptureFixture
) -> None:
    app, socketio = make_app(store=durable)
    follow(socketio)
    socketio.history("news")
    store, bounds = socketio._binding().store, {"size": 9, "max_bytes": 999, "ttl_s": 60.0}
    stream = history_module._stream_name("/", "news")
    for value in (b"", b"short", b"x" * 40 + b"[", b"y" * 40 + b"[false, []]", b"z" * 40 + b"7"):
        store.append(stream, value, **bounds)  # type: ignore[arg-type]  # each bound has its type
    say(socketio, 1)
    assert received(join_at((app, socketio))) == [1]
    assert "what was kept of a room cannot be read" in caplog.text


def test_after_a_gap_the_others_are_asked_again(make_server: MakeServer) -> None:
    first, second = make_server(), make_server()
    assert received(join_at(second)) == []
    server = second[1]._binding().server
    assert server is not None
    lost: list[Any] = []
    deliver, server.recorder = second[1]._binding().history.deliver, lambda *come: lost.append(come)
    say(first[1], 1)
    wait_for(lambda: len(lost) == 1)
    server.recorder = deliver
    assert received(join_at(second)) == []
    second[1]._binding().history.reload()
    assert received(join_at(second)) == [1]


# ------------------------------------------------------------------------------------------------------ a store


@pytest.fixture
def durable(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URL of a store that outlives its servers."""
    from flask_socketio_core.contracts import StoreCapabilities
    from flask_socketio_core.testing.threads import ThreadMode

    monkeypatch.setattr(MemoryStore, "capabilities", StoreCapabilities(shared=True, needs_patched=()))
    url = f"memory://{request.node.name}"
    keeper = MemoryStore(url, "flask-socketio", mode=ThreadMode(), options={})
    yield url
    keeper.close()


def test_with_a_store_it_outlives_the_servers(make_app: MakeApp, durable: str) -> None:
    def serve() -> tuple[Flask, SocketIO]:
        app, socketio = make_app(store=durable)
        follow(socketio)
        socketio.history("news", size=3)
        return app, socketio

    app, socketio = serve()
    say(socketio, *range(5))
    assert received(join_at((app, socketio))) == [2, 3, 4]
    socketio.close()
    app, socketio = serve()
    say(socketio, 5)
    client = join_at((app, socketio))
    say(socketio, 6)
    assert received(client) == [3, 4, 5, 6]


def test_a_process_that_only_sends_puts_it_there(make_app: MakeApp, durable: str) -> None:
    sender = SocketIO(message_queue="memory://only-sends", store=durable, async_mode="threading")
    sender.history("news")
    say(sender, 1, 2)
    sender.close()
    app, socketio = make_app(store=durable)
    follow(socketio)
    socketio.history("news")
    assert received(join_at((app, socketio))) == [1, 2]


def test_a_store_that_is_away_is_logged_and_what_is_here_is_sent(
    make_app: MakeApp, durable: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app, socketio = make_app(store=durable)
    follow(socketio)
    socketio.history("news")

    def fail(*args: Any, **keywords: Any) -> Any:
        raise StoreUnavailable("the store is away")

    store = socketio._binding().store
    with monkeypatch.context() as away:
        away.setattr(store, "read", fail)
        away.setattr(store, "append", fail)
        say(socketio, 1)
        assert received(join_at((app, socketio))) == [1]
        assert received(join_at((app, socketio))) == [1]
        socketio._binding().history.flush(5)
    told = "\n".join(record.getMessage() for record in caplog.records)
    assert "what other servers have kept of a room cannot be had: StoreUnavailable: the store is away" in told
    assert (
        "an event of a room with a history is not in the store: StoreUnavailable: the store is away" in told
    )
    say(socketio, 2)
    assert received(join_at((app, socketio))) == [1, 2]


def test_what_is_kept_of_all_rooms_is_bounded(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(history_module, "MOST_ROOMS", 10)
    monkeypatch.setattr(history_module, "MEMORY", {"max_entries": 10, "max_bytes": 100_000})
    app, socketio = make_app()
    follow(socketio)
    socketio.history("*")
    socketio.test_client(app)
    for number in range(50):
        say(socketio, number, to=f"room-{number}")
    history = socketio._binding().history
    assert len(history._rooms) <= 11 and len(history._memory._shelf.entries) <= 10
    assert "some have lost theirs" in caplog.text


def test_a_connect_handler_may_rewind(socketio: SocketIO, connect: Connect) -> None:
    socketio.history("news")
    say(socketio, 1, 2)
    socketio.on_event("connect", lambda auth: join_room("news", rewind=5))
    client = connect()
    say(socketio, 3)
    assert received(client) == [1, 2, 3]


# ---------------------------------------------------------------------------------------------------- offsets


@pytest.fixture
def coming_back(socketio: SocketIO) -> None:
    come_back(socketio)


def come_back(socketio: SocketIO) -> None:
    """Have clients join the rooms that they name, with the offsets that they were told."""

    @socketio.on("resume")
    def resume(room: str, since: Any, rewind: int = 0) -> Any:
        rewound = join_room(room, rewind=rewind, since=since)
        return [rewound.offset, rewound.complete, rewound.sent]


def resume(client: Any, since: Any = None, rewind: int = 0, room: str = "news") -> tuple[Any, bool, Received]:
    """Return the new offset, whether it is complete, and what was received."""
    offset, complete, sent = client.emit("resume", room, since, rewind, callback=True)
    got = received(client)
    assert sent == len(got)
    return offset, complete, got


@pytest.fixture(params=["in memory", "in a store", "in a slow store"])
def kept_somewhere(
    request: pytest.FixtureRequest, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> tuple[Flask, SocketIO]:
    """A server whose histories are in its memory, or in a store too, which perhaps is behind what was emitted."""
    options = {} if request.param == "in memory" else {"store": request.getfixturevalue("durable")}
    if request.param == "in a slow store":
        append = MemoryStore.append

        def append_slowly(store: MemoryStore, *args: Any, **options: Any) -> Any:
            if not isinstance(store, history_module._Memory):
                time.sleep(0.02)
            return append(store, *args, **options)

        monkeypatch.setattr(MemoryStore, "append", append_slowly)
    app, socketio = make_app(**options)
    follow(socketio)
    come_back(socketio)
    socketio.history("news", size=20)
    return app, socketio


def test_who_comes_back_with_an_offset_is_sent_what_has_followed(
    kept_somewhere: tuple[Flask, SocketIO],
) -> None:
    app, socketio = kept_somewhere
    say(socketio, 1, 2, 3)
    first = socketio.test_client(app)
    offset, complete, got = resume(first, None, 2)
    assert (complete, got) == (False, [2, 3]) and isinstance(offset, str)
    first.disconnect()
    say(socketio, 4, 5)
    second = socketio.test_client(app)
    later, complete, got = resume(second, offset)
    assert (complete, got) == (True, [4, 5]) and later != offset
    say(socketio, 6)
    assert received(second) == [6]
    second.disconnect()
    third = socketio.test_client(app)
    assert resume(third, later)[1:] == (True, [6])


def test_a_member_is_told_its_offset_again(kept_somewhere: tuple[Flask, SocketIO]) -> None:
    app, socketio = kept_somewhere
    say(socketio, 1)
    client = socketio.test_client(app)
    resume(client, None, 5)
    say(socketio, 2, 3)
    assert received(client) == [2, 3]
    offset, complete, got = resume(client)
    assert (complete, got) == (True, [])
    say(socketio, 4)
    assert resume(socketio.test_client(app), offset)[1:] == (True, [4])


@pytest.mark.parametrize(
    "since", [None, "", "1", 7, {"a": 1}, ["x"], "1-2-3-4", "-1-a--b", "9" * 3000, "²-a--b"]
)
def test_what_is_no_offset_counts_as_none(kept_somewhere: tuple[Flask, SocketIO], since: Any) -> None:
    app, socketio = kept_somewhere
    say(socketio, 1, 2, 3)
    assert resume(socketio.test_client(app), since, 2)[1:] == (False, [2, 3])


def test_where_something_was_given_up_in_between_it_is_not_complete(
    kept_somewhere: tuple[Flask, SocketIO],
) -> None:
    app, socketio = kept_somewhere
    say(socketio, 0)
    offset, _, _ = resume(socketio.test_client(app))
    say(socketio, *range(1, 20))
    assert resume(socketio.test_client(app), offset)[1:] == (True, list(range(1, 20)))
    say(socketio, *range(20, 40))
    socketio._binding().history.flush(5)  # what the store has not given up yet is not missing
    assert resume(socketio.test_client(app), offset, 3)[1:] == (False, [37, 38, 39])


def test_an_offset_is_for_one_room_and_one_life_of_it(make_app: MakeApp) -> None:
    app, socketio = make_app()
    come_back(socketio)
    socketio.history("*", ttl=0.3)
    say(socketio, 1)
    say(socketio, 1, to="other")
    offset, _, _ = resume(socketio.test_client(app))
    assert resume(socketio.test_client(app), offset, room="other")[1:] == (False, [])
    time.sleep(0.35)
    say(socketio, 2)
    assert resume(socketio.test_client(app), offset)[1:] == (False, [])
    assert resume(socketio.test_client(app), offset, 5)[1:] == (False, [2])


def test_what_a_store_has_lost_is_not_waited_for(
    make_app: MakeApp, durable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_module, "OFFSET_S", 0.1)
    app, socketio = make_app(store=durable)
    follow(socketio)
    come_back(socketio)
    socketio.history("news")
    socketio.test_client(app)
    say(socketio, 1, 2)
    socketio._binding().history.flush(5)
    time.sleep(0.2)  # until what is in no store by then never will be
    reads, read = [], MemoryStore.read

    def read_nothing(store: MemoryStore, *args: Any, **options: Any) -> Stretch:
        if isinstance(store, history_module._Memory):
            return read(store, *args, **options)
        reads.append(args)
        return Stretch()

    monkeypatch.setattr(MemoryStore, "read", read_nothing)
    part = socketio.read_history("news")
    assert ([event.args[0] for event in part.events], part.offset, len(reads)) == ([1, 2], None, 1)
    reads.clear()
    assert resume(socketio.test_client(app), None, 5) == (None, False, [1, 2])
    assert len(reads) <= 2


def test_where_nothing_was_kept_there_is_no_offset(kept_somewhere: tuple[Flask, SocketIO]) -> None:
    app, socketio = kept_somewhere
    assert resume(socketio.test_client(app)) == (None, False, [])
    assert socketio.read_history("news").offset is None


def test_an_offset_is_good_at_another_server_with_the_same_store(
    make_server: MakeServer, durable: str
) -> None:
    first, second = make_server(store=durable), make_server(store=durable)
    for _, socketio in (first, second):
        come_back(socketio)
    client = first[0], first[1].test_client(first[0])
    say(second[1], 1)
    say(first[1], 2)
    wait_for(lambda: len(first[1].read_history("news").events) == 2)
    offset, _, got = resume(client[1], None, 5)
    assert sorted(got) == [1, 2]
    say(second[1], 3)
    say(first[1], 4)
    wait_for(lambda: len(second[1].read_history("news").events) == 4)
    _, complete, got = resume(second[1].test_client(second[0]), offset)
    assert complete and sorted(got) == [3, 4]


def test_without_a_store_an_offset_is_the_servers_own(make_server: MakeServer) -> None:
    first, second = make_server(), make_server()
    for _, socketio in (first, second):
        come_back(socketio)
    say(first[1], 1, 2)
    offset, _, _ = resume(first[1].test_client(first[0]))
    assert resume(second[1].test_client(second[0]), offset, 1)[1:] == (False, [2])
    assert resume(first[1].test_client(first[0]), offset, 1)[1:] == (True, [])


def test_an_offset_outlives_the_servers_with_a_store(make_app: MakeApp, durable: str) -> None:
    def serve() -> tuple[Flask, SocketIO]:
        app, socketio = make_app(store=durable)
        come_back(socketio)
        socketio.history("news")
        return app, socketio

    app, socketio = serve()
    say(socketio, 1, 2)
    offset, _, _ = resume(socketio.test_client(app))
    say(socketio, 3)
    socketio.close()
    app, socketio = serve()
    say(socketio, 4)
    assert resume(socketio.test_client(app), offset)[1:] == (True, [3, 4])


def test_an_event_that_is_not_in_the_store_is_known_to_be_missing(
    make_app: MakeApp, durable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, socketio = make_app(store=durable)
    come_back(socketio)
    socketio.history("news")
    say(socketio, 1)
    offset, _, _ = resume(socketio.test_client(app))
    store = socketio._binding().store

    def fail(*args: Any, **keywords: Any) -> Any:
        raise StoreUnavailable("the store is away")

    with monkeypatch.context() as away:
        away.setattr(store, "append", fail)
        away.setattr(store, "read", fail)
        say(socketio, 2)
        socketio._binding().history.flush(5)
        assert resume(socketio.test_client(app), offset, 5) == (None, False, [1, 2])
        part = socketio.read_history("news", since=offset)
        assert ([event.args for event in part.events], part.offset, part.complete) == (
            [(1,), (2,)],
            None,
            False,
        )
    assert resume(socketio.test_client(app), offset, 5)[1:] == (True, [2])  # this server has it
    say(socketio, 3)
    socketio._binding().history.flush(5)
    behind, complete, got = resume(socketio.test_client(app), offset, 5)
    assert (complete, sorted(got)) == (False, [1, 2, 3])
    say(socketio, 4)
    assert resume(socketio.test_client(app), behind)[1:] == (True, [4])


def test_what_the_store_does_not_have_yet_is_in_an_offset(
    make_app: MakeApp, durable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app, socketio = make_app(store=durable)
    come_back(socketio)
    socketio.history("news")
    say(socketio, 1)
    client = socketio.test_client(app)
    resume(client)
    history, held = socketio._binding().history, list[Any]()
    with monkeypatch.context() as slow:
        slow.setattr(history, "_append_to_store", lambda *event: held.append(event))
        say(socketio, 2)
        assert received(client) == [2]
        offset, _, _ = resume(client)
    assert len(offset.split("-")[2]) == 12
    for event in held:
        history._append_to_store(*event)
    say(socketio, 3)
    assert resume(socketio.test_client(app), offset)[1:] == (True, [3])
    part = socketio.read_history("news", since=offset)
    assert [event.args for event in part.events] == [(3,)] and part.complete


def test_what_a_member_was_not_sent_yet_is_not_in_its_offset(make_server: MakeServer, durable: str) -> None:
    """Another server has put it into the store, and the message is still on its way."""
    first, second = make_server(store=durable), make_server(store=durable)
    come_back(second[1])
    member = second[1].test_client(second[0])
    resume(member, None, 5)
    say(first[1], 1)
    assert wait_received(member) == [1]
    history, server = second[1]._binding().history, second[1]._binding().server
    assert server is not None
    late: list[Any] = []
    deliver, server.recorder = history.deliver, lambda *come: late.append(come)
    say(first[1], 2)
    wait_for(lambda: len(late) == 1)
    first[1]._binding().history.flush(5)
    offset, _, got = resume(member)
    assert got == []
    fresh = second[1].test_client(second[0])
    behind, _, got = resume(fresh, offset)
    assert got == [2]
    third = second[1].test_client(second[0])
    assert resume(third, behind)[1:] == (True, [])
    server.recorder = deliver
    deliver(*late[0])
    assert [received(client) for client in (member, fresh, third)] == [[2], [], []]
    say(second[1], 3)
    assert resume(second[1].test_client(second[0]), behind)[1:] == (True, [3])
    assert received(member) == [3]
    assert resume(second[1].test_client(second[0]), resume(member)[0])[1:] == (True, [])


def test_what_others_have_kept_meanwhile_comes_behind_what_was_kept_here(
    make_app: MakeApp, durable: str
) -> None:
    """A server that was cut off has the older events, and the store has no longer all of these."""

    def serve() -> tuple[Flask, SocketIO]:
        app, socketio = make_app(store=durable)
        follow(socketio)
        socketio.history("news", size=3)
        join_at((app, socketio))
        return app, socketio

    first, second = serve(), serve()
    say(first[1], 1, 2, 3)
    first[1]._binding().history.flush(5)
    say(second[1], 4, 5)
    second[1]._binding().history.flush(5)
    first[1]._binding().history.reload()
    assert received(join_at(first)) == [3, 4, 5]


@pytest.mark.parametrize("stored", range(1, 6))
def test_an_offset_has_what_was_had_besides_however_much_of_it_is_in_the_store(stored: int) -> None:
    ids = [f"{number}" * 32 for number in range(1, 6)]
    values = [HEAD.pack(event_id.encode(), 0.0) + b"[]" for event_id in ids]
    stretch = Stretch(epoch="epoch", values=tuple(values[:stored]), top=stored)
    lineup = Lineup(stretch, values[stored:])
    for had in ({*ids[:4]}, {ids[0], ids[2]}, {*ids[1:4]}):
        for value, offset in lineup.offsets(frozenset(had)):
            had.add(ids[values.index(value)])
            if offset is not None:
                assert lineup.had(offset) == had


def test_with_ids_a_client_says_what_it_has_had_since_its_offset(
    make_app: MakeApp, request: pytest.FixtureRequest
) -> None:
    app, socketio = make_app(store=request.getfixturevalue("durable"))
    come_back(socketio)
    socketio.history("news", ids=True)
    say(socketio, 1)
    client = socketio.test_client(app)
    offset, _, _ = client.emit("resume", "news", None, 5, callback=True)
    say(socketio, 2, 3)
    socketio.emit("said", (4, "more"), to=["news", "other"])
    got = [packet["args"] for packet in client.get_received()]
    assert [(args[0], len(args)) for args in got] == [(1, 2), (2, 2), (3, 2), (4, 3)]
    ids = [args[-1] for args in got]
    assert ids == [event.id for event in socketio.read_history("news").events] and len({*ids}) == 4
    say(socketio, 5)
    for since, expected in (
        ([offset, *ids], [5]),
        ([offset, ids[1], ids[3]], [3, 5]),
        ([offset], [2, 3, 4, 5]),
        ([offset, 7, None, "x", {}], [2, 3, 4, 5]),
    ):
        assert resume(socketio.test_client(app), since)[1:] == (True, expected)
        part = socketio.read_history("news", since=since)
        assert part.complete and [event.args[0] for event in part.events] == expected
        assert socketio.read_history("news", since=part.offset).events == ()
    for bad in ([], [[offset]], [None, *ids], [offset, *["x"] * 10_001]):
        assert resume(socketio.test_client(app), bad, 1)[1:] == (False, [5])


# ----------------------------------------------------------------------------------------------------- reading


def test_a_view_reads_it(kept_somewhere: tuple[Flask, SocketIO]) -> None:
    app, socketio = kept_somewhere
    socketio.test_client(app)
    before_s = time.time()
    say(socketio, 1, 2)
    socketio.emit("said", (3, b"\x00"), to="news")

    @app.get("/news")
    def news() -> Any:
        from flask import request

        part = socketio.read_history("news", since=request.args.get("since"), size=2)
        return {
            "numbers": [event.args[0] for event in part.events],
            "next": part.offset,
            "all": part.complete,
        }

    def get(since: str | None = None) -> dict[str, Any]:
        found: dict[str, Any] = app.test_client().get("/news", query_string={"since": since}).get_json()
        return found

    found = get()
    assert found["numbers"] == [2, 3] and not found["all"]
    first, last = (socketio.read_history("news").events[place] for place in (0, -1))
    assert (last.event, last.args) == ("said", (3, b"\x00")) and before_s <= last.at <= time.time()
    since, pages = first.offset, []
    for _ in range(2):
        page = get(since)
        pages.append((page["numbers"], page["all"]))
        since = page["next"]
    assert pages == [([2, 3], True), ([], True)]
    say(socketio, 4)
    assert get(since)["numbers"] == [4]
    assert resume(socketio.test_client(app), since)[1:] == (True, [4])


def test_each_event_has_its_offset(kept_somewhere: tuple[Flask, SocketIO]) -> None:
    app, socketio = kept_somewhere
    socketio.test_client(app)
    say(socketio, *range(5))
    events = socketio.read_history("news").events
    assert [event.args[0] for event in events] == list(range(5))
    socketio._binding().history.flush(5)
    for place, event in enumerate(events):
        if event.offset is not None:
            part = socketio.read_history("news", since=event.offset)
            assert part.complete and [later.args[0] for later in part.events] == list(range(place + 1, 5))
    assert [event.offset is None for event in socketio.read_history("news").events] == [False] * 5


def test_what_has_no_history_cannot_be_read(socketio: SocketIO) -> None:
    with pytest.raises(ValueError, match="room 'news' has no history"):
        socketio.read_history("news")
    socketio.history("other")
    with pytest.raises(ValueError, match="room 'news' of namespace '/' has no history"):
        socketio.read_history("news")
    with pytest.raises(ValueError, match="size=-1 must be a number of events"):
        socketio.read_history("other", size=-1)


def test_a_process_that_only_sends_reads_the_store(make_app: MakeApp, durable: str) -> None:
    sender = SocketIO(message_queue="memory://reads", store=durable, async_mode="threading")
    sender.history("news")
    say(sender, 1, 2)
    sender._binding().history.flush(5)
    part = sender.read_history("news", size=1)
    assert [event.args for event in part.events] == [(2,)] and part.offset
    sender.close()
    without = SocketIO(message_queue="memory://reads", async_mode="threading")
    without.history("news")
    with pytest.raises(RuntimeError, match="a process that only sends keeps no history"):
        without.read_history("news")
    without.close()


def test_in_a_coroutine_reading_says_what_to_write(socketio: SocketIO, connect: Connect) -> None:
    socketio.history("news")

    @socketio.on("read")
    async def read() -> None:
        socketio.read_history("news")

    with pytest.raises(RuntimeError, match=r"await asyncio\.to_thread\(socketio\.read_history, \.\.\.\)"):
        connect().emit("read")


# ----------------------------------------------------------------------------------------------------- numbers


Told = list[tuple[Any, ...]]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Callable[[SocketIO], Told]:
    """Return a function that has what is told of histories noted."""

    def note(socketio: SocketIO) -> Told:
        found: Told = []

        @socketio.observe
        def socketio_history_lost(namespace: str, room: Any, reason: str, count: int) -> None:
            found.append((namespace, room, reason, count))

        @socketio.observe
        def socketio_history_incomplete(sid: str, namespace: str, room: Any, reason: str) -> None:
            assert len(sid) > 10
            found.append((namespace, room, reason))

        return found

    return note


def test_without_a_history_there_are_no_numbers(socketio: SocketIO, connect: Connect) -> None:
    connect()
    assert socketio.load().history is None


def test_it_is_told_what_is_kept_in_memory_and_what_is_not(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, told: Callable[[SocketIO], Told]
) -> None:
    monkeypatch.setattr(history_module, "MEMORY", {"max_entries": 3, "max_bytes": 100_000})
    app, socketio = make_app()
    socketio.history("*", max_bytes=2000)
    found = told(socketio)
    socketio.test_client(app)
    for number in range(5):
        say(socketio, number, to=f"room-{number}")
    say(socketio, "x" * 2000, to="room-4")
    load = socketio.load().history
    assert load is not None
    assert (load.rooms, load.lost) == (3, {"memory": 2, "too large": 1})
    assert 3 * 300 < load.size_bytes < 10_000
    assert found == [(None, None, "memory", 1)] * 2 + [("/", "room-4", "too large", 1)]


def test_it_is_told_what_the_store_has_not_taken(
    make_app: MakeApp, durable: str, monkeypatch: pytest.MonkeyPatch, told: Callable[[SocketIO], Told]
) -> None:
    monkeypatch.setattr(history_module, "MOST_WAITING", 2)
    app, socketio = make_app(store=durable, message_queue="memory://history-numbers")
    come_back(socketio)
    socketio.history("news")
    found = told(socketio)
    client, store = socketio.test_client(app), socketio._binding().store
    go_on = threading.Event()

    def fail(*args: Any, **keywords: Any) -> Any:
        assert go_on.wait(10)
        raise StoreUnavailable("the store is away")

    with monkeypatch.context() as away:
        away.setattr(store, "append", fail)
        away.setattr(store, "read", fail)
        say(socketio, 1)
        wait_for(lambda: socketio._binding().history.load().waiting == 0)
        say(socketio, 2, 3, 4)
        go_on.set()
        socketio._binding().history.flush(5)
        resume(client, "1-a--b", 5)
    assert found == [("/", "news", "store too slow", 1)] + [("/", "news", "store", 1)] * 3 + [
        ("/", "news", "store")
    ]
    load = socketio.load().history
    assert load is not None
    assert (load.lost, load.waiting) == ({"store too slow": 1, "store": 3}, 0)
    assert (load.resumed, load.incomplete) == (0, {"store": 1}) and load.store_errors >= 1
    health = socketio.health()
    assert health is not None and health.history == load


def test_it_is_told_who_could_go_on_and_who_could_not_and_why(
    make_app: MakeApp, told: Callable[[SocketIO], Told]
) -> None:
    app, socketio = make_app()
    come_back(socketio)
    socketio.history("*", size=2)
    found = told(socketio)
    say(socketio, 1)
    say(socketio, 1, to="other")
    offset, _, _ = resume(socketio.test_client(app))
    resume(socketio.test_client(app), offset)
    resume(socketio.test_client(app), offset, room="other")
    resume(socketio.test_client(app), "none")
    say(socketio, 2, 3)
    resume(socketio.test_client(app), offset)
    load = socketio.load().history
    assert load is not None
    reasons = ["another epoch", "invalid", "given up"]
    assert (load.resumed, load.incomplete) == (1, dict.fromkeys(reasons, 1))
    assert found == [
        ("/", room, reason) for room, reason in zip(("other", "news", "news"), reasons, strict=True)
    ]
