"""What every async mode must do, as tests that a plugin's author imports.

::

    class TestTrioMode(AsyncModeConformance):
        mode_class = TrioMode

That is all. Run it in a process of its own, patched at the top of ``conftest.py`` if the mode is green: the tests
wait with the mode's own means, and speak HTTP with the standard library's.
"""

from __future__ import annotations

import contextlib
import http.client
import inspect
import logging
import os
import queue
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from ...contracts import Listener, ServeOptions
from ..ports import free_port
from .guard import refuse_overrides

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from typing_extensions import Self

    from ...contracts import AsyncMode

#: Seconds within which what was asked for must have happened.
SOON_S = 5.0
#: Seconds after which something that must not happen has not happened.
NEVER_S = 0.2

current_client: ContextVar[str] = ContextVar("current_client", default="nobody")


class AsyncModeConformance:
    """Subclass it and name the mode's class."""

    mode_class: ClassVar[type[AsyncMode]]

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        refuse_overrides(AsyncModeConformance, cls)

    @pytest.fixture
    def make_mode(self) -> Iterator[Callable[..., AsyncMode]]:
        """Make modes, and close them after the test."""
        made: list[AsyncMode] = []

        def make(**options: Any) -> AsyncMode:
            made.append(self.mode_class(**options))
            return made[-1]

        yield make
        for mode in made:
            mode.close()
            mode.sleep(0.01)  # greenlets that are being ended want to be run once more

    @pytest.fixture
    def mode(self, make_mode: Callable[..., AsyncMode]) -> AsyncMode:
        """Make a mode with its defaults."""
        return make_mode()

    # jobs

    def test_a_job_runs_after_spawn_has_returned(self, mode: AsyncMode) -> None:
        seen: list[str] = []
        mode.spawn(lambda: seen.append("job"))
        seen.append("returned")
        wait_for(mode, lambda: "job" in seen)
        # With OS threads the job may be faster than our next line; with greenlets it never is.
        assert sorted(seen) == ["job", "returned"]
        if mode.capabilities.green:
            assert seen == ["returned", "job"]

    def test_many_jobs_all_run(self, mode: AsyncMode) -> None:
        seen: list[int] = []
        for number in range(2000):
            mode.spawn(partial(seen.append, number))
        wait_for(mode, lambda: len(seen) == 2000)
        assert sorted(seen) == list(range(2000))

    def test_jobs_that_do_not_block_start_in_the_order_given(
        self, make_mode: Callable[..., AsyncMode]
    ) -> None:
        mode = make_mode(max_workers=1)
        seen: list[int] = []
        for number in range(100):
            mode.spawn(partial(seen.append, number))
        wait_for(mode, lambda: len(seen) == 100)
        assert seen == list(range(100))

    def test_a_context_variable_does_not_survive_its_job(self, mode: AsyncMode) -> None:
        seen: list[str] = []

        def job() -> None:
            seen.append(current_client.get())
            current_client.set("somebody")

        for _ in range(20):
            mode.spawn(job)
        wait_for(mode, lambda: len(seen) == 20)
        assert set(seen) == {"nobody"}

    def test_a_context_variable_survives_a_wait_in_its_job(self, mode: AsyncMode) -> None:
        seen: list[tuple[str, str]] = []

        def job(name: str) -> None:
            current_client.set(name)
            mode.sleep(0.02)
            seen.append((name, current_client.get()))

        for number in range(10):
            mode.spawn(partial(job, f"client {number}"))
        wait_for(mode, lambda: len(seen) == 10)
        assert [name for name, found in seen if name != found] == []

    @pytest.mark.parametrize("error", [ValueError("wrong"), SystemExit(1), GeneratorExit()])
    def test_a_job_that_raises_is_logged_and_its_worker_goes_on(
        self,
        make_mode: Callable[..., AsyncMode],
        caplog: pytest.LogCaptureFixture,
        error: BaseException,
    ) -> None:
        mode = make_mode(max_workers=1)
        seen: list[str] = []
        mode.spawn(partial(fail, error))
        mode.spawn(lambda: seen.append("next"))
        wait_for(mode, lambda: seen == ["next"])
        assert type(error).__name__ in caplog.text

    def test_jobs_that_wait_do_not_hold_up_others(self, mode: AsyncMode) -> None:
        gate, seen = mode.create_event(), list[str]()

        def late() -> None:
            gate.wait(SOON_S)
            seen.append("late")

        for _ in range(50):
            mode.spawn(late)
        mode.spawn(lambda: seen.append("early"))
        wait_for(mode, lambda: seen == ["early"])
        gate.set()
        wait_for(mode, lambda: len(seen) == 51)

    def test_a_job_is_let_go_when_it_ended(self, mode: AsyncMode) -> None:
        import gc
        import weakref

        class Client:
            def receive(self) -> None: ...

        client = Client()
        gone = weakref.ref(client)
        mode.spawn(client.receive)
        del client
        wait_for(mode, lambda: gc.collect() is not None and gone() is None)

    def test_no_more_jobs_run_than_max_workers(self, make_mode: Callable[..., AsyncMode]) -> None:
        mode = make_mode(max_workers=3)
        gate, running, most, done = mode.create_event(), list[int](), list[int](), list[int]()

        def job(number: int) -> None:
            running.append(number)
            most.append(len(running))
            gate.wait(SOON_S)
            running.remove(number)
            done.append(number)

        for number in range(9):
            mode.spawn(partial(job, number))
        wait_for(mode, lambda: len(running) == 3)
        mode.sleep(NEVER_S)
        assert len(running) == 3
        gate.set()
        wait_for(mode, lambda: len(done) == 9)
        assert max(most) <= 3

    def test_saturation_is_logged_and_told_once(
        self, make_mode: Callable[..., AsyncMode], caplog: pytest.LogCaptureFixture
    ) -> None:
        mode = make_mode(max_workers=2)
        gate, told, done = mode.create_event(), list[str](), list[int]()
        mode.on_saturated = lambda: told.append("saturated")

        def job() -> None:
            gate.wait(SOON_S)
            done.append(1)

        for _ in range(10):
            mode.spawn(job)
        wait_for(mode, lambda: told == ["saturated"])
        gate.set()
        wait_for(mode, lambda: len(done) == 10)
        assert told == ["saturated"]
        assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1

    def test_a_foreign_thread_may_spawn(self, mode: AsyncMode) -> None:
        seen: list[int] = []
        for number in range(50):
            in_thread(mode, partial(mode.spawn, partial(seen.append, number)))
        wait_for(mode, lambda: len(seen) == 50)

    def test_a_job_may_spawn(self, mode: AsyncMode) -> None:
        seen: list[str] = []
        mode.spawn(lambda: mode.spawn(lambda: seen.append("grandchild")))
        wait_for(mode, lambda: seen == ["grandchild"])

    # tasks

    def test_a_task_gets_its_arguments_and_can_be_joined(self, mode: AsyncMode) -> None:
        seen: list[tuple[int, str]] = []

        def task(number: int, *, name: str) -> None:
            seen.append((number, name))

        mode.start_task(task, 1, name="task").join(SOON_S)
        assert seen == [(1, "task")]

    def test_a_task_looks_like_a_thread(self, mode: AsyncMode) -> None:
        gate = mode.create_event()

        def wait_at_the_gate() -> None:
            gate.wait(SOON_S)

        task = mode.start_task(wait_at_the_gate)
        assert task.is_alive()
        assert task.daemon is True
        assert "wait_at_the_gate" in task.name
        task.name = "renamed"
        assert task.name == "renamed"
        gate.set()
        task.join(SOON_S)
        wait_for(mode, lambda: not task.is_alive())

    # pytest fails a test for what a thread or a greenlet has raised, unless it is asked not to.
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    @pytest.mark.parametrize("error", [ValueError("wrong"), SystemExit(1), GeneratorExit()])
    def test_a_task_that_raises_ends_nothing_but_itself(self, mode: AsyncMode, error: BaseException) -> None:
        task = mode.start_task(fail, error)
        task.join(SOON_S)
        seen: list[str] = []
        mode.start_task(seen.append, "next").join(SOON_S)
        wait_for(mode, lambda: seen == ["next"] and not task.is_alive())

    def test_joining_gives_up_in_time(self, mode: AsyncMode) -> None:
        gate = mode.create_event()
        task = mode.start_task(gate.wait, SOON_S)
        before_s = time.monotonic()
        task.join(0.05)
        assert time.monotonic() - before_s < SOON_S / 2
        gate.set()
        task.join(SOON_S)

    def test_tasks_need_no_worker(self, make_mode: Callable[..., AsyncMode]) -> None:
        mode = make_mode(max_workers=1)
        gate, seen = mode.create_event(), list[str]()
        mode.spawn(lambda: gate.wait(SOON_S))
        mode.start_task(seen.append, "task").join(SOON_S)
        assert seen == ["task"]
        gate.set()

    def test_sleeping_lets_others_run(self, mode: AsyncMode) -> None:
        seen: list[str] = []
        mode.spawn(lambda: seen.append("other"))
        before_s = time.monotonic()
        while not seen and time.monotonic() - before_s < SOON_S:
            mode.sleep(0)
        assert seen == ["other"]

    # locks, events, queues

    def test_a_lock_excludes_and_does_not_yield(self, mode: AsyncMode) -> None:
        lock = mode.create_lock()
        with lock:
            assert not lock.acquire(False)
        assert lock.acquire(False)
        lock.release()
        if not mode.capabilities.green:
            return
        held, seen = list[int](), list[str]()

        def hold() -> None:
            with lock:
                held.append(1)
                time_sleep(mode)(NEVER_S)

        in_thread(mode, hold)
        wait_for(mode, lambda: bool(held))
        mode.spawn(lambda: seen.append("job"))
        with lock:
            assert seen == []
        wait_for(mode, lambda: seen == ["job"])

    def test_a_yielding_lock_excludes_and_gives_up_in_time(self, mode: AsyncMode) -> None:
        lock = mode.create_yielding_lock()
        with lock:
            assert not lock.acquire(False)
            assert not lock.acquire(timeout=0.02)
        assert lock.acquire(timeout=0.02)
        lock.release()

    def test_waiting_for_a_yielding_lock_lets_others_run(self, mode: AsyncMode) -> None:
        lock, seen = mode.create_yielding_lock(), list[str]()

        def take() -> None:
            with lock:
                seen.append("taken")

        def release() -> None:
            seen.append("released")
            lock.release()

        lock.acquire()
        taking = mode.start_task(take)
        mode.sleep(0.02)
        mode.spawn(release)
        taking.join(SOON_S)
        assert seen == ["released", "taken"]

    def test_an_event_is_set_by_a_job(self, mode: AsyncMode) -> None:
        event = mode.create_event()
        mode.spawn(event.set)
        assert event.wait(SOON_S)
        assert event.is_set()

    def test_an_event_is_set_by_a_foreign_thread(self, mode: AsyncMode) -> None:
        event = mode.create_event()
        before_s = time.monotonic()

        def set_later() -> None:
            time_sleep(mode)(0.05)
            event.set()

        in_thread(mode, set_later)
        assert event.wait(SOON_S)
        assert time.monotonic() - before_s < SOON_S / 2

    def test_an_event_is_set_by_a_callback(self, mode: AsyncMode) -> None:
        event = mode.create_event()
        mode.call_later(0.01, event.set)
        assert event.wait(SOON_S)

    def test_an_event_lets_everybody_through(self, mode: AsyncMode) -> None:
        event, seen = mode.create_event(), list[bool]()
        for _ in range(5):
            mode.start_task(lambda: seen.append(event.wait(SOON_S)))
        mode.sleep(0.05)
        event.set()
        wait_for(mode, lambda: seen == [True] * 5)

    def test_waiting_for_an_event_gives_up_in_time(self, mode: AsyncMode) -> None:
        event = mode.create_event()
        assert not event.wait(0.02)
        event.set()
        event.clear()
        assert not event.wait(0)

    def test_a_queue_carries_values_between_tasks(self, mode: AsyncMode) -> None:
        values = mode.create_queue()
        mode.spawn(lambda: values.put("value"))
        assert values.get(timeout=SOON_S) == "value"
        with pytest.raises(queue.Empty):
            values.get(timeout=0.01)

    def test_a_bounded_queue_is_full(self, mode: AsyncMode) -> None:
        values = mode.create_queue(maxsize=1)
        values.put(1)
        with pytest.raises(queue.Full):
            values.put(2, timeout=0.01)

    # the clock

    def test_callbacks_come_in_the_order_of_their_time(self, mode: AsyncMode) -> None:
        seen: list[str] = []
        mode.call_later(0.06, lambda: seen.append("second"))
        mode.call_later(0.02, lambda: seen.append("first"))
        wait_for(mode, lambda: len(seen) == 2)
        assert seen == ["first", "second"]

    def test_a_callback_is_not_early_and_comes_once(self, mode: AsyncMode) -> None:
        times: list[float] = []
        start_s = time.monotonic()
        mode.call_later(0.05, lambda: times.append(time.monotonic() - start_s))
        wait_for(mode, lambda: bool(times))
        mode.sleep(NEVER_S)
        assert len(times) == 1
        assert times[0] >= 0.045

    def test_a_cancelled_callback_does_not_come(self, mode: AsyncMode) -> None:
        seen: list[str] = []
        handle = mode.call_later(NEVER_S, lambda: seen.append("cancelled"))
        handle.cancel()
        handle.cancel()
        mode.sleep(2 * NEVER_S)
        assert seen == []

    def test_a_callback_that_raises_is_logged_and_others_go_on(
        self, mode: AsyncMode, caplog: pytest.LogCaptureFixture
    ) -> None:
        seen: list[str] = []
        mode.call_later(0, partial(fail, ValueError("wrong")))
        mode.call_later(0.01, lambda: seen.append("next"))
        wait_for(mode, lambda: seen == ["next"] and "ValueError" in caplog.text)

    def test_a_foreign_thread_may_ask_to_be_called_later(self, mode: AsyncMode) -> None:
        seen: list[str] = []
        in_thread(mode, lambda: mode.call_later(0.01, lambda: seen.append("called")))
        wait_for(mode, lambda: seen == ["called"])

    def test_a_callback_may_spawn_and_ask_again(self, mode: AsyncMode) -> None:
        seen: list[str] = []
        mode.call_later(0, lambda: mode.spawn(lambda: seen.append("spawned")))
        mode.call_later(0, lambda: mode.call_later(0, lambda: seen.append("again")))
        wait_for(mode, lambda: sorted(seen) == ["again", "spawned"])

    # descriptors

    @pytest.fixture
    def pair(self, mode: AsyncMode) -> Iterator[tuple[socket.socket, socket.socket]]:
        """Make two connected sockets; skipped where descriptors cannot be watched."""
        if not mode.capabilities.watches:
            pytest.skip("this mode watches no descriptor")
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with ours, theirs:
            yield ours, theirs

    def test_a_readable_descriptor_is_told(
        self, mode: AsyncMode, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        ours, theirs = pair
        seen: list[bytes] = []
        with watching(mode, ours, lambda: seen.append(ours.recv(100))):
            for number in range(3):
                theirs.send(b"%d" % number)
                wait_for(mode, partial(has_length, seen, number + 1))
        assert seen == [b"0", b"1", b"2"]

    def test_what_is_left_unread_is_told_again(
        self, mode: AsyncMode, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        ours, theirs = pair
        seen: list[bytes] = []
        theirs.send(b"abc")
        with watching(mode, ours, lambda: seen.append(ours.recv(1))):
            wait_for(mode, lambda: seen == [b"a", b"b", b"c"])

    def test_after_cancelling_nothing_is_told(
        self, mode: AsyncMode, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        ours, theirs = pair
        seen: list[bytes] = []
        handle = mode.watch(ours.fileno(), lambda: seen.append(ours.recv(100)))
        handle.cancel()
        handle.cancel()
        theirs.send(b"too late")
        mode.sleep(NEVER_S)
        assert seen == []

    def test_an_error_in_the_callback_does_not_end_the_watch(
        self,
        mode: AsyncMode,
        pair: tuple[socket.socket, socket.socket],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        ours, theirs = pair
        seen: list[bytes] = []

        def callback() -> None:
            seen.append(ours.recv(1))
            raise ValueError("wrong")

        theirs.send(b"ab")
        with watching(mode, ours, callback):
            wait_for(mode, lambda: seen == [b"a", b"b"] and "ValueError" in caplog.text)

    def test_a_callback_never_runs_twice_at_the_same_time(
        self, mode: AsyncMode, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        ours, theirs = pair
        inside, overlaps, seen = list[int](), list[int](), list[bytes]()

        def callback() -> None:
            overlaps.extend(inside)
            inside.append(1)
            seen.append(ours.recv(1))
            inside.pop()

        theirs.send(b"x" * 500)
        with watching(mode, ours, callback):
            wait_for(mode, lambda: len(seen) == 500)
        assert overlaps == []

    def test_a_watched_descriptor_costs_nothing_while_it_is_quiet(
        self, mode: AsyncMode, pair: tuple[socket.socket, socket.socket]
    ) -> None:
        ours, _ = pair
        with watching(mode, ours, lambda: ours.recv(100)):
            mode.sleep(0.05)
            before_s = time.process_time()
            mode.sleep(0.5)
            assert time.process_time() - before_s < 0.1

    # what is patched

    def test_the_original_is_the_interpreter_s_own(self, mode: AsyncMode) -> None:
        assert mode.original("time", "sleep").__module__ == "time"
        if mode.capabilities.watches and hasattr(mode.original("select", "epoll"), "fromfd"):
            mode.original("select", "epoll")().close()

    def test_a_mode_says_what_is_patched(self, mode: AsyncMode) -> None:
        assert isinstance(mode.is_patched("socket"), bool)
        if not mode.capabilities.green:
            assert mode.is_patched("socket")
            assert mode.is_patched("anything at all")

    # serving

    def test_it_serves_and_is_stopped_by_a_view(self, mode: AsyncMode) -> None:
        with Serving(mode) as server:
            assert server.get("/") == (200, b"served")
            assert server.get("/stop") == (200, b"stopping")
            server.wait_ended()

    def test_it_is_stopped_by_a_job(self, mode: AsyncMode) -> None:
        with Serving(mode) as server:
            mode.spawn(mode.stop)
            server.wait_ended()

    def test_it_is_stopped_by_a_foreign_thread(self, mode: AsyncMode) -> None:
        with Serving(mode) as server:
            in_thread(mode, mode.stop)
            server.wait_ended()

    def test_a_stopped_server_has_given_its_port_back(self, mode: AsyncMode) -> None:
        with Serving(mode) as server:
            server.get("/")
            mode.stop()
            server.wait_ended()
        with Serving(mode, port=server.port) as again:
            assert again.get("/") == (200, b"served")

    def test_a_listener_is_served_and_left_to_the_others(self, mode: AsyncMode) -> None:
        with Shared(mode) as server:
            assert server.get("/") == (200, b"served")
            assert server.environ["wsgi.multiprocess"]
            assert server.times_serving == 1
            assert not os.get_blocking(server.listener.fileno())  # another process may be faster at accept()
            mode.stop()
            server.wait_ended()
            with socket.create_connection(("127.0.0.1", server.port), timeout=SOON_S) as late:
                accepted, _ = server.listener.accept()
                assert accepted.getpeername() == late.getsockname()
                accepted.close()

    def test_a_connection_is_served_that_was_accepted_before_the_end(self, mode: AsyncMode) -> None:
        with Shared(mode) as server:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=SOON_S)
            with contextlib.closing(connection):
                connection.connect()
                mode.sleep(NEVER_S)  # nothing shows that it was accepted
                mode.stop()
                server.wait_ended()
                connection.request("GET", "/", headers={"Connection": "close"})
                assert connection.getresponse().read() == b"served"

    def test_it_does_not_wait_for_pending_requests(self, mode: AsyncMode) -> None:
        with Serving(mode) as server:
            pending = mode.start_task(server.get_quietly, "/wait")
            wait_for(mode, lambda: server.waiting == 1)
            mode.stop()
            server.wait_ended()
            server.gate.set()
            pending.join(SOON_S)

    def test_a_signal_that_comes_before_the_server_is_made_ends_it(
        self, mode: AsyncMode, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        install, handlers = signal.signal, list[Any]()

        def install_and_send(number: int, handler: Any) -> Any:
            previous = install(number, handler)
            if number == signal.SIGTERM and not handlers:
                handlers.append(handler)
                os.kill(os.getpid(), signal.SIGTERM)
            return previous

        monkeypatch.setattr(signal, "signal", install_and_send)
        with contextlib.suppress(SystemExit):
            mode.serve(application, "127.0.0.1", 0, ServeOptions(allow_unsafe_werkzeug=True))
        assert handlers

    def test_a_signal_that_another_thread_takes_ends_an_idle_server(self, mode: AsyncMode) -> None:
        def send() -> None:
            mode.original("time", "sleep")(1.0)
            signal.pthread_kill(mode.original("_thread", "get_ident")(), signal.SIGTERM)

        mode.original("_thread", "start_new_thread")(send, ())
        with contextlib.suppress(SystemExit):
            mode.serve(application, "127.0.0.1", 0, ServeOptions(allow_unsafe_werkzeug=True))

    def test_stop_without_a_server_says_so(self, mode: AsyncMode) -> None:
        with pytest.raises(RuntimeError):
            mode.stop()

    def test_a_port_in_use_is_an_error(self, mode: AsyncMode, capfd: pytest.CaptureFixture[str]) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            port = other.getsockname()[1]
            with pytest.raises((OSError, SystemExit)) as caught:
                mode.serve(application, "127.0.0.1", port, ServeOptions(allow_unsafe_werkzeug=True))
            assert f"ort {port}" in str(caught.value) + capfd.readouterr().err

    def test_an_unknown_server_option_is_refused_by_name(self, mode: AsyncMode) -> None:
        options = ServeOptions(allow_unsafe_werkzeug=True, server={"backlogg": 5})
        with pytest.raises(TypeError, match="backlogg"):
            mode.serve(application, "127.0.0.1", 0, options)


# ---------------------------------------------------------------------------------------------- what the tests use


def wait_for(mode: AsyncMode, condition: Callable[[], bool], timeout_s: float = SOON_S) -> None:
    """Wait until a condition holds, letting the mode's tasks run."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"not within {timeout_s:g} s; there is {seen_by(condition)}"
        mode.sleep(0.005)


def seen_by(condition: Callable[[], bool]) -> str:
    """Return the values that a condition looks at."""
    if isinstance(condition, partial):
        return ", ".join(f"{value!r:.200}" for value in condition.args)
    values = inspect.getclosurevars(condition).nonlocals
    return ", ".join(f"{name}={value!r:.200}" for name, value in values.items()) or "nothing"


def in_thread(mode: AsyncMode, call: Callable[[], object]) -> None:
    """Call something in an OS thread that knows nothing of the mode's greenlets."""
    mode.original("_thread", "start_new_thread")(call, ())


def time_sleep(mode: AsyncMode) -> Callable[[float], None]:
    """Return the function that really blocks an OS thread."""
    sleep: Callable[[float], None] = mode.original("time", "sleep")
    return sleep


def has_length(values: list[bytes], length: int) -> bool:
    """Return whether so many values are there."""
    return len(values) == length


def fail(error: BaseException) -> None:
    """Raise an error."""
    raise error


def application(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """Answer every request."""
    start_response("200 OK", [("Content-Length", "6")])
    return [b"served"]


@contextlib.contextmanager
def watching(mode: AsyncMode, sock: socket.socket, callback: Callable[[], object]) -> Iterator[None]:
    """Watch a socket for the time of a test."""
    handle = mode.watch(sock.fileno(), callback)
    try:
        yield
    finally:
        handle.cancel()


class Serving:
    """The mode's server, in a task."""

    def __init__(self, mode: AsyncMode, port: int = 0, *, log_output: bool = False) -> None:
        self.port = port or free_port()
        self.waiting = 0
        self.environ: WSGIEnvironment = {}  # of the last request
        self.gate = mode.create_event()
        self._mode = mode
        self._options = ServeOptions(allow_unsafe_werkzeug=True, log_output=log_output)
        self._error: list[BaseException] = []
        self._ended = mode.create_event()

    def __enter__(self) -> Self:
        self._mode.start_task(self._serve)
        wait_for(self._mode, self._is_ready)
        return self

    def __exit__(self, *_: object) -> None:
        if not self._ended.is_set():
            self._mode.stop()
            self.wait_ended()

    def get(self, path: str) -> tuple[int, bytes]:
        """Send a request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=SOON_S)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"Connection": "close"})
            response = connection.getresponse()
            return response.status, response.read()

    def get_quietly(self, path: str) -> None:
        """Send a request whose answer does not matter."""
        with contextlib.suppress(OSError, http.client.HTTPException):
            self.get(path)

    def wait_ended(self) -> None:
        """Wait until ``serve()`` has returned."""
        assert self._ended.wait(SOON_S), "serve() has not returned"
        assert self._error == []

    def _serve(self) -> None:
        try:
            self._mode.serve(self._app, "127.0.0.1", self.port, self._options)
        except BaseException as error:  # noqa: BLE001  # a test asserts on it
            self._error.append(error)
        finally:
            self._ended.set()

    def _is_ready(self) -> bool:
        assert self._error == []
        try:
            return self.get("/")[0] == 200
        except OSError:
            return False

    def _app(self, environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        body = b"served"
        self.environ = environ
        if environ["PATH_INFO"] == "/stop":
            self._mode.stop()
            body = b"stopping"
        elif environ["PATH_INFO"] == "/wait":
            self.waiting += 1
            self.gate.wait(SOON_S)
        start_response("200 OK", [("Content-Length", str(len(body)))])
        return [body]


class Shared(Serving):
    """The mode's server on a socket that this process listens on, too."""

    def __init__(self, mode: AsyncMode) -> None:
        if not mode.capabilities.takes_listener:
            pytest.skip("the mode binds its own socket only")
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.times_serving = 0
        super().__init__(mode, self.listener.getsockname()[1])
        listener = Listener(fd=os.dup(self.listener.fileno()), on_serving=self._count)
        self._options = replace(self._options, listener=listener)

    def __exit__(self, *_: object) -> None:
        try:
            super().__exit__()
        finally:
            self.listener.close()

    def _count(self) -> None:
        self.times_serving += 1
