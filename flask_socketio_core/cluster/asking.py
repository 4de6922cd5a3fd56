"""What one process asks the other servers, and answers them, by topic."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from ..common.quoting import printable
from ..common.repeats import Repeats, kind_of
from ..common.sendable import FAILURES, explain
from ..common.tracebacks import log_error, printable_error
from ..contracts.servers import Answers
from ..errors import InvalidData, QueueClosed
from .envelope import MAX_DEPTH, MAX_ERROR, Malformed, Message, Wire, pack, stamp
from .questions import Questions
from .signing import CLOCK_SKEW_S
from .topics import InOrder, Topics, TopicWorkers, check_topic

if TYPE_CHECKING:
    import logging

    from ..contracts import AsyncMode
    from ..contracts.servers import Cause, TopicHandler
    from .peers import Peer

Context = Callable[[], AbstractContextManager[object]]
"""Makes what a handler runs in."""

#: Most seconds that an answer is waited for.
MAX_TIMEOUT_S = 3600.0


class Bus(Protocol):
    """The way to the other servers."""

    def meet(self, timeout_s: float) -> bool:
        """Wait until the other servers have said that they are there; return whether they are heard."""

    def servers(self) -> tuple[Peer, ...]:
        """Return the other servers that are there."""

    def watch(self) -> None:
        """Have servers noted that end while a question, which is kept already, waits for them."""

    def check(self, encoded: bytes) -> None:
        """Refuse a message that cannot be put.

        :raises MessageTooLarge: if the queue can never carry it.
        :raises QueueClosed: after the end.
        """

    def put(self, encoded: bytes, key: str) -> None:
        """Publish a message.

        :raises QueueClosed: after the end.
        """

    def refuse(self, kind: str, why: str) -> None:
        """Count a message that cannot be used, and say so once for each kind and minute."""


@dataclass(slots=True)
class Around:
    """The other servers that are there.

    :param able: know the topic.
    :param cut_off: there may be more.
    """

    able: list[str] = field(default_factory=list)
    unable: list[str] = field(default_factory=list)
    cut_off: bool = False


class Asking:
    """Ask, tell and answer, in one process and under one id.

    :param context: what handlers run in.
    :param bus: the way to the other servers; ``None`` if there are none.
    """

    def __init__(
        self,
        node: str,
        mode: AsyncMode,
        wire: Wire,
        topics: Topics,
        *,
        logger: logging.Logger,
        clock: Callable[[], float],
        context: Context = nullcontext,
        bus: Bus | None = None,
    ) -> None:
        self.node = node
        self.topics = topics
        self._mode = mode
        self._wire = wire
        self._context = context
        self._bus = bus
        self._clock = clock
        self._logger = logger
        self._repeats = Repeats(clock)
        self.questions = Questions(mode.create_lock())
        self._workers = TopicWorkers(mode)
        self._beginning = False
        self.left = self.questions.left
        self.close = self.questions.close

    @property
    def busy(self) -> bool:
        """Whether others wait for an answer of this server."""
        return self._beginning or self._workers.busy

    # ------------------------------------------------------------------------------------------------------ asking

    def tell(self, topic: str, payload: Any) -> None:
        """Tell all other servers that know a topic."""
        check_topic(topic)
        encoded = self._encode(
            {"method": "tell", "topic": topic}, f"what is told on topic {topic!r}", payload
        )
        if self._bus is not None:
            self._bus.put(encoded, _key(topic))

    def ask(
        self,
        topic: str,
        payload: Any,
        *,
        timeout_s: float,
        node: str | None = None,
        here: bool = True,
        but: Collection[str] = (),
        is_enough: Callable[[Any], bool] | None = None,
    ) -> Answers:
        """Ask the servers that know a topic, or one of them, and wait until all of them have answered or left.

        :param timeout_s: how long to wait, seconds; ``MAX_TIMEOUT_S`` at most.
        :param node: the only one that is asked.
        :param here: ask this process, too.
        :param but: servers that are not waited for.
        :param is_enough: says of an answer whether no other is waited for; must not block.
        :raises InvalidData: if the payload cannot be sent.
        """
        check_topic(topic)
        timeout_s = min(timeout_s, MAX_TIMEOUT_S)
        until = self._clock() + timeout_s
        around = self.look_around(partial(_knows, topic), timeout_s) if node != self.node else Around()
        able = [self.node, *around.able] if here and self.topics.find(topic) else around.able
        asked = [other for other in able if other not in but and node in (None, other)]
        if node is not None and not asked:
            cause: Cause = "unable" if node in (self.node, *around.unable) else "unknown"
            return Answers(answers={}, errors={}, missing={node: cause}, cut_off=around.cut_off)
        question: Message = {"method": "ask", "topic": topic, "expires_at": time.time() + timeout_s}
        if node is not None:
            question["to"] = node
        done = self._mode.create_event()
        number = self.questions.add(asked, done.set, is_enough)
        try:
            encoded = self._encode({**question, "id": number}, f"the question on topic {topic!r}", payload)
            if self.node in asked:
                self.on_ask(self._as_heard(encoded))
            if any(other != self.node for other in asked):
                self._ask_others(encoded, topic, asked)
            done.wait(max(until - self._clock(), 0.0))
        finally:
            unable = around.unable if node is None else ()
            outcome = self.questions.end(number, unable=unable, cut_off=around.cut_off)
        return outcome

    def look_around(self, able: Callable[[Peer], bool], timeout_s: float) -> Around:
        """Return the other servers that are there, once they had time to say so.

        :param able: says of one whether it can be asked.
        :param timeout_s: how long to wait, seconds.
        """
        if self._bus is None:
            return Around()
        heard = self._bus.meet(timeout_s)
        around = Around(cut_off=not heard)
        for peer in self._bus.servers():
            (around.able if able(peer) else around.unable).append(peer.node)
        return around

    def _ask_others(self, encoded: bytes, topic: str, asked: list[str]) -> None:
        if self._bus is None:
            return
        self.note_left(asked)
        self._bus.put(encoded, _key(topic))

    def note_left(self, asked: list[str]) -> None:
        """Wait for none of the servers that have left before that could be noted for the question, or leave later."""
        if self._bus is None:
            return
        self._bus.watch()  # not before the question is kept, or it might have ended by now
        there = {self.node, *(peer.node for peer in self._bus.servers())}
        for node in asked:
            if node not in there:
                self.questions.left(node)

    def on_answer(self, message: Message) -> None:
        """Note another server's answer, or this one's."""
        if message["host_id"] == self.node:
            (value, *_) = message.get("args") or [None]
            self.questions.answer(message["id"], message["node"], value, message.get("error"))

    # --------------------------------------------------------------------------------------------------- answering

    def on_tell(self, message: Message) -> None:
        """Take what another server tells: what one of them says on a topic is handled in that order."""
        handler = self.topics.find(message["topic"])
        if handler is not None and not isinstance(handler, InOrder):
            self._start(
                partial(self._handle, handler, message), message, lane=(message["node"], message["topic"])
            )

    def on_ask(self, message: Message) -> None:
        """Take a question of another server, or of this one."""
        handler = self.topics.find(message["topic"])
        if handler is None or message.get("to") not in (None, self.node):
            return
        if not isinstance(handler, InOrder):
            self._start(partial(self._answer, handler, message), message)
            return
        if self._workers.full:  # what it begins would be given away to nobody
            self._refuse(message)
            return
        (payload, *_) = message["args"] or [None]
        self._beginning = True
        try:
            rest = handler.begin(payload, message["node"], message["seq"])
            self._start(partial(self._answer, lambda _payload, _node: rest(), message), message)
        finally:
            self._beginning = False

    def _start(
        self, job: Callable[[], object], message: Message, lane: tuple[str, str] | None = None
    ) -> None:
        if not self._workers.start(job, lane):
            self._refuse(message)

    def _refuse(self, message: Message) -> None:
        if self._bus is not None:
            why = f"too many on topics wait for their handlers, as this one on {message['topic']!r}"
            self._bus.refuse("too many on topics", why)

    def _call(self, handler: TopicHandler, message: Message) -> Any:
        (payload, *_) = message["args"] or [None]
        with self._context():
            return self.topics.finish(handler(payload, message["node"]))

    def _handle(self, handler: TopicHandler, message: Message) -> None:
        try:
            self._call(handler, message)
        except Exception as error:  # noqa: BLE001  # whatever a handler raises
            self._log(error, message)

    def _answer(self, handler: TopicHandler, message: Message) -> None:
        if time.time() - CLOCK_SKEW_S > message["expires_at"]:
            return  # it has waited here for longer than the asker waits
        asker, answer = message["node"], {"method": "answer", "id": message["id"]}
        try:
            what = f"the answer on topic {message['topic']!r}"
            encoded = self._encode(answer, what, self._call(handler, message), to=asker)
        except QueueClosed:  # we are leaving, and have said so
            return
        except Exception as error:  # noqa: BLE001  # whatever a handler raises, and what it returns may be no JSON
            self._log(error, message)
            self._send_answer({**answer, "error": _in_one_line(error)}, asker)
        except BaseException as error:  # a library's Timeout, say; the worker logs it
            self._send_answer({**answer, "error": _in_one_line(error)}, asker)
            raise
        else:
            self._send_encoded(encoded, asker)

    def _log(self, error: Exception, message: Message) -> None:
        """Log what a handler raised: once a minute, for others can cause it as often as they like."""
        more = self._repeats.take((message["topic"], kind_of(error)))
        if more is not None:
            log_error(
                self._logger,
                error,
                "error on topic %r, for server %s%s",
                message["topic"],
                message["node"],
                more,
            )

    def _send_answer(self, answer: Message, to: str) -> None:
        with suppress(QueueClosed):
            self._send_encoded(self._encode(answer, "", None, to=to), to)

    def _send_encoded(self, encoded: bytes, to: str) -> None:
        if to == self.node:
            self.on_answer(self._as_heard(encoded))
        elif self._bus is not None:
            with suppress(QueueClosed):
                self._bus.put(encoded, to)

    # ------------------------------------------------------------------------------------------------ the messages

    def _encode(self, details: Message, what: str, payload: Any, to: str = "") -> bytes:
        """Return a message for the outbox.

        :param what: is sent, for the text of errors.
        :raises InvalidData: if it cannot be sent.
        :raises MessageTooLarge: if the queue can never carry it.
        :raises QueueClosed: after the end.
        """
        try:
            args, binary = pack([payload])
            message: Message = {**details, "host_id": to or self.node, "args": args}
            if binary:
                message["binary"] = True
            encoded = self._wire.encode(message)
        except FAILURES as error:
            raise explain(what, payload, error, self._wire.dumps) from error
        if encoded.count(b"[") + encoded.count(b"{") > MAX_DEPTH:
            try:
                self._as_heard(encoded)
            except Malformed as problem:  # the others would refuse it
                raise InvalidData(f"{what} cannot be sent: {problem}") from None
        if self._bus is not None:
            self._bus.check(encoded)
        return encoded

    def _as_heard(self, encoded: bytes) -> Message:
        """Return a message to ourselves as another server would hear it, so that both kinds are the same."""
        return self._wire.decode(stamp(encoded, self.node, 0))


def _knows(topic: str, peer: Peer) -> bool:
    return peer.protocol >= 1 and topic in peer.topics


def _in_one_line(error: BaseException) -> str:
    return printable(printable_error(error), MAX_ERROR - len("..."))


def _key(topic: str) -> str:
    return f"topic {topic}"
