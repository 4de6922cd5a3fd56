"""The message queue of an application that runs: its own, or the one that joins its workers on this host."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ..app.worker_queue import identity
from ..contracts.host.directory import NoDirectory
from ..transport.handover.looking import queues_of

if TYPE_CHECKING:
    from flask import Flask

    from ..common.options import Options


def queue_of(app: Flask, options: Options) -> str:
    """Return the URL of an application's message queue, or of that by which its workers on this host are joined.

    :returns: ``""`` if there is none.
    :raises click.ClickException: if several web servers run it here.
    """
    if options.message_queue:
        return options.message_queue
    try:
        found = queues_of(identity(options, app))
    except NoDirectory:
        return ""  # nobody could meet there
    if len(found) > 1:
        raise click.ClickException(
            f"{len(found)} web servers run this application on this host, each with its own workers: give it "
            "message_queue='host://NAME', another NAME for each of them"
        )
    return found[0] if found else ""
