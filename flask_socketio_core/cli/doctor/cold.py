"""Load the application in another process, as a web server does that knows nothing of the command `flask`.

By the time one of our commands runs, Flask is imported: whether the application patches before that, and whether it has
the same ``SECRET_KEY`` each time, shows only where it is loaded afresh.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from flask.cli import prepare_import
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from flask.cli import ScriptInfo

#: Seconds that the application may take to load.
TIMEOUT_S = 60.0

_PROGRAM = """\
import importlib, json, os, sys
report = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what the application prints is no report
asked = json.load(sys.stdin)
sys.path[:] = asked["path"]
at_start, before = set(sys.modules), None

def owner():
    # The module may be on its way in: it has no class then, or that of _socket.
    name = getattr(getattr(sys.modules.get("socket"), "socket", None), "__module__", "socket").partition(".")[0]
    return name.removeprefix("_")

class Watch:
    def find_spec(self, name, path=None, target=None):
        global before
        if owner() == "socket":
            before = None  # eventlet, while it is imported, puts its own in the place of modules for a moment
        elif before is None:
            before = set(sys.modules)

sys.meta_path.insert(0, Watch())
importlib.import_module(asked["module"])
Watch().find_spec("")
found = {"patched_by": None if before is None else owner(), "before": sorted((before or at_start) - at_start)}
from flask.cli import ScriptInfo
from flask_socketio_core.app.examined import secret_key_proof
app = ScriptInfo(app_import_path=asked["app"]).load_app()
found["secret_key"] = secret_key_proof(app, asked["nonce"])
json.dump(found, report)
report.flush()
os._exit(0)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColdStart:
    """What was seen when the application was loaded afresh.

    :param patched_by: top-level package that patches the standard library when the application's module is imported.
    :param before: packages, besides those of the patching one, that were imported before it did.
    :param secret_key: as of :func:`~flask_socketio_core.app.examined.secret_key_proof`.
    :param problem: why it could not be loaded; nothing else is known then.
    """

    patched_by: str | None = None
    before: tuple[str, ...] = ()
    secret_key: str | None = None
    problem: str = ""


def start(info: ScriptInfo, nonce: str) -> ColdStart | None:
    """Load the application once more, in a process of its own; ``None`` if it is made by a function in this one."""
    path = info.app_import_path or next((name for name in ("wsgi.py", "app.py") if Path(name).exists()), None)
    if path is None or info.create_app is not None:
        return None
    module = prepare_import(re.split(r":(?![\\/])", path, maxsplit=1)[0])  # as Flask does it
    asked = {"path": sys.path, "module": module, "app": path, "nonce": nonce}
    environ = {
        **os.environ,
        "FLASK_RUN_FROM_CLI": "true",
    }  # an app.run() at the end of the module does nothing
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM],
            input=json.dumps(asked),
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            env=environ,
        )
    except subprocess.TimeoutExpired:
        return ColdStart(problem=f"it was not loaded within {TIMEOUT_S:g} s: does its module serve?")
    if done.returncode != 0:
        return ColdStart(problem=(done.stderr.strip().splitlines() or ["it ended"])[-1])
    found = json.loads(done.stdout)
    patched_by = found["patched_by"]
    before = () if patched_by is None else _others(found["before"], patched_by)
    return ColdStart(patched_by=patched_by, before=before, secret_key=found["secret_key"])


def _others(modules: list[str], patching: str) -> tuple[str, ...]:
    """Return the installed packages among modules, without those that the patching one needs itself."""
    belongs, own = _distributions(), _needs(patching)
    packages = {name.partition(".")[0] for name in modules}
    return tuple(sorted(name for name in packages if name in belongs and not own & belongs[name]))


def _distributions() -> dict[str, set[str]]:
    """Return the distributions of each installed package, by its name.

    As :func:`importlib.metadata.packages_distributions`, which in Python 3.10 does not know those whose wheels have no
    ``top_level.txt``, such as Flask's.
    """
    found: dict[str, set[str]] = {}
    for distribution in metadata.distributions():
        told = (distribution.read_text("top_level.txt") or "").split()
        files = distribution.files or ()
        for package in told or {path.parts[0].partition(".")[0] for path in files if path.suffix == ".py"}:
            found.setdefault(package, set()).add(canonicalize_name(distribution.metadata["Name"]))
    return found


def _needs(distribution: str) -> set[str]:
    found, waiting = set[str](), [canonicalize_name(distribution)]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        try:
            requires = metadata.requires(name) or ()
        except metadata.PackageNotFoundError:
            continue
        waiting += [canonicalize_name(Requirement(text).name) for text in requires if "extra ==" not in text]
    return found
