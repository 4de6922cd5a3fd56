"""A Flask context for every event, without paying for the connection's work again.

Routing and opening the session are paid once per connection, by its first handler. Every later event gets a *light*
context: a request, a ``g`` and an application context of its own, the connection's session, the routing's result, and
a URL adapter that is made when somebody asks for it. That leans on what Flask's ``RequestContext`` keeps in its
``__dict__``, so :func:`light_context_problem` tries it out once per process with an application of its own, and where
that fails, every event takes the slow path through Flask's public API, with the same behaviour. All reliance on
Flask's private names is in this module.

Between events a connection keeps one :class:`Visit`, in its environ.
"""

from __future__ import annotations

import functools
import io
import logging
import sys
from collections.abc import Mapping
from contextvars import Context
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import flask
from flask.ctx import RequestContext
from flask.sessions import SessionMixin
from werkzeug.datastructures import EnvironHeaders
from werkzeug.exceptions import HTTPException, NotFound

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

logger = logging.getLogger(__name__)

VISIT_KEY = "flask_socketio_core.visit"
"""Where a connection's environ keeps its :class:`Visit`."""

SESSION_KEY = "saved_session"
"""Where it shows the managed session, as in Flask-SocketIO: applications' tests look there."""

NOT_FOUND = NotFound()
"""What routing says about most connections; one object for all of them."""


class ManagedSession(dict[str, Any], SessionMixin):
    """The session of a client's events: begins as a copy of the HTTP session, and is never saved to a cookie."""

    @property
    def accessed(self) -> bool:  # Flask sets it at every access: keep no dict for that
        return True

    @accessed.setter
    def accessed(self, value: bool) -> None:
        pass


class Visit:
    """What all events of one connection share.

    :param session: the managed session, or ``None`` where Flask manages it.
    :param routing: what routing set on the request of the first event.
    :param fresh: what a request has right after it was made, to copy from; ``None`` if each one has to be made.
    """

    __slots__ = ("fresh", "routing", "session")

    def __init__(
        self,
        session: ManagedSession | None,
        routing: Mapping[str, Any],
        fresh: Mapping[str, Any] | None = None,
    ) -> None:
        self.session = session
        self.routing = routing
        self.fresh = fresh


class HandlerContext(Protocol):
    """A context manager around a handler. The request has it attributes before anything of the application runs."""

    def __enter__(self) -> object: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None: ...


class Contexts:
    """Open contexts for the events of one application.

    :param managed: give each connection a session of its own; otherwise Flask's session interface opens one per event.
    """

    def __init__(self, app: flask.Flask, *, managed: bool) -> None:
        self._app = app
        self._managed = managed
        problem = _own_context(app) or light_context_problem()
        self.light = problem is None
        if problem is not None:
            logger.info("handlers of %r get full request contexts, which are slower: %s", app.name, problem)

    def open(self, environ: WSGIEnvironment, attributes: Mapping[str, Any]) -> HandlerContext:
        """Return a context for one handler.

        :param environ: the connection's environ, shared by its events.
        :param attributes: what to set on the request.
        """
        visit: Visit | None = environ.get(VISIT_KEY)
        if visit is None or not self.light:
            return _FullContext(self._app, environ, attributes, managed=self._managed)
        return _light_context(self._app, environ, attributes, visit)


# the slow path


class _FullContext:
    """A request context of Flask's own making. The first one of a connection leaves its :class:`Visit` behind."""

    __slots__ = ("_app", "_attributes", "_context", "_environ", "_managed")

    def __init__(
        self, app: flask.Flask, environ: WSGIEnvironment, attributes: Mapping[str, Any], *, managed: bool
    ) -> None:
        self._app = app
        self._context = app.request_context(environ)
        self._environ = environ
        self._managed = managed
        self._attributes = attributes

    def __enter__(self) -> None:
        vars(self._context.request).update(self._attributes)
        self._context.__enter__()
        error = self._context.request.routing_exception
        if error is not None:  # its traceback's frames would keep this connection in a cycle
            error.__traceback__ = error.__context__ = None
        visit = self._environ.get(VISIT_KEY)
        if visit is None:
            session = ManagedSession(flask.session) if self._managed else None
            # setdefault: another event of this connection may have been faster.
            visit = self._environ.setdefault(
                VISIT_KEY,
                Visit(session, _routing_of(self._context.request), _fresh(self._app, self._environ)),
            )
            if visit.session is not None:
                self._environ[SESSION_KEY] = visit.session
        if visit.session is not None:
            # Before Flask 3.1.3 the attribute was a public one.
            name = "_session" if hasattr(self._context, "_session") else "session"
            setattr(self._context, name, visit.session)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.__exit__(kind, error, trace)


def _routing_of(request: flask.Request) -> Mapping[str, Any]:
    """Return what routing set on a request."""
    if type(request.routing_exception) is NotFound:
        return _NOT_FOUND_ROUTING
    found = {name: getattr(request, name) for name in ("url_rule", "view_args", "routing_exception")}
    return {name: value for name, value in found.items() if value is not None}


_NOT_FOUND_ROUTING: Mapping[str, Any] = {"routing_exception": NOT_FOUND}


# the light path


def _fresh(app: flask.Flask, environ: WSGIEnvironment) -> Mapping[str, Any] | None:
    """Return the state of a new request, unless the application's class has something of its own done for each."""
    if app.request_class.__init__ is not flask.Request.__init__:
        return None
    request = app.request_class(environ, populate_request=False)
    request.json_module = app.json
    state = dict(vars(request))
    del state["environ"], state["headers"]  # they lead back to the environ, which holds this: no cycles
    return state


class _LightContext(RequestContext):
    """A request context whose routing was done before."""

    def push(self) -> None:
        super().push()
        del self.url_adapter  # it was None, to keep push() from routing again

    def __getattr__(self, name: str) -> Any:
        if name != "url_adapter":
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        self.url_adapter = None
        try:
            self.url_adapter = self.app.create_url_adapter(self.request)
        except HTTPException as error:
            self.request.routing_exception = error
        return self.url_adapter


def _light_context(
    app: flask.Flask, environ: WSGIEnvironment, attributes: Mapping[str, Any], visit: Visit
) -> RequestContext:
    if visit.fresh is None:
        request = app.request_class(environ)
        request.json_module = app.json
        state = vars(request)
    else:
        request = app.request_class.__new__(app.request_class)
        state = vars(request)
        state.update(visit.fresh)
        state["environ"], state["headers"] = environ, EnvironHeaders(environ)
    state.update(visit.routing)
    state.update(attributes)
    context = _LightContext.__new__(_LightContext)
    vars(context).update(
        {
            "app": app,
            "request": request,
            "url_adapter": None,
            "flashes": None,
            _SESSION: visit.session,
            "_after_request_functions": [],
            "_cv_tokens": [],
        }
    )
    return context


_SESSION = "session" if isinstance(getattr(RequestContext, "session", None), type(None)) else "_session"
"""Where a context keeps the session. Since Flask 3.1.3 ``session`` is a property."""


def _own_context(app: flask.Flask) -> str | None:
    if type(app).request_context is not flask.Flask.request_context or "request_context" in vars(app):
        return f"{type(app).__name__} has a request_context() of its own"
    return None


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
    popped: list[str] = []
    app.teardown_request(lambda error: popped.append("request"))
    app.teardown_appcontext(lambda error: popped.append("app"))
    environ = _environ()
    full = app.request_context(environ)
    session = ManagedSession(kept=True)
    visit = Visit(session, {"routing_exception": NOT_FOUND}, _fresh(app, environ))
    light = _light_context(app, environ, {"sid": "sid"}, visit)
    if vars(light).keys() != vars(full).keys():
        return f"Flask's context has other attributes: {sorted(vars(full).keys() ^ vars(light).keys())}"
    expected = (True, True, "sid", "/probe/x", True, True)
    with light:
        found = (
            flask.request._get_current_object() is light.request,  # type: ignore[attr-defined]  # a LocalProxy
            flask.session._get_current_object() is session,  # type: ignore[attr-defined]  # a LocalProxy
            getattr(flask.request, "sid", None),
            flask.url_for("probe", name="x"),
            flask.current_app == app,
            flask.request.routing_exception is NOT_FOUND,
        )
        flask.g.left_behind = True
    if found != expected or popped != ["request", "app"] or flask.has_request_context():
        return f"Flask's context behaves differently: {found}, {popped}"
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
