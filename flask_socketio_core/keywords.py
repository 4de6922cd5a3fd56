"""The keyword arguments that users write, for type checkers.

:class:`OptionKeywords` has one key per field of :class:`~flask_socketio_core.options.Options`, with the types that are
accepted (``options.build`` normalises them); a test keeps the two in step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    import logging

    from socketio.packet import Packet


class OptionKeywords(TypedDict, total=False):
    """What ``SocketIO()`` and ``init_app()`` take; explained in :class:`~flask_socketio_core.options.Options`."""

    async_mode: str | None
    websocket_provider: str | None
    max_workers: int
    manage_session: bool
    message_queue: str | None
    message_queue_options: Mapping[str, Any]
    channel: str
    path: str
    resource: str
    client_manager: Any  # one of python-socketio's managers, which have no types
    logger: bool | logging.Logger
    engineio_logger: bool | logging.Logger
    serializer: Literal["default", "msgpack"] | type[Packet]
    json: Any  # a module or object with dumps and loads
    async_handlers: bool | Literal["ordered"]
    always_connect: bool
    namespaces: Sequence[str] | Literal["*"] | None
    max_namespaces: int
    ping_interval: float | tuple[float, float]
    ping_timeout: float
    connect_timeout: float
    upgrade_timeout: float
    max_http_buffer_size: int
    max_packets_per_payload: int
    allow_upgrades: bool
    http_compression: bool
    websocket_compression: bool
    compression_threshold: int
    cookie: str | Mapping[str, Any] | None
    cors_allowed_origins: str | Iterable[str] | Callable[..., bool] | None
    cors_credentials: bool
    monitor_clients: bool
    transports: str | Sequence[str] | None
    outbox_max_bytes: int
    outbox_max_packets: int
    outbox_policy: Literal["disconnect", "drop_oldest", "drop_newest"]
    max_connections: int | None
    max_pending_events: int
    max_loop_block: float


Room = Any
"""A room's name: a string, or any other hashable value that is not a list, as python-socketio allows."""

Recipients = Any
"""A room or sid, or a list, tuple or set of them; ``None`` where that means everybody."""
