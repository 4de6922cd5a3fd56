"""What a message queue raises: for what its client library raises, and for a message that it cannot carry."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

from ..errors import MessageTooLarge, QueueRefused, QueueUnavailable, SocketIOError
from .urls import Secrets, describe

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["ClientErrors", "check_size", "unavailable"]


def unavailable(name: str, url: str, error: BaseException, *, refused: bool = False) -> QueueUnavailable:
    """Return the error that a queue raises for one of its client library, without the secrets of the URL.

    :param name: what the broker is called: ``"Redis"``.
    :param refused: the broker has answered, and trying again does not help: a :class:`QueueRefused`.
    """
    kind = QueueRefused if refused else QueueUnavailable
    return kind(_told(name, url, error, refused=refused))


def _told(name: str, url: str, error: BaseException, *, refused: bool) -> str:
    what = "refuses us" if refused else "is unavailable"
    return f"{name} at {Secrets(url).mask(url)} {what}: {describe(error, url)}"


class ClientErrors:
    """Turn what a client library raises in a block into the errors of a queue; may be used again and again::

        self._our_errors = queues.ClientErrors("Redis", url, redis.RedisError, OSError)
        ...
        with self._our_errors:
            client.ping()

    :param name: what the broker is called, as for :func:`unavailable`.
    :param foreign: what the library raises when the broker is away, or refuses something.
    :param refuses: says of one of these whether it is a refusal that trying again does not change.
    """

    __slots__ = ("_foreign", "_name", "_refuses", "_url")
    kinds: ClassVar[tuple[type[SocketIOError], type[SocketIOError]]] = (QueueUnavailable, QueueRefused)
    """What is raised: for one that may be there again soon, and for a refusal."""

    def __init__(
        self,
        name: str,
        url: str,
        *foreign: type[BaseException],
        refuses: Callable[[BaseException], bool] = lambda error: False,
    ) -> None:
        self._name = name
        self._url = url
        self._foreign = foreign
        self._refuses = refuses

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, self._foreign):
            refused = self._refuses(error)
            raise self.kinds[refused](_told(self._name, self._url, error, refused=refused)) from error


def check_size(message: bytes, limit: int | None, name: str) -> None:
    """Refuse a message that a queue can never carry.

    :param limit: most bytes, ``None`` for any number; usually :attr:`MessageQueue.max_message_bytes`.
    :param name: what the queue is called.
    :raises MessageTooLarge: with both sizes.
    """
    if limit is not None and len(message) > limit:
        raise MessageTooLarge(f"message of {len(message)} bytes exceeds the {name} queue's {limit} bytes")
