"""`flask socketio run --workers N`: N processes that accept from one listening socket, and one that looks after them.

The supervisor binds the socket and starts this very command once per worker; a worker finds the socket in its
environment. It is no fork of a loaded application, because a green mode has to patch its process before anything is
imported. The supervisor itself loads no application, so that nothing in one can end it.

Why ours: gunicorn's arbiter forks workers of its own kinds and is no library; circus and honcho start programs, but
hand them no socket that waits while a worker is exchanged, or bring a message queue of their own.
"""

from __future__ import annotations

from .handed import Handed, is_handed, take
from .supervisor import supervise

__all__ = ["Handed", "is_handed", "supervise", "take"]
