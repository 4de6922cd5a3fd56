"""Who is let in."""

from __future__ import annotations

import time
from typing import Any

import pytest
from flask import Flask
from flask_login import AnonymousUserMixin, LoginManager, UserMixin, login_user

from flask_socketio_admin_ui import settings
from flask_socketio_admin_ui.login import Login
from flask_socketio_core.contracts.settings import configured
from flask_socketio_core.errors import ConfigurationError, InvalidOption
from support.apps.administered import HASH

ANN = {"username": "ann", "password": "secret"}
OTHER_HASH = HASH.replace("of-this-test", "of-another")


def make_app(**given: Any) -> Flask:
    app = Flask(__name__)
    app.config.update(SECRET_KEY="a key", **given)
    return app


def login(auth: Any, **given: Any) -> Login:
    return Login(make_app(SOCKETIO_ADMIN_UI_AUTH=auth, **given))


def is_ann(name: str, password: str) -> bool:
    return (name, password) == ("ann", "secret")


@pytest.mark.parametrize("auth", [("ann", HASH), {"ann": HASH, "ben": OTHER_HASH}, is_ann])
def test_a_name_and_its_password_are_let_in_and_get_a_session(auth: Any) -> None:
    admitted = login(auth).admit(ANN)
    assert admitted is not None and admitted.name == "ann" and admitted.session
    assert admitted.expires_at is not None and 86_000 < admitted.expires_at - time.time() <= 86_400


@pytest.mark.parametrize(
    "presented",
    [
        None,
        "ann",
        [],
        {},
        {"username": "ann"},
        {"username": "ann", "password": "guessed"},
        {"username": "ben", "password": "secret"},
        {"username": ["ann"], "password": {"secret": 1}},
        {"username": "ann", "password": "secret" * 1000},
        {"sessionId": None},
        {"sessionId": "made up"},
        {"sessionId": {"$ne": None}},
    ],
)
@pytest.mark.parametrize("auth", [("ann", HASH), is_ann])
def test_whatever_else_is_presented_is_refused(auth: Any, presented: Any) -> None:
    assert login(auth).admit(presented) is None


def test_a_session_is_good_on_every_server_with_the_secret_key_and_gets_no_other_one() -> None:
    first = login(("ann", HASH)).admit(ANN)
    assert first is not None
    again = login(("ann", HASH)).admit({"sessionId": first.session})
    assert again is not None and again.name == "ann" and again.session is None
    assert again.expires_at == pytest.approx(first.expires_at, abs=2)


@pytest.mark.parametrize(
    "changed",
    [
        {"SECRET_KEY": "another key"},
        {"SOCKETIO_ADMIN_UI_AUTH": ("ann", OTHER_HASH)},
        {"SOCKETIO_ADMIN_UI_AUTH": ("ben", HASH)},
    ],
)
def test_a_session_ends_with_the_key_the_password_and_the_user(changed: dict[str, Any]) -> None:
    first = login(("ann", HASH)).admit(ANN)
    assert first is not None
    app = make_app(SOCKETIO_ADMIN_UI_AUTH=("ann", HASH))
    app.config.update(changed)
    assert Login(app).admit({"sessionId": first.session}) is None


def test_a_session_ends_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = login(("ann", HASH), SOCKETIO_ADMIN_UI_SESSION_S=60)
    first = rules.admit(ANN)
    assert first is not None
    later = time.time() + 62
    monkeypatch.setattr("itsdangerous.timed.time.time", lambda: later)
    assert rules.admit({"sessionId": first.session}) is None


def test_a_session_outlives_a_key_that_is_replaced_with_a_fallback() -> None:
    first = login(("ann", HASH)).admit(ANN)
    assert first is not None
    app = make_app(SOCKETIO_ADMIN_UI_AUTH=("ann", HASH), SECRET_KEY_FALLBACKS=["a key"])
    app.config["SECRET_KEY"] = "a new key"
    assert Login(app).admit({"sessionId": first.session}) is not None


def test_everybody_is_let_in_when_that_is_said() -> None:
    admitted = login(False).admit(None)
    assert admitted is not None and admitted.session is None


def test_a_function_that_returns_a_coroutine_lets_nobody_in() -> None:
    async def says(name: str, password: str) -> bool:
        return True

    with pytest.raises(TypeError, match="cannot be a coroutine"):
        login(lambda name, password: says(name, password)).admit(ANN)
    with pytest.raises(InvalidOption, match="expected a function that is no coroutine"):
        login(says)


@pytest.mark.parametrize("auth", [True, "ann", ("ann", "secret"), {}, ("ann", HASH, 1), {"ann": None}])
def test_what_is_no_rule_is_refused_at_the_start(auth: Any) -> None:
    with pytest.raises(InvalidOption, match=r"SOCKETIO_ADMIN_UI_AUTH.*: expected"):
        configured(settings.AUTH, {"SOCKETIO_ADMIN_UI_AUTH": auth})


def test_a_password_needs_a_secret_key() -> None:
    app = Flask(__name__)
    app.config["SOCKETIO_ADMIN_UI_AUTH"] = ("ann", HASH)
    with pytest.raises(ConfigurationError, match="SECRET_KEY, which is not set"):
        Login(app)


class User(UserMixin):
    """A user of Flask-Login's."""

    def __init__(self, **has: Any) -> None:
        self.id = "7"
        vars(self).update(has)


RULES = [
    ("admin", User(role="admin"), True),
    ("admin", User(role="clerk"), False),
    ("admin", User(roles=["clerk", "admin"]), True),
    ("admin", User(has_role=lambda role: role == "admin"), True),
    ("admin", User(has_role=lambda role: False, role="admin"), False),
    (lambda user: user.id == "7", User(), True),
    (lambda user: None, User(), False),
    (lambda user: True, AnonymousUserMixin(), False),
]


@pytest.mark.parametrize(("rule", "user", "may"), RULES)
def test_flask_login_s_user_is_let_in_by_role_or_by_a_function(rule: Any, user: Any, may: bool) -> None:
    app = make_app(SOCKETIO_ADMIN_UI_USER=rule)
    LoginManager(app).user_loader(lambda user_id: None)  # type: ignore[no-untyped-call]
    with app.test_request_context():
        if user.is_authenticated:
            login_user(user)  # type: ignore[no-untyped-call]
        admitted = Login(app).admit(None)
    assert (admitted is not None and admitted.name == "7") is may


def test_a_user_s_rule_needs_flask_login() -> None:
    with pytest.raises(ConfigurationError, match=r"call LoginManager\(app\) first"):
        Login(make_app(SOCKETIO_ADMIN_UI_USER="admin"))
