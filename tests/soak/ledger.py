"""What was sent and who heard it. Pure: no sockets, no clock.

Each sender numbers its messages per room, from 0 on. A server delivers what its own clients send without the broker,
so what its witnesses heard of them is what was sent, and what the witnesses of the other servers did not hear was lost
between the servers.

=================  ===============================================================================
of its own server  everybody hears each number once, in order, none is missing
of another one     the same, except that a queue that may lose can skip numbers: the same ones for
                   all clients of a server, for it is the server that does not hear them
=================  ===============================================================================
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

Talk = tuple[str, str]
"""A sender and a room."""

MOST_TOLD = 20
"""Most faults that are kept word for word; all are counted."""


@dataclass(slots=True)
class Told:
    """What a sender has sent to a room.

    :param home: the sender's server.
    :param marks: for each message that it has written to its connection, how many all senders had written before. The
        last ones may have got no further.
    :param confirmed: how many of them its server has acknowledged.
    """

    home: str
    marks: list[int] = field(default_factory=list)
    confirmed: int = 0


@dataclass(slots=True)
class Run:
    """What a listener heard of one talk while it was in the room.

    :param first: the first number.
    :param highest: the last one.
    :param skipped: the numbers between them that have not come.
    """

    first: int
    highest: int
    skipped: set[int] = field(default_factory=set)


class Faults:
    """What must not happen, and has: by kind.

    :param tell: called with the first ones at once.
    """

    def __init__(self, tell: Callable[[str], object] = lambda text: None) -> None:
        self._tell = tell
        self.counts: Counter[str] = Counter()
        self.examples: list[str] = []

    def add(self, kind: str, what: str) -> None:
        """Note one."""
        self.counts[kind] += 1
        if len(self.examples) < MOST_TOLD:
            self.examples.append(f"{kind}: {what}")
            self._tell(self.examples[-1])

    def __len__(self) -> int:
        return sum(self.counts.values())


class Listener:
    """One client, and what it hears.

    :param name: its sender's name, too.
    :param home: its server.
    :param witness: it is in all rooms from before the first message to behind the last one.
    """

    def __init__(self, ledger: Ledger, name: str, home: str, *, witness: bool = False) -> None:
        self.name = name
        self.home = home
        self.witness = witness
        self.runs: dict[Talk, Run] = {}
        self._entered: dict[str, int] = {}  # how many messages had been sent then
        self._left: dict[str, int] = {}
        self._heard_up_to: dict[Talk, int] = {}  # in earlier stays
        self._ledger = ledger

    @property
    def rooms(self) -> list[str]:
        """The rooms that it is in."""
        return list(self._entered)

    def enter(self, room: str) -> None:
        """Hear a room from now on."""
        self._entered[room] = self._ledger.sent

    def leave(self, room: str) -> None:
        """Expect nothing more of a room, behind the server's answer, than what was on its way."""
        del self._entered[room]
        self._left[room] = self._ledger.sent
        for talk in [talk for talk in self.runs if talk[1] == room]:
            self._end(talk)

    def end(self) -> None:
        """Leave everything."""
        for room in self.rooms:
            self.leave(room)

    def _end(self, talk: Talk) -> None:
        run = self.runs.pop(talk)
        self._heard_up_to[talk] = run.highest
        self._ledger.settle(self, talk, run)

    def hear(self, talk: Talk, number: int) -> None:
        """Take a message."""
        ledger = self._ledger
        ledger.heard += 1
        told = ledger.talks.get(talk)
        what = f"number {number} of {talk[0]} in {talk[1]} at {self.name} of {self.home}"
        if told is None or number >= len(told.marks):
            ledger.faults.add("never sent", what)
            return
        room, mark = talk[1], told.marks[number]
        if room not in self._entered:
            if mark >= self._left.get(room, 0):
                ledger.faults.add("not for it", what)
            return
        run = self.runs.get(talk)
        if run is None:
            if number <= self._heard_up_to.get(talk, -1):
                ledger.faults.add("repeated", what)
                return
            if mark < self._entered[room]:
                return  # on its way when it entered, and perhaps since it left before
            run = self.runs[talk] = Run(number, number - 1)
            if self.witness:
                run.first, run.skipped = 0, set(range(number))
        if number in run.skipped:
            run.skipped.discard(number)
            ledger.faults.add("out of order", what)
        elif number <= run.highest:
            ledger.faults.add("repeated", what)
        else:
            run.skipped.update(range(run.highest + 1, number))
            run.highest = number


class Ledger:
    """The whole account.

    :param servers: their names.
    :param tell: called with the first faults.
    """

    def __init__(self, servers: Iterable[str], tell: Callable[[str], object] = lambda text: None) -> None:
        self.faults = Faults(tell)
        self.talks: dict[Talk, Told] = {}
        self.sent = 0
        self.heard = 0
        self.witnesses: dict[str, list[Listener]] = {server: [] for server in servers}
        self._skips: dict[tuple[str, Talk], set[int]] = defaultdict(set)  # of visitors, by their server

    def listener(self, name: str, home: str, *, witness: bool = False) -> Listener:
        """Let a client in."""
        listener = Listener(self, name, home, witness=witness)
        if witness:
            self.witnesses[home].append(listener)
        return listener

    def next_number(self, talk: Talk, home: str) -> int:
        """Return the number of a sender's next message, which it sends now."""
        told = self.talks.setdefault(talk, Told(home))
        told.marks.append(self.sent)
        self.sent += 1
        return len(told.marks) - 1

    def confirm(self, talk: Talk, number: int) -> None:
        """Note that a message was acknowledged."""
        told = self.talks[talk]
        told.confirmed = max(told.confirmed, number + 1)

    def settle(self, listener: Listener, talk: Talk, run: Run) -> None:
        """Take what a visitor heard of a talk, when it leaves the room."""
        if listener.witness or not run.skipped:
            return
        if self.talks[talk].home == listener.home:
            numbers = sorted(run.skipped)
            self.faults.add(
                "lost on its own server", f"{numbers} of {talk} at {listener.name} of {listener.home}"
            )
        else:
            self._skips[listener.home, talk] |= run.skipped

    def emitted(self, talk: Talk) -> int:
        """Return how many messages of a talk their own server has sent to the room."""
        home = self.talks[talk].home
        return max((_count(witness, talk) for witness in self.witnesses[home]), default=0)

    def missing(self, server: str) -> int:
        """Return how many messages of others a server has not delivered."""
        return sum(len(self._missing_at(server, talk)) for talk in self._foreign(server))

    def _foreign(self, server: str) -> Iterator[Talk]:
        return (talk for talk, told in self.talks.items() if told.home != server)

    def _missing_at(self, server: str, talk: Talk) -> set[int]:
        witnesses = self.witnesses[server]
        return _missing(witnesses[0], talk, self.emitted(talk)) if witnesses else set()

    def check(self) -> None:
        """Look, at the end, for what must not be: what is lost between servers apart, see :meth:`missing`."""
        for talk, told in self.talks.items():
            self._check_talk(talk, told)
        for (server, talk), skipped in self._skips.items():
            only_here = skipped - self._missing_at(server, talk)
            if only_here:
                self.faults.add("lost on its way to one client", f"{sorted(only_here)} of {talk} at {server}")

    def _check_talk(self, talk: Talk, told: Told) -> None:
        emitted = self.emitted(talk)
        if emitted < told.confirmed:
            self.faults.add(
                "acknowledged and not sent", f"{talk}: {emitted} sent, {told.confirmed} acknowledged"
            )
        for server, witnesses in self.witnesses.items():
            missing = [_missing(witness, talk, emitted) for witness in witnesses]
            if server == told.home and any(missing):
                self.faults.add("lost on its own server", f"{[sorted(one) for one in missing]} of {talk}")
            elif any(one != missing[0] for one in missing):
                self.faults.add(
                    "lost on its way to one client",
                    f"{[sorted(one) for one in missing]} of {talk} at {server}",
                )


def _count(witness: Listener, talk: Talk) -> int:
    run = witness.runs.get(talk)
    return 0 if run is None else run.highest + 1


def _missing(witness: Listener, talk: Talk, emitted: int) -> set[int]:
    run = witness.runs.get(talk)
    if run is None:
        return set(range(emitted))
    return run.skipped | set(range(run.highest + 1, emitted))
