"""What `flask socketio plugins` shows, as plain data for programs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

ASYNC_MODE = "async mode"
WEBSOCKET_PROVIDER = "WebSocket provider"
MESSAGE_QUEUE = "message queue"
STORE = "store"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartDescription:
    """One async mode, WebSocket provider, message queue or store.

    :param kind: :data:`ASYNC_MODE`, :data:`WEBSOCKET_PROVIDER`, :data:`MESSAGE_QUEUE` or :data:`STORE`.
    :param priority: the higher the sooner; ``None`` for a message queue or store, which is chosen by URL.
    :param schemes: URL schemes of a message queue or store.
    :param async_modes: modes that a WebSocket provider serves; empty for all.
    :param status: ``"ok"``, ``"missing: redis>=5"`` or ``"error: ..."``.
    :param selected: whether it is in use.
    :param reason: why it is, or is not, in use.
    :param install: the command that installs what is missing.
    :param patch: import path of what monkey-patches the process for an async mode.
    """

    kind: str
    name: str
    priority: int | None = None
    schemes: tuple[str, ...] = ()
    async_modes: tuple[str, ...] = ()
    summary: str = ""
    status: str = "ok"
    selected: bool = False
    reason: str = ""
    install: str = ""
    patch: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingDescription:
    """One setting that a plugin has in an application's configuration.

    :param key: of ``app.config``.
    :param expected: what its value can be.
    :param default: as Python writes it.
    :param text: what it does.
    """

    key: str
    expected: str
    default: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PluginDescription:
    """One plugin and what it provides.

    :param name: name of its entry point.
    :param status: ``"ok"``, ``"error: ..."`` or ``"skipped: ..."``; its parts have a status of their own.
    """

    name: str
    distribution: str
    version: str
    path: str
    hooks: tuple[str, ...]
    status: str
    parts: tuple[PartDescription, ...]
    settings: tuple[SettingDescription, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """Every plugin, and which parts were selected.

    :param async_mode: name of the selected async mode; ``None`` if none can be had.
    :param websocket_providers: names of the providers in use, in the order they are asked.
    :param message_queue: name of the selected queue; ``None`` if there is none.
    :param store: name of the selected store; ``None`` for the memory of each process.
    :param under_flask_run: name of the async mode that ``flask run`` would get, ``None`` if it would get none.
    :param installable: extras of the core whose distribution is not installed.
    :param problems: what is wrong with the plugins or could not be selected, as texts.
    """

    plugins: tuple[PluginDescription, ...]
    async_mode: str | None = None
    websocket_providers: tuple[str, ...] = ()
    message_queue: str | None = None
    store: str | None = None
    under_flask_run: str | None = None
    installable: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[PartDescription, ...]:
        """Every part of every plugin."""
        return tuple(part for plugin in self.plugins for part in plugin.parts)

    @property
    def broken(self) -> bool:
        """Whether a plugin or one of its parts is wrong in itself, be it in use or not."""
        states = (*(item.status for item in self.plugins), *(item.status for item in self.parts))
        return any(status.startswith("error: ") for status in states)

    def blame(self, plugin: str, kind: str, part: str, error: str) -> Description:
        """Return the same with an error as the status of a part, which showed only when it was used."""

        def blamed(item: PartDescription) -> PartDescription:
            found = (item.kind, item.name) == (kind, part)
            return replace(item, status=f"error: {error}", reason=f"error: {error}") if found else item

        plugins = (
            replace(item, parts=tuple(map(blamed, item.parts))) if item.name == plugin else item
            for item in self.plugins
        )
        return replace(self, plugins=tuple(plugins))

    def to_dict(self) -> dict[str, Any]:
        """Return the same as dicts, lists and strings, for JSON."""
        return asdict(self)
