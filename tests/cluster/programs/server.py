"""One server of a cluster with clients in it, which answer nobody, until it is killed. Prints their sids."""

from __future__ import annotations

import importlib
import sys
import time

from support.nodes import Bus, Node


def main(module: str, name: str, url: str, channel: str, clients: str = "1") -> None:
    node = Node(Bus(getattr(importlib.import_module(module), name), url, channel))
    node.servers.on_topic("wait", lambda payload, asker: time.sleep(60))
    node.start()
    members = [node.connect() for _ in range(int(clients))]
    for member in members:
        member.answer = None
    sys.stdout.write(" ".join(member.sid for member in members) + "\n")
    sys.stdout.flush()
    while True:
        time.sleep(60)


if __name__ == "__main__":
    main(*sys.argv[1:])
