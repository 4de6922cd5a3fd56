"""Clients that try to fill the log, or to end the server with what they make its handlers raise.

Each test looks at what a real server's process wrote meanwhile, and the bound is the assertion.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.servers import (
    MODE_KINDS,
    AppSpec,
    Server,
    ServerKind,
    kind_params,
    processor_s,
    serving,
    wait_until,
)
from support.wire.engine import Polling, WebSocket

FLOOD = 2_000
OPTIONS = {"max_http_buffer_size": 20_000}


@pytest.fixture(scope="module", params=kind_params(*MODE_KINDS))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(
        request.param, AppSpec(app="failing", options=OPTIONS), tmp_path_factory.mktemp("logs")
    ) as server:
        yield server


def join(server: Server, namespace: str = "") -> WebSocket:
    client = WebSocket(server.port)
    client.receive()
    client.send(f"40{namespace}")
    assert str(client.receive()).startswith(f"40{namespace}")
    return client


def flood(client: WebSocket, *events: str) -> None:
    """Send events again and again, and see that the client is served afterwards."""
    for _ in range(FLOOD // len(events)):
        for event in events:
            client.send(event)
    ask(client)


def ask(client: WebSocket) -> None:
    client.send('429["echo",1]')
    while client.receive(timeout_s=30) != "439[1]":
        pass


def written(server: Server, before: int, *parts: str) -> str:
    """Return what the server wrote since, once it has these parts."""
    assert wait_until(lambda: all(part in server.log_text()[before:] for part in parts), timeout_s=5), (
        server.log_text()[before:]
    )
    return server.log_text()[before:]


def test_a_missing_argument_is_one_line(server: Server) -> None:
    before = len(server.log_text())
    flood(join(server), '42["join"]')
    text = written(server, before, "was called with 0 arguments for client")
    assert text.count("\n") == 1 and "missing 1 required positional argument: 'room'" in text


def test_arguments_that_a_class_does_not_take_are_one_line(server: Server) -> None:
    before = len(server.log_text())
    client = join(server, "/class,")
    for _ in range(100):
        client.send('42/class,["join",1,2]')
    text = written(server, before, "was called with 2 arguments for client")
    assert text.count("\n") == 1 and "on_join() takes 2 positional arguments but 3 were given" in text


def test_an_answer_that_a_callback_does_not_take_is_one_line(server: Server) -> None:
    before = len(server.log_text())
    client = join(server)
    for _ in range(100):
        client.send('42["ask"]')
        question = str(client.receive())
        client.send(f"43{question[2 : question.index('[')]}[]")
    ask(client)
    text = written(server, before, "callback support.apps.failing")
    assert text.count("\n") == 1 and "was called with 0 arguments" in text


def test_error_handlers_hear_of_each(server: Server) -> None:
    before = len(server.log_text())
    client = join(server, "/told,")
    for _ in range(3):
        client.send('42/told,7["join"]')
        assert client.receive() == '43/told,7["TypeError"]'
    assert server.log_text()[before:] == ""


def test_an_error_of_a_handler_has_one_traceback(server: Server) -> None:
    before = len(server.log_text())
    flood(join(server), '42["divide",0]', '42["wrong"]')
    text = written(server, before, "ZeroDivisionError: ", "join() missing 1")
    assert text.count("Traceback") == 2
    assert text.count("failed for client") == 2


def test_what_an_error_quotes_starts_no_line(server: Server) -> None:
    before = len(server.log_text())
    client = join(server)
    client.send('42["leave","x\\nWARNING forged\\r\\u001b[2J\\u2028WARNING forged' + 15_000 * "y" + '"]')
    ask(client)
    text = written(server, before, "ValueError: no room x\n  | WARNING forged")
    assert "WARNING forged" not in [line[:14] for line in text.splitlines()]
    assert "\r" not in text and "\x1b" not in text
    assert len(text) < 5_000


def test_names_of_events_are_no_kinds(server: Server) -> None:
    before = len(server.log_text())
    client = join(server, "/any,")
    for number in range(FLOOD):
        client.send(f'42/any,["{number}"]')
    client.send("40")
    ask(client)
    assert written(server, before, "ValueError('0')").count("Traceback") == 1


def test_messages_that_are_too_large_are_told_once(server: Server) -> None:
    before = len(server.log_text())
    for _ in range(30):
        client = Polling(server.port)
        assert client.post("4" * 30_000).status == 413
    text = written(server, before, "exceeds max_http_buffer_size=20000")
    assert text.count("exceeds") == 1


def test_what_ends_programs_ends_no_server(server: Server) -> None:
    threads = server.usage().threads
    client = join(server)
    flood(client, '42["interrupt"]', '42["exit"]')
    text = server.log_text()
    assert text.count("KeyboardInterrupt()") == 1 and text.count("SystemExit(3)") == 1
    ask(join(server))
    assert server.process.poll() is None
    assert server.usage().threads <= threads + 8


def test_nor_does_it_outside_of_event_handlers(server: Server) -> None:
    before = len(server.log_text())
    client = WebSocket(server.port)
    client.receive()
    client.send("40/interrupted,")
    assert str(client.receive()).startswith("44/interrupted,")
    client.send("40/ending,")
    assert str(client.receive()).startswith("40/ending,")
    client.send('42/ending,["in the background"]')
    question = str(client.receive())
    client.send(f"43/ending,{question[10 : question.index('[')]}[]")
    client.send("41/ending,")
    client.send("40")
    assert str(client.receive()).startswith("40{")
    ask(client)
    ask(join(server))
    handlers = (
        "handler of event 'connect'",
        "handler of event 'disconnect'",
        "callback support.apps.failing",
    )
    written(server, before, *handlers, "in interrupt\n")
    assert server.process.poll() is None


@pytest.mark.parametrize("kind", kind_params(*MODE_KINDS))
def test_ctrl_c_in_a_handler_ends_the_server(kind: ServerKind, tmp_path: Path) -> None:
    with serving(kind, AppSpec(app="failing"), tmp_path) as server:
        client = join(server)
        # A computing greenlet lets no view answer: the process's own time says that it has begun.
        began = processor_s(server.worker_pid)
        client.send('42["compute",3]')
        assert wait_until(lambda: processor_s(server.worker_pid) - began > 0.3, timeout_s=10)
        server.stop(signal.SIGINT, timeout_s=10)
