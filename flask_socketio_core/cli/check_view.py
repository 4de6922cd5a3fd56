"""How `flask socketio check` shows what it found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ..cluster.queue_check import QueueCheck, Step
from .table import paragraph, table

NO_QUEUE = (
    "No message queue is configured: each server serves its own clients, and nothing joins them. Only several workers "
    "of one web server are joined without one, and none that could be asked run here, on this host and as this user."
)
NOBODY = (
    "No other server answered. A server joins at its first request; if one is running and has had one, it uses "
    "another channel= or another broker, or it has a secret in its message_queue_options= and this one has none."
)
UNAUTHENTIC = (
    "Who sends them has no secret in its message_queue_options=, or none of ours, is one of python-socketio's "
    "processes, or a clock is wrong. It is not heard, and does not hear us if it has another secret."
)
ADVICE = {
    Step.SUBSCRIBE: (
        "Is the broker running, and can this machine reach it? Its address, user name and password are those of "
        "message_queue= (SOCKETIO_MESSAGE_QUEUE) and message_queue_options=. Meanwhile each server serves its own "
        "clients; when the broker is back, all join again by themselves."
    ),
    Step.PUBLISH: (
        "The broker lets us listen and takes no message: is it out of memory or disk, or read-only, or may this user "
        "not publish?"
    ),
    Step.HEAR: (
        "The broker takes messages and does not deliver them: is it overloaded, or may this user not subscribe to the "
        "channel? With --timeout we wait longer."
    ),
}
REFUSED = (
    "The broker answers and refuses us: a wrong user name or password, a right that this user lacks, or a feature "
    "that is switched off. That does not pass by itself: change it at the broker, or in message_queue= "
    "(SOCKETIO_MESSAGE_QUEUE) and message_queue_options=. Meanwhile each server serves its own clients, and goes on "
    "trying."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One check.

    :param queue: name of the message queue; empty without one.
    :param url: its address, with user name and password masked.
    :param joins_workers: whether it is that of workers that run on this host, and the application names none.
    :param check: ``None`` without a queue.
    """

    queue: str = ""
    url: str = ""
    channel: str = ""
    joins_workers: bool = False
    check: QueueCheck | None = None

    @property
    def ok(self) -> bool:
        """Whether there is nothing to be done."""
        return self.check is None or self.check.up


def view(report: Report) -> str:
    """Return the report for a person."""
    check = report.check
    if check is None:
        return "\n".join(paragraph(NO_QUEUE))
    rows = [
        ("message queue", f"{report.url} ({report.queue}, channel {report.channel!r})"),
        ("state", "up" if check.up else f"{'REFUSED' if check.refused else 'DOWN'}: {check.problem}"),
    ]
    if report.joins_workers:
        rows.insert(
            1, ("joins", "the workers of a web server that run on this host; message_queue is not set")
        )
    if check.round_trip_s is not None:
        rows += [("round trip", _ms(check.round_trip_s)), ("other servers", str(len(check.answers)))]
    if check.unauthentic:
        rows.append(("not signed", f"{check.unauthentic} messages refused"))
    lines = table(rows)
    if check.answers:
        servers = [
            (item.node, item.async_mode, item.version, _ms(item.after_s), " ".join(item.topics))
            for item in check.answers
        ]
        lines += ["", *table([("Server", "async mode", "version", "answered after", "topics"), *servers])]
    text = advice(check) or ("" if check.answers else NOBODY)
    return "\n".join([*lines, *(["", *paragraph(text)] if text else [])])


def data(report: Report) -> dict[str, Any]:
    """Return the report for a program."""
    check = report.check
    if check is None:
        return {"configured": False, "up": None}
    return {
        "configured": True,
        "queue": report.queue,
        "url": report.url,
        "channel": report.channel,
        "joins_workers": report.joins_workers,
        "up": check.up,
        "failed_step": None if check.up else check.step.value,
        "refused": check.refused,
        "problem": check.problem,
        "advice": advice(check),
        "unauthentic": check.unauthentic,
        "round_trip_ms": None if check.round_trip_s is None else round(check.round_trip_s * 1000, 3),
        "servers": [_server(asdict(item)) for item in check.answers],
    }


def advice(check: QueueCheck) -> str:
    """Return what to do; empty if there is nothing to be done."""
    if check.unauthentic:
        return UNAUTHENTIC
    return REFUSED if check.refused else ADVICE.get(check.step, "")


def _server(answer: dict[str, Any]) -> dict[str, Any]:
    return {**answer, "after_ms": round(answer.pop("after_s") * 1000, 3)}


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
