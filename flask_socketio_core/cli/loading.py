"""From an application to its ``SocketIO`` object, and to what is installed for it."""

from __future__ import annotations

import traceback
from dataclasses import replace
from typing import TYPE_CHECKING

import click
from flask.cli import NoAppException

from ..errors import ConfigurationError, PartBroken
from ..selection import Plugins

if TYPE_CHECKING:
    from flask import Flask
    from flask.cli import ScriptInfo

    from ..app.extension import SocketIO
    from ..selection import Description

DEFAULTS = "This is what is selected by default."


def extension_of(app: Flask) -> SocketIO:
    """Return the ``SocketIO`` object of an application.

    :raises click.ClickException: if it has none, with what to do.
    """
    extension: SocketIO | None = app.extensions.get("socketio")
    if extension is None:
        raise click.ClickException(
            f"{app.name!r} has no SocketIO object; create one with SocketIO(app), or call its init_app(app)"
        )
    return extension


def describe(info: ScriptInfo) -> tuple[Description, tuple[str, ...]]:
    """Return what is installed and selected for an application, and notes about that.

    Without an application, or if it cannot be loaded, it is what is selected by default.
    """
    try:
        app = info.load_app()
    except NoAppException as exc:
        return _by_default(), (f"No application: {exc.format_message()} {DEFAULTS}",)
    except ConfigurationError as exc:
        description = _by_default()
        if isinstance(exc, PartBroken):
            description = description.blame(exc.plugin, exc.kind, exc.part, exc.problem)
        problem = f"{type(exc).__name__}: {exc}"
        problems = tuple(text for text in description.problems if text != str(exc))
        return replace(description, problems=(*problems, problem)), (
            f"The application cannot be served. {DEFAULTS}",
        )
    except Exception:  # noqa: BLE001  # whatever the application raises; its plugins can be shown all the same
        return _by_default(), ("The application could not be loaded:", traceback.format_exc(), DEFAULTS)
    extension = app.extensions.get("socketio")
    if extension is None:
        return _by_default(), (f"{app.name!r} has no SocketIO object. {DEFAULTS}",)
    return extension.binding_of(app).plugins.describe(load=True), ()


def _by_default() -> Description:
    return Plugins(strict=False).describe(load=True)
