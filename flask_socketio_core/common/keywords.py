"""The keyword arguments that users write, for type checkers.

:class:`OptionKeywords` has one key per option, with the types that are accepted. Type checkers read no table, so it is
written out; a test holds it against that of :class:`~flask_socketio_core.common.options.Options`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    import logging

    from socketio.packet import Packet


Number = float | str
"""A number, or the text of one, as environment variables have it."""

Switch = bool | str
"""A switch, or the text of one: ``"true"``, ``"0"`` and so on."""


class OptionKeywords(TypedDict, total=False):
    """What ``SocketIO()`` and ``init_app()`` take; :class:`~flask_socketio_core.common.options.Options` explains it."""

    async_mode: str | None
    websocket_provider: str | None
    max_workers: Number
    max_handlers_per_client: Number | None
    manage_session: Switch
    message_queue: str | None
    message_queue_options: Mapping[str, Any]
    store: str | None
    store_options: Mapping[str, Any]
    once_ttl: Number
    share_sessions: Switch
    channel: str
    path: str
    resource: str
    client_manager: Any  # one of python-socketio's managers, which have no types
    logger: Switch | logging.Logger
    engineio_logger: Switch | logging.Logger
    serializer: Literal["default", "msgpack"] | type[Packet]
    json: Any  # a module or object with dumps and loads
    async_handlers: Switch
    recovery: Number | Mapping[str, Any] | None
    always_connect: Switch
    namespaces: str | Iterable[str] | None
    max_namespaces: Number
    max_rooms: Number
    max_name_length: Number
    ping_interval: Number | tuple[Number, Number]
    ping_timeout: Number
    connect_timeout: Number
    upgrade_timeout: Number
    max_http_buffer_size: Number
    max_header_bytes: Number
    max_attachments: Number
    max_packets_per_payload: Number
    allow_upgrades: Switch
    http_compression: Switch
    websocket_compression: Switch
    compression_threshold: Number
    cookie: str | Mapping[str, Any] | None
    cors_allowed_origins: str | Iterable[str] | Callable[..., bool] | None
    cors_credentials: Switch
    monitor_clients: Switch
    transports: str | Iterable[str] | None
    outbox_max_bytes: Number
    outbox_max_packets: Number
    outbox_policy: Literal["disconnect", "drop_oldest", "drop_newest"]
    max_connections: Number | None
    max_connections_per_address: Number | None
    max_handshakes_per_address: Number | None
    max_pending_events: Number
    max_pending_bytes: Number
    max_total_pending_bytes: Number
    max_packets_per_s: Number
    max_pending_acks: Number
    ack_timeout: Number
    max_loop_block: Number


Room = Any
"""A room's name: a string, or any other hashable value that is not a list, as python-socketio allows."""

Recipients = Any
"""A room or sid, or a list, tuple or set of them; ``None`` where that means everybody."""
