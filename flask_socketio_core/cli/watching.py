"""The commands that look at running servers as long as one likes: what they have to do, and what goes through them.

Each question to the servers holds until the next ones could have come, so that they stop to observe anything by
themselves when the command has been killed; see :mod:`~flask_socketio_core.app.watched`.
"""

from __future__ import annotations

import errno
import json
import os
import select
import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click
from flask.cli import pass_script_info

from ..app.watched import MOST_SAMPLES
from ..cluster.topics import WATCH
from ..common.values import full_namespace
from ..errors import SocketIOError
from ..server.interface import EVERYWHERE
from . import watching_view as view
from .check import timeout_option
from .check_view import NOBODY
from .reaching import NODE_CHARACTERS, finish, gaps, print_json, reach, recipients
from .table import terminal_width

if TYPE_CHECKING:
    from flask.cli import ScriptInfo

    from ..app.extension import SocketIO

#: Seconds between two questions for samples.
TAIL_INTERVAL_S = 0.5
#: Samples of one server per second, unless another number is asked for.
RATE = 20
#: Seconds that a server which answered before may take, at least: one that has died holds up the others so long.
PATIENCE_S = 1.0


@dataclass(frozen=True, slots=True)
class Round:
    """What came back from the servers that were asked once."""

    answers: dict[str, Any]
    missing: dict[str, str]
    cut_off: bool

    @property
    def complete(self) -> bool:
        """Whether every server that is there has answered, and one is."""
        return bool(self.answers) and not (self.missing or self.cut_off)


class Watch:
    """Questions to all servers, one after the other.

    :param read: returns what an answer says, ``None`` if it is none.
    :param interval_s: from one to the next, seconds.
    :param timeout_s: how long an answer may take at first, seconds.
    """

    def __init__(
        self,
        outside: SocketIO,
        read: Callable[[Any], Any],
        *,
        interval_s: float,
        timeout_s: float,
        tap: Mapping[str, Any] | None = None,
    ) -> None:
        self._servers = outside.servers
        self._read = read
        self._interval_s = interval_s
        self._timeout_s = timeout_s
        self._question = {"lease_s": interval_s + 2 * timeout_s + PATIENCE_S, "tap": tap}

    def ask(self) -> Round:
        """Ask all servers."""
        found = self._servers.ask(WATCH, self._question, timeout_s=self._timeout_s)
        missing = {**dict.fromkeys(found.unable, "unable"), **found.missing, **found.errors}
        answers = {}
        for node, answer in sorted(found.answers.items()):
            read = self._read(answer)
            if read is not None:
                answers[node] = read
            else:
                refused = isinstance(answer, dict) and answer.get("refused")
                missing[node] = str(refused or "an answer that is none")
        return Round(answers, missing, found.cut_off)

    def rounds(self) -> Iterator[Round]:
        """Ask again and again, as long as somebody reads what is printed.

        :raises BrokenPipeError: when nobody does.
        """
        while True:
            began_s = time.monotonic()
            yield self.ask()
            self._timeout_s = min(self._timeout_s, max(self._interval_s, PATIENCE_S))
            time.sleep(max(self._interval_s - (time.monotonic() - began_s), 0))
            if _reader_is_gone():  # which a write would tell, but there may be nothing to write
                raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    def end(self) -> None:
        """Tell the servers that nobody looks any more."""
        with suppress(SocketIOError):
            self._servers.tell(WATCH, {"lease_s": 0})


def _reader_is_gone() -> bool:
    """Return whether we print into a pipe whose other end is closed."""
    try:
        number = sys.stdout.fileno()
        is_pipe = stat.S_ISFIFO(os.fstat(number).st_mode)
    except (OSError, ValueError):  # it is no file
        return False
    return is_pipe and bool(select.select([number], [], [], 0)[0])  # only then one can "read" from this end


@contextmanager
def _until_interrupted(watch: Watch) -> Iterator[None]:
    """End in order on Ctrl-C, and leave the servers as they were in any case."""
    try:
        with suppress(KeyboardInterrupt):
            yield
    finally:
        watch.end()


@click.command("top", short_help="Show what the servers have to do, as it changes.")
@click.option(
    "--interval",
    "interval_s",
    type=click.FloatRange(0.1, 10),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="Time from one look to the next, of which the rates are the mean.",
)
@timeout_option
@click.option("--json", "as_json", is_flag=True, help="Look once, and print all that is known as JSON.")
@pass_script_info
def top_command(info: ScriptInfo, interval_s: float, timeout_s: float, as_json: bool) -> None:
    """Show each server with its clients, rooms, events per second, the mean milliseconds of a handler, what clients are
    sent per second, busy workers, packets that wait for clients, and the lag of the message queue; until Ctrl-C.

    With --json it ends with status 1 if a server did not answer, or none is there.
    """
    with reach(info) as outside:
        watch = Watch(outside, view.reading_of, interval_s=interval_s, timeout_s=timeout_s)
        if as_json:
            found = _once(watch, interval_s)
        else:
            with _until_interrupted(watch):
                _refresh(watch)
            return
    finish(found, as_json=True)


def _once(watch: Watch, interval_s: float) -> Round:
    try:
        before = watch.ask()
        time.sleep(interval_s)
        now = watch.ask()
    finally:
        watch.end()
    servers = [view.server_data(node, found, before.answers.get(node)) for node, found in now.answers.items()]
    print_json({"servers": servers, **gaps(now)})
    return now


def _refresh(watch: Watch) -> None:
    screen = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    if screen:
        click.clear()
    before: dict[str, Any] = {}
    for now in watch.rounds():
        servers = [view.server_data(node, found, before.get(node)) for node, found in now.answers.items()]
        lines = view.top_lines(servers, _missing(now), width=terminal_width())
        if screen:
            _redraw(lines)
        else:
            click.echo("\n".join([*lines, ""]))
        before = now.answers


def _missing(found: Round) -> dict[str, str]:
    return {**found.missing, **({"?": "the message queue did not answer"} if found.cut_off else {})}


def _redraw(lines: Sequence[str]) -> None:
    """Write over what is on the screen, as much as it has lines for."""
    most = max(shutil.get_terminal_size().lines - 1, 2)
    if len(lines) > most:
        lines = [*lines[: most - 1], f"... {len(lines) - most + 1} lines more"]
    click.echo("\x1b[H" + "".join(f"{line}\x1b[K\n" for line in lines) + "\x1b[J", nl=False)


@click.command("tail", short_help="Show samples of events, as they happen.")
@click.option("--event", "events", multiple=True, metavar="EVENT", help="Only events of this name.")
@click.option(
    "--room",
    "--to",
    "to",
    multiple=True,
    metavar="ROOM",
    help="Only events of its members, and what is sent to it by name; a room or a sid.",
)
@click.option("--user", metavar="ID", help="Likewise, of a user.")
@click.option("--namespace", default=EVERYWHERE, help='"*" for all, as by default.')
@click.option(
    "--args", "shows_args", is_flag=True, help="Show the arguments, too: whatever clients and servers say."
)
@click.option(
    "--rate",
    type=click.IntRange(1, int(MOST_SAMPLES / TAIL_INTERVAL_S)),
    default=RATE,
    show_default=True,
    help="Most that are shown of one server, per second.",
)
@click.option("--limit", type=click.IntRange(min=1), help="End after so many.")
@timeout_option
@click.option("--json", "as_json", is_flag=True, help="Print an object of JSON in each line.")
@pass_script_info
def tail_command(
    info: ScriptInfo,
    events: Sequence[str],
    to: Sequence[str],
    user: str | None,
    namespace: str,
    shows_args: bool,
    rate: int,
    limit: int | None,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Show what clients of all servers send, which handlers fail, and what clients are sent, until Ctrl-C.

    An event that has no handler is not seen, nor one that is sent and reaches nobody. What is more than --rate is left
    out, and told. Arguments are hidden without --args, those of a login always.
    """
    tap = {
        "namespace": full_namespace(namespace),
        "events": list(events),
        "rooms": recipients(to, user) or [],
        "args": shows_args,
        "most": max(int(rate * TAIL_INTERVAL_S), 1),
    }
    with reach(info) as outside:
        watch = Watch(outside, view.samples_of, interval_s=TAIL_INTERVAL_S, timeout_s=timeout_s, tap=tap)
        with _until_interrupted(watch):
            _follow(watch, limit, as_json=as_json)


def _follow(watch: Watch, limit: int | None, *, as_json: bool) -> None:
    tally = Tally()
    shown = 0
    told: tuple[list[str], dict[str, str]] | None = None
    for found in watch.rounds():
        now = list(found.answers), _missing(found)
        if now != told:
            _tell_who(*now)
            told = now
        samples, left_out = tally.take(found.answers)
        for sample in samples if limit is None else samples[: limit - shown]:
            shown += 1
            click.echo(json.dumps(sample) if as_json else view.sample_line(sample))
        if shown == limit:
            return
        for node, count in left_out.items():
            text = f"... {count} more of server {node[:NODE_CHARACTERS]} are left out"
            click.echo(json.dumps({"node": node, "left_out": count}) if as_json else text)


class Tally:
    """What has been shown of each server, so that it is known what has not."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def take(self, answers: Mapping[str, Any]) -> tuple[list[dict[str, Any]], dict[str, int]]:
        """Return the samples of all servers in their order, and how many more events each of them has had."""
        samples: list[dict[str, Any]] = []
        left_out = {}
        for node, (taken, seen) in answers.items():
            before = self._seen.get(node, 0)
            more = seen - (before if before <= seen else 0) - len(taken)  # it has begun anew after a pause
            if more > 0:
                left_out[node] = more
            self._seen[node] = seen
            samples += ({"node": node, **sample} for sample in taken)
        samples.sort(key=lambda sample: sample["at"])
        return samples, left_out


def _tell_who(nodes: Sequence[str], missing: Mapping[str, str]) -> None:
    """Say on standard error whose events are shown, and whose are not."""
    if nodes:
        click.echo(f"watching: {' '.join(node[:NODE_CHARACTERS] for node in nodes)}", err=True)
    for node, cause in missing.items():
        click.echo(view.missing_text(node, cause), err=True)
    if not nodes and not missing:
        click.echo(NOBODY, err=True)


COMMANDS = (top_command, tail_command)
