"""What the commands share that reach servers which run: the way to them, who is meant, and how it is shown.

Such a command is a process of its own. It talks to the servers through the message queue, as any process that only
sends, and none of them is restarted or disturbed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import click

from ..common.quoting import printable
from ..common.users import user as room_of_user
from ..errors import SocketIOError
from . import launch
from .check import timeout_option
from .loading import extension_of
from .table import table, terminal_width
from .workers_queue import queue_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask.cli import ScriptInfo

    from ..app.extension import SocketIO

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

NODE_CHARACTERS = 8
"""So much of a server's id is shown; all of it is in JSON."""


class Found(Protocol):
    """What came back from the servers."""

    @property
    def missing(self) -> Mapping[str, str]: ...
    @property
    def cut_off(self) -> bool: ...
    @property
    def complete(self) -> bool: ...


@contextmanager
def reach(info: ScriptInfo) -> Iterator[SocketIO]:
    """Give a ``SocketIO`` object that only sends, on the application's message queue.

    :raises click.ClickException: if the application has none, or something goes wrong; says what to do.
    """
    from ..app.extension import SocketIO

    try:
        app = launch.load_patched(info)
        options = extension_of(app).binding_of(app).options
        url = queue_of(app, options)
        if not url:
            raise click.ClickException(
                "this command is a process of its own and reaches servers through a message queue, which the "
                "application has not, and no workers of it are joined on this host: set message_queue, for several "
                "servers or for one"
            )
        outside = SocketIO(
            message_queue=url,
            message_queue_options=options.message_queue_options,
            channel=options.channel,
            json=options.json,
        )
        try:
            yield outside
        finally:
            outside.close()
    except (SocketIOError, ValueError) as exc:
        raise click.ClickException(str(exc)) from exc


def where(function: FunctionT) -> FunctionT:
    """Add the options that every such command has."""
    for option in (
        timeout_option,
        click.option("--namespace", default="/", show_default=True),
    ):
        function = option(function)
    return function


as_json_option = click.option("--json", "as_json", is_flag=True, help="Print the same as JSON.")


def recipients(to: Sequence[str], user: str | None) -> list[str] | None:
    """Return rooms and sids; ``None`` for everybody."""
    rooms = [*to, *([] if user is None else [room_of_user(user)])]
    return rooms or None


def gaps(found: Found) -> dict[str, Any]:
    """Return who has not answered, for JSON."""
    return {"missing": dict(found.missing), "complete": found.complete}


def finish(found: Found, *, as_json: bool) -> None:
    """Say who has not answered, and end with status 1 then."""
    if not as_json:
        for node, cause in found.missing.items():
            click.echo(f"missing: server {node}: {printable(cause)}", err=True)
        if found.cut_off:
            click.echo("missing: the message queue did not answer", err=True)
    if not found.complete:
        click.get_current_context().exit(1)


def print_table(rows: Iterable[tuple[str, ...]], *, flexible: Sequence[int]) -> None:
    """Print rows, of which clients may have chosen any part."""
    shown = [tuple(printable(cell, len(cell)) for cell in row) for row in rows]
    for line in table(shown, flexible=flexible, width=terminal_width()):
        click.echo(line)


def print_json(value: Mapping[str, Any]) -> None:
    """Print what a program reads."""
    click.echo(json.dumps(value, indent=2, default=str))
