"""Coroutine functions as handlers, as far as that needs no server."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import sys
import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import Any

import pytest
from flask import Flask, current_app, request, session

from flask_socketio_core import EventRejected, Namespace, SocketIO, emit
from flask_socketio_core.app.dispatch import Dispatcher
from flask_socketio_core.app.handlers import may_await
from support.flask_apps import Connect
from support.servers import wait_until


def dispatcher_of(socketio: SocketIO, app: Flask) -> Dispatcher:
    dispatcher = socketio.binding_of(app).dispatcher
    assert dispatcher is not None
    return dispatcher


def is_gone(thread: int) -> bool:
    return thread not in sys._current_frames()


def test_the_test_client_returns_when_a_coroutine_is_over(socketio: SocketIO, connect: Connect) -> None:
    @socketio.on("connect")
    async def join() -> None:
        await asyncio.sleep(0.01)
        session["joined"] = True

    @socketio.on("say")
    async def say(text: str) -> list[Any]:
        await asyncio.sleep(0.01)
        emit("said", text)
        return [text, request.sid, session["joined"]]  # type: ignore[attr-defined]  # a handler's request has it

    client = connect()
    assert client.emit("say", "hi", callback=True)[::2] == ["hi", True]
    assert client.get_received()[0]["args"] == ["hi"]


def test_the_test_client_raises_what_a_coroutine_raises(socketio: SocketIO, connect: Connect) -> None:
    @socketio.on("fail")
    async def fail() -> None:
        raise ValueError("on purpose")

    client = connect()
    with pytest.raises(ValueError, match="on purpose"):
        client.emit("fail")


def test_a_coroutine_that_nobody_could_expect_is_awaited_as_well(
    socketio: SocketIO, connect: Connect
) -> None:
    async def hidden() -> str:
        await asyncio.sleep(0.01)
        return "awaited"

    socketio.on_event("say", lambda: hidden())
    assert connect().emit("say", callback=True) == "awaited"


def test_an_error_handler_may_be_a_coroutine_function_for_plain_handlers(
    socketio: SocketIO, connect: Connect
) -> None:
    @socketio.on("fail")
    def fail() -> None:
        raise ValueError("on purpose")

    @socketio.on_error_default
    async def handle(error: Exception) -> str:
        await asyncio.sleep(0.01)
        return f"handled {error}"

    assert connect().emit("fail", callback=True) == "handled on purpose"


def test_a_trigger_of_ones_own_may_be_a_coroutine_function(socketio: SocketIO, connect: Connect) -> None:
    class Own(Namespace):
        async def trigger_event(self, event: str, *args: Any) -> Any:
            await asyncio.sleep(0.01)
            return [event, *args[1:]] if event == "say" else None

    socketio.on_namespace(Own("/own"))
    assert connect(namespace="/own").emit("say", 1, namespace="/own", callback=True) == ["say", 1]


def test_proceed_returns_what_can_be_awaited(socketio: SocketIO, connect: Connect) -> None:
    @socketio.on("say")
    async def say(text: str) -> str:
        await asyncio.sleep(0.01)
        if text == "stop":
            raise EventRejected(ack="rejected")
        return text

    seen: list[Any] = []

    @socketio.observe
    def socketio_around_event(proceed: Callable[..., Any]) -> Any:
        answer = proceed()

        async def awaited() -> Any:
            try:
                return [await answer]
            finally:
                seen.append("around")

        return awaited()

    @socketio.observe
    def socketio_event_after(event: str, duration_s: float) -> None:
        seen.append((event, duration_s >= 0.01))

    client = connect()
    assert client.emit("say", "go", callback=True) == ["go"]
    assert seen == ["around", ("say", True)]
    assert client.emit("say", "stop", callback=True) == "rejected"


def test_the_loop_ends_with_the_last_that_used_it_and_gives_all_back(app: Flask, socketio: SocketIO) -> None:
    async def answer() -> int:
        return threading.get_ident()

    before = set(os.listdir("/proc/self/fd"))
    binding = socketio.binding_of(app)
    coroutines = dispatcher_of(socketio, app).coroutines
    for _ in range(2):
        thread = coroutines.wait(answer(), copy_context())
        assert thread != threading.get_ident()
        assert thread == coroutines.wait(answer(), copy_context())
        binding.shutdown(5)
        assert set(os.listdir("/proc/self/fd")) == before
        assert wait_until(functools.partial(is_gone, thread), timeout_s=5)


def test_the_shutdown_waits_for_coroutines_and_cancels_those_that_do_not_end(
    app: Flask, socketio: SocketIO
) -> None:
    ends: list[str] = []

    async def sleep(seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
            ends.append("slept")
        except asyncio.CancelledError:
            ends.append("cancelled")
            raise

    coroutines = dispatcher_of(socketio, app).coroutines
    for seconds in (0.1, 3600):
        coroutines.start(sleep(seconds), copy_context(), lambda answer, error: None)
        assert wait_until(lambda: len(coroutines._tasks) == 1, timeout_s=5)
        socketio.binding_of(app).shutdown(1)
    assert ends == ["slept", "cancelled"]


def test_a_loop_cannot_wait_for_itself(app: Flask, socketio: SocketIO) -> None:
    coroutines = dispatcher_of(socketio, app).coroutines

    async def answer() -> None:
        coroutines.wait(asyncio.sleep(0), copy_context())

    with pytest.raises(RuntimeError, match="await it instead"):
        coroutines.wait(answer(), copy_context())
    socketio.binding_of(app).shutdown(5)


@pytest.mark.parametrize("queue", [None, "memory://coroutines"])
def test_coroutine_functions_answer_other_servers_and_ask_them_in_a_worker(queue: str | None) -> None:
    app = Flask(__name__)
    socketio = SocketIO(app, async_mode="threading", message_queue=queue)

    @socketio.on_server("double")
    async def double(number: int) -> list[Any]:
        await asyncio.sleep(0.01)
        socketio.tell_servers("double", number)
        return [2 * number, current_app.name]

    async def ask_there() -> Any:
        with pytest.raises(RuntimeError, match=r"await asyncio.to_thread\(socketio.ask_servers, ...\)"):
            socketio.ask_servers("double", 1)
        return dict((await asyncio.to_thread(socketio.ask_servers, "double", 4)).answers)

    async def fail(payload: Any, node: str) -> None:
        await asyncio.sleep(0)
        raise LookupError(payload)

    socketio.on_server("ask there")(ask_there)
    socketio.servers.on_topic("fail", fail)
    try:
        here = socketio.servers.node
        assert socketio.ask_servers("double", 4).answers == {here: [8, app.name]}
        assert socketio.ask_servers("ask there").answers == {here: {here: [8, app.name]}}
        assert socketio.servers.ask("fail", 1).errors == {here: "LookupError(1)"}
    finally:
        socketio.close()


def test_what_may_be_a_coroutine_function_is_known_before_it_is_called() -> None:
    async def function() -> None:
        """Do nothing."""

    def plain() -> None:
        """Do nothing."""

    @functools.wraps(function)
    def decorated() -> Any:
        return function()

    class Callable_:
        async def __call__(self) -> None:
            """Do nothing."""

    class Methods:
        async def method(self) -> None:
            """Do nothing."""

    for known in (function, decorated, functools.partial(function), Callable_(), Methods().method):
        assert may_await(known)
    others: list[Callable[..., Any]] = [plain, functools.partial(plain), print, Methods]
    assert not any(map(may_await, others))


def test_asyncio_is_not_imported_where_nobody_needs_it(caplog: pytest.LogCaptureFixture) -> None:
    import subprocess

    code = (
        "import sys; from flask import Flask; from flask_socketio_core import SocketIO; app = Flask('app')\n"
        "SocketIO(app, async_mode='threading').on_event('say', print); print('asyncio' in sys.modules)"
    )
    alone = {**os.environ, "SOCKETIO_LOAD_PLUGINS": "async-threading"}  # a plugin's library may want it
    with caplog.at_level(logging.ERROR):
        said = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=alone
        )
    assert said.stdout.strip() == "False"


def test_workers_that_all_wait_for_coroutines_need_no_other() -> None:
    app = Flask(__name__)
    socketio = SocketIO(app, async_mode="threading", max_workers=2)
    dispatcher = dispatcher_of(socketio, app)
    ended: list[object] = []

    def wait() -> None:
        async def sleep() -> str:
            await asyncio.sleep(0.2)
            return "over"

        ended.append(dispatcher.coroutines.wait(sleep(), copy_context()))

    for _ in range(4):
        socketio.binding_of(app).mode.spawn(wait)
    assert wait_until(lambda: ended == ["over"] * 4, timeout_s=10)
    socketio.close()
