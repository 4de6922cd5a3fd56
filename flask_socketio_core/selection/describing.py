"""Turn candidates and selections into the description that people and programs see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from . import choice
from .description import Description, PartDescription, PluginDescription, SettingDescription
from .records import one_line

if TYPE_CHECKING:
    from ..contracts import AsyncModeInfo, QueueInfo, StoreInfo, WebSocketProviderInfo
    from .choice import Kind
    from .parts import Info
    from .records import Candidate, Plugin, Selection
    from .settings import Declared


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What was selected."""

    mode: Selection[AsyncModeInfo] | None
    providers: Sequence[Selection[WebSocketProviderInfo]]
    queue: Selection[QueueInfo] | None
    store: Selection[StoreInfo] | None


def describe(
    *,
    plugins: Sequence[Plugin],
    modes: Sequence[Candidate[AsyncModeInfo]],
    providers: Sequence[Candidate[WebSocketProviderInfo]],
    queues: Sequence[Candidate[QueueInfo]],
    stores: Sequence[Candidate[StoreInfo]],
    settings: Declared,
    chosen: Chosen,
    under_flask_run: Selection[AsyncModeInfo] | None,
    installable: tuple[str, ...],
    problems: tuple[str, ...],
) -> Description:
    """Return the description of everything that was found."""
    parts = [(item.plugin.name, _mode(item, chosen)) for item in choice.by_priority(modes)]
    parts += [(item.plugin.name, _provider(item, chosen)) for item in choice.by_priority(providers)]
    parts += [(item.plugin.name, _queue(item, chosen)) for item in queues]
    parts += [(item.plugin.name, _store(item, chosen)) for item in stores]
    return Description(
        plugins=tuple(
            _plugin(plugin, tuple(part for owner, part in parts if owner == plugin.name), settings)
            for plugin in plugins
        ),
        async_mode=chosen.mode.info.name if chosen.mode else None,
        websocket_providers=tuple(item.info.name for item in chosen.providers),
        message_queue=chosen.queue.info.name if chosen.queue else None,
        store=chosen.store.info.name if chosen.store else None,
        under_flask_run=under_flask_run.info.name if under_flask_run else None,
        installable=installable,
        problems=problems,
    )


def _plugin(plugin: Plugin, parts: tuple[PartDescription, ...], settings: Declared) -> PluginDescription:
    status = "ok" if plugin.error is None else f"error: {one_line(plugin.error)}"
    return PluginDescription(
        name=plugin.name,
        distribution=plugin.distribution,
        version=plugin.version,
        path=plugin.path,
        hooks=plugin.hooks,
        status="skipped: not named in SOCKETIO_LOAD_PLUGINS" if plugin.skipped else status,
        parts=parts,
        settings=tuple(
            SettingDescription(
                key=setting.config_key,
                expected=setting.expected,
                default=repr(setting.default),
                text=setting.text,
            )
            for setting, owner in settings
            if owner.name == plugin.name
        ),
    )


def _mode(item: Candidate[AsyncModeInfo], chosen: Chosen) -> PartDescription:
    mode = chosen.mode
    if mode is not None and mode.info is item.info:
        return _part(choice.ASYNC_MODE, item, reason=mode.reason, selected=True)
    reason = choice.why_not(item) or _overruled(item, mode)
    return _part(choice.ASYNC_MODE, item, reason=reason)


def _overruled(item: Candidate[AsyncModeInfo], mode: Selection[AsyncModeInfo] | None) -> str:
    if mode is None:
        return ""
    if item.info.name == mode.info.name:
        return "claimed twice"
    if item.info.priority < mode.info.priority:
        return f"after {mode.info.name}: priority {item.info.priority} < {mode.info.priority}"
    return "not asked for" if item.info.priority > mode.info.priority else f"after {mode.info.name} by name"


def _provider(item: Candidate[WebSocketProviderInfo], chosen: Chosen) -> PartDescription:
    for selected in chosen.providers:
        if selected.info is item.info:
            return _part(choice.PROVIDER, item, reason=selected.reason, selected=True)
    if chosen.mode is not None and not choice.serves(item.info, chosen.mode.info.name):
        reason = f"serves {', '.join(item.info.async_modes)}"
    else:
        reason = choice.why_not(item) or "not asked for"
    return _part(choice.PROVIDER, item, reason=reason)


def _queue(item: Candidate[QueueInfo], chosen: Chosen) -> PartDescription:
    if chosen.queue is not None and chosen.queue.info is item.info:
        return _part(choice.QUEUE, item, reason=chosen.queue.reason, selected=True)
    joins = item.info.for_workers and chosen.queue is None
    otherwise = "not asked for; joins several workers of one web server" if joins else "not asked for"
    return _part(choice.QUEUE, item, reason=choice.why_not(item) or otherwise)


def _store(item: Candidate[StoreInfo], chosen: Chosen) -> PartDescription:
    if chosen.store is not None and chosen.store.info is item.info:
        return _part(choice.STORE, item, reason=chosen.store.reason, selected=True)
    return _part(choice.STORE, item, reason=choice.why_not(item) or "not asked for")


def _part(kind: Kind, item: Candidate[Info], *, reason: str, selected: bool = False) -> PartDescription:
    return PartDescription(
        kind=kind.noun,
        name=item.info.name,
        priority=getattr(item.info, "priority", None),
        schemes=getattr(item.info, "schemes", ()),
        async_modes=getattr(item.info, "async_modes", ()),
        summary=item.info.summary,
        status=item.status,
        selected=selected,
        reason=reason if item.status == "ok" else item.status,
        install=item.info.install,
        patch=getattr(item.info, "patch", None),
    )
