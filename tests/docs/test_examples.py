"""What the tutorial and the page about testing show works as they say."""

from __future__ import annotations

import platform
import shutil
import subprocess
import urllib.request
from pathlib import Path

import pytest

from support import nginx
from support.documents import page

from .programs import run, serving

TUTORIAL = page("docs/tutorial.md")
TESTING = page("docs/testing.md")
SERVE = ("-m", "flask", "--app", "app", "socketio", "run", "--allow-unsafe-werkzeug", "--port", "PORT")
PYTEST = ("-m", "pytest", "-q", "-p", "no:cacheprovider")

pytestmark = pytest.mark.timeout(90)


@pytest.fixture(params=range(len(TUTORIAL.versions("app.py"))), ids=["echo", "rooms"])
def app_folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder as the tutorial's reader has it after one of its steps."""
    TUTORIAL.write(tmp_path, "templates/index.html", "client.py")
    (tmp_path / "app.py").write_text(TUTORIAL.versions("app.py")[request.param])
    return tmp_path


def test_the_tutorials_client_talks_to_its_application(app_folder: Path) -> None:
    with serving(*SERVE, cwd=app_folder) as url:
        output = run("client.py", url, cwd=app_folder)
    assert "acknowledged: got it" in output  # two threads print: their lines may be mixed
    assert "the server said hello" in output


def test_the_tutorials_page_is_served_and_speaks_of_the_same_events(app_folder: Path) -> None:
    with serving(*SERVE, cwd=app_folder) as url:
        with urllib.request.urlopen(url, timeout=20) as answer:
            html = answer.read().decode()
    assert html.strip() == (app_folder / "templates/index.html").read_text().strip()
    application = (app_folder / "app.py").read_text()
    assert 'socket.emit("say"' in html and '@socketio.on("say")' in application
    assert 'socket.on("said"' in html and 'emit("said"' in application


def test_the_tutorials_view_reaches_clients(tmp_path: Path) -> None:
    TUTORIAL.write(tmp_path, "app.py", "templates/index.html")
    program = "\n".join(
        (
            "from app import app, socketio",
            "with socketio.test_client(app) as client:",
            "    assert app.test_client().post('/announce').status_code == 200",
            "    print(client.get_received()[-1]['args'])",
        )
    )
    assert run("-c", program, cwd=tmp_path) == "['an announcement']\n"


def test_the_question_that_the_page_of_queues_shows_is_answered(tmp_path: Path) -> None:
    page("docs/queues.md").write(tmp_path, "versions.py")
    program = "from versions import app; print(app.test_client().get('/versions').json)"
    output = run("-c", program, cwd=tmp_path)
    assert "'complete': True" in output
    assert output.count(platform.python_version()) == 1


@pytest.mark.parametrize("shown", [TUTORIAL, TESTING], ids=lambda shown: shown.path.stem)
def test_the_tests_that_a_page_shows_pass(shown: object, tmp_path: Path) -> None:
    assert shown in (TUTORIAL, TESTING)
    chosen = TUTORIAL if shown is TUTORIAL else TESTING
    chosen.write(tmp_path, "app.py", "test_app.py")
    output = run(*PYTEST, cwd=tmp_path)
    assert " passed" in output and "skipped" not in output


@pytest.mark.skipif(shutil.which("nginx") is None, reason="the program nginx is not installed")
def test_nginx_takes_the_configuration_of_the_deployment_page(tmp_path: Path) -> None:
    command = nginx.command(tmp_path, page("docs/deployment.md").block("nginx.conf"))
    result = subprocess.run([*command, "-t"], capture_output=True, text=True, timeout=20)
    assert result.returncode == 0, result.stderr


def test_the_tutorials_commands_show_the_plain_install(tmp_path: Path) -> None:
    TUTORIAL.write(tmp_path, "app.py")
    assert "threading" in run("-m", "flask", "--app", "app", "socketio", "plugins", cwd=tmp_path)
    assert "app.say" in run("-m", "flask", "--app", "app", "socketio", "events", cwd=tmp_path)
