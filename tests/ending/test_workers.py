"""Several workers under a supervisor: they share the requests, are exchanged, come back and end, whoever wants it."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support import tls
from support.clients import python_client
from support.servers import HOST, usage
from support.wire.engine import WebSocket
from support.wire.http import request
from support.workers import APP, START_S, Load, Supervised, is_alive, mode_params, supervised

pytestmark = pytest.mark.timeout(90)
#: Seconds within which workers with nothing to do have ended.
END_S = 5.0


def joined(port: int) -> WebSocket:
    """Return a client on some worker."""
    client = WebSocket(port)
    client.receive()
    client.send("40")
    assert str(client.receive()).startswith("40")
    return client


@pytest.fixture(scope="module", params=mode_params())
def shared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervised]:
    """Three workers of each mode, for tests that leave three behind."""
    folder = tmp_path_factory.mktemp(request.param)
    with supervised(folder, "--async-mode", request.param) as running:
        yield running.wait_ready()


@pytest.fixture
def three(shared: Supervised) -> Supervised:
    shared.wait_for(lambda: len(shared.serving()) == 3)
    return shared


def test_requests_reach_several_workers(three: Supervised) -> None:
    three.wait_for(lambda: three.answering(30) == three.serving())


def test_the_application_is_told_once(three: Supervised) -> None:
    assert three.text().count(" * 'app' on http://") == 1
    assert three.text().count("supervisor") == 1


def test_workers_know_their_group(three: Supervised) -> None:
    groups = {three.get().split()[1] for _ in range(30)}
    assert len(groups) == 1
    assert re.fullmatch("[0-9a-f]{16},3", groups.pop())


def test_a_websocket_stays_with_its_worker(three: Supervised) -> None:
    client = python_client()
    client.connect(f"http://{HOST}:{three.port}", transports=["websocket"], wait_timeout=5)
    try:
        pids = {client.call("pid", timeout=5) for _ in range(20)}
    finally:
        client.shutdown()
    assert len(pids) == 1
    assert pids <= three.serving()


def test_clients_with_long_polling_and_an_upgrade_are_served_by_any_worker(three: Supervised) -> None:
    pids = set()
    for _ in range(8):
        client = python_client()
        client.connect(f"http://{HOST}:{three.port}", wait_timeout=5)
        try:
            pids.add(client.call("pid", timeout=5))
            assert client.transport() == "websocket"
        finally:
            client.shutdown()
    assert pids <= three.serving()


def test_a_worker_that_was_killed_comes_back(three: Supervised) -> None:
    before = three.serving()
    victim = min(before)
    os.kill(victim, signal.SIGKILL)
    three.wait_for(lambda: victim in three.told("ended by SIGKILL: another one starts"))
    assert three.answering(20) <= before - {victim} | three.serving()
    three.wait_for(lambda: len(three.serving()) == 3)
    assert len(three.serving() & before) == 2
    three.wait_for(lambda: three.answering(30) == three.serving())


def test_all_workers_are_exchanged_and_nobody_is_refused(three: Supervised) -> None:
    before = three.serving()
    held = usage(three.process.pid)
    slow: list[str] = []
    waiting = threading.Thread(target=lambda: slow.append(three.get("/slow/1.5")))
    with Load(three.port) as load:
        three.wait_for(lambda: load.workers() == before)
        waiting.start()
        time.sleep(0.3)  # it is being served: nothing shows that
        three.send(signal.SIGHUP)
        three.wait_for(lambda: before <= set(three.ended()) and len(three.serving()) == 3)
        seen = len(load.answers)
        three.wait_for(lambda: load.workers(seen + 10) == three.serving())
    waiting.join()
    assert load.errors == [], three.text()
    assert load.workers() == before | three.serving()
    assert load.workers(seen + 10) == three.serving()
    assert len({answer.split()[1] for answer in load.answers}) == 1
    assert int(slow[0]) in before
    assert set(three.told("ended with status 0")) >= before, three.text()
    assert usage(three.process.pid) == held


def test_there_may_be_more_workers_and_fewer(three: Supervised) -> None:
    three.send(signal.SIGTTIN)
    three.wait_for(lambda: len(three.serving()) == 4)
    assert any(three.get().split()[1].endswith(",4") for _ in range(200))
    oldest = three.told("serves")[0]
    three.send(signal.SIGTTOU)
    three.wait_for(lambda: len(three.serving()) == 3)
    assert oldest not in three.serving()


def test_a_terminated_supervisor_ends_its_workers_and_tells_their_clients(
    mode_options: tuple[str, str], tmp_path: Path
) -> None:
    with supervised(tmp_path, *mode_options) as running:
        workers = running.wait_ready().serving()
        port = running.port
        client = joined(port)
        running.send(signal.SIGTERM)
        assert running.wait(END_S) == 0, running.text()
        client.wait_closed(timeout_s=END_S)
        assert not any(map(is_alive, workers))
        assert sorted(running.told("ended with status 0")) == sorted(workers)
        assert running.text().count("farewell server disconnect") == 1
        assert "Traceback" not in running.text()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, port), timeout=1)


@pytest.fixture(params=mode_params())
def mode_options(request: pytest.FixtureRequest) -> tuple[str, str]:
    return "--async-mode", request.param


def test_ctrl_c_ends_all_once(mode_options: tuple[str, str], tmp_path: Path) -> None:
    with supervised(tmp_path, *mode_options) as running:
        workers = running.wait_ready().serving()
        os.killpg(running.process.pid, signal.SIGINT)
        assert running.wait(END_S) == 0, running.text()
        assert sorted(running.told("ended with status 0")) == sorted(workers)
        assert not any(map(is_alive, workers))
        assert "Traceback" not in running.text()


def test_workers_end_when_their_supervisor_is_killed(mode_options: tuple[str, str], tmp_path: Path) -> None:
    with supervised(tmp_path, *mode_options) as running:
        workers = running.wait_ready().serving()
        port = running.port
        client = joined(port)
        running.process.kill()
        running.process.wait()
        running.wait_for(lambda: not any(map(is_alive, workers)), timeout_s=END_S)
        client.wait_closed(timeout_s=END_S)
        assert running.text().count("farewell server disconnect") == 1
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((HOST, port), timeout=1)


def hold(running: Supervised, seconds: float) -> None:
    """Have a worker serve a request that takes so long."""

    def ask() -> None:
        try:
            running.get(f"/slow/{seconds}", timeout_s=60)
        except OSError:
            return  # the worker was killed

    threading.Thread(target=ask, daemon=True).start()
    time.sleep(0.5)  # it is being served: nothing shows that


def test_a_worker_that_does_not_end_is_killed(tmp_path: Path) -> None:
    options = ("--async-mode", "threading", "--graceful-timeout", "1.5")
    with supervised(tmp_path, *options, workers=2) as running:
        running.wait_ready()
        hold(running, 50.0)
        begun_s = time.monotonic()
        running.send(signal.SIGTERM)
        assert running.wait(END_S) == 0
        assert 1.4 < time.monotonic() - begun_s < 3
        assert len(running.told("takes too long to end")) == len(running.told("ended by SIGKILL")) == 1
        assert len(running.told("ended with status 0")) == 1


def test_a_second_ctrl_c_ends_all_at_once(tmp_path: Path) -> None:
    with supervised(tmp_path, "--async-mode", "threading", workers=2) as running:
        workers = running.wait_ready().serving()
        hold(running, 50.0)
        os.killpg(running.process.pid, signal.SIGINT)
        running.wait_for(lambda: len(running.ended()) == 1)
        os.killpg(running.process.pid, signal.SIGINT)
        assert running.wait(END_S) == 128 + signal.SIGINT
        assert not any(map(is_alive, workers))


def test_a_worker_whose_supervisor_is_gone_ends_even_if_it_is_busy(tmp_path: Path) -> None:
    options = ("--async-mode", "threading", "--graceful-timeout", "1")
    with supervised(tmp_path, *options, workers=2) as running:
        workers = running.wait_ready().serving()
        hold(running, 50.0)
        running.process.kill()
        running.process.wait()
        running.wait_for(lambda: not any(map(is_alive, workers)), timeout_s=END_S)


@pytest.mark.parametrize("options", [(), ("--async-mode", "threading")], ids=["loaded twice", "loaded once"])
def test_an_application_that_cannot_be_loaded_is_told_once(tmp_path: Path, options: tuple[str, ...]) -> None:
    with supervised(tmp_path, *options, app="1 / 0") as running:
        assert running.wait(START_S) == 1
        assert running.text().count("ZeroDivisionError: division by zero") == 1
        assert len(running.told("ended with status 1 before it served")) == 1


def test_an_option_that_does_not_exist_is_told_once(tmp_path: Path) -> None:
    with supervised(tmp_path, "--async-mode", "thraeding") as running:
        assert running.wait(START_S) == 1
        assert running.text().count("Error: --async-mode thraeding is not provided") == 1


def test_a_port_that_is_taken_is_told_once(tmp_path: Path) -> None:
    with socket.create_server((HOST, 0)) as other:
        port = str(other.getsockname()[1])
        with supervised(tmp_path, "--port", port) as running:
            assert running.wait(START_S) == 1
            assert running.text() == (
                f"Error: [Errno 98] port {port} of {HOST} is in use by another program: stop that one, or choose "
                "another port\n"
            )


def test_a_broken_reload_leaves_the_old_workers(tmp_path: Path) -> None:
    with supervised(tmp_path, "--async-mode", "threading", workers=2) as running:
        before = running.wait_ready().serving()
        (tmp_path / "app.py").write_text("1 / 0")
        running.send(signal.SIGHUP)
        running.wait_for(lambda: "the others are not exchanged" in running.text())
        assert running.serving() == before
        running.wait_for(lambda: running.answering(30) == before)
        assert running.text().count("ZeroDivisionError: division by zero") == 1
        (tmp_path / "app.py").write_text(APP)
        running.send(signal.SIGHUP)
        running.wait_for(lambda: before <= set(running.ended()) and len(running.serving()) == 2)


def test_workers_that_end_again_and_again_are_started_more_and_more_slowly(tmp_path: Path) -> None:
    # The first one lives, so that the supervisor has seen the application serve.
    failing = APP + (
        "import threading, signal, pathlib\n"
        "if pathlib.Path('failing').exists():\n"
        "    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGKILL)).start()\n"
        "pathlib.Path('failing').touch()\n"
    )
    with supervised(tmp_path, "--async-mode", "threading", workers=2, app=failing) as running:
        running.wait_for(lambda: len(running.ended()) >= 3)
        pauses = re.findall(r"ended by SIGKILL: another one starts (now|in \S+ s)", running.text())
        assert pauses[:3] == ["now", "in 1 s", "in 2 s"]
        running.send(signal.SIGTERM)
        assert running.wait(END_S) == 0


def test_an_ipv6_address_is_served(mode_options: tuple[str, str], tmp_path: Path) -> None:
    with supervised(tmp_path, *mode_options, host="::1", workers=2) as running:
        running.wait_ready()
        assert f" on http://[::1]:{running.port}, " in running.text()
        with socket.create_connection(("::1", running.port), timeout=5) as connection:
            connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with connection.makefile("rb") as answer:
                assert b" 200 " in answer.readline()


@pytest.mark.skipif(not tls.has_openssl(), reason="openssl is not installed")
def test_each_worker_speaks_tls(mode_options: tuple[str, str], tmp_path: Path) -> None:
    certificate, key = tls.certificate()
    options = (*mode_options, "--cert", certificate, "--key", key)
    context = ssl.create_default_context(cafile=certificate)
    with supervised(tmp_path, *options, workers=2) as running:
        workers = running.wait_ready().serving()
        answered = set()

        def all_have_answered() -> bool:
            with socket.create_connection((HOST, running.port), timeout=5) as plain:
                with context.wrap_socket(plain, server_hostname="localhost") as connection:
                    connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
                    with connection.makefile("rb") as answer:
                        answered.add(int(answer.read().rpartition(b"\r\n")[2].split()[0]))
            return answered == workers

        running.wait_for(all_have_answered)
        running.send(signal.SIGTERM)
        assert running.wait(END_S) == 0
        assert sorted(running.told("ended with status 0")) == sorted(workers), running.text()


def test_a_closed_terminal_ends_all(tmp_path: Path) -> None:
    with supervised(tmp_path, "--async-mode", "threading", workers=2, terminal=True) as running:
        workers = running.wait_ready().serving()
        running.send(signal.SIGHUP)  # the terminal is there: a reload
        running.wait_for(lambda: workers <= set(running.ended()) and len(running.serving()) == 2)
        workers = running.serving()
        running.close_terminal()
        assert running.wait(END_S) == 0
        assert not any(map(is_alive, workers))


def test_a_name_is_served(tmp_path: Path) -> None:
    with supervised(tmp_path, "--async-mode", "threading", host="localhost", workers=2) as running:
        running.wait_ready()
        assert request(running.port, "GET", "/").status == 200


def test_one_worker_is_no_supervisor(tmp_path: Path) -> None:
    app = "from flask import Flask\nfrom flask_socketio_core import SocketIO\napp = Flask(__name__)\nSocketIO(app)\n"
    with supervised(tmp_path, "--async-mode", "threading", workers=1, app=app) as running:
        running.wait_for(lambda: " * 'app' on " in running.text())
        running.wait_for(lambda: "Running on" in running.text())
        assert "supervisor" not in running.text()
        running.send(signal.SIGTERM)
        assert running.wait(END_S) == 0
