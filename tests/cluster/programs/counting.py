"""One server of a cluster with one client in a room. Prints how much that has heard and its server has missed."""

from __future__ import annotations

import importlib
import os
import sys
import time

from support.nodes import Bus, Node


def main(module: str, name: str, url: str, channel: str) -> None:
    node = Node(Bus(getattr(importlib.import_module(module), name), url, channel)).start()
    member = node.connect()
    node.cluster.enter_room(member.sid, "room")
    shown = None
    while True:
        counts = len(member.receive()), node.cluster.health().lost_received
        if counts != shown:
            os.write(1, b"%d %d\n" % counts)
            shown = counts
        time.sleep(0.02)


if __name__ == "__main__":
    main(*sys.argv[1:])
