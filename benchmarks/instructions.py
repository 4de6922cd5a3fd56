"""Count the instructions per event of servers of ours: ``python benchmarks/instructions.py --before CHECKOUT``.

``--imports`` counts those of importing the package instead, beside Flask and Flask-SocketIO.

On a machine that others use, too, times say little; the number of instructions hardly changes. Needs valgrind. Each
server is run twice under it, for few and for many events, and the difference counts, so that the start does not. The
events are acknowledged; their handler is that of ``run.py``.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from process import running
from run import Command, before, commands

from flask_socketio_core.testing.ports import free_port
from flask_socketio_core.testing.rawclient import TEXT, RawClient, handshake, masked

FEW, MANY = 400, 2400
COUNTING = ["valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null"]
TIMEOUT_S = 120
EVENT = masked(TEXT, b'421["echo",{"seq":1,"text":"the quick brown fox jumps"}]')
ACKNOWLEDGED = b"431["
IMPORTED = ("flask", "flask_socketio_core", "flask_socketio")


def main() -> None:
    """Parse the command line, count, and print a line for each server and burst."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--modes", nargs="*", default=["threading", "gevent", "eventlet"])
    parser.add_argument("--bursts", nargs="*", type=int, default=[1, 10], help="events sent at once")
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="count in another checkout, too")
    parser.add_argument("--imports", action="store_true", help="of importing the package, not of events")
    args = parser.parse_args()
    if args.imports:
        count_imports()
        return
    chosen = {
        name: command for name, command in commands().items() if name in [f"ours-{m}" for m in args.modes]
    }
    if args.before is not None:
        chosen |= before(chosen, args.before)
    print("| server | burst | instructions per event |\n|---|---|---|")
    for name in sorted(chosen):
        for burst in args.bursts:
            more = count(chosen[name], MANY, burst) - count(chosen[name], FEW, burst)
            print(f"| {name} | {burst} | {more // (MANY - FEW):,} |", flush=True)


def count_imports() -> None:
    """Print a line for each package, without what Python itself takes to start and to end."""
    print("| imported | million instructions |\n|---|---|")
    bare = count_program("pass")
    for name in IMPORTED:
        print(f"| {name} | {(count_program(f'import {name}') - bare) // 10**6:,} |", flush=True)


def count_program(code: str) -> int:
    """Return the instructions of a program whose modules are compiled already.

    :raises subprocess.CalledProcessError: if it fails.
    """
    env = {**os.environ, "PYTHONHASHSEED": "0"}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    program = [sys.executable, "-c", code]
    subprocess.run(program, env=env, check=True)
    counted = subprocess.run([*COUNTING, *program], env=env, check=True, capture_output=True, text=True)
    return parse(counted.stderr)


def parse(told: str) -> int:
    """Return the instructions that valgrind has counted.

    :raises RuntimeError: if it does not tell them.
    """
    found = re.search(r"I *refs: *([\d,]+)", told)
    if found is None:
        raise RuntimeError(f"no count of instructions:\n{told[-2000:]}")
    return int(found[1].replace(",", ""))


def count(command: Command, events: int, burst: int) -> int:
    """Return the instructions of a server that has had so many events of one client.

    :raises RuntimeError: if the server does not tell them.
    """
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        # The seed decides on the order in sets, which others could count as a change.
        env = {**command.env, "PYTHONHASHSEED": "0"}
        with running(
            [*COUNTING, *command.words], free_port(), log=log, env=env, patience_s=TIMEOUT_S
        ) as server:
            drive(server.port, events, burst)
        return parse(log.read_text())


def drive(port: int, events: int, burst: int) -> None:
    """Send events, so many at once, and wait for the acknowledgement of each of these."""
    with RawClient(port) as client:
        client.sock.settimeout(TIMEOUT_S)
        client.send(handshake("/socket.io/?EIO=4&transport=websocket"))
        read_until(client, b'0{"sid"')
        client.send(masked(TEXT, b"40"))
        read_until(client, b'40{"sid"')
        for _ in range(events // burst):
            client.send(EVENT * burst)
            read_until(client, ACKNOWLEDGED, burst)


def read_until(client: RawClient, text: bytes, times: int = 1) -> None:
    """Read until a text has come so many times.

    :raises ConnectionError: if the server closes the connection before that.
    """
    read = b""
    while read.count(text) < times:
        more = client.sock.recv(65536)
        if not more:
            raise ConnectionError("the server has closed the connection")
        read += more


if __name__ == "__main__":
    main()
