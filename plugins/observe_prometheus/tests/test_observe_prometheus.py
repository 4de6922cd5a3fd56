"""What is measured of one application, and that pages and board say the same."""

from __future__ import annotations

import gc
import json
import logging
import re
import weakref
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask import Flask
from flask.cli import ScriptInfo
from prometheus_client import CollectorRegistry

from flask_socketio_core import EventRejected, Namespace, SocketIO, join_room
from flask_socketio_core.cli import socketio as commands
from flask_socketio_core.errors import ConfigurationError, InvalidOption
from support.flask_apps import End, MakeApp, end, make_app, new_app
from support.scrapes import Scrape
from support.servers import wait_until

__all__ = ["end", "make_app"]

PACKAGE = "flask_socketio_observe_prometheus"


def config(**more: Any) -> dict[str, Any]:
    """Return a configuration with a registry of the test's own."""
    settings = {f"SOCKETIO_PROMETHEUS_{name.upper()}": value for name, value in more.items()}
    return {"SOCKETIO_PROMETHEUS_REGISTRY": CollectorRegistry(), **settings}


def scrape(app: Flask, path: str = "/metrics") -> Scrape:
    answer = app.test_client().get(path)
    assert answer.status_code == 200
    return Scrape(answer.text)


def test_it_is_listed_as_ok(make_app: MakeApp) -> None:
    _, socketio = make_app(config())
    (found,) = [plugin for plugin in socketio.plugins.plugins if plugin.name == "observe-prometheus"]
    assert (found.status, found.distribution) == ("ok", "flask-socketio-observe-prometheus")


def test_events_are_told_apart_by_their_handlers(make_app: MakeApp) -> None:
    app, socketio = make_app(config(), namespaces="*")

    class Shop(Namespace):
        def on_buy(self) -> None:
            raise EventRejected()

    socketio.on_namespace(Shop("/shop"))
    socketio.on_event("say", lambda: None)
    socketio.on_event("*", lambda event, *args: None)
    socketio.on_event("say", lambda: None, namespace="*")
    client, shop, made_up = (socketio.test_client(app, namespace) for namespace in ("/", "/shop", "/made up"))
    for event in ("say", "one", "two"):
        client.emit(event)
    shop.emit("buy", namespace="/shop")
    made_up.emit("say", namespace="/made up")
    found = scrape(app)
    assert found.labels("socketio_events_total", "event") == {"say", "other", "buy"}
    assert found.labels("socketio_events_total", "namespace") == {"/", "/shop", "other"}
    assert found.get("socketio_events_total", event="other", outcome="ok") == 2
    assert found.get("socketio_events_total", event="buy", outcome="rejected") == 1
    assert found.get("socketio_clients", namespace="other") == 1
    assert found.labels("socketio_clients_connected_total", "namespace") == {"/", "/shop", "other"}


def test_a_client_that_is_refused_is_no_error(make_app: MakeApp) -> None:
    app, socketio = make_app(config())

    @socketio.on("connect")
    def refuse() -> None:
        raise ConnectionRefusedError("no")

    assert not socketio.test_client(app).is_connected()
    found = scrape(app)
    assert found.get("socketio_events_total", event="connect", outcome="rejected") == 1
    assert found.get("socketio_events_total", outcome="error") == 0
    assert found.get("socketio_clients_connected_total") == 0


def test_reasons_of_the_application_are_told_as_one(make_app: MakeApp) -> None:
    app, socketio = make_app(config())
    socketio.on_event("connect", lambda: None)
    reasons = [f"reason {number}" for number in range(3)]
    for reason in (*reasons, socketio.reason.EXPIRED):
        socketio.test_client(app)
        socketio.kick(to=None, reason=reason)
    wait_until(
        lambda: scrape(app).labels("socketio_clients_disconnected_total", "reason") == {"kicked", "expired"},
        timeout_s=10,
    )


def test_so_many_names_are_told_apart(make_app: MakeApp) -> None:
    app, socketio = make_app(config(max_events=2))
    with socketio.test_client(app):
        for number in range(5):
            socketio.emit(f"event {number}")
    found = scrape(app)
    assert found.labels("socketio_emits_total", "event") == {"event 0", "event 1", "other"}
    assert found.get("socketio_recipients_sum", event="other") == 3


def test_two_applications_of_one_registry_are_added_up(make_app: MakeApp) -> None:
    settings = config()
    (one, first), (two, second) = make_app(settings), make_app(settings)
    with first.test_client(one), second.test_client(two), second.test_client(two):
        assert scrape(one).get("socketio_clients") == scrape(two).get("socketio_clients") == 3
        assert scrape(one).get("socketio_max_workers") == 2000
    second.close()
    assert scrape(one).get("socketio_max_workers") == 1000
    assert scrape(one).get("socketio_clients_connected_total") == 3


def test_nothing_is_served_without_a_path(make_app: MakeApp) -> None:
    settings = config(path="")
    app, socketio = make_app(settings)
    with socketio.test_client(app):
        assert app.test_client().get("/metrics").status_code == 404
        registry = settings["SOCKETIO_PROMETHEUS_REGISTRY"]
        assert registry.get_sample_value("socketio_clients", {"namespace": "/"}) == 1


def test_a_view_of_the_application_at_the_path_stays(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    app, _ = make_app(config())
    app.add_url_rule("/metrics", "own", lambda: "the application's")
    with caplog.at_level(logging.WARNING):
        assert app.test_client().get("/metrics").text == "the application's"
    assert "the application's own view 'own' is at /metrics; set app.config[" in caplog.text


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("path", "metrics", "expected a path that begins with '/'"),
        ("registry", "default", "expected a prometheus_client.CollectorRegistry"),
        ("max_events", 0, "expected a whole number greater than 0"),
    ],
)
def test_a_wrong_setting_is_told_at_the_start(name: str, value: Any, expected: str) -> None:
    with pytest.raises(InvalidOption, match=rf"SOCKETIO_PROMETHEUS_{name.upper()}.*{expected}"):
        SocketIO(new_app(**config(**{name: value})), async_mode="threading")


def test_a_missing_directory_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from flask_socketio_observe_prometheus.exporter import set_up

    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "missing"))
    app = new_app(**config())
    with pytest.raises(ConfigurationError, match="/missing' is no directory: make it, empty, before"):
        set_up(SocketIO(app, async_mode="threading"), app)


def test_an_application_is_not_kept_alive() -> None:
    app = new_app()  # in the registry of the process
    socketio = weakref.ref(SocketIO(app, async_mode="threading"))
    scrape(app)
    del app
    gc.collect()
    assert socketio() is None


def everything(end: End) -> Scrape:
    """Return a scrape with all metrics there are."""
    app = end(new_app(**config(socket_io_names=True)))
    socketio = SocketIO(app, async_mode="threading", message_queue="memory://everything", recovery=60)
    socketio.on_event("say", lambda: socketio.emit("said", to="hall"))
    socketio.on_event("order", lambda number: number, once=lambda number: number)
    socketio.history("hall")
    with socketio.test_client(app) as client:
        client.emit("say")
        client.emit("order", 1)
        app.test_client().get("/socket.io/?EIO=4&transport=polling&sid=nobody")
    scrape(app)  # what is kept for a while is there from the second one on
    return scrape(app)


def test_histories_and_events_handled_once_are_counted(make_app: MakeApp) -> None:
    app, socketio = make_app(config())
    socketio.on_event("order", lambda number: number, once=lambda number: number)
    socketio.on_event("follow", lambda since: join_room("hall", since=since).offset)
    socketio.history("hall", max_bytes=200)
    with socketio.test_client(app) as client, socketio.test_client(app) as other:
        assert "socketio_once_handled_events_total" not in {family.name for family in scrape(app).families}
        for text in ("short", "x" * 200):
            socketio.emit("said", text, to="hall")
        offset = client.emit("follow", None, callback=True)
        other.emit("follow", offset, callback=True)
        for number in (1, 1, 2, 1):
            client.emit("order", number, callback=True)
        scrape(app)
        for _ in range(2):
            found = scrape(app)
            assert found.get("socketio_history_rooms") == 1
            assert (found.get("socketio_history_kept_bytes") or 0) > 50
            assert found.get("socketio_history_lost_total", reason="too large") == 1
            assert found.get("socketio_history_resumed_clients_total") == 1
            assert found.get("socketio_once_handled_events_total") == 2
            assert found.get("socketio_once_repeated_events_total") == 2


def bare(name: str) -> str:
    """Return a metric's name without what a sample of it adds."""
    return re.sub(r"_(total|bucket|count|sum|created)$", "", name)


def test_the_readme_has_each_metric_and_no_other(end: End) -> None:
    readme = (Path(__file__).parents[1] / "README.md").read_text()
    named = {bare(name) for name in re.findall(r"`(socket_?io_\w+[a-z])`", readme)} - {"socketio_prometheus"}
    assert named == {bare(family.name) for family in everything(end).families}


def test_the_board_queries_what_there_is(end: End) -> None:
    there = {bare(family.name) for family in everything(end).families}
    board = json.loads(resources.files(PACKAGE).joinpath("grafana.json").read_text("utf-8"))
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    queried = {name for query in queries for name in re.findall(r"\bsocketio_\w+", query)}
    assert len(queries) > 20
    assert {bare(name) for name in queried} <= there
    own = {name for name in there if name.startswith("socketio_")}
    assert own - {bare(name) for name in queried} == set(), "a panel for each"
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)


def test_the_board_is_printed_by_a_command(make_app: MakeApp) -> None:
    app, _ = make_app(config())
    printed = CliRunner().invoke(commands, ["grafana"], obj=ScriptInfo(create_app=lambda: app))
    assert printed.exit_code == 0, printed.output
    assert json.loads(printed.output)["title"] == "Socket.IO for Flask"
