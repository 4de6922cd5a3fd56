"""Try a message queue once: does our own message come back through the broker, and who else answers?

Who checks is no server of the cluster: the others answer, and do not take note of it.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from ..errors import QueueRefused
from .envelope import Malformed, Message, Wire, stamp
from .signing import Unauthentic

if TYPE_CHECKING:
    from ..contracts import AsyncMode, Event, MessageQueue
    from ..contracts.urls import Secrets
    from .signing import Signer

#: Seconds given to the other servers after our own message came back, which took the same way.
ANSWERS_S = 1.0
#: Seconds given to the listener to take leave of the broker.
LEAVE_S = 2.0


class Step(Enum):
    """How far a check came."""

    SUBSCRIBE = "subscribe"
    PUBLISH = "publish"
    HEAR = "hear"
    DONE = "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A server that answered.

    :param async_mode: name of its async mode.
    :param version: version of its flask-socketio-core.
    :param topics: what it can be asked and told about.
    :param after_s: seconds after which its answer was here.
    :param clock_skew_s: seconds that its clock is ahead of ours, give or take ``after_s``; ``None`` if it does not say.
    """

    node: str
    async_mode: str
    version: str
    topics: tuple[str, ...] = ()
    after_s: float
    clock_skew_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueCheck:
    """What a check found out.

    :param step: the step that failed; ``Step.DONE`` if none did.
    :param problem: why, without credentials; empty if nothing failed.
    :param refused: the broker answers and refuses us; trying again does not help.
    :param round_trip_s: seconds that our own message took; ``None`` if it did not come back.
    :param answers: the servers that answered, the fastest first.
    :param unauthentic: messages heard that were not signed with our secret; 0 without one.
    """

    step: Step
    problem: str = ""
    refused: bool = False
    round_trip_s: float | None = None
    answers: tuple[Answer, ...] = ()
    unauthentic: int = 0

    @property
    def up(self) -> bool:
        """Whether messages are taken and delivered."""
        return self.step is Step.DONE


def check_queue(
    queue: MessageQueue, mode: AsyncMode, timeout_s: float, secrets: Secrets, signer: Signer | None = None
) -> QueueCheck:
    """Subscribe, publish, and wait for the message to come back; then close the queue.

    :param timeout_s: seconds for all of it; a broker that does not answer may take the queue's own time-out longer.
    :param secrets: what is kept out of the problem's text.
    :param signer: signs our message and checks the answers; ``None`` without a secret.
    """
    checker = _Checker(queue, mode, timeout_s, secrets, signer)
    task = mode.start_task(checker.listen)
    try:
        return checker.run()
    finally:
        queue.close()
        task.join(LEAVE_S)


class _Checker:
    def __init__(
        self,
        queue: MessageQueue,
        mode: AsyncMode,
        timeout_s: float,
        secrets: Secrets,
        signer: Signer | None,
    ) -> None:
        self._queue = queue
        self._secrets = secrets
        self._signer = signer
        self._unauthentic = 0
        self._mode = mode
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._wire = Wire()
        self._node = uuid.uuid4().hex
        self._subscribed = mode.create_event()
        self._heard = mode.create_event()
        self._error: BaseException | None = None
        self._sent_at = 0.0
        self._round_trip_s: float | None = None
        self._answers: dict[str, Answer] = {}

    def run(self) -> QueueCheck:
        if not self._wait(self._subscribed):
            return self._failed(Step.SUBSCRIBE, "no subscription")
        question: Message = {"method": "node", "state": "who", "host_id": self._node}
        self._sent_at = time.monotonic()
        try:
            message = stamp(self._wire.encode(question), self._node, 0)
            self._queue.publish(
                message if self._signer is None else self._signer.sign(message), key=self._node
            )
        except Exception as error:  # noqa: BLE001  # whatever it is, it is what the check is for
            return self._problem(Step.PUBLISH, error)
        if not self._wait(self._heard):
            return self._failed(Step.HEAR, "our own message did not come back")
        self._mode.sleep(min(ANSWERS_S, max(self._deadline - time.monotonic(), 0)))
        answers = sorted(self._answers.values(), key=lambda answer: answer.after_s)
        return QueueCheck(
            step=Step.DONE,
            round_trip_s=self._round_trip_s,
            answers=tuple(answers),
            unauthentic=self._unauthentic,
        )

    def _wait(self, event: Event) -> bool:
        in_time = event.wait(max(self._deadline - time.monotonic(), 0))
        return in_time and self._error is None

    def _failed(self, step: Step, what: str) -> QueueCheck:
        if self._error is not None:
            return self._problem(step, self._error)
        return QueueCheck(step=step, problem=f"{what} within {self._timeout_s:g} s")

    def _problem(self, step: Step, error: BaseException) -> QueueCheck:
        return QueueCheck(
            step=step, problem=self._secrets.tell(error), refused=isinstance(error, QueueRefused)
        )

    def listen(self) -> None:
        try:
            for message in self._queue.listen():
                self._subscribed.set()
                if message:
                    self._note(message)
                else:
                    self._mode.sleep(0)  # lets others run where the client library blocks the whole thread
        except BaseException as error:  # noqa: BLE001  # likewise
            self._error = error
            self._subscribed.set()
            self._heard.set()

    def _note(self, raw: bytes) -> None:
        after_s = time.monotonic() - self._sent_at
        try:
            if self._signer is not None:
                self._signer.verify(raw, self._timeout_s)
            message = self._wire.decode(raw)
        except Unauthentic:
            self._unauthentic += 1
            return
        except Malformed:
            return
        node = message.get("node")
        if node == self._node:
            self._round_trip_s = after_s
            self._heard.set()
        elif message["method"] == "node" and message.get("state") == "here" and isinstance(node, str):
            mode, version = str(message.get("async_mode", "?")), str(message.get("version", "?"))
            topics = tuple(message.get("topics") or ())
            said_at = message.get("time")
            skew_s = said_at - (time.time() - after_s / 2) if isinstance(said_at, float) else None
            answer = Answer(
                node=node,
                async_mode=mode,
                version=version,
                topics=topics,
                after_s=after_s,
                clock_skew_s=skew_s,
            )
            self._answers.setdefault(node, answer)
