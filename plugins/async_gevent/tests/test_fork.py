"""What was spawned before a fork runs in the parent only."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("gevent")

PROGRAM = """
import os, sys
import gevent.monkey
gevent.monkey.patch_all()
import gevent
from flask_socketio_async_gevent.mode import GeventMode

mode = GeventMode()
say = lambda *what: os.write(1, (" ".join(what) + "\\n").encode())  # whole, where two processes write
mode.spawn(lambda: say("first"))
gevent.sleep(0.02)
mode.spawn(lambda: say("job"))
child = os.fork()
mode.spawn(lambda: say("own", "child" if child == 0 else "parent"))
gevent.sleep(0.1)
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
"""


def test_a_forked_child_does_not_run_its_parents_jobs_again() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=15, check=True
    )
    assert sorted(done.stdout.splitlines()) == ["first", "job", "own child", "own parent"]
