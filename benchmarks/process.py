"""A server under measurement: its own process, pinned to one core, with its CPU time and memory read from /proc."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

#: The plugins that a server loads: the parts there are to choose from, and none that measures, too.
PARTS = (
    "async-eventlet,async-gevent,async-threading,queue-host,queue-kafka,queue-kombu,queue-memory,queue-redis"
)
CPU_CLOCK = 2
"""The process's CPU time in nanoseconds; /proc has ticks of 10 ms. Source: clock_getcpuclockid(3), glibc."""
SERVER_CORE, GENERATOR_CORE = 0, 1


@dataclass(frozen=True, slots=True)
class Usage:
    """A reading of a process tree.

    :param cpu_s: user and system time used so far, seconds.
    :param rss_kb: resident memory, kB.
    :param threads: OS threads.
    """

    cpu_s: float
    rss_kb: int
    threads: int


class Server:
    """A running server.

    :param process: its process; children (a gunicorn worker) are counted in.
    """

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.process = process
        self.port = port

    def usage(self) -> Usage:
        """Read what the process and its children have used."""
        readings = [_read(pid) for pid in _tree(self.process.pid)]
        return Usage(
            sum(reading.cpu_s for reading in readings),
            sum(reading.rss_kb for reading in readings),
            sum(reading.threads for reading in readings),
        )

    def forget_peak(self) -> None:
        """Have :meth:`peak_kb` count from now on."""
        for pid in _tree(self.process.pid):
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc(5)

    def peak_kb(self) -> int:
        """Return the most resident memory that its processes have had, kB, each by itself."""
        statuses = (Path(f"/proc/{pid}/status").read_text() for pid in _tree(self.process.pid))
        return sum(int(status.partition("VmHWM:")[2].split()[0]) for status in statuses)


@contextlib.contextmanager
def running(
    command: Sequence[str],
    port: int,
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    patience_s: float = 30,
) -> Iterator[Server]:
    """Start a server, wait until it listens, and end it afterwards.

    :param command: ``{port}`` in it and in the environment is replaced.
    :param patience_s: how long its start and its end may take, each.
    """
    filled = [part.replace("{port}", str(port)) for part in command]
    with log.open("ab") as output:
        process = subprocess.Popen(
            filled,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                "SOCKETIO_LOAD_PLUGINS": PARTS,
                **{name: text.replace("{port}", str(port)) for name, text in (env or {}).items()},
            },
            preexec_fn=_pin_to_server_core,
            start_new_session=True,
        )
    try:
        _wait_for(port, process, log, patience_s)
        yield Server(process, port)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(patience_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # the group of the process started above
            process.wait(10)


def pin_generator() -> None:
    """Pin this process to its own core, and let it have as many descriptors as it may."""
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, {GENERATOR_CORE})
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _pin_to_server_core() -> None:
    with contextlib.suppress(OSError):
        os.sched_setaffinity(0, {SERVER_CORE})


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}:\n{log.read_text()[-2000:]}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}:\n{log.read_text()[-2000:]}")


def _tree(pid: int) -> list[int]:
    pids = [pid]
    for found in pids:
        children = Path(f"/proc/{found}/task/{found}/children")
        with contextlib.suppress(OSError):
            pids += [int(child) for child in children.read_text().split()]
    return pids


def _read(pid: int) -> Usage:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    resident_pages = int(fields[21])
    return Usage(
        time.clock_gettime(~pid << 3 | CPU_CLOCK),
        resident_pages * os.sysconf("SC_PAGE_SIZE") // 1024,
        int(fields[17]),
    )
