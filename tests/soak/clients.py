"""One client: it says numbered things in rooms, hears what others say, asks and answers."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import Coroutine
from typing import Any

from support.wire import packets
from support.wire.engine import Closed
from support.wire.packets import Packet

from .ledger import Ledger, Listener, Talk
from .lines import NOOP, Line, PollingLine, WebSocketLine, upgraded

TRANSPORTS = ("websocket", "polling", "upgraded")

ACK_S = 30.0
"""Seconds in which an acknowledgement must be there: an ``emit()`` waits for a broker that went away for 2 to 4, and
the machine may have other things to do."""


class Gone(Exception):
    """The connection ended, and nobody had asked for that."""


def content(sender: str, number: int) -> str | bytes:
    """Return what a message carries: mostly little, now and then much, text or bytes."""
    text = f"{sender} {number} " * (1000 if number % 10 == 9 else 1)
    return text.encode() if number % 4 == 3 else text


class Client:
    """A client of a server; :meth:`connect` first.

    :param listener: takes what it hears.
    """

    def __init__(self, port: int, listener: Listener, ledger: Ledger) -> None:
        self.listener = listener
        self.sid = ""
        self.confirmed = 0
        """How many events of ours the server's session has counted."""
        self.mute = False
        """Whether it leaves questions unanswered."""
        self.line: Line | None = None
        self._port = port
        self._ledger = ledger
        self._next: WebSocketLine | None = None
        self._switched = asyncio.Event()
        self._awake = asyncio.Event()
        self._awake.set()
        self._sending = asyncio.Lock()
        self._answers: dict[int, asyncio.Future[list[Any]]] = {}
        self._ids = itertools.count(1)
        self._partial: Packet | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._over = asyncio.Event()

    # coming and going

    async def connect(self, transport: str) -> None:
        """Open a session and join the namespace."""
        if transport == "websocket":
            self.line = await WebSocketLine.open(self._port)
        else:
            self.line = await PollingLine.open(self._port)
        self._start(self._read())
        self._answers[0] = asyncio.get_running_loop().create_future()
        await self.send("40")
        await self._answer(0, "the CONNECT packet")
        if transport == "upgraded":
            await self._upgrade()

    async def _upgrade(self) -> None:
        assert isinstance(self.line, PollingLine)
        async with self._sending:
            self._next = await upgraded(self.line)
            await self._unless_over(self._switched.wait(), "the upgrade")

    async def join(self, *rooms: str) -> None:
        """Enter rooms."""
        for room in rooms:
            self.listener.enter(room)
        await self.call("join", *rooms)

    async def leave(self, room: str) -> None:
        """Leave a room."""
        await self.call("leave", room)
        self.listener.leave(room)

    async def wait_end(self, timeout_s: float) -> bool:
        """Wait until the server ends the connection; ``False`` if it does not."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._over.wait(), timeout_s)
        return self._over.is_set()

    async def stop(self) -> None:
        """Hear nothing more; the connection stays as it is."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.listener.end()

    async def close(self) -> None:
        """Be gone, whatever happened before."""
        await self.stop()
        for line in (self.line, self._next):
            if line is not None:
                line.reset()

    def stall(self) -> None:
        """Read nothing more, until :meth:`read_on`."""
        self._awake.clear()

    def read_on(self) -> None:
        self._awake.set()

    # sending

    async def send(self, *messages: str | bytes) -> None:
        """Send Engine.IO packets."""
        async with self._sending:
            assert self.line is not None
            await self.line.send(*messages)

    async def call(self, event: str, *args: Any) -> list[Any]:
        """Send an event and return what is acknowledged.

        :raises Gone: if the connection ends first.
        """
        number = next(self._ids)
        self._answers[number] = asyncio.get_running_loop().create_future()
        messages = packets.encode(packets.EVENT, [event, *args], id=number)
        await self.send(f"4{messages[0]!s}", *messages[1:])
        return await self._answer(number, f"an acknowledgement of {event!r}")

    async def say(self, room: str) -> None:
        """Say the next number in a room."""
        talk: Talk = (self.listener.name, room)
        number = self._ledger.next_number(talk, self.listener.home)
        (events,) = await self.call("say", *talk, number, content(talk[0], number))
        self._ledger.confirm(talk, number)
        self.confirmed += 1
        if events != self.confirmed:
            self._ledger.faults.add("session", f"{events} events counted, {self.confirmed} acknowledged")

    async def _answer(self, number: int, what: str) -> list[Any]:
        try:
            answer: list[Any] = await self._unless_over(self._answers[number], what)
            return answer
        finally:
            del self._answers[number]

    async def _unless_over(self, awaited: Any, what: str) -> Any:
        over = asyncio.ensure_future(self._over.wait())
        wanted = asyncio.ensure_future(awaited)
        try:
            done, _ = await asyncio.wait({over, wanted}, timeout=ACK_S, return_when=asyncio.FIRST_COMPLETED)
            if wanted in done:
                return wanted.result()
            raise Gone(f"the connection ended before {what}" if done else f"no {what} within {ACK_S:g} s")
        finally:
            over.cancel()
            wanted.cancel()

    # receiving

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _read(self) -> None:
        assert self.line is not None
        try:
            while not self._over.is_set():
                await self._awake.wait()
                await self._take(await self.line.receive())
        except (Closed, OSError):
            pass
        except Exception as error:  # noqa: BLE001  # whatever the server sent that is no packet
            self._ledger.faults.add("unreadable", f"{error!r} at {self.listener.name}")
        finally:
            self._over.set()

    async def _take(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            assert self._partial is not None, "an attachment without its packet"
            self._partial.attach(message)
            if self._partial.complete:
                packet, self._partial = self._partial, None
                self._handle(packet)
        elif message == "2":
            self._start(self._reply("3"))
        elif message == "1":
            raise Closed
        elif message == NOOP:
            if self._next is not None:
                await self._switch(self._next)
        elif message.startswith("4"):
            packet = packets.decode(message[1:])
            if packet.complete:
                self._handle(packet)
            else:
                self._partial = packet

    async def _switch(self, line: WebSocketLine) -> None:
        assert isinstance(self.line, PollingLine)
        for message in self.line.take_rest():
            await self._take(message)
        await line.send("5")
        self.line, self._next = line, None
        self._switched.set()

    async def _reply(self, *messages: str | bytes) -> None:
        with contextlib.suppress(Closed, OSError):
            await self.send(*messages)

    def _handle(self, packet: Packet) -> None:
        if packet.type == packets.CONNECT:
            self.sid = packet.data["sid"]
            self._settle(0, [])
        elif packet.type in (packets.ACK, packets.BINARY_ACK):
            self._settle(packet.id or 0, packet.data)
        elif packet.type == packets.DISCONNECT:
            self._over.set()
        elif packet.event == "said":
            self._hear(*packet.data[1:])
        elif packet.event == "question" and not self.mute:
            (answer,) = packets.encode(packets.ACK, packet.data[1:], id=packet.id)
            self._start(self._reply(f"4{answer!s}"))

    def _settle(self, number: int, data: list[Any]) -> None:
        future = self._answers.get(number)
        if future is None:
            self._ledger.faults.add(
                "never asked", f"acknowledgement {number}, {data!r} at {self.listener.name}"
            )
        elif not future.done():
            future.set_result(data)

    def _hear(self, sender: str, room: str, number: int, what: Any) -> None:
        if what != content(sender, number):
            self._ledger.faults.add("changed", f"number {number} of {sender} has become {str(what)[:80]!r}")
        self.listener.hear((sender, room), number)
