"""What is seen of the process around us, each sign in a real process that has it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from flask_socketio_core.contracts.process import WORKERS, ProcessFacts, WorkerGroup, observe
from flask_socketio_core.errors import InvalidOption
from flask_socketio_core.testing.ports import free_port
from support.servers import HOST, find_program, wait_until

LIMIT_S = 15
#: What the application leaves behind for the test, in its working directory.
FACTS = "facts.json"
APP = """
import dataclasses, json, os
from flask import Flask
from flask_socketio_core.contracts.process import observe

with open("facts.new", "w") as file:
    json.dump(dataclasses.asdict(observe()), file)
os.rename("facts.new", "facts.json")
app = Flask(__name__)
"""

FactsOf = Callable[..., ProcessFacts]


@pytest.fixture
def facts_of(tmp_path: Path) -> Iterator[FactsOf]:
    """Return a function that runs a command in a folder with ``app.py`` and returns the facts that the app saw."""
    started: list[subprocess.Popen[bytes]] = []

    def run(
        command: Sequence[str],
        *,
        first_line: str = "",
        stop: signal.Signals = signal.SIGTERM,
        port: int | None = None,
    ) -> ProcessFacts:
        (tmp_path / "app.py").write_text(first_line + APP)
        with (tmp_path / "output").open("wb") as output:
            process = subprocess.Popen(
                command,
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": str(tmp_path)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        started.append(process)
        facts = tmp_path / FACTS
        wait_until(lambda: facts.exists() or process.poll() is not None, timeout_s=LIMIT_S)
        if port is not None:
            wait_until(lambda: answers(port), timeout_s=LIMIT_S)
        for _ in range(LIMIT_S):  # uWSGI takes no notice of a signal before it has loaded the application
            process.send_signal(stop)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(1.0)
                break
        assert process.returncode is not None, (tmp_path / "output").read_text()
        assert facts.exists(), (tmp_path / "output").read_text()
        return ProcessFacts(**json.loads(facts.read_text()))

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()


def answers(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=1.0)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 404
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def python(*arguments: str) -> list[str]:
    return [sys.executable, *arguments]


def flask(*arguments: str) -> list[str]:
    return python("-m", "flask", "--app", "app", *arguments)


def test_a_plain_process_has_no_sign(facts_of: FactsOf) -> None:
    assert facts_of(python("app.py")) == ProcessFacts()


@pytest.mark.parametrize(
    ("library", "line"),
    [
        ("gevent", "from gevent import monkey; monkey.patch_all()"),
        ("eventlet", "import eventlet; eventlet.monkey_patch()"),
    ],
)
def test_the_library_that_patched_the_process_is_named(facts_of: FactsOf, library: str, line: str) -> None:
    pytest.importorskip(f"flask_socketio_async_{library}", reason=f"{library} is not installed")
    assert facts_of(python("app.py"), first_line=line).patched_by == library


def test_flask_run_is_seen(facts_of: FactsOf) -> None:
    assert facts_of(flask("run", "--host", HOST, "--port", str(free_port()))).flask_run


def test_flask_run_is_seen_by_the_reloader_and_its_child(facts_of: FactsOf) -> None:
    assert facts_of(flask("run", "--reload", "--host", HOST, "--port", str(free_port()))).flask_run


def test_another_command_of_flask_is_not_flask_run(facts_of: FactsOf) -> None:
    assert not facts_of(flask("routes")).flask_run


def test_a_program_that_a_flask_command_starts_is_not_flask_run(
    facts_of: FactsOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLASK_RUN_FROM_CLI", "true")  # what it inherits
    assert not facts_of(python("app.py")).flask_run


@pytest.mark.parametrize(
    ("worker", "seen"), [("sync", "sync"), ("gthread", "gthread"), ("gevent", "ggevent")], ids=str
)
def test_gunicorns_worker_is_named(facts_of: FactsOf, worker: str, seen: str) -> None:
    pytest.importorskip("gunicorn")
    if worker == "gevent":
        pytest.importorskip("flask_socketio_async_gevent", reason="gevent is not installed")
    options = ("--worker-class", worker, "--threads", "2" if worker == "gthread" else "1")
    command = python("-m", "gunicorn", "--bind", f"{HOST}:{free_port()}", *options, "app:app")
    assert facts_of(command).gunicorn_worker == seen


@pytest.mark.parametrize(
    ("options", "loop"),
    [(["--gevent", "10"], "gevent"), (["--threads", "2"], None)],
    ids=["gevent", "threads"],
)
def test_uwsgi_and_its_loop_are_seen(facts_of: FactsOf, options: list[str], loop: str | None) -> None:
    program = find_program("uwsgi")
    if program is None:
        pytest.skip("the program uwsgi is not installed")
    if loop is not None:
        pytest.importorskip(f"flask_socketio_async_{loop}", reason=f"{loop} is not installed")
    paths = [argument for path in sys.path if path for argument in ("--pythonpath", path)]
    port = free_port()
    command = [
        program,
        "--http",
        f"{HOST}:{port}",
        *options,
        "--master",
        *paths,
        "--module",
        "app:app",
    ]
    # A worker that a signal reaches between its fork and its loop stays, and its master waits a minute for it.
    facts = facts_of(command, stop=signal.SIGINT, port=port)
    assert (facts.uwsgi, facts.uwsgi_loop) == (True, loop)


GROUP = WorkerGroup(group="0123456789abcdef", count=4)


def test_the_group_of_workers_is_what_a_supervisor_has_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(WORKERS, str(GROUP))
    assert os.environ[WORKERS] == "0123456789abcdef,4"
    assert observe().workers == GROUP


@pytest.mark.parametrize(
    "value",
    [
        "",
        "4",
        "0123456789abcdef",
        "0123456789abcdef,",
        "0123456789abcdef,0",
        "0123456789ABCDEF,4",
        f"{GROUP}\n",
    ],
)
def test_a_group_of_workers_that_no_supervisor_sets_is_an_error(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv(WORKERS, value)
    with pytest.raises(InvalidOption, match=r"SOCKETIO_WORKERS=.* must be 16 hexadecimal digits.*unset it"):
        observe()
