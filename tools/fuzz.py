"""Fuzz every parser for some minutes: guided by coverage where atheris is installed, else with hypothesis.

An input that fails is left in ``tests/fuzz/corpus/TARGET/``, to be mended and committed.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
GUIDED = """
import sys
import atheris

with atheris.instrument_imports(include=["flask_socketio_core"]):
    from fuzz.targets import TARGETS

atheris.Setup(sys.argv, TARGETS[{name!r}])
atheris.Fuzz()
"""


def main(arguments: Sequence[str]) -> int:
    minutes = float(arguments[0]) if arguments else 5.0
    sys.path.insert(0, str(TESTS))
    from fuzz.targets import SEEDS

    seconds = minutes * 60 / len(SEEDS)
    if importlib.util.find_spec("atheris") is None:
        sys.stderr.write("==> without atheris: pip install atheris for fuzzing that is guided by coverage\n")
        environment = {**os.environ, "FUZZ_SECONDS": str(seconds)}
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "tests/fuzz"], cwd=ROOT, env=environment
        ).returncode
    failed = [name for name, seeds in SEEDS.items() if not guided(name, seeds, seconds)]
    for name in failed:
        sys.stderr.write(f"error: {name} failed, its input is in tests/fuzz/corpus/{name}\n")
    return int(bool(failed))


def guided(name: str, seeds: Sequence[bytes], seconds: float) -> bool:
    """Fuzz one target; return whether nothing failed."""
    found, known = TESTS / "fuzz" / "corpus" / name, ROOT / ".fuzz" / name
    for folder in (found, known):
        folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(seeds):
        (known / f"seed-{number}").write_bytes(data)
    sys.stderr.write(f"==> {name} for {seconds:.0f} s\n")
    options = [
        f"-max_total_time={seconds:.0f}",
        "-max_len=4096",
        f"-artifact_prefix={found}/",
        "-verbosity=0",
    ]
    command = [sys.executable, "-c", GUIDED.format(name=name), *options, str(known), str(found)]
    done = subprocess.run(command, cwd=TESTS).returncode == 0
    if not any(found.iterdir()):
        found.rmdir()
    return done


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
