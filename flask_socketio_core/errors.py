"""Every error this project raises on purpose, as one tree.

::

    SocketIOError
    ├── ConfigurationError            the program or its deployment is wrong; fix and restart
    │   ├── UnknownOption             (also a TypeError)
    │   ├── InvalidOption             (also a ValueError)
    │   ├── PluginError               a plugin is wrong in itself
    │   │   ├── DuplicatePlugin
    │   │   ├── DuplicateSetting
    │   │   ├── InvalidHook
    │   │   ├── PluginFailed          its set-up raised; ``__cause__`` says what
    │   │   └── InvalidDescriptor     what it describes, or the class behind that, is not as the contract says
    │   ├── SelectionError            (also a ValueError) a part that was asked for cannot be had
    │   │   ├── UnknownPart           no installed plugin provides that name or scheme
    │   │   ├── PartNotInstalled      a known plugin would provide it, but something is not installed
    │   │   ├── PartBroken            it is installed, but cannot be loaded or made; ``__cause__`` says why
    │   │   ├── PartUnsuitable        it works, but not in this process or behind this server
    │   │   └── AmbiguousPart         two plugins claim it
    │   ├── UnsafeServer              (also a RuntimeError) a development server is asked to serve in production
    │   └── NotInitialised            (also a RuntimeError) used before ``init_app``
    ├── ContextError                  (also a RuntimeError and an AttributeError) called outside a Socket.IO handler
    ├── EventRejected                 raised around an event: its handler is not run; carries the answer
    ├── InvalidData                   (also a TypeError and a ValueError) what was to be sent, no client could read
    ├── CallError                     a ``call()`` that got no answer
    │   ├── CallTimeout               (also python-socketio's and the built-in TimeoutError)
    │   └── ClientGone                (likewise) the client left before it answered
    ├── ProtocolError                 the peer broke the protocol; carries what to answer
    │   ├── WrongSerializer           its packets look like those of another serializer
    │   └── PayloadTooLarge
    ├── QueueError                    the message queue
    │   ├── QueueUnavailable          the broker cannot be reached now; retrying may help
    │   │   └── QueueRefused          it answers, and refuses us until somebody changes something
    │   ├── QueueClosed               used after ``close()``
    │   └── MessageTooLarge           larger than the queue can carry
    └── StoreError                    the store
        ├── StoreUnavailable          it cannot be reached now; retrying may help
        │   └── StoreRefused          it answers, and refuses us until somebody changes something
        ├── StoreClosed               used after ``close()``
        └── ValueTooLarge             larger than it can keep

:class:`ConnectionRefusedError` is python-socketio's own class, so that an ``except`` clause written for it goes on
working. That library brings redis, kombu and kafka with it where they are installed, half a second: it is imported when
somebody asks for the class, not with this module.
"""

from __future__ import annotations

import builtins
import sys
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from .common.quoting import MOST_SENTENCE, printable

if TYPE_CHECKING:
    from socketio.exceptions import ConnectionRefusedError as ConnectionRefusedError
else:  # or every misspelt name would pass a type check

    def __getattr__(name: str) -> Any:
        """Import python-socketio when somebody asks for the class that is its own."""
        if name == "ConnectionRefusedError":
            from socketio.exceptions import ConnectionRefusedError

            return ConnectionRefusedError
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


UPSTREAM = "socketio.exceptions"
"""The module of python-socketio's errors."""

_Call = TypeVar("_Call", bound="CallError")


def refusals() -> tuple[type[ConnectionRefusedError], ...]:
    """Return what refuses a client, for an ``except`` clause.

    It is empty as long as nobody has imported python-socketio's class: then nobody can have raised it.
    """
    return _upstream("ConnectionRefusedError")


def _upstream(name: str) -> tuple[type[Any], ...]:
    """Return an error of python-socketio's if that is there, without importing it."""
    found = getattr(sys.modules.get(UPSTREAM), name, None)  # it may be half imported
    return () if found is None else (found,)


class SocketIOError(Exception):
    """Base of everything raised by this project on purpose."""


class ConfigurationError(SocketIOError):
    """The program or its deployment is wrong."""


class UnknownOption(ConfigurationError, TypeError):
    """An option or keyword that does not exist was given."""


class InvalidOption(ConfigurationError, ValueError):
    """An option has a value that it cannot take."""


class PluginError(ConfigurationError):
    """A plugin is wrong in itself, whether or not it was asked for."""


class DuplicatePlugin(PluginError):
    """Two distributions register one entry-point name."""


class DuplicateSetting(PluginError):
    """A plugin declares a setting that another one has, or an option of ours."""


class InvalidHook(PluginError):
    """A plugin implements a hook that does not exist, or returns something that the hook may not return."""


class PluginFailed(PluginError):
    """A plugin could not be set up; ``__cause__`` says why."""


class InvalidDescriptor(PluginError):
    """A plugin's descriptor, or the class that its ``load`` returns, is not what the contract asks for."""


class SelectionError(ConfigurationError, ValueError):
    """An async mode, WebSocket provider, message queue or store that was asked for cannot be had."""


class UnknownPart(SelectionError):
    """No installed plugin provides that name or URL scheme."""


class PartNotInstalled(SelectionError):
    """A plugin provides it, but a library that it needs is not installed."""


class PartBroken(SelectionError):
    """It is installed but cannot be loaded or made; ``__cause__`` holds the original error.

    :ivar plugin: name of the plugin's entry point.
    :ivar kind: ``"async mode"``, ``"WebSocket provider"``, ``"message queue"`` or ``"store"``; empty if the whole
        plugin is broken.
    :ivar part: name of the part; empty if the whole plugin is broken.
    :ivar problem: the cause in one line, without secrets.
    """

    plugin: str = ""
    kind: str = ""
    part: str = ""
    problem: str = ""


class PartUnsuitable(SelectionError):
    """It is installed and works, but does not fit this process or the server around it."""


class AmbiguousPart(SelectionError):
    """Two plugins claim the same name or URL scheme."""


class UnsafeServer(ConfigurationError, RuntimeError):
    """A server that is meant for development was asked to serve what looks like production."""


class NotInitialised(ConfigurationError, RuntimeError):
    """The ``SocketIO`` object was used before ``init_app``."""


class ContextError(SocketIOError, RuntimeError, AttributeError):
    """A function that needs a Socket.IO handler's context was called outside of one.

    Also the error that Flask-SocketIO's functions raise then, for ``except AttributeError`` in a view.
    """


class EventRejected(SocketIOError):
    """Raise it in a handler, before one or around one: the event is not handled, and that is no error.

    ::

        raise EventRejected(ack={"error": "not now", "retry_after": 5})

    :param message: for observers; no client sees it.
    :param ack: what the client is acknowledged, as a handler would return it: one value, or a tuple of several. With
        ``None`` nothing is acknowledged, as when a handler fails.
    """

    def __init__(self, message: str = "the event was rejected", *, ack: Any = None) -> None:
        super().__init__(message)
        self.ack = ack


class InvalidData(SocketIOError, TypeError, ValueError):
    """An event, its data or an acknowledgement is nothing that every client can read; nothing was sent.

    Also the errors that an encoder raises, which applications catch.
    """


class CallError(SocketIOError):
    """A ``call()`` got no answer.

    Also python-socketio's ``TimeoutError``, if anybody has imported that and so may catch it.
    """

    def __new__(cls: type[_Call], *args: object) -> _Call:
        """Make the error, with python-socketio's class among its bases if that is there."""
        for upstream in _upstream("TimeoutError"):
            if not issubclass(cls, upstream):
                cls = _caught_as(cls, upstream)  # type: ignore[arg-type]  # classes can be hashed
        return super().__new__(cls, *args)


@cache
def _caught_as(error: type[_Call], upstream: type[Exception]) -> type[_Call]:
    """Return an error's class with another base; it has the same name, and pickles as the class that it was."""
    members = {
        "__module__": error.__module__,
        "__doc__": error.__doc__,
        "__reduce__": lambda self: (error, self.args, vars(self) or None),
    }
    return type(error.__name__, (error, upstream), members)


class CallTimeout(CallError, builtins.TimeoutError):
    """The client did not acknowledge within the time-out.

    :ivar answers: of ``call_all()``, the :class:`~flask_socketio_core.contracts.clients.CallAnswers` that have come by
        then, with who is missing; ``None`` for others.
    """

    answers: Any = None


class ClientGone(CallError, builtins.TimeoutError):
    """The client left before it acknowledged.

    Also the errors that Flask-SocketIO's ``call()`` raises then, after the whole time-out.
    """


class ProtocolError(SocketIOError):
    """The peer broke the protocol; says what to answer.

    :param message: what was wrong, for the log and for the HTTP body; whatever it quotes cannot break a line there.
    :param status: HTTP status code for the polling transport.
    :param close_code: WebSocket close code (RFC 6455, section 7.4.1).
    """

    def __init__(self, message: str, *, status: int = 400, close_code: int = 1002) -> None:
        super().__init__(printable(message, MOST_SENTENCE))
        self.status = status
        self.close_code = close_code


class WrongSerializer(ProtocolError):
    """The peer's packets look like those of another serializer than the server's."""


class PayloadTooLarge(ProtocolError):
    """The peer sent more than ``max_http_buffer_size`` bytes.

    :param size: what arrived or was announced, bytes.
    :param limit: what is allowed, bytes.
    """

    def __init__(self, size: int, limit: int) -> None:
        super().__init__(
            f"packet of {size} bytes exceeds max_http_buffer_size={limit}", status=413, close_code=1009
        )
        self.size = size
        self.limit = limit


class QueueError(SocketIOError):
    """The message queue failed."""


class QueueUnavailable(QueueError):
    """The broker cannot be reached now; trying again later may help."""


class QueueRefused(QueueUnavailable):
    """The broker refuses this process: a wrong password, a missing right, a feature that is switched off.

    Trying again goes on, and helps once somebody has changed that, here or at the broker.
    """


class QueueClosed(QueueError):
    """The queue was used after ``close()``."""


class MessageTooLarge(QueueError):
    """A message is larger than the queue can carry."""


class StoreError(SocketIOError):
    """The store failed."""


class StoreUnavailable(StoreError):
    """The store cannot be reached now; trying again later may help."""


class StoreRefused(StoreUnavailable):
    """The store refuses this process: a wrong password, a missing right. It helps once somebody has changed that."""


class StoreClosed(StoreError):
    """The store was used after ``close()``."""


class ValueTooLarge(StoreError):
    """A value is larger than the store can keep."""
