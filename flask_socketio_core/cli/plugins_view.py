"""How `flask socketio plugins` shows a description."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib import metadata
from typing import TYPE_CHECKING

from ..selection import ASYNC_MODE, MESSAGE_QUEUE, STORE, WEBSOCKET_PROVIDER
from .table import paragraph, table

if TYPE_CHECKING:
    from ..selection import Description, PartDescription, PluginDescription

CORE = "flask-socketio-core"
#: Each kind of part, and the column that says how it is chosen.
KINDS = {
    ASYNC_MODE: "priority",
    WEBSOCKET_PROVIDER: "priority",
    MESSAGE_QUEUE: "URL schemes",
    STORE: "URL schemes",
}
SELECTED = "*"


def view(description: Description, notes: tuple[str, ...] = ()) -> str:
    """Return the whole page.

    :param notes: what there is to say about the application.
    """
    lines = [f"{CORE} {metadata.version(CORE)}, Python {platform.python_version()}"]
    for note in notes:
        lines += paragraph(note)
    for kind, how in KINDS.items():
        lines += ["", *_parts(description, kind, how)]
    lines += _others(description)
    lines += _settings(description)
    lines += ["", *_footer(description)]
    for problem in description.problems:
        lines += ["", *paragraph(f"error: {problem}")]
    return "\n".join(lines)


def _parts(description: Description, kind: str, how: str) -> list[str]:
    found = [(part, plugin) for plugin in description.plugins for part in plugin.parts if part.kind == kind]
    found.sort(key=lambda pair: (-(pair[0].priority or 0), pair[0].name))
    header = (" ", kind[0].upper() + kind[1:], how, "distribution", "status")
    rows = [_row(part, plugin) for part, plugin in found] or [(" ", "none installed", "", "", "")]
    return table([header, *rows], flexible=(2, 4))


def _row(part: PartDescription, plugin: PluginDescription) -> tuple[str, ...]:
    how = " ".join(part.schemes) if part.priority is None else str(part.priority)
    reason = part.status if part.reason in ("", part.status) else f"{part.status}: {part.reason}"
    return (SELECTED if part.selected else " ", part.name, how, owner_of(plugin), reason)


def owner_of(plugin: PluginDescription) -> str:
    """Return the distribution and version that a plugin came from."""
    return f"{plugin.distribution} {plugin.version}" if plugin.distribution else f"{plugin.name} (in code)"


def _others(description: Description) -> list[str]:
    """Show plugins that only observe, or that are broken or skipped."""
    others = [plugin for plugin in description.plugins if not plugin.parts or plugin.status != "ok"]
    if not others:
        return []
    rows = [(" ", plugin.name, owner_of(plugin), _status(plugin)) for plugin in others]
    return ["", *table([(" ", "Other plugins", "distribution", "status"), *rows])]


def _settings(description: Description) -> list[str]:
    """Show what the plugins read in an application's configuration."""
    rows = [
        (" ", setting.key, plugin.name, setting.default, f"{setting.text} ({setting.expected})")
        for plugin in description.plugins
        for setting in plugin.settings
    ]
    if not rows:
        return []
    header = (" ", "Key of app.config", "plugin", "default", "meaning")
    return ["", *table([header, *rows], flexible=(3, 4))]


def _status(plugin: PluginDescription) -> str:
    if plugin.status != "ok":
        return plugin.status
    return f"ok: {', '.join(plugin.hooks) or 'implements no hook'}"


def _footer(description: Description) -> Iterator[str]:
    yield f"{SELECTED} selected"
    if description.under_flask_run not in (None, description.async_mode):
        yield f"Under `flask run` the async mode is {description.under_flask_run}."
    if description.installable:
        names = " ".join(description.installable)
        yield from paragraph(f'Not installed: {names} (pip install "{CORE}[{description.installable[0]}]")')
