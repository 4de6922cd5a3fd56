"""Short programs in a process of their own: what has to be seen where nothing was patched or imported before."""

from __future__ import annotations

import subprocess
import sys
import textwrap

LIMIT_S = 15


def run_program(program: str, *, check: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a program and return what it wrote.

    :param check: whether it has to end with status 0.
    """
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=check,
    )
