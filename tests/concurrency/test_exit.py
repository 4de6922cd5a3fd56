"""The news that the process is about to end, told once and in the right process."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from flask_socketio_core.contracts.concurrency import gunicorn
from flask_socketio_core.contracts.concurrency.exit import ExitNotice, stopping_on_signals
from flask_socketio_core.testing.threads import ThreadMode
from support.programs import run_program


def run(program: str) -> str:
    """Run a program and return what it wrote."""
    return run_program(program, check=True).stdout


def test_the_end_of_the_interpreter_is_told_while_threads_can_still_start() -> None:
    said = run("""
        import threading
        from flask_socketio_core.contracts.concurrency.exit import ExitNotice
        from flask_socketio_core.testing.threads import ThreadMode

        def callback():
            thread = threading.Thread(target=print, args=("in a thread",))
            thread.start()
            thread.join()

        ExitNotice(ThreadMode(), callback)
        print("end")
    """)
    assert said.splitlines() == ["end", "in a thread"]


def test_a_forked_child_is_not_told() -> None:
    said = run("""
        import os, sys
        from flask_socketio_core.contracts.concurrency.exit import ExitNotice
        from flask_socketio_core.testing.threads import ThreadMode
        ExitNotice(ThreadMode(), lambda: print("told", flush=True))
        if os.fork() == 0:
            sys.exit()
        os.wait()
    """)
    assert said == "told\n"


def test_it_is_told_once_and_not_after_cancelling() -> None:
    told: list[str] = []
    notice = ExitNotice(ThreadMode(), lambda: told.append("first"))
    notice.run()
    cancelled = ExitNotice(ThreadMode(), lambda: told.append("second"))
    cancelled.cancel()
    notice.cancel()
    assert told == ["first"]


def test_an_error_at_the_end_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    ExitNotice(ThreadMode(), lambda: 1 / 0).run()
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_stops_and_the_next_one_is_as_usual(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    if before not in (signal.SIG_DFL, signal.default_int_handler):
        pytest.skip("somebody handles this signal already")
    stops: list[str] = []
    with stopping_on_signals(lambda: stops.append("stop")):
        os.kill(os.getpid(), number)
        assert signal.getsignal(number) is before
    assert stops == ["stop"]


def test_a_handler_of_the_program_s_own_is_left_alone() -> None:
    seen: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
    try:
        with stopping_on_signals(lambda: seen.append(-1)):
            os.kill(os.getpid(), signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [signal.SIGTERM]


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen: list[object] = []

    def serve() -> None:
        with stopping_on_signals(lambda: None):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=serve)
    thread.start()
    thread.join(5)
    assert seen == [before]


def test_there_is_no_gunicorn_worker_here() -> None:
    assert gunicorn.find_worker() is None


def test_the_private_names_that_we_lean_on_are_there() -> None:
    assert callable(threading._register_atexit)  # type: ignore[attr-defined]  # what concurrent.futures uses
    workers = pytest.importorskip("gunicorn.workers.base")
    assert callable(workers.Worker.handle_exit)
    unreader = pytest.importorskip("gunicorn.http.unreader").SocketUnreader(None)
    unreader.unread(b"too much")
    body = pytest.importorskip("gunicorn.http.body")
    read_ahead = gunicorn.find_read_ahead({"wsgi.input": body.Body(body.LengthReader(unreader, 0))})
    assert read_ahead is not None
    assert (read_ahead(), unreader.buf.getvalue()) == (b"too much", b"")
