"""The settings that plugins have in an application's configuration: who declares which, and whether the values suit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..common.options import option_names
from ..common.settings import Setting
from ..contracts.settings import configured
from ..errors import DuplicateSetting, InvalidOption, PluginFailed
from .records import Plugin, one_line

Declared = list[tuple[Setting[Any], Plugin]]


def complaint(declared: list[Setting[Any]]) -> str:
    """Return what is wrong with the settings that one plugin declares; empty if nothing is."""
    names = [setting.name for setting in declared]
    for name in names:
        if not name.isidentifier() or name != name.lower():
            return (
                f"a setting named {name!r}, expected a Python identifier in lower case, such as 'census_rate'"
            )
        if names.count(name) > 1:
            return f"two settings named {name!r}"
    return ""


def refuse_rivals(declared: Declared) -> None:
    """Refuse settings that two plugins declare, or a plugin and the core.

    :raises DuplicateSetting: with both.
    """
    owners = dict.fromkeys(option_names(), "flask-socketio-core itself")
    for setting, plugin in declared:
        owner = owners.setdefault(setting.name, _owner(plugin))
        if owner != _owner(plugin):
            raise DuplicateSetting(
                f"app.config[{setting.config_key!r}] is claimed twice: by {owner} and by {_owner(plugin)}; a plugin's "
                "settings should begin with its name, so report it, and uninstall one of them or leave it out with "
                "SOCKETIO_LOAD_PLUGINS meanwhile"
            )


def check(declared: Declared, config: Mapping[str, Any]) -> None:
    """Check the values in an application's configuration.

    :raises InvalidOption: for one that its setting cannot take.
    :raises PluginFailed: if a plugin's own code fails at it.
    """
    for setting, plugin in declared:
        try:
            configured(setting, config)
        except InvalidOption as error:
            raise InvalidOption(f"{error}\n  it is a setting of {_owner(plugin)}") from None
        except Exception as error:
            raise PluginFailed(
                f"{_owner(plugin)} failed at app.config[{setting.config_key!r}]: {one_line(error)}"
            ) from error


def _owner(plugin: Plugin) -> str:
    return f"the plugin {plugin.name!r} ({plugin.distribution or 'registered in code'})"
