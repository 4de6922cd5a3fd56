"""Fork while a question is under way: the child knows nothing of it and asks for itself, the parent gets its answer."""

from __future__ import annotations

import os
import sys
import threading

from flask_socketio_core import SocketIO
from support.nodes import wait_until


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main(url: str, channel: str) -> None:
    socketio = SocketIO(message_queue=url, channel=channel, async_mode="threading")
    servers, cluster = socketio.servers, socketio._binding().cluster
    assert cluster is not None
    outcomes: list[list[object]] = []
    asking = threading.Thread(
        target=lambda: outcomes.append(list(servers.ask("wait", "parent", timeout_s=30).answers.values()))
    )
    asking.start()
    wait_until(lambda: len(cluster._link.asking.questions), "question")
    pid = os.fork()
    if not pid:
        questions = len(cluster._current().asking.questions)
        answers = list(servers.ask("echo", "child", timeout_s=30).answers.values())
        say(f"child: {questions} questions, {answers}")
        os._exit(0)
    os.waitpid(pid, 0)
    asking.join()
    say(f"parent: {outcomes[0]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
