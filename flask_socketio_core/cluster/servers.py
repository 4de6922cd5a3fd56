"""``SocketIO.servers``, with a message queue and without one."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from ..contracts.servers import Servers
from .topics import check_free

if TYPE_CHECKING:
    from ..contracts.servers import Answers
    from .topics import Topics


class Community(Protocol):
    """The servers that one process belongs to."""

    @property
    def node(self) -> str: ...
    def tell(self, topic: str, payload: Any) -> None: ...
    def ask(
        self, topic: str, payload: Any, *, timeout_s: float, node: str | None, include_self: bool
    ) -> Answers: ...


class ApplicationServers(Servers):
    """The servers of one application.

    :param topics: what this one has handlers for.
    :param community: returns the way to all of them.
    """

    def __init__(self, topics: Topics, community: Callable[[], Community]) -> None:
        self._topics = topics
        self._community = community

    @property
    def node(self) -> str:
        return self._community().node

    def on_topic(self, topic: str, handler: Any = None) -> Any:
        if handler is None:
            return partial(self.on_topic, topic)
        check_free(topic)
        self._topics.add(topic, handler)
        return handler

    def tell(self, topic: str, payload: Any = None) -> None:
        self._community().tell(topic, payload)

    def ask(
        self,
        topic: str,
        payload: Any = None,
        *,
        timeout_s: float = 5.0,
        node: str | None = None,
        include_self: bool = True,
    ) -> Answers:
        return self._community().ask(
            topic, payload, timeout_s=timeout_s, node=node, include_self=include_self
        )
