"""What a web server does that loads the application before it forks: each child's first tasks use it at once."""

from __future__ import annotations

import os
import sys
import threading

from flask import Flask

from flask_socketio_core import SocketIO

CHILDREN = 10
TASKS = 8


def nodes(socketio: SocketIO) -> set[str]:
    """Return as whom each of many tasks that begin at once knows this process."""
    found: set[str] = set()
    barrier = threading.Barrier(TASKS)

    def use() -> None:
        barrier.wait(10)
        found.add(socketio.servers.node)

    tasks = [threading.Thread(target=use) for _ in range(TASKS)]
    for task in tasks:
        task.start()
    for task in tasks:
        task.join()
    return found


def main(url: str, channel: str) -> None:
    socketio = SocketIO(Flask(__name__), message_queue=url or None, channel=channel, async_mode="threading")
    here = socketio.servers.node
    sys.setswitchinterval(1e-6)
    for _ in range(CHILDREN):
        pid = os.fork()
        if not pid:
            found = nodes(socketio)
            sys.stdout.write(f"{len(found)} {here in found}\n")
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
