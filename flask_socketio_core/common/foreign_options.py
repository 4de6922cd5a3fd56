"""Options that people know from other Socket.IO libraries, and what takes their place here.

Flask-SocketIO accepts and ignores nearly all of them. Sources: Flask-SocketIO 0.x to 5.x, python-socketio's and
python-engineio's servers, managers and clients, and the options of Socket.IO's JavaScript server (v4).
"""

from __future__ import annotations

import re

_RUN = "it is an argument of SocketIO.run()"
_CLIENT = "it is an option of clients, not of the server"
_QUEUE = "what belongs to the message queue goes into message_queue_options={...}"
_FIXED = "there is nothing to set here"
_ASGI = "this is a WSGI extension: pass the Flask application, as SocketIO(app)"

INSTEAD = {
    "adapter": "use message_queue='redis://...', which joins several servers",
    "allow_eio3": "clients of Engine.IO 3 (socket.io-client 1.x and 2.x) are not served, update them to 3.x or 4.x",
    "allow_request": "refuse clients in the connect handler: return False or raise ConnectionRefusedError",
    "allow_unsafe_werkzeug": _RUN,
    "allowed_origins": "use cors_allowed_origins=",
    "async_method": "use async_mode=",
    "auto_connect": _CLIENT,
    "binary": f"{_FIXED}, bytes are sent as bytes",
    "certfile": _RUN,
    "cleanup_empty_child_namespaces": f"{_FIXED}, empty namespaces are always forgotten",
    "client_manager_options": _QUEUE,
    "connection_options": _QUEUE,
    "connection_state_recovery": "use recovery=, a number of seconds",
    "cors": "use cors_allowed_origins= and cors_credentials=",
    "credentials": "use cors_credentials=",
    "debug": _RUN,
    "destroy_upgrade": f"{_FIXED}, upgrades to another path are left to the application",
    "engineio_options": "pass what is in it as keyword arguments of SocketIO()",
    "engineio_path": "use path=",
    "exchange_options": _QUEUE,
    "extra_files": _RUN,
    "force_new": _CLIENT,
    "handle_sigint": _CLIENT,
    "heartbeat_interval": "use ping_interval=",
    "heartbeat_timeout": "use ping_timeout=",
    "host": _RUN,
    "http_session": _CLIENT,
    "keyfile": _RUN,
    "log_output": _RUN,
    "max_decode_packets": "use max_packets_per_payload=",
    "max_payload": "use max_http_buffer_size=",
    "on_shutdown": "use a disconnect handler, or Python's atexit",
    "origins": "use cors_allowed_origins=",
    "other_asgi_app": _ASGI,
    "parser": "use serializer=",
    "per_message_deflate": "use websocket_compression=True",
    "policy_server": f"{_FIXED}, clients with Flash are not served",
    "port": _RUN,
    "producer_options": _QUEUE,
    "queue_options": _QUEUE,
    "randomization_factor": _CLIENT,
    "reconnection": _CLIENT,
    "reconnection_attempts": _CLIENT,
    "reconnection_delay": _CLIENT,
    "reconnection_delay_max": _CLIENT,
    "redis_options": _QUEUE,
    "reloader_options": _RUN,
    "remember_upgrade": _CLIENT,
    "request_timeout": _CLIENT,
    "serve_client": "the JavaScript client is not served: load it from a CDN, or from the application's static files",
    "server_options": "pass what is in it as keyword arguments of SocketIO()",
    "socketio_app": _ASGI,
    "socketio_path": "use path=",
    "ssl_context": _RUN,
    "ssl_verify": _CLIENT,
    "start_service_task": "use monitor_clients=",
    "static_files": "Flask serves the application's static files",
    "use_reloader": _RUN,
    "websocket_extra_options": _CLIENT,
    "write_only": "a SocketIO(message_queue=...) without an application only sends",
    "ws_engine": "use websocket_provider=",
    "wsgi_app": _ASGI,
}
"""By name, in Python's spelling: what to do instead."""


def instead_of(name: str) -> str | None:
    """Return what takes the place of an option of another library; ``None`` for a name that none of them has.

    :param name: in Python's or JavaScript's spelling.
    """
    return INSTEAD.get(snake_case(name))


def snake_case(name: str) -> str:
    """Return a name in Python's spelling: ``allowEIO3`` as ``allow_eio3``."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
