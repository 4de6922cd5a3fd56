"""Whether gevent suits this process; gevent itself is not imported for that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_socketio_core.contracts import OK, Verdict

if TYPE_CHECKING:
    from flask_socketio_core.contracts.process import ProcessFacts

PATCH_LINE = "from gevent import monkey; monkey.patch_all()"
WORKERS = ("ggevent",)
"""gunicorn's workers whose requests run in greenlets; gevent-websocket's is built on the same module."""


def suits_gevent(facts: ProcessFacts) -> Verdict:
    """Return whether gevent can run the requests of the server around us."""
    if foreign := _patched_by_another(facts):
        return foreign
    if facts.uwsgi:
        return _no("uWSGI is the server: use async_mode='gevent_uwsgi' and start uWSGI with --gevent 100")
    if facts.gunicorn_worker is not None and facts.gunicorn_worker not in WORKERS:
        return _no(f"gunicorn runs {facts.gunicorn_worker} workers: start it with `gunicorn -k gevent`")
    if facts.flask_run and facts.patched_by is None:
        return _no(f"`flask run` serves with threads: use `flask socketio run`, or begin with `{PATCH_LINE}`")
    return OK


def suits_uwsgi(facts: ProcessFacts) -> Verdict:
    """Return whether this is uWSGI with its gevent loop."""
    if not facts.uwsgi:
        return _no("not under uWSGI")
    if facts.uwsgi_loop != "gevent":
        return _no("uWSGI runs without gevent: start it with --gevent 100 --http-websockets")
    return _patched_by_another(facts) or OK


def _patched_by_another(facts: ProcessFacts) -> Verdict | None:
    if facts.patched_by in (None, "gevent"):
        return None
    return _no(f"{facts.patched_by} has monkey-patched this process: patch with `{PATCH_LINE}` instead")


def _no(reason: str) -> Verdict:
    return Verdict(usable=False, reason=reason)
