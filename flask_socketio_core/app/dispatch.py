"""Run one handler inside a Flask context, with its session and errors: what the engine calls on the Flask side."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any

import flask
from flask.json.tag import TaggedJSONSerializer

from ..common.quoting import handler_of, printable
from ..common.repeats import Repeats, kind_of
from ..common.tracebacks import log_error, printable_error
from ..contracts.concurrency.jobs import is_interrupt
from ..errors import EventRejected, refusals
from .around import Around
from .handlers import ANY, RESERVED, HandlerCall, ReservedCall, may_await, name_of, refused_arguments
from .request_context import CALL, SESSION_KEY, Contexts, HandlerContext, ManagedSession
from .trusted_hosts import host_refusal
from .users import REAUTH, flask_login_user, reauth, take_expiry, uses_flask_login

if TYPE_CHECKING:
    import logging
    from types import FrameType

    from ..common.options import Options
    from ..contracts import AsyncMode
    from ..contracts.clients import Client
    from ..errors import InvalidData
    from ..selection import Plugins
    from ..server.interface import AckReply
    from .event_loop import Coroutines
    from .handlers import Handler, Handlers
    from .users import Loader

Steps = Generator[Coroutine[Any, Any, Any], Any, Any]
Job = Callable[[], object]

_FAILED = object()
"""What a handler came to that raised, and whose error nobody handled."""

_UNHANDLED = object()
"""What an event comes to that nobody handles."""

_LATER = object()
"""What stands for what a handler comes to that is not over."""

_session_json = TaggedJSONSerializer()

_runner: ContextVar[Callable[[Job], None]] = ContextVar("flask_socketio_core.runner")


@contextmanager
def run_with(runner: Callable[[Job], None]) -> Iterator[None]:
    """Hand jobs of this context to a runner, instead of the async mode's pool, and let it have the handlers' errors.

    For test clients, whose handlers run in the test itself.
    """
    token = _runner.set(runner)
    try:
        yield
    finally:
        _runner.reset(token)


def run_here(job: Job) -> None:
    """Run a job at once, in a fresh context as in production, and raise what it raises."""
    Context().run(_run_here, job)


def _run_here(job: Job) -> None:
    _runner.set(run_here)
    job()


def run_nested(job: Job) -> None:
    """Run a job at once, in a fresh context, while another one is running."""
    if _runner.get(None) is None:
        Context().run(job)
    else:
        run_here(job)


class Dispatcher:
    """The engine's :class:`~flask_socketio_core.server.interface.Application` for one Flask application.

    :param owner: the ``SocketIO`` object.
    :param observers: the plugins, which are told and asked.
    """

    def __init__(
        self,
        app: flask.Flask,
        handlers: Handlers,
        options: Options,
        mode: AsyncMode,
        observers: Plugins,
        owner: object,
    ) -> None:
        self.app = app
        self.owner = owner
        self.logger: logging.Logger | None = None
        self._repeats = Repeats(time.monotonic)
        self._handlers = handlers
        self._options = options
        self._mode = mode
        self.observers = observers
        self._around = Around(handlers, observers, self._log_failed)
        self.contexts = Contexts(app, managed=options.manage_session)
        namespaces = options.namespaces
        self._accepts_all = namespaces == ANY
        self._accepted = frozenset(("/",) if namespaces is None else namespaces)

    def manage_sessions(self, options: Options) -> None:
        """Follow a change of the option ``manage_session``."""
        self._options = options
        self.contexts = Contexts(self.app, managed=options.manage_session)

    # what the engine calls

    def host_refusal(self, environ: dict[str, Any]) -> str | None:
        """Say why Flask would refuse a request's ``Host``, by ``TRUSTED_HOSTS`` or ``SERVER_NAME``."""
        return host_refusal(self.app, environ)

    def accepts(self, namespace: str) -> bool:
        """Return whether clients may connect to a namespace: one with handlers, or one of the ``namespaces`` option."""
        return self._accepts_all or namespace in self._accepted or self._handlers.has(namespace)

    def on_connect(self, client: Client, auth: Any, reply: Callable[[bool | BaseException], object]) -> None:
        """Run the connect handler; without one, everybody is welcome.

        :raises ConnectionRefusedError: if the handler raised it: python-socketio's, or Python's own.
        """
        client.environ["flask.app"] = self.app
        # An empty auth counts as none, as in python-socketio.
        answer = self._trigger(client, "connect", (client.environ, auth or None), (auth or None,), reply)
        if answer is not _LATER:
            reply(_welcomes(answer))

    def on_recovered(self, client: Client, before: Client) -> None:
        """Let a client that is back go on with its managed session."""
        session = before.environ.get(SESSION_KEY)
        if session is not None:
            client.environ.setdefault(SESSION_KEY, session)

    def pack_session(self, client: Client) -> str | None:
        """Write a client's managed session as text, as Flask does for a cookie.

        :raises TypeError: if there is something in it that Flask could not save either.
        """
        session = client.environ.get(SESSION_KEY)
        return None if session is None else _session_json.dumps(dict(session))

    def unpack_session(self, client: Client, packed: str | None) -> None:
        """Let a client that is away have the managed session that it has had at another server."""
        if packed is not None:
            client.environ.setdefault(SESSION_KEY, ManagedSession(_session_json.loads(packed)))

    def on_connected(self, client: Client) -> None:
        """Tell the observers."""
        if self.observers.observes("socketio_connected"):
            self.observers.connected(
                sid=client.sid, namespace=client.namespace, environ=dict(client.environ), client=client
            )

    def on_event(self, client: Client, event: str, args: tuple[Any, ...], reply: AckReply) -> None:
        """Run an event's handler and reply with what it acknowledges; ``None`` if there is none, or it failed."""
        answer = self._trigger(client, event, args, args, reply)
        if answer is _LATER:
            return
        if answer is None:  # what _acknowledged does, without the call
            answer = ()
        elif answer is _FAILED or answer is _UNHANDLED:
            answer = None
        elif not isinstance(answer, tuple):
            answer = (answer,)
        reply(answer)

    def on_invalid_ack(
        self, client: Client, event: str, args: tuple[Any, ...], error: InvalidData, reply: AckReply
    ) -> None:
        """Treat what a handler returned as if it had raised: its error handler may answer instead."""
        namespace = client.namespace
        handler = self._handlers.find(event, namespace)
        function = handler.function if handler is not None else type(self._handlers.find_class(namespace))
        call = HandlerCall(
            self.owner, self._invoke, client, event, args, self._handle, (client, error), function
        )
        reply(_acknowledged(self._run(call, directly=True)))

    def on_disconnect(self, client: Client, reason: str, reply: Callable[[], object]) -> None:
        """Run the disconnect handler."""
        try:
            answer = self._trigger(client, "disconnect", (reason,), (reason,), reply)
        except BaseException:
            self._tell_disconnected(client, reason)
            raise
        if answer is not _LATER:
            self._tell_disconnected(client, reason)
            reply()

    def _tell_disconnected(self, client: Client, reason: str) -> None:
        self.observers.disconnected(sid=client.sid, namespace=client.namespace, reason=reason, client=client)

    def handle(
        self, client: Client, event: str | None, handler: Callable[..., Any], args: tuple[Any, ...]
    ) -> Any:
        """Run a function as the handler of an event, in the client's context unless that is open already.

        :param args: as a class's ``trigger_event`` gets them, without the sid.
        """
        given = args[1:2] if event == "connect" else args
        function = ReservedCall(handler) if event in RESERVED else handler
        if current_client(self.owner) is client:
            vars(flask.request)["event"] = {"message": event, "args": args}
            return self._invoke_method(
                HandlerCall(self.owner, self._invoke, client, event, args, function, given, handler),
                function,
                given,
            )
        answer = self._run(
            HandlerCall(self.owner, self._invoke, client, event, args, function, given, handler)
        )
        return None if answer is _FAILED else answer

    def close(self, timeout_s: float) -> None:
        """Wait for coroutines, and cancel those that do not end.

        :param timeout_s: how long to wait, seconds.
        """
        coroutines = vars(self).get("coroutines")
        if coroutines is not None:
            coroutines.close(timeout_s)

    @property
    def is_on_loop(self) -> bool:
        """Whether a coroutine of a handler is running here."""
        return "coroutines" in vars(self) and self.coroutines.is_here

    # callbacks

    def acknowledger(self, callback: Callable[..., Any]) -> Callable[..., None]:
        """Wrap a callback so that the engine can call it on the hub.

        It runs in a worker; if it was given in a handler, in that client's Flask context, as in Flask-SocketIO.
        """
        client = current_client(self.owner)
        if client is None:
            job = partial(_run_callback, callback, self)
        else:
            job = partial(self._run_callback_for, client, callback)
        return lambda *args: self.spawn(partial(job, args))

    def spawn(self, job: Job) -> None:
        """Run a job soon in a worker."""
        runner = _runner.get(None)
        (self._mode.spawn if runner is None else runner)(job)

    def _run_callback_for(self, client: Client, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        call = HandlerCall(self.owner, self._invoke, client, None, args, callback, args, callback)
        if may_await(callback):
            self._run_later(call, lambda answer: None)
        else:
            self._run(call)

    # one handler

    def _trigger(
        self,
        client: Client,
        event: str,
        args: tuple[Any, ...],
        given: tuple[Any, ...],
        reply: Callable[..., object],
    ) -> Any:
        """Find and run a handler; one that may be a coroutine function replies itself.

        :param args: what ``request.event["args"]`` is, and what a class's ``trigger_event`` is called with.
        :param given: what a function is called with.
        """
        namespace = client.namespace
        later = event == "connect" and may_await(self._user_loader(namespace) or _welcome)
        functions = self._handlers.functions.get(namespace)
        handler = functions.get(event) if functions else None  # what find() does first, without the call
        if handler is None:
            handler = self._handlers.find(event, namespace)
        if (
            event == REAUTH
            and self._handlers.user_loader is not None
            and namespace not in self._handlers.reserved
            and self._leaves_reauth(handler, namespace)
        ):
            return self._reauth(self._handlers.user_loader, client, args, reply)
        if handler is not None:
            if handler.event == ANY:
                args = given = (event, *args)
            call = HandlerCall(
                self.owner,
                self._invoke,
                client,
                handler.event,
                args,
                handler.call,
                given,
                handler.function,
                handler.blueprint,
            )
            if handler.may_await or later:
                return self._run_later(call, reply)
            return self._run(call)
        instance = self._handlers.find_class(namespace)
        attended = event == "connect" and self._around.attends_connects  # also where nobody handles them
        if instance is not None:
            everywhere = instance.namespace == ANY
            sids = (namespace, client.sid) if everywhere else (client.sid,)
            trigger = partial(instance.trigger_event, event, *sids, *args[: len(args) - len(given)])
            registered = ANY if everywhere else namespace
            # Its own methods are invoked by invoke().
            call = HandlerCall(
                self.owner,
                self._invoke_method,
                client,
                event,
                args,
                trigger,
                given,
                type(instance),
                self._handlers.blueprints.get(registered),
            )
            if later or registered in self._handlers.awaiting:
                return self._run_later(call, reply, directly=not attended)
            return self._run(call, directly=not attended)
        if attended or (event == "connect" and self._user_loader(namespace) is not None):
            call = HandlerCall(self.owner, self._invoke, client, event, args, _welcome, given, _welcome)
            return self._run_later(call, reply) if later else self._run(call)
        return _UNHANDLED

    def _leaves_reauth(self, handler: Handler | None, namespace: str) -> bool:
        """Return whether the application has no handler of its own for that event; one for all events is none."""
        if handler is not None:
            return handler.event == ANY
        return not hasattr(self._handlers.find_class(namespace), f"on_{REAUTH}")

    def _reauth(
        self, load: Loader, client: Client, args: tuple[Any, ...], reply: Callable[..., object]
    ) -> Any:
        """Ask the loader about a client that presents its login anew."""
        ask = partial(reauth, client, load)
        call = HandlerCall(self.owner, self._invoke, client, REAUTH, args, ask, args, load)
        return self._run_later(call, reply) if may_await(load) else self._run(call)

    def _user_loader(self, namespace: str) -> Loader | None:
        """Return what says who a client's user is."""
        if namespace in self._handlers.reserved:
            return None
        loader = self._handlers.user_loader
        if loader is None and uses_flask_login(self.app):
            return flask_login_user
        return loader

    def _call(self, call: HandlerCall, directly: bool) -> Any:
        if directly:
            return call.function(*call.given)
        answer = self._invoke(call, call.function, call.given)
        return self._await(call, answer) if answer.__class__ is CoroutineType else answer

    def _let_in(self, call: HandlerCall, directly: bool) -> Any:
        """Find out whose a client is, and run its connect handler, which may refuse it."""
        load = self._user_loader(call.client.namespace)
        if load is not None:
            user = load(call.given[0])
            if user.__class__ is CoroutineType:
                return self._let_in_later(call, directly, loading=user)
            self._identify(call.client, user)
        answer = self._call(call, directly)
        if answer.__class__ is CoroutineType:
            return self._let_in_later(call, directly, answering=answer)
        take_expiry(call.client)
        return answer

    def _identify(self, client: Client, user: Any) -> None:
        take_expiry(client)  # before anything is done or sent for whose login has ended
        client.user = user

    async def _let_in_later(
        self,
        call: HandlerCall,
        directly: bool,
        *,
        loading: Coroutine[Any, Any, Any] | None = None,
        answering: Coroutine[Any, Any, Any] | None = None,
    ) -> Any:
        from .event_loop import call_either

        if loading is not None:
            await call_either(self._identify, call.client, await loading)
        answer = await (answering if answering is not None else call_either(self._call, call, directly))
        take_expiry(call.client)
        return answer

    def _open(self, call: HandlerCall) -> HandlerContext:
        client = call.client
        attributes = {
            "sid": client.sid,
            "namespace": client.namespace,
            "client": client,
            "event": {"message": call.event, "args": call.args},
            CALL: call,
        }
        if call.event == "connect":
            attributes |= {"recovered": client.recovered, "missed": client.missed}
        return self.contexts.open(client.environ, attributes)

    def _run(self, call: HandlerCall, *, directly: bool = False) -> Any:
        """Run something in the context of a client.

        :param directly: without observers, error handlers and what else stands around a handler.
        """
        try:
            with self._open(call):
                if call.event == "connect":
                    answer = self._let_in(call, directly)
                else:  # what _call does, without the call
                    function, given = call.function, call.given
                    answer = function(*given) if directly else self._invoke(call, function, given)
                if answer.__class__ is CoroutineType:  # nobody could tell before
                    coroutine = answer if directly or call.event == "connect" else self._await(call, answer)
                    answer = self.coroutines.wait(coroutine, copy_context())
                if not self._options.manage_session:
                    self._save_session()
                return answer
        except BaseException as error:  # noqa: BLE001  # a handler may raise anything, such as a green library's Timeout
            return self._fail(call, error)

    def _fail(self, call: HandlerCall, error: BaseException) -> Any:
        """Return what a handler comes to that has raised.

        :raises BaseException: the error, if it is not the handler's affair.
        """
        event = call.event
        if isinstance(error, EventRejected):
            return _FAILED if error.ack is None or event == "connect" else error.ack
        refuses = isinstance(error, (ConnectionRefusedError, *refusals()))
        if is_interrupt(error) or _runner.get(None) is not None or (event == "connect" and refuses):
            raise error
        what = "callback" if event is None else f"handler of event '{printable(event)}':"
        handler = call.handler
        self._log_failed(
            f"{what} {name_of(handler)}",
            getattr(handler, f"on_{event}", handler),
            call.args,
            error,
            client=call.client,
            takes_any=event in RESERVED,
        )
        return _FAILED

    # one that may be a coroutine function

    @functools.cached_property
    def coroutines(self) -> Coroutines:
        """The coroutines of handlers."""
        from .event_loop import Coroutines  # which imports asyncio

        return Coroutines(self._mode, self._options.max_loop_block, self._log(), _handler_in)

    def _run_later(self, call: HandlerCall, reply: Callable[..., object], *, directly: bool = False) -> Any:
        """Run something in the context of a client, and reply when it is over.

        A coroutine runs on the event loop, in a copy of the context; what comes before and after it runs in workers.
        """
        if _runner.get(None) is not None:  # a test waits for it
            answer = self._run(call, directly=directly)
            self._reply(call, reply, answer)
        else:
            context = copy_context()
            self._go_on(self._steps(call, directly=directly), context, call, reply, begins=True)
        return _LATER

    def _steps(self, call: HandlerCall, *, directly: bool) -> Steps:
        """Do as :meth:`_run` does; yield what is to be awaited. All steps are taken in one context."""
        awaiting = False
        try:
            with self._open(call):
                answer = (self._let_in if call.event == "connect" else self._call)(call, directly)
                if answer.__class__ is CoroutineType:
                    awaiting = True
                    answer = yield answer
                    awaiting = False
                if not self._options.manage_session:
                    self._save_session()
                return answer
        except BaseException as error:
            if awaiting and isinstance(error, GeneratorExit):
                raise  # nobody goes on with it, as in a forked child
            return self._fail(call, error)

    def _go_on(
        self,
        steps: Steps,
        context: Context,
        call: HandlerCall,
        reply: Callable[..., object],
        answer: Any = None,
        error: BaseException | None = None,
        *,
        begins: bool = False,
    ) -> None:
        """Take the next step, in a worker: the first one, or with what was awaited."""
        try:
            coroutine = context.run(steps.send, answer) if error is None else context.run(steps.throw, error)
        except StopIteration as stop:
            self._reply(call, reply, stop.value)
        except BaseException as failure:
            if begins:
                raise  # the engine replies
            self._reply_failed(call, reply, failure)
        else:
            self.coroutines.start(coroutine, context, partial(self._go_on, steps, context, call, reply))

    def _reply(self, call: HandlerCall, reply: Callable[..., object], answer: Any) -> None:
        if call.event == "connect":
            reply(_welcomes(answer))
        elif call.event == "disconnect":
            self._tell_disconnected(call.client, call.args[0])
            reply()
        else:
            reply(_acknowledged(answer))

    def _reply_failed(self, call: HandlerCall, reply: Callable[..., object], error: BaseException) -> None:
        if call.event == "connect":
            reply(error)
            if isinstance(error, (ConnectionRefusedError, *refusals())):
                return
        else:
            self._reply(call, reply, _FAILED)
        raise error

    def _log_failed(
        self,
        what: str,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        error: BaseException,
        *,
        client: Client | None = None,
        takes_any: bool = False,
    ) -> None:
        """Log what a handler or a callback raised; a client that brings it about again does not fill the log.

        :param takes_any: the number of arguments is not the client's choice.
        """
        refused = not takes_any and refused_arguments(function, error)
        # Not with the event: its name may be the client's choice.
        more = self._repeats.take((name_of(function), type(error) if refused else kind_of(error)))
        if more is None:
            if not self.app.debug:
                return
            more = ""  # who develops it tries again, and looks for it
        whose = (
            "" if client is None else f" for client {client.sid} on namespace '{printable(client.namespace)}'"
        )
        if refused:
            self._log().error("%s was called with %d arguments%s: %s%s", what, len(args), whose, error, more)
        else:
            log_error(self._log(), error, "%s failed%s: %s%s", what, whose, printable_error(error), more)

    def _invoke(self, call: HandlerCall, function: Callable[..., Any], given: tuple[Any, ...]) -> Any:
        """Call a handler; what it raises goes to the observers and to the error handler of its namespace."""
        try:
            if (self.observers.attends_events or self._handlers.attendants) and not call.attended:
                return self._around.call(call, function, given)
            return function(*given)
        except EventRejected:
            raise  # an answer rather than an error
        except refusals():
            raise  # likewise
        except BaseException as error:  # raised again, or the error handler's
            if is_interrupt(error):
                raise
            return self._handle(call.client, error)

    def _invoke_method(self, call: HandlerCall, function: Callable[..., Any], given: tuple[Any, ...]) -> Any:
        """Call the method of a class that handles an event; as :meth:`_invoke`."""
        answer = self._invoke(call, function, given)
        return self._await(call, answer) if answer.__class__ is CoroutineType else answer

    async def _await(self, call: HandlerCall, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Await a handler; what it raises goes the same way."""
        from asyncio import CancelledError

        from .event_loop import call_either

        try:
            return await coroutine
        except EventRejected:
            raise
        except refusals():
            raise
        except BaseException as error:
            handle = self._handlers.error_handler(call.client.namespace)
            if handle is None or is_interrupt(error) or isinstance(error, (GeneratorExit, CancelledError)):
                raise
            return await call_either(handle, error)

    def _handle(self, client: Client, error: BaseException) -> Any:
        """Return what the error handler answers; raise the error if there is none."""
        handle = self._handlers.error_handler(client.namespace)
        if handle is None:
            raise error
        return handle(error)

    def _save_session(self) -> None:
        session = flask.session._get_current_object()  # type: ignore[attr-defined]  # a LocalProxy
        if getattr(session, "modified", True):
            self.app.session_interface.save_session(self.app, session, self.app.response_class())

    def _log(self) -> logging.Logger:
        assert self.logger is not None  # set once the engine is there
        return self.logger


def _handler_in(frame: FrameType) -> str | None:
    """Return which handler a frame awaits."""
    if frame.f_code is not _AWAITS:
        return None
    call: HandlerCall = frame.f_locals["call"]
    return "a callback" if call.event is None else handler_of(call.event, call.client.namespace)


_AWAITS = Dispatcher._await.__code__


def _welcomes(answer: Any) -> bool:
    """Return whether a connect handler's answer lets the client in."""
    return answer is not False and answer is not _FAILED


def _acknowledged(answer: Any) -> tuple[Any, ...] | None:
    """Return the values that a handler's answer acknowledges; ``None`` for no acknowledgement."""
    if answer is _FAILED or answer is _UNHANDLED:
        return None
    if answer is None:
        return ()
    return answer if isinstance(answer, tuple) else (answer,)


def _run_callback(callback: Callable[..., Any], dispatcher: Dispatcher, args: tuple[Any, ...]) -> None:
    try:
        answer = callback(*args)
        if answer.__class__ is CoroutineType:
            dispatcher.coroutines.wait(answer, copy_context())
    except BaseException as error:  # a callback may raise anything
        if is_interrupt(error) or _runner.get(None) is not None:
            raise
        dispatcher._log_failed(f"callback {name_of(callback)}", callback, args, error)


def _welcome(auth: Any) -> None:
    """Stand for the connect handler of a namespace that has none."""


def current_call() -> HandlerCall | None:
    """Return what is running, or ``None`` outside of handlers and their callbacks."""
    if not flask.has_request_context():
        return None
    call: HandlerCall | None = vars(flask.request._get_current_object()).get(CALL)  # type: ignore[attr-defined]  # a LocalProxy
    return call


def current_client(owner: object | None = None) -> Client | None:
    """Return the client whose handler is running, or ``None``.

    :param owner: only if it is a handler of this ``SocketIO`` object; ``None`` for any.
    """
    call = current_call()
    return None if call is None or (owner is not None and call.owner is not owner) else call.client


def invoke(method: Callable[..., Any], given: tuple[Any, ...]) -> Any:
    """Run a method of a class-based namespace as its event's handler; directly if no event is being handled."""
    call = current_call()
    return method(*given) if call is None else call.invoke(call, method, given)
