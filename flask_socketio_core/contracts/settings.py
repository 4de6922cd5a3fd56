"""Options of plugins, each declared once as a :class:`Setting`.

Those of a message queue are given in ``message_queue_options`` or in the URL's query, and :func:`read` there. Those of
any other plugin are keys of the application's configuration: the hook ``socketio_settings`` returns them, so that they
are checked at the start, and :func:`configured` returns the value of one::

    RATE = Setting("census_rate", float, 100.0, "most events of a client per second", above=0)

    @hookimpl
    def socketio_settings():
        return RATE

    @hookimpl
    def socketio_setup(socketio, app):
        rate = configured(RATE, app.config)  # app.config["SOCKETIO_CENSUS_RATE"], a float
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from ..common.options import unknown_keyword
from ..common.settings import Setting
from ..errors import InvalidOption, UnknownOption

__all__ = ["Setting", "configured", "read"]

T = TypeVar("T")
SHOWN = (bool, int, float)
"""Of these the value is shown in messages; it cannot be a password, unless that is a number."""


def configured(setting: Setting[T], config: Mapping[str, Any]) -> T:
    """Return the value of a plugin's setting: that of its key in the application's configuration, or its default.

    :param config: ``app.config``; the key is ``SOCKETIO_`` and the setting's name in capitals.
    :raises InvalidOption: for a value that it cannot have.
    """
    value = config.get(setting.config_key)
    if value is None:
        return setting.default
    try:
        return setting.checked(value)
    except ValueError as error:
        shown = f"={value!r:.80}" if setting.kind in SHOWN or setting.choices else ""
        raise InvalidOption(f"app.config[{setting.config_key!r}]{shown}: {error} ({setting.text})") from None


def read(
    known: tuple[Setting[Any], ...],
    options: Mapping[str, Any],
    query: Mapping[str, str],
    *,
    where: str,
    part: str = "message queue",
) -> dict[str, Any]:
    """Check the options given and return a value for every known one.

    :param options: what the user gave as ``message_queue_options``; wins over the URL.
    :param query: what the user gave in the URL.
    :param where: name of the queue, for error texts.
    :param part: what is called so.
    :raises UnknownOption: for a name that is not known, with the nearest match.
    :raises InvalidOption: for a value of the wrong type or range.
    """
    by_name = {setting.name: setting for setting in known}
    every = {setting.name for setting in SETTINGS} if part == "message queue" else set()
    for given, names in ((options, {*by_name, *every}), (query, {*by_name})):
        for name in given:
            if name not in by_name:
                raise UnknownOption(unknown_keyword(f"{part} {where!r}", name, names))
    found = {setting.name: setting.default for setting in known}
    found.update({name: _from_url(by_name[name], value, part) for name, value in query.items()})
    found.update(
        {name: _checked(by_name[name], value, f"{part} option {name}") for name, value in options.items()}
    )
    return found


def _from_url(setting: Setting[Any], text: str, part: str) -> Any:
    if setting.kind in (object, dict):
        raise InvalidOption(
            f"{setting.name}= in the {part} URL can only be given in {part.replace(' ', '_')}_options ({setting.text})"
        )
    return _checked(setting, text, f"{setting.name}= in the {part} URL")


def _checked(setting: Setting[Any], value: Any, what: str) -> Any:
    """Return a value as one of its type, text of numbers and switches included."""
    try:
        return setting.checked(value)
    except ValueError as error:
        raise InvalidOption(f"{what}: {error} ({setting.text})") from None


#: What ``message_queue_options`` may hold for every queue, besides the queue's own options.
SETTINGS: tuple[Setting[Any], ...] = (
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
