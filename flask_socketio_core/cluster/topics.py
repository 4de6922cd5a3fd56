"""What servers ask each other about: the topics of this process, and the workers that handle them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol
from weakref import WeakSet

from ..errors import ConfigurationError
from .envelope import MAX_ID, MAX_TOPICS, is_id

if TYPE_CHECKING:
    from ..contracts import AsyncMode
    from ..contracts.servers import TopicHandler

#: Handlers that run at a time on one server, if that is no more than a fifth of its workers: these are for clients.
MOST_AT_ONCE = 20
#: Messages that wait for one of them; what comes besides is dropped. Anyone who may publish can send any number.
MOST_WAITING = 1_000

APPLICATION = "app:"
"""What the names of an application's own topics begin with on the bus, so that they are never those of a plugin."""
CORE = "core:"
"""What those of the core begin with."""
CLIENTS = f"{CORE}clients"
"""Who is connected to which server; see :mod:`~flask_socketio_core.cluster.clients`."""
WATCH = f"{CORE}watch"
HISTORY = f"{CORE}history"
"""What ``flask socketio top`` and ``tail`` show; see :mod:`~flask_socketio_core.app.watched`."""


class Follower(Protocol):
    """Who tells the others which topics there are."""

    def announce_topics(self) -> None: ...


@dataclass(frozen=True)
class InOrder:
    """A handler of the core's that has to know which messages were heard before its question, and which were not.

    :param begin: called with the payload, the asking server and the question's number, by the task that listens, before
        it takes the next message; must not block. What it returns is called in a worker and returns the answer.
    """

    begin: Callable[[Any, str, int], Callable[[], Any]]


class Topics:
    """The topics that a ``SocketIO`` object has handlers for, on whatever queues it is.

    :param finish: takes what a handler returned, in its context, and returns the answer.
    """

    def __init__(self, finish: Callable[[Any], Any] = lambda answer: answer) -> None:
        self.finish = finish
        self._handlers: dict[str, TopicHandler | InOrder] = {}
        self.followers: WeakSet[Follower] = WeakSet()

    def add(self, topic: str, handler: TopicHandler | InOrder) -> None:
        """Have a handler for a topic, and let the other servers know; it takes the place of an earlier one of its kind.

        :raises ValueError: for a name that no topic can have.
        :raises ConfigurationError: if there is another handler for it, or there are too many topics.
        """
        check_topic(topic)
        known = self._handlers.get(topic)
        if known is not None and _origin(known) != _origin(handler):
            raise ConfigurationError(
                f"topic {topic!r} has a handler already, {_origin(known)}: begin the name with that of your package"
            )
        if known is None and len(self._handlers) >= MAX_TOPICS:
            raise ConfigurationError(
                f"topic {topic!r} is one too many: a server has {MAX_TOPICS} at most, so put what differs into "
                "the payload"
            )
        self._handlers[topic] = handler
        for follower in list(self.followers):
            follower.announce_topics()

    def remove(self, topic: str) -> None:
        """Have no handler for a topic any more, and let the other servers know."""
        if self._handlers.pop(topic, None) is not None:
            for follower in list(self.followers):
                follower.announce_topics()

    def names(self) -> list[str]:
        """Return the topics."""
        return sorted(self._handlers)

    @property
    def are_open(self) -> bool:
        """Whether there are others than those of the core."""
        return not all(name.startswith(CORE) for name in self._handlers)

    def find(self, topic: str) -> TopicHandler | InOrder | None:
        """Return the handler of a topic."""
        return self._handlers.get(topic)


def _origin(handler: object) -> str:
    """Name where a handler was written: what a plugin registers again, in a child or for another application, is it."""
    function = handler
    while hasattr(function, "func"):  # functools.partial, ApplicationHandler
        function = function.func
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}.{named.__qualname__}"


def check_topic(topic: object) -> None:
    """Refuse what cannot be a topic's name.

    :raises ValueError: unless it is text of 1 to 64 printable ASCII characters.
    """
    if not is_id(topic):
        raise ValueError(
            f"topic {topic!r:.80} is no name of a topic: expected text of 1 to {MAX_ID} printable ASCII characters, "
            "such as 'presence' or 'my-plugin.reload'"
        )


def application_topic(name: object) -> str:
    """Return the topic on the bus that an application calls by a name.

    :raises ValueError: unless that is text of 1 to 60 printable ASCII characters.
    """
    most = MAX_ID - len(APPLICATION)
    if not is_id(name) or len(str(name)) > most:
        raise ValueError(
            f"topic {name!r:.80} is no name of a topic: expected text of 1 to {most} printable ASCII characters, "
            "such as 'cache-cleared'"
        )
    return f"{APPLICATION}{name}"


def check_free(topic: str) -> None:
    """Refuse a topic that a plugin or an application cannot have a handler for.

    :raises ValueError: for a name that begins like those of the core or of ``SocketIO.on_server()``.
    """
    for prefix, owner in ((APPLICATION, "topics of SocketIO.on_server()"), (CORE, "the core's own topics")):
        if str(topic).startswith(prefix):
            raise ValueError(f"topic {topic!r:.80} begins like {owner}, {prefix!r}: choose another name")


class ApplicationHandler:
    """What an application registers for a topic of its own, as a handler of topics.

    :param func: takes what was said as positional arguments.
    """

    def __init__(self, func: Callable[..., Any]) -> None:
        self.func = func

    def __call__(self, payload: Any, node: str) -> Any:
        """Handle what another server tells or asks."""
        return self.func(*payload)


class TopicWorkers:
    """Run handlers in workers: so many at a time, the others in turn."""

    def __init__(self, mode: AsyncMode) -> None:
        self._mode = mode
        self._lock = mode.create_lock()
        self._most = max(1, min(MOST_AT_ONCE, mode.max_workers // 5))
        self._running = 0
        self._waiting = 0
        self._ready: deque[tuple[Callable[[], object], Hashable]] = deque()
        self._lanes: dict[Hashable, deque[Callable[[], object]]] = {}

    @property
    def busy(self) -> bool:
        """Whether handlers run or wait."""
        with self._lock:
            return bool(self._running or self._waiting)

    @property
    def full(self) -> bool:
        """Whether so many wait that no other one may."""
        return self._waiting >= MOST_WAITING

    def start(self, job: Callable[[], object], lane: Hashable = None) -> bool:
        """Run a job soon; ``False`` if too many wait already.

        :param lane: jobs of one lane run one after the other, in the order given; ``None`` for one of its own.
        """
        with self._lock:
            if self.full:
                return False
            self._waiting += 1
            if lane is not None:
                if lane in self._lanes:
                    self._lanes[lane].append(job)
                    return True
                self._lanes[lane] = deque()
            self._ready.append((job, lane))
        self._start_next()
        return True

    def _start_next(self) -> None:
        with self._lock:
            if not self._ready or self._running >= self._most:
                return
            job, lane = self._ready.popleft()
            self._waiting -= 1
            self._running += 1
        try:
            self._mode.spawn(partial(self._run, job, lane))
        except BaseException:  # no thread left
            self._note_end(lane)
            raise

    def _run(self, job: Callable[[], object], lane: Hashable) -> None:
        try:
            job()
        finally:
            self._note_end(lane)
            self._start_next()

    def _note_end(self, lane: Hashable) -> None:
        with self._lock:
            self._running -= 1
            if lane is None:
                return
            behind = self._lanes[lane]
            if behind:
                self._ready.append((behind.popleft(), lane))
            else:
                del self._lanes[lane]
