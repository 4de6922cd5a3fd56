"""Note the stacks of this process's threads every 2 ms of CPU time, and write the counts at the end."""

from __future__ import annotations

import atexit
import json
import signal
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType

INTERVAL_S = 0.002


def start(path: str) -> None:
    """Sample until the process ends."""
    alone: Counter[str] = Counter()
    including: Counter[str] = Counter()
    total = 0

    def sample(number: int, interrupted: FrameType | None) -> None:
        nonlocal total
        total += 1
        codes: set[CodeType] = set()
        frame = interrupted
        if frame is not None:
            alone[_name(frame.f_code)] += 1
        while frame is not None:
            codes.add(frame.f_code)
            frame = frame.f_back
        including.update(_name(code) for code in codes)

    def write() -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        counts = {"total": {"samples": total}, "alone": alone, "including": including}
        Path(path).write_text(json.dumps(counts))

    signal.signal(signal.SIGPROF, sample)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    signal.setitimer(signal.ITIMER_PROF, INTERVAL_S, INTERVAL_S)
    atexit.register(write)


def _name(code: CodeType) -> str:
    return f"{'/'.join(Path(code.co_filename).parts[-2:])}:{code.co_firstlineno} {code.co_name}"
