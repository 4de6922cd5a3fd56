"""``call_all()``: an event to many clients of all servers, and what each of them acknowledges.

The one that asks publishes the event once. Each server that hears it says whom it has asked, and then, in batches, what
these have answered and who has left::

    emit   ask_all: number, expires_at       to all servers
    asked  id, sids, total                   from each, in parts: ``total`` is the number of its clients
    acked  id, acks                          [sid, arguments, whether they are packed], or [sid, why there are none]

Who is expected to say so is fixed when the question is put; see :mod:`~flask_socketio_core.cluster.questions`, where a
server has answered when all of its clients have. Processes of python-socketio deliver the event and say nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ..common.sendable import FAILURES
from ..common.sids import is_sid
from ..contracts.backoff import Paced
from ..contracts.clients import CallAnswers
from ..errors import CallError, CallTimeout, MessageTooLarge, QueueClosed
from ..server.calling import unpacked
from .asking import Around
from .envelope import MAX_DEPTH, Malformed, Message, Wire, pack, stamp, unpack
from .signing import CLOCK_SKEW_S

if TYPE_CHECKING:
    from ..contracts import AsyncMode, Handle, Lock
    from ..contracts.clients import ClientCause, Emission
    from ..contracts.servers import Cause
    from ..server.interface import LocalServer
    from .asking import Asking, Bus
    from .peers import Peer

PROTOCOL = 4
"""The lowest of a server that understands ``ask_all``."""

MOST_CLIENTS = 100_000
"""Clients of a call that are told apart: some 20 MB."""
MOST_BYTES = 64 * 1024 * 1024
"""Of the answers to a call, as JSON: any client may answer with as much as ``max_http_buffer_size`` allows."""
MOST_CALLS = 1_000
"""That one process waits for, and that it answers for others: as many as it has workers."""

BATCH_S = 0.02
"""Seconds in which answers are collected before they are sent: a client's way there and back takes as long."""
BATCH_SIDS = 1_000
"""Clients that one message names: 27 kB."""
BATCH_BYTES = 256 * 1024
"""Of answers in one message, unless a single one is larger."""

_UNABLE: Cause = "unable"

_DEEPER = 8
"""How much deeper an answer lies in a message than by itself, generously."""


@dataclass(slots=True)
class _Server:
    """One server's clients.

    :param total: how many it has asked; ``None`` until it says so.
    :param named: how many of them are known.
    :param open: of how many nothing is known yet.
    """

    total: int | None = None
    named: int = 0
    open: int = 0

    @property
    def has_named_all(self) -> bool:
        return self.total is not None and self.named >= self.total


class Roll:
    """Who was asked, who has answered, who is missing. Pure: no clock and no queue.

    :param lock: held for some instructions for each client that is named.
    :param sids: were addressed by themselves.
    :param on_done: called with the id of a server all of whose clients have answered or left; must not block.
    """

    def __init__(
        self, lock: Lock, nodes: Iterable[str], sids: Iterable[str], on_done: Callable[[str], object]
    ) -> None:
        self._lock = lock
        self._on_done = on_done
        self._addressed = tuple(sids)
        self._servers = {node: _Server() for node in nodes}
        self._nodes: dict[str, str] = {}  # of each client that is known
        self._open: set[str] = set()
        self._answers: dict[str, tuple[Any, ...]] = {}
        self._missing: dict[str, ClientCause] = {}
        self._bytes = 0
        self._more = 0

    def name(self, node: str, sids: list[str], total: int) -> None:
        """Note clients that a server has asked; ``total`` is how many it asks in all."""
        server = self._servers.get(node)
        if server is None:
            return
        with self._lock:
            server.total = total
            for sid in sids:
                if sid in self._nodes or server.named >= total:
                    continue
                server.named += 1
                if len(self._nodes) >= MOST_CLIENTS:
                    self._more += 1
                else:
                    self._nodes[sid] = node
                    self._open.add(sid)
                    server.open += 1
        self._tell_if_done(node, server)

    def answer(self, node: str, sid: str, values: tuple[Any, ...], size: int) -> None:
        """Note a client's answer, which may come before it was named.

        :param size: of the answer as JSON, bytes.
        """
        with self._lock:
            fits = self._bytes + size <= MOST_BYTES
            if not self._settle(node, sid):
                return
            if fits:
                self._bytes += size
                self._answers[sid] = values
            else:
                self._missing[sid] = "dropped"
        self._tell_if_done(node, self._servers[node])

    def miss(self, node: str, sid: str, cause: ClientCause) -> None:
        """Note that a client will not answer, which may come before it was named."""
        with self._lock:
            if not self._settle(node, sid):
                return
            self._missing[sid] = cause
        self._tell_if_done(node, self._servers[node])

    def _settle(self, node: str, sid: str) -> bool:
        server = self._servers.get(node)
        if server is None:
            return False
        if sid in self._open and self._nodes[sid] == node:
            self._open.discard(sid)
            server.open -= 1
            return True
        if sid in self._nodes or server.has_named_all or len(self._nodes) >= MOST_CLIENTS:
            return False
        self._nodes[sid] = node
        server.named += 1
        return True

    def _tell_if_done(self, node: str, server: _Server) -> None:
        if not server.open and server.has_named_all:
            self._on_done(node)

    def close(self, unheard: Mapping[str, Cause], unable: Iterable[str], *, cut_off: bool) -> CallAnswers:
        """Return what has come.

        :param unheard: the servers that were waited for to no avail, and why.
        :param unable: servers that cannot answer.
        """
        with self._lock:
            missing = dict(self._missing)
            for sid in sorted(self._open):
                missing[sid] = "gone" if unheard.get(self._nodes[sid]) == "left" else "silent"
            servers: dict[str, Cause] = {
                node: cause for node, cause in unheard.items() if not self._servers[node].has_named_all
            }
            certain = not (servers or cut_off)
            for sid in self._addressed:
                if sid not in self._nodes:
                    missing[sid] = "gone" if certain else "silent"
            answers = {sid: unpacked(values) for sid, values in self._answers.items()}
        return CallAnswers(
            answers=MappingProxyType(answers),
            missing=MappingProxyType(missing),
            servers=MappingProxyType({**servers, **dict.fromkeys(unable, _UNABLE)}),
            more=self._more,
            cut_off=cut_off,
        )


@dataclass(slots=True)
class Pending:
    """A call that is waited for.

    :param until: reading of the clock when that is over.
    """

    until: float
    _number: int
    _around: Around
    _roll: Roll
    _calls: CallsToAll
    _forget: Callable[[], object] | None = None

    def left_s(self) -> float:
        """Return how long it is still to be waited for, seconds."""
        return max(self.until - self._calls.clock(), 0.0)

    def end(self) -> CallAnswers:
        """Wait no longer, and return what has come."""
        if self._forget is not None:
            self._forget()
        return self._calls.end(self._number, self._roll, self._around)


class CallsToAll:
    """Call the clients of all servers, and call this one's for others; in one process and under one id.

    :param server: this process's clients, or ``None``.
    :param encode: makes the message that sends an event.
    :param bus: the way to the other servers; ``None`` if there are none.
    :param expires_s: the longest that anybody waits for a client elsewhere, seconds.
    """

    def __init__(
        self,
        asking: Asking,
        mode: AsyncMode,
        wire: Wire,
        *,
        clock: Callable[[], float],
        server: LocalServer | None,
        encode: Callable[[Emission, Message], bytes] | None = None,
        bus: Bus | None = None,
        expires_s: float = 0.0,
    ) -> None:
        self.node = asking.node
        self.clock = clock
        self._asking = asking
        self._mode = mode
        self._wire = wire
        self._server = server
        self._encode = encode
        self._bus = bus
        self._expires_s = expires_s
        self._rolls: dict[int, Roll] = {}
        self._replies: set[_Reply] = set()

    # ------------------------------------------------------------------------------------------------------ asking

    def begin(self, emission: Emission, timeout_s: float, on_done: Callable[[], object]) -> Pending:
        """Ask; :meth:`Pending.end` has to follow.

        :param on_done: called once nobody is waited for any more, which may be at once; must not block.
        :raises CallError: if too many calls are waited for already.
        :raises InvalidData: if clients could not read it; says where.
        :raises MessageTooLarge: if the queue can never carry it.
        """
        if len(self._rolls) >= MOST_CALLS:
            raise CallError(f"cannot call {emission.event!r}: {MOST_CALLS} call_all() are waited for already")
        travels = self._bus is not None and self._encode is not None and not self._all_are_here(emission)
        if travels:
            timeout_s = min(timeout_s, self._expires_s)
        until = self.clock() + timeout_s
        around = self._asking.look_around(_understands, timeout_s) if travels else Around()
        nodes = around.able if self._server is None else [self.node, *around.able]
        number = self._asking.questions.add(nodes, on_done)
        settle = partial(self._asking.questions.answer, number, value=None, error=None)
        sids = [
            name
            for name in emission.to or ()
            if is_sid(name) and name not in emission.skip | emission.exclude
        ]
        self._rolls[number] = roll = Roll(self._mode.create_lock(), nodes, sids, settle)
        pending = Pending(until, number, around, roll, self)
        try:
            encoded = b""
            if travels and self._encode is not None:
                encoded = self._encode(emission, {"ask_all": number, "expires_at": time.time() + timeout_s})
            pending._forget = self._ask_here(emission, roll)
            if travels and self._bus is not None:
                self._asking.note_left(around.able)
                self._bus.put(encoded, f"{emission.namespace} {emission.to[0] if emission.to else ''}")
        except BaseException:
            pending.end()
            raise
        return pending

    def _all_are_here(self, emission: Emission) -> bool:
        server, to = self._server, emission.to
        return emission.local or (
            server is not None
            and to is not None
            and all(server.is_connected(sid, emission.namespace) for sid in to)
        )

    def _ask_here(self, emission: Emission, roll: Roll) -> Callable[[], object] | None:
        if self._server is None:
            return None
        return self._server.ask_each(
            emission,
            lambda sids: roll.name(self.node, sids, len(sids)),
            partial(self._answer_here, roll),
            lambda sid: roll.miss(self.node, sid, "gone"),
        )

    def _answer_here(self, roll: Roll, sid: str, values: tuple[Any, ...]) -> None:
        packed = self._pack(values)
        if packed is None:
            roll.miss(self.node, sid, "dropped")
        else:
            roll.answer(self.node, sid, values, packed[2])

    def on_asked(self, message: Message) -> None:
        """Note whom another server has asked."""
        roll = self._rolls.get(message["id"]) if message["host_id"] == self.node else None
        if roll is not None:
            roll.name(message["node"], message["sids"], message["total"])

    def on_acked(self, message: Message) -> None:
        """Note what the clients of another server have answered."""
        roll = self._rolls.get(message["id"]) if message["host_id"] == self.node else None
        if roll is None:
            return
        node = message["node"]
        for sid, *rest in message["acks"]:
            if len(rest) == 1:
                roll.miss(node, sid, rest[0])
                continue
            args, packed = rest
            try:
                values = unpack(args) if packed else tuple(args)
            except Malformed:
                roll.miss(node, sid, "dropped")
            else:
                roll.answer(node, sid, values, len(self._wire.encode({"args": args})))

    def end(self, number: int, roll: Roll, around: Around) -> CallAnswers:
        """Forget a call, and return what has come."""
        self._rolls.pop(number, None)
        outcome = self._asking.questions.end(number)
        return roll.close(outcome.missing, around.unable, cut_off=around.cut_off)

    # --------------------------------------------------------------------------------------------------- answering

    def ask_for(self, emission: Emission, message: Message) -> None:
        """Ask this process's clients for another server.

        :param message: from which the event comes.
        """
        if self._server is None or self._bus is None:
            return
        if len(self._replies) >= MOST_CALLS:
            self._bus.refuse("too many calls to all", f"too many wait for clients, as {emission.event!r}")
            return
        asker, left_s = message.get("host_id"), self._left_s(message.get("expires_at"))
        if asker is None or not left_s > 0:  # nobody waits; clients hear it, as any event that comes late
            self._server.emit(emission)
            return
        reply = _Reply(self, asker, message["ask_all"], self._mode, self.clock)
        self._replies.add(reply)
        try:
            reply.begin(self._server, emission, left_s)
        except BaseException:
            self.forget(reply)
            raise

    def _left_s(self, expires_at: float | None) -> float:
        now = time.time()
        until = now if expires_at is None else float(max(min(expires_at, now + self._expires_s), 0))
        return until + CLOCK_SKEW_S - now

    def forget(self, reply: _Reply) -> None:
        """Wait no longer for another server's sake."""
        self._replies.discard(reply)

    def send_names(self, asker: str, number: int, sids: list[str]) -> None:
        """Tell another server whom we have asked."""
        message: Message = {"method": "asked", "host_id": asker, "id": number, "total": len(sids)}
        for start in range(0, max(len(sids), 1), BATCH_SIDS):
            self._send_part(message, "sids", sids[start : start + BATCH_SIDS])

    def send_acks(self, asker: str, number: int, acks: list[tuple[str, tuple[Any, ...] | None]]) -> None:
        """Tell another server what clients have answered; ``None`` for one that has left."""
        message: Message = {"method": "acked", "host_id": asker, "id": number}
        part: list[list[Any]] = []
        size = 0
        for sid, values in acks:
            packed = None if values is None else self._pack(values)
            if packed is None:
                part.append([sid, "gone" if values is None else "dropped"])
                continue
            if part and (size + packed[2] > BATCH_BYTES or len(part) >= BATCH_SIDS):
                self._send_part(message, "acks", part)
                part, size = [], 0
            part.append([sid, packed[0], packed[1]])
            size += packed[2]
        self._send_part(message, "acks", part)

    def _send_part(self, message: Message, name: str, items: list[Any]) -> None:
        """Send a part, or the parts of it that the queue can carry."""
        if self._bus is None:
            return
        encoded = self._wire.encode({**message, name: items})
        with suppress(QueueClosed):  # we are leaving, and have said so
            try:
                self._bus.check(encoded)
            except MessageTooLarge:
                if len(items) > 1:
                    self._send_part(message, name, items[: len(items) // 2])
                    self._send_part(message, name, items[len(items) // 2 :])
                elif len(items[0]) == 3:
                    self._send_part(message, name, [[items[0][0], "dropped"]])
                return
            self._bus.put(encoded, message["host_id"])

    def _pack(self, values: tuple[Any, ...]) -> tuple[list[Any], bool, int] | None:
        """Return an answer as it travels, whether it is packed, and its size; ``None`` if it cannot be sent."""
        try:
            args, packed = pack(list(values))
            encoded = self._wire.encode({"args": args})
            if encoded.count(b"[") + encoded.count(b"{") > MAX_DEPTH - _DEEPER:
                deep = self._wire.encode({"method": "depth", "args": [[[args]]]})
                self._wire.decode(stamp(deep, self.node, 0))
        except (*FAILURES, Malformed):
            return None
        return args, packed, len(encoded)


class _Reply:
    """What this server's clients say to another server's question."""

    def __init__(
        self, calls: CallsToAll, asker: str, number: int, mode: AsyncMode, clock: Callable[[], float]
    ) -> None:
        self._calls = calls
        self._asker = asker
        self._number = number
        self._mode = mode
        self._lock = mode.create_lock()
        self._open = 0
        self._acks: list[tuple[str, tuple[Any, ...] | None]] = []
        self._sending = Paced(self._send, mode, clock, BATCH_S)
        self._timer: Handle | None = None
        self._forget: Callable[[], object] | None = None

    def begin(self, server: LocalServer, emission: Emission, timeout_s: float) -> None:
        """Ask the clients, and tell who they are."""
        self._timer = self._mode.call_later(timeout_s, lambda: self._mode.spawn(self._end))
        try:
            self._forget = server.ask_each(emission, self._name, self._note, partial(self._note, values=None))
        except BaseException:
            self._timer.cancel()
            raise

    def _name(self, sids: list[str]) -> None:
        self._open = len(sids)
        self._mode.spawn(partial(self._calls.send_names, self._asker, self._number, sids))
        if not sids:
            self._mode.spawn(self._end)

    def _note(self, sid: str, values: tuple[Any, ...] | None) -> None:
        with self._lock:
            self._acks.append((sid, values))
        self._sending.ask()

    def _send(self) -> None:
        with self._lock:
            acks, self._acks = self._acks, []
            self._open -= len(acks)
        if acks:
            self._calls.send_acks(self._asker, self._number, acks)
        if not self._open:
            self._end()

    def _end(self) -> None:
        self._calls.forget(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._forget is not None:
            self._forget()


def _understands(peer: Peer) -> bool:
    return peer.protocol >= PROTOCOL


# ------------------------------------------------------------------------------------------------- waiting for answers

Begin = Callable[[Callable[[], object]], Pending]
"""Begins a call; takes what to call when nobody is waited for any more."""


def wait(mode: AsyncMode, begin: Begin) -> CallAnswers:
    """Call, and return when all have answered or left, or the time is over."""
    done = mode.create_event()
    pending = begin(done.set)
    try:
        done.wait(pending.left_s())
    finally:
        answers = pending.end()
    return answers


async def wait_async(mode: AsyncMode, begin: Begin) -> CallAnswers:
    """Do as :func:`wait` does, in a coroutine; what may block is done by a worker."""
    import asyncio

    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    begun: asyncio.Future[Pending] = loop.create_future()

    def on_done() -> None:
        with suppress(RuntimeError):  # the loop was closed: nobody waits there
            loop.call_soon_threadsafe(done.set)

    def settle(pending: Pending | None, error: BaseException | None) -> None:
        if not begun.done():
            begun.set_result(pending) if pending is not None else begun.set_exception(error or CallError())
        elif pending is not None:  # cancelled meanwhile
            pending.end()

    def run() -> None:
        pending, error = None, None
        try:
            pending = begin(on_done)
        except BaseException as problem:  # noqa: BLE001  # raised where it is awaited
            error = problem
        try:
            loop.call_soon_threadsafe(settle, pending, error)
        except RuntimeError:  # as above
            if pending is not None:
                pending.end()

    mode.spawn(run)
    pending = await begun
    try:
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(done.wait(), pending.left_s())
    finally:
        answers = pending.end()
    return answers


class CallBack:
    """Call, and call back once with what has come, where no task waits.

    :param callback: called in a worker.
    """

    def __init__(self, mode: AsyncMode, callback: Callable[[CallAnswers], object]) -> None:
        self._mode = mode
        self._callback = callback
        self._lock = mode.create_lock()
        self._pending: Pending | None = None
        self._timer: Handle | None = None
        self._due = self._over = False

    def begin(self, begin: Begin) -> None:
        """Call; raises what that raises."""
        pending = begin(self._finish)
        with self._lock:
            self._pending, due = pending, self._due
        if due:
            self._finish()
        else:
            self._timer = self._mode.call_later(pending.left_s(), self._finish)

    def _finish(self) -> None:
        with self._lock:
            if self._over:
                return
            if self._pending is None:
                self._due = True
                return
            self._over = True
            pending = self._pending
        self._mode.spawn(partial(self._end, pending))

    def _end(self, pending: Pending) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._callback(pending.end())


def in_time(answers: CallAnswers, event: str, timeout_s: float) -> CallAnswers:
    """Return what has come, if nobody is waited for any more.

    :raises CallTimeout: if not; it has the answers.
    """
    silent = [sid for sid, cause in answers.missing.items() if cause == "silent"]
    servers = [node for node, cause in answers.servers.items() if cause == "silent"]
    if not (silent or servers):
        return answers
    asked = len(answers.answers) + len(answers.missing)
    what = f"{len(silent)} of {asked} clients" if silent else f"the clients of {len(servers)} servers"
    error = CallTimeout(f"{what} did not acknowledge {event!r} within {timeout_s:g} s")
    error.answers = answers
    raise error
