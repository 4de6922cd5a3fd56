"""Tie clients to users: the loader that is asked when a client connects, and when it presents its login anew."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Coroutine
from types import CoroutineType
from typing import TYPE_CHECKING, Any

import flask

from ..common.repeats import Repeats
from ..common.users import checked_id
from ..errors import refusals

if TYPE_CHECKING:
    from ..contracts.clients import Client

logger = logging.getLogger(__name__)

_repeats = Repeats(time.monotonic)

Loader = Callable[[Any], Any]

REAUTH = "reauth"
"""The event with which a client presents its login anew."""

EXPIRES_AT = "expires_at"
"""Attribute of a handler's request: when the login ends."""


def flask_login_user(auth: Any) -> str | None:
    """Return whom Flask-Login takes the request's user for: the loader of an application that has it, by default."""
    import flask_login  # the application has set it up

    found: Any = flask_login.current_user
    try:
        return str(found.get_id()) if found.is_authenticated else None
    except Exception:  # the application's, which may not ask for it elsewhere; handlers that do will raise
        more = _repeats.take("flask-login")
        if more is not None:
            logger.warning("who a client is could not be learnt from Flask-Login%s", more, exc_info=True)
        return None


def uses_flask_login(app: flask.Flask) -> bool:
    """Return whether an application has set Flask-Login up."""
    library = sys.modules.get("flask_login")
    return library is not None and isinstance(getattr(app, "login_manager", None), library.LoginManager)


def take_expiry(client: Client) -> None:
    """Note when the login ends, if what let the client in has said so: ``None`` for never.

    :raises ConnectionRefusedError: if it has ended.
    """
    said = vars(flask.request)
    if EXPIRES_AT not in said:
        return
    expires_at = said[EXPIRES_AT]
    if isinstance(expires_at, (int, float)) and expires_at <= time.time():
        from ..errors import ConnectionRefusedError  # python-socketio's

        raise ConnectionRefusedError("the login has expired")
    if expires_at != client.expires_at:
        client.expires_at = expires_at


def reauth(client: Client, load: Loader, auth: Any = None) -> Any:
    """Ask the loader about a client that presents its login anew.

    :returns: what acknowledges it: until when it is good, or what is wrong, and then nothing has changed.
    """
    try:
        user = load(auth)
        if user.__class__ is CoroutineType:
            return _reauth_later(client, user)
        return _answer(client, user)
    except _refuses() as error:
        return _refused(error)


async def _reauth_later(client: Client, loading: Coroutine[Any, Any, Any]) -> Any:
    try:
        return _answer(client, await loading)
    except _refuses() as error:
        return _refused(error)


def _answer(client: Client, user: Any) -> dict[str, Any]:
    if (None if user is None else checked_id(user)) != client.user:
        return {"error": "the login is that of another user"}
    take_expiry(client)
    return {EXPIRES_AT: client.expires_at}


def _refuses() -> tuple[type[Exception], ...]:
    return (ConnectionRefusedError, *refusals())


def _refused(error: Exception) -> dict[str, Any]:
    told = dict(getattr(error, "error_args", {}))
    return {"error": told.pop("message", "refused"), **told}
