"""`flask socketio doctor` finds what is wrong, says where it comes from and what mends it."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
import time
import types
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from flask import Flask
from flask.cli import ScriptInfo

from flask_socketio_core import SocketIO
from flask_socketio_core.app import examined
from flask_socketio_core.app.examined import secret_key_proof
from flask_socketio_core.cli import doctor
from flask_socketio_core.cli.doctor import Outcome, cold, server
from flask_socketio_core.cli.doctor.finding import Case, Finding, error, warning
from flask_socketio_core.cluster import link
from flask_socketio_core.cluster.signing import CLOCK_SKEW_S
from support.brokers.broker import Broker
from support.brokers.fixtures import running
from support.brokers.redis_server import RedisBroker

Invoke = Callable[..., Result]
KEY = "the same for all"


def make(config: dict[str, Any] | None = None, **options: Any) -> Callable[[], Flask]:
    def create() -> Flask:
        app = Flask("shop")
        app.config.update({"SECRET_KEY": KEY, **(config or {})})
        SocketIO(app, **options)
        return app

    return create


@pytest.fixture
def examine(invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Return what runs the command in an empty folder, and returns its JSON; its status is checked against that."""
    monkeypatch.chdir(tmp_path)
    for name in ("GUNICORN_CMD_ARGS", "WEB_CONCURRENCY"):
        monkeypatch.delenv(name, raising=False)

    def run(create_app: Callable[[], Flask], *arguments: str) -> dict[str, Any]:
        result = invoke(create_app, "doctor", "--json", *arguments)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.output
        found: dict[str, Any] = json.loads(result.stdout)
        assert result.exit_code == (0 if found["ok"] else 1)
        assert found["ok"] is not any(item["severity"] == "error" for item in found["findings"])
        return found

    return run


Examine = Callable[..., dict[str, Any]]


def text_of(found: dict[str, Any], check: str, severity: str) -> str:
    """Return all that a check has found of one severity; it has a cause and says what to do."""
    items = [item for item in found["findings"] if (item["check"], item["severity"]) == (check, severity)]
    assert all(item["what"] and item["cause"] and item["mend"] for item in items)
    return "\n".join(f"{item['what']}; {item['cause']}; {item['mend']}" for item in items)


def test_nothing_is_found_where_nothing_is_wrong(examine: Examine) -> None:
    found = examine(make(), "--server", "gunicorn -k gthread --threads 100 app:app")
    assert (found["ok"], found["findings"]) == (True, [])
    assert set(found["not_checked"]) == {
        "monkey_patch",
        "secret_key",
        "clocks",
        "secret_keys",
        "versions_of_servers",
        "log",
    }


SHOP = {"SERVER_NAME": "shop.example", "PREFERRED_URL_SCHEME": "https"}


#: Options of workers that have nothing to do with each other.
ALONE: dict[str, Any] = {"share_sessions": False}


@pytest.mark.parametrize(
    ("check", "severity", "text", "config", "options", "line"),
    [
        ("gunicorn_worker", "error", "has no worker 'nothing'", {}, {}, "gunicorn -k nothing app:app"),
        (
            "async_mode",
            "error",
            "gevent has monkey-patched this process",
            {},
            {"async_mode": "threading"},
            "gunicorn -k gevent app:app",
        ),
        ("several_workers", "error", "4 workers, and no message queue", {}, ALONE, "gunicorn -w 4 app:app"),
        (
            "several_workers",
            "error",
            "3 workers, and no",
            {},
            ALONE,
            "uwsgi --http :80 --processes 3 --module app",
        ),
        (
            "several_workers",
            "error",
            "4 workers, and no",
            {},
            ALONE,
            "flask --app a socketio run --workers 4",
        ),
        (
            "several_workers",
            "warning",
            "`Session ID unknown`",
            {},
            {"message_queue": "memory://", **ALONE},
            "python -m gunicorn -w 2 a:b",
        ),
        ("descriptors", "error", "max_connections=", {}, {"max_connections": 10**9}, ""),
        ("origins", "error", "another scheme", SHOP, {"cors_allowed_origins": "http://shop.example"}, ""),
        (
            "origins",
            "warning",
            "https://shop.example",
            SHOP,
            {"cors_allowed_origins": ["https://a.example"]},
            "",
        ),
        (
            "trusted_hosts",
            "error",
            "no host's name",
            {"TRUSTED_HOSTS": ["https://shop.example", ".b.example"]},
            {},
            "",
        ),
        (
            "trusted_hosts",
            "error",
            "SERVER_NAME='shop.example' is not in",
            {**SHOP, "TRUSTED_HOSTS": ["b.example"]},
            {},
            "",
        ),
        ("secret_key", "warning", "has no SECRET_KEY", {"SECRET_KEY": None}, {}, ""),
    ],
)
def test_each_fault_is_found_with_its_cause(
    examine: Examine,
    check: str,
    severity: str,
    text: str,
    config: dict[str, Any],
    options: dict[str, Any],
    line: str,
) -> None:
    pytest.importorskip("gunicorn")
    if check == "trusted_hosts" and "TRUSTED_HOSTS" not in Flask.default_config:
        text, severity = "this Flask does not know TRUSTED_HOSTS", "warning"
    found = examine(make(config, **options), *(("--server", line) if line else ()))
    assert text in text_of(found, check, severity)
    assert {item["check"] for item in found["findings"]} - {check} <= {"several_workers"}


def test_what_can_match_is_no_finding(examine: Examine) -> None:
    hosts = [".shop.example", "other.example"] if "TRUSTED_HOSTS" in Flask.default_config else None
    config = {**SHOP, "TRUSTED_HOSTS": hosts}
    found = examine(
        make(config, cors_allowed_origins=["https://*.example", "https://shop.example"], max_connections=10)
    )
    assert found["findings"] == []


def test_gunicorns_settings_are_read_as_gunicorn_reads_them(
    examine: Examine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("gunicorn")
    (tmp_path / "gunicorn.conf.py").write_text("workers = 1 + 2\n")
    told = text_of(examine(make(**ALONE)), "several_workers", "error")
    assert "gunicorn.conf.py: 3 workers" in told
    monkeypatch.setenv("GUNICORN_CMD_ARGS", "--workers 5")
    assert "5 workers" in text_of(examine(make(**ALONE)), "several_workers", "error")
    assert "7 workers" in text_of(
        examine(make(**ALONE), "--server", "FOO=1 gunicorn -w7"), "several_workers", "error"
    )
    (tmp_path / "gunicorn.conf.py").unlink()
    monkeypatch.delenv("GUNICORN_CMD_ARGS")
    monkeypatch.setenv("WEB_CONCURRENCY", "2")
    assert "WEB_CONCURRENCY: 2 workers" in text_of(examine(make(**ALONE)), "several_workers", "error")


@pytest.mark.parametrize("line", ["gunicorn -w 4 app:app", "flask socketio run -w 4"])
def test_several_workers_that_find_each_other_are_no_finding(
    examine: Examine, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    pytest.importorskip("flask_socketio_queue_host")
    monkeypatch.setenv("SOCKETIO_LOAD_PLUGINS", "async-threading,queue-host")
    found = examine(make(), "--server", line)
    assert found["findings"] == []


def test_eventlet_s_worker_is_missed_where_gunicorn_has_none(examine: Examine) -> None:
    workers = pytest.importorskip("gunicorn.workers")
    found = examine(make(), "--server", "gunicorn -k eventlet app:app")
    assert bool(text_of(found, "gunicorn_worker", "error")) is ("eventlet" not in workers.SUPPORTED_WORKERS)


def test_a_server_that_patches_before_it_loads_the_application_is_known() -> None:
    pytest.importorskip("gunicorn")
    lines = {
        "gunicorn -k gevent app:app": True,
        "gunicorn -k gevent --preload app:app": False,
        "gunicorn -k gthread app:app": False,
        "uwsgi --gevent 100 --gevent-early-monkey-patch --module app:app": True,
        "uwsgi --gevent 100 --gevent-monkey-patch --module app:app": False,
        "flask --app app socketio run": True,
        "flask --app app run": False,
        "python app.py": False,
    }
    assert {line: server.find(line, {}).patches for line in lines} == lines


def test_settings_that_gunicorn_does_not_take_are_a_mistake_of_the_line(invoke: Invoke) -> None:
    pytest.importorskip("gunicorn")
    result = invoke(make(), "doctor", "--server", "gunicorn --wrokers 3 app:app")
    assert result.exit_code == 2
    assert "unrecognized arguments: --wrokers" in result.output


def test_a_line_that_no_shell_takes_is_a_mistake_of_it(invoke: Invoke) -> None:
    result = invoke(make(), "doctor", "--server", "gunicorn 'app:app")
    assert result.exit_code == 2
    assert "is no command: No closing quotation" in result.output


# ------------------------------------------------------------------------------------------------ what is installed


def install(folder: Path, name: str, version: str, entry_points: str = "", requires: str = "") -> None:
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}")
    (info / "entry_points.txt").write_text(entry_points)


def test_versions_that_do_not_fit_are_found(
    examine: Examine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("flask_socketio_queue_redis", reason="the plugin for Redis is not installed")
    install(tmp_path / "site", "redis", "8.0.0")
    install(tmp_path / "site", "pluggy", "1.0.0")
    monkeypatch.syspath_prepend(tmp_path / "site")
    told = text_of(examine(make()), "versions", "error")
    assert "flask-socketio-queue-redis does not work with what is installed" in told
    assert "(8.0.0 is installed)" in told
    assert "pluggy>=1.5 (1.0.0 is installed)" in told


def test_plugins_that_are_broken_or_doubled_are_found(
    examine: Examine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    site = tmp_path / "site"
    group = "[flask_socketio_core]\n"
    install(site, "socketio-dove", "1.0", f"{group}queue-dove = no_such_module\n")
    monkeypatch.syspath_prepend(site)
    monkeypatch.setenv("SOCKETIO_LOAD_PLUGINS", "async-threading,queue-memory,queue-dove")
    told = text_of(examine(make()), "plugins", "error")
    assert "the plugin queue-dove is broken" in told
    assert "No module named 'no_such_module'" in told
    assert "another version of socketio-dove 1.0" in told
    install(site, "socketio-pigeon", "1.0", f"{group}queue-dove = json\n")
    found = examine(make())
    assert "two distributions register a plugin named 'queue-dove'" in text_of(found, "application", "error")
    assert text_of(found, "plugins", "error").count("two distributions") == 0  # told once


def test_an_application_that_cannot_be_loaded_is_a_finding_and_the_others_are_made(examine: Examine) -> None:
    def create() -> Flask:
        raise RuntimeError("no database")

    found = examine(create, "--server", "gunicorn -k nothing app:app")
    assert "RuntimeError: no database" in text_of(found, "application", "error")
    assert text_of(found, "gunicorn_worker", "error")
    assert found["not_checked"]["origins"] == "it needs the application"
    assert "no SocketIO object" in text_of(examine(lambda: Flask("shop")), "application", "error")


# -------------------------------------------------------------------------------------------- the queue, the servers


@pytest.fixture
def channel() -> str:
    return f"doctor-{uuid.uuid4().hex[:12]}"


@pytest.fixture
def serve(channel: str) -> Iterator[Callable[[str], None]]:
    """Return what starts a server with a ``SECRET_KEY``."""
    ends = []

    def start(key: str) -> None:
        app = make({"SECRET_KEY": key}, message_queue="memory://", channel=channel)()
        binding = app.extensions["socketio"].binding_of(app)
        binding.join()
        ends.append(binding.shutdown)
        assert binding.cluster.await_subscription(10)

    yield start
    for end in ends:
        end()


def test_servers_that_differ_in_key_or_clock_are_found(
    examine: Examine,
    serve: Callable[[str], None],
    channel: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    app = make(message_queue="memory://", channel=channel)
    serve(KEY)
    found = examine(app)
    assert found["findings"] == []
    assert not {"clocks", "secret_keys", "versions_of_servers"} & set(found["not_checked"])
    serve("of another server")
    # What the link, which says what time it is, takes for the time of day.
    ahead = types.SimpleNamespace(**{**vars(time), "time": lambda: time.time() + CLOCK_SKEW_S + 30})
    monkeypatch.setattr(link, "time", ahead)
    found = examine(app)
    assert re.search(r"is (8|9)\d s ahead of ours", text_of(found, "clocks", "error"))
    told = text_of(found, "secret_keys", "error")
    assert "SECRET_KEY differs between here and" in told
    assert KEY not in told and "of another server" not in told
    monkeypatch.setattr(examined, "answer", lambda payload, node: "no secret_key")
    serve(KEY)
    found = examine(app)
    assert "it is not known whether" in text_of(found, "secret_keys", "warning")
    assert text_of(found, "secret_keys", "error") == told


def test_a_check_that_fails_takes_nothing_from_the_others(
    examine: Examine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def origins(case: Case) -> list[Finding]:
        raise OSError("too many\nopen files")

    monkeypatch.setattr(doctor, "CHECKS", (origins, doctor.application.secret_key))
    found = examine(make({"SECRET_KEY": None}))
    assert found["not_checked"] == {"origins": "it failed with OSError: too many\\nopen files"}
    assert "has no SECRET_KEY" in text_of(found, "secret_key", "warning")


@pytest.fixture
def with_redis(monkeypatch: pytest.MonkeyPatch, examine: Examine) -> Examine:
    pytest.importorskip("flask_socketio_queue_redis", reason="the plugin for Redis is not installed")
    monkeypatch.setenv("SOCKETIO_LOAD_PLUGINS", "async-threading,queue-memory,queue-redis")
    return examine


def test_a_broker_that_is_away_or_refuses_us_is_found(
    with_redis: Examine, redis_broker: Broker, channel: str
) -> None:
    app = make(message_queue=redis_broker.url, channel=channel)
    with redis_broker.outage():
        assert "is down" in text_of(with_redis(app), "message_queue", "error")
    with running(RedisBroker("--requirepass", "correct horse")) as broker:
        url = broker.url.replace("redis://", "redis://:battery@")
        found = with_redis(make(message_queue=url, channel=channel))
    told = text_of(found, "message_queue", "error")
    assert "refuses us" in told and "a wrong user name or password" in told
    assert "battery" not in json.dumps(found)


@pytest.mark.parametrize(
    ("options", "line", "found"),
    [
        ({}, "", False),
        ({}, "gunicorn -w 4 app:app", True),
        ({"message_queue": "memory://"}, "", True),
        ({"message_queue": "memory://", "store": "memory://"}, "", False),
    ],
)
def test_events_that_are_handled_once_by_each_server_are_found(
    examine: Examine, options: dict[str, Any], line: str, found: bool
) -> None:
    make_plain = make(**options)

    def make_once() -> Flask:
        app = make_plain()
        app.extensions["socketio"].on("order", once=lambda data: data)(print)
        return app

    lines = ("--server", line) if line else ()
    assert text_of(examine(make_plain, *lines), "store", "warning") == ""
    assert ("handled once by each server" in text_of(examine(make_once, *lines), "store", "warning")) is found


def test_a_store_that_is_away_is_found(with_redis: Examine, redis_broker: Broker) -> None:
    app = make(store=redis_broker.url)
    assert not [finding for finding in with_redis(app)["findings"] if finding["check"] == "store"]
    with redis_broker.outage():
        told = text_of(with_redis(app), "store", "error")
    assert "is down" in told and "SOCKETIO_STORE" in told


# --------------------------------------------------------------------------------------------- loaded a second time

APP = """\
{early}
import flask, secrets
import flask_socketio_core as core
{late}
app = flask.Flask(__name__)
app.config["SECRET_KEY"] = {key}
core.SocketIO(app, **{options!r})
print("loaded")
"""


def run_doctor(folder: Path, *arguments: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "flask", "--app", "app", "socketio", "doctor", "--json", *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert done.returncode in (0, 1), done.stderr
    found: dict[str, Any] = json.loads(done.stdout[done.stdout.index("{") :])
    return found


@pytest.mark.timeout(120)
def test_a_late_patch_and_a_key_made_at_import_are_found(
    redis_broker: Broker, channel: str, tmp_path: Path
) -> None:
    for module in ("flask_socketio_queue_redis", "flask_socketio_async_gevent"):
        pytest.importorskip(module, reason=f"{module} is not installed")
    options = {"async_mode": "gevent", "message_queue": redis_broker.url, "channel": channel}
    patch = "from gevent import monkey; monkey.patch_all()"
    text = APP.format(early="", late=patch, key="secrets.token_hex()", options=options)
    (tmp_path / "app.py").write_text(text)
    found = run_doctor(tmp_path, "--server", "python app.py")
    told = text_of(found, "monkey_patch", "error")
    assert "patched too late, by gevent; imported before that: " in told and "flask" in told
    assert "greenlet" not in told
    assert "two processes that load it have two" in text_of(found, "secret_key", "error")
    assert not text_of(found, "message_queue", "error")


@pytest.mark.timeout(120)
def test_an_application_that_patches_first_or_not_at_all_is_seen_as_that(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("flask_socketio_async_gevent", reason="the plugin for gevent is not installed")
    monkeypatch.setattr(sys, "path", list(sys.path))
    for early, patched_by in (("from gevent import monkey; monkey.patch_all()", "gevent"), ("", None)):
        name = f"app_{patched_by}.py"
        (tmp_path / name).write_text(APP.format(early=early, late="", key="'k'", options={}))
        seen = cold.start(ScriptInfo(app_import_path=str(tmp_path / name)), "nonce")
        app = Flask("shop")
        app.secret_key = "k"
        proof = secret_key_proof(app, "nonce")
        assert seen == cold.ColdStart(patched_by=patched_by, before=(), secret_key=proof)


# -------------------------------------------------------------------------------------------------------- the log


def test_the_log_tells_of_clients_that_are_too_old_and_of_proxies(examine: Examine, tmp_path: Path) -> None:
    app = make(logger=True)()
    client, log = app.test_client(), tmp_path / "server.log"
    handler = logging.FileHandler(log)
    logger = logging.getLogger("flask_socketio_core.server")
    logger.addHandler(handler)
    try:
        assert client.get("/socket.io/?EIO=3&transport=polling").status_code == 400
        behind = {"Origin": "https://shop.example", "X-Forwarded-Host": "shop.example"}
        behind["X-Forwarded-Proto"] = "https"
        assert client.get("/socket.io/?EIO=4&transport=polling", headers=behind).status_code == 400
    finally:
        logger.removeHandler(handler)
        handler.close()
    told = text_of(examine(make(), "--log", str(log)), "log", "error")
    assert "their library speaks Engine.IO protocol 3" in told
    assert "browsers on https://shop.example are refused" in told


# ------------------------------------------------------------------------------------------------------- the page


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_the_page_fits_80_columns_and_has_no_colour_without_a_terminal(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    result = invoke(
        make({"SECRET_KEY": None}, **ALONE), "doctor", "--server", "gunicorn -w 4 -k eventlet app:app"
    )
    assert result.exit_code == 1
    assert "\x1b" not in result.output
    assert max(map(len, result.output.splitlines())) <= min(max(columns, 80), 100)
    assert result.output.index("error: ") < result.output.index("warning: ")
    assert result.output.rstrip().endswith("errors, 2 warnings")


def test_errors_are_coloured_on_a_terminal() -> None:
    findings: list[Finding] = [make_("x", cause="y", mend="z") for make_ in (warning, error)]
    page = doctor.view([Outcome("check", tuple(findings))], 80)
    assert page.startswith("\x1b[31m")
    assert page.endswith("1 checks: 1 errors, 1 warnings")
