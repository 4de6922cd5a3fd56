"""The web server that is to run the application, as the environment and the line that starts it say."""

from __future__ import annotations

import os
import re
import shlex
import sys
from contextlib import redirect_stderr
from dataclasses import dataclass
from importlib.util import find_spec
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ...contracts.process import ProcessFacts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

GUNICORN_ARGUMENTS = "GUNICORN_CMD_ARGS"
GUNICORN_FILE = "gunicorn.conf.py"
WORKERS = "WEB_CONCURRENCY"
#: gunicorn's workers that patch the standard library before they load the application, and what they do it with.
PATCHING = {"ggevent": "gevent", "geventlet": "eventlet"}
#: Has uWSGI patch before it loads the application; what has the name without "early" comes after that.
UWSGI_PATCH = "--gevent-early-monkey-patch"
_UWSGI_PROCESSES = re.compile(r"(?:^|\s)(?:--processes|--workers|-p)[= ]?\s*(\d+)")
_OUR_WORKERS = re.compile(r"(?:^|\s)(?:--workers|-w)[= ]?\s*(\d+)")
_UWSGI_LOOP = re.compile(r"(?:^|\s)--(gevent|asyncio)\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebServer:
    """What starts the application.

    :param name: ``"gunicorn"``, ``"uwsgi"``, ``"flask run"``, or another program; ``""`` if nothing says.
    :param told_by: what says so, for a person.
    :param workers: processes that serve one address.
    :param worker: the kind of gunicorn's workers, as it was asked for.
    :param problem: why gunicorn's settings cannot be had.
    :param facts: what a process that serves would see around itself; ``None`` if that is not known.
    """

    name: str = ""
    told_by: str = ""
    workers: int = 1
    worker: str = ""
    preload: bool = False
    problem: str = ""
    facts: ProcessFacts | None = None

    @property
    def patches(self) -> bool:
        """Whether it patches the standard library before it loads the application."""
        return self.name == "flask socketio run" or (
            self.facts is not None and self.facts.patched_by is not None
        )


def find(line: str | None, environ: Mapping[str, str]) -> WebServer:
    """Return the web server that a line starts, or that the environment is made for.

    :param line: such as ``"gunicorn -w 4 app:app"``; ``None`` if it is not known.
    :raises click.UsageError: if no shell, or not the server, takes it.
    """
    try:
        words = shlex.split(line or "")
    except ValueError as exc:
        raise click.UsageError(f"--server {line!r} is no command: {exc}") from exc
    while words and (re.fullmatch(r"\w+=.*", words[0]) or Path(words[0]).name in ("env", "exec", "nohup")):
        words = words[1:]
    program = Path(words[0]).name if words else ""
    if program.startswith("python") and words[1:2] == ["-m"]:
        words, program = words[2:], words[2] if len(words) > 2 else ""
    if program == "gunicorn":
        return _gunicorn(words[1:], f"`{line}`", environ)
    if program == "uwsgi":
        return _uwsgi(line or "", f"`{line}`")
    if program == "flask":
        return _flask(line or "", ours="socketio" in words)
    if program:
        return WebServer(name=program, told_by=f"`{line}`", workers=_concurrency(environ))
    if environ.get(GUNICORN_ARGUMENTS) or Path(GUNICORN_FILE).exists():
        return _gunicorn([], "", environ)
    return WebServer(told_by=WORKERS, workers=_concurrency(environ))


def _flask(line: str, *, ours: bool) -> WebServer:
    workers = _OUR_WORKERS.search(line) if ours else None
    return WebServer(
        name="flask socketio run" if ours else "flask run",
        told_by=f"`{line}`",
        workers=int(workers[1]) if workers else 1,
        facts=ProcessFacts(flask_run=not ours),
    )


def _concurrency(environ: Mapping[str, str]) -> int:
    number = environ.get(WORKERS, "")
    return int(number) if number.isdecimal() else 1


def _uwsgi(line: str, told_by: str) -> WebServer:
    processes = _UWSGI_PROCESSES.search(line)
    loop = _UWSGI_LOOP.search(line)
    patches = loop[1] if loop and UWSGI_PATCH in line else "socket"
    facts = ProcessFacts(uwsgi=True, uwsgi_loop=loop[1] if loop else None, socket_owner=patches)
    return WebServer(
        name="uwsgi", told_by=told_by, workers=int(processes[1]) if processes else 1, facts=facts
    )


# ---------------------------------------------------------------------------------------------------- gunicorn


def _gunicorn(arguments: Sequence[str], told_by: str, environ: Mapping[str, str]) -> WebServer:
    hints = [name for name in (GUNICORN_ARGUMENTS, WORKERS) if environ.get(name)]
    hints += [name for name in (GUNICORN_FILE,) if Path(name).exists()]
    told_by = " and ".join([told_by, *hints] if told_by else hints)
    if find_spec("gunicorn") is None:
        problem = "gunicorn is not installed in this environment, so what it would do is not known"
        return WebServer(name="gunicorn", told_by=told_by, workers=_concurrency(environ), problem=problem)
    settings = _gunicorn_settings(arguments)
    worker = settings.worker_class_str
    module, problem = _worker_module(worker)
    facts = None
    if module is not None:
        patches = None if settings.preload_app else PATCHING.get(module)
        facts = ProcessFacts(gunicorn_worker=module, socket_owner=patches or "socket")
    return WebServer(
        name="gunicorn",
        told_by=told_by,
        workers=settings.workers,
        worker=worker,
        preload=settings.preload_app,
        problem=problem,
        facts=facts,
    )


def _gunicorn_settings(arguments: Sequence[str]) -> Any:
    """Return gunicorn's settings, read by gunicorn itself: its file, the environment, the command line.

    :raises click.UsageError: if it does not take them.
    """
    from gunicorn.app.base import Application  # here: it is no requirement of ours

    class Settings(Application):
        def init(self, parser: Any, options: Any, arguments: Any) -> None:
            """Add nothing."""

    settings: Any = Settings.__new__(Settings)  # without types, and its __init__ ends the process
    settings.usage, settings.prog, settings.callable, settings.logger = None, "gunicorn", None, None
    settings.load_default_config()
    settings.cfg.set("chdir", os.getcwd())  # it took that when it was imported
    argv, sys.argv = sys.argv, ["gunicorn", *arguments]  # where it looks for them
    here, said = os.getcwd(), StringIO()
    try:
        with redirect_stderr(said):
            settings.load_config()
    except (SystemExit, Exception) as exc:
        text = said.getvalue().strip() or f"{type(exc).__name__}: {exc}"
        raise click.UsageError(f"gunicorn does not take its settings: {text}") from exc
    finally:
        sys.argv = argv
        os.chdir(here)
    return settings.cfg


def _worker_module(worker: str) -> tuple[str | None, str]:
    """Return the last part of the module that a kind of gunicorn's workers is in, or why there is none."""
    from gunicorn import __version__
    from gunicorn.workers import SUPPORTED_WORKERS

    path = SUPPORTED_WORKERS.get(worker, worker).removeprefix("egg:gunicorn#")
    path = SUPPORTED_WORKERS.get(path, path)
    module = path.rpartition(".")[0]
    if not module or not _exists(module):
        return None, f"gunicorn {__version__} has no worker {worker!r}, it has {', '.join(SUPPORTED_WORKERS)}"
    return (path.split(".")[2] if path.startswith("gunicorn.workers.") else None), ""


def _exists(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ImportError:
        return False
