"""Whether this process is one of several workers of a web server, which serve one application."""

from __future__ import annotations

import os
import sys
from typing import Any

from .concurrency import gunicorn
from .process import WorkerGroup, observe

__all__ = ["find_group"]


def find_group() -> WorkerGroup | None:
    """Return the workers that this process is one of, or is about to start; ``None`` if it serves alone.

    :raises InvalidOption: as :func:`~flask_socketio_core.contracts.process.observe`.
    """
    group = observe().workers or _of_gunicorn() or _of_uwsgi()
    return group if group is not None and group.count > 1 else None


def _of_gunicorn() -> WorkerGroup | None:
    found = gunicorn.find_master()
    if found is None:
        return None
    return WorkerGroup(group=_name(found[0]), count=found[1], server="gunicorn")


def _of_uwsgi() -> WorkerGroup | None:
    uwsgi: Any = sys.modules.get("uwsgi")
    master = uwsgi.masterpid() if uwsgi is not None else 0
    # Without them nothing runs in a worker but its requests: nobody would answer the others.
    runs_more = uwsgi is not None and {"gevent", "enable-threads", "threads"} & set(uwsgi.opt)
    if not master or not runs_more:
        return None
    return WorkerGroup(group=_name(master), count=uwsgi.numproc, server="uWSGI")


def _name(pid: int) -> str:
    """Return a name that no other process of this host has, also if it had the same number."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The 22nd field, behind the program's name, which may contain anything. Source: proc(5).
            started = file.read().rpartition(b")")[2].split()[19].decode()
        return f"{pid}-{started}-{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:  # no such file system here
        return str(pid)
