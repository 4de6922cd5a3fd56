"""Run pytest, one process per group of tests, and end with a line per group.

A mode that patches the standard library does so for its whole process, so each plugin's tests have a process
of their own; its ``tests/conftest.py`` patches first thing. The core's tests share theirs with the threading plugin's.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARES_THE_CORE_PROCESS = "async_threading"
#: Groups in a patched process. Elsewhere a test that is out of time can be failed by a signal and the run goes on;
#: there only the default of pyproject.toml works, which ends the run.
GREEN = ("async_eventlet", "async_gevent")
NEEDS_KAFKA = {"core", "queue_kafka"}
#: Seconds that one group may take. Single tests are bounded by pytest-timeout; this ends a process that is beyond it.
GROUP_LIMIT_S = 15 * 60
NO_TESTS_COLLECTED = 5  # pytest's exit status


def main(names: list[str]) -> int:
    groups = all_groups()
    unknown = [name for name in names if name not in groups]
    if unknown:
        sys.stderr.write(
            f"error: no tests are called {', '.join(unknown)}\n  available: {', '.join(groups)}\n"
        )
        return 2
    chosen = names or [name for name in groups if name != SHARES_THE_CORE_PROCESS]
    if NEEDS_KAFKA & set(chosen):
        fetch_kafka()
    results = {name: run_group(name, groups[name]) for name in chosen}
    return report(results)


def all_groups() -> dict[str, list[str]]:
    """Return the arguments of pytest for each group, in the order in which ``make test`` runs them."""
    plugins = sorted(path.parent.name for path in ROOT.glob("plugins/[!_]*/tests"))
    core = ["tests", "--ignore=tests/packaging"]
    if SHARES_THE_CORE_PROCESS in plugins:
        core.append(f"plugins/{SHARES_THE_CORE_PROCESS}/tests")
    groups = {"core": core}
    groups.update({plugin: [f"plugins/{plugin}/tests"] for plugin in plugins})
    groups["packaging"] = ["tests/packaging"]
    return groups


def fetch_kafka() -> None:
    """Fetch Kafka's jars now, if they are missing, and not within the seconds that a test may take.

    What cannot be fetched is told by the tests that need it.
    """
    program = "\n".join(
        (
            "from support.brokers import BrokerMissing, KafkaBroker",
            "try: KafkaBroker().find()",
            "except BrokerMissing: pass",
        )
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT / "tests", stdin=subprocess.DEVNULL)


def run_group(name: str, arguments: list[str]) -> tuple[str, float]:
    """Run one group and return what became of it and how many seconds it took."""
    sys.stdout.write(f"\n==> tests of {name}: pytest {' '.join(arguments)}\n")
    sys.stdout.flush()
    started = time.monotonic()
    options = [] if name in GREEN else ["--timeout-method=signal"]
    options += shlex.split(os.environ.get("PYTEST_ARGS", ""))
    command = [sys.executable, "-m", "pytest", *arguments, *options]
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True)
    try:
        status = process.wait(GROUP_LIMIT_S)
        outcome = {0: "passed", NO_TESTS_COLLECTED: "ran no test"}.get(status, f"failed (status {status})")
    except subprocess.TimeoutExpired:
        outcome = f"ended: took longer than {GROUP_LIMIT_S} s"
    except KeyboardInterrupt:
        process.send_signal(signal.SIGINT)  # pytest has a session of its own, so Ctrl-C did not reach it
        process.wait(10)
        raise
    finally:
        end_process_group(process)
    return outcome, time.monotonic() - started


def end_process_group(process: subprocess.Popen[bytes]) -> None:
    """End pytest, if it is still there, and whatever it left behind in its process group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    finally:
        process.wait()
    sys.stdout.write("==> these tests left processes behind, which are ended now\n")


def report(results: dict[str, tuple[str, float]]) -> int:
    sys.stdout.write("\n")
    for name, (outcome, seconds) in results.items():
        sys.stdout.write(f"{name:<18} {seconds:6.1f} s  {outcome}\n")
    return int(any(outcome != "passed" for outcome, _ in results.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
