"""A Flask context for every event, without paying for the connection's work again.

Routing and opening the session are paid once per connection, by its first handler. Every later event gets a *light*
context (:mod:`~flask_socketio_core.app.light_context`). Where that cannot be had, every event takes the slow path
through Flask's public API, with the same behaviour.

Between events a connection keeps one :class:`Visit`, in its environ. Applications may empty that, so it is kept with
the client as well.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

import flask
from flask.sessions import SessionMixin
from werkzeug.exceptions import NotFound

from .light_context import fresh_request, light_context, light_context_problem, own_context

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

logger = logging.getLogger(__name__)

VISIT_KEY = "flask_socketio_core.visit"
"""Where a connection's environ keeps its :class:`Visit`."""

SESSION_KEY = "saved_session"
"""Where it shows the managed session, as in Flask-SocketIO: applications' tests look there."""

CALL = "_socketio_call"
"""Attribute of a handler's request: its :class:`~flask_socketio_core.app.handlers.HandlerCall`."""


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
    :param request: the routed request of the first event; not kept.
    :param fresh: what a request has right after it was made, to copy from; ``None`` if each one has to be made.
    """

    __slots__ = ("_rule", "_view_args", "environ", "fresh", "light", "session")

    def __init__(
        self,
        session: ManagedSession | None,
        request: flask.Request,
        fresh: Mapping[str, Any] | None = None,
    ) -> None:
        self.session = session
        self.environ: Mapping[str, Any] | None = None
        """A copy of the connection's environ, where every event needs all of it."""
        self.fresh = fresh
        self._rule = request.url_rule
        self._view_args = request.view_args
        self.light = type(request.routing_exception) in (type(None), NotFound)
        """Whether later events can do without routing; another error than the usual one cannot be copied."""

    def routing(self) -> Mapping[str, Any]:
        """Return what routing sets on a request; each gets its own, which its handler may change or raise."""
        if self._rule is None:
            return {"routing_exception": NotFound()}
        return {"url_rule": self._rule, "view_args": dict(self._view_args or {})}


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
        problem = own_context(app) or light_context_problem()
        self.light = problem is None
        if problem is not None:
            logger.info("handlers of %r get full request contexts, which are slower: %s", app.name, problem)

    def open(self, environ: WSGIEnvironment, attributes: Mapping[str, Any]) -> HandlerContext:
        """Return a context for one handler.

        :param environ: the connection's environ, shared by its events.
        :param attributes: what to set on the request.
        """
        visit: Visit | None = environ.get(VISIT_KEY)
        if visit is None and CALL in attributes:
            visit = _refill(environ, attributes[CALL].client.app_data)
        if visit is None or not (self.light and visit.light):
            return _FullContext(self._app, environ, attributes, managed=self._managed, light=self.light)
        return light_context(self._app, environ, visit.session, visit.fresh, visit.routing(), attributes)


def _refill(environ: WSGIEnvironment, kept: Visit | None) -> Visit | None:
    """Put back what later events need if the application has emptied an environ; return its visit then.

    An environ without a visit that is not empty is one that no event has seen yet.
    """
    if kept is None or "wsgi.url_scheme" in environ:
        return None
    environ.update(kept.environ or {})
    environ[VISIT_KEY] = kept
    if kept.session is not None:
        environ[SESSION_KEY] = kept.session
    return kept


# the slow path


class _FullContext:
    """A request context of Flask's own making. The first one of a connection leaves its :class:`Visit` behind."""

    __slots__ = ("_app", "_attributes", "_context", "_environ", "_light", "_managed")

    def __init__(
        self,
        app: flask.Flask,
        environ: WSGIEnvironment,
        attributes: Mapping[str, Any],
        *,
        managed: bool,
        light: bool,
    ) -> None:
        self._app = app
        self._context = app.request_context(environ)
        self._environ = environ
        self._managed = managed
        self._light = light
        self._attributes = attributes

    def __enter__(self) -> None:
        vars(self._context.request).update(self._attributes)
        self._context.__enter__()
        try:
            self._visit()
        except BaseException as error:  # a session store may be away; teardown functions run all the same
            self._context.__exit__(type(error), error, error.__traceback__)
            raise

    def _visit(self) -> None:
        """Leave what later events need, or take what an earlier one has left."""
        error = self._context.request.routing_exception
        if error is not None:  # its traceback's frames would keep this connection in a cycle
            error.__traceback__ = error.__context__ = None
        visit = self._environ.get(VISIT_KEY)
        if visit is None:
            # setdefault: another event of this connection may have been faster.
            visit = self._environ.setdefault(VISIT_KEY, self._new_visit())
            if visit.session is not None:
                self._environ[SESSION_KEY] = visit.session
            if CALL in self._attributes:
                self._attributes[CALL].client.app_data = visit
        if visit.session is not None:
            # Before Flask 3.1.3 the attribute was a public one.
            name = "_session" if hasattr(self._context, "_session") else "session"
            setattr(self._context, name, visit.session)

    def _new_visit(self) -> Visit:
        environ, request = self._environ, self._context.request
        session = None
        if self._managed:  # it may have had one before the option was changed
            session = environ.get(SESSION_KEY)
            if session is None:
                session = ManagedSession(flask.session)
        visit = Visit(session, request, fresh_request(self._app, environ))
        if not (self._managed and visit.fresh and visit.light and self._light):
            visit.environ = {name: value for name, value in environ.items() if value is not request}
        return visit

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._context.__exit__(kind, error, trace)
