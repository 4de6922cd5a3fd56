"""Serve the application under test with ``socketio.run()``: ``python -m support.apps.launch PORT``.

Monkey patching comes first, as in a real program's main module.
"""

from __future__ import annotations

import importlib
import json
import os
import sys


def patch(mode: str | None) -> None:
    """Patch the standard library the way the mode's documentation asks for."""
    if mode == "eventlet":
        importlib.import_module("eventlet").monkey_patch()
    elif mode is not None and mode.startswith("gevent"):
        importlib.import_module("gevent.monkey").patch_all()


def hide_modules() -> None:
    """Make some modules look as if they were not installed."""
    for name in filter(None, os.environ.get("HIDDEN_MODULES", "").split(",")):
        sys.modules[name] = None  # type: ignore[assignment]  # the import system's own sign for "not there"


def main(port: int) -> None:
    """Serve until a signal comes."""
    hide_modules()
    patch(json.loads(os.environ["OPTIONS_UNDER_TEST"]).get("async_mode"))
    wsgi = importlib.import_module("support.apps.wsgi")
    server = json.loads(os.environ.get("RUN_UNDER_TEST", "{}"))  # more arguments of run()
    wsgi.socketio.run(wsgi.app, host="127.0.0.1", port=port, allow_unsafe_werkzeug=True, **server)


if __name__ == "__main__":
    main(int(sys.argv[1]))
