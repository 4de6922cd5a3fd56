"""JavaScript clients in a process of their own, on several workers."""

from __future__ import annotations

import json
import subprocess
from types import TracebackType
from typing import Any

from support.clients import JS, node


class Crowd:
    """Clients of one package; they are connected when the block begins.

    :param transports: those that they may use; none for the package's default.
    """

    def __init__(self, package: str, url: str, count: int, *transports: str) -> None:
        command = [node(), str(JS / "workers.mjs"), package, url, str(count), *transports]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.joined: list[dict[str, Any]] = []

    def __enter__(self) -> Crowd:
        try:
            self.joined = self._read()
        except BaseException:
            self._process.kill()
            self._process.communicate()
            raise
        return self

    def _read(self) -> list[dict[str, Any]]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, self._process.communicate()[1]
        found: list[dict[str, Any]] = json.loads(line)
        return found

    def leave(self) -> list[dict[str, Any]]:
        """Disconnect them and return what each has received."""
        output, errors = self._process.communicate(timeout=20)
        assert output, errors
        found: list[dict[str, Any]] = json.loads(output)
        return found

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None and not stream.closed:
                stream.close()
