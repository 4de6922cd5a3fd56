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
from collections.abc import Callable, Coroutine
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any

from ..server.interface import waited
from .handlers import ANY, may_await, name_of

if TYPE_CHECKING:
    from ..contracts.clients import Client
    from ..selection import Plugins
    from .handlers import Attendant, HandlerCall, Handlers


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
        """Whether somebody is asked who may come in, besides connect handlers."""
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
        if answer.__class__ is CoroutineType:
            return self._tell_later(answer, client, event, began_s)
        duration_s = time.perf_counter() - began_s
        plugins.event_after(sid=sid, namespace=namespace, event=event, duration_s=duration_s)
        return answer

    async def _tell_later(
        self, coroutine: Coroutine[Any, Any, Any], client: Client, event: str, began_s: float
    ) -> Any:
        """Tell of the end of a coroutine."""
        from .event_loop import call_either

        plugins, sid, namespace = self._plugins, client.sid, client.namespace
        try:
            answer = await coroutine
        except BaseException as error:
            tell = partial(plugins.event_error, sid=sid, namespace=namespace, event=event, error=error)
            await call_either(partial(tell, duration_s=time.perf_counter() - began_s))
            raise
        duration_s = time.perf_counter() - began_s
        await call_either(
            partial(plugins.event_after, sid=sid, namespace=namespace, event=event, duration_s=duration_s)
        )
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
        attendants = [
            attendant
            for attendant in self._handlers.attendants
            if attendant.before_connects(call.client.namespace)
            and self._handlers.reaches(attendant, call.client.namespace)
        ]
        if any(may_await(attendant.function) for attendant in attendants):
            return self._connect_later(attendants, function, auth)
        for attendant in attendants:
            if attendant.function(auth) is False:
                return False
        return function(auth)

    async def _connect_later(
        self, attendants: list[Attendant], function: Callable[..., Any], auth: Any
    ) -> Any:
        from .event_loop import call_either

        for attendant in attendants:
            if await call_either(attendant.function, auth) is False:
                return False
        return await call_either(function, auth)

    def _handle(
        self, call: HandlerCall, event: str, function: Callable[..., Any], args: tuple[Any, ...]
    ) -> Any:
        attendants = [
            attendant
            for attendant in self._handlers.attendants
            if attendant.attends(event, call.client.namespace, call.blueprint)
            and self._handlers.reaches(attendant, call.client.namespace)
        ]
        if any(may_await(attendant.function) for attendant in attendants):
            return self._end_later(self._begin_later(attendants, event, function, args), attendants, event)
        failure: BaseException | None = None
        later = False
        try:
            for attendant in attendants:
                if attendant.moment == "before":
                    answer = attendant.function(event, args)
                    if answer is not None:
                        break
            else:
                answer = function(*args)
            if answer.__class__ is CoroutineType:
                later = True
                return self._end_later(answer, attendants, event)
            for attendant in reversed(attendants):
                if attendant.moment == "after":
                    answer = attendant.function(event, answer)
            return answer
        except BaseException as error:
            failure = error
            raise
        finally:
            if not later:
                for attendant in reversed(attendants):
                    if attendant.moment == "teardown":
                        self._tear_down(attendant.function, event, failure)
            failure = None  # or its traceback, which has this frame, would be in a cycle with it

    async def _begin_later(
        self,
        attendants: list[Attendant],
        event: str,
        function: Callable[..., Any],
        args: tuple[Any, ...],
    ) -> Any:
        """Do as :meth:`_handle` does up to the handler, where some of it has to be awaited."""
        from .event_loop import call_either

        for attendant in attendants:
            if attendant.moment == "before":
                answer = await call_either(attendant.function, event, args)
                if answer is not None:
                    return answer
        return await call_either(function, *args)

    async def _end_later(
        self, coroutine: Coroutine[Any, Any, Any], attendants: list[Attendant], event: str
    ) -> Any:
        """Do as :meth:`_handle` does from the handler on, for one that has to be awaited."""
        from .event_loop import call_either

        failure: BaseException | None = None
        try:
            answer = await coroutine
            for attendant in reversed(attendants):
                if attendant.moment == "after":
                    answer = await call_either(attendant.function, event, answer)
            return answer
        except BaseException as error:
            failure = error
            raise
        finally:
            for attendant in reversed(attendants):
                if attendant.moment == "teardown":
                    await self._tear_down_later(attendant.function, event, failure)
            failure = None  # or its traceback, which has this frame, would be in a cycle with it

    async def _tear_down_later(
        self, function: Callable[..., Any], event: str, failure: BaseException | None
    ) -> None:
        from .event_loop import call_either

        try:
            await call_either(function, event, failure)
        except Exception as error:  # noqa: BLE001  # the client has its answer
            await call_either(self._log_torn_down, function, event, failure, error)

    def _tear_down(self, function: Callable[..., Any], event: str, failure: BaseException | None) -> None:
        try:
            function(event, failure)
        except Exception as error:  # noqa: BLE001  # the client has its answer
            self._log_torn_down(function, event, failure, error)

    def _log_torn_down(
        self,
        function: Callable[..., Any],
        event: str,
        failure: BaseException | None,
        error: BaseException,
    ) -> None:
        self._log_failed(f"teardown_event function {name_of(function)}", function, (event, failure), error)
