"""What plugins and applications have of the other servers: tell them, ask them, and answer them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, overload

__all__ = ["Answers", "Cause", "Servers", "TopicHandler"]

TopicHandler = Callable[[Any, str], Any]
"""Called in a worker with what was said, as JSON has it, and the id of the server that said it. What it returns answers
a question, and is dropped if none was asked."""

_TopicHandlerT = TypeVar("_TopicHandlerT", bound=TopicHandler)

Cause = Literal["silent", "left", "unknown", "unable"]
"""Why a server has not answered:

- ``silent``: not within the time-out
- ``left``: it has ended since, or is taken for dead
- ``unknown``: it was asked by its id, and no such server is there
- ``unable``: likewise, and it does not know the topic
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What came back from the servers that were asked.

    :param answers: what each has answered, by the server's id.
    :param errors: in one line what went wrong at those that could not, by id.
    :param missing: why the others that were asked have not answered, by id.
    :param unable: servers that are there and were not asked, for they do not know the topic: they have no handler for
        it, or a version that has no topics.
    :param cut_off: this process did not hear the others when it asked, so that there may be some that it does not know.
    """

    answers: Mapping[str, Any]
    errors: Mapping[str, str]
    missing: Mapping[str, Cause]
    unable: tuple[str, ...] = ()
    cut_off: bool = False

    @property
    def complete(self) -> bool:
        """Whether every server that is there has answered, as far as can be known.

        Processes of python-socketio do not say that they are there.
        """
        return not (self.errors or self.missing or self.unable or self.cut_off)


class Servers(ABC):
    """The servers of one application: those that share its message queue, or this one alone::

        @socketio.servers.on_topic("clients.count")
        def count(payload, node):
            return len(my_clients)

        answers = socketio.servers.ask("clients.count", timeout_s=2)
        total = sum(answers.answers.values())
        if not answers.complete:
            print("without", dict(answers.missing), dict(answers.errors), answers.unable)

    It is the same with and without a message queue.
    """

    @property
    @abstractmethod
    def node(self) -> str:
        """This process's id among them: another one after each start, and in each process that is forked.

        :raises NotInitialised: before ``init_app``.
        """

    @overload
    def on_topic(self, topic: str) -> Callable[[_TopicHandlerT], _TopicHandlerT]: ...
    @overload
    def on_topic(self, topic: str, handler: _TopicHandlerT) -> _TopicHandlerT: ...
    @abstractmethod
    def on_topic(self, topic: str, handler: Any = None) -> Any:
        """Handle what other servers tell, and answer what they ask (decorator, or with the handler).

        The handler gets the payload and the id of the server that has sent it, which is this server's for a question
        of its own. It runs in a worker, inside the application's context, and may block; 20 run at a time, the others
        in turn. What one server tells on one topic is handled in that order, questions are handled side by side. What
        the handler returns is the answer: JSON, and bytes anywhere in it. If it raises, or returns something else,
        that is logged here, and the one who asked gets an error.

        The other servers know at once that this one answers, also if it serves already. The same function may be
        registered again, as by a ``socketio_setup`` that is called in a forked child, and takes the place of the
        earlier one; which application it is for, ``flask.current_app`` says.

        :param topic: 1 to 64 printable ASCII characters; begin with the name of your package. 61 topics at most.
        :raises ValueError: for a name that no topic can have, or that begins with ``"app:"`` or ``"core:"``, as those
            of ``SocketIO.on_server()`` and of the core itself.
        :raises ConfigurationError: if another function handles it, or there are too many topics.
        """

    @abstractmethod
    def tell(self, topic: str, payload: Any = None) -> None:
        """Tell all other servers that know a topic, and wait for nothing.

        May be called from everywhere, also from a process that only sends. As an event that is emitted, it waits in
        the buffer while the broker is away.

        :param payload: JSON, and bytes anywhere in it.
        :raises InvalidData: if that cannot be sent; says where.
        :raises MessageTooLarge: if the queue can never carry it.
        """

    @abstractmethod
    def ask(
        self,
        topic: str,
        payload: Any = None,
        *,
        timeout_s: float = 5.0,
        node: str | None = None,
        include_self: bool = True,
    ) -> Answers:
        """Ask the servers that know a topic, and return what each has answered.

        Blocks until all have answered or left: call it in a handler, a view or a task, not in a callback of the event
        loop. A server that was killed is taken for dead within four heartbeat intervals, in a process that only sends
        a second later. A process that has just begun to listen waits for a third of a second first, until the others
        have said that they are there; one that only sends opens its subscription for that.

        :param payload: JSON, and bytes anywhere in it.
        :param timeout_s: how long to wait, seconds; an hour at most.
        :param node: id of the only server that is asked; ``None`` for all.
        :param include_self: ask this server, too; it answers in a worker, as the others do. A process that only sends
            never does.
        :raises InvalidData: if the payload cannot be sent; says where.
        :raises MessageTooLarge: if the queue can never carry it.
        """
