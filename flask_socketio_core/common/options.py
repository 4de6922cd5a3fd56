"""Every option, once: name, type, unit, default.

Options come from keyword arguments (``SocketIO(app, ping_interval=10)``) and from the app's configuration
(``app.config["SOCKETIO_PING_INTERVAL"] = 10``); a keyword wins. A name that does not exist is a ``TypeError`` that
names the nearest one. Defaults are those of Flask-SocketIO 5.7 unless the field says otherwise.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import InvalidOption, UnknownOption
from . import origins, values
from .foreign_options import instead_of
from .json_modules import tried
from .settings import CONFIG_PREFIX

TRANSPORTS = ("polling", "websocket")
LONGEST_SILENCE_S = 2_147_483
"""So long JavaScript clients can wait for a ping; with more, ``setTimeout`` is over at once. Source: HTML, timers."""
OUTBOX_POLICIES = ("disconnect", "drop_oldest", "drop_newest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The checked options of one ``SocketIO`` object.

    :param async_mode: name of the async mode; ``None`` selects the best usable one.
    :param websocket_provider: name of the WebSocket provider; ``None`` selects per request among the usable ones.
    :param max_workers: most handlers that run at the same time in this process. Default 1000: as generous as a
        thread per event is in practice.
    :param max_handlers_per_client: most of them for one connection; its further events wait until one has ended, those
        of others do not. ``None``: 100, or a fifth of ``max_workers`` if that is less. Whatever is given, the last
        tenth of the workers is for connections that have none.
    :param manage_session: ``True`` gives each client a session of its own, forked from Flask's at connection time;
        ``False`` leaves the session to Flask.
    :param message_queue: URL of the message queue that joins several processes; ``None`` for a single process.
    :param message_queue_options: options for the queue's client library.
    :param channel: name that separates clusters which share a broker.
    :param path: URL path of the endpoint; slashes around it make no difference. ``"/"`` takes every request of the
        application, so that no view is reached; an empty one means the default.
    :param client_manager: one of python-socketio's managers; its URL and channel are taken over as ``message_queue``.
    :param logger: ``True`` tells at INFO what clients do (connects, events, acks, disconnects), or a logger to use.
    :param engineio_logger: the same for the Engine.IO layer: transports, upgrades, packets.
    :param serializer: ``"default"`` (JSON), ``"msgpack"``, or a subclass of python-socketio's ``Packet``.
    :param json: module or object with ``dumps`` and ``loads``, such as simplejson, orjson or flask.json; tried at the
        start with a list. ``None`` for the standard library's.
    :param async_handlers: ``True`` runs each event's handler concurrently, ``False`` and ``"ordered"`` one at a time
        and in order per client.
    :param always_connect: accept a client before its connect handler returned, and disconnect it if that refuses.
    :param namespaces: namespaces accepted besides those with handlers; ``"*"`` for all, ``None`` for only ``"/"``.
    :param max_namespaces: most namespaces that one connection may be in; one more is refused with the reason. Matters
        with ``namespaces="*"``, where clients make them up. Default 100: more than applications have.
    :param max_rooms: most rooms that one client may be in, its own left out; ``join_room()`` beyond is a
        ``ValueError``. Default 10,000: more than applications have, unless clients say which.
    :param max_name_length: most characters of the names of rooms and of namespaces that clients connect to;
        ``join_room()`` beyond is a ``ValueError``, a CONNECT is refused with the reason. Default 1000.
    :param ping_interval: seconds between the server's pings. A pair adds a grace period in seconds.
    :param ping_timeout: seconds a client may take to answer a ping.
    :param connect_timeout: seconds until a client that joined no namespace is closed, also if its connect handler has
        not returned; that handler runs on. Default 45: Socket.IO's own.
    :param upgrade_timeout: seconds a WebSocket upgrade may take. Default 10: Engine.IO's own.
    :param max_http_buffer_size: largest message accepted from a client, bytes, on both transports.
    :param max_header_bytes: most bytes of headers and query string that a handshake may have, all of which are kept as
        long as the connection; more is answered 431. Default 32 kB: what nginx takes, enough for a token of 8 kB and
        cookies of 16 kB.
    :param max_attachments: most binary values in one event or acknowledgement, sent or received. Default 10: what the
        official clients take; one with a higher limit has to be told, too (``maxAttachments`` of its parser).
    :param max_packets_per_payload: most packets in one polling request. Default 1000.
    :param allow_upgrades: offer the upgrade from polling to WebSocket.
    :param http_compression: compress polling responses.
    :param websocket_compression: compress WebSocket messages for clients that offer it (permessage-deflate), where the
        handshake is ours: not under uWSGI. Costs the processor more than it saves unless messages are large and the
        network is slow.
    :param compression_threshold: smallest polling response or WebSocket message that is compressed, bytes.
    :param cookie: name of a cookie that carries the Engine.IO sid, or a dict of ``name`` and attributes.
    :param cors_allowed_origins: origins that browsers may come from, as a list or with commas between them:
        ``"https://example.com"``, ``"https://*.example.com"`` for its subdomains, ``"*"`` for any; a callable that is
        asked; ``[]`` to switch the check off, ``None`` for the same origin only.
    :param cors_credentials: allow credentials in cross-origin requests.
    :param monitor_clients: ping clients and close silent ones.
    :param transports: transports accepted, ``"polling"`` and ``"websocket"``.
    :param outbox_max_bytes: most bytes waiting for one client that does not read. Default 10 MB.
    :param outbox_max_packets: most packets waiting for one client. Default 10,000.
    :param outbox_policy: what happens beyond: ``"disconnect"``, ``"drop_oldest"`` or ``"drop_newest"``. Only events are
        dropped; a client for which twice the limits still wait is disconnected.
    :param max_pending_events: most events of one connection whose handlers have not finished; beyond, nothing more is
        read from it until half of them have, apart from what the last read has brought (64 kB, or one polling
        request). Default 1000.
    :param max_pending_bytes: most bytes of memory that the unfinished events of one connection may take; beyond,
        nothing more is read from it until half of them are finished. Counted are messages of more than 1024 bytes, each
        by an estimate of what it takes when it is decoded: the size of a binary value, up to 70 times the size of JSON
        that is full of brackets. Default 10 MB.
    :param max_total_pending_bytes: the same for all connections of the process; beyond, a message of more than 1024
        bytes waits undecoded until there is room, and nothing more is read from its connection. Default 100 MB.
    :param max_packets_per_s: most packets of one connection per second in the long run, ten times as many at once:
        events, acknowledgements, everything else of the protocol, and WebSocket control frames. Nothing is read for a
        while from one that sends more; nothing is lost. Default 1000.
    :param max_pending_acks: most acknowledgements of one client that are waited for; beyond, the oldest is given up:
        its callback is not called, ``call()`` runs into its time-out. Default 10,000: less than 10 MB.
    :param ack_timeout: seconds after which a client's acknowledgement is waited for no longer. Default 3600.
    :param max_loop_block: seconds a handler may block the event loop of a green mode before that is logged with its
        name and stack; 0 switches the watch off. Default 1.
    :param max_connections: most connections of this process; more are answered 503. ``None``: limited by descriptors
        only.
    :param max_connections_per_address: most connections of one address in this process; more are answered 429. The
        address is the proxy's, unless ``ProxyFix`` tells the client's; of IPv6 the first 64 bits count. Many clients
        may share one. ``None``: any number.
    :param max_handshakes_per_address: most handshakes and upgrades of one address per minute, and so many at once; more
        are answered 429. A client that starts with polling needs two. ``None``: any number.
    """

    async_mode: str | None = None
    websocket_provider: str | None = None
    max_workers: int = 1000
    max_handlers_per_client: int | None = None
    manage_session: bool = True
    message_queue: str | None = field(default=None, repr=False)  # it may hold a password, as the next one
    message_queue_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    channel: str = "flask-socketio"
    path: str = "socket.io"
    client_manager: Any = None  # a foreign class, inspected by duck typing
    logger: Any = False  # bool or any object with the methods of logging.Logger
    engineio_logger: Any = False
    serializer: Any = "default"
    json: Any = None
    async_handlers: bool | str = True
    always_connect: bool = False
    namespaces: tuple[str, ...] | str | None = None
    max_namespaces: int = 100
    max_rooms: int = 10_000
    max_name_length: int = 1000
    ping_interval: float = 25
    ping_interval_grace: float = 0
    ping_timeout: float = 20
    connect_timeout: float = 45
    upgrade_timeout: float = 10
    max_http_buffer_size: int = 1_000_000
    max_header_bytes: int = 32_768
    max_attachments: int = 10
    max_packets_per_payload: int = 1000
    allow_upgrades: bool = True
    http_compression: bool = True
    websocket_compression: bool = False
    compression_threshold: int = 1024
    cookie: str | Mapping[str, Any] | None = None
    cors_allowed_origins: str | tuple[str, ...] | Callable[..., bool] | None = None
    cors_credentials: bool = True
    monitor_clients: bool = True
    transports: tuple[str, ...] = TRANSPORTS
    outbox_max_bytes: int = 10_000_000
    outbox_max_packets: int = 10_000
    outbox_policy: str = "disconnect"
    max_pending_events: int = 1000
    max_pending_bytes: int = 10_000_000
    max_total_pending_bytes: int = 100_000_000
    max_packets_per_s: float = 1000
    max_pending_acks: int = 10_000
    ack_timeout: float = 3600
    max_loop_block: float = 1.0
    max_connections: int | None = None
    max_connections_per_address: int | None = None
    max_handshakes_per_address: int | None = None

    @property
    def endpoint(self) -> str:
        """What the paths of our requests begin with, slashes included."""
        return f"/{self.path}/" if self.path else "/"


ALIASES = {"resource": "path"}
"""Old spellings that Flask-SocketIO accepts."""


def option_names() -> tuple[str, ...]:
    """Return the names that a keyword argument can have, aliases included."""
    names = [item.name for item in dataclasses.fields(Options) if item.name != "ping_interval_grace"]
    return (*names, *ALIASES)


def unknown_keyword(function: str, name: str, known: Iterable[str]) -> str:
    """Return the text of the ``TypeError`` for a keyword that does not exist, with the nearest match."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f", did you mean {near[0]!r}?" if near else f", expected one of {', '.join(known)}"
    return f"{function} got an unexpected keyword argument {name!r}{hint}"


def check_names(names: Iterable[str]) -> None:
    """Refuse option names that do not exist.

    :raises UnknownOption: for the first unknown name, with what takes its place or the nearest match.
    """
    known = option_names()
    for name in names:
        if name not in known:
            instead = instead_of(name)
            raise UnknownOption(
                unknown_keyword("SocketIO()", name, known)
                if instead is None
                else f"SocketIO() got an unexpected keyword argument {name!r}: {instead}"
            )


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
    _normalise(found)
    options = Options(**found)
    _check(options)
    return options


_NO_PATH = (("path", ""), ("resource", ""))


def _normalise(found: dict[str, Any]) -> None:
    """Turn what was given into what the fields of :class:`Options` hold."""
    interval = found.get("ping_interval")
    if isinstance(interval, (tuple, list)) or (isinstance(interval, str) and "," in interval):
        pair = values.listed(interval)
        if len(pair) != 2:
            raise InvalidOption(
                f"ping_interval={interval!r} must be seconds or a pair (interval, grace period)"
            )
        found["ping_interval"], found["ping_interval_grace"] = pair
    for item in dataclasses.fields(Options):
        if item.name in found:
            found[item.name] = _converted(item.name, str(item.type), found[item.name])


def _converted(name: str, annotation: str, value: Any) -> Any:
    """Return a value as its field holds it; what cannot be converted is left to :func:`_check`."""
    kind = _KINDS.get(annotation.removesuffix(" | None"))
    if (name == "async_handlers" and value != "ordered") or (
        name in ("logger", "engineio_logger") and isinstance(value, (str, int))
    ):
        kind = bool
    if kind is not None:
        try:
            return values.convert(kind, value)
        except (ValueError, OverflowError):
            expected = _EXPECTED.get(name) or (_SECONDS if kind is float else values.EXPECTED[kind])
            raise InvalidOption(f"{name}={value!r} must be {expected}") from None
    if name == "path" and isinstance(value, str):
        return value.strip("/")
    if name == "cors_allowed_origins":
        return _allowed_origins(value)
    if name == "json":
        return tried(value)
    if name == "transports" and isinstance(value, Iterable):
        return values.listed(value)
    if name == "namespaces" and isinstance(value, Iterable):
        return _accepted_namespaces(values.listed(value))
    return value


def _accepted_namespaces(given: tuple[Any, ...]) -> tuple[str, ...] | str:
    try:
        return "*" if "*" in given else tuple(map(values.full_namespace, given))
    except TypeError as error:
        raise InvalidOption(
            f"namespaces={list(given)!r} must be a list of namespaces or '*': {error}"
        ) from None


_KINDS = {"bool": bool, "int": int, "float": float}
_SECONDS = "a number of seconds"
_EXPECTED = {
    "async_handlers": "true, false or 'ordered'",
    "logger": "true, false or a logger",
    "engineio_logger": "true, false or a logger",
}
_MAY_BE_ZERO = ("ping_interval_grace", "max_loop_block", "compression_threshold")


def _allowed_origins(value: Any) -> str | tuple[str, ...] | Callable[..., bool] | None:
    """Return ``"*"``, the origins one by one, or the callable; ``None`` for texts that are all blank."""
    if callable(value):
        return value  # type: ignore[no-any-return]  # what it returns is looked at when it is asked
    if not isinstance(value, Iterable) or isinstance(value, (bytes, Mapping)):
        raise InvalidOption(
            f"cors_allowed_origins={value!r} must be an origin, a list of them, '*' or a callable"
        )
    given = value if isinstance(value, str) else tuple(value)
    try:
        listed = origins.split(given)
        if origins.ANY in listed:
            return origins.ANY
        origins.OriginList(listed)
    except ValueError as error:
        raise InvalidOption(f"cors_allowed_origins={given!r}: {error}") from None
    return listed if listed or given == () else None


def _check(options: Options) -> None:
    for item in dataclasses.fields(options):
        value = getattr(options, item.name)
        if str(item.type).removesuffix(" | None") not in ("int", "float") or value is None:
            continue
        if value < 0 or (value == 0 and item.name not in _MAY_BE_ZERO):
            least = "0 or more" if item.name in _MAY_BE_ZERO else "greater than 0"
            raise InvalidOption(f"{item.name}={value!r} must be {least}")
    silence_s = options.ping_interval + options.ping_interval_grace + options.ping_timeout
    if silence_s > LONGEST_SILENCE_S:
        raise InvalidOption(
            f"ping_interval={options.ping_interval!r} and ping_timeout={options.ping_timeout!r} are too long: together "
            f"at most {LONGEST_SILENCE_S} seconds, about 24 days; monitor_clients=False sends no pings at all"
        )
    _check_type(options, "transports", tuple, "a list of 'polling' and 'websocket'")
    if not options.transports or any(name not in TRANSPORTS for name in options.transports):
        raise InvalidOption(
            f"transports={list(options.transports)!r} must name 'polling', 'websocket' or both"
        )
    if options.outbox_policy not in OUTBOX_POLICIES:
        raise InvalidOption(
            f"outbox_policy={options.outbox_policy!r} must be one of {', '.join(OUTBOX_POLICIES)}"
        )
    _check_type(options, "async_mode", (str, type(None)), "the name of an async mode")
    _check_type(options, "websocket_provider", (str, type(None)), "the name of a WebSocket provider")
    _check_type(options, "namespaces", (tuple, str, type(None)), "a list of namespaces or '*'")
    _check_type(options, "path", str, "the path of a URL, such as 'socket.io'")
    _check_type(options, "channel", str, "text")
    _check_type(options, "message_queue", (str, type(None)), "a URL, such as redis://127.0.0.1:6379/0")
    _check_type(options, "message_queue_options", Mapping, "a dict of options by name")


def _check_type(options: Options, name: str, kinds: type | tuple[type, ...], expected: str) -> None:
    value = getattr(options, name)
    if not isinstance(value, kinds):
        # Not its value, which may hold a password.
        raise InvalidOption(f"{name} must be {expected}, not of type {type(value).__name__}")
