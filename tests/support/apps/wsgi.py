"""The application under test as a module for WSGI servers and ``flask run``."""

from __future__ import annotations

import faulthandler
import importlib
import os

from support.apps.base import STACKS_SIGNAL

# Web servers have handlers of their own for the usual ones in their workers, SIGABRT included.
faulthandler.register(STACKS_SIGNAL)

_module = importlib.import_module(f"support.apps.{os.environ['APP_UNDER_TEST']}")
app, socketio = _module.make_app()
