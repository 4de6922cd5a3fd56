"""Who is there: witnesses, who stay and hear everything, and visitors, who come, do this and that, leave, come back."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any

from support.wire.engine import Closed

from .clients import TRANSPORTS, Client, Gone
from .ledger import Ledger
from .lines import PollingLine, WebSocketLine, upgraded

ROOMS = tuple(f"room {number}" for number in range(6))
WITNESS_PAUSE_S = 0.5
"""Between two messages of a witness."""
VISITOR_PAUSE_S = 0.5
"""Between two deeds of a visitor, on average."""
DEEDS = 12
"""Most deeds of one visit."""
END_S = 15.0
"""Beyond its time-outs, in which a server must have ended a connection, on a busy machine."""

Deed = Callable[[Client], Awaitable[None]]


class Crowd:
    """The clients of some servers.

    :param ports: of the servers, by their names.
    :param patience_s: seconds after which a server closes a client that is silent.
    :param is_calm: says whether all servers have heard each other without a break for a while.
    """

    def __init__(
        self, ports: Mapping[str, int], ledger: Ledger, *, patience_s: float, is_calm: Callable[[], bool]
    ) -> None:
        self.visits: Counter[str] = Counter()
        self.farewells: Counter[str] = Counter()
        self.here = 0
        self._ports = ports
        self._ledger = ledger
        self._patience_s = patience_s
        self._is_calm = is_calm
        self._numbers = itertools.count(1)
        self._witnesses: list[Client] = []
        self._others: dict[str, str] = {}  # the sid of each visitor, and its server
        self._tasks: set[asyncio.Task[None]] = set()
        self._wanted = True
        self._deeds: tuple[tuple[Deed, int], ...] = (
            (self._say, 10),
            (self._say_in_a_row, 2),
            (self._move, 3),
            (self._ask_witness, 2),
            (self._ask_visitor, 2),
            (self._be_asked, 2),
            (self._be_asked_in_vain, 1),
            (self._stall, 1),
        )

    # all of them

    async def begin(self) -> None:
        """Let the witnesses in: one per server and transport."""
        for server, port in self._ports.items():
            for transport in TRANSPORTS:
                listener = self._ledger.listener(f"{transport} witness of {server}", server, witness=True)
                client = Client(port, listener, self._ledger)
                self._witnesses.append(client)
                await client.connect(transport)
                await client.join(*ROOMS)
                self.here += 1

    def talk(self, visitors: int) -> None:
        """Let the witnesses talk, and so many visitors come and go."""
        for witness in self._witnesses:
            self._start(self._testify(witness))
        for number in range(visitors):
            self._start(self._come_and_go(number))

    async def end(self) -> None:
        """Let the visitors finish, and the witnesses say no more; those stay, and listen."""
        self._wanted = False
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def close(self) -> None:
        """Let the witnesses go."""
        for task in self._tasks:
            task.cancel()
        for witness in self._witnesses:
            with contextlib.suppress(Closed, OSError, asyncio.TimeoutError):
                await witness.send("1")
            await witness.close()
        self.here = 0

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # witnesses

    async def _testify(self, witness: Client) -> None:
        try:
            while self._wanted:
                await witness.say(random.choice(ROOMS))
                await asyncio.sleep(WITNESS_PAUSE_S)
        except (Gone, Closed, OSError, asyncio.TimeoutError) as error:
            self._ledger.faults.add("a witness was lost", f"{witness.listener.name}: {error!r}")

    # visitors

    async def _come_and_go(self, number: int) -> None:
        servers = itertools.cycle(self._ports)
        for _ in range(number % len(self._ports)):
            next(servers)
        while self._wanted:
            await self._visit(next(servers), random.choice(TRANSPORTS))

    async def _visit(self, server: str, transport: str) -> None:
        listener = self._ledger.listener(f"visitor {next(self._numbers)}", server)
        client = Client(self._ports[server], listener, self._ledger)
        self.here += 1
        self.visits[transport] += 1
        try:
            await self._stay(client, server, transport)
            self._others.pop(client.sid, None)
            await self._go(client)
        except (Gone, Closed, OSError, asyncio.TimeoutError) as error:
            self._ledger.faults.add(
                "a visitor was lost", f"{listener.name} of {server}, {transport}: {error!r}"
            )
        finally:
            self._others.pop(client.sid, None)
            self.here -= 1
            await client.close()

    async def _stay(self, client: Client, server: str, transport: str) -> None:
        await client.connect(transport)
        await client.join(*random.sample(ROOMS, 2))
        self._others[client.sid] = server
        deeds, weights = zip(*self._deeds, strict=True)
        for _ in range(random.randint(1, DEEDS)):
            await random.choices(deeds, weights)[0](client)
            await asyncio.sleep(random.expovariate(1 / VISITOR_PAUSE_S))

    # what they do

    async def _say(self, client: Client) -> None:
        await client.say(random.choice(ROOMS))

    async def _say_in_a_row(self, client: Client) -> None:
        for _ in range(random.randint(2, 5)):
            await client.say(random.choice(client.listener.rooms))

    async def _move(self, client: Client) -> None:
        await client.leave(random.choice(client.listener.rooms))
        await client.join(random.choice([room for room in ROOMS if room not in client.listener.rooms]))

    async def _ask_witness(self, client: Client) -> None:
        calm = self._is_calm()
        (result,) = await client.call("ask", random.choice(self._witnesses).sid, client.listener.name)
        if result != "right" and calm and self._is_calm():
            self._ledger.faults.add("not answered", f"{result} for {client.listener.name}, from a witness")

    async def _ask_visitor(self, client: Client) -> None:
        others = [sid for sid, home in self._others.items() if home != client.listener.home]
        if others:  # who may leave without an answer, or stall
            (result,) = await client.call("ask", random.choice(others), client.listener.name)
            if result not in ("right", "gone", "timeout"):
                self._ledger.faults.add("answered wrongly", f"{result} for {client.listener.name}")

    async def _be_asked(self, client: Client) -> None:
        await client.call("ask me", "a question")

    async def _be_asked_in_vain(self, client: Client) -> None:
        client.mute = True
        await client.call("ask me", "a question")
        client.mute = False

    async def _stall(self, client: Client) -> None:
        client.stall()
        await asyncio.sleep(random.uniform(0, min(self._patience_s / 4, 3)))
        client.read_on()

    # how they leave

    async def _go(self, client: Client) -> None:
        over_polling = isinstance(client.line, PollingLine)
        ways: dict[str, Deed] = {
            "left the namespace": self._leave_namespace,
            "closed the session": self._close_session,
            "were dismissed": self._be_dismissed,
            "vanished": self._vanish,
            "were reset with a message under way": self._go_unheard,
            **(self._over_polling if over_polling else self._over_websocket),
        }
        way = random.choice(list(ways))
        self.farewells[way] += 1
        await ways[way](client)

    @property
    def _over_polling(self) -> dict[str, Deed]:
        return {"stopped upgrading": self._stop_upgrading, "broke the protocol": self._break_protocol}

    @property
    def _over_websocket(self) -> dict[str, Deed]:
        return {"closed the WebSocket": self._close_websocket, "were reset in a frame": self._break_off}

    async def _leave_namespace(self, client: Client) -> None:
        await client.send("41")

    async def _close_session(self, client: Client) -> None:
        await client.send("1")

    async def _be_dismissed(self, client: Client) -> None:
        await client.send('42["dismiss me"]')
        if not await client.wait_end(self._patience_s + END_S):
            self._ledger.faults.add("kept a client that was dismissed", client.listener.name)

    async def _vanish(self, client: Client) -> None:
        """Answer nothing more and close nothing: the server has to notice."""
        await client.stop()
        if isinstance(client.line, WebSocketLine):
            self._start(self._see_end(client.line, client.listener.name))
            client.line = None

    async def _see_end(self, line: WebSocketLine, name: str) -> None:
        try:
            await asyncio.wait_for(line.wait_end(), self._patience_s + END_S)
        except asyncio.TimeoutError:
            self._ledger.faults.add("kept a client that was silent", name)
        finally:
            line.reset()

    async def _go_unheard(self, client: Client) -> None:
        """Reset the connection with a message under way."""
        saying = asyncio.ensure_future(client.say(random.choice(ROOMS)))
        await asyncio.sleep(random.uniform(0, 0.01))
        await client.close()
        saying.cancel()
        with contextlib.suppress(asyncio.CancelledError, Gone, Closed, OSError):
            await saying

    async def _close_websocket(self, client: Client) -> None:
        assert isinstance(client.line, WebSocketLine)
        client.line.close()

    async def _break_off(self, client: Client) -> None:
        assert isinstance(client.line, WebSocketLine)
        client.line.break_off()

    async def _stop_upgrading(self, client: Client) -> None:
        assert isinstance(client.line, PollingLine)
        (await upgraded(client.line)).reset()

    async def _break_protocol(self, client: Client) -> None:
        with contextlib.suppress(Closed):  # which is status 400
            await client.send("7")
