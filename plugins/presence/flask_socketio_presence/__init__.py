"""Who is in a room, by user and over all servers, for flask-socketio-core."""

from .presence import Presence

__all__ = ["Presence"]
