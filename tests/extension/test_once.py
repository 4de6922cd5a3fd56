"""An event that is handled once: its repetitions have the answer of the first, whoever may have it, and nobody else."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from flask import Flask, g

from flask_socketio_core import EventRejected, Namespace, SocketBlueprint, SocketIO, once
from flask_socketio_core.app import once as once_module
from flask_socketio_core.contracts.histories import OnceLoad
from flask_socketio_core.errors import StoreUnavailable
from support.flask_apps import Connect, MakeApp, request


def by_id(data: Any) -> Any:
    return data["id"]


class Shop:
    """Counts what it handles, and answers with the count."""

    def __init__(self) -> None:
        self.handled: list[tuple[Any, ...]] = []

    def __call__(self, *args: Any) -> Any:
        self.handled.append(args)
        return {"number": len(self.handled)}


@pytest.fixture
def shop(socketio: SocketIO) -> Shop:
    shop = Shop()
    socketio.on_event("order", shop, once=by_id)
    return shop


def order(client: Any, **data: Any) -> Any:
    return client.emit("order", data, callback=True)


def test_a_repetition_is_answered_as_the_first_and_not_handled(shop: Shop, connect: Connect) -> None:
    client = connect()
    assert order(client, id="a") == {"number": 1}
    assert order(client, id="a") == {"number": 1}
    assert order(client, id="b") == {"number": 2}
    assert order(client, id="a") == {"number": 1}
    assert shop.handled == [({"id": "a"},), ({"id": "b"},)]


def test_who_comes_back_with_another_sid_has_the_answer_of_before(shop: Shop, connect: Connect) -> None:
    client = connect()
    first = order(client, id="a", what="book")
    client.disconnect()
    assert order(connect(), id="a", what="book") == first
    assert len(shop.handled) == 1


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "text",
        0,
        [1, [2, None]],
        {"bytes": b"\x00\xff", "deep": [b"", "x"]},
        b"\x01",
        ("two", {"values": b"2"}),
        (),
        ("one",),
        ([],),
    ],
    ids=repr,
)
def test_whatever_can_be_acknowledged_is_remembered(
    answer: Any, socketio: SocketIO, connect: Connect
) -> None:
    def twice(event: str) -> list[Any]:
        return [client.emit(event, {"id": 1}, callback=True) for _ in range(2)]

    calls = []

    @socketio.on("order", once=by_id)
    def handle(data: Any) -> Any:
        calls.append(data)
        return answer

    socketio.on_event("plain", lambda data: answer)
    client = connect()
    assert twice("order") == twice("plain")
    assert len(calls) == 1


def test_an_event_that_failed_is_handled_when_it_comes_again(socketio: SocketIO, connect: Connect) -> None:
    outcomes: list[Any] = [ZeroDivisionError(), EventRejected(ack="not now"), "done"]

    @socketio.on("order", once=by_id)
    def handle(data: Any) -> Any:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    client = connect()
    with pytest.raises(ZeroDivisionError):
        order(client, id=1)
    assert order(client, id=1) == "not now"
    assert order(client, id=1) == "done"
    assert order(client, id=1) == "done"


def test_what_an_error_handler_answers_is_not_remembered(socketio: SocketIO, connect: Connect) -> None:
    shop = Shop()

    @socketio.on("order", once=by_id)
    def handle(data: Any) -> Any:
        shop(data)
        raise ZeroDivisionError

    socketio.on_error()(lambda error: f"failed {len(shop.handled)} times")
    client = connect()
    assert [order(client, id=1) for _ in range(2)] == ["failed 1 times", "failed 2 times"]


def test_an_answer_that_cannot_be_sent_is_not_remembered(socketio: SocketIO, connect: Connect) -> None:
    answers: list[Any] = [{1, 2}, "sent"]
    socketio.on_event("order", lambda data: answers.pop(0), once=by_id)
    socketio.on_error()(lambda error: "cannot be sent")
    client = connect()
    assert [order(client, id=1) for _ in range(3)] == ["cannot be sent", "sent", "sent"]


def test_events_and_namespaces_are_told_apart(make_app: MakeApp) -> None:
    app, socketio = make_app(namespaces="*")
    shop = Shop()
    for event in ("order", "return"):
        for namespace in ("/", "/shop"):
            socketio.on_event(event, shop, namespace, once=by_id)
    clients = [socketio.test_client(app, namespace) for namespace in ("/", "/shop")]
    for _ in range(2):
        for client, namespace in zip(clients, ("/", "/shop"), strict=True):
            for event in ("order", "return"):
                client.emit(event, {"id": 1}, namespace=namespace, callback=True)
    assert len(shop.handled) == 4


def test_a_catch_all_is_told_the_event(socketio: SocketIO, connect: Connect) -> None:
    shop = Shop()
    socketio.on_event("*", shop, once=lambda event, data: data["id"])
    client = connect()
    for event in ("order", "return", "order"):
        client.emit(event, {"id": 1}, callback=True)
    assert [args[0] for args in shop.handled] == ["order", "return"]


def test_without_a_key_an_event_is_handled_each_time(socketio: SocketIO, connect: Connect) -> None:
    shop = Shop()
    socketio.on_event("order", shop, once=lambda data: data.get("id"))
    client = connect()
    assert [order(client)["number"], order(client)["number"]] == [1, 2]
    assert [order(client, id=0)["number"], order(client, id=0)["number"]] == [3, 3]
    assert [order(client, id="")["number"], order(client, id="")["number"]] == [4, 4]


def test_keys_of_all_kinds_are_told_apart(socketio: SocketIO, connect: Connect) -> None:
    shop = Shop()
    socketio.on_event("order", shop, once=by_id)
    client = connect()
    for key in (1, "1", 1.5, True, [1], ["1"], [1, "x"], "x" * 5000, "x" * 5001):
        order(client, id=key)
        order(client, id=key)
    assert len(shop.handled) == 9


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ({}, "KeyError: 'id'"),
        ({"id": {"$gt": ""}}, "TypeError: once= of event 'order' returned a dict, expected text"),
    ],
)
def test_what_the_key_cannot_be_made_of_counts_as_an_error_of_the_handler(
    socketio: SocketIO, connect: Connect, data: Any, text: str
) -> None:
    shop = Shop()
    socketio.on_event("order", shop, once=by_id)
    socketio.on_error()(lambda error: f"{type(error).__name__}: {error}")
    assert order(connect(), **data).startswith(text)
    assert shop.handled == []


# ------------------------------------------------------------------------------------------------ whose it is


@pytest.fixture
def log_in(app: Flask, socketio: SocketIO) -> Callable[[str | None], Any]:
    """Return a function that connects a client of a user."""
    socketio.user_loader(lambda auth: (auth or {}).get("user"))
    return lambda user: socketio.test_client(app, auth={"user": user})


def test_an_answer_is_its_users_and_nobody_elses(shop: Shop, log_in: Callable[[str | None], Any]) -> None:
    assert order(log_in("ann"), id=1, what="secret of ann") == {"number": 1}
    for number, user in enumerate(("bob", None, "args"), 2):
        assert order(log_in(user), id=1, what="secret of ann") == {"number": number}
    assert order(log_in("ann"), id=1) == {"number": 1}  # to a user it is the id that counts


def test_who_has_no_user_has_to_know_the_whole_event(shop: Shop, connect: Connect) -> None:
    assert order(connect(), id=1, card="4242") == {"number": 1}
    assert order(connect(), id=1) == {"number": 2}
    assert order(connect(), id=1, card="4243") == {"number": 3}
    assert order(connect(), id=1, card="4242") == {"number": 1}


def test_the_key_is_asked_for_in_the_clients_context(
    socketio: SocketIO, log_in: Callable[[str | None], Any]
) -> None:
    shop = Shop()
    seen = []

    def key(data: Any) -> Any:
        seen.append((request.client.user, request.namespace, hasattr(g, "nothing")))
        return data["id"]

    socketio.on_event("order", shop, once=key)
    order(log_in("ann"), id=1)
    assert seen == [("ann", "/", False)]


# ------------------------------------------------------------------------------------------ ways to register


def test_it_is_taken_wherever_a_function_is_registered(socketio: SocketIO, connect: Connect) -> None:
    blueprint = SocketBlueprint()
    shops = [Shop() for _ in range(4)]
    socketio.on("a", once=by_id)(shops[0])

    @socketio.event(once=by_id)
    def b(data: Any) -> Any:
        return shops[1](data)

    @blueprint.on("c", once=by_id)
    def handle(data: Any) -> Any:
        return shops[2](data)

    @blueprint.event(once=by_id)
    def d(data: Any) -> Any:
        return shops[3](data)

    socketio.register_blueprint(blueprint)
    client = connect()
    for event in "abcd":
        for _ in range(2):
            assert client.emit(event, {"id": 1}, callback=True) == {"number": 1}
    assert [len(shop.handled) for shop in shops] == [1] * 4


def test_a_plugin_that_wraps_handlers_leaves_it(shop: Shop, socketio: SocketIO, connect: Connect) -> None:
    seen = []

    def wrap(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any) -> Any:
            seen.append(args)
            return function(*args)

        return wrapped

    socketio.wrap_handlers(wrap)
    client = connect()
    assert [order(client, id=1), order(client, id=1)] == [{"number": 1}] * 2
    assert len(seen) == 1


@pytest.mark.parametrize("event", ["connect", "disconnect"])
def test_it_is_for_no_event_of_the_servers(socketio: SocketIO, event: str) -> None:
    with pytest.raises(TypeError, match=f"once= is for events that clients send, not for '{event}'"):
        socketio.on(event, once=by_id)
    with pytest.raises(TypeError, match="once= of event 'order' must be callable, not str"):
        socketio.on("order", once="id")  # type: ignore[arg-type]  # the mistake under test


def test_what_stands_around_a_handler_stands_around_repetitions(
    shop: Shop, socketio: SocketIO, connect: Connect
) -> None:
    seen: list[str] = []
    socketio.before_event()(lambda event, args: seen.append("before"))
    socketio.after_event()(lambda event, answer: {**answer, "after": len(seen)})
    client = connect()
    assert order(client, id=1) == {"number": 1, "after": 1}
    assert order(client, id=1) == {"number": 1, "after": 2}
    socketio.before_event()(lambda event, args: {"answer": "of before"})
    assert order(client, id=2) == {"answer": "of before", "after": 3} and len(shop.handled) == 1


def test_a_coroutine_function_is_handled_once(socketio: SocketIO, connect: Connect) -> None:
    shop = Shop()
    failing = [True]

    @socketio.on("order", once=by_id)
    async def handle(data: Any) -> Any:
        answer = shop(data)
        if failing.pop():
            failing.append(False)
            raise ZeroDivisionError
        return answer

    client = connect()
    with pytest.raises(ZeroDivisionError):
        order(client, id=1)
    failing[:] = [False, False]
    assert [order(client, id=1), order(client, id=1)] == [{"number": 2}] * 2


class Counter(Namespace):
    """Handles orders once, in methods."""

    def __init__(self, namespace: str = "/") -> None:
        super().__init__(namespace)
        self.shop = Shop()
        self.failing = 0

    @once(by_id)
    def on_order(self, data: Any) -> Any:
        answer = self.shop(data)
        if self.failing:
            self.failing -= 1
            raise ZeroDivisionError
        return answer

    @once(by_id)
    async def on_later(self, data: Any) -> Any:
        return self.on_order.__wrapped__(self, data)  # type: ignore[attr-defined]  # the method as it is written


@pytest.mark.parametrize("event", ["order", "later"])
def test_a_method_of_a_class_handles_an_event_once(socketio: SocketIO, connect: Connect, event: str) -> None:
    counter = Counter()
    socketio.on_namespace(counter)
    client, other = connect(), connect()
    counter.failing = 1
    with pytest.raises(ZeroDivisionError):
        client.emit(event, {"id": 1}, callback=True)
    for who in (client, other, client):
        assert who.emit(event, {"id": 1}, callback=True) == {"number": 2}
    assert client.emit(event, {"id": 2}, callback=True) == {"number": 3}
    assert len(counter.shop.handled) == 3


def test_a_class_for_all_namespaces_tells_them_and_its_events_apart(make_app: MakeApp) -> None:
    app, socketio = make_app(namespaces="*")
    counter = Counter("*")
    socketio.on_namespace(counter)
    for _ in range(2):
        for namespace in ("/a", "/b"):
            client = socketio.test_client(app, namespace)
            for event in ("order", "later"):
                client.emit(event, {"id": 1}, namespace=namespace, callback=True)
    assert len(counter.shop.handled) == 4


def test_a_method_that_is_called_for_no_event_is_called_each_time(socketio: SocketIO) -> None:
    counter = Counter()
    assert [counter.on_order({"id": 1}), counter.on_order({"id": 1})] == [{"number": 1}, {"number": 2}]


def test_classes_that_handle_once_are_known_to_the_doctor(socketio: SocketIO) -> None:
    assert not socketio.handlers.has_once
    socketio.on_namespace(Namespace("/plain"))
    assert not socketio.handlers.has_once
    socketio.on_namespace(Counter())
    assert socketio.handlers.has_once


def test_only_a_method_for_an_event_of_clients_can_be_decorated() -> None:
    def on_connect(self: Any) -> None: ...

    def order(data: Any) -> None: ...

    with pytest.raises(TypeError, match="once= is for events that clients send, not for 'connect'"):
        once(by_id)(on_connect)
    with pytest.raises(
        TypeError, match=r"not for 'order'; for a function write @socketio\.on\(event, once=\.\.\.\)"
    ):
        once(by_id)(order)
    with pytest.raises(TypeError, match="once= of event 'order' must be callable, not str"):
        once("id")(Counter.on_order)  # type: ignore[arg-type]  # the mistake under test


# ------------------------------------------------------------------------------------------------ time, and loss


def test_an_answer_is_remembered_for_its_time(make_app: MakeApp) -> None:
    app, socketio = make_app(once_ttl=0.3)
    shop = Shop()
    socketio.on_event("order", shop, once=by_id)
    client = socketio.test_client(app)
    assert [order(client, id=1), order(client, id=1)] == [{"number": 1}] * 2
    deadline_s = time.monotonic() + 5
    while order(client, id=1) == {"number": 1}:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    assert len(shop.handled) == 2


class Slow:
    """A handler that runs until it is told to end."""

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.count = 0

    def __call__(self, data: Any) -> Any:
        self.count += 1
        self.begun.set()
        assert self.go_on.wait(10)
        return self.count


@pytest.fixture
def slow(socketio: SocketIO) -> Iterator[Slow]:
    slow = Slow()
    socketio.on_event("order", slow, once=by_id)
    yield slow
    slow.go_on.set()


def in_thread(act: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(act()), daemon=True)
    thread.start()
    return thread, found


def test_a_repetition_waits_for_the_first(slow: Slow, connect: Connect) -> None:
    clients = [connect() for _ in range(3)]
    running = [in_thread(lambda client=client: order(client, id=1)) for client in clients]  # type: ignore[misc]
    assert slow.begun.wait(5)
    time.sleep(0.2)
    assert [found for _, found in running] == [[]] * 3
    slow.go_on.set()
    for thread, _ in running:
        thread.join(5)
    assert [found for _, found in running] == [[1]] * 3
    assert slow.count == 1


def test_the_lease_is_renewed_while_the_first_runs(
    slow: Slow, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once_module, "LEASE_S", 0.3)
    clients = connect(), connect()
    first = in_thread(lambda: order(clients[0], id=1))
    assert slow.begun.wait(5)
    second = in_thread(lambda: order(clients[1], id=1))
    time.sleep(1.2)
    assert slow.count == 1
    slow.go_on.set()
    for thread, _ in (first, second):
        thread.join(5)
    assert (first[1], second[1]) == ([1], [1])
    assert slow.count == 1


def test_a_repetition_does_not_wait_for_ever(
    slow: Slow, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once_module, "WAIT_S", 0.2)
    clients = connect(), connect()
    thread, _ = in_thread(lambda: order(clients[0], id=1))
    assert slow.begun.wait(5)
    assert order(clients[1], id=1) is None
    assert slow.count == 1
    slow.go_on.set()
    thread.join(5)
    assert order(clients[1], id=1) == 1


def test_what_a_server_left_behind_that_was_killed_is_handled_when_its_lease_ends(
    shop: Shop, socketio: SocketIO, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(once_module, "LEASE_S", 0.3)
    client = connect()
    store = socketio._binding().store
    add = store.add

    def found_pending(key: str, value: bytes, *, ttl_s: float) -> bytes | None:
        add(key, b"p of another server", ttl_s=0.3)
        monkeypatch.undo()
        return add(key, value, ttl_s=ttl_s)

    monkeypatch.setattr(store, "add", found_pending)
    began_s = time.monotonic()
    assert order(client, id=1) == {"number": 1}
    assert time.monotonic() - began_s > 0.25
    assert order(client, id=1) == {"number": 1}


def test_a_store_that_is_away_keeps_events_from_being_handled(
    shop: Shop, socketio: SocketIO, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any, **keywords: Any) -> Any:
        raise StoreUnavailable("the store is away")

    store = socketio._binding().store
    client = connect()
    with monkeypatch.context() as away:
        away.setattr(store, "add", fail)
        with pytest.raises(StoreUnavailable):
            order(client, id=1)
    assert shop.handled == []
    assert order(client, id=1) == {"number": 1}


def test_an_answer_that_the_store_does_not_take_is_sent_all_the_same(
    shop: Shop,
    socketio: SocketIO,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(*args: Any, **keywords: Any) -> Any:
        raise StoreUnavailable("the store is away")

    monkeypatch.setattr(socketio._binding().store, "put", fail)
    assert order(connect(), id=1) == {"number": 1}
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.getMessage() == (
        "an event was handled, and is handled again if it is sent again: StoreUnavailable: the store is away"
    )


def test_two_servers_with_one_store_handle_an_event_once(make_app: MakeApp) -> None:
    shop = Shop()
    clients = []
    for _ in range(2):
        app, socketio = make_app(store="memory://two-servers-once")
        socketio.on_event("order", shop, once=by_id)
        clients.append(socketio.test_client(app))
    assert [order(client, id=1) for client in (*clients, *clients)] == [{"number": 1}] * 4


def test_it_is_counted_what_has_come_of_them(make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> None:
    app, socketio = make_app(message_queue="memory://once-numbers")
    shop, told = Shop(), list[Any]()
    monkeypatch.setattr(once_module, "WAIT_S", 0.0)

    @socketio.on("order", once=by_id)
    def handle(data: Any) -> Any:
        if data["id"] == "inner":
            return other.emit("order", {"id": "inner"}, callback=True)
        if data["id"] == "fails":
            raise ZeroDivisionError
        return shop(data)

    @socketio.observe
    def socketio_event_repeated(sid: str, namespace: str, event: str) -> None:
        told.append((len(sid) > 10, namespace, event))

    client, other = socketio.test_client(app), socketio.test_client(app)
    assert socketio.load().once is None
    for number in (1, 1, 2, 1):
        order(client, id=number)
    with pytest.raises(ZeroDivisionError):
        order(client, id="fails")
    order(client, id="inner")
    away = StoreUnavailable("the store is away")
    with monkeypatch.context() as context:
        context.setattr(
            socketio._binding().store, "add", lambda *args, **keywords: (_ for _ in ()).throw(away)
        )
        with pytest.raises(StoreUnavailable):
            order(client, id=4)
    counted = socketio.load().once
    assert counted == OnceLoad(handled=3, repeated=2, failed=1, unanswered=1, store_errors=1)
    assert told == [(True, "/", "order")] * 2
    health = socketio.health()
    assert health is not None and health.once == counted
