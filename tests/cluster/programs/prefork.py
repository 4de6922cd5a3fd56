"""What Celery's workers do: send in the parent, in each forked child, in workers at once, and in the parent again."""

from __future__ import annotations

import multiprocessing
import os
import sys

from flask_socketio_core import SocketIO


def work(socketio: SocketIO, number: int) -> None:
    socketio.emit("n", f"worker {number}")


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

    workers = [multiprocessing.get_context("fork").Process(target=work, args=(socketio, n)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    socketio.emit("n", "parent after")


if __name__ == "__main__":
    main(*sys.argv[1:])
