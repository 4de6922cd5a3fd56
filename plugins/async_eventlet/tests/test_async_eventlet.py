"""The eventlet plugin as it is found, chosen and refused."""

from __future__ import annotations

import eventlet
import pytest

from flask_socketio_async_eventlet.hooks import suits
from flask_socketio_async_eventlet.mode import EventletMode
from flask_socketio_core.contracts import Verdict
from flask_socketio_core.contracts.process import ProcessFacts
from flask_socketio_core.selection import Plugins
from flask_socketio_core.testing.conformance.async_modes import in_thread, wait_for
from support.green import (
    assert_a_burst_of_jobs_leaves_the_hub_its_turns,
    assert_a_killed_greenlet_takes_no_job,
    assert_a_stray_time_out_takes_no_job,
    assert_only_a_server_without_our_hub_is_refused,
)
from support.programs import run_program

GTHREAD = {"SERVER_SOFTWARE": "gunicorn/27.0.0", "gunicorn.socket": None}


def test_it_is_installed_and_listed_as_ok() -> None:
    description = Plugins(facts=ProcessFacts()).describe()
    plugin = next(plugin for plugin in description.plugins if plugin.name == "async-eventlet")
    assert (plugin.status, plugin.distribution) == ("ok", "flask-socketio-async-eventlet")
    mode = next(part for part in plugin.parts if part.name == "eventlet")
    assert (mode.status, mode.selected) == ("ok", True)


@pytest.mark.parametrize("facts", [ProcessFacts(), ProcessFacts(socket_owner="eventlet")])
def test_it_comes_first_when_nothing_speaks_against_it(facts: ProcessFacts) -> None:
    assert Plugins(facts=facts).select_async_mode().info.name == "eventlet"


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (ProcessFacts(socket_owner="gevent"), "gevent has monkey-patched this process"),
        (ProcessFacts(gunicorn_worker="ggevent"), "gunicorn runs ggevent workers"),
        (ProcessFacts(uwsgi=True), "use gevent there"),
        (ProcessFacts(flask_run=True), "flask socketio run"),
    ],
)
def test_what_does_not_fit_comes_with_what_to_do(facts: ProcessFacts, reason: str) -> None:
    verdict = suits(facts)
    assert not verdict.usable
    assert reason in verdict.reason


def test_a_request_in_a_thread_is_refused_with_what_to_do() -> None:
    mode, verdicts = EventletMode(), list[Verdict]()
    in_thread(mode, lambda: verdicts.append(mode.check_request(GTHREAD)))
    wait_for(mode, lambda: bool(verdicts))
    assert not verdicts[0].usable
    assert "socketio.run(app)" in verdicts[0].reason
    mode.close()


def test_a_request_in_a_greenlet_fits() -> None:
    mode, verdicts = EventletMode(), list[Verdict]()
    mode.start_task(lambda: verdicts.append(mode.check_request(GTHREAD))).join(5)
    assert verdicts[0].usable
    mode.close()


def test_a_request_of_a_nameless_server_in_a_thread_is_refused() -> None:
    assert_only_a_server_without_our_hub_is_refused(EventletMode())


def test_forgotten_patching_is_said_with_the_line_to_add() -> None:
    program = """
        from flask_socketio_async_eventlet.mode import EventletMode
        from flask_socketio_core.contracts import ServeOptions
        mode = EventletMode()
        from flask_socketio_async_eventlet import server  # which takes its time
        mode.call_later(0.1, mode.stop)
        mode.serve(None, "127.0.0.1", 0, ServeOptions())
        print("patched:", mode.is_patched("socket"), mode.is_patched("threading"))
    """
    done = run_program(program)
    assert "import eventlet; eventlet.monkey_patch()" in done.stderr
    assert "patched: False False" in done.stdout


def test_tls_without_patching_is_refused_with_the_line_to_add() -> None:
    program = """
        from flask_socketio_async_eventlet.mode import EventletMode
        from flask_socketio_core.contracts import ServeOptions
        EventletMode().serve(None, "127.0.0.1", 0, ServeOptions(tls={"certfile": "cert.pem"}))
    """
    done = run_program(program)
    assert "PartUnsuitable: async_mode='eventlet' can serve TLS only when eventlet has patched" in done.stderr
    assert "import eventlet; eventlet.monkey_patch()" in done.stderr


@pytest.mark.parametrize("module", ["socket", "ssl", "threading", "queue", "time", "select"])
def test_a_patched_process_knows_what_is_patched(module: str) -> None:
    assert EventletMode().is_patched(module)


def test_a_time_out_that_outlives_its_job_takes_no_other_job_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert_a_stray_time_out_takes_no_job(EventletMode(), lambda: eventlet.Timeout(0.02), lambda: caplog.text)


def test_killing_the_greenlet_of_a_job_that_has_ended_takes_no_other_job_with_it() -> None:
    assert_a_killed_greenlet_takes_no_job(EventletMode())


def test_a_burst_of_jobs_leaves_the_hub_its_turns() -> None:
    assert_a_burst_of_jobs_leaves_the_hub_its_turns(EventletMode())
