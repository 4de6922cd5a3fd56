"""``async def`` handlers with a real client, in every mode."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import socketio as upstream

from support.clients import python_client
from support.servers import (
    MODE_KINDS,
    AppSpec,
    Server,
    ServerKind,
    kind_params,
    serving,
    wait_until,
)

SPACES = ["/", "/methods", "/around"]
NAPS = 100


@pytest.fixture(scope="module", params=kind_params(*MODE_KINDS))
def mode_kind(request: pytest.FixtureRequest) -> ServerKind:
    found: ServerKind = request.param
    return found


@pytest.fixture(scope="module")
def running(mode_kind: ServerKind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(
        mode_kind,
        AppSpec(app="coroutines", options={"max_loop_block": 0.3}),
        tmp_path_factory.mktemp("coroutines"),
    ) as server:
        yield server


@pytest.fixture
def server(running: Server) -> Server:
    running.begin_test()
    return running


@pytest.fixture
def client(server: Server) -> Iterator[upstream.Client]:
    client = python_client()
    client.on("question", lambda value: value + 1)
    client.connect(server.url, transports=["websocket"], namespaces=SPACES)
    yield client
    client.disconnect()


def test_a_hundred_that_sleep_do_so_at_the_same_time(client: upstream.Client) -> None:
    client.call("nap", 0.01)  # the loop is there
    answers: list[Any] = []
    done = threading.Event()

    def on_ack(*answer: Any) -> None:
        answers.append(answer)
        if len(answers) == NAPS:
            done.set()

    began_s = time.monotonic()
    for _ in range(NAPS):
        client.emit("nap", 0.2, callback=on_ack)
    assert done.wait(15)
    took_s = time.monotonic() - began_s
    assert {answer[1] for answer in answers} == {client.get_sid()}
    assert took_s < NAPS * 0.2 / 4, f"{NAPS} naps of 0.2 s took {took_s:.2f} s"
    assert client.call("naps") == NAPS + 1, "the session is shared, and a plain handler sees it"


def test_what_is_emitted_inside_comes_before_the_ack(client: upstream.Client) -> None:
    heard: list[Any] = []
    client.on("napped", heard.append)
    assert client.call("nap", 0.01) == (0.01, client.get_sid())
    assert heard == [0.01]


@pytest.mark.parametrize(
    ("event", "answer"),
    [
        ("ask", 2),
        ("fetch", "200"),
        ("reject", "rejected"),
        ("ask nobody", "client '{sid}' did not acknowledge 'unanswered' within 0.1 s"),
        ("in thread", "{sid}"),
    ],
)
def test_what_a_coroutine_can_do(client: upstream.Client, event: str, answer: Any) -> None:
    sid = client.get_sid()
    client.on("unanswered", lambda: time.sleep(0.3))
    assert client.call(event, timeout=10) == (answer.format(sid=sid) if isinstance(answer, str) else answer)


def test_a_task_goes_on_after_its_handler(client: upstream.Client) -> None:
    later: list[Any] = []
    client.on("later", later.append)
    assert client.call("leave behind") == "over"
    assert wait_until(lambda: later == [client.get_sid()], timeout_s=5)


@pytest.mark.parametrize("event", ["block", "compute"])
def test_one_that_blocks_the_loop_is_reported(server: Server, client: upstream.Client, event: str) -> None:
    client.call(event, 0.8)
    report = f"by the handler of event '{event}' on namespace '/', which stops every coroutine meanwhile"
    assert wait_until(lambda: report in server.log_text(), timeout_s=10), server.log_text()


def test_a_callback_may_be_a_coroutine_function(client: upstream.Client) -> None:
    heard: list[Any] = []
    client.on("called back", heard.append)
    client.emit("call back")
    assert wait_until(lambda: sorted(heard) == [11, 20], timeout_s=5)


def test_all_are_called_while_no_worker_waits(client: upstream.Client) -> None:
    answers, complete, refusal = client.call("call all", timeout=30)
    assert (answers, complete) == ([11], True)
    assert "await socketio.call_all_async(...)" in refusal


def test_what_it_raises_is_logged_and_torn_down_as_of_any_handler(
    server: Server, client: upstream.Client
) -> None:
    client.emit("fail")
    torn_down = ["teardown", "fail", {"exception": "ValueError", "text": "on purpose"}]
    assert wait_until(lambda: torn_down in server.journal(), timeout_s=5)
    assert wait_until(
        lambda: "handler of event 'fail': support.apps.coroutines" in server.log_text(), timeout_s=5
    )


def test_methods_of_a_class_may_be_coroutine_functions(client: upstream.Client) -> None:
    said: list[Any] = []
    client.on("said", said.append, namespace="/methods")
    assert client.call("say", "hi", namespace="/methods") == ["hi", client.get_sid("/methods")]
    assert said == ["hi"]
    assert client.call("fail", namespace="/methods") == "handled KeyError('on purpose')"


@pytest.mark.parametrize(
    ("event", "given", "answer", "failure"),
    [
        ("say", "go", "go said, then after", None),
        ("say", "stop", "answered before, then after", None),
        ("plain", "go", "go plain, then after", None),
        ("fail", None, "error handler: KeyError('there')", {"exception": "KeyError", "text": "'there'"}),
    ],
)
def test_what_stands_around_may_be_coroutine_functions(
    server: Server, client: upstream.Client, event: str, given: str | None, answer: str, failure: Any
) -> None:
    assert client.call(event, given, namespace="/around") == answer
    assert ["end", event, failure] in server.wait_journal("end")


@pytest.mark.parametrize(
    ("auth", "refusal"),
    [
        ({"refuse": "plainly"}, {"message": "Connection rejected by server"}),
        ({"refuse": "with data"}, {"message": "not today", "data": 5}),
    ],
)
def test_connect_handlers_refuse(server: Server, auth: dict[str, str], refusal: dict[str, Any]) -> None:
    client = python_client()
    refusals: list[Any] = []
    client.on("connect_error", refusals.append)
    with pytest.raises(upstream.exceptions.ConnectionError):
        client.connect(server.url, auth=auth, transports=["websocket"], wait_timeout=10)
    assert refusals[0] == refusal
    client.disconnect()


def test_the_rooms_can_be_read_until_the_disconnect_handler_is_over(server: Server) -> None:
    client = python_client()
    client.connect(server.url, transports=["websocket"])
    sid = client.get_sid()
    client.disconnect()
    (entry,) = (entry for entry in server.wait_journal("disconnect") if entry[0] == "disconnect")
    assert entry[2] == [sid]


def test_a_forked_child_has_a_loop_of_its_own_and_nothing_of_the_parents(
    server: Server, client: upstream.Client
) -> None:
    client.call("nap", 0.01)
    said, given_back = json.loads(server.get("/fork", timeout_s=15).body)
    assert said == "awaited"
    assert given_back >= 3, "the selector's and both of the self-pipe's"
    assert client.call("nap", 0.01) == (0.01, client.get_sid()), "the parent's loop goes on"


@pytest.mark.parametrize("kind", kind_params(*MODE_KINDS))
def test_in_order_the_next_event_waits_for_a_coroutine(kind: ServerKind, tmp_path: Path) -> None:
    with serving(kind, AppSpec(app="coroutines", options={"async_handlers": "ordered"}), tmp_path) as server:
        client = python_client()
        client.connect(server.url, transports=["websocket"])
        order: list[float] = []
        done = threading.Event()

        def on_naps(naps: int) -> None:
            order.append(naps)
            done.set()

        for seconds in (0.3, 0.2, 0.01):
            client.emit("nap", seconds, callback=lambda *answer: order.append(answer[0]))
        client.emit("naps", callback=on_naps)
        assert done.wait(10)
        assert order == [0.3, 0.2, 0.01, 3]
        client.emit("for ever")
        server.wait_journal("for ever")
        client.disconnect()  # which does not end what it has begun
        began_s = time.monotonic()
        assert server.stop() is not None
        assert time.monotonic() - began_s < 15
        assert "cancelled in the end" in server.log_text(), "what runs at the end is cancelled"
