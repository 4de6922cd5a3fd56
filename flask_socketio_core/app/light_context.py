"""A request context for one event of a connection whose routing and session are known.

To the handler it is Flask's own context: a request, a ``g`` and an application context of its own, teardown functions
and signals. What is left out are the calls that would find nothing to do (a signal without receivers, teardown without
functions, closing files that were never read) and URL adapters that nobody asks for.

This leans on what Flask keeps in its contexts' ``__dict__``, so :func:`light_context_problem` tries it out once per
process, with an application of its own.
"""

from __future__ import annotations

import functools
import io
import sys
from collections.abc import Mapping
from contextvars import Context
from types import TracebackType
from typing import TYPE_CHECKING, Any

import flask
import flask.globals
from flask.ctx import AppContext, RequestContext
from flask.sessions import SecureCookieSession
from flask.signals import (
    appcontext_popped,
    appcontext_pushed,
    appcontext_tearing_down,
    request_tearing_down,
)
from werkzeug.datastructures import EnvironHeaders
from werkzeug.exceptions import HTTPException

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment
    from flask.sessions import SessionMixin
    from werkzeug.routing import MapAdapter

_cv_app: Any = getattr(flask.globals, "_cv_app", None)
_cv_request: Any = getattr(flask.globals, "_cv_request", None)
"""Where Flask keeps the current contexts; not there means that there is no light path."""

_SESSION = "session" if isinstance(getattr(RequestContext, "session", None), type(None)) else "_session"
"""Where a context keeps the session. Since Flask 3.1.3 ``session`` is a property."""

_STOCK = ("request_context", "app_context", "do_teardown_request", "do_teardown_appcontext")
"""Methods of an application that the light path does without."""


def own_context(app: flask.Flask) -> str | None:
    """Return why an application's events need Flask's own way of making a context, or ``None`` if they do not."""
    for name in _STOCK:
        if getattr(type(app), name) is not getattr(flask.Flask, name) or name in vars(app):
            return f"{type(app).__name__} has a {name}() of its own"
    return None


def fresh_request(app: flask.Flask, environ: WSGIEnvironment) -> Mapping[str, Any] | None:
    """Return the state of a new request, to copy from.

    :returns: ``None`` if the application's class has something of its own done for each.
    """
    own = app.request_class
    if own.__init__ is not flask.Request.__init__ or own.close is not flask.Request.close:
        return None
    request = own(environ, populate_request=False)
    request.json_module = app.json
    state = dict(vars(request))
    del state["environ"], state["headers"]  # they lead back to the environ, which holds this: no cycles
    return state


class _LightAppContext(AppContext):
    """An application context that makes its URL adapter when somebody asks for it."""

    @functools.cached_property
    def url_adapter(self) -> MapAdapter | None:  # type: ignore[override]  # it is set in __dict__ there
        """What ``url_for()`` would use if there were no request."""
        return self.app.create_url_adapter(None)

    def enter(self) -> None:
        """Do as ``push()`` does."""
        self._cv_tokens.append(_cv_app.set(self))
        if appcontext_pushed.receivers:
            appcontext_pushed.send(self.app, _async_wrapper=self.app.ensure_sync)

    def leave(self, error: BaseException | None) -> None:
        """Do as ``pop()`` does."""
        app, tokens = self.app, self._cv_tokens
        if len(tokens) != 1 or _cv_app.get() is not self:
            self.pop(error)
            return
        try:
            if app.teardown_appcontext_funcs or appcontext_tearing_down.receivers:
                app.do_teardown_appcontext(error)
        finally:
            _cv_app.reset(tokens.pop())
        if appcontext_popped.receivers:
            appcontext_popped.send(app, _async_wrapper=app.ensure_sync)


class LightContext(RequestContext):
    """A request context that is not routed again."""

    __slots__ = ("_app_context", "_made")

    _app_context: _LightAppContext | None
    """What goes with it; ``None`` when it was entered in Flask's way."""
    _made: bool
    """Whether the request was made by its class, and not copied from a fresh one."""

    def __enter__(self) -> RequestContext:
        state = vars(self)
        is_copy = "url_adapter" in state  # Flask's constructor has made it; it may be entered several times
        if is_copy or state[_SESSION] is None or self._cv_tokens or _cv_app.get(None) is not None:
            self._app_context = None
            self.push()
            return self
        app = self.app
        app_context = self._app_context = _LightAppContext.__new__(_LightAppContext)
        app_context.__dict__ = {"app": app, "g": app.app_ctx_globals_class(), "_cv_tokens": []}
        app_context.enter()
        self._cv_tokens.append((_cv_request.set(self), app_context))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        app_context, tokens = self._app_context, self._cv_tokens
        if app_context is None or len(tokens) != 1 or _cv_request.get() is not self:
            self.pop(error)
            return
        app, request = self.app, self.request
        try:
            if app.teardown_request_funcs or request_tearing_down.receivers:
                app.do_teardown_request(error)
            if self._made or "files" in vars(request):
                request.close()
        finally:
            _cv_request.reset(tokens.pop()[0])
            if self._made:
                request.environ["werkzeug.request"] = None
            app_context.leave(error)

    def match_request(self) -> None:
        """Leave the request as the connection's routing has made it."""

    @functools.cached_property
    def url_adapter(self) -> MapAdapter | None:  # type: ignore[override]  # it is set in __dict__ there
        """What ``url_for()`` uses."""
        try:
            return self.app.create_url_adapter(self.request)
        except HTTPException as error:
            self.request.routing_exception = error
            return None


def light_context(
    app: flask.Flask,
    environ: WSGIEnvironment,
    session: SessionMixin | None,
    fresh: Mapping[str, Any] | None,
    routing: Mapping[str, Any],
    attributes: Mapping[str, Any],
) -> RequestContext:
    """Return a context manager around a handler.

    :param session: the connection's; ``None`` to open one as Flask does.
    :param fresh: what :func:`fresh_request` returned.
    :param routing: what routing set on the request.
    :param attributes: what else to set on the request.
    """
    request_class = app.request_class
    if fresh is None:
        request = request_class(environ)
        request.json_module = app.json
        vars(request).update(routing, **attributes)
    else:
        request = request_class.__new__(request_class)
        headers = EnvironHeaders.__new__(EnvironHeaders)
        headers.environ = environ
        request.__dict__ = {**fresh, "environ": environ, "headers": headers, **routing, **attributes}
    context: LightContext = LightContext.__new__(LightContext)
    context._made = fresh is None
    context.__dict__ = {
        "app": app,
        "request": request,
        "flashes": None,
        _SESSION: session,
        "_after_request_functions": [],
        "_cv_tokens": [],
    }
    return context


@functools.cache
def light_context_problem() -> str | None:
    """Return why light contexts cannot be had with the installed Flask, or ``None`` if they can.

    Tried out with an application of our own, so that nothing of the user's runs.
    """
    try:
        return Context().run(_try_out)
    except Exception as error:  # noqa: BLE001  # whatever another Flask makes of it, there is the slow path
        return f"{type(error).__name__}: {error}"


def _try_out() -> str | None:
    app = flask.Flask("flask_socketio_core", static_folder=None)
    app.add_url_rule("/probe/<name>", "probe")
    quiet = _run_probe(app)
    popped: list[str] = []
    app.teardown_request(lambda error: popped.append("request"))
    app.teardown_appcontext(lambda error: popped.append("app"))
    return (
        quiet or _run_probe(app) or (None if popped == ["request", "app"] else f"teardown ran for {popped}")
    )


def _run_probe(app: flask.Flask) -> str | None:
    environ = _environ()
    try:
        return _differences(app, environ)
    finally:
        # A request in the environ is a cycle, and Flask's JSON provider in it has a weak proxy of the application;
        # gevent's monkey patch, which looks at all objects, fails on one whose application is gone.
        environ.clear()


def _differences(app: flask.Flask, environ: dict[str, Any]) -> str | None:
    session = SecureCookieSession({"kept": True})
    light = light_context(app, environ, session, fresh_request(app, environ), {}, {"sid": "sid"})
    full = app.request_context(environ)
    expected = (True, True, "sid", "/probe/x", True, None)
    with light:
        found = (
            flask.request._get_current_object() is light.request,  # type: ignore[attr-defined]  # a LocalProxy
            flask.session._get_current_object() is session,  # type: ignore[attr-defined]  # a LocalProxy
            getattr(flask.request, "sid", None),
            flask.url_for("probe", name="x"),
            flask.current_app == app and flask.request.headers["Host"] == "localhost",
            flask.globals.app_ctx.url_adapter,
        )
        flask.g.left_behind = True
        for own, theirs in ((light, full), (_cv_app.get(), app.app_context())):
            if vars(own).keys() != vars(theirs).keys():
                return (
                    f"Flask's context has other attributes: {sorted(vars(own).keys() ^ vars(theirs).keys())}"
                )
    if found != expected or flask.has_request_context() or flask.has_app_context():
        return f"Flask's context behaves differently: {found}"
    return None


def _environ() -> dict[str, Any]:
    return {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": "/",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "HTTP_HOST": "localhost",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
    }
