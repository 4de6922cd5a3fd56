"""Options of a message queue: named once with type, unit and default, given as a dict or in the URL's query."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..common import descriptor_rules as rules
from ..common import values
from ..common.options import unknown_keyword
from ..errors import InvalidOption, UnknownOption

__all__ = ["Setting", "read"]


#: The kinds of value, as messages call them.
_NAMES = {**values.EXPECTED, str: "text", object: "a Python object"}


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
            checked = _checked(self, self.default)
            if isinstance(self.default, str) and not isinstance(checked, str):
                raise InvalidOption(_expected(self))
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
    found = {setting.name: setting.default for setting in known}
    found.update({name: _from_url(by_name[name], value) for name, value in query.items()})
    found.update({name: _checked(by_name[name], value) for name, value in options.items()})
    return found


def _from_url(setting: Setting, text: str) -> Any:
    if setting.kind is object:
        raise InvalidOption(
            f"{setting.name}= in the message queue URL can only be given in message_queue_options ({setting.text})"
        )
    return _checked(setting, text, f"{setting.name}= in the message queue URL")


def _checked(setting: Setting, value: Any, what: str = "") -> Any:
    """Return a value as one of its type, text of numbers and switches included."""
    if value is None and setting.default is None:
        return None
    try:
        found: Any = values.convert(setting.kind, value)
        found = float(found) if setting.kind is float else found
        if (setting.above is None or found > setting.above) and isinstance(found, setting.kind):
            return found
    except (ValueError, OverflowError):
        pass
    # The value is not shown: it may be a password that was given under the wrong name.
    what = what or f"message queue option {setting.name}"
    raise InvalidOption(f"{what}: {_expected(setting)} ({setting.text})")


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
    Setting(
        "secret",
        object,
        None,
        "text or bytes with which messages are signed, or a list of them: the first signs",
    ),
    Setting(
        "replay_window_s",
        float,
        3600.0,
        "with a secret: seconds after which a message is heard no more",
        above=0,
    ),
)
