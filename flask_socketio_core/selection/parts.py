"""Load the class behind a descriptor and hold it against its contract, before it is made; then make it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from ..contracts import (
    AsyncCapabilities,
    AsyncMode,
    AsyncModeInfo,
    MessageQueue,
    QueueCapabilities,
    QueueInfo,
    Store,
    StoreCapabilities,
    StoreInfo,
    WebSocketProvider,
    WebSocketProviderInfo,
)
from ..errors import InvalidDescriptor

PartT = TypeVar("PartT")
PartT_co = TypeVar("PartT_co", covariant=True)


class Info(Protocol):
    """What the kinds of descriptor have in common."""

    @property
    def name(self) -> str: ...
    @property
    def requires(self) -> tuple[str, ...]: ...
    @property
    def install(self) -> str: ...
    @property
    def summary(self) -> str: ...


class Schemed(Info, Protocol):
    """A descriptor of a part that is chosen by a URL's scheme."""

    @property
    def schemes(self) -> tuple[str, ...]: ...


class Loadable(Info, Protocol[PartT_co]):
    """A descriptor of a part of a certain class."""

    @property
    def load(self) -> Callable[[], type[PartT_co]]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """What can be seen of a class.

    :param base: what it is a subclass of.
    :param attributes: its class attributes, with their types.
    :param forms: methods of which it has to replace one.
    :param kept: instance attributes that the base's ``__init__`` sets.
    """

    base: type[Any]
    attributes: Mapping[str, type[Any]] = field(default_factory=dict)
    forms: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


CONTRACTS: Mapping[type[Any], Contract] = {
    AsyncModeInfo: Contract(
        base=AsyncMode, attributes={"name": str, "capabilities": AsyncCapabilities}, kept=("max_workers",)
    ),
    WebSocketProviderInfo: Contract(
        base=WebSocketProvider, attributes={"name": str}, forms=("locate", "open")
    ),
    QueueInfo: Contract(
        base=MessageQueue,
        attributes={"capabilities": QueueCapabilities},
        kept=("url", "channel", "mode", "options"),
    ),
    StoreInfo: Contract(
        base=Store,
        attributes={"capabilities": StoreCapabilities},
        kept=("url", "channel", "mode", "options"),
    ),
}


def load(info: Loadable[PartT]) -> type[PartT]:
    """Import a part and return its class.

    :raises InvalidDescriptor: if that is not what the contract asks for.
    """
    part = info.load()
    complaint = _complaint(info, part)
    if complaint:
        raise InvalidDescriptor(complaint)
    return part


def _complaint(info: Loadable[Any], part: object) -> str:
    """Return what is wrong with what a descriptor's ``load`` returned; empty if nothing is."""
    contract = CONTRACTS[type(info)]
    base = contract.base.__name__
    if not inspect.isclass(part) or not issubclass(part, contract.base):
        hint = ", return the class itself" if isinstance(part, contract.base) else ""
        return f"load returned {part!r:.80}, expected a subclass of {base}{hint}"
    name = part.__qualname__
    missing: frozenset[str] = getattr(part, "__abstractmethods__", frozenset())
    if missing:
        return f"class {name} does not implement {', '.join(sorted(missing))} of {base}"
    for attribute, kind in contract.attributes.items():
        value = getattr(part, attribute, None)
        if not isinstance(value, (kind, property)):
            has = f"{attribute}={value!r:.60}" if hasattr(part, attribute) else f"no {attribute}"
            write = f"{attribute} = {info.name!r}" if kind is str else f"{attribute} = {kind.__name__}(...)"
            return f"class {name} has {has}, write in its body: {write}"
    own_name = getattr(part, "name", info.name)
    if own_name != info.name:
        return f"class {name} has name={own_name!r}, expected that of its descriptor, {info.name!r}"
    if contract.forms and all(getattr(part, form) is getattr(contract.base, form) for form in contract.forms):
        return f"class {name} implements neither of {' and '.join(contract.forms)}, expected at least one"
    return ""


def make(info: Loadable[PartT], part: type[PartT], *arguments: Any, **keywords: Any) -> PartT:
    """Return an instance of a loaded class.

    :raises InvalidDescriptor: if it did not call its base's ``__init__``.
    """
    made = part(*arguments, **keywords)
    for attribute in CONTRACTS[type(info)].kept:
        if not hasattr(made, attribute):
            raise InvalidDescriptor(
                f"class {part.__qualname__} has not set {attribute}, call super().__init__(...) in its __init__"
            )
    return made
