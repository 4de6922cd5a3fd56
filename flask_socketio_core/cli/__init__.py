"""The commands under ``flask socketio``: what there is, what handles what, what is wrong, who is there, what happens.

Those that reach running servers do so through the message queue; ``run`` serves the application.

flask socketio plugins      which parts are installed, which are selected, and why
flask socketio events       the registered event handlers, by namespace
flask socketio check        whether the message queue works, and which servers answer
flask socketio doctor       what is wrong, where it comes from, and what mends it
flask socketio clients      who is connected, on all servers
flask socketio rooms        how many clients are in each room
flask socketio emit         send an event to clients
flask socketio call         send one, and show what clients answer
flask socketio kick         disconnect clients
flask socketio top          what the servers have to do, as it changes
flask socketio tail         samples of events, as they happen
flask socketio run          serve the application with the selected async mode, in one process or several
"""

from __future__ import annotations

from .commands import socketio

__all__ = ["socketio"]
