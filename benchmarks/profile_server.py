"""Say where a server's CPU time goes: ``python benchmarks/profile_server.py gevent event`` (``make profile``).

The server runs with a sampler in it: every 2 ms of CPU time the stacks of all its threads are noted. Printed are the
functions by the time spent in them alone, and by the time including what they call.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from generator import Generator
from process import pin_generator, running
from run import CASES, flask_command

from flask_socketio_core.testing.ports import free_port


def main() -> None:
    """Parse the command line, load the server, print its samples."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mode")
    parser.add_argument("case", choices=[*CASES, "connect"])
    parser.add_argument("--library", default="flask_socketio_core")
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--lines", type=int, default=40)
    args = parser.parse_args()
    pin_generator()
    folder = Path(tempfile.mkdtemp(prefix="profile-"))
    samples = folder / "samples.json"
    command = flask_command(args.library, args.mode)
    env = {**command.env, "SAMPLE_INTO": str(samples)}
    with running(command.words, free_port(), log=folder / "log", env=env) as server:
        load = Generator(server.port)
        try:
            load.connect(args.clients if args.case != "connect" else 3000)
            if args.case != "connect":
                CASES[args.case](server, load, 2.0)
        finally:
            load.close()
    _print(json.loads(samples.read_text()), args.lines)


def _print(samples: dict[str, dict[str, int]], lines: int) -> None:
    total = samples["total"]["samples"]
    for kind in ("alone", "including"):
        print(f"--- {kind}, of {total} samples")
        ranked = sorted(samples[kind].items(), key=lambda item: -item[1])
        for name, count in ranked[:lines]:
            print(f"{count / total:6.1%}  {name}")


if __name__ == "__main__":
    main()
