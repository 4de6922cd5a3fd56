"""What pages hear and may do, with the test client; and where the page is."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Iterator
from typing import Any

import flask
import pytest
from flask import Flask

from flask_socketio_admin_ui import admin, build, introducing, showing
from flask_socketio_admin_ui.actions import FEATURES
from flask_socketio_core import SocketIO, join_room
from flask_socketio_core.common.sids import new_sid
from flask_socketio_core.errors import ConfigurationError, PluginFailed
from support.apps.administered import HASH
from support.servers import wait_until

pytestmark = pytest.mark.timeout(60)

ANN = {"username": "ann", "password": "secret"}
PATIENCE_S = 30.0


class Site:
    """An application of this process."""

    def __init__(self, **given: Any) -> None:
        self.app = Flask(__name__)
        self.app.config.update({"SECRET_KEY": "a key", "SOCKETIO_ADMIN_UI_AUTH": ("ann", HASH), **given})
        options = {name: self.app.config.pop(name) for name in list(given) if name.islower()}
        self.socketio = SocketIO(self.app, async_mode="threading", **options)
        self.left: list[tuple[str, str | None]] = []

        @self.socketio.on("enter")
        def enter(room: str) -> None:
            join_room(room)

        @self.socketio.on("disconnect")
        def disconnect(reason: Any) -> None:
            self.left.append((str(reason), reason.detail))

    def client(self) -> Any:
        return self.socketio.test_client(self.app)

    def page(self, auth: Any = ANN) -> Page:
        return Page(self.socketio.test_client(self.app, namespace="/admin", auth=auth))

    @property
    def observes(self) -> bool:
        plugins = self.socketio._plugins_here()
        return (
            plugins.observes_events
            or plugins.observes_deliveries
            or plugins.observes("socketio_session_opened")
        )


class Page:
    """A page's connection, and what it has heard."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.heard: list[tuple[str, list[Any]]] = []

    def hear(self, event: str) -> list[Any]:
        """Wait for an event and return its arguments."""
        assert wait_until(lambda: self._found(event) is not None, timeout_s=PATIENCE_S), self.heard
        found = self._found(event)
        assert found is not None
        return found

    def _found(self, event: str) -> list[Any] | None:
        self.heard += [(each["name"], each["args"]) for each in self.client.get_received("/admin")]
        return next((args for name, args in self.heard if name == event), None)

    def does(self, *event: Any) -> Any:
        return self.client.emit(*event, namespace="/admin", callback=True)


@pytest.fixture
def make_site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    # Without the observers of others.
    monkeypatch.setenv("SOCKETIO_LOAD_PLUGINS", "async-threading,queue-memory,admin-ui")
    made: list[Site] = []

    def make(**given: Any) -> Site:
        made.append(Site(**given))
        return made[-1]

    yield make
    for site in made:
        site.socketio.close(0.5)


def test_there_is_nothing_until_it_is_said_who_may_log_in(make_site: Any) -> None:
    site = make_site(SOCKETIO_ADMIN_UI_AUTH=None)
    assert not site.page().client.is_connected("/admin")
    assert site.app.test_client().get("/admin/").status_code == 404


def test_a_page_is_told_its_session_what_it_may_and_how_the_server_is(make_site: Any) -> None:
    site = make_site()
    site.client()
    page = site.page()
    (session,) = page.hear("session")
    (config,) = page.hear("config")
    (stats,) = page.hear("server_stats")
    assert config["supportedFeatures"] == [
        *FEATURES,
        "AGGREGATED_EVENTS",
    ]
    assert stats["serverId"] == site.socketio.servers.node
    assert stats["namespaces"] == [{"name": "/", "socketsCount": 1}]
    assert stats["clientsCount"] == 1 and stats["uptime"] >= 0
    again = site.page({"sessionId": session})
    again.hear("config")
    assert "session" not in dict(again.heard)


def test_others_are_refused_with_the_words_that_the_page_compares(make_site: Any) -> None:
    site = make_site()
    told: list[Any] = []

    def socketio_client_refused(refusal: Any) -> None:
        told.append(refusal)

    site.socketio.observe(socketio_client_refused)
    assert not site.page({**ANN, "password": "guessed"}).client.is_connected("/admin")
    assert told == [{"message": "invalid credentials"}]


def test_the_page_s_own_connections_are_counted_when_that_is_wanted(make_site: Any) -> None:
    (stats,) = make_site(SOCKETIO_ADMIN_UI_SHOW_ADMINS=True).page().hear("server_stats")
    assert {"name": "/admin", "socketsCount": 1} in stats["namespaces"]
    assert stats["clientsCount"] == 1


def test_a_page_emits_moves_and_disconnects(make_site: Any, caplog: pytest.LogCaptureFixture) -> None:
    site = make_site()
    one, other = site.client(), site.client()
    page = site.page()
    sid = next(iter(site.socketio.who(to=None))).sid
    with caplog.at_level(logging.INFO, "flask_socketio_admin_ui"):
        page.does("join", "/", "club", sid)
        page.does("emit", "/", "club", "news", 1, {"two": 3})
        page.does("join", "/", "everybody")
        page.does("leave", "/", "everybody", "club")
        assert site.socketio.count(to="everybody") == 1
        page.does("emit", "/", None, "to all")
        heard = [
            [(event["name"], event["args"]) for event in client.get_received()] for client in (one, other)
        ]
        page.does("_disconnect", "/", False, "club")
        page.does("_disconnect", "/", True)
    assert sorted(heard, key=len) == [[("to all", [])], [("news", [1, {"two": 3}]), ("to all", [])]]
    assert site.socketio.count() == 0 and site.left == [("server disconnect", "kicked")] * 2
    assert "admin 'ann' (" in caplog.text and "disconnects everybody in /" in caplog.text


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        (("emit", "/", None, "disconnect"), "is no event"),
        (("emit", "/", None, ["news"]), "is no event"),
        (("emit", "/", {"room": 1}, "news"), "is no room"),
        (("emit", "/admin", None, "config", {}), "nothing can be done in the namespace"),
        (("emit", None, None, "news"), "nothing can be done in the namespace"),
        (("join", "/", ""), "is no room"),
        (("join", "/", new_sid()), "sid"),
    ],
)
def test_what_makes_no_sense_is_refused(make_site: Any, event: Any, reason: str) -> None:
    site = make_site()
    site.client()
    answer = site.page().does(*event)
    assert reason in answer["error"]


@pytest.mark.parametrize(
    "event",
    [("emit", "/", None, "news"), ("join", "/", "club"), ("leave", "/", "club"), ("_disconnect", "/", True)],
)
def test_read_only_neither_offers_nor_does_anything(make_site: Any, event: Any) -> None:
    site = make_site(SOCKETIO_ADMIN_UI_READONLY=True)
    client, page = site.client(), site.page()
    assert page.hear("config") == [{"supportedFeatures": ["AGGREGATED_EVENTS"]}]
    assert page.does(*event) == {"error": "read-only"}
    assert client.is_connected() and client.get_received() == [] and site.socketio.count(to="club") == 0


def test_nothing_is_observed_unless_somebody_looks(make_site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_socketio_admin_ui.looking.LEASE_S", 0.5)
    site = make_site()
    site.client()
    assert not site.observes
    page = site.page()
    assert site.observes
    page.hear("server_stats")
    page.client.disconnect(namespace="/admin")
    assert wait_until(lambda: not site.observes, timeout_s=PATIENCE_S)


def test_what_happens_is_counted(make_site: Any) -> None:
    site = make_site()
    page = site.page()
    page.hear("server_stats")
    client = site.client()
    client.emit("enter", "room")
    site.socketio.emit("news", to="room")
    page.heard.clear()
    (stats,) = page.hear("server_stats")
    counts = {each["type"]: each["count"] for each in stats["aggregatedEvents"]}
    assert counts["packetsIn"] == 1 and counts["packetsOut"] == 1 and counts["bytesOut"] > 10
    assert all(each["timestamp"] % 1000 == 0 for each in stats["aggregatedEvents"])


def test_neither_the_user_loader_nor_what_is_around_all_namespaces_is_asked(make_site: Any) -> None:
    site = make_site()
    asked: list[str] = []
    site.socketio.user_loader(lambda auth: asked.append("loader"))
    site.socketio.before_connect()(lambda auth: asked.append("before_connect"))
    site.socketio.before_event()(lambda event, args: asked.append("before_event"))
    page = site.page()
    page.does("join", "/", "club")
    assert asked == []
    site.client()
    assert asked == ["loader", "before_connect"]


def test_an_admin_s_connection_ends_with_the_login(make_site: Any) -> None:
    page = make_site(SOCKETIO_ADMIN_UI_SESSION_S=0.5).page()
    assert wait_until(lambda: not page.client.is_connected("/admin"), timeout_s=PATIENCE_S)


def test_the_namespace_can_be_another_one(make_site: Any) -> None:
    site = make_site(SOCKETIO_ADMIN_UI_NAMESPACE="ops")
    assert site.socketio.test_client(site.app, namespace="/ops", auth=ANN).is_connected("/ops")
    assert '"namespace": "/ops"' in site.app.test_client().get("/admin/connection.js").text


# ------------------------------------------------------------------------------------------------ development mode


DEVELOPMENT = {"SOCKETIO_ADMIN_UI_MODE": "development"}


def test_a_page_is_shown_who_is_there_and_what_happens(make_site: Any) -> None:
    site = make_site(**DEVELOPMENT)
    before = site.client()
    page = site.page()
    (sockets,) = page.hear("all_sockets")
    assert page.hear("config")[0]["supportedFeatures"][-1] == "ALL_EVENTS"
    (known,) = site.socketio.who()
    assert [(each["id"], each["rooms"]) for each in sockets] == [(known.sid, [known.sid])]
    before.emit("enter", "club")
    site.socketio.emit("news", b"bytes", to=["club", "bar"])
    before.disconnect()
    page.hear("socket_disconnected")
    page.hear("room_left")
    happened = [
        (name, args[:-1]) for name, args in page.heard if name.startswith(("event_", "room_", "socket_"))
    ]
    sid = known.sid
    assert happened[:3] == [
        ("event_received", ["/", sid, ["enter", "club"]]),
        ("room_joined", ["/", "club", sid]),
        ("event_sent", ["/", "club, bar", ["news", "<5 bytes>"]]),
    ]
    ended = [event for event in happened[3:] if event[0] != "socket_updated"]
    assert ("socket_disconnected", ["/", sid, "client disconnect"]) in ended
    assert ("room_left", ["/", sid, sid]) in ended and ("room_left", ["/", "club", sid]) in ended


def test_changed_data_and_a_user_are_shown(make_site: Any) -> None:
    site = make_site(**DEVELOPMENT)

    def name(data: Any) -> None:
        request: Any = flask.request
        request.client.data.update(data)
        request.client.user = 42

    site.socketio.on_event("name", name)
    client, page = site.client(), site.page()
    page.hear("all_sockets")
    client.emit("name", {"nick": "Ann", "token": "hidden"})
    (changed,) = page.hear("socket_updated")
    assert changed["data"] == {"user": "42", "nick": "Ann", "token": "***"}


def test_events_beyond_the_most_are_left_out_and_comings_and_goings_are_not(make_site: Any) -> None:
    site = make_site(**DEVELOPMENT)
    page = site.page()
    page.hear("all_sockets")
    telling = next(made for made in admin._made if made.is_of(site.socketio))._here_telling
    for number in range(showing.MOST_EVENTS + 50):
        telling._showing._note_event("event_sent", "/", "*", "news", (number,))
        telling._showing._note("room_joined", "/", str(number), "sid", "now")
    told = [event for event, *_ in telling._showing.take()]
    assert told.count("event_sent") <= showing.MOST_EVENTS
    rooms = told.count("room_joined")
    page.hear("server_stats")
    page._found("")
    assert rooms + sum(name == "room_joined" for name, _ in page.heard) == showing.MOST_EVENTS + 50


def test_above_the_most_clients_a_page_shows_what_production_does(
    make_site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(introducing, "COUNTED_S", 0.1)
    site = make_site(**DEVELOPMENT, SOCKETIO_ADMIN_UI_MAX_SOCKETS=2)
    clients = [site.client() for _ in range(3)]
    page = site.page()
    crowd = {"supportedFeatures": [*FEATURES, "AGGREGATED_EVENTS"]}
    assert wait_until(
        lambda: page._found("config") and ("config", [crowd]) in page.heard, timeout_s=PATIENCE_S
    )
    assert page._found("all_sockets") is None
    assert wait_until(lambda: not site.socketio._plugins_here().observes_emits, timeout_s=PATIENCE_S)
    for client in clients[1:]:
        client.disconnect()
    (sockets,) = page.hear("all_sockets")
    assert len(sockets) == 1
    configs = [args[0] for name, args in page.heard if name == "config"]
    assert configs[-1]["supportedFeatures"][-1] == "ALL_EVENTS"


def test_a_server_in_production_shows_its_figures_alone_to_one_in_development(make_site: Any) -> None:
    queue = {"message_queue": "memory://admin", "channel": uuid.uuid4().hex}
    open_, closed = make_site(**DEVELOPMENT, **queue), make_site(**queue)
    closed.client()
    here = open_.client()
    page = open_.page()
    assert wait_until(
        lambda: (
            page._found("all_sockets") is not None
            and {args[0]["serverId"] for name, args in page.heard if name == "server_stats"}
            == {open_.socketio.servers.node, closed.socketio.servers.node}
        ),
        timeout_s=PATIENCE_S,
    )
    assert [len(args[0]) for name, args in page.heard if name == "all_sockets"][-1] == 1
    assert not closed.socketio._plugins_here().observes_emits
    here.disconnect()


# ------------------------------------------------------------------------------------------------------- the page


@pytest.fixture
def page_files(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the build consists of, made up."""
    folder = tmp_path / "page"
    (folder / "js").mkdir(parents=True)
    (folder / "index.html").write_text('<script src="js/a.js"></script><script src="js/b.js"></script>')
    (folder / "js" / "a.js").write_text("a()")
    (folder / build.STAMP).write_text(build.VERSION)
    monkeypatch.setattr(build, "FOLDER", folder)
    monkeypatch.setattr(build.is_here, "__defaults__", (folder,))
    return folder


def test_the_page_is_served_and_knows_its_server(make_site: Any, page_files: Any) -> None:
    browser = make_site().app.test_client()
    assert browser.get("/admin").location.endswith("/admin/")
    page = browser.get("/admin/", base_url="https://chat.example/")
    assert page.text.startswith('<script src="connection.js"></script><script src="js/a.js">')
    assert page.text.count("connection.js") == 1
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["Cache-Control"] == "no-cache"
    script = browser.get("/admin/js/a.js")
    assert script.text == "a()" and script.mimetype == "text/javascript" and script.cache_control.max_age
    script.close()
    assert browser.get("/admin/../build.py").status_code == 404
    connection = browser.get("/admin/connection.js", environ_overrides={"SCRIPT_NAME": "/mounted"}).text
    told = json.loads(connection[connection.index("= {") + 2 : connection.index(";\n")])
    assert told == {"namespace": "/admin", "path": "/mounted/socket.io", "parser": "default"}


def test_a_missing_page_says_what_to_do(make_site: Any, page_files: Any) -> None:
    (page_files / build.STAMP).unlink()
    answer = make_site().app.test_client().get("/admin/")
    assert answer.status_code == 404
    assert build.COMMAND in answer.text and "https://admin.socket.io" in answer.text


def test_a_view_of_the_application_s_own_is_not_hidden(make_site: Any) -> None:
    site = make_site()
    site.app.add_url_rule("/admin/", "own", lambda: "own")
    with pytest.raises(PluginFailed, match="set SOCKETIO_ADMIN_UI_URL to another path"):
        site.client()


def test_the_page_can_be_left_to_another_server(make_site: Any) -> None:
    site = make_site(SOCKETIO_ADMIN_UI_PAGE=False)
    assert site.app.test_client().get("/admin/").status_code == 404
    assert site.page().client.is_connected("/admin")


def test_one_object_has_the_admin_ui_of_one_application(make_site: Any) -> None:
    site = make_site()
    site.client()
    other = Flask(__name__)
    other.config.update(site.app.config)
    site.socketio.init_app(other)
    with pytest.raises(PluginFailed) as raised:
        site.socketio.test_client(other)
    assert isinstance(raised.value.__cause__, ConfigurationError)
