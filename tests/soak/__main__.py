"""Run a soak: ``make soak MINUTES=10 MODE=gevent QUEUE=redis``, or ``python -m soak`` with ``tests`` on the path."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from support.brokers import BrokerFailed, BrokerMissing

from . import report
from .plan import MODES, QUEUES, Plan
from .soak import run


def main(arguments: Sequence[str]) -> int:
    plan, results = parse(arguments)
    begun_s = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # or else the servers would stay

    def tell(line: str) -> None:
        sys.stdout.write(f"{(time.monotonic() - begun_s) / 60:5.1f} min  {line}\n")
        sys.stdout.flush()

    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        try:
            outcome = run(plan, Path(directory), tell)
        except (BrokerMissing, BrokerFailed) as problem:
            sys.stderr.write(f"error: {problem}\n")
            return 1
    sys.stdout.write("\n" + report.markdown(outcome))
    if results is not None:
        report.write(outcome, results)
    for failure in outcome.failures:
        sys.stderr.write(f"error: {failure}\n")
    return int(bool(outcome.failures))


def parse(arguments: Sequence[str]) -> tuple[Plan, Path | None]:
    """Read the command line; what is wrong ends the program with status 2."""
    parser = argparse.ArgumentParser(prog="soak", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument(
        "--mode", default="threading", help=f"of both servers, or of each: {', '.join(MODES)}"
    )
    parser.add_argument("--queue", choices=sorted(QUEUES), default="redis")
    parser.add_argument("--visitors", type=int, default=24, help="who come and go at a time")
    parser.add_argument("--results", type=Path, help="folder for the result as JSON and Markdown")
    args = parser.parse_args(arguments)
    modes = args.mode.split(",")
    for mode in modes:
        if mode not in MODES:
            parser.error(f"argument --mode: invalid choice: {mode!r} (choose from {', '.join(MODES)})")
        missing = MODES[mode].missing()
        if missing is not None:
            parser.error(f"argument --mode: {mode!r} cannot run here: {missing}")
    if not args.minutes >= 0.2:
        parser.error(
            f"argument --minutes: {args.minutes:g} is too short for a broker to be restarted on the way"
        )
    modes = modes * 2 if len(modes) == 1 else modes
    return Plan(
        modes=modes, queue=args.queue, seconds=60 * args.minutes, visitors=args.visitors
    ), args.results


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
