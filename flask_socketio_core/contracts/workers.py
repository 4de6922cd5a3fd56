"""Whether this process is one of several workers of a web server, which serve one application."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from typing import Any

from .concurrency import gunicorn

__all__ = ["WORKERS_VARIABLE", "WorkerGroup", "find_group"]

WORKERS_VARIABLE = "SOCKETIO_WORKERS"
"""Environment variable by which a supervisor says that its children are workers: ``NAME,COUNT``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerGroup:
    """Workers that one master has started on the same listening sockets.

    :param name: the same in all of them, and in no others of this host.
    :param count: how many there are to be.
    :param server: which server they are of, for people.
    """

    name: str
    count: int
    server: str


def find_group() -> WorkerGroup | None:
    """Return the workers that this process is one of, or is about to start; ``None`` if it serves alone.

    :raises ValueError: for an environment variable that is no such text.
    """
    group = _named() or _of_gunicorn() or _of_uwsgi()
    return group if group is not None and group.count > 1 else None


def _named() -> WorkerGroup | None:
    text = os.environ.get(WORKERS_VARIABLE)
    if not text:
        return None
    name, _, count = text.rpartition(",")
    if not name or not count.isdecimal():
        raise ValueError(f"{WORKERS_VARIABLE}={text!r}, expected a name and a number of workers, as in web,4")
    return WorkerGroup(name=name, count=int(count), server="flask socketio run")


def _of_gunicorn() -> WorkerGroup | None:
    found = gunicorn.find_master()
    if found is None:
        return None
    return WorkerGroup(name=_name(found[0]), count=found[1], server="gunicorn")


def _of_uwsgi() -> WorkerGroup | None:
    uwsgi: Any = sys.modules.get("uwsgi")
    master = uwsgi.masterpid() if uwsgi is not None else 0
    if not master:
        return None
    return WorkerGroup(name=_name(master), count=uwsgi.numproc, server="uWSGI")


def _name(pid: int) -> str:
    """Return a name that no other process of this host has, also if it had the same number."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The 22nd field, behind the program's name, which may contain anything. Source: proc(5).
            started = file.read().rpartition(b")")[2].split()[19].decode()
        return f"{pid}-{started}-{os.stat('/proc/self/ns/pid').st_ino}"
    except OSError:  # no such file system here
        return str(pid)
