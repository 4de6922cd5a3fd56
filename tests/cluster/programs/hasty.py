"""Send a few hundred events and end right behind the last one."""

from __future__ import annotations

import sys

from flask_socketio_core import SocketIO


def main(url: str, channel: str) -> None:
    socketio = SocketIO(message_queue=url, channel=channel, async_mode="threading")
    for number in range(300):
        socketio.emit("n", number)


if __name__ == "__main__":
    main(*sys.argv[1:])
