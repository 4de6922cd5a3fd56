"""What stands around a handler: observers, plugins, and the application's own functions.

From the outside to the inside, for an event (a connect handler has the plugins and ``before_connect``, a disconnect
handler the observers alone):

===============================  ===================================================================
observers                        are told before, and after or of an error; what was rejected is one
plugins, ``socketio_around_*``   may change, refuse or answer
``before_event``                 may refuse or answer, in order of registration
the handler
``after_event``                  may change the answer, the last one registered first
``teardown_event``               learns of the end in any case, the last one registered first
===============================  ===================================================================
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from ..server.interface import waited
from .handlers import ANY, name_of

if TYPE_CHECKING:
    from ..selection import Plugins
    from .handlers import HandlerCall, Handlers


class Around:
    """Call handlers with what stands around them.

    :param log_failed: logs what a function raised whose errors change nothing.
    """

    def __init__(self, handlers: Handlers, plugins: Plugins, log_failed: Callable[..., None]) -> None:
        self._handlers = handlers
        self._plugins = plugins
        self._log_failed = log_failed

    @property
    def attends_connects(self) -> bool:
        """Say whether somebody is asked who may come in, besides connect handlers."""
        return self._plugins.surrounds_connects or any(
            attendant.moment == "connect" for attendant in self._handlers.attendants
        )

    def call(self, call: HandlerCall, function: Callable[..., Any], given: tuple[Any, ...]) -> Any:
        """Call a handler, or the method of a class that handles the event."""
        plugins, client, event = self._plugins, call.client, call.event
        assert event is not None  # nobody stands around a callback
        call.attended = event == "connect"  # a class may invoke a method of its own for it
        if not plugins.observes_events:
            return self._surround(call, event, function, given)
        sid, namespace = client.sid, client.namespace
        plugins.event_before(sid=sid, namespace=namespace, event=event, args=call.args, waited_s=waited.get())
        began_s = time.perf_counter()
        try:
            answer = self._surround(call, event, function, given)
        except BaseException as error:
            duration_s = time.perf_counter() - began_s
            plugins.event_error(sid=sid, namespace=namespace, event=event, error=error, duration_s=duration_s)
            raise
        duration_s = time.perf_counter() - began_s
        plugins.event_after(sid=sid, namespace=namespace, event=event, duration_s=duration_s)
        return answer

    def _surround(
        self, call: HandlerCall, event: str, function: Callable[..., Any], given: tuple[Any, ...]
    ) -> Any:
        client, plugins = call.client, self._plugins
        if event == "disconnect":
            return function(*given)
        if event == "connect":
            last = partial(self._connect, call, function)
            return plugins.around_connect(last, client=client, auth=given[0])
        if event == ANY:  # the handler is called with the name that the client sent
            name, args, function = given[0], given[1:], partial(function, given[0])
        else:
            name, args = event, given
        last = partial(self._handle, call, name, function)
        return plugins.around_event(last, client=client, event=name, args=args)

    def _connect(self, call: HandlerCall, function: Callable[..., Any], auth: Any) -> Any:
        for attendant in self._handlers.attendants:
            if attendant.before_connects(call.client.namespace) and (attendant.function(auth) is False):
                return False
        return function(auth)

    def _handle(
        self, call: HandlerCall, event: str, function: Callable[..., Any], args: tuple[Any, ...]
    ) -> Any:
        attendants = [
            attendant
            for attendant in self._handlers.attendants
            if attendant.attends(event, call.client.namespace, call.blueprint)
        ]
        failure: BaseException | None = None
        try:
            for attendant in attendants:
                if attendant.moment == "before":
                    answer = attendant.function(event, args)
                    if answer is not None:
                        break
            else:
                answer = function(*args)
            for attendant in reversed(attendants):
                if attendant.moment == "after":
                    answer = attendant.function(event, answer)
            return answer
        except BaseException as error:
            failure = error
            raise
        finally:
            for attendant in reversed(attendants):
                if attendant.moment == "teardown":
                    self._tear_down(attendant.function, event, failure)
            failure = None  # or its traceback, which has this frame, would be in a cycle with it

    def _tear_down(self, function: Callable[..., Any], event: str, failure: BaseException | None) -> None:
        try:
            function(event, failure)
        except Exception as error:  # noqa: BLE001  # the client has its answer
            self._log_failed(
                f"teardown_event function {name_of(function)}", function, (event, failure), error
            )
