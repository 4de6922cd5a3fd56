"""What a fork changes is told to the objects that live, and a flag is set in the process that has set it."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait

import pytest

from flask_socketio_async_threading.mode import ThreadingMode
from flask_socketio_core.contracts.fork import OncePerProcess, ProcessFlag, register_at_fork

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")


def fork(tell: Callable[[], object]) -> str:
    """Fork, and return what a function returns in the child."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, str(tell()).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as told:
        text = told.read()
    os.waitpid(child, 0)
    return text


class Pool:
    """Something with what does not survive a fork."""

    def __init__(self, calls: list[str], name: str = "pool") -> None:
        self.calls, self.name = calls, name
        register_at_fork(
            before=self.before, after_in_parent=self.after_in_parent, after_in_child=self.after_in_child
        )

    def before(self) -> None:
        self.calls.append(f"{self.name} before")

    def after_in_parent(self) -> None:
        self.calls.append(f"{self.name} in parent")

    def after_in_child(self) -> None:
        self.calls.append(f"{self.name} in child")


class BrokenPool(Pool):
    def after_in_child(self) -> None:
        raise ValueError("broken")


def test_methods_are_called_in_the_order_in_which_they_were_registered_and_before_a_fork_in_the_reverse() -> (
    None
):
    calls: list[str] = []
    kept = [Pool(calls, "first"), Pool(calls, "second")]
    assert fork(lambda: calls) == str(["second before", "first before", "first in child", "second in child"])
    assert calls == ["second before", "first before", "first in parent", "second in parent"]
    assert len(kept) == 2


def test_an_object_that_nobody_has_any_more_is_not_kept_for_a_fork() -> None:
    calls: list[str] = []
    Pool(calls)
    gc.collect()
    assert fork(lambda: calls) == "[]"
    assert calls == []


def test_an_error_of_one_object_keeps_no_other_from_being_told(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[str] = []
    kept = [BrokenPool(calls, "broken"), Pool(calls, "sound")]
    told = fork(lambda: (calls[-1], caplog.messages))
    assert "sound in child" in told
    assert "BrokenPool.after_in_child, called because of a fork, failed: ValueError('broken')" in told
    assert len(kept) == 2


def test_a_flag_is_set_in_the_process_that_has_set_it_only() -> None:
    flag = ProcessFlag(is_set=True)
    assert fork(flag.is_set) == "False"
    assert flag.is_set()
    flag.clear()
    assert not flag.is_set()
    flag.set()

    def set_in_child() -> tuple[bool, bool]:
        before = flag.is_set()
        flag.set()
        return before, flag.is_set()

    assert fork(set_in_child) == "(False, True)"
    assert flag.is_set()


class Work:
    """Something that takes until it is let go, and fails the first time if asked to."""

    def __init__(self, *, fails: bool = False) -> None:
        self.once = OncePerProcess(ThreadingMode())
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.times = 0
        self._fails = fails

    def act(self) -> None:
        self.times += 1
        self.begun.set()
        assert self.go_on.wait(10)
        if self._fails and self.times == 1:
            raise ValueError("broken")
        self.once.set()

    def in_a_thread(self) -> Future[None]:
        done: Future[None] = Future()

        def run() -> None:
            try:
                self.once.run(self.act)
                done.set_result(None)
            except BaseException as error:  # noqa: BLE001  # the test shall have it
                done.set_exception(error)

        threading.Thread(target=run).start()
        return done


def test_one_task_does_it_and_the_others_wait_for_its_end() -> None:
    work = Work()
    first = work.in_a_thread()
    assert work.begun.wait(10)
    others = [work.in_a_thread() for _ in range(5)]
    assert not wait([first, *others], timeout=0.1).done
    assert not work.once.is_set()
    work.go_on.set()
    assert not wait([first, *others], timeout=10).not_done
    work.once.run(work.act)
    assert (work.times, work.once.is_set()) == (1, True)


def test_what_has_failed_is_done_by_the_next_task() -> None:
    work = Work(fails=True)
    work.go_on.set()
    with pytest.raises(ValueError, match="broken"):
        work.once.run(work.act)
    assert (work.times, work.once.is_set()) == (1, False)
    work.once.run(work.act)
    assert (work.times, work.once.is_set()) == (2, True)


def test_a_child_that_is_forked_meanwhile_does_it_itself_and_waits_for_nobody() -> None:
    work = Work()
    doing = work.in_a_thread()
    assert work.begun.wait(10)

    def do_in_child() -> int:
        work.go_on.set()
        work.once.run(work.act)
        return work.times

    assert fork(do_in_child) == "2"
    work.go_on.set()
    doing.result(10)
    assert work.times == 1


PROGRAM = """
from flask_socketio_core.contracts.fork import register_at_fork

class Pool:
    def __init__(self):
        self.me = self  # so that it is collected with the interpreter's last objects
        register_at_fork(before=self.start, after_in_child=self.start)

    def start(self):
        pass

pool = Pool()
"""


def test_the_end_of_the_interpreter_says_nothing() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (0, "")
