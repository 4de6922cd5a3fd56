"""Several servers of the chat as one command: joined by a message queue, each on a port of its own.

``python examples/chat/workers.py --workers 2 --queue redis://127.0.0.1:6379/0``

Other arguments are those of ``app.py``. In production it is a web server that starts workers: docs/deployment.md.
"""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

APP = Path(__file__).with_name("app.py")
LOOK_S = 0.2  # how often we look whether all servers are there
STOP_TIMEOUT_S = 10.0  # a server that ends tells its clients, and waits for handlers that still run

asked_to_end: list[int] = []  # the signals that asked us


def main() -> None:
    """Run the servers until Ctrl-C, or until one of them ends; then none is left."""
    parser = argparse.ArgumentParser(description="Several servers of the chat; other arguments go to app.py.")
    parser.add_argument("--workers", type=int, default=2, help="how many (default: 2)")
    parser.add_argument("--queue", default="", help="URL of the message queue that joins them")
    parser.add_argument("--port", type=int, default=5000, help="of the first one (default: 5000)")
    args, others = parser.parse_known_args()
    if args.workers < 1:
        sys.exit(f"error: WORKERS={args.workers}: there has to be one server at least")
    if args.workers > 1 and args.queue.partition(":")[0] in ("", "memory"):
        sys.exit(
            f"error: WORKERS={args.workers} with QUEUE={args.queue!r}: nothing joins these servers, each would have a"
            " chat of its own\n"
            "  give them a message queue, such as QUEUE=redis://127.0.0.1:6379/0\n"
            "  a Redis for that: docker run --rm -p 6379:6379 redis"
        )
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: asked_to_end.append(number))
    ports = range(args.port, args.port + args.workers)
    sys.exit(run({port: ["--queue", args.queue, "--port", str(port), *others] for port in ports}))


def run(arguments: dict[int, list[str]]) -> int:
    """Run a server for each port, and return the status to exit with."""
    # Servers of one application have one key; app.py would make one up in each process.
    environ = {"CHAT_SECRET_KEY": secrets.token_hex(), **os.environ}
    servers: dict[int, subprocess.Popen[bytes]] = {}
    try:
        for port, given in arguments.items():
            # In a session of its own, so that Ctrl-C reaches us alone, and each server is told to end once.
            command = [sys.executable, str(APP), *given]
            servers[port] = subprocess.Popen(command, env=environ, start_new_session=True)
        while not asked_to_end:
            for port, server in servers.items():
                if (status := server.poll()) is not None:
                    print(f"error: the server on port {port} has ended: the others end, too", file=sys.stderr)
                    return status if status > 0 else 1
            time.sleep(LOOK_S)
        return 0
    finally:
        end(servers.values())


def end(servers: Collection[subprocess.Popen[bytes]]) -> None:
    """Tell servers to end, all at once, and wait for them; not for ever."""
    for server in servers:
        server.terminate()
    deadline = time.monotonic() + STOP_TIMEOUT_S
    for server in servers:
        try:
            server.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


if __name__ == "__main__":
    main()
