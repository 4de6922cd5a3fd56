"""Our path answers to the hosts that a view answers to, whatever release of Flask it is."""

from __future__ import annotations

from typing import Any

import flask
import pytest
from flask import Flask

from flask_socketio_core import SocketIO
from support.flask_apps import needs_trusted_hosts

HOSTS = (
    *("app.example", "APP.example", "app.example:5000", "x.app.example", "evil.example", "127.0.0.1"),
    *("app.example.evil.example", "[::1]", "app.example:0", "a b", "xn--bcher-kva.example"),
)


class Picky(flask.Request):
    trusted_hosts = ["app.example"]  # noqa: RUF012  # as Werkzeug has it


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize(
    ("config", "keywords"),
    [
        ({}, {}),
        ({"TRUSTED_HOSTS": []}, {}),
        ({"TRUSTED_HOSTS": ["app.example"]}, {}),
        ({"TRUSTED_HOSTS": [".app.example", "bücher.example"]}, {}),
        ({"TRUSTED_HOSTS": [".app.example"], "SERVER_NAME": "app.example"}, {"subdomain_matching": True}),
        ({"SERVER_NAME": "app.example"}, {}),
        ({"SERVER_NAME": "app.example"}, {"subdomain_matching": True}),
    ],
)
@pytest.mark.filterwarnings("ignore:Current server name:UserWarning")
def test_a_view_and_our_path_agree(config: dict[str, Any], keywords: dict[str, Any], host: str) -> None:
    app = Flask("hosts", **keywords)
    app.config.update(config)
    SocketIO(app, async_mode="threading")
    app.add_url_rule("/", subdomain="x", view_func=lambda: "", endpoint="below")
    app.add_url_rule("/", view_func=lambda: "", endpoint="here")
    client = app.test_client()
    view = client.get("/", headers={"Host": host})
    ours = client.get("/socket.io/?EIO=4&transport=polling", headers={"Host": host})
    assert (ours.status_code == 200) is (view.status_code == 200), ours.text
    assert ours.status_code in (200, 400)


def test_the_hosts_of_the_request_class_hold_where_flask_asks_it() -> None:
    app = Flask("hosts")
    app.request_class = Picky
    SocketIO(app, async_mode="threading")
    app.add_url_rule("/", view_func=lambda: "")
    client = app.test_client()
    for host in ("app.example", "evil.example"):
        view = client.get("/", headers={"Host": host})
        ours = client.get("/socket.io/?EIO=4&transport=polling", headers={"Host": host})
        assert ours.status_code == view.status_code


@needs_trusted_hosts
def test_a_refusal_says_what_was_expected(caplog: pytest.LogCaptureFixture) -> None:
    app = Flask("hosts")
    app.config["TRUSTED_HOSTS"] = ["app.example"]  # may be set later than init_app(), as for views
    SocketIO(app, async_mode="threading")
    for _ in range(2):
        answer = app.test_client().get("/socket.io/", headers={"Host": "evil.example"})
        text = answer.get_json()["message"]
        assert text == "host 'evil.example' is not trusted, expected one of TRUSTED_HOSTS=['app.example']"
    assert [record.levelname for record in caplog.records] == ["WARNING"]
