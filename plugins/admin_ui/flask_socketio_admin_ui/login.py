"""Who may look: by password, by the token that a page keeps, or by Flask-Login."""

from __future__ import annotations

import hashlib
import inspect
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from itsdangerous import BadSignature, URLSafeTimedSerializer
from werkzeug.security import check_password_hash

from flask_socketio_core.contracts.settings import configured
from flask_socketio_core.errors import ConfigurationError

from . import settings

if TYPE_CHECKING:
    from flask import Flask

SALT = "flask-socketio-admin-ui"
MOST_CHARACTERS = 1024
"""Of a name, a password or a token; hashing takes its time with each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Admitted:
    """Somebody who may look.

    :param name: for the log.
    :param session: what the page keeps to present it next time.
    :param expires_at: when that ends, seconds since the epoch.
    """

    name: str
    session: str | None = None
    expires_at: float | None = None


class Login:
    """The rules of one application.

    :raises ConfigurationError: if it lacks what they need: a secret key, or Flask-Login.
    """

    def __init__(self, app: Flask) -> None:
        self._auth = configured(settings.AUTH, app.config)
        self._user = configured(settings.USER, app.config)
        self._session_s = configured(settings.SESSION_S, app.config)
        self._app = app
        if self._auth and not app.secret_key:
            raise ConfigurationError(
                "SOCKETIO_ADMIN_UI_AUTH signs a login with the application's SECRET_KEY, which is not set"
            )
        if self._user is not None and not hasattr(app, "login_manager"):
            raise ConfigurationError("SOCKETIO_ADMIN_UI_USER needs Flask-Login: call LoginManager(app) first")

    def admit(self, presented: Any) -> Admitted | None:
        """Return who somebody is, by what a client presents as its auth, or ``None``.

        In the client's Flask context.
        """
        if self._auth is False:
            return Admitted(name="anybody")
        if self._user is not None and (name := self._flask_login()) is not None:
            return Admitted(name=name)
        if self._auth is None or not isinstance(presented, dict):
            return None
        session = _text(presented.get("sessionId"))
        if session is not None:
            return self._returning(session)
        name, password = _text(presented.get("username")), _text(presented.get("password"))
        if name is None or password is None or not self._knows(name, password):
            return None
        token = self._signer().dumps([name, self._mark(name)])
        return Admitted(name=name, session=token, expires_at=time.time() + self._session_s)

    def _returning(self, session: str) -> Admitted | None:
        try:
            (name, mark), since = self._signer().loads(
                session, max_age=int(self._session_s), return_timestamp=True
            )
        except (BadSignature, ValueError, TypeError):
            return None
        if mark != self._mark(name):
            return None
        return Admitted(name=name, expires_at=since.timestamp() + self._session_s)

    def _knows(self, name: str, password: str) -> bool:
        if not isinstance(self._auth, Mapping):
            return _yes(self._auth(name, password))
        hashed = self._auth.get(name)
        # As long for a name that nobody has.
        fits = check_password_hash(hashed or next(iter(self._auth.values())), password)
        return fits and hashed is not None

    def _mark(self, name: str) -> str | None:
        """Return what changes with a user's password, so that earlier logins end; ``None`` if that is not known."""
        if not isinstance(self._auth, Mapping):
            return ""
        hashed = self._auth.get(name)
        return None if hashed is None else hashlib.sha256(hashed.encode()).hexdigest()[:16]

    def _signer(self) -> URLSafeTimedSerializer:
        older = self._app.config.get("SECRET_KEY_FALLBACKS") or ()
        return URLSafeTimedSerializer([*older, self._app.secret_key], salt=SALT)

    def _flask_login(self) -> str | None:
        """Return the id of Flask-Login's user, if that one may."""
        import flask_login  # the application has set it up

        user: Any = flask_login.current_user
        if not user.is_authenticated:
            return None
        may = _has_role(user, self._user) if isinstance(self._user, str) else _yes(self._user(user))
        return str(user.get_id()) if may else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= MOST_CHARACTERS else None


def _yes(answer: Any) -> bool:
    if inspect.isawaitable(answer):  # which would count as yes
        if inspect.iscoroutine(answer):
            answer.close()
        raise TypeError("what says who may log in to the Admin UI cannot be a coroutine")
    return bool(answer)


def _has_role(user: Any, role: str) -> bool:
    """Ask a user for a role, as Flask-Security has it; or look at ``role``, or into ``roles``."""
    if hasattr(user, "has_role"):
        return bool(user.has_role(role))
    roles = getattr(user, "roles", None) or ()
    return getattr(user, "role", None) == role or role in roles
