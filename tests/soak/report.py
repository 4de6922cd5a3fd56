"""The result of a soak, for people and for programs."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .soak import Outcome
from .state import State

ROWS = (
    "resident_bytes",
    "blocks",
    "malloc_bytes",
    "descriptors",
    "threads",
    "sessions",
    "clients",
    "rooms",
    "timed",
    "acks",
    "unfinished",
    "pending_bytes",
    "outbox_bytes",
)
OBJECTS = (
    "_Worker",
    "greenlet",
    "Session",
    "DetachedConnection",
    "PollingTransport",
    "Timer",
    "HubHandle",
    "socket",
)


def markdown(outcome: Outcome) -> str:
    """Return the result as a section of a page."""
    plan = outcome.plan
    names = list(outcome.end)
    lines = [
        f"## {' and '.join(plan.modes)}, {plan.queue}: {'failed' if outcome.failures else 'passed'}",
        "",
        f"{time.strftime('%Y-%m-%d')}, {outcome.duration_s / 60:.1f} minutes, {plan.visitors} visitors at a time, "
        f"{_machine()}.",
        "",
        f"{sum(outcome.visits.values())} visits: {_list(outcome.visits)}; {_list(outcome.farewells)}.",
        "",
        f"{outcome.sent} messages sent, {outcome.heard} deliveries. The broker was restarted {outcome.restarts} times, "
        f"the last server cut off from it {outcome.cuts} times; {outcome.timeouts} calls to clients found no answer.",
        "",
        "| without clients | " + " | ".join(f"{name}, start | end" for name in names) + " |",
        "|---|" + "---|---|" * len(names),
        *(
            f"| {row} | " + " | ".join(_cells(outcome, row, name) for name in names) + " |"
            for row in _rows(outcome)
        ),
        "| lost: not delivered, counted | "
        + " | ".join("{} | {}".format(*outcome.lost[name]) for name in names)
        + " |",
        "",
        *(f"- FAILED: {failure}" for failure in outcome.failures),
        "",
    ]
    return "\n".join(lines)


def write(outcome: Outcome, folder: Path) -> None:
    """Write ``soak-MODES-QUEUE.json`` and ``.md`` into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = (
        folder
        / f"{time.strftime('%Y-%m-%d')}-soak-{'-'.join(dict.fromkeys(outcome.plan.modes))}-{outcome.plan.queue}"
    )
    path.with_suffix(".md").write_text(markdown(outcome))
    path.with_suffix(".json").write_text(json.dumps(_plain(outcome), indent=1) + "\n")


def _plain(outcome: Outcome) -> dict[str, Any]:
    return {"machine": _machine(), **dataclasses.asdict(outcome)}


def _list(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))


def _rows(outcome: Outcome) -> list[str]:
    return [*ROWS, *OBJECTS] if outcome.end else []


def _cells(outcome: Outcome, row: str, name: str) -> str:
    return f"{_value(outcome.start[name], row)} | {_value(outcome.end[name], row)}"


def _value(state: State, row: str) -> int:
    value: int = state.objects[row] if row in state.objects else state.held[row]
    return value


def _machine() -> str:
    return (
        f"{platform.python_implementation()} {platform.python_version()}, {platform.system()}, "
        f"{os.cpu_count()} processors ({platform.machine()})"
    )
