"""The commands that show something; each loads the application itself."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Callable
from typing import Any

import click
from flask.cli import NoAppException, ScriptInfo, pass_script_info

from ..selection import Plugins
from . import events_view, launch, operating, plugins_view, watching
from .check import check_command
from .doctor import doctor_command
from .loading import describe, extension_of
from .run import run_command


class Commands(click.Group):
    """Our commands, and those of plugins behind them."""

    @functools.cached_property
    def _of_plugins(self) -> click.Group:
        found = click.Group(self.name)
        for problem in Plugins(strict=False).add_commands(found):
            click.echo(f"error: {problem}", err=True)
        for name in sorted(found.commands.keys() & self.commands.keys()):
            click.echo(f"error: a plugin has a command {name!r}, which is taken", err=True)
        found.commands = {name: _patched_first(command) for name, command in found.commands.items()}
        return found

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        return sorted({*self.commands, *self._of_plugins.commands})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command; plugins are asked for those that are not ours."""
        return self.commands.get(cmd_name) or self._of_plugins.commands.get(cmd_name)


def _patched_first(command: click.Command) -> click.Command:
    """Return a plugin's command that runs with the standard library patched, if the application's mode needs that.

    Of a group, each of its commands does, too, and its own function, which runs before theirs.
    """
    command = copy.copy(command)  # the plugin's own stays as it is
    if command.callback is not None:
        command.callback = _after_patching(command.callback)
    if isinstance(command, click.Group):
        get_command = (
            command.get_command
        )  # of the plugin's own, which may find its commands in a way of its own

        def get_patched(ctx: click.Context, cmd_name: str) -> click.Command | None:
            found = get_command(ctx, cmd_name)
            return None if found is None else _patched_first(found)

        command.get_command = get_patched  # type: ignore[method-assign]  # for this one group
    return command


def _after_patching(callback: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(callback)
    def run(*args: Any, **kwargs: Any) -> Any:
        try:
            launch.load_patched(click.get_current_context().ensure_object(ScriptInfo))
        except NoAppException:
            pass  # a command that needs one says so itself
        return callback(*args, **kwargs)

    return run


@click.group("socketio", cls=Commands, short_help="Show what Socket.IO runs on, or run it.")
def socketio() -> None:
    """Show what Socket.IO runs on, or run it."""


@socketio.command("plugins", short_help="Show plugins and what they provide.")
@click.option("--json", "as_json", is_flag=True, help="Print the same as JSON.")
@pass_script_info
def plugins_command(info: ScriptInfo, as_json: bool) -> None:
    """Show which async modes, WebSocket providers and message queues are installed, which are selected, and why.

    Without an application, or if it cannot be loaded, this shows what would be selected by default. Every part that
    could be used here is imported to see whether it can be. Ends with status 1 if a plugin is wrong in itself, be it
    in use or not, or something that was asked for cannot be had.
    """
    description, notes = describe(info)
    if as_json:
        click.echo(json.dumps({**description.to_dict(), "notes": notes}, indent=2))
    else:
        click.echo(plugins_view.view(description, notes))
    if description.problems or description.broken:
        click.get_current_context().exit(1)


@socketio.command("events", short_help="Show the registered event handlers.")
@pass_script_info
def events_command(info: ScriptInfo) -> None:
    """Show the registered event handlers by namespace, class-based ones and catch-alls included."""
    extension = extension_of(info.load_app())
    for line in events_view.view(list(extension.handlers)):
        click.echo(line)


socketio.add_command(check_command)
socketio.add_command(doctor_command)
socketio.add_command(run_command)
for _command in (*operating.COMMANDS, *watching.COMMANDS):
    socketio.add_command(_command)
