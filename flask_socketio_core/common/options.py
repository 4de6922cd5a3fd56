"""Every option, once: name, type, unit, limits, default, meaning.

Options come from keyword arguments (``SocketIO(app, ping_interval=10)``) and from the app's configuration
(``app.config["SOCKETIO_PING_INTERVAL"] = 10``); a keyword wins. A name that does not exist is a ``TypeError`` that
names the nearest one. Defaults are those of Flask-SocketIO 5.7 unless the text says otherwise.

The fields of :class:`Options` are the table: from them follow the checks, what ``keywords.py`` has to say, and the
reference in ``docs/options.md``.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import InvalidOption, UnknownOption
from . import option_values, values
from .foreign_options import instead_of
from .json_modules import tried
from .option_values import TRANSPORTS
from .recovery_settings import Recovery, recovery
from .settings import CONFIG_PREFIX, Unsuitable, option, settings_of

LONGEST_SILENCE_S = 2_147_483
"""So long JavaScript clients can wait for a ping; with more, ``setTimeout`` is over at once. Source: HTML, timers."""
OUTBOX_POLICIES = ("disconnect", "drop_oldest", "drop_newest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The checked options of one ``SocketIO`` object."""

    async_mode: str | None = option(
        str,
        None,
        "name of the async mode; ``None`` selects the best usable one",
        expects="the name of an async mode",
    )
    websocket_provider: str | None = option(
        str,
        None,
        "name of the WebSocket provider; ``None`` selects per request among the usable ones",
        expects="the name of a WebSocket provider",
    )
    max_workers: int = option(
        int,
        1000,
        "most handlers that run at the same time in this process. Default 1000: as generous as a thread per "
        "event is in practice",
        above=0,
    )
    max_handlers_per_client: int | None = option(
        int,
        None,
        "most of them for one connection; its further events wait until one has ended, those of others do "
        "not. ``None``: 100, or a fifth of ``max_workers`` if that is less. Whatever is given, the last tenth "
        "of the workers is for connections that have none",
        above=0,
    )
    manage_session: bool = option(
        bool,
        True,
        "``True`` gives each client a session of its own, forked from Flask's at connection time; ``False`` "
        "leaves the session to Flask",
    )
    message_queue: str | None = option(  # it may hold a password, as the next one
        str,
        None,
        "URL of the message queue that joins several processes; ``None`` for a single process",
        expects="a URL, such as redis://127.0.0.1:6379/0",
        repr=False,
    )
    message_queue_options: Mapping[str, Any] = option(
        dict,
        {},
        "options for the queue's client library",
        expects="a dict of options by name",
        repr=False,
    )
    store: str | None = option(  # likewise
        str,
        None,
        "URL of the store, where what has to be remembered for a while is kept for all processes; ``None`` for the "
        "memory of each process",
        expects="a URL, such as redis://127.0.0.1:6379/0",
        repr=False,
    )
    store_options: Mapping[str, Any] = option(
        dict,
        {},
        "options for the store's client library",
        expects="a dict of options by name",
        repr=False,
    )
    once_ttl: float = option(
        float,
        600.0,
        "seconds for which it is remembered how an event was acknowledged that is handled once, with ``once=`` of "
        "``on()``. "
        "Default 10 minutes: longer than clients try again",
        unit="seconds",
        above=0,
    )
    channel: str = option(
        str,
        "flask-socketio",
        "name that separates clusters which share a broker, and applications that share a store",
    )
    share_sessions: bool = option(
        bool,
        True,
        "workers of one web server on this host serve each other's sessions, so that no request has to come to the "
        "worker that has its session; without ``message_queue`` they also send each other what is emitted, if a "
        "plugin for that is installed. ``False``: each serves its own only",
    )
    path: str = option(
        str,
        "socket.io",
        'URL path of the endpoint; slashes around it make no difference. ``"/"`` takes every request of the '
        "application, so that no view is reached; an empty one means the default",
        expects="the path of a URL, such as 'socket.io'",
        parse=option_values.path,
    )
    client_manager: Any = option(  # a foreign class, inspected by duck typing
        object,
        None,
        "one of python-socketio's managers; its URL and channel are taken over as ``message_queue``",
    )
    logger: Any = option(  # bool or any object with the methods of logging.Logger
        object,
        False,
        "``True`` tells at INFO what clients do (connects, events, acks, disconnects), or a logger to use",
        expects="true, false or a logger",
        parse=option_values.logger,
    )
    engineio_logger: Any = option(
        object,
        False,
        "the same for the Engine.IO layer: transports, upgrades, packets",
        expects="true, false or a logger",
        parse=option_values.logger,
    )
    serializer: Any = option(
        object,
        "default",
        '``"default"`` (JSON), ``"msgpack"``, or a subclass of python-socketio\'s ``Packet``',
    )
    json: Any = option(
        object,
        None,
        "module or object with ``dumps`` and ``loads``, such as simplejson, orjson or flask.json; tried at "
        "the start with a list. ``None`` for the standard library's",
        parse=tried,
    )
    async_handlers: bool | str = option(
        object,
        True,
        '``True`` runs each event\'s handler concurrently, ``False`` and ``"ordered"`` one at a time and in '
        "order per connection",
        expects="true, false or 'ordered'",
        parse=option_values.async_handlers,
    )
    recovery: Recovery | None = option(
        object,
        None,
        "how long a client that has lost its connection can come back as the same one, seconds: with its sid, rooms, "
        "data and user, and with every event that it has missed. Or a dict of settings, see "
        "[recovery](recovery.md). ``None``: it always starts anew",
        expects="a number of seconds greater than 0, or a dict of settings",
        parse=recovery,
    )
    always_connect: bool = option(
        bool,
        False,
        "accept a client before its connect handler returned, and disconnect it if that refuses",
    )
    namespaces: tuple[str, ...] | str | None = option(
        object,
        None,
        'namespaces accepted besides those with handlers; ``"*"`` for all, ``None`` for only ``"/"``',
        expects="a list of namespaces or '*'",
        parse=option_values.accepted_namespaces,
    )
    max_namespaces: int = option(
        int,
        100,
        "most namespaces that one connection may be in; one more is refused with the reason. Matters with "
        '``namespaces="*"``, where clients make them up. Default 100: more than applications have',
        above=0,
    )
    max_rooms: int = option(
        int,
        10_000,
        "most rooms that one client may be in, its own left out; ``join_room()`` beyond is a ``ValueError``. "
        "Default 10,000: more than applications have, unless clients say which",
        above=0,
    )
    max_name_length: int = option(
        int,
        1000,
        "most characters of the names of rooms and of namespaces that clients connect to; ``join_room()`` "
        "beyond is a ``ValueError``, a CONNECT is refused with the reason. Default 1000",
        above=0,
    )
    ping_interval: float = option(
        float,
        25.0,
        "seconds between the server's pings. A pair adds a grace period in seconds",
        unit="seconds",
        above=0,
    )
    ping_interval_grace: float = option(
        float,
        0.0,
        "seconds that a pair given as ``ping_interval`` adds",
        unit="seconds",
        at_least=0,
    )
    ping_timeout: float = option(
        float,
        20.0,
        "seconds a client may take to answer a ping",
        unit="seconds",
        above=0,
    )
    connect_timeout: float = option(
        float,
        45.0,
        "seconds until a client that joined no namespace is closed, also if its connect handler has not "
        "returned; that handler runs on. Default 45: Socket.IO's own",
        unit="seconds",
        above=0,
    )
    upgrade_timeout: float = option(
        float,
        10.0,
        "seconds a WebSocket upgrade may take. Default 10: Engine.IO's own",
        unit="seconds",
        above=0,
    )
    max_http_buffer_size: int = option(
        int,
        1_000_000,
        "largest message accepted from a client, bytes, on both transports",
        unit="bytes",
        above=0,
    )
    max_header_bytes: int = option(
        int,
        32_768,
        "most bytes of headers and query string that a handshake may have, all of which are kept as long as "
        "the connection; more is answered 431. Default 32 kB: what nginx takes, enough for a token of 8 kB "
        "and cookies of 16 kB",
        unit="bytes",
        above=0,
    )
    max_attachments: int = option(
        int,
        10,
        "most binary values in one event or acknowledgement, sent or received. Default 10: what the official "
        "clients take; one with a higher limit has to be told, too (``maxAttachments`` of its parser)",
        above=0,
    )
    max_packets_per_payload: int = option(
        int,
        1000,
        "most packets in one polling request. Default 1000",
        above=0,
    )
    allow_upgrades: bool = option(bool, True, "offer the upgrade from polling to WebSocket")
    http_compression: bool = option(bool, True, "compress polling responses")
    websocket_compression: bool = option(
        bool,
        False,
        "compress WebSocket messages for clients that offer it (permessage-deflate), where the handshake is "
        "ours: not under uWSGI. Costs the processor more than it saves unless messages are large and the "
        "network is slow",
    )
    compression_threshold: int = option(
        int,
        1024,
        "smallest polling response or WebSocket message that is compressed, bytes",
        unit="bytes",
        at_least=0,
    )
    cookie: str | Mapping[str, Any] | None = option(
        object,
        None,
        "name of a cookie that carries the Engine.IO sid, or a dict of ``name`` and attributes",
    )
    cors_allowed_origins: str | tuple[str, ...] | Callable[..., bool] | None = option(
        object,
        None,
        "origins that browsers may come from, as a list or with commas between them: "
        '``"https://example.com"``, ``"https://*.example.com"`` for its subdomains, ``"*"`` for any; a '
        "callable that is asked; ``[]`` to switch the check off, ``None`` for the same origin only",
        expects="an origin, a list of them, '*' or a callable",
        parse=option_values.allowed_origins,
    )
    cors_credentials: bool = option(bool, True, "allow credentials in cross-origin requests")
    monitor_clients: bool = option(bool, True, "ping clients and close silent ones")
    transports: tuple[str, ...] = option(
        tuple,
        TRANSPORTS,
        'transports accepted, ``"polling"`` and ``"websocket"``',
        expects="a list of 'polling' and 'websocket'",
        parse=option_values.transports,
    )
    outbox_max_bytes: int = option(
        int,
        10_000_000,
        "most bytes waiting for one client that does not read. Default 10 MB",
        unit="bytes",
        above=0,
    )
    outbox_max_packets: int = option(
        int,
        10_000,
        "most packets waiting for one client. Default 10,000",
        above=0,
    )
    outbox_policy: str = option(
        str,
        "disconnect",
        'what happens beyond: ``"disconnect"``, ``"drop_oldest"`` or ``"drop_newest"``. Only events are '
        "dropped; a client for which twice the limits still wait is disconnected",
        choices=OUTBOX_POLICIES,
    )
    max_pending_events: int = option(
        int,
        1000,
        "most events of one connection whose handlers have not finished; beyond, nothing more is read from it "
        "until half of them have, apart from what the last read has brought (64 kB, or one polling request). "
        "Default 1000",
        above=0,
    )
    max_pending_bytes: int = option(
        int,
        10_000_000,
        "most bytes of memory that the unfinished events of one connection may take; beyond, nothing more is "
        "read from it until half of them are finished. Counted are messages of more than 1024 bytes, each by "
        "an estimate of what it takes when it is decoded: the size of a binary value, up to 70 times the size "
        "of JSON that is full of brackets. Default 10 MB",
        unit="bytes",
        above=0,
    )
    max_total_pending_bytes: int = option(
        int,
        100_000_000,
        "the same for all connections of the process; beyond, a message of more than 1024 bytes waits "
        "undecoded until there is room, and nothing more is read from its connection. Default 100 MB",
        unit="bytes",
        above=0,
    )
    max_packets_per_s: float = option(
        float,
        1000.0,
        "most packets of one connection per second in the long run, ten times as many at once: events, "
        "acknowledgements, everything else of the protocol, and WebSocket control frames. Nothing is read for "
        "a while from one that sends more; nothing is lost. Default 1000",
        above=0,
    )
    max_pending_acks: int = option(
        int,
        10_000,
        "most acknowledgements of one client that are waited for; beyond, the oldest is given up: its "
        "callback is not called, ``call()`` runs into its time-out. Default 10,000: less than 10 MB",
        above=0,
    )
    ack_timeout: float = option(
        float,
        3600.0,
        "seconds after which a client's acknowledgement is waited for no longer. Default 3600",
        unit="seconds",
        above=0,
    )
    max_loop_block: float = option(
        float,
        1.0,
        "seconds a handler may block the event loop of a green mode, or a coroutine that of coroutines, before that is "
        "logged with its name and stack; 0 switches the watch off. Default 1",
        unit="seconds",
        at_least=0,
    )
    max_connections: int | None = option(
        int,
        None,
        "most connections of this process; more are answered 503. ``None``: limited by descriptors only",
        above=0,
    )
    max_connections_per_address: int | None = option(
        int,
        None,
        "most connections of one address in this process; more are answered 429. The address is the proxy's, "
        "unless ``ProxyFix`` tells the client's; of IPv6 the first 64 bits count. Many clients may share one. "
        "``None``: any number",
        above=0,
    )
    max_handshakes_per_address: int | None = option(
        int,
        None,
        "most handshakes and upgrades of one address per minute, and so many at once; more are answered 429. "
        "A client that starts with polling needs two. ``None``: any number",
        above=0,
    )

    @property
    def endpoint(self) -> str:
        """What the paths of our requests begin with, slashes included."""
        return f"/{self.path}/" if self.path else "/"


SETTINGS = {setting.name: setting for setting in settings_of(Options)}
"""What the fields are, by name."""
GRACE = "ping_interval_grace"
"""The field that nobody gives by name: half of the pair that ``ping_interval`` may be."""
ALIASES = {"resource": "path"}
"""Old spellings that Flask-SocketIO accepts."""


def option_names() -> tuple[str, ...]:
    """Return the names that a keyword argument can have, aliases included."""
    return (*(name for name in SETTINGS if name != GRACE), *ALIASES)


def unknown_keyword(function: str, name: str, known: Iterable[str]) -> str:
    """Return the text of the ``TypeError`` for a keyword that does not exist, with the nearest match."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f", did you mean {near[0]!r}?" if near else f", expected one of {', '.join(known)}"
    return f"{function} got an unexpected keyword argument {name!r}{hint}"


def check_names(names: Iterable[str], others: Callable[[], Iterable[str]] = tuple) -> None:
    """Refuse option names that do not exist.

    :param others: returns the names of plugins' options, which are no keywords; asked for an unknown name only.
    :raises UnknownOption: for the first unknown name, with what takes its place or the nearest match.
    """
    known = option_names()
    for name in names:
        if name not in known:
            instead = instead_of(name) or _of_plugin(name, known, others())
            raise UnknownOption(
                unknown_keyword("SocketIO()", name, known)
                if instead is None
                else f"SocketIO() got an unexpected keyword argument {name!r}: {instead}"
            )


def _of_plugin(name: str, known: Iterable[str], others: Iterable[str]) -> str | None:
    """Say where an option of a plugin goes that was given as a keyword; ``None`` if it is nearer to one of ours."""
    theirs = set(others)
    near = difflib.get_close_matches(name.lower(), (*known, *theirs), n=1, cutoff=0.7)
    if not near or near[0] not in theirs:
        return None
    return f"it is a plugin's, use app.config['{CONFIG_PREFIX}{near[0].upper()}']"


def from_config(
    config: Mapping[str, Any], others: Iterable[str] = ()
) -> tuple[dict[str, Any], dict[str, str]]:
    """Collect ``SOCKETIO_...`` keys of a Flask configuration.

    :param others: names of options that are not ours but plugins'.
    :returns: keyword arguments; and the keys that are no options, which an application may have for itself, each with
        what was perhaps meant, or ``""``.
    """
    ours, theirs = option_names(), tuple(others)
    found, strange = {}, {}
    for key, value in config.items():
        if not key.startswith(CONFIG_PREFIX):
            continue
        name = key.removeprefix(CONFIG_PREFIX).lower()
        if name in ours:
            found[name] = value
        elif name not in theirs or not key.isupper():
            # Without the prefix, which all have in common.
            near = difflib.get_close_matches(name, (*ours, *theirs), n=1, cutoff=0.7)
            strange[key] = instead_of(name) or (
                f"did you mean {CONFIG_PREFIX}{near[0].upper()}?" if near else ""
            )
    return found, strange


def build(keywords: Mapping[str, Any]) -> Options:
    """Check keyword arguments and return the options.

    :param keywords: drop-in names; ``None`` for an option whose default is not ``None`` means the default. Numbers and
        switches may be text, lists text with commas.
    :raises UnknownOption: for an unknown name.
    :raises InvalidOption: for a value that the option cannot take.
    """
    check_names(keywords)
    # An empty path counts as none, as in Flask-SocketIO.
    given = [(name, value) for name, value in keywords.items() if value is not None]
    found = {ALIASES.get(name, name): value for name, value in given if (name, value) not in _NO_PATH}
    options = Options(**{name: _checked(name, value) for name, value in _without_pair(found).items()})
    silence_s = options.ping_interval + options.ping_interval_grace + options.ping_timeout
    if silence_s > LONGEST_SILENCE_S:
        raise InvalidOption(
            f"ping_interval={options.ping_interval!r} and ping_timeout={options.ping_timeout!r} are too long: together "
            f"at most {LONGEST_SILENCE_S} seconds, about 24 days; monitor_clients=False sends no pings at all"
        )
    return options


_NO_PATH = (("path", ""), ("resource", ""))


def _without_pair(found: dict[str, Any]) -> dict[str, Any]:
    """Return options with the pair that ``ping_interval`` may be as two."""
    interval = found.get("ping_interval")
    if not (isinstance(interval, (tuple, list)) or (isinstance(interval, str) and "," in interval)):
        return found
    pair = values.listed(interval)
    if len(pair) != 2:
        raise InvalidOption(f"ping_interval={interval!r} must be seconds or a pair (interval, grace period)")
    return {**found, "ping_interval": pair[0], GRACE: pair[1]}


def _checked(name: str, value: Any) -> Any:
    setting = SETTINGS[name]
    try:
        return setting.checked(value)
    except InvalidOption:
        raise
    except Unsuitable:
        if setting.kind in (str, dict) and not setting.choices:  # its value may be, or have, a password
            raise InvalidOption(
                f"{name} must be {setting.expected}, not of type {type(value).__name__}"
            ) from None
        raise InvalidOption(f"{name}={value!r} must be {setting.expected}") from None
    except ValueError as error:
        raise InvalidOption(f"{name}={value!r}: {error}") from None
