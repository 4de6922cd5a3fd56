"""How `flask socketio check` shows what it found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ..cluster.queue_check import QueueCheck, Step
from .table import paragraph, table

if TYPE_CHECKING:
    from ..store.current import StoreCheck

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


STORE_DOWN = (
    "Is it running, and can this machine reach it? Its address, user name and password are those of store= "
    "(SOCKETIO_STORE) and store_options=. Meanwhile events that are handled once are not handled at all, and not "
    "acknowledged, so that clients send them again."
)
STORE_REFUSED = (
    "It answers and refuses us: a wrong user name or password, or a right that this user lacks. That does not pass by "
    "itself: change it there, or in store= (SOCKETIO_STORE) and store_options=. Meanwhile events that are handled once "
    "are not handled at all."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreReport:
    """One check of a store.

    :param name: of the store.
    :param url: its address, with user name and password masked.
    """

    name: str
    url: str
    channel: str
    check: StoreCheck


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One check.

    :param queue: name of the message queue; empty without one.
    :param url: its address, with user name and password masked.
    :param joins_workers: whether it is that of workers that run on this host, and the application names none.
    :param check: ``None`` without a queue.
    :param store: ``None`` without a store.
    """

    queue: str = ""
    url: str = ""
    channel: str = ""
    joins_workers: bool = False
    check: QueueCheck | None = None
    store: StoreReport | None = None

    @property
    def ok(self) -> bool:
        """Whether there is nothing to be done."""
        return (self.check is None or self.check.up) and (self.store is None or self.store.check.up)


def view(report: Report) -> str:
    """Return the report for a person."""
    return "\n".join([*_queue(report), *([] if report.store is None else ["", *_store(report.store)])])


def _store(report: StoreReport) -> list[str]:
    check, text = report.check, store_advice(report.check)
    rows = [
        ("store", f"{report.url} ({report.name}, channel {report.channel!r})"),
        ("state", "up" if check.up else f"{'REFUSED' if check.refused else 'DOWN'}: {check.problem}"),
    ]
    if check.round_trip_s is not None:
        rows.append(("round trip", _ms(check.round_trip_s)))
    return [*table(rows), *(["", *paragraph(text)] if text else [])]


def store_advice(check: StoreCheck) -> str:
    """Return what to do; empty if there is nothing to be done."""
    if check.up:
        return ""
    return STORE_REFUSED if check.refused else STORE_DOWN


def _queue(report: Report) -> list[str]:
    check = report.check
    if check is None:
        return paragraph(NO_QUEUE)
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
    return [*lines, *(["", *paragraph(text)] if text else [])]


def data(report: Report) -> dict[str, Any]:
    """Return the report for a program."""
    return {**_queue_data(report), "store": None if report.store is None else _store_data(report.store)}


def _store_data(report: StoreReport) -> dict[str, Any]:
    check = report.check
    return {
        "name": report.name,
        "url": report.url,
        "channel": report.channel,
        "up": check.up,
        "refused": check.refused,
        "problem": check.problem,
        "advice": store_advice(check),
        "round_trip_ms": None if check.round_trip_s is None else round(check.round_trip_s * 1000, 3),
    }


def _queue_data(report: Report) -> dict[str, Any]:
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
