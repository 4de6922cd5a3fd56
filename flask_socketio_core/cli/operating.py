"""The commands that reach the clients of a running application: who is there, in which rooms, and send, ask, kick."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click
from flask.cli import pass_script_info

from ..server.interface import EVERYWHERE
from .reaching import (
    NODE_CHARACTERS,
    as_json_option,
    finish,
    gaps,
    print_json,
    print_table,
    reach,
    recipients,
    where,
)

if TYPE_CHECKING:
    from flask.cli import ScriptInfo

    from ..app.extension import SocketIO

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])

LOOK_S = 0.02
"""How often it is asked whether the message queue has taken everything, seconds."""

LIMIT = 100
"""Most clients that are shown, unless more are asked for."""


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
    return where(function)


@click.command("clients", short_help="Show who is connected, on all servers.")
@_whom
@click.option(
    "--limit", type=click.IntRange(min=1), default=LIMIT, show_default=True, help="Most that are shown."
)
@as_json_option
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
    rooms = recipients(to, user)
    with reach(info) as outside:
        found = outside.who(
            to=rooms, exclude=list(exclude), namespace=namespace, timeout=timeout_s, limit=limit
        )
        count: int = len(found)
        if found.next:
            count = outside.count(to=rooms, exclude=list(exclude), namespace=namespace, timeout=timeout_s)
    if as_json:
        lines = [dataclasses.asdict(client) for client in found]
        print_json({"clients": lines, "count": int(count), **gaps(found)})
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
        print_table(rows, flexible=(1, 4))
        click.echo(f"\n{len(found)} of {count} clients" if found.next else f"\n{len(found)} clients")
    finish(found, as_json=as_json)


@click.command("rooms", short_help="Show how many clients are in each room.")
@where
@as_json_option
@pass_script_info
def rooms_command(info: ScriptInfo, namespace: str, timeout_s: float, as_json: bool) -> None:
    """Show the rooms of a namespace on all servers with their numbers of clients, the largest first.

    Ends with status 1 if a server did not answer; what the others said is shown.
    """
    with reach(info) as outside:
        found = outside.count_rooms(namespace=namespace, timeout=timeout_s)
        count = outside.count(namespace=namespace, timeout=timeout_s)
    rooms = sorted(found.items(), key=lambda item: (-item[1], str(item[0])))
    if as_json:
        lines = [{"room": room, "clients": clients} for room, clients in rooms]
        print_json({"rooms": lines, "clients": int(count), **gaps(found)})
    else:
        print_table(
            [("room", "clients"), *((str(room), str(clients)) for room, clients in rooms)], flexible=(0,)
        )
        click.echo(f"\n{len(rooms)} rooms, {count} clients")
    finish(found, as_json=as_json)


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
    with reach(info) as outside:
        outside.emit(
            event,
            *_arguments(arguments),
            to=recipients(to, user),
            exclude=list(exclude),
            namespace=namespace,
        )
        _flush(outside, timeout_s)


@click.command("call", short_help="Ask clients, and show what they answer.")
@click.argument("event")
@click.argument("arguments", nargs=-1)
@_whom
@as_json_option
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
    with reach(info) as outside:
        found = outside.call_all(
            event,
            *_arguments(arguments),
            to=recipients(to, user),
            exclude=list(exclude),
            namespace=namespace,
            timeout=timeout_s,
            on_timeout="return",
        )
    missing = {sid: str(cause) for sid, cause in found.missing.items()}
    if as_json:
        print_json({"answers": dict(found.answers), "missing": missing, "complete": found.complete})
    else:
        rows = [("sid", "answer")]
        rows += [
            (sid, json.dumps(answer, ensure_ascii=False, default=str))
            for sid, answer in found.answers.items()
        ]
        rows += [(sid, f"none: {cause}") for sid, cause in missing.items()]
        print_table(rows, flexible=(1,))
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
    whom = recipients(to, user)
    if (whom is None) != everybody:
        raise click.UsageError("say whom: --to ROOM, --user ID, or --all")
    with reach(info) as outside:
        count = outside.count(to=whom, exclude=list(exclude), namespace=namespace, timeout=timeout_s)
        outside.kick(to=whom, exclude=list(exclude), namespace=namespace, reason=reason, close=close)
        _flush(outside, timeout_s)
    click.echo(f"{count} clients")
    finish(count, as_json=False)


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


def _ago(seconds: float) -> str:
    """Return a time that has passed, in its largest unit."""
    for unit, length_s in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length_s:
            return f"{seconds // length_s:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"
