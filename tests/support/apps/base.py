"""What every application under test has: a library chosen by name, a journal, and a few views to look inside."""

from __future__ import annotations

import importlib
import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

from flask import Flask, jsonify

#: Has a server write what each of its threads is doing.
STACKS_SIGNAL = signal.SIGXCPU

#: The library under test; ``Any`` because it is one of two packages, chosen when the process starts.
Library = Any


def library() -> Library:
    """Import the library under test."""
    return importlib.import_module(os.environ["LIBRARY_UNDER_TEST"])


def options() -> dict[str, Any]:
    """Return the keyword arguments for ``SocketIO``."""
    given: dict[str, Any] = json.loads(os.environ.get("OPTIONS_UNDER_TEST", "{}"))
    return given


def settings() -> dict[str, Any]:
    """Return the settings for the application itself."""
    given: dict[str, Any] = json.loads(os.environ.get("SETTINGS_UNDER_TEST", "{}"))
    return given


class Journal:
    """What happened in the server, in order, for the test to read."""

    def __new__(cls) -> Journal:
        """Make one for all workers where there are several."""
        return object.__new__(SharedJournal if "JOURNAL_UNDER_TEST" in os.environ else cls)

    def __init__(self) -> None:
        self._entries: list[list[Any]] = []
        self._lock = threading.Lock()

    def note(self, name: str, *values: Any) -> None:
        """Add an entry; values must survive JSON (bytes are written as hex)."""
        with self._lock:
            self._entries.append([name, *map(plain, values)])

    def entries(self) -> list[list[Any]]:
        """Return a copy."""
        with self._lock:
            return list(self._entries)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()


class SharedJournal(Journal):
    """That of several processes, in a file."""

    def __init__(self) -> None:
        self._path = Path(os.environ["JOURNAL_UNDER_TEST"])
        self._path.touch()

    def note(self, name: str, *values: Any) -> None:
        """Add an entry; a line that is appended at once is never mixed with another."""
        line = json.dumps([name, *map(plain, values)]) + "\n"
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(fd, line.encode())
        finally:
            os.close(fd)

    def entries(self) -> list[list[Any]]:
        """Return what all processes have noted."""
        return [json.loads(line) for line in self._path.read_text().splitlines()]

    def clear(self) -> None:
        """Forget everything."""
        os.truncate(self._path, 0)


def plain(value: Any) -> Any:
    """Make a value fit for JSON without losing what it was."""
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": bytes(value).hex()}
    if isinstance(value, tuple):
        return {"tuple": [plain(item) for item in value]}
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, BaseException):
        return {"exception": type(value).__name__, "text": str(value)}
    if value is None or isinstance(value, (str, int, float)):
        return value
    return {"type": type(value).__name__}


def add_views(app: Flask, socketio: Any, journal: Journal) -> None:
    """Add the views that the test process uses."""

    @app.get("/ready")
    def ready() -> Any:
        return jsonify(pid=os.getpid(), async_mode=socketio.async_mode, wall_clock_s=time.time())

    @app.get("/journal")
    def read_journal() -> Any:
        return jsonify(journal.entries())

    @app.get("/settled")
    def is_settled() -> Any:
        if not hasattr(socketio, "load"):
            return jsonify(True)
        load = socketio.load()
        return jsonify(not (load.connections["websocket"] or load.busy_workers or load.waiting_handlers))

    @app.post("/reset")
    def reset_journal() -> Any:
        journal.clear()
        return ""
