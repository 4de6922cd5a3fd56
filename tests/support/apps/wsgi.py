"""The application under test as a module for WSGI servers and ``flask run``."""

from __future__ import annotations

import importlib
import os

_module = importlib.import_module(f"support.apps.{os.environ['APP_UNDER_TEST']}")
app, socketio = _module.make_app()
