"""A background task that a fork has left behind is named where it is missing."""

from __future__ import annotations

import os
import threading

import pytest

from flask_socketio_core.app.background_tasks import StartedTasks

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")


def run_for(event: threading.Event) -> threading.Thread:
    task = threading.Thread(target=event.wait, args=(10,), daemon=True)
    task.start()
    return task


def ticker() -> None:
    """Stand for the function of a task."""


def test_a_child_is_told_once_of_the_tasks_that_still_ran() -> None:
    tasks, running, over = StartedTasks(), threading.Event(), threading.Event()
    lasting, ended = run_for(running), run_for(over)
    tasks.add(lasting, ticker)
    tasks.add(ended, len)
    over.set()
    ended.join(5)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, repr([tasks.take_inherited(), tasks.take_inherited()]).encode())
        os._exit(0)
    os.waitpid(child, 0)
    told = os.read(reader, 1000).decode()
    os.close(reader)
    os.close(writer)
    running.set()
    assert told == repr([[f"{__name__}.ticker"], []])
    assert tasks.take_inherited() == [], "the parent has them itself"
