"""Keep python-socketio's client on each transport, and tell what happens to it: ``python -m support.returning URL``.

It reconnects by its own decision, and ends with its standard input.
"""

from __future__ import annotations

import os
import sys
from functools import partial

import socketio


def main(url: str) -> None:
    """Connect both and wait."""
    for transport in ("polling", "websocket"):
        client = socketio.Client(reconnection_delay=0.2, reconnection_delay_max=0.4, handle_sigint=False)
        client.on("connect", partial(_say, transport, "connect"))
        client.on("disconnect", partial(_say, transport, "disconnect"))
        client.connect(url, transports=[transport])
    sys.stdin.read()
    os._exit(0)  # its threads would go on


def _say(*words: str) -> None:
    sys.stdout.write(" ".join(words) + "\n")  # in one piece: clients have threads of their own
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
