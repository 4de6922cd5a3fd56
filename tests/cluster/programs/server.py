"""One server of a cluster with one client in it, which answers nobody, until it is killed. Prints the client's sid."""

from __future__ import annotations

import importlib
import sys
import time

from support.nodes import Bus, Node


def main(module: str, name: str, url: str, channel: str) -> None:
    node = Node(Bus(getattr(importlib.import_module(module), name), url, channel))
    node.servers.on_topic("wait", lambda payload, asker: time.sleep(60))
    node.start()
    member = node.connect()
    member.answer = None
    sys.stdout.write(f"{member.sid}\n")
    sys.stdout.flush()
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main(*sys.argv[1:])
