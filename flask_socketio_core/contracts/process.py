"""What can be seen of the process around us, without importing any concurrency library.

Probes of plugins receive these facts; nothing here knows the name of a plugin.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from dataclasses import dataclass

import click
import flask.cli

from ..errors import InvalidOption

__all__ = ["WORKERS", "ProcessFacts", "WorkerGroup", "observe"]


ASYNC_MODE_KEY = "flask_socketio_core.async_mode"
"""Key in click's ``Context.meta`` under which a command says which async mode it was asked for."""

WORKERS = "SOCKETIO_WORKERS"
"""Environment variable by which a supervisor tells its workers of each other: what ``str`` makes of
:class:`WorkerGroup`. ``flask socketio run --workers`` sets it."""

_GROUP = re.compile(r"([0-9a-f]{16}),([1-9][0-9]{0,5})")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerGroup:
    """The processes that serve one application together on one listening socket, with one supervisor.

    :param group: a name that is the same in all of them, and in no others of this host; for :data:`WORKERS` 16
        hexadecimal digits, drawn by the supervisor when it starts. A worker that takes the place of another one has the
        same.
    :param count: how many workers were asked for when this one was started, at least 1. While one takes the place of
        another there are more.
    :param server: which server they are of, for people.
    """

    group: str
    count: int
    server: str = "flask socketio run"

    def __str__(self) -> str:
        """Return the value of :data:`WORKERS`: ``"<group>,<count>"``."""
        return f"{self.group},{self.count}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessFacts:
    """Signs of the server and of monkey patching in this process.

    :param socket_owner: top-level package whose class ``socket.socket`` is; ``"socket"`` if nobody patched it.
    :param gunicorn_worker: last part of the loaded gunicorn worker module (``"gthread"``, ``"ggevent"``), or ``None``.
    :param uwsgi: ``True`` inside uWSGI.
    :param uwsgi_loop: name of uWSGI's loop engine (``"gevent"``), or ``None`` for its default.
    :param flask_run: ``flask run`` is running: Werkzeug's development server will serve, whatever is installed.
    :param async_mode: the mode that the command line asks for (``flask socketio run --async-mode``), or ``None``.
    :param workers: this process is one of several that a supervisor has started (:data:`WORKERS`), or ``None``.
    """

    socket_owner: str = "socket"
    gunicorn_worker: str | None = None
    uwsgi: bool = False
    uwsgi_loop: str | None = None
    flask_run: bool = False
    async_mode: str | None = None
    workers: WorkerGroup | None = None

    @property
    def patched_by(self) -> str | None:
        """Name the package that monkey-patched the process, or ``None``."""
        return None if self.socket_owner == "socket" else self.socket_owner


def observe() -> ProcessFacts:
    """Look at the process now.

    :raises InvalidOption: if :data:`WORKERS` is set to something else than a supervisor sets it to.
    """
    context = click.get_current_context(silent=True)
    return ProcessFacts(
        socket_owner=socket.socket.__module__.partition(".")[0],
        gunicorn_worker=_gunicorn_worker(),
        uwsgi="uwsgi" in sys.modules,
        uwsgi_loop=_uwsgi_loop(),
        flask_run=_is_flask_run(),
        async_mode=None if context is None else context.meta.get(ASYNC_MODE_KEY),
        workers=_worker_group(),
    )


def _worker_group() -> WorkerGroup | None:
    value = os.environ.get(WORKERS)
    if value is None:
        return None
    match = _GROUP.fullmatch(value)
    if match is None:
        raise InvalidOption(
            f"the environment variable {WORKERS}={value!r} must be 16 hexadecimal digits, a comma and the number of "
            "workers, as `flask socketio run --workers` sets it for its workers: unset it"
        )
    return WorkerGroup(group=match[1], count=int(match[2]))


def _is_flask_run() -> bool:
    # Not FLASK_RUN_FROM_CLI: Flask sets that for each of its commands, and other processes inherit it.
    context = click.get_current_context(silent=True)
    return context is not None and context.command is flask.cli.run_command


def _gunicorn_worker() -> str | None:
    # gunicorn imports the module of the configured worker class in its arbiter, before it forks; "base" and the
    # default "sync" may come along with another one.
    prefix = "gunicorn.workers."
    loaded = sorted(name[len(prefix) :] for name in sys.modules if name.startswith(prefix))
    workers = [name for name in loaded if name not in ("base", "workertmp", "base_async", "sync")]
    return workers[0] if workers else ("sync" if "sync" in loaded else None)


def _uwsgi_loop() -> str | None:
    uwsgi = sys.modules.get("uwsgi")
    loop = getattr(uwsgi, "loop", None)  # --gevent sets it, too
    if isinstance(loop, bytes):
        return loop.decode()
    return loop if isinstance(loop, str) else None
