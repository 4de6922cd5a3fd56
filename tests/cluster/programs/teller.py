"""One server of a cluster with four clients, which tells of two of them and never of the rest, until it is killed."""

from __future__ import annotations

import importlib
import sys
import time
from typing import Any

from support.nodes import Bus, Node


def main(module: str, name: str, url: str, channel: str) -> None:
    node = Node(Bus(getattr(importlib.import_module(module), name), url, channel))
    answer = node.here.answer

    def tell(question: Any) -> Any:
        if question.get("after"):
            say("asked for the second part")
            time.sleep(60)
        return answer({**question, "limit": 2})

    node.here.answer = tell  # type: ignore[method-assign]
    node.tell_of_clients().start()
    for _ in range(4):
        node.connect()
    say("ready")
    while True:
        time.sleep(60)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
