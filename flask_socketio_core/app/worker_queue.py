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
"""How often an application was joined in this process. Workers make theirs in the same order."""


def joined(options: Options, app: Flask, group: WorkerGroup, plugins: Plugins) -> Options:
    """Return the options with a message queue for the workers, if there is none and a plugin offers one."""
    if options.message_queue:
        return options
    identity = _identity(options, app, group)
    _seen[identity] += 1
    url = plugins.queue_url_for_workers(f"{identity}-{_seen[identity]}")
    if url is None:
        logger.warning(
            "one of %d workers of %s, and nothing carries what is emitted from one to the others: each reaches its own "
            "clients only; pip install flask-socketio-core[host], or pass message_queue=",
            group.count,
            group.server,
        )
        return options
    return dataclasses.replace(options, message_queue=url)


def _identity(options: Options, app: Flask, group: WorkerGroup) -> str:
    """Return what the workers that serve one application have in common, and nobody else."""
    parts = (
        group.group,
        app.import_name,
        app.name,
        app.instance_path,
        app.config.get("SERVER_NAME"),
        app.secret_key,
        options.path,
        options.channel,
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
