"""What tests need of the official clients, and of python-socketio's beyond what that offers."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NoReturn

import pytest

from support import jars
from support.servers import TESTS

if TYPE_CHECKING:
    import socketio

JS = TESTS / "js"
CURRENT = "socket.io-client"
JAVA_VERSION = "2.1.2"


def node() -> str:
    """Find Node.js and the clients, or skip."""
    program = shutil.which("node")
    if program is None:
        _is_missing("Node.js is not installed")
    if not (JS / "node_modules" / CURRENT).is_dir():
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


def handle_in_order(client: socketio.Client) -> socketio.Client:
    """Let a client handle messages one by one, in one thread of their own.

    By default each message has its thread, and one may overtake another: even an attachment the packet that it belongs
    to. The thread that reads may not handle them, because a DISCONNECT waits for its end.
    """
    trigger = client.eio._trigger_event
    thread = ThreadPoolExecutor(1)

    def trigger_in_order(*args: Any, run_async: bool = False, **keywords: Any) -> Any:
        if run_async:
            return thread.submit(trigger, *args, run_async=False, **keywords)
        return trigger(*args, run_async=False, **keywords)

    client.eio._trigger_event = trigger_in_order
    return client
