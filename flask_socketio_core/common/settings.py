"""An option as data: its name, type, default and limits, and what is said of a value that it cannot take."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import KW_ONLY, dataclass, field, fields
from typing import Any, Generic, TypeVar

from . import descriptor_rules as rules
from . import values

CONFIG_PREFIX = "SOCKETIO_"
"""What the keys of an application's configuration begin with."""

T = TypeVar("T")

NUMBERS = (int, float)
KINDS = {**values.EXPECTED, object: "a Python object"}
"""The kinds of value, as messages call them."""


class Unsuitable(ValueError):
    """A value is not what its setting expects, which is all that there is to say of it; ``parse`` may raise it, too."""


@dataclass(frozen=True, slots=True)
class Setting(Generic[T]):
    """One option.

    ::

        RATE = Setting("census_rate", float, 100.0, "most events of a client per second", above=0)
        STORE: Setting[str | None] = Setting("census_store", str, None, "URL of a database")

    :param name: as the user writes it; the unit is in the name (``_s`` seconds, ``_bytes``) or in the text.
    :param kind: ``bool``, ``int``, ``float``, ``str``, ``tuple`` (a list, or text with commas), ``dict``, or ``object``
        for a value that is passed on as it is. Numbers and switches may be text, as environment variables have them.
    :param default: used when the user gives nothing; of the kind, or ``None``. A type checker takes it for the type of
        the value, unless an annotation says more.
    :param text: what it does, one short sentence.
    :param above: numbers must be greater than this.
    :param at_least: numbers must not be less than this.
    :param choices: texts of which it must be one.
    :param unit: of a number, for messages: ``"seconds"``, ``"bytes"``.
    :param expects: what it can be, for messages; without it the kind, the unit and the limits say that.
    :param parse: turns a value of the kind into what is kept. What it raises as ``ValueError`` the user reads.
    :raises InvalidDescriptor: if one of these is wrong.
    """

    name: str
    kind: type[Any]
    default: T
    text: str
    above: float | None = None
    _: KW_ONLY
    at_least: float | None = None
    choices: tuple[str, ...] = ()
    unit: str = ""
    expects: str = ""
    parse: Callable[[Any], T] | None = None

    def __post_init__(self) -> None:
        rules.check(
            self,
            name=rules.name,
            kind=_kind,
            text=rules.text,
            above=self._limit,
            at_least=self._limit,
            choices=rules.several(lambda value: ""),
            unit=rules.text,
            expects=rules.text,
            parse=rules.optional(rules.function),
        )
        if self.default is None or self.parse is not None:
            return
        try:
            found = self._converted(self.default)
        except Unsuitable:
            found = None
        if self.kind is not object and type(found) is not type(self.default):
            instead = "" if found is None else f", write {found!r:.40}"
            rules.refuse(
                self, f"default={self.default!r:.40} does not suit it: expected {self.expected}{instead}"
            )

    def _limit(self, value: Any) -> str:
        if value is None:
            return ""
        if self.kind not in NUMBERS:
            return "only numbers have limits"
        return "" if isinstance(value, NUMBERS) and not isinstance(value, bool) else "expected a number"

    @property
    def expected(self) -> str:
        """What it can be, for messages: ``"a whole number greater than 0"``."""
        if self.expects:
            return self.expects
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        words = f"{KINDS[self.kind]} of {self.unit}" if self.unit else KINDS[self.kind]
        words += "" if self.above is None else f" greater than {self.above:g}"
        return words + ("" if self.at_least is None else f", {self.at_least:g} or more")

    @property
    def config_key(self) -> str:
        """Its key in an application's configuration, for a setting that can be there."""
        return f"{CONFIG_PREFIX}{self.name.upper()}"

    def checked(self, value: Any) -> T:
        """Return a value as it is kept; ``None`` stays if that is the default.

        :raises ValueError: if it is not :attr:`expected`, or with what ``parse`` says. Its text does not show the value
            that was given, which may be a password under a wrong name.
        """
        if value is None and self.default is None:
            return self.default
        found: T = self._converted(value)
        try:
            return found if self.parse is None else self.parse(found)
        except Unsuitable:
            raise Unsuitable(f"expected {self.expected}") from None

    def _converted(self, value: Any) -> Any:
        try:
            found = values.convert(self.kind, value)
        except (ValueError, OverflowError):
            raise Unsuitable(f"expected {self.expected}") from None
        found = float(found) if self.kind is float else found
        if (
            not isinstance(found, self.kind)
            or (self.above is not None and not found > self.above)
            or (self.at_least is not None and not found >= self.at_least)
            or (self.choices and found not in self.choices)
        ):
            raise Unsuitable(f"expected {self.expected}")
        return found


def option(kind: type[Any], default: T, text: str, *, repr: bool = True, **more: Any) -> T:
    """Return a field of a dataclass that is one of its settings, named like the field.

    :param repr: show the value in the ``repr`` of the dataclass.
    :param more: the other arguments of :class:`Setting`.
    """
    given = {"kind": kind, "default": default, "text": text, **more}
    kept: dict[str, Any] = {"repr": repr, "metadata": given}
    found: Any = (
        field(default_factory=kind, **kept) if isinstance(default, dict) else field(default=default, **kept)
    )
    return found  # type: ignore[no-any-return]  # a type checker takes a field for its value


def settings_of(dataclass_: type[Any]) -> tuple[Setting[Any], ...]:
    """Return the settings that the fields of a dataclass are."""
    return tuple(Setting(item.name, **item.metadata) for item in fields(dataclass_))


def _kind(value: Any) -> str:
    return "" if value in tuple(KINDS) else f"expected {_listed(kind.__name__ for kind in KINDS)}"


def _listed(words: Iterable[str]) -> str:
    *most, last = words
    return f"{', '.join(most)} or {last}"
