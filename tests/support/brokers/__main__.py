"""Run brokers in the foreground and print their URLs: ``python -m support.brokers [KIND ...]``."""

from __future__ import annotations

import signal
import sys
import threading
from contextlib import ExitStack

from . import KINDS, BrokerFailed, BrokerMissing


def main(words: list[str]) -> int:
    wanted = [word for argument in words for word in argument.replace(",", " ").split()] or list(KINDS)
    unknown = [word for word in wanted if word not in KINDS]
    if unknown:
        sys.stderr.write(f"unknown broker: {', '.join(unknown)}; known: {', '.join(KINDS)}\n")
        return 2
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with ExitStack() as stack:
        for name in wanted:
            broker = KINDS[name]()
            stack.callback(broker.close)
            try:
                broker.start()
            except (BrokerMissing, BrokerFailed) as problem:
                sys.stderr.write(f"{problem}\n")
                return 1
            if ended.is_set():
                return 0
            sys.stdout.write(f"{name:<10}{broker.url}\n")
            sys.stdout.flush()
        sys.stdout.write("end with Ctrl-C\n")
        sys.stdout.flush()
        ended.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
