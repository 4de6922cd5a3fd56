"""The servers of a process without a message queue: itself alone."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from ..contracts.fork import OncePerProcess
from .asking import Asking, Context
from .calls_to_all import CallsToAll
from .envelope import Wire

if TYPE_CHECKING:
    from ..contracts import AsyncMode
    from ..contracts.clients import Emission
    from ..contracts.servers import Answers
    from ..server.interface import LocalServer
    from .calls_to_all import Pending
    from .topics import Topics


class OneServer:
    """A process without a message queue: there is nobody to ask but itself.

    :param server: its clients.
    :param json: module or object with ``dumps`` and ``loads``.
    :param strict: as for :class:`~flask_socketio_core.cluster.envelope.Wire`.
    """

    def __init__(
        self,
        topics: Topics,
        *,
        mode: AsyncMode,
        server: LocalServer | None = None,
        json: Any = None,
        strict: bool = True,
        context: Context = nullcontext,
        logger: logging.Logger | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._topics = topics
        self._mode = mode
        self._server = server
        self._wire = Wire(json, strict=strict)
        self._context = context
        self._logger = logger or logging.getLogger("flask_socketio_core.cluster")
        self._clock = clock
        self._here = OncePerProcess(mode, is_set=True)
        self._asking = self._new_asking()

    @property
    def node(self) -> str:
        """This process's id."""
        return self._current().node

    def tell(self, topic: str, payload: Any) -> None:
        """Refuse what could not be told."""
        self._current().tell(topic, payload)

    def ask(
        self, topic: str, payload: Any, *, timeout_s: float, node: str | None, include_self: bool
    ) -> Answers:
        """Ask this process."""
        return self._current().ask(topic, payload, timeout_s=timeout_s, node=node, here=include_self)

    def call_all(self, emission: Emission, timeout_s: float, on_done: Callable[[], object]) -> Pending:
        """Ask clients of this process; see :meth:`CallsToAll.begin`."""
        self._current()
        return self._calls.begin(emission, timeout_s, on_done)

    def _current(self) -> Asking:
        while not self._here.is_set():
            self._here.run(self._ask_anew)
        return self._asking

    def _ask_anew(self) -> None:
        self._asking = self._new_asking()
        self._here.set()

    def _new_asking(self) -> Asking:
        asking = Asking(
            uuid.uuid4().hex,
            self._mode,
            self._wire,
            self._topics,
            logger=self._logger,
            clock=self._clock,
            context=self._context,
        )
        self._calls = CallsToAll(asking, self._mode, self._wire, clock=self._clock, server=self._server)
        return asking
