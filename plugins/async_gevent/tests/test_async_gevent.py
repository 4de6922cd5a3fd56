"""The gevent plugin as it is found, chosen and refused."""

from __future__ import annotations

import http.client
import os
from typing import Any

import gevent
import pytest
from gevent.monkey import get_original
from gevent.pywsgi import WSGIServer

from flask_socketio_async_gevent.mode import GeventMode, UwsgiMode, forget_descriptor
from flask_socketio_async_gevent.probes import suits_gevent, suits_uwsgi
from flask_socketio_core.contracts import ServeOptions, Verdict
from flask_socketio_core.contracts.process import ProcessFacts
from flask_socketio_core.errors import ConfigurationError
from flask_socketio_core.selection import Plugins
from flask_socketio_core.testing.conformance.async_modes import application, in_thread, wait_for
from support.green import (
    assert_a_burst_of_jobs_leaves_the_hub_its_turns,
    assert_a_killed_greenlet_takes_no_job,
    assert_a_stray_time_out_takes_no_job,
    assert_only_a_server_without_our_hub_is_refused,
)
from support.programs import run_program

UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "c2l4dGVlbiBieXRlcyBvaw==",
}
GTHREAD = {"SERVER_SOFTWARE": "gunicorn/27.0.0", "gunicorn.socket": None}


def test_it_is_installed_and_listed_as_ok() -> None:
    description = Plugins(facts=ProcessFacts(socket_owner="gevent")).describe()
    plugin = next(plugin for plugin in description.plugins if plugin.name == "async-gevent")
    assert (plugin.status, plugin.distribution) == ("ok", "flask-socketio-async-gevent")
    mode = next(part for part in plugin.parts if part.name == "gevent")
    assert (mode.status, mode.selected) == ("ok", True)


@pytest.mark.parametrize(
    ("facts", "chosen"),
    [
        (ProcessFacts(socket_owner="gevent"), "gevent"),
        (ProcessFacts(gunicorn_worker="ggevent"), "gevent"),
        (ProcessFacts(gunicorn_worker="ggevent", socket_owner="gevent"), "gevent"),
        (ProcessFacts(uwsgi=True, uwsgi_loop="gevent"), "gevent_uwsgi"),
        (ProcessFacts(flask_run=True), "threading"),
        (ProcessFacts(flask_run=True, socket_owner="gevent"), "gevent"),
    ],
)
def test_what_is_seen_of_the_process_decides(facts: ProcessFacts, chosen: str) -> None:
    assert Plugins(facts=facts).select_async_mode().info.name == chosen


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (ProcessFacts(socket_owner="eventlet"), "eventlet has monkey-patched this process"),
        (ProcessFacts(gunicorn_worker="gthread"), "gunicorn -k gevent"),
        (ProcessFacts(uwsgi=True), "async_mode='gevent_uwsgi'"),
        (ProcessFacts(flask_run=True), "flask socketio run"),
    ],
)
def test_what_does_not_fit_comes_with_the_line_to_add(facts: ProcessFacts, reason: str) -> None:
    verdict = suits_gevent(facts)
    assert not verdict.usable
    assert reason in verdict.reason


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (ProcessFacts(), "not under uWSGI"),
        (ProcessFacts(uwsgi=True), "--gevent 100"),
        (ProcessFacts(uwsgi=True, uwsgi_loop="asyncio"), "--gevent 100"),
    ],
)
def test_uwsgi_needs_its_gevent_loop(facts: ProcessFacts, reason: str) -> None:
    verdict = suits_uwsgi(facts)
    assert not verdict.usable
    assert reason in verdict.reason


def test_a_request_in_a_thread_is_refused_with_the_line_to_add() -> None:
    mode, verdicts = GeventMode(), list[Verdict]()
    in_thread(mode, lambda: verdicts.append(mode.check_request(GTHREAD)))
    wait_for(mode, lambda: bool(verdicts))
    assert not verdicts[0].usable
    assert "gunicorn -k gevent" in verdicts[0].reason


def test_a_request_in_a_greenlet_fits() -> None:
    mode, verdicts = GeventMode(), list[Verdict]()
    mode.start_task(lambda: verdicts.append(mode.check_request(GTHREAD))).join(5)
    assert verdicts[0].usable


def test_a_request_of_a_test_client_fits_everywhere() -> None:
    assert GeventMode().check_request({"REMOTE_ADDR": "127.0.0.1", "wsgi.input": None}).usable


def test_a_request_of_a_nameless_server_in_a_thread_is_refused() -> None:
    assert_only_a_server_without_our_hub_is_refused(GeventMode())


def test_forgotten_patching_is_said_with_the_line_to_add() -> None:
    said = run_unpatched("""
        from flask_socketio_async_gevent.mode import GeventMode
        from flask_socketio_core.contracts import ServeOptions
        mode = GeventMode()
        from flask_socketio_async_gevent import server  # which takes its time
        mode.call_later(0.1, mode.stop)
        mode.serve(None, "127.0.0.1", 0, ServeOptions())
        print("patched:", mode.is_patched("socket"), mode.is_patched("threading"))
    """)
    assert "from gevent import monkey; monkey.patch_all()" in said
    assert "patched: False False" in said


def test_tls_without_patching_is_refused_with_the_line_to_add() -> None:
    said = run_unpatched("""
        from flask_socketio_async_gevent.mode import GeventMode
        from flask_socketio_core.contracts import ServeOptions
        GeventMode().serve(None, "127.0.0.1", 0, ServeOptions(tls={"certfile": "cert.pem"}))
    """)
    assert "PartUnsuitable: async_mode='gevent' can serve TLS only when gevent has patched" in said
    assert "from gevent import monkey; monkey.patch_all()" in said


def test_uwsgi_s_mode_says_how_to_start_uwsgi() -> None:
    with pytest.raises(ConfigurationError, match="uwsgi --http :5000 --gevent 100"):
        UwsgiMode().serve(application, "127.0.0.1", 0, ServeOptions())


def test_a_forgotten_descriptor_is_out_of_the_hub_s_epoll_set() -> None:
    import gevent
    from gevent.socket import socketpair

    ours, theirs = socketpair()
    task = gevent.spawn(ours.recv, 1)
    gevent.sleep(0.01)  # now the hub watches it
    loop_fd = gevent.get_hub().loop.fileno()
    if loop_fd is None:
        pytest.skip("this loop has no epoll set")
    forget_descriptor(ours.fileno())
    epoll: Any = get_original("select", "epoll").fromfd(os.dup(loop_fd))
    with pytest.raises(FileNotFoundError):
        epoll.modify(ours.fileno(), 1)
    epoll.close()
    task.kill()
    ours.close()
    theirs.close()


def test_a_task_waits_for_a_descriptor_again_and_again() -> None:
    heard: list[bytes] = []
    mode, (reading, writing) = GeventMode(), os.pipe()

    def read() -> None:
        waiter = mode.create_read_waiter(reading)
        assert waiter is not None
        while heard[-1:] != [b"end"]:
            waiter.wait()
            heard.append(os.read(reading, 10))
        waiter.close()

    task = mode.start_task(read)
    sent: list[bytes] = []
    for data in (b"one", b"two", b"end"):
        mode.sleep(0.01)
        assert (heard, task.is_alive()) == (sent, True)  # it lets others run
        os.write(writing, data)
        sent.append(data)
        wait_for(mode, lambda: heard == sent)
    task.join(5)
    assert (heard, task.is_alive()) == ([b"one", b"two", b"end"], False)
    os.close(reading)
    os.close(writing)


def test_gevent_websocket_opens_what_is_not_the_engine_s() -> None:
    pytest.importorskip("geventwebsocket")
    from flask_socketio_async_gevent.handler import find_handler, leave_to_engine

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        opened = environ.get("wsgi.websocket")
        if opened is not None:
            opened.send("opened")
            return []
        start_response("400 Bad Request", [])
        return [b"left to us"]

    leave_to_engine("/socket.io/")
    server = WSGIServer(("127.0.0.1", 0), app, handler_class=find_handler(), log=None)
    server.start()
    try:
        for path, status in (("/own", 101), ("/socket.io/?EIO=4", 400), ("/mounted/socket.io/?EIO=4", 400)):
            connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=5)
            connection.request("GET", path, headers=UPGRADE)
            assert connection.getresponse().status == status
            connection.close()
    finally:
        server.stop(timeout=1)


def run_unpatched(program: str) -> str:
    """Run a program in a process that nobody patched, and return what it says."""
    done = run_program(program)
    return done.stdout + done.stderr


def test_a_time_out_that_outlives_its_job_takes_no_other_job_with_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert_a_stray_time_out_takes_no_job(
        GeventMode(), lambda: gevent.Timeout(0.02).start(), lambda: caplog.text
    )


def test_killing_the_greenlet_of_a_job_that_has_ended_takes_no_other_job_with_it() -> None:
    assert_a_killed_greenlet_takes_no_job(GeventMode())


def test_a_burst_of_jobs_leaves_the_hub_its_turns() -> None:
    assert_a_burst_of_jobs_leaves_the_hub_its_turns(GeventMode())
