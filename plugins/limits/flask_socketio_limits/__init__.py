"""Rate limits per client, user, address and event for flask-socketio-core."""

from .decorator import limit

__all__ = ["limit"]
