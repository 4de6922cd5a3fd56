"""The soak itself: servers, their broker, the crowd, and the account at the end."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flask_socketio_core.cluster.link import CONFIRM_S
from support.brokers import Broker
from support.proxy import Proxy
from support.servers import AppSpec, Server, serving

from . import plan as plans
from . import state
from .crowd import Crowd
from .ledger import Faults, Ledger
from .plan import (
    CALM_S,
    HEARTBEAT_S,
    MODES,
    OUTAGE_S,
    QUEUES,
    RECOVERY_S,
    REPORT_S,
    RESTARTS,
    Plan,
)
from .state import State


@dataclass(slots=True)
class Outcome:
    """What was seen.

    :param visits: by transport.
    :param farewells: how the visitors left.
    :param restarts: of the broker.
    :param cuts: of the last server's connections to the broker.
    :param start: of each server, behind the warm-up, without clients.
    :param end: the same at the end.
    :param lost: messages of the other servers that a server did not hear; behind it what it has counted.
    :param failures: what did not hold; empty if all is well.
    """

    plan: Plan
    duration_s: float = 0.0
    visits: dict[str, int] = field(default_factory=dict)
    farewells: dict[str, int] = field(default_factory=dict)
    sent: int = 0
    heard: int = 0
    restarts: int = 0
    cuts: int = 0
    timeouts: int = 0
    start: dict[str, State] = field(default_factory=dict)
    end: dict[str, State] = field(default_factory=dict)
    lost: dict[str, tuple[int, int]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)


def run(plan: Plan, directory: Path, tell: Callable[[str], object]) -> Outcome:
    """Run it.

    :param directory: for the servers' logs.
    :param tell: called with a line now and then.
    :raises BrokerMissing: if the broker is not installed.
    """
    queue = QUEUES[plan.queue]
    broker = queue.broker()
    with contextlib.ExitStack() as stack:
        stack.callback(broker.close)
        broker.start()
        proxy = plans.proxy(broker)
        stack.callback(proxy.close)
        channel = f"soak-{uuid.uuid4().hex[:8]}"
        servers = {}
        for number, mode in enumerate(plan.modes, 1):
            last = number == len(plan.modes)
            options = {"message_queue": queue.url(broker, proxy.port if last else None), "channel": channel}
            spec = AppSpec(
                app="soak",
                options={**plan.options, **options},
                settings={"call_timeout_s": plan.call_timeout_s},
            )
            servers[f"{mode} {number}"] = stack.enter_context(serving(MODES[mode], spec, directory))
        soak = Soak(plan, broker, proxy, servers, tell)
        asyncio.run(soak.run())
        return soak.outcome


class Soak:
    """One run."""

    def __init__(
        self,
        plan: Plan,
        broker: Broker,
        proxy: Proxy,
        servers: Mapping[str, Server],
        tell: Callable[[str], object],
    ) -> None:
        self.outcome = Outcome(plan)
        self._plan = plan
        self._broker = broker
        self._proxy = proxy
        self._servers = servers
        self._tell = tell
        self._calm_at_s = 0.0
        self._slowest_recovery_s = 0.0  # behind CONFIRM_S, an application is told that a loss is not known
        self._begun_s = time.monotonic()

    async def run(self) -> None:
        """Warm up, note the start, let the crowd in, let it out, and compare."""
        outcome, plan = self.outcome, self._plan
        await self._visit(plan.warm_up_s, 0)
        outcome.start = await self._read_empty()
        self._tell(f"warm: {_sizes(outcome.start)}")
        await self._visit(plan.seconds - plan.warm_up_s, plan.rounds)
        outcome.end = await self._read_empty()
        outcome.duration_s = time.monotonic() - self._begun_s
        for name, end in outcome.end.items():
            outcome.failures += [f"{name} holds {what}" for what in state.growth(outcome.start[name], end)]

    # traffic

    async def _visit(self, seconds: float, rounds: int) -> None:
        """Have a crowd for a while, and see that all it said was heard."""
        ledger = Ledger(self._servers, self._tell)
        crowd = Crowd(
            {name: server.port for name, server in self._servers.items()},
            ledger,
            patience_s=self._plan.silence_s,
            is_calm=lambda: time.monotonic() > self._calm_at_s,
        )
        try:
            await crowd.begin()
            await self._until(self._are_one, "servers that hear each other")
            before = await self._read()
            crowd.talk(self._plan.visitors)
            reporting = asyncio.ensure_future(self._report(crowd, ledger))
            await self._disturb(seconds, rounds)
            reporting.cancel()
            await crowd.end()
            await self._account(ledger, before)
        finally:
            await crowd.close()
            self._note(crowd, ledger)

    def _note(self, crowd: Crowd, ledger: Ledger) -> None:
        outcome = self.outcome
        outcome.visits = dict(Counter(outcome.visits) + crowd.visits)
        outcome.farewells = dict(Counter(outcome.farewells) + crowd.farewells)
        outcome.sent += ledger.sent
        outcome.heard += ledger.heard
        outcome.failures += _failures(ledger.faults)

    async def _disturb(self, seconds: float, rounds: int) -> None:
        """Let the time pass, and in each round restart the broker and cut the last server off from it."""
        begun_s = time.monotonic()
        length_s = seconds / max(rounds, 1)
        for number in range(rounds):
            await _sleep_until(begun_s + (number + 0.25) * length_s)
            await self._restart(RESTARTS[number % len(RESTARTS)])
            await _sleep_until(begun_s + (number + 0.65) * length_s)
            await self._cut()
        await _sleep_until(begun_s + seconds)

    async def _restart(self, way: str) -> None:
        with self._away(f"broker restarts ({way})"):
            await asyncio.to_thread(getattr(self._broker, way))
            await asyncio.sleep(OUTAGE_S)
            await asyncio.to_thread(self._broker.start)
            self.outcome.restarts += 1
            await self._until(self._are_one, "servers that hear each other behind the broker's restart")

    async def _cut(self) -> None:
        with self._away(f"{list(self._servers)[-1]} is cut off from the broker"):
            with self._proxy.refusing():
                await asyncio.sleep(OUTAGE_S)
            self.outcome.cuts += 1
            await self._until(self._are_one, "servers that hear each other behind the cut")

    @contextlib.contextmanager
    def _away(self, what: str) -> Iterator[None]:
        self._calm_at_s = float("inf")
        begun_s = time.monotonic()
        yield
        took_s = time.monotonic() - begun_s
        self._slowest_recovery_s = max(self._slowest_recovery_s, took_s)
        self._calm_at_s = time.monotonic() + CALM_S
        self._tell(f"{what}; all is as it was after {took_s:.1f} s")

    async def _are_one(self) -> bool:
        found = [one.health for one in (await self._read()).values()]
        return all(one["up"] and not one["waiting"] and len(one["peers"]) == len(found) - 1 for one in found)

    # the account

    async def _account(self, ledger: Ledger, before: Mapping[str, State]) -> None:
        """See that what is missing is what the servers have counted: nothing, where the queue promises that."""
        loses = QUEUES[self._plan.queue].loses
        states: dict[str, State] = {}

        async def agree() -> bool:
            states.update(await self._read())
            return await self._are_one() and not self._disagreements(ledger, before, states, loses)

        if not await self._within(agree):
            self.outcome.failures += self._disagreements(ledger, before, states, loses)
        await asyncio.sleep(2 * HEARTBEAT_S)  # which must not change anything
        states.update(await self._read())
        for text in self._disagreements(ledger, before, states, loses):
            if text not in self.outcome.failures:
                self.outcome.failures.append(text)
        ledger.check()
        self.outcome.timeouts += self._timeouts(before, states)
        for name in states:
            counted = _counted(before[name], states[name])
            self.outcome.lost[name] = (ledger.missing(name), counted["lost_received"])

    def _disagreements(
        self, ledger: Ledger, before: Mapping[str, State], now: Mapping[str, State], loses: bool
    ) -> list[str]:
        found = []
        timeouts = self._timeouts(before, now)
        for name in now:
            counted = _counted(before[name], now[name])
            missing, lost = ledger.missing(name), counted["lost_received"]
            # Of what else the servers tell each other, a message that is lost leaves a call without its answer.
            if not missing <= lost <= missing + timeouts or (lost and not loses):
                found.append(
                    f"{name} has not delivered {missing} messages of the others, and has counted {lost} as lost; "
                    f"{timeouts} calls found no answer"
                )
            told = now[name].losses[len(before[name].losses) :]
            unknown = None in told and self._slowest_recovery_s < CONFIRM_S
            if unknown or sum(one or 0 for one in told) != lost:
                found.append(
                    f"{name} has counted {lost} messages as lost, its application was told of {told}"
                )
            if counted["lost_sent"] or counted["unreadable"]:
                found.append(
                    f"{name} gave up {counted['lost_sent']} messages, and could not read {counted['unreadable']}"
                )
        return found

    @staticmethod
    def _timeouts(before: Mapping[str, State], now: Mapping[str, State]) -> int:
        return sum(now[name].timeouts - before[name].timeouts for name in now)

    async def _read_empty(self) -> dict[str, State]:
        """Read the servers when nothing of their clients is left, or could have been."""

        async def empty() -> bool:
            return not any(one.left for one in (await self._read()).values())

        await self._within(empty)
        states = await self._read(objects=True)
        start = self.outcome.start
        if start:  # pools shrink a while later

            async def shrunk() -> bool:
                states.update(await self._read(objects=True))
                return not any(state.growth(start[name], states[name]) for name in states)

            await self._within(shrunk, pause_s=3.0, most_s=RECOVERY_S / 3)
        elif any(one.left for one in states.values()):
            self.outcome.failures += [
                f"{name} holds {what} behind the warm-up" for name, one in states.items() for what in one.left
            ]
        return states

    # looking

    async def _read(self, *, objects: bool = False) -> dict[str, State]:
        names = list(self._servers)
        found = await asyncio.gather(
            *(asyncio.to_thread(state.read, self._servers[name], objects=objects) for name in names)
        )
        return dict(zip(names, found, strict=True))

    async def _until(self, holds: Callable[[], Any], what: str) -> None:
        if not await self._within(holds):
            self.outcome.failures.append(f"no {what} within {RECOVERY_S:g} s")

    @staticmethod
    async def _within(holds: Callable[[], Any], *, pause_s: float = 0.5, most_s: float = RECOVERY_S) -> bool:
        deadline_s = time.monotonic() + most_s
        while not await holds():
            if time.monotonic() > deadline_s:
                return False
            await asyncio.sleep(pause_s)
        return True

    async def _report(self, crowd: Crowd, ledger: Ledger) -> None:
        while True:
            await asyncio.sleep(REPORT_S)
            self._tell(
                f"{crowd.here} clients, {sum(crowd.visits.values())} visits, {ledger.sent} messages sent, "
                f"{ledger.heard} heard, {len(ledger.faults)} faults; {_sizes(await self._read())}"
            )


async def _sleep_until(at_s: float) -> None:
    await asyncio.sleep(max(at_s - time.monotonic(), 0))


def _counted(before: State, now: State) -> dict[str, int]:
    names = ("lost_received", "lost_sent", "unreadable")
    return {name: now.health[name] - before.health[name] for name in names}


def _failures(faults: Faults) -> Iterator[str]:
    yield from (f"{kind}: {count} times" for kind, count in faults.counts.items())
    yield from faults.examples


def _sizes(states: Mapping[str, State]) -> str:
    return "; ".join(
        f"{name} {one.held['resident_bytes'] / 1e6:.0f} MB, {one.held['threads']} threads, "
        f"{one.held['descriptors']} descriptors"
        for name, one in states.items()
    )
