"""Count the instructions per delivery of a broadcast: ``python benchmarks/deliveries.py --before CHECKOUT``.

With connection state recovery and without, and without in another checkout. Needs valgrind; see ``instructions.py`` for
why instructions. Each program is run twice, for few and for many events, and the difference counts.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

from instructions import COUNTING, parse

HERE = Path(__file__).resolve().parent
PROGRAM = HERE / "servers" / "broadcasts.py"
FEW, MANY = 50, 250
CLIENTS = (1, 10, 100, 1000)
RECOVERY_S = 120


def main() -> None:
    """Parse the command line, count, and print a line for each number of clients."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="count in another checkout, too")
    parser.add_argument("--clients", nargs="*", type=int, default=list(CLIENTS))
    args = parser.parse_args()
    print("| clients | before | without recovery | with recovery | factor |\n|---|---|---|---|---|")
    for clients in args.clients:
        before = "" if args.before is None else f"{per_delivery(args.before, 0, clients):,}"
        without, with_it = (per_delivery(HERE.parent, recovery, clients) for recovery in (0, RECOVERY_S))
        print(f"| {clients} | {before} | {without:,} | {with_it:,} | {with_it / without:.2f} |", flush=True)


def per_delivery(checkout: Path, recovery_s: float, clients: int) -> int:
    """Return the instructions of one event for one of so many clients."""
    more = count(checkout, recovery_s, clients, MANY) - count(checkout, recovery_s, clients, FEW)
    return more // ((MANY - FEW) * clients)


def count(checkout: Path, recovery_s: float, clients: int, events: int) -> int:
    """Return the instructions of a program that has emitted so many events.

    :raises subprocess.CalledProcessError: if it fails.
    """
    python = checkout / ".venv" / "bin" / "python"
    env = {
        **os.environ,
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": f"{checkout}:{checkout / 'plugins' / 'async_threading'}",
        "SOCKETIO_LOAD_PLUGINS": "async-threading",
    }
    words = [str(python) if python.exists() else sys.executable, str(PROGRAM)]
    counted = subprocess.run(
        [*COUNTING, *words, str(recovery_s), str(clients), str(events)],
        env=env,
        check=True,
        capture_output=True,
        text=True,
    )
    return parse(counted.stderr)


if __name__ == "__main__":
    main()
