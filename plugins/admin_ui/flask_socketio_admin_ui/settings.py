"""The settings, as keys of the application's configuration."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from flask_socketio_core.contracts.settings import Setting, configured

SCHEMES = ("scrypt:", "pbkdf2:")
"""What a hash of Werkzeug's begins with."""


def _auth(given: Any) -> Any:
    if given is False:
        return False
    if callable(given):
        return _checked_function(given)
    if isinstance(given, (tuple, list)) and len(given) == 2:
        given = {given[0]: given[1]}
    if not isinstance(given, Mapping) or not given:
        raise ValueError(
            "expected a name with a password hash, a dictionary of them, a function of name and password, or False"
        )
    for name, hashed in given.items():
        if not isinstance(name, str) or not isinstance(hashed, str) or not hashed.startswith(SCHEMES):
            raise ValueError(
                "expected password hashes by name: werkzeug.security.generate_password_hash(password) makes one"
            )
    return dict(given)


def _user(given: Any) -> Any:
    if isinstance(given, str) and given:
        return given
    if callable(given):
        return _checked_function(given)
    raise ValueError("expected the name of a role, or a function of Flask-Login's user")


def _checked_function(function: Any) -> Any:
    if inspect.iscoroutinefunction(function):  # what it returns would count as yes
        raise ValueError("expected a function that is no coroutine")
    return function


def _namespace(given: str) -> str:
    namespace = "/" + given.strip("/")
    if namespace == "/":
        raise ValueError("expected a namespace of its own: in '/' everybody would hear what admins are told")
    return namespace


def _url(given: str) -> str:
    if given in ("", "/") or not given.startswith("/"):
        raise ValueError("expected a path such as '/admin/'")
    return given.rstrip("/") + "/"


AUTH: Setting[Any] = Setting(
    "admin_ui_auth",
    object,
    None,
    "who may log in: a name and a hash of Werkzeug's, a dictionary of such, a function of name and password, or False "
    "for everybody",
    expects="a name with a password hash, a dictionary of them, a function, or False",
    parse=_auth,
)
USER: Setting[Any] = Setting(
    "admin_ui_user",
    object,
    None,
    "who is let in by Flask-Login: the name of a role, or a function of its user",
    expects="the name of a role, or a function",
    parse=_user,
)
MODE = Setting(
    "admin_ui_mode",
    str,
    "production",
    "production shows servers and figures, development each client, room and event as well",
    choices=("production", "development"),
)
MAX_SOCKETS = Setting(
    "admin_ui_max_sockets",
    int,
    1000,
    "in development mode: most clients of all servers; while there are more it shows what production does",
    above=0,
)
READONLY = Setting("admin_ui_readonly", bool, False, "show, and refuse to emit, move and disconnect")
NAMESPACE = Setting(
    "admin_ui_namespace", str, "/admin", "the namespace that the page connects to", parse=_namespace
)
URL = Setting("admin_ui_url", str, "/admin/", "path of the page", parse=_url)
PAGE = Setting(
    "admin_ui_page", bool, True, "serve the page; without it, another one such as the hosted one connects"
)
SESSION_S = Setting(
    "admin_ui_session_s", float, 86_400.0, "seconds for which a login with a password is good", above=0
)
SHOW_ADMINS = Setting("admin_ui_show_admins", bool, False, "show the page's own connections, too")

ALL: tuple[Setting[Any], ...] = (
    AUTH,
    USER,
    MODE,
    MAX_SOCKETS,
    READONLY,
    NAMESPACE,
    URL,
    PAGE,
    SESSION_S,
    SHOW_ADMINS,
)


def is_on(config: Mapping[str, Any]) -> bool:
    """Return whether an application says who may log in; without that there is nothing."""
    return any(configured(setting, config) is not None for setting in (AUTH, USER))
