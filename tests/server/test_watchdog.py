"""The thread that watches a loop: one, and only while it is to watch."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable
from functools import partial
from traceback import walk_stack
from typing import Any

from flask_socketio_async_threading.mode import ThreadingMode
from flask_socketio_core.common import options
from flask_socketio_core.contracts import AsyncMode
from flask_socketio_core.contracts.clients import Client
from flask_socketio_core.server import watchdog
from flask_socketio_core.server.interface import AckReply
from flask_socketio_core.server.jobs import handler_in
from flask_socketio_core.server.server import Server
from flask_socketio_core.server.watchdog import Watchdog
from support.engine import ManualMode, RecordingApplication, WokenTransport


def watching() -> int:
    """Count the threads that watch."""
    count = 0
    for innermost in sys._current_frames().values():
        count += any(frame.f_code.co_filename == watchdog.__file__ for frame, _ in walk_stack(innermost))
    return count


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def watch_of(mode: AsyncMode) -> Watchdog:
    return Watchdog(
        mode,
        0.2,
        logging.getLogger("test"),
        call_soon=partial(mode.call_later, 0),
        handler_in=handler_in,
        stops="every client",
    )


def test_a_watch_that_is_stopped_and_started_again_has_one_thread() -> None:
    mode = ThreadingMode()
    watch = watch_of(mode)
    for _ in range(3):
        watch.start()
        watch.stop()
    watch.start()
    wait_until(lambda: watching() == 1)
    watch.stop()
    wait_until(lambda: watching() == 0)
    mode.close()


def test_a_forked_child_can_start_a_watch_of_its_own() -> None:
    mode = ThreadingMode()
    watch = watch_of(mode)
    watch.start()
    watch.forget()  # what happens in the child
    watch.start()
    wait_until(lambda: watching() == 1)
    watch.stop()
    wait_until(lambda: watching() == 0)
    mode.close()


DESCRIBE = watch_of(ThreadingMode()).describe


class Described(RecordingApplication):
    """An application each of whose handlers is described as if it blocked the loop."""

    def on_connect(self, client: Client, auth: Any, reply: Callable[[bool | BaseException], object]) -> None:
        self.log.append((DESCRIBE(sys._getframe()).partition(",")[0],))
        reply(True)

    def on_event(self, client: Client, event: str, args: tuple[Any, ...], reply: AckReply) -> None:
        self.log.append((DESCRIBE(sys._getframe()).partition(",")[0],))
        reply(None)

    def on_disconnect(self, client: Client, reason: str, reply: Callable[[], object]) -> None:
        self.log.append((DESCRIBE(sys._getframe()).partition(",")[0],))
        reply()


def test_every_kind_of_handler_is_named() -> None:
    app, mode = Described(), ManualMode()
    server = Server(app, options.build({}), mode)
    session = server.eio.add_session({}, WokenTransport())
    for packet in ("40/chat,", '42/chat,["say"]', "41/chat,"):
        session.receive(packet)
        mode.run_jobs()
    named = [entry[0] for entry in app.log if entry[0] != "connected"]
    assert named == [
        f"by the handler of event {event!r} on namespace '/chat'"
        for event in ("connect", "say", "disconnect")
    ]
