"""Sending: arguments, recipients, keywords, acknowledgements and calls."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import socketio as protocol_library
from flask import Flask

import flask_socketio_core as library
from flask_socketio_core import SocketIO
from flask_socketio_core.errors import CallTimeout, ClientGone, ContextError, InvalidData
from support.flask_apps import Connect, request
from support.servers import wait_until

NOTHING = ()


@pytest.mark.parametrize(
    ("args", "received"),
    [
        (NOTHING, []),
        ((None,), []),
        (("one",), ["one"]),
        ((("one", 2),), ["one", 2]),
        (("one", 2), ["one", 2]),
        (([1, 2],), [[1, 2]]),
        (((),), []),
        (({"a": b"bytes"},), [{"a": b"bytes"}]),
        ((0,), [0]),
    ],
)
def test_arguments_arrive(
    socketio: SocketIO, connect: Connect, args: tuple[Any, ...], received: list[Any]
) -> None:
    client = connect()
    socketio.emit("event", *args)
    assert client.get_received() == [{"name": "event", "args": received, "namespace": "/"}]


def test_data_may_be_named_as_in_python_socketio(socketio: SocketIO, connect: Connect) -> None:
    client = connect()
    socketio.emit("event", data={"a": 1})  # type: ignore[arg-type]  # for old code, not for new
    assert client.get_received()[0]["args"] == [{"a": 1}]


@pytest.mark.parametrize(
    ("function", "keyword", "message"),
    [
        ("socketio.emit", "brodcast", r"SocketIO.emit\(\) got an unexpected keyword argument 'brodcast'"),
        ("socketio.emit", "rooom", r"SocketIO.emit\(\) .* 'rooom', did you mean 'room'"),
        ("socketio.send", "include_sef", r"SocketIO.send\(\) .* did you mean 'include_self'"),
        ("socketio.call", "time_out", r"SocketIO.call\(\) .* did you mean 'timeout'"),
        ("emit", "brodcast", r"emit\(\) .* did you mean 'broadcast'"),
        ("send", "jso", r"send\(\) .* did you mean 'json'"),
        ("call", "tiemout", r"call\(\) .* did you mean 'timeout'"),
        ("socketio.emit", "broadcast", r"have no broadcast=: without to= they send to everybody"),
    ],
)
def test_unknown_keyword_is_refused(socketio: SocketIO, function: str, keyword: str, message: str) -> None:
    owner, _, name = function.rpartition(".")
    call: Callable[..., Any] = getattr(socketio if owner else library, name)
    with pytest.raises(TypeError, match=message):
        call("event", **{keyword: True})


@pytest.fixture
def crowd(socketio: SocketIO, connect: Connect) -> dict[str, Any]:
    """Three clients by name; each joins a room of its own name and "all", and knows its sid."""

    @socketio.on("join")
    def join(*rooms: str) -> str:
        for room in rooms:
            library.join_room(room)
        sid: str = request.sid
        return sid

    clients = {name: connect() for name in "abc"}
    for name, client in clients.items():
        client.sid = client.emit("join", name, "all", callback=True)  # type: ignore[attr-defined]  # for the tests
    return clients


def received_by(crowd: dict[str, Any]) -> str:
    return "".join(name for name, client in crowd.items() if client.get_received())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "abc"),
        ({"to": "a"}, "a"),
        ({"room": "b"}, "b"),
        ({"to": ["a", "b"]}, "ab"),
        ({"to": ("all", "a")}, "abc"),
        ({"to": {"a", "c"}}, "ac"),
        ({"to": []}, ""),  # Flask-SocketIO sends to everybody
        ({"to": ""}, ""),  # so it does here
        ({"to": "nobody"}, ""),
    ],
)
def test_recipients(
    socketio: SocketIO, crowd: dict[str, Any], options: dict[str, Any], expected: str
) -> None:
    socketio.emit("event", **options)
    assert received_by(crowd) == expected


def test_each_client_receives_an_event_once(socketio: SocketIO, crowd: dict[str, Any]) -> None:
    socketio.emit("event", to=["all", "a", crowd["a"].sid])
    assert len(crowd["a"].get_received()) == 1


def test_skipped_clients(socketio: SocketIO, crowd: dict[str, Any]) -> None:
    socketio.emit("event", skip_sid=crowd["a"].sid)
    assert received_by(crowd) == "bc"
    socketio.emit("event", to="all", skip_sid=[crowd["a"].sid, crowd["b"].sid])
    assert received_by(crowd) == "c"


def sid_of_a(crowd: dict[str, Any]) -> str:
    sid: str = crowd["a"].sid
    return sid


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"exclude": "a"}, "bc"),
        ({"exclude": ["a", "nobody", "c"]}, "b"),
        ({"to": "all", "exclude": "all"}, ""),
        ({"to": ["all", "a"], "exclude": ("b",)}, "ac"),
        ({"exclude": []}, "abc"),
        ({"exclude": sid_of_a}, "bc"),
        ({"exclude": "b", "skip_sid": sid_of_a}, "c"),
        ({"exclude": "b", "local": True}, "ac"),
    ],
)
def test_members_of_rooms_are_left_out(
    socketio: SocketIO, crowd: dict[str, Any], options: dict[str, Any], expected: str
) -> None:
    options = {name: value(crowd) if callable(value) else value for name, value in options.items()}
    socketio.emit("event", **options)
    assert received_by(crowd) == expected
    socketio.send("text", **options)
    assert received_by(crowd) == expected
    socketio.on_event("say", lambda: library.emit("event", broadcast="to" not in options, **options))
    crowd["c"].emit("say")
    assert received_by(crowd) == expected


def test_clients_are_selected_step_by_step(socketio: SocketIO, crowd: dict[str, Any]) -> None:
    both = socketio.to("a", ["b"])
    both.exclude("b").emit("event", 1)
    assert received_by(crowd) == "a"
    both.to(crowd["c"].sid).local.volatile.emit("event")  # each step leaves the earlier ones as they were
    assert received_by(crowd) == "abc"
    both.emit("event")
    assert received_by(crowd) == "ab"
    socketio.exclude("a", "b").emit("event")
    assert received_by(crowd) == "c"
    socketio.to().emit("event")  # nobody, as with to=[]
    assert received_by(crowd) == ""
    with pytest.raises(AttributeError):
        both._local = True  # type: ignore[misc]


@pytest.mark.parametrize("function", ["socketio.emit", "emit"])
def test_sender_may_be_left_out(socketio: SocketIO, crowd: dict[str, Any], function: str) -> None:
    send = socketio.emit if function == "socketio.emit" else library.emit
    socketio.on_event("say", lambda: send("event", to="all", include_self=False))
    crowd["b"].emit("say")
    assert received_by(crowd) == "ac"


def test_sender_cannot_be_left_out_where_there_is_none(socketio: SocketIO) -> None:
    with pytest.raises(ContextError, match=r"SocketIO.emit\(\) with include_self=False .* pass skip_sid="):
        socketio.emit("event", include_self=False)


def test_context_functions_answer_the_sender_by_default(socketio: SocketIO, crowd: dict[str, Any]) -> None:
    socketio.on_event("say", lambda: library.emit("event"))
    crowd["b"].emit("say")
    assert received_by(crowd) == "b"
    socketio.on_event("say", lambda: library.send("text", broadcast=True))
    crowd["b"].emit("say")
    assert received_by(crowd) == "abc"


def test_messages_are_events_named_message_and_json(socketio: SocketIO, connect: Connect) -> None:
    client = connect()
    socketio.send("text")
    socketio.send({"a": 1}, json=True)
    assert [(event["name"], event["args"]) for event in client.get_received()] == [
        ("message", "text"),
        ("json", {"a": 1}),
    ]


def test_close_room_takes_everybody_out(socketio: SocketIO, crowd: dict[str, Any]) -> None:
    socketio.close_room("all")
    socketio.emit("event", to="all")
    assert received_by(crowd) == ""


# acknowledgements


def test_callback_of_a_handler_runs_in_the_context_of_its_client(
    socketio: SocketIO, crowd: dict[str, Any]
) -> None:
    seen: list[Any] = []

    def acknowledged(*args: Any) -> None:
        seen.append([args, request.sid, request.event])

    socketio.on_event("ask", lambda sid: socketio.emit("question", to=sid, callback=acknowledged))
    crowd["b"].on("question", lambda: ("yes", 1))
    crowd["a"].emit("ask", crowd["b"].sid)
    assert seen == [[("yes", 1), crowd["a"].sid, {"message": None, "args": ("yes", 1)}]]


def test_callback_from_elsewhere_runs_in_a_worker(socketio: SocketIO, crowd: dict[str, Any]) -> None:
    threads: list[str] = []
    crowd["a"].on("question", lambda: None)
    socketio.emit(
        "question", to=crowd["a"].sid, callback=lambda: threads.append(threading.current_thread().name)
    )
    assert wait_until(lambda: bool(threads), timeout_s=15)
    assert threads != [threading.current_thread().name]


def test_failing_callback_is_an_error_of_its_namespace(socketio: SocketIO, crowd: dict[str, Any]) -> None:
    errors: list[str] = []
    socketio.on_error_default(lambda error: errors.append(str(error)))

    def fail() -> None:
        raise ValueError("on purpose")

    socketio.on_event("ask", lambda: library.emit("question", callback=fail))
    crowd["a"].on("question", lambda: None)
    crowd["a"].emit("ask")
    assert errors == ["on purpose"]


def test_a_time_out_tells_what_a_call_would_raise(
    app: Flask, socketio: SocketIO, crowd: dict[str, Any]
) -> None:
    ends: list[Any] = []

    def ask(event: str, to: str, timeout: float) -> None:
        socketio.emit(event, to=to, callback=ends.append, timeout=timeout, on_timeout=ends.append)

    crowd["a"].on("in time", lambda: "yes")
    ask("in time", crowd["a"].sid, 60)
    assert wait_until(lambda: ends == ["yes"], timeout_s=15)
    ends.clear()
    for client in crowd.values():
        client._acknowledge = lambda *args: None  # it hears the question and does not answer
    socketio.on_event("ask", lambda: ask("in a handler", "all", 0.05))
    crowd["b"].emit("ask")
    ask("late", crowd["a"].sid, 0.05)
    ask("to nobody", "nobody", 60)
    ask("gone", crowd["c"].sid, 60)
    crowd["c"].disconnect()
    assert wait_until(lambda: len(ends) == 4, timeout_s=15)
    assert {(type(end).__name__, str(end).partition(" within")[0]) for end in ends} == {
        ("CallTimeout", "client 'all' did not acknowledge 'in a handler'"),
        ("CallTimeout", f"client '{crowd['a'].sid}' did not acknowledge 'late'"),
        ("ClientGone", f"client '{crowd['c'].sid}' left before it acknowledged 'gone'"),
        ("ClientGone", "cannot call 'to nobody': nobody is connected as 'nobody' to namespace '/'"),
    }
    engine = socketio.binding_of(app).engine
    assert engine is not None
    for name in "ab":
        client = engine.server.client(crowd[name].sid)
        assert not client.gone_callbacks and not client.acks


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"to": "a", "timeout": 5}, r"timeout= is for an acknowledgement: pass callback= or on_timeout="),
        ({"to": "a", "on_timeout": print}, "on_timeout= needs timeout="),
        ({"timeout": 5, "callback": print}, "one client or one room: give its sid or name as to="),
        ({"to": ["a", "b"], "timeout": 5, "callback": print}, "one client or one room"),
    ],
)
def test_a_time_out_without_what_it_is_for_is_an_error(
    socketio: SocketIO, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        socketio.emit("event", **options)


# calls


@pytest.mark.parametrize(
    ("answer", "result"), [(None, None), (5, 5), ((1, 2), (1, 2)), ([1], [1]), (b"x", b"x")]
)
def test_call_returns_what_is_acknowledged(
    socketio: SocketIO, crowd: dict[str, Any], answer: Any, result: Any
) -> None:
    crowd["a"].on("question", lambda *args: answer)
    assert socketio.call("question", 1, to=crowd["a"].sid) == result


def test_call_in_a_handler_asks_its_client(socketio: SocketIO, crowd: dict[str, Any]) -> None:
    socketio.on_event("ask", lambda value: library.call("question", value))
    crowd["a"].on("question", lambda value: value + 1)
    assert crowd["a"].emit("ask", 1, callback=True) == 2


def test_call_times_out(socketio: SocketIO, crowd: dict[str, Any]) -> None:
    with pytest.raises(
        CallTimeout, match=r"client '.*' did not acknowledge 'question' within 0\.05 s"
    ) as caught:
        socketio.call("question", to=crowd["a"].sid, timeout=0.05)
    assert isinstance(caught.value, (TimeoutError, protocol_library.exceptions.TimeoutError))


def test_call_ends_as_soon_as_the_client_leaves(socketio: SocketIO, crowd: dict[str, Any]) -> None:
    asked = threading.Event()
    crowd["a"].on("question", asked.set)
    crowd["a"]._acknowledge = lambda *args: None  # it hears the question and does not answer
    leaving = threading.Thread(target=lambda: asked.wait(5) and crowd["a"].disconnect())
    leaving.start()
    began = time.monotonic()
    with pytest.raises(ClientGone, match="left before it acknowledged 'question'"):
        socketio.call("question", to=crowd["a"].sid)
    assert time.monotonic() - began < 5
    leaving.join()


def test_call_to_nobody_fails_at_once(socketio: SocketIO) -> None:
    with pytest.raises(ClientGone, match="nobody is connected as 'nobody' to namespace '/'"):
        socketio.call("question", to="nobody")


@pytest.mark.parametrize(
    "ask", [lambda socketio: socketio.call("question"), lambda socketio: socketio.server.call("q")]
)
def test_call_to_everybody_is_refused(socketio: SocketIO, ask: Callable[[SocketIO], object]) -> None:
    with pytest.raises(ValueError, match="asks one client: pass its sid as to="):
        ask(socketio)


def test_all_are_called(socketio: SocketIO, crowd: dict[str, Any]) -> None:
    for name in "ab":
        crowd[name].on("question", lambda *args, name=name: (name, *args))
    crowd["c"]._acknowledge = lambda *args: None  # it hears the question and does not answer
    sids = {name: client.sid for name, client in crowd.items()}
    both = {sids["a"]: ("a", 1), sids["b"]: ("b", 1)}
    assert socketio.call_all("question", 1, to=["a", "b"]).answers == both
    assert socketio.to("all").exclude("c").local.call_all("question", 1).complete
    found = socketio.call_all("question", 1, timeout=0.2, on_timeout="return")
    assert (found.answers, found.missing, found.complete) == (both, {sids["c"]: "silent"}, False)
    with pytest.raises(
        CallTimeout, match=r"1 of 3 clients did not acknowledge 'question' within 0\.2 s"
    ) as caught:
        socketio.call_all("question", 1, to="all", timeout=0.2)
    assert caught.value.answers == found
    later: list[Any] = []
    socketio.on_event(
        "ask",
        lambda: socketio.call_all(
            "question", to="all", include_self=False, timeout=60, callback=later.append
        ),
    )
    crowd["a"].emit("ask")
    assert later == []
    crowd["c"].disconnect()
    assert wait_until(lambda: bool(later), timeout_s=15)
    assert (later[0].answers, later[0].missing) == ({sids["b"]: "b"}, {sids["c"]: "gone"})
    assert len(later) == 1


def test_what_call_all_cannot_do_is_an_error(socketio: SocketIO, crowd: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected 'raise' or 'return'"):
        socketio.call_all("question", on_timeout="rais")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="cannot be volatile"):
        socketio.to("all").volatile.call_all("question")
    with pytest.raises(InvalidData, match="event 'question'"):
        socketio.call_all("question", object())
    with pytest.raises(ContextError, match="include_self=False"):
        socketio.call_all("question", include_self=False)


def test_calls_leave_nothing_with_a_client_that_stays(
    app: Flask, socketio: SocketIO, crowd: dict[str, Any]
) -> None:
    crowd["a"].on("question", lambda: None)
    for _ in range(3):
        socketio.call("question", to=crowd["a"].sid)
    engine = socketio.binding_of(app).engine
    assert engine is not None
    client = engine.server.client(crowd["a"].sid)
    assert not client.gone_callbacks and not client.acks
