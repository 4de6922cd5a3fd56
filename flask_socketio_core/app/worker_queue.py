"""The message queue that joins a web server's workers where the application names none."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from ..common.options import Options
    from ..contracts.process import WorkerGroup
    from ..selection import Plugins

logger = logging.getLogger("flask_socketio_core")

_seen: Counter[str] = Counter()
"""How often an application was made in this process. Workers make theirs in the same order."""


def name_for(options: Options, app: Flask, group: WorkerGroup) -> str:
    """Return a name that an application has in each worker of a web server, and nothing else has; call it once."""
    name = _hash(group.group, identity(options, app))
    _seen[name] += 1
    return f"{name}-{_seen[name]}"


def joined(options: Options, name: str, group: WorkerGroup, plugins: Plugins) -> Options:
    """Return the options with a message queue for the workers, if there is none and a plugin offers one.

    :param name: what :func:`name_for` returned.
    """
    if options.message_queue:
        return options
    url = plugins.queue_url_for_workers(name)
    if url is None:
        logger.warning(
            "one of %d workers of %s, and nothing carries what is emitted from one to the others: each reaches its own "
            "clients only; pip install flask-socketio-core[host], or pass message_queue=",
            group.count,
            group.server,
        )
        return options
    return dataclasses.replace(options, message_queue=url)


def identity(options: Options, app: Flask) -> str:
    """Return what all processes have in common that load an application, and few others.

    Not its secret key: many draw one when they start.
    """
    return _hash(
        app.import_name,
        app.name,
        app.instance_path,
        app.config.get("SERVER_NAME"),
        options.path,
        options.channel,
    )


def _hash(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
