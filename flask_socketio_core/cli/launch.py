"""Start this very command again, with the standard library patched before anything else is imported.

By the time a command runs, Flask and what it needs are imported, and modules that took names out of `ssl` or
`threading` keep the unpatched ones (gevent warns of a RecursionError in TLS connections). So a green mode is given a
process of its own from the start: the same interpreter, options, script and arguments, behind a line that patches.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, NoReturn

import click

from ..contracts.process import observe
from ..selection import ASYNC_MODE

if TYPE_CHECKING:
    from flask import Flask
    from flask.cli import ScriptInfo

    from ..app.extension import SocketIO
    from ..selection import Description

GUARD = "_FLASK_SOCKETIO_PATCHED"
"""Environment variable with the process id that was started patched; a child process has another id."""

_PATCH = """\
import sys, importlib
getattr(importlib.import_module({module!r}), {function!r})()
"""
# What Python itself does to run a script: its folder goes in front of the path, its code runs as __main__.
_SCRIPT = """\
sys.argv[0] = {script!r}
if not getattr(sys.flags, "safe_path", False):
    sys.path[0] = {folder!r}
__file__ = {script!r}
with open(__file__, "rb") as file:
    code = compile(file.read(), __file__, "exec")
exec(code)
"""
_MODULE = """\
import runpy
runpy.run_module({name!r}, run_name="__main__", alter_sys=True)
"""


def patch_of(description: Description) -> str | None:
    """Return what patches for the selected async mode, ``None`` if it needs no patch."""
    modes = (part for part in description.parts if part.kind == ASYNC_MODE and part.selected)
    return next((part.patch for part in modes), None)


def load_patched(info: ScriptInfo) -> Flask:
    """Load the application; start over, patched, if its async mode needs that to listen to its message queue.

    One greenlet that listens on unpatched sockets would hold up everything else, time-outs included.
    """
    # Looked at before the application patches, which is too late for what Flask has imported.
    patched = observe().patched_by is not None
    app = info.load_app()
    extension: SocketIO | None = app.extensions.get("socketio")
    if not patched and extension is not None and extension.binding_of(app).cluster is not None:
        patch_first(patch_of(extension.plugins))
    return app


def patch_first(patch: str | None) -> None:
    """Start over, patched, unless that was done or the mode needs none."""
    if patch is not None and not patched_from_the_start():
        relaunch(patch)


def patched_from_the_start() -> bool:
    """Return whether this process was started by :func:`relaunch`."""
    return os.environ.get(GUARD) == str(os.getpid())


def relaunch(patch: str) -> NoReturn:
    """Replace this process by the same command, patched from its start.

    :param patch: ``"package.module:function"``, called without arguments.
    """
    module, _, function = patch.partition(":")
    code = _PATCH.format(module=module, function=function) + _main_program(patch)
    options = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]  # multiprocessing uses it, too
    os.environ[GUARD] = str(os.getpid())
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *options, "-c", code, *sys.argv[1:]])


def _main_program(patch: str) -> str:
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    if spec is not None:
        return _MODULE.format(name=spec.name.removesuffix(".__main__"))
    script = os.path.abspath(sys.argv[0])
    if not os.path.isfile(script) or zipfile.is_zipfile(script):
        module, _, function = patch.partition(":")
        raise click.ClickException(
            f"cannot start {sys.argv[0]!r} again with a patched standard library; make this the first line of your "
            f"program instead: from {module} import {function}; {function}()"
        )
    return _SCRIPT.format(script=script, folder=os.path.dirname(script))
