"""Find the plugins: installed entry points and objects registered in code.

pluggy's own loader drops the second of two entry points with one name without a word, and one plugin that fails to
import ends all loading. Here a duplicate is an error that names both distributions, and a broken plugin is a record
with its cause.
"""

from __future__ import annotations

import difflib
import inspect
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from types import ModuleType

import pluggy
from packaging.utils import canonicalize_name

from ..contracts import hookspecs
from ..errors import ConfigurationError, DuplicatePlugin, InvalidHook, InvalidOption, PartNotInstalled
from .records import Plugin
from .requirements import CORE, FREEZE_AGAIN, is_frozen

GROUP = hookspecs.PROJECT_NAME
LOAD_SWITCH = "SOCKETIO_LOAD_PLUGINS"

NOTHING_FROZEN = (
    f"no plugin can be found, nor what the core itself brings\n  {FREEZE_AGAIN} --recursive-copy-metadata {CORE} "
    "--hidden-import flask_socketio_core.cluster.hooks, and for each plugin --recursive-copy-metadata DISTRIBUTION "
    "--hidden-import PACKAGE.hooks; the hooks for PyInstaller that are installed with this package do all that"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A plugin's record together with its object; a broken plugin has none."""

    record: Plugin
    module: object | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    point: metadata.EntryPoint
    distribution: str
    version: str


def new_manager() -> pluggy.PluginManager:
    """Return an empty manager that knows our hooks."""
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    return manager


def discover(extra: Iterable[object] = ()) -> tuple[list[Found], list[ConfigurationError]]:
    """Return every plugin, in order of name, and the errors that no plugin may be loaded with.

    :param extra: objects registered in code, after the installed plugins.
    """
    entries, problems = _unique(_entries())
    if is_frozen() and not entries:  # the core itself registers one
        problems.append(PartNotInstalled(NOTHING_FROZEN))
    wanted = _wanted([entry.point.name for entry in entries], problems)
    found = [_load(entry, skipped=wanted is not None and entry.point.name not in wanted) for entry in entries]
    for module in extra:
        found.append(check(module, [item.record for item in found]))
    problems += [item.record.error for item in found if isinstance(item.record.error, InvalidHook)]
    return found, problems


def _entries() -> Iterator[_Entry]:
    seen = set()
    for distribution in metadata.distributions():
        # Its name is asked for last: that parses its whole metadata, and most have nothing for us.
        if not any(point.group == GROUP for point in distribution.entry_points):
            continue
        name = distribution.metadata["Name"]
        if not name or canonicalize_name(name) in seen:
            continue
        seen.add(canonicalize_name(name))
        # The first on the path hides the others, as in an import, whether it has entry points or not.
        first = metadata.distribution(name)
        for point in first.entry_points:
            if point.group == GROUP:
                yield _Entry(point=point, distribution=name, version=first.version)


def _unique(entries: Iterable[_Entry]) -> tuple[list[_Entry], list[ConfigurationError]]:
    problems: list[ConfigurationError] = []
    by_name: dict[str, _Entry] = {}
    for entry in entries:
        first = by_name.setdefault(entry.point.name, entry)
        if first is not entry:
            problems.append(
                DuplicatePlugin(
                    f"two distributions register a plugin named {entry.point.name!r}: {first.distribution} "
                    f"{first.version} and {entry.distribution} {entry.version}; uninstall one of them"
                )
            )
    return [by_name[name] for name in sorted(by_name)], problems


def _wanted(known: Sequence[str], problems: list[ConfigurationError]) -> set[str] | None:
    """Return the names of the plugins to load, or ``None`` for all."""
    value = os.environ.get(LOAD_SWITCH)
    if value is None:
        return None
    wanted = {name.strip() for name in value.split(",") if name.strip()}
    for name in sorted(wanted - set(known)):
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f", did you mean {near[0]!r}?" if near else ""
        problems.append(
            InvalidOption(
                f"{LOAD_SWITCH} names {name!r}, which no installed distribution registers{hint}\n"
                f"  installed: {', '.join(known) or 'none'}"
            )
        )
    return wanted


def _load(entry: _Entry, *, skipped: bool) -> Found:
    record = Plugin(
        name=entry.point.name, distribution=entry.distribution, version=entry.version, skipped=skipped
    )
    if skipped:
        return Found(record=record)
    try:
        module = entry.point.load()
    except Exception as exc:  # noqa: BLE001  # whatever a stranger's module raises at import
        return Found(record=replace(record, error=exc))
    return _check(Found(record=replace(record, path=_path_of(module)), module=module))


def check(module: object, others: Sequence[Plugin]) -> Found:
    """Return an object registered in code as a plugin; its record says what is wrong with its hooks.

    :param others: the plugins that there are already.
    """
    return _check(Found(record=_record_of(module, others), module=module))


def _check(found: Found) -> Found:
    """Register the plugin alone, so that what is wrong with its hooks is known to be its fault."""
    manager = new_manager()
    try:
        manager.register(found.module, name=found.record.name)
        manager.check_pending()
        hooks = tuple(sorted(caller.name for caller in manager.get_hookcallers(found.module) or ()))
        wrappers = [
            impl.function.__name__
            for name in hooks
            for impl in getattr(manager.hook, name).get_hookimpls()
            if impl.hookwrapper or impl.wrapper
        ]
        unmarked = _unmarked(found.module, hooks)
    except pluggy.PluginValidationError as exc:
        return _broken(found, _explain(found, manager, exc))
    except Exception as exc:  # noqa: BLE001  # an object whose attributes raise when they are looked at
        return _broken(found, exc)
    if wrappers:
        return _broken(
            found,
            InvalidHook(
                f"plugin {found.record.name!r} ({found.record}) implements {wrappers[0]} as a wrapper, "
                "which these hooks cannot have; remove wrapper= and hookwrapper= from its hookimpl"
            ),
        )
    if unmarked:
        return _broken(
            found,
            InvalidHook(
                f"plugin {found.record.name!r} ({found.record}) has a function {unmarked[0]} that is not marked, so it "
                "is never called; write @hookimpl above it (from flask_socketio_core.hookspecs import hookimpl)"
            ),
        )
    return replace(found, record=replace(found.record, hooks=hooks))


def _unmarked(module: object, hooks: Sequence[str]) -> list[str]:
    """Return the names of functions that look like hooks and carry no mark; an imported specification is none."""
    own = {name: getattr(module, name, None) for name in sorted(hook_names() - set(hooks))}
    return [name for name, value in own.items() if callable(value) and value is not getattr(hookspecs, name)]


def _broken(found: Found, error: BaseException) -> Found:
    return Found(record=replace(found.record, error=error))


def _explain(found: Found, manager: pluggy.PluginManager, error: Exception) -> InvalidHook:
    """Say which hook does not exist, and which one was probably meant."""
    owner = f"plugin {found.record.name!r} ({found.record})"
    known = hook_names()
    strange = [
        name
        for name in dir(found.module)
        if name not in known and manager.parse_hookimpl_opts(found.module, name) is not None
    ]
    if not strange:
        invalid = InvalidHook(f"{owner} implements a hook wrongly: {' '.join(str(error).split())}")
    else:
        near = difflib.get_close_matches(strange[0], known, n=1, cutoff=0.5)
        hint = f", did you mean {near[0]!r}?" if near else f", expected one of {', '.join(sorted(known))}"
        invalid = InvalidHook(
            f"{owner} implements {strange[0]!r}, which is no hook{hint}\n"
            f"  to run without it, name the plugins you want in {LOAD_SWITCH}"
        )
    invalid.__cause__ = error
    return invalid


def hook_names() -> frozenset[str]:
    """Return the names of all hooks."""
    return frozenset(name for name in vars(hookspecs) if name.startswith("socketio_"))


def _record_of(module: object, others: Sequence[Plugin]) -> Plugin:
    base = getattr(module, "__name__", type(module).__name__)
    taken = {other.name for other in others}
    name, number = base, 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    return Plugin(name=name, path=_path_of(module))


def _path_of(module: object) -> str:
    if isinstance(module, ModuleType):
        return getattr(module, "__file__", None) or ""
    try:
        return inspect.getfile(module if inspect.isclass(module) else type(module))
    except (TypeError, OSError):
        return ""
