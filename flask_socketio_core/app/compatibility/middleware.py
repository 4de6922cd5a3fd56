"""Attributes of ``socketio.sockio_mw``, Flask-SocketIO's WSGI middleware."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar

from .changing import change
from .left_out import LeftOut

if TYPE_CHECKING:
    from flask import Flask

    from ..interfaces import Facade, Served


class MiddlewareAttributes(LeftOut):
    """What applications touch of the middleware, besides calling it."""

    PATH = "socketio.sockio_mw"
    LEFT_OUT: ClassVar[Mapping[str, str]] = {"static_files": "Flask serves static files"}

    if TYPE_CHECKING:
        binding: Served

    @property
    def flask_app(self) -> Flask | None:
        """The application. Instead: ``flask.current_app``."""
        return self.binding.app

    @property
    def engineio_app(self) -> Facade:
        """The same as ``socketio.server``. Instead: that."""
        return self.binding.facade

    @property
    def engineio_path(self) -> str:
        """The option ``path``, with slashes around it; to read, and to change before the first client comes.

        Instead: an argument of ``SocketIO()``.
        """
        return self.binding.options.endpoint

    @engineio_path.setter
    def engineio_path(self, path: str) -> None:
        if path.strip("/") != self.binding.options.path:
            change(self.binding, path=path)
