"""Run a command that cannot outlive whoever holds our standard input.

``python leash.py COMMAND ...`` starts the command in a process group of its own and obeys one-letter orders
on standard input: ``t`` end it, ``k`` kill it, ``p`` pause it, ``r`` resume it. End of input is ``t``: when
the test run dies, however it dies, the pipe closes and the broker goes with it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

#: Seconds that a command may take to end after TERM before it is killed; RabbitMQ and Kafka take 1 to 3.
GRACE_S = 10.0


def signal_group(group: int, number: signal.Signals) -> None:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        pass


def end(process: subprocess.Popen[bytes]) -> None:
    signal_group(process.pid, signal.SIGCONT)
    signal_group(process.pid, signal.SIGTERM)
    try:
        process.wait(GRACE_S)
    except subprocess.TimeoutExpired:
        pass
    signal_group(process.pid, signal.SIGKILL)


def obey(process: subprocess.Popen[bytes]) -> None:
    while order := os.read(0, 1):
        if order == b"t":
            break
        if order == b"k":
            signal_group(process.pid, signal.SIGKILL)
        elif order == b"p":
            signal_group(process.pid, signal.SIGSTOP)
        elif order == b"r":
            signal_group(process.pid, signal.SIGCONT)
    end(process)


def main() -> int:
    # A Ctrl-C in the terminal is for the test run, which then tells us what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    process = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL, start_new_session=True)
    threading.Thread(target=obey, args=(process,), daemon=True).start()
    code = process.wait()
    signal_group(process.pid, signal.SIGKILL)
    return code


if __name__ == "__main__":
    sys.exit(main())
