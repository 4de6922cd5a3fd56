"""What Celery's workers do: send in the parent, then in each forked child, then in the parent again."""

from __future__ import annotations

import os
import sys

from flask_socketio_core import SocketIO


def main(url: str, channel: str) -> None:
    socketio = SocketIO(message_queue=url, channel=channel, async_mode="threading")
    socketio.emit("n", "parent before")
    for number in range(3):
        pid = os.fork()
        if pid == 0:
            for message in ("first", "second"):
                socketio.emit("n", f"child {number} {message}")
            sys.exit(0)
        os.waitpid(pid, 0)
    socketio.emit("n", "parent after")


if __name__ == "__main__":
    main(*sys.argv[1:])
