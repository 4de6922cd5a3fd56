"""Limits of single handlers."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from flask import request

from . import settings
from .limiter import Counted, limiter_here, refuse, refuse_connect

Given = ParamSpec("Given")
Answer = TypeVar("Answer")

LIMITED = "_flask_socketio_limited"
"""Attribute of a function that was decorated: what it became."""

decorated: set[Counted] = set()
"""What the handlers of this process have been given."""


def limit(
    text: str, *, key: str | settings.Key | None = None
) -> Callable[[Callable[Given, Answer]], Callable[Given, Answer]]:
    """Limit how often a handler is called (decorator)::

        @socketio.on("login")
        @limit("3/minute", key="address")
        def login(name, password): ...

    It counts for itself, besides the limits of the configuration. On methods of namespaces, too. A connect handler's
    refuses the client; a disconnect handler runs always.

    :param text: such as ``"5/second"`` or ``"10 per minute; 100/hour"``.
    :param key: who has this limit: ``"client"``, ``"user"``, ``"address"``, or a function of a client that returns a
        text. ``SOCKETIO_LIMITS_KEY`` by default.
    :raises ValueError: if one of them cannot be read.
    """
    rates = settings.rates(text)
    who = None if key is None else settings.key(key)

    def decorate(handler: Callable[Given, Answer]) -> Callable[Given, Answer]:
        name = f"handler {handler.__module__}.{handler.__qualname__}"
        decorated.add((rates, name))

        @functools.wraps(handler)
        def limited(*args: Given.args, **keywords: Given.kwargs) -> Answer:
            event = request.event["message"]  # type: ignore[attr-defined]  # the event that is handled
            if event != "disconnect":
                client: Any = request.client  # type: ignore[attr-defined]  # the client of the event
                if wait_s := limiter_here().wait_s(rates, name, who, client):
                    if event == "connect":
                        refuse_connect(wait_s)
                    refuse(wait_s)
            return handler(*args, **keywords)

        vars(limited).pop(LIMITED, None)  # of the handler, if that was decorated twice
        setattr(handler, LIMITED, limited)
        return limited

    return decorate


def put_beneath(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a handler with the limit that was written above ``@socketio.on``, where it would be passed by silently."""
    limited = vars(function).get(LIMITED) if hasattr(function, "__dict__") else None
    # A decorator of somebody else's copies the attributes of what it wraps.
    return limited if limited is not None and limited.__wrapped__ is function else function
