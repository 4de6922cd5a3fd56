"""Options of a message queue: named once with type, unit and default, given as a dict or in the URL's query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .. import descriptor_rules as rules
from ..errors import InvalidOption, UnknownOption
from ..options import unknown_keyword

_TRUE = ("1", "true", "yes", "on")
_FALSE = ("0", "false", "no", "off")
#: The kinds of value, as messages call them.
_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    object: "a Python object",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One option.

    :param name: as the user writes it; the unit is in the name (``_s`` seconds, ``_bytes``) or in the text.
    :param kind: ``bool``, ``int``, ``float``, ``str``, or ``object`` for a value that is passed on as it is.
    :param default: used when the user gives nothing.
    :param text: what it does, one short sentence.
    :param above: numbers must be greater than this.
    :raises InvalidDescriptor: if one of these is wrong.
    """

    name: str
    kind: type
    default: Any
    text: str
    above: float | None = None

    def __post_init__(self) -> None:
        rules.check(self, name=rules.name, kind=_kind, text=rules.text)
        try:
            _checked(self, self.default)
        except InvalidOption as error:
            rules.refuse(self, f"default={self.default!r:.40} does not suit it: {error}")


def _kind(value: Any) -> str:
    return "" if value in _NAMES else "expected bool, int, float, str or object"


def read(
    known: tuple[Setting, ...], options: Mapping[str, Any], query: Mapping[str, str], *, where: str
) -> dict[str, Any]:
    """Check the options given and return a value for every known one.

    :param options: what the user gave as ``message_queue_options``; wins over the URL.
    :param query: what the user gave in the URL.
    :param where: name of the queue, for error texts.
    :raises UnknownOption: for a name that is not known, with the nearest match.
    :raises InvalidOption: for a value of the wrong type or range.
    """
    by_name = {setting.name: setting for setting in known}
    every = {setting.name for setting in SETTINGS}
    for given, names in ((options, {*by_name, *every}), (query, {*by_name})):
        for name in given:
            if name not in by_name:
                raise UnknownOption(unknown_keyword(f"message queue {where!r}", name, names))
    values = {setting.name: setting.default for setting in known}
    values.update({name: _convert(by_name[name], value) for name, value in query.items()})
    values.update({name: _checked(by_name[name], value) for name, value in options.items()})
    return values


def _convert(setting: Setting, text: str) -> Any:
    """Return an option of the URL as a value of its type."""
    try:
        if setting.kind is bool:
            return _boolean(text)
        if setting.kind is object:
            raise ValueError("can only be given in message_queue_options")
        return _checked(setting, setting.kind(text))
    except ValueError as error:
        if isinstance(error, InvalidOption):
            raise
        raise InvalidOption(
            f"{setting.name}= in the message queue URL: {_expected(setting)} ({setting.text})"
        ) from None


def _boolean(text: str) -> bool:
    if text.lower() not in _TRUE + _FALSE:
        raise ValueError(text)
    return text.lower() in _TRUE


def _checked(setting: Setting, value: Any) -> Any:
    if value is None and setting.default is None:
        return None
    if setting.kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    wrong = setting.kind is not object and (
        not isinstance(value, setting.kind) or (isinstance(value, bool) and setting.kind is not bool)
    )
    if wrong or (setting.above is not None and not value > setting.above):
        # The value is not shown: it may be a password that was given under the wrong name.
        raise InvalidOption(f"message queue option {setting.name}: {_expected(setting)} ({setting.text})")
    return value


def _expected(setting: Setting) -> str:
    limit = "" if setting.above is None else f" greater than {setting.above:g}"
    return f"expected {_NAMES[setting.kind]}{limit}"


#: What ``message_queue_options`` may hold for every queue, besides the queue's own options.
SETTINGS = (
    Setting(
        "heartbeat_interval_s", float, 5.0, "seconds between a server's signs of life on the bus", above=0
    ),
    Setting("buffer_max_messages", int, 10_000, "most messages that wait for a broker that is away", above=0),
    Setting(
        "buffer_max_bytes", int, 32 * 1024 * 1024, "most bytes that wait for a broker that is away", above=0
    ),
    Setting("buffer_max_age_s", float, 60.0, "seconds after which a waiting message is dropped", above=0),
    Setting("ack_expires_s", float, 300.0, "seconds a callback waits for a client elsewhere", above=0),
)
