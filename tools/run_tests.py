"""Run pytest, one process per group of tests, several at a time, and end with a line per group.

A mode that patches the standard library does so for its whole process, so each plugin's tests have a process
of their own; its ``tests/conftest.py`` patches first thing. Of the core's tests, those that spend their time waiting
for servers and brokers have groups of their own, to wait at the same time.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
#: Groups within ``tests/``, by folder; every other folder is in the group ``core``.
WAITING = (
    "cluster",
    "packaging",
    "ending",
    "compat",
    "clients",
    "demo",
    "protocol",
    "third_party",
    "field",
    "hostile",
    "soak",
    "workers",
    "recovery",
)
#: Groups that take longer than a minute and a half, the longest first; begun first, none is left over at the end.
LONG = (
    "cluster",
    "core",
    "packaging",
    "clients",
    "hostile",
    "workers",
    "recovery",
    "protocol",
    "queue_kombu",
    "third_party",
    "ending",
    "compat",
    "demo",
)
SHARES_THE_CORE_PROCESS = "async_threading"
#: One server of the core and its mode, for a Python that is not the main one.
THREADING_ONLY = ("tests/clients", "tests/protocol", "-k", "threading")
#: Groups whose tests are in another one as well.
LEFT_OUT = (SHARES_THE_CORE_PROCESS, "threading")
#: Groups in a patched process. Elsewhere a test that is out of time can be failed by a signal and the run goes on;
#: there only the default of pyproject.toml works, which ends the run.
GREEN = ("async_eventlet", "async_gevent")
NEEDS_KAFKA = {"cluster", "queue_kafka"}
#: Seconds that one group may take. Single tests are bounded by pytest-timeout; this ends a process that is beyond it.
GROUP_LIMIT_S = 45 * 60
#: Seconds that one test may take where it waits: its fixtures start servers, and other groups run beside it.
WAITING_TEST_LIMIT_S = 60
#: Seconds that pytest has to end after Ctrl-C.
INTERRUPT_LIMIT_S = 20
NO_TESTS_COLLECTED = 5  # pytest's exit status


@dataclass(frozen=True)
class Result:
    """What became of a group."""

    name: str
    outcome: str
    seconds: float

    @property
    def passed(self) -> bool:
        return self.outcome == "passed"


def main(names: Sequence[str]) -> int:
    groups = all_groups()
    unknown = [name for name in names if name not in groups]
    if unknown:
        sys.stderr.write(
            f"error: no tests are called {', '.join(unknown)}\n  available: {', '.join(groups)}\n"
        )
        return 2
    chosen = {name: groups[name] for name in names or groups if names or name not in LEFT_OUT}
    if NEEDS_KAFKA & set(chosen):
        fetch_kafka()
    results = [run_group(name, chosen[name]) for name in chosen] if len(chosen) == 1 else run_together(chosen)
    return report(results)


def all_groups() -> dict[str, list[str]]:
    """Return the arguments of pytest for each group, the longest ones first."""
    waiting = [name for name in WAITING if (ROOT / "tests" / name).is_dir()]
    plugins = sorted(path.parent.name for path in ROOT.glob("plugins/[!_]*/tests"))
    core = ["tests", *(f"--ignore=tests/{name}" for name in waiting)]
    if SHARES_THE_CORE_PROCESS in plugins:
        core.append(f"plugins/{SHARES_THE_CORE_PROCESS}/tests")
    limit = f"--timeout={WAITING_TEST_LIMIT_S}"
    groups = {name: [f"tests/{name}", limit] for name in waiting}
    groups["core"] = core
    groups["threading"] = [*THREADING_ONLY, limit]
    groups.update({plugin: [f"plugins/{plugin}/tests", limit] for plugin in plugins})
    return {name: groups[name] for name in (*LONG, *groups) if name in groups}


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


def run_together(groups: Mapping[str, list[str]]) -> list[Result]:
    """Run groups side by side and print each one's output when it has ended.

    ``JOBS`` says how many at a time; without it one more than there are processors, for they wait more than half of the
    time, and at most four.
    """
    jobs = int(os.environ.get("JOBS") or min(4, (os.cpu_count() or 1) + 1))
    results = []
    with ThreadPoolExecutor(jobs) as pool, contextlib.ExitStack() as files:
        running = {}
        for name, arguments in groups.items():
            output = files.enter_context(tempfile.TemporaryFile("w+", errors="replace"))
            running[pool.submit(run_group, name, arguments, output)] = output
        try:
            for done in as_completed(running):
                running[done].seek(0)
                sys.stdout.write(running[done].read())
                sys.stdout.flush()
                results.append(done.result())
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            interrupt_all()
            raise
    return results


#: Processes of pytest that are running now.
_running: set[subprocess.Popen[bytes]] = set()


def run_group(name: str, arguments: Sequence[str], output: IO[str] | None = None) -> Result:
    """Run one group.

    :param output: where its output goes; ``None`` for ours.
    """
    options = [] if name in GREEN else ["--timeout-method=signal"]
    options += shlex.split(os.environ.get("PYTEST_ARGS", ""))
    command = [sys.executable, "-m", "pytest", *arguments, *options]
    say(output, f"\n==> tests of {name}: pytest {shlex.join(command[3:])}")
    started = time.monotonic()
    # A session of its own lets us end whatever it leaves behind; Ctrl-C does not reach it there, so we pass it on.
    process = subprocess.Popen(
        command, cwd=ROOT, start_new_session=True, stdout=output, stderr=output and subprocess.STDOUT
    )
    _running.add(process)
    try:
        status = process.wait(GROUP_LIMIT_S)
        outcome = {0: "passed", NO_TESTS_COLLECTED: "ran no test"}.get(status, f"failed (status {status})")
    except subprocess.TimeoutExpired:
        outcome = f"ended: took longer than {GROUP_LIMIT_S} s"
    except KeyboardInterrupt:
        interrupt_all()
        raise
    finally:
        _running.discard(process)
        if end_process_group(process):
            say(output, f"==> the tests of {name} left processes behind, which are ended now")
    return Result(name, outcome, time.monotonic() - started)


def interrupt_all() -> None:
    """Let every pytest end as Ctrl-C would."""
    for process in list(_running):
        process.send_signal(signal.SIGINT)
    for process in list(_running):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(INTERRUPT_LIMIT_S)


def end_process_group(process: subprocess.Popen[bytes]) -> bool:
    """End pytest, if it is still there, and whatever it left behind; return whether there was anything."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    finally:
        process.wait()
    return True


def report(results: Sequence[Result]) -> int:
    sys.stdout.write("\n")
    for result in results:
        sys.stdout.write(f"{result.name:<18} {result.seconds:6.1f} s  {result.outcome}\n")
    return int(not all(result.passed for result in results))


def say(output: IO[str] | None, text: str) -> None:
    stream = output or sys.stdout
    stream.write(text + "\n")
    stream.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
