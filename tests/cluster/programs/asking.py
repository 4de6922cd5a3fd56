"""Wait for a client's answers: as a process that has just begun to listen, and in a forked child of it."""

from __future__ import annotations

import os
import sys

from flask_socketio_core import SocketIO


def main(url: str, channel: str, sid: str) -> None:
    socketio = SocketIO(message_queue=url, channel=channel, async_mode="threading")
    answers = [socketio.call("ask", "parent", to=sid, timeout=20)]
    sys.stdout.write(f"{answers}\n")
    sys.stdout.flush()
    pid = os.fork()
    answers = [
        socketio.call("ask", f"{'parent' if pid else 'child'} {n}", to=sid, timeout=20) for n in range(20)
    ]
    sys.stdout.write(f"{answers}\n")
    sys.stdout.flush()
    if pid:
        _, status = os.waitpid(pid, 0)
        sys.exit(status)


if __name__ == "__main__":
    main(*sys.argv[1:])
