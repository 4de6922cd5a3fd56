"""From an application to its ``SocketIO`` object."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from flask import Flask

    from ..app.extension import SocketIO


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
