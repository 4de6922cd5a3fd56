"""How `flask socketio top` and `tail` show what servers answered. Anyone who may publish can answer anything."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..cluster.envelope import is_moment
from ..common.quoting import printable
from .check_view import NOBODY
from .reaching import NODE_CHARACTERS
from .table import paragraph, table

Reading = Mapping[str, Any]
"""What one server says of itself at one moment."""

#: The numbers of a reading, which add up.
NOW = (
    "connections",
    "clients",
    "rooms",
    "busy_workers",
    "max_workers",
    "waiting_handlers",
    "outbox_packets",
    "outbox_bytes",
    "bus_waiting",
    "lost_clients",
)
#: Those that grow, of which two readings make a rate.
GROWING = (
    "begun",
    "waited_s",
    "handled",
    "handled_s",
    "failed",
    "sent",
    "recipients",
    "recovered",
    "not_recovered",
    "evicted_events",
)
RECOVERY = ("recovered", "not_recovered", "evicted_events")
_COLUMNS = (
    "server  ",
    "clients",
    "rooms ",
    "events/s",
    "ms    ",
    "sent/s ",
    "busy",
    "outbox",
    "lag ms",
)
"""As wide as what stands below them, as a rule, so that nothing moves from one look to the next."""


def reading_of(answer: Any) -> Reading | None:
    """Return an answer that is a reading."""
    names = ("at_s", "since_s", *NOW, *GROWING)
    if not isinstance(answer, dict) or not all(is_moment(answer.get(name)) for name in names):
        return None
    lag_s = answer.get("bus_lag_s")
    return answer if lag_s is None or is_moment(lag_s) else None


def server_data(node: str, now: Reading, before: Reading | None) -> dict[str, Any]:
    """Return what is known of a server, for a program.

    :param before: an earlier reading; without one there are no rates.
    """
    grown: dict[str, float | None] = dict.fromkeys(GROWING)
    took_s = 0.0
    if before is not None and before["since_s"] == now["since_s"]:
        took_s = now["at_s"] - before["at_s"]
        grown = {name: now[name] - before[name] for name in GROWING}
    lag_s = now.get("bus_lag_s")
    return {
        "node": node,
        **{name: now[name] for name in NOW},
        "events_per_s": _ratio(grown["handled"], took_s),
        "failed_per_s": _ratio(grown["failed"], took_s),
        "handled_ms": _ratio(grown["handled_s"], grown["handled"], 1000),
        "waited_ms": _ratio(grown["waited_s"], grown["begun"], 1000),
        "sent_per_s": _ratio(grown["sent"], took_s),
        "recipients_per_s": _ratio(grown["recipients"], took_s),
        "bus_lag_ms": None if lag_s is None else round(lag_s * 1000, 3),
        **{f"{name}_per_s": _ratio(grown[name], took_s) for name in RECOVERY},
    }


def _ratio(amount: float | None, of: float | None, factor: float = 1) -> float | None:
    return None if amount is None or not of else round(amount * factor / of, 3)


def top_lines(servers: Sequence[Mapping[str, Any]], missing: Mapping[str, str], *, width: int) -> list[str]:
    """Return the servers as a table, and below it what should not be, with who is missing.

    :param servers: of :func:`server_data`.
    :param width: columns of a line, 80 at least.
    """
    if servers:
        rows = [_COLUMNS, *(_row(server["node"][:NODE_CHARACTERS], server) for server in servers)]
        if len(servers) > 1:
            rows.append(_row(f"all {len(servers)}", _together(servers)))
        lines = table(rows, flexible=(), width=width)
    else:
        lines = paragraph(NOBODY, width=width) if not missing else []
    problems = [text for server in servers for text in _problems(server)]
    problems += [missing_text(node, cause) for node, cause in missing.items()]
    if problems and lines:
        lines.append("")
    return [*lines, *(line for text in problems for line in paragraph(text, width=width))]


def _row(name: str, server: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        printable(name),
        f"{server['clients']:.0f}",
        f"{server['rooms']:.0f}",
        _number(server["events_per_s"]),
        _number(server["handled_ms"]),
        _number(server["recipients_per_s"]),
        f"{server['busy_workers']:.0f}",
        f"{server['outbox_packets']:.0f}",
        _number(server["bus_lag_ms"]),
    )


def _together(servers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the sums; of the lag the longest, of the handlers' time the mean of all events."""
    names = ("clients", "rooms", "events_per_s", "recipients_per_s", "busy_workers", "outbox_packets")
    found: dict[str, Any] = {name: _sum(server[name] for server in servers) for name in names}
    took = _sum(
        server["handled_ms"] * server["events_per_s"]
        for server in servers
        if server["handled_ms"] is not None and server["events_per_s"] is not None
    )
    found["handled_ms"] = _ratio(took, found["events_per_s"])
    found["bus_lag_ms"] = max(
        (server["bus_lag_ms"] for server in servers if server["bus_lag_ms"] is not None), default=None
    )
    return found


def _sum(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _problems(server: Mapping[str, Any]) -> list[str]:
    found = {
        "handlers fail per second": server["failed_per_s"],
        "handlers wait for a worker": server["waiting_handlers"],
        "messages wait for the message queue": server["bus_waiting"],
        "clients come back per second and have to start anew": server["not_recovered_per_s"],
        "events that clients may miss are forgotten per second": server["evicted_events_per_s"],
    }
    node = printable(server["node"][:NODE_CHARACTERS])
    return [f"server {node}: {_number(value)} {what}" for what, value in found.items() if value]


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.1f}"


def missing_text(node: str, cause: str) -> str:
    """Say who has not answered."""
    return f"missing: server {printable(node)}: {printable(cause)}"


# ---------------------------------------------------------------------------------------------------------- samples


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _are_names(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(map(_is_text, value)))


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "at": is_moment,
    "what": lambda value: value in ("received", "failed", "sent"),
    "namespace": _is_text,
    "event": _is_text,
}
_SOME_FIELDS: dict[str, Callable[[Any], bool]] = {
    "sid": _is_text,
    "waited_ms": is_moment,
    "error": _is_text,
    "to": _are_names,
    "recipients": is_moment,
    "size_bytes": is_moment,
    "args": _is_text,
}


def samples_of(answer: Any) -> tuple[list[dict[str, Any]], int] | None:
    """Return an answer that has samples, and how many events there have been."""
    if not isinstance(answer, dict):
        return None
    samples, seen = answer.get("samples"), answer.get("seen")
    if not isinstance(samples, list) or not isinstance(seen, int) or not all(map(_is_sample, samples)):
        return None
    known = {**_FIELDS, **_SOME_FIELDS}
    return [{name: value for name, value in sample.items() if name in known} for sample in samples], seen


def _is_sample(sample: Any) -> bool:
    return (
        isinstance(sample, dict)
        and all(suits(sample.get(name)) for name, suits in _FIELDS.items())
        and all(suits(sample[name]) for name, suits in _SOME_FIELDS.items() if name in sample)
    )


def sample_line(sample: Mapping[str, Any]) -> str:
    """Return a sample for a person, with its server under ``node``."""
    at = sample["at"]
    moment = f"{time.strftime('%H:%M:%S', time.localtime(at))}.{at % 1 * 1000:03.0f}"
    space = "" if sample["namespace"] == "/" else f" on {sample['namespace']}"
    parts = [f"{moment} {sample['node'][:NODE_CHARACTERS]} {sample['what']:8} '{sample['event']}'{space}"]
    if sample["what"] == "sent":
        to = sample.get("to")
        whom = "everybody" if to is None else " ".join(to)
        parts.append(
            f" to {whom}, {sample.get('recipients', 0)} clients, {sample.get('size_bytes', 0)} bytes"
        )
    else:
        parts.append(f" from {sample.get('sid', '?')}")
    parts += [f": {sample[name]}" for name in ("error", "args") if sample.get(name)]
    text = "".join(parts)
    return printable(text, len(text))
