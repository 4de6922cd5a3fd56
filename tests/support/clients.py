"""What tests need of the official clients, and of python-socketio's beyond what that offers."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import pytest
import socketio

from support import jars
from support.servers import TESTS, wait_until

JS = TESTS / "js"
CURRENT = "socket.io-client"
JAVA_VERSION = "2.1.2"
POSTED_S = 5.0
"""How long a client may take to post what it has before it leaves, seconds."""


def node(*packages: str) -> str:
    """Find Node.js, the clients and these packages, or skip."""
    program = shutil.which("node")
    if program is None:
        _is_missing("Node.js is not installed")
    if not all((JS / "node_modules" / package).is_dir() for package in (CURRENT, *packages)):
        _is_missing("run `npm ci` in tests/js")
    return program


def java_libraries() -> str:
    """Find the Java client, or skip."""
    if shutil.which("javac") is None:
        _is_missing("a Java compiler is not installed: apt-get install default-jdk-headless")
    try:
        return str(
            jars.fetch(f"socket.io-client-{JAVA_VERSION}", f"io.socket:socket.io-client:{JAVA_VERSION}")
        )
    except jars.JarsMissing as error:
        _is_missing(str(error))


def _is_missing(what: str) -> NoReturn:
    """Skip; ``REQUIRE_BROKERS=1`` makes a missing part a failure."""
    if os.environ.get("REQUIRE_BROKERS") == "1":
        pytest.fail(what)
    pytest.skip(what)


def python_client(**options: Any) -> socketio.Client:
    """Make a client of python-socketio that does not connect again, without two races that it has of its own.

    By default each message has its thread, and one may overtake another: even an attachment the packet that it belongs
    to. Here messages are handled one by one, in one thread; the one that reads may not handle them, because a
    DISCONNECT waits for its end. And one that leaves while it posts drops what it has not posted yet, its DISCONNECT
    and CLOSE, too, and then waits for the answer to its poll until the server's next PING. Here it has posted all.
    """
    client = socketio.Client(reconnection=False, handle_sigint=False, **options)
    engine = client.eio
    trigger, leave = engine._trigger_event, engine.disconnect
    thread = ThreadPoolExecutor(1)

    def trigger_in_order(*args: Any, run_async: bool = False, **keywords: Any) -> Any:
        if run_async:
            return thread.submit(trigger, *args, run_async=False, **keywords)
        return trigger(*args, run_async=False, **keywords)

    def leave_when_posted(abort: bool = False, reason: str | None = None) -> None:
        if not abort and engine.state == "connected":
            wait_until(
                lambda: engine.queue.unfinished_tasks == 0 or engine.write_loop_task is None,
                timeout_s=POSTED_S,
            )
        leave(abort=abort, reason=reason)

    engine._trigger_event, engine.disconnect = trigger_in_order, leave_when_posted
    return client
