"""Limits of single handlers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from flask import current_app, request

from . import settings
from .limiter import limiters, refuse

Given = ParamSpec("Given")
Answer = TypeVar("Answer")


def limit(
    text: str, *, key: str | settings.Key | None = None
) -> Callable[[Callable[Given, Answer]], Callable[Given, Answer]]:
    """Limit how often a handler is called (decorator, beneath ``@socketio.on``, as other decorators of handlers)::

        @socketio.on("login")
        @limit("3/minute", key="address")
        def login(name, password): ...

    It counts for itself, besides the limits of the configuration, and on methods of namespaces, too.

    :param text: such as ``"5/second"`` or ``"10 per minute; 100/hour"``.
    :param key: who has this limit: ``"client"``, ``"user"``, ``"address"``, or a function of a client that returns a
        text. ``SOCKETIO_LIMITS_KEY`` by default.
    :raises ValueError: if one of them cannot be read.
    """
    rates = settings.rates(text)
    who = None if key is None else settings.key(key)

    def decorate(handler: Callable[Given, Answer]) -> Callable[Given, Answer]:
        name = f"{handler.__module__}.{handler.__qualname__}"

        @functools.wraps(handler)
        def limited(*args: Given.args, **keywords: Given.kwargs) -> Answer:
            limiter = limiters[current_app.extensions["socketio"]]
            client: Any = request.client  # type: ignore[attr-defined]  # the client of the event
            if wait_s := limiter.handler_wait_s(rates, name, who, client):
                refuse(wait_s)
            return handler(*args, **keywords)

        return limited

    return decorate
