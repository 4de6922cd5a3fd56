"""One worker, as its supervisor sees it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

from ...contracts.process import WORKERS, WorkerGroup
from .handed import HANDED, Handed


class Worker:
    """A process that runs this very command and accepts from the supervisor's socket.

    It is the leader of a session of its own: Ctrl-C in a terminal reaches the supervisor alone, which ends each worker
    once.

    :param listener: descriptor of the listening socket.
    :param alive: descriptor of the pipe that ends with the supervisor.
    :param now_s: a monotonic clock's reading, seconds.

    :ivar ready: descriptor on which the worker says that it serves; ``None`` from then on.
    :ivar serves: it has said so.
    :ivar ends_at_s: when it is killed, because it was told to end; ``None`` until then.
    """

    def __init__(self, listener: int, alive: int, group: WorkerGroup, now_s: float) -> None:
        self.started_s = now_s
        self.serves = False
        self.ends_at_s: float | None = None
        self.killed = False
        ready, theirs = os.pipe()
        self.ready: int | None = ready
        os.set_blocking(ready, False)
        handed = Handed(listener=listener, ready=theirs, alive=alive)
        try:
            self._process = subprocess.Popen(
                [sys.executable, *sys.orig_argv[1:]],
                env={**os.environ, WORKERS: str(group), HANDED: str(handed)},
                pass_fds=handed.descriptors,
                start_new_session=True,
            )
        except BaseException:
            self.close()
            raise
        finally:
            os.close(theirs)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """How it ended, as :attr:`subprocess.Popen.returncode`; ``None`` while it runs."""
        return self._process.poll()

    def read_line(self) -> str | None:
        """Return what it says when it serves, ``None`` if it ends instead; called when :attr:`ready` is readable."""
        assert self.ready is not None
        line = os.read(self.ready, 10_000).decode(errors="replace")
        self.close()
        self.serves = bool(line)
        return line or None

    def end(self, kill_at_s: float) -> None:
        """Tell it to end in order, once."""
        if self.ends_at_s is None:
            self.ends_at_s = kill_at_s
            self._process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once."""
        self.killed = True
        self._process.kill()

    def close(self) -> None:
        """Close the descriptor that is left of it."""
        ready, self.ready = self.ready, None
        if ready is not None:
            os.close(ready)
