"""The commands that reach the clients of a running application: who is there, in which rooms, and send, ask, kick.

The command is a process of its own. It talks to the servers through the message queue, as any process that only sends,
and none of them is restarted or disturbed.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click
from flask.cli import pass_script_info

from ..common.quoting import printable
from ..common.users import user as room_of_user
from ..errors import SocketIOError
from ..server.interface import EVERYWHERE
from . import launch
from .check import timeout_option
from .loading import extension_of
from .table import table, terminal_width

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask.cli import ScriptInfo

    from ..app.extension import SocketIO
    from ..contracts.found import Clients, Count, RoomCounts

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

NODE_CHARACTERS = 8
"""So much of a server's id is shown; all of it is in JSON."""

LOOK_S = 0.02
"""How often it is asked whether the message queue has taken everything, seconds."""

LIMIT = 100
"""Most clients that are shown, unless more are asked for."""


@contextmanager
def _outside(info: ScriptInfo) -> Iterator[SocketIO]:
    """Give a ``SocketIO`` object that only sends, on the application's message queue.

    :raises click.ClickException: if the application has none, or something goes wrong; says what to do.
    """
    from ..app.extension import SocketIO

    try:
        app = launch.load_patched(info)
        options = extension_of(app).binding_of(app).options
        if not options.message_queue:
            raise click.ClickException(
                "this command is a process of its own and reaches servers through a message queue, which the "
                "application has not: set message_queue, for several servers or for one"
            )
        outside = SocketIO(
            message_queue=options.message_queue,
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


def _whom(function: FunctionT) -> FunctionT:
    """Add the options that say which clients are meant."""
    for option in (
        click.option(
            "--exclude", multiple=True, metavar="ROOM", help="Leave out who is in it; a room or a sid."
        ),
        click.option("--user", metavar="ID", help="The clients of a user."),
        click.option("--to", "--room", "to", multiple=True, metavar="ROOM", help="A room or a sid."),
    ):
        function = option(function)
    return _where(function)


def _where(function: FunctionT) -> FunctionT:
    for option in (
        timeout_option,
        click.option("--namespace", default="/", show_default=True),
    ):
        function = option(function)
    return function


_as_json = click.option("--json", "as_json", is_flag=True, help="Print the same as JSON.")


def _recipients(to: Sequence[str], user: str | None) -> list[str] | None:
    """Return rooms and sids; ``None`` for everybody."""
    rooms = [*to, *([] if user is None else [room_of_user(user)])]
    return rooms or None


@click.command("clients", short_help="Show who is connected, on all servers.")
@_whom
@click.option(
    "--limit", type=click.IntRange(min=1), default=LIMIT, show_default=True, help="Most that are shown."
)
@_as_json
@pass_script_info
def clients_command(
    info: ScriptInfo,
    namespace: str,
    timeout_s: float,
    to: Sequence[str],
    user: str | None,
    exclude: Sequence[str],
    limit: int,
    as_json: bool,
) -> None:
    """Show the clients of a namespace, with their user, address, rooms and server; as JSON with all that is known.

    Ends with status 1 if a server did not answer; what the others said is shown.
    """
    rooms = _recipients(to, user)
    with _outside(info) as outside:
        found = outside.who(
            to=rooms, exclude=list(exclude), namespace=namespace, timeout=timeout_s, limit=limit
        )
        count: int = len(found)
        if found.next:
            count = outside.count(to=rooms, exclude=list(exclude), namespace=namespace, timeout=timeout_s)
    if as_json:
        lines = [dataclasses.asdict(client) for client in found]
        _print_json({"clients": lines, "count": int(count), **_gaps(found)})
    else:
        now_s = time.time()
        rows = [("sid", "user", "address", "since", "rooms", "server")]
        rows += [
            (
                client.sid,
                client.user or "-",
                client.address or "-",
                _ago(now_s - client.connected_at),
                " ".join(str(room) for room in client.rooms) or "-",
                client.node[:NODE_CHARACTERS],
            )
            for client in found
        ]
        _print_table(rows, flexible=(1, 4))
        click.echo(f"\n{len(found)} of {count} clients" if found.next else f"\n{len(found)} clients")
    _finish(found, as_json=as_json)


@click.command("rooms", short_help="Show how many clients are in each room.")
@_where
@_as_json
@pass_script_info
def rooms_command(info: ScriptInfo, namespace: str, timeout_s: float, as_json: bool) -> None:
    """Show the rooms of a namespace on all servers with their numbers of clients, the largest first.

    Ends with status 1 if a server did not answer; what the others said is shown.
    """
    with _outside(info) as outside:
        found = outside.count_rooms(namespace=namespace, timeout=timeout_s)
        count = outside.count(namespace=namespace, timeout=timeout_s)
    rooms = sorted(found.items(), key=lambda item: (-item[1], str(item[0])))
    if as_json:
        lines = [{"room": room, "clients": clients} for room, clients in rooms]
        _print_json({"rooms": lines, "clients": int(count), **_gaps(found)})
    else:
        _print_table(
            [("room", "clients"), *((str(room), str(clients)) for room, clients in rooms)], flexible=(0,)
        )
        click.echo(f"\n{len(rooms)} rooms, {count} clients")
    _finish(found, as_json=as_json)


def _need_one(namespace: str) -> None:
    """Refuse all namespaces where events are sent: each goes to one.

    :raises click.UsageError: says so.
    """
    if namespace == EVERYWHERE:
        raise click.UsageError("an event is sent to one namespace: name it in --namespace")


def _arguments(values: Sequence[str]) -> list[Any]:
    """Return an event's arguments: what is no JSON is text."""
    arguments = []
    for value in values:
        try:
            arguments.append(json.loads(value))
        except ValueError:
            arguments.append(value)
    return arguments


@click.command("emit", short_help="Send an event to clients.")
@click.argument("event")
@click.argument("arguments", nargs=-1)
@_whom
@pass_script_info
def emit_command(
    info: ScriptInfo,
    event: str,
    arguments: Sequence[str],
    namespace: str,
    timeout_s: float,
    to: Sequence[str],
    user: str | None,
    exclude: Sequence[str],
) -> None:
    """Send EVENT with ARGUMENTS, each JSON or else text, to clients of all servers; without --to or --user to everybody
    in the namespace.
    """
    _need_one(namespace)
    with _outside(info) as outside:
        outside.emit(
            event,
            *_arguments(arguments),
            to=_recipients(to, user),
            exclude=list(exclude),
            namespace=namespace,
        )
        _flush(outside, timeout_s)


@click.command("call", short_help="Ask clients, and show what they answer.")
@click.argument("event")
@click.argument("arguments", nargs=-1)
@_whom
@_as_json
@pass_script_info
def call_command(
    info: ScriptInfo,
    event: str,
    arguments: Sequence[str],
    namespace: str,
    timeout_s: float,
    to: Sequence[str],
    user: str | None,
    exclude: Sequence[str],
    as_json: bool,
) -> None:
    """Send EVENT with ARGUMENTS, as `emit` does, and show what each client acknowledges.

    Ends with status 1 if somebody did not answer in time.
    """
    _need_one(namespace)
    with _outside(info) as outside:
        found = outside.call_all(
            event,
            *_arguments(arguments),
            to=_recipients(to, user),
            exclude=list(exclude),
            namespace=namespace,
            timeout=timeout_s,
            on_timeout="return",
        )
    missing = {sid: str(cause) for sid, cause in found.missing.items()}
    if as_json:
        _print_json({"answers": dict(found.answers), "missing": missing, "complete": found.complete})
    else:
        rows = [("sid", "answer")]
        rows += [
            (sid, json.dumps(answer, ensure_ascii=False, default=str))
            for sid, answer in found.answers.items()
        ]
        rows += [(sid, f"none: {cause}") for sid, cause in missing.items()]
        _print_table(rows, flexible=(1,))
        click.echo(f"\n{len(found.answers)} answers, {len(missing)} missing")
    if not found.complete:
        click.get_current_context().exit(1)


@click.command("kick", short_help="Disconnect clients.")
@_whom
@click.option("--all", "everybody", is_flag=True, help="Everybody in the namespace.")
@click.option(
    "--reason", default="kicked", show_default=True, help="What their disconnect handlers are told."
)
@click.option("--close", is_flag=True, help="End their connections, with all other namespaces.")
@pass_script_info
def kick_command(
    info: ScriptInfo,
    namespace: str,
    timeout_s: float,
    to: Sequence[str],
    user: str | None,
    exclude: Sequence[str],
    everybody: bool,
    reason: str,
    close: bool,
) -> None:
    """Disconnect clients of all servers, and say how many there were."""
    whom = _recipients(to, user)
    if (whom is None) != everybody:
        raise click.UsageError("say whom: --to ROOM, --user ID, or --all")
    with _outside(info) as outside:
        count = outside.count(to=whom, exclude=list(exclude), namespace=namespace, timeout=timeout_s)
        outside.kick(to=whom, exclude=list(exclude), namespace=namespace, reason=reason, close=close)
        _flush(outside, timeout_s)
    click.echo(f"{count} clients")
    _finish(count, as_json=False)


def _flush(outside: SocketIO, timeout_s: float) -> None:
    """Wait until the message queue has taken everything.

    :raises click.ClickException: if it does not in time.
    """
    deadline_s = time.monotonic() + timeout_s
    while (health := outside.health()) is not None and health.waiting:
        if time.monotonic() > deadline_s:
            raise click.ClickException(
                f"the message queue did not take it within {timeout_s:g} s: try flask socketio check"
            )
        time.sleep(LOOK_S)


COMMANDS = (clients_command, rooms_command, emit_command, call_command, kick_command)


def _gaps(found: Clients | Count | RoomCounts) -> dict[str, Any]:
    return {"missing": dict(found.missing), "complete": found.complete}


def _finish(found: Clients | Count | RoomCounts, *, as_json: bool) -> None:
    """Say who has not answered, and end with status 1 then."""
    if not as_json:
        for node, cause in found.missing.items():
            click.echo(f"missing: server {node}: {printable(cause)}", err=True)
        if found.cut_off:
            click.echo("missing: the message queue did not answer", err=True)
    if not found.complete:
        click.get_current_context().exit(1)


def _print_table(rows: Iterable[tuple[str, ...]], *, flexible: Sequence[int]) -> None:
    """Print rows, of which clients may have chosen any part."""
    shown = [tuple(printable(cell, len(cell)) for cell in row) for row in rows]
    for line in table(shown, flexible=flexible, width=terminal_width()):
        click.echo(line)


def _print_json(value: Mapping[str, Any]) -> None:
    click.echo(json.dumps(value, indent=2, default=str))


def _ago(seconds: float) -> str:
    """Return a time that has passed, in its largest unit."""
    for unit, length_s in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length_s:
            return f"{seconds // length_s:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
