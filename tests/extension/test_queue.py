"""Several ``SocketIO`` objects on one message queue, with and without an application."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from types import SimpleNamespace
from typing import Any

import pytest
import socketio as protocol_library

from flask_socketio_core import SocketIO, SocketIOTestClient
from flask_socketio_core.app.client_managers import adopt
from flask_socketio_core.common.options import build
from flask_socketio_core.errors import ClientGone, InvalidOption, SelectionError
from support.flask_apps import MakeApp, request
from support.programs import run_program
from support.servers import wait_until


@pytest.fixture
def url(request: pytest.FixtureRequest) -> str:
    """A queue inside this process that no other test uses."""
    return f"memory://{abs(hash(request.node.nodeid))}"


@pytest.fixture
def pair(make_app: MakeApp, url: str) -> list[SocketIOTestClient]:
    """Two servers on one queue, with a client each."""
    clients = []
    for name in ("one", "two"):
        app, socketio = make_app(message_queue=url)
        socketio.on_event("sid", lambda: request.sid)
        socketio.on_event("all", lambda socketio=socketio, name=name: socketio.emit("news", name))
        clients.append(socketio.test_client(app))
        cluster = socketio.binding_of(app).cluster
        assert cluster is not None and cluster._link.listener.wait(5)
    return clients


def test_broadcast_reaches_the_clients_of_both_servers(pair: list[SocketIOTestClient]) -> None:
    pair[0].emit("all")
    assert pair[0].get_received()[0]["args"] == ["one"]  # our own clients wait for no broker
    assert pair[1].wait_for("news")["args"] == ["one"]


def test_client_elsewhere_can_be_called_and_disconnected(pair: list[SocketIOTestClient]) -> None:
    sid = pair[1].emit("sid", callback=True)
    pair[1].on("question", lambda value: (value, b"bytes"))
    assert pair[0].socketio.call("question", 1, to=sid, timeout=5) == (1, b"bytes")
    pair[0].socketio.server.enter_room(sid, "room")
    pair[0].socketio.emit("news", "to the room", to="room")
    assert pair[1].wait_for("news")["args"] == ["to the room"]


def test_ignoring_the_queue_stays_in_this_process(pair: list[SocketIOTestClient]) -> None:
    pair[0].socketio.emit("news", "here", ignore_queue=True)
    pair[0].socketio.emit("news", "here, too", local=True)
    pair[0].socketio.emit("news", "everywhere")
    assert [event["args"] for event in pair[0].get_received()] == [["here"], ["here, too"], ["everywhere"]]
    assert pair[1].wait_for("news")["args"] == ["everywhere"]


def test_a_process_that_only_sends_has_no_clients_of_its_own(
    pair: list[SocketIOTestClient], url: str
) -> None:
    emitter = SocketIO(message_queue=url)
    emitter.emit("news", "to nobody", local=True)
    emitter.emit("news", "to nobody", ignore_queue=True)
    with pytest.raises(ClientGone, match="this process only sends"):
        emitter.call("question", to=pair[0].emit("sid", callback=True), local=True)
    emitter.emit("news", "everywhere")
    assert [client.wait_for("news")["args"] for client in pair] == [["everywhere"]] * 2


def test_a_time_out_holds_for_clients_of_other_servers(pair: list[SocketIOTestClient], url: str) -> None:
    ends: list[Any] = []
    sids = [client.emit("sid", callback=True) for client in pair]
    pair[1].on("question", lambda: "yes")
    pair[0]._acknowledge = lambda *args: None  # type: ignore[method-assign]  # it does not answer
    emitter = SocketIO(message_queue=url, async_mode="threading")
    for sender, sid, timeout in (
        (pair[0].socketio, sids[1], 60),
        (emitter, sids[1], 60),
        (emitter, sids[0], 0.1),
        (emitter, "nobody", 0.1),
        (pair[1].socketio, sids[0], 60),
    ):
        sender.emit("question", to=sid, callback=ends.append, timeout=timeout, on_timeout=ends.append)
    assert wait_until(lambda: len(ends) == 4, timeout_s=15)
    pair[0].disconnect()
    assert wait_until(lambda: len(ends) == 5, timeout_s=15)
    assert [end if isinstance(end, str) else type(end) for end in ends].count("yes") == 2
    assert [type(end).__name__ for end in ends if end != "yes"] == [
        "CallTimeout",
        "CallTimeout",
        "ClientGone",
    ]
    for socketio in (pair[0].socketio, pair[1].socketio, emitter):
        cluster = socketio._binding().cluster
        assert cluster is not None and len(cluster._link.acks) == 0
    emitter.close()


def test_process_without_an_application_sends(pair: list[SocketIOTestClient], url: str) -> None:
    emitter = SocketIO(message_queue=url)
    emitter.emit("news", {"a": b"bytes"})
    for client in pair:
        assert client.wait_for("news")["args"] == [{"a": b"bytes"}]


def test_process_without_an_application_has_no_need_of_a_hub(url: str) -> None:
    emitter = SocketIO(message_queue=url)
    assert not emitter._binding().mode.capabilities.green


def test_emitter_becomes_a_server_when_it_gets_an_application(make_app: MakeApp, url: str) -> None:
    app, _ = make_app()
    socketio = SocketIO(message_queue=url, async_mode="threading", path="second")
    socketio.init_app(app)
    assert socketio.test_client(app).is_connected()


@pytest.mark.skipif(find_spec("gevent") is None, reason="no mode but threading is installed")
def test_an_emitter_that_gets_an_application_serves_with_what_is_best_for_serving() -> None:
    ended = run_program("""
        import warnings
        warnings.simplefilter("ignore")  # eventlet's advice to leave it
        from flask import Flask
        from flask_socketio_core import SocketIO

        seen = []
        emitter = SocketIO(message_queue="memory://")

        @emitter.observe
        def socketio_emit(event):
            seen.append(event)

        served = Flask("served")
        emitter.init_app(served)
        emitter.emit("e")
        print(emitter.async_mode == SocketIO(Flask("other"), message_queue="memory://").async_mode != "threading", seen)
        """)
    assert ended.stdout == "True ['e']\n", ended.stderr


@pytest.mark.parametrize("scheme", ["reddis", "valkeys2", "nosuch"])
def test_unknown_queue_is_refused_at_once(scheme: str) -> None:
    with pytest.raises(SelectionError, match=rf"message_queue='{scheme}://\.\.\.'"):
        SocketIO(message_queue=f"{scheme}://host")


# client managers


def manager(name: str, **attributes: Any) -> Any:
    return type(name, (SimpleNamespace,), {"_publish": None})(
        **{"channel": "socketio", "get_participants": None, **attributes}
    )


def options_with(client_manager: Any) -> Any:
    return adopt(build({"client_manager": client_manager}))


@pytest.mark.parametrize(
    ("made", "url"),
    [
        (lambda: protocol_library.RedisManager("redis://host:1/2", channel="socketio"), "redis://host:1/2"),
        (lambda: manager("KombuManager", url="amqp://host//", exchange_options={}), "amqp://host//"),
        (lambda: manager("KombuManager", url="redis://host", exchange_options={}), "kombu+redis://host"),
        (lambda: manager("KafkaManager", kafka_urls=["a:1", "b:2"]), "kafka://a:1,b:2"),
    ],
)
def test_manager_of_python_socketio_becomes_the_same_queue(made: Callable[[], Any], url: str) -> None:
    options = options_with(made())
    assert (options.message_queue, options.channel, options.client_manager) == (url, "socketio", None)


def test_manager_for_one_process_becomes_no_queue() -> None:
    options = options_with(protocol_library.Manager())
    assert options.message_queue is None and options.client_manager is None


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (
            lambda: manager("RedisManager", redis_url="redis://h", redis_options={"a": 1}),
            "redis_options would be lost",
        ),
        (lambda: manager("ZmqManager"), "it has no URL"),
        (object, "it is none of python-socketio's managers"),
    ],
)
def test_manager_that_cannot_be_taken_over_is_refused(made: Callable[[], Any], message: str) -> None:
    with pytest.raises(
        InvalidOption, match=rf"client_manager=\w+ cannot be turned .*{message}.*pass message_queue="
    ):
        options_with(made())


def test_manager_is_taken_over_by_the_constructor(make_app: MakeApp) -> None:
    app, socketio = make_app(client_manager=manager("Memory", url="memory://adopted", channel="mine"))
    options = socketio.binding_of(app).options
    assert (options.message_queue, options.channel) == ("memory://adopted", "mine")
