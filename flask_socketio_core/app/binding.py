"""What one ``SocketIO`` object has for one application: the selected parts, and the way to the clients."""

from __future__ import annotations

import dataclasses
import os
import time
import uuid
import weakref
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any

import flask

from ..cluster import calls_to_all
from ..cluster.clients import ClientsHere, Finding
from ..cluster.one_server import OneServer
from ..common.reasons import check_reason
from ..common.sendable import carries_all
from ..common.tracebacks import log_error
from ..contracts import urls
from ..contracts.concurrency import gunicorn
from ..contracts.fork import OncePerProcess, ProcessFlag, register_at_fork
from ..contracts.workers import find_group
from ..errors import ClientGone, PartUnsuitable, PluginFailed, QueueError
from ..server import calling
from ..server.engine import Engine
from .background_tasks import StartedTasks
from .client_managers import adopt
from .dispatch import Dispatcher, run_nested
from .facade import ServerFacade
from .interfaces import HANDED_ON_S, SHUTDOWN_S
from .loop_emitter import LoopEmitter
from .request_context import VISIT_KEY
from .watched import Watched
from .worker_queue import identity, joined, name_for

if TYPE_CHECKING:
    from collections.abc import Iterable

    from _typeshed.wsgi import StartResponse, WSGIEnvironment

    from ..cluster.cluster import Cluster
    from ..cluster.gaps import Gap
    from ..cluster.link import BusHealth
    from ..common.options import Options
    from ..contracts import AsyncMode, Handle, Task
    from ..contracts.clients import CallAnswers, Emission
    from ..contracts.process import WorkerGroup
    from ..errors import CallError
    from ..selection import Plugins
    from ..server.interface import Emitter, OwnServer
    from ..store.current import CurrentStore
    from .handlers import Handlers
    from .history import History
    from .interfaces import Owner
    from .once import Once
    from .packing import Packing

FLUSH_S = 1.0
"""How long to wait at the end until the store has what was emitted last, seconds."""
JOIN_S = 1.5
"""How long a process's first clients wait until messages of other servers arrive here, seconds. With a broker that is
away they go on without them."""


_is_setting_up: ContextVar[bool] = ContextVar("flask_socketio_core.is_setting_up")
"""A plugin may make requests to the application in its set-up; they must not wait for the end of that."""


class AppJson:
    """Flask's JSON, which changes with the application context, tied to one application."""

    def __init__(self, app: flask.Flask) -> None:
        self._app = app

    def dumps(self, *args: Any, **kwargs: Any) -> str:
        """Serialise as ``flask.json.dumps`` does inside the application's context."""
        return self._app.json.dumps(*args, **kwargs)

    def loads(self, *args: Any, **kwargs: Any) -> Any:
        """Deserialise as ``flask.json.loads`` does inside the application's context."""
        return self._app.json.loads(*args, **kwargs)


def _shut_down(binding: weakref.ref[Binding]) -> None:
    if (found := binding()) is not None:
        found.shutdown()


def _ignore(*values: object) -> None:
    """Take what nobody asked for."""


class Binding:
    """The parts in use.

    Constructing it connects to nothing and starts nothing; the first request does.

    :param app: the application; ``None`` for a process that only sends.
    :param options: the checked options.
    :param mode: the selected async mode.
    :param owner: the ``SocketIO`` object.
    :raises SelectionError: if a provider or queue that was asked for cannot be had.
    """

    def __init__(
        self,
        app: flask.Flask | None,
        options: Options,
        mode: AsyncMode,
        plugins: Plugins,
        handlers: Handlers,
        owner: Owner,
    ) -> None:
        options = adopt(options)
        self._group = find_group() if app is not None and options.share_sessions else None
        self._joined = False
        self._name = ""
        if app is not None and self._group is not None:
            self._name = name_for(options, app, self._group)
            options, asked = joined(options, self._name, self._group, plugins), options
            self._joined = options is not asked
        if options.json is flask.json and app is not None:
            options = dataclasses.replace(options, json=AppJson(app))
        self.app = app
        self.owner = owner
        self.handlers = handlers
        self.options = options
        self.mode = mode
        self.plugins = plugins
        self.engine: Engine | None = None
        self.dispatcher: Dispatcher | None = None
        if app is not None:
            self._make_engine(app, handlers, owner)
        self.cluster = self._make_cluster() if options.message_queue else None
        self._store = self._make_store(options.store) if options.store else None
        self._store_lock = mode.create_lock()
        self._once: Once | None = None
        self._history: History | None = None
        self.servers = self.cluster or self._make_one_server()
        self.finding = self._make_finding()
        self.watched = self._make_watched()
        self.started = OncePerProcess(mode)
        """Whether this process serves: since its first request to our path."""
        self.plugins_set_up = OncePerProcess(mode)
        """Whether the plugins are set up in this process: since its first request of whatever kind."""
        self._unsuitable: PartUnsuitable | None = None
        self._tasks = StartedTasks()
        self._at_exit: Handle | None = None
        self._ends_in_order = ProcessFlag()
        self._worker: Any = None  # gunicorn's, which serves the requests
        self.keywords: dict[str, Any] = {}
        self._begin_afresh()
        register_at_fork(after_in_child=self._begin_afresh)
        self.facade = ServerFacade(self)

    def _begin_afresh(self) -> None:
        self._failed: PluginFailed | None = None
        self._loop_emitter: LoopEmitter | None = None

    def _make_engine(self, app: flask.Flask, handlers: Handlers, owner: Owner) -> None:
        selected = self.plugins.select_websocket_providers(self.mode.name, self.options.websocket_provider)
        providers = [selection.make() for selection in selected]
        for provider, selection in zip(providers, selected, strict=True):
            provider.summary = selection.info.summary
            provider.serve_at(self.options.endpoint)
        self.dispatcher = Dispatcher(app, handlers, self.options, self.mode, self.plugins, owner)
        self.engine = Engine(self.dispatcher, self.options, self.mode, providers)
        self.dispatcher.logger = self.engine.server.logger

    def _make_cluster(self) -> Cluster:
        from ..cluster.cluster import Cluster

        url = self.options.message_queue
        assert url is not None
        selected = self.plugins.select_queue(url)
        cluster = Cluster(
            partial(selected.make, tell=partial(urls.describe, url=url)),
            url,
            self.options.channel,
            mode=self.mode,
            options=self.options.message_queue_options,
            server=self.server,
            json=self.options.json,
            max_attachments=None if carries_all(self.options.serializer) else self.options.max_attachments,
            on_state=lambda up, detail: self.plugins.bus_state(up=up, detail=detail),
            on_gap=self._on_gap,
            on_server=lambda node, up: self.plugins.server_state(node=node, up=up),
            observers=self.plugins,
            topics=self.owner._topics,
            context=self._app_context,
        )
        if self.server is not None and self.server.recoveries is not None:
            cluster.recover(self.server.recoveries)
        return cluster

    def _on_gap(self, gap: Gap) -> None:
        if self._history is not None and not gap.resumed:
            self._history.reload()
        self.plugins.bus_gap(**dataclasses.asdict(gap))

    def _make_store(self, url: str) -> CurrentStore:
        from ..store.current import CurrentStore

        selected = self.plugins.select_store(url)
        return CurrentStore(
            partial(selected.make, tell=partial(urls.describe, url=url)),
            url,
            self.options.channel,
            mode=self.mode,
            options=self.options.store_options,
        )

    @property
    def store(self) -> CurrentStore:
        """Where things are kept for a while: the one that the options name, or else the memory of this process."""
        store = self._store
        if store is None:
            made = self._make_own_store()
            with self._store_lock:
                store = self._store = self._store or made
        return store

    @property
    def once(self) -> Once:
        """What is remembered of the events that are handled once."""
        if self._once is None:
            self._make_once()
        assert self._once is not None  # it was made
        return self._once

    def _make_once(self) -> None:
        from .once import Once

        once = Once(self.store, self.mode, self.options.once_ttl, self._packing(), self.plugins)
        with self._store_lock:
            self._once = self._once or once

    def _packing(self) -> Packing:
        from .packing import Packing

        return Packing(self.options.json, strict=not carries_all(self.options.serializer))

    @property
    def history(self) -> History:
        """What was sent to rooms lately; made when a room has a history."""
        if self._history is None:
            self._make_history()
        assert self._history is not None  # it was made
        return self._history

    def history_of(self, room: Any) -> History:
        """Return the histories, of which a room's is asked for.

        :raises ValueError: if no room has one.
        """
        if self.handlers.histories is None:
            raise ValueError(f"room {room!r} has no history to rewind: socketio.history({room!r})")
        return self.history

    def _make_history(self) -> None:
        from .history import History

        declared = self.handlers.histories
        assert declared is not None  # or nobody would ask
        shared = self._store if self._store is not None and self._store.is_shared else None
        packing, asks = self._packing(), self.cluster is not None
        with self._store_lock:
            if self._history is None:
                self._history = History(
                    declared, self.mode, self.server, shared, self.servers, packing, self.plugins, asks=asks
                )

    def health(self) -> BusHealth | None:
        """Return how the connection to the other servers is; ``None`` without a queue."""
        return None if self.cluster is None else dataclasses.replace(self.cluster.health(), **self.kept())

    def kept(self) -> dict[str, Any]:
        """Return what is kept for a while, for :meth:`SocketIO.load` and :meth:`SocketIO.health`."""
        history, once = self._history, self._once
        return {
            "history": None if history is None else history.load(),
            "once": None if once is None else once.load(),
        }

    def _make_own_store(self) -> CurrentStore:
        from ..store.current import CurrentStore
        from ..store.memory import MemoryStore

        url = f"memory://{uuid.uuid4().hex}"  # nobody else's
        return CurrentStore(
            MemoryStore, url, self.options.channel, mode=self.mode, options=self.options.store_options
        )

    def _make_one_server(self) -> OneServer:
        return OneServer(
            self.owner._topics,
            mode=self.mode,
            server=self.server,
            json=self.options.json,
            strict=not carries_all(self.options.serializer),
            context=self._app_context,
        )

    def _make_finding(self) -> Finding:
        servers = self.servers
        here = None
        if self.server is not None:
            here = ClientsHere(self.server, lambda: servers.node, self._message_bytes())
        return Finding(servers, here)

    def _make_watched(self) -> Watched | None:
        if self.server is None:
            return None
        cluster = self.cluster
        return Watched(
            self.plugins,
            self.server,
            self.mode,
            lambda: None if cluster is None else cluster.health(),
            self._message_bytes(),
        )

    def _message_bytes(self) -> Callable[[], int | None]:
        """Return what tells how large a message to another server may be."""
        cluster = self.cluster
        return lambda: None if cluster is None else cluster.max_message_bytes

    def _app_context(self) -> AbstractContextManager[object]:
        return nullcontext() if self.app is None else self.app.app_context()

    @property
    def server(self) -> OwnServer | None:
        """The clients of this process, or ``None`` in a process that only sends."""
        return self.engine.server if self.engine is not None else None

    @property
    def emitter(self) -> Emitter:
        """What reaches all clients, wherever they are connected."""
        emitter: Emitter | None = self.cluster or self.server
        assert emitter is not None  # without an application there is a queue
        return self._from_loop(emitter) or emitter

    def emitter_for(self, *, local: bool) -> Emitter | None:
        """Return what reaches all clients, or those of this process; ``None`` if there is nobody to reach."""
        return self.server if local else self.emitter

    @property
    def is_on_loop(self) -> bool:
        """Whether a coroutine of a handler is running here."""
        return self.dispatcher is not None and self.dispatcher.is_on_loop

    def _from_loop(self, emitter: Emitter) -> LoopEmitter | None:
        """Return what sends if this is the event loop and brokers' connections belong to the hub's thread."""
        if self.cluster is None or not self.mode.capabilities.green or not self.is_on_loop:
            return None
        if self._loop_emitter is None:
            self._loop_emitter = LoopEmitter(emitter, self.server, self.mode)
        return self._loop_emitter

    def tell(self, topic: str, payload: Any) -> None:
        """Tell the other servers, in a coroutine soon; see :meth:`Servers.tell`."""
        soon = None if self.cluster is None else self._from_loop(self.cluster)
        if soon is not None:
            soon.put(partial(self.servers.tell, topic, payload))
        else:
            self.servers.tell(topic, payload)

    def replace(self, old: Binding) -> None:
        """Take the place of another binding; who holds its facade looks at this one from now on."""
        self.facade = old.facade
        self.facade._follow(self)

    def manage_sessions(self, managed: bool) -> None:
        """Change the option ``manage_session``; open connections follow with their next event."""
        self.options = dataclasses.replace(self.options, manage_session=managed)
        if self.dispatcher is not None and self.server is not None:
            self.dispatcher.manage_sessions(self.options)
            for session in list(self.server.sessions.values()):
                session.environ.pop(VISIT_KEY, None)

    # serving

    def handle(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve a request to our path.

        :raises PartUnsuitable: if the async mode does not fit the server that made the request.
        """
        assert self.engine is not None
        if self._failed is not None:
            raise self._failed.with_traceback(None)  # or it would keep the frames of every request
        if not self.started.is_set() and self.engine.server.accepting:
            self.started.run(partial(self._start, environ))
        if self._unsuitable is not None:
            raise self._unsuitable.with_traceback(None)
        if self._worker is not None and "sid=" in environ.get("QUERY_STRING", ""):
            # A client counts once, as its WebSocket would, however often it polls.
            gunicorn.uncount(self._worker)
        return self.engine.handle(environ, start_response)

    def set_up(self) -> None:
        """Set the plugins up in this process; returns when that is done, by whatever task."""
        assert self.app is not None and self.server is not None  # it is asked by what serves them
        if self.server.accepting and not _is_setting_up.get(False):
            self.plugins_set_up.run(self._set_up)

    def _set_up(self) -> None:
        assert self.app is not None and self.server is not None
        _is_setting_up.set(True)
        try:
            if self.plugins.observes("socketio_teardown"):
                self._be_shut_down_at_exit()  # this process may end before any client comes
            self.plugins.set_up(self.app)
            self._join_if_addressed()
        except PluginFailed as error:
            self._failed = error
            log_error(self.server.logger, error, "%s", error)
        finally:
            _is_setting_up.set(False)
            self.plugins_set_up.set()  # whatever came of it: a part of it may be done

    def _join_if_addressed(self) -> None:
        """Join the other servers already, if the application or a plugin has topics: these tell this one, too.

        Without them nothing that a page can ask needs that, and a process that serves pages alone shall not have to
        read what is emitted.
        """
        if self.cluster is None or not self.owner._topics.are_open:
            return
        self._be_shut_down_at_exit()
        try:
            self.cluster.start()
        except Exception as error:  # noqa: BLE001  # is raised by the first request to our path, and no page's fault
            assert self.server is not None
            log_error(self.server.logger, error, "cannot join the other servers: %s", error)

    def _start(self, environ: WSGIEnvironment) -> None:
        """Do what has to be done once per process that serves, at its first request."""
        try:
            self._start_here(environ)
        finally:
            self.started.set()  # whatever came of it, likewise

    def _start_here(self, environ: WSGIEnvironment) -> None:
        self._tell_of_inherited_tasks()
        verdict = self.mode.check_request(environ)
        self._unsuitable = None if verdict.usable else PartUnsuitable(verdict.reason)
        self._be_shut_down_at_exit()
        self._record()
        self._worker = gunicorn.find_worker()
        if self._group is not None and self._unsuitable is None:
            self._join_workers(self._group)
        if self.cluster is not None and self._unsuitable is None:
            try:
                self.cluster.start()
                self.cluster.await_subscription(JOIN_S)
            except PartUnsuitable as error:
                self._unsuitable = error
        if self._store is not None and self._unsuitable is None:
            try:
                self._store.check_mode()
            except PartUnsuitable as error:
                self._unsuitable = error

    def _join_workers(self, group: WorkerGroup) -> None:
        assert self.engine is not None
        logger = self.engine.server.logger
        if not self.mode.capabilities.watches:
            logger.warning(
                "one of %d workers of %s, which do not serve each other's sessions: async_mode=%r has no epoll here",
                group.count,
                group.server,
                self.mode.name,
            )
            return
        try:
            workers = self.engine.join_workers(self._name, self._queue_of)
        except OSError as error:
            logger.warning(
                "one of %d workers of %s, which cannot serve each other's sessions: %s; clients need sticky sessions",
                group.count,
                group.server,
                error,
            )
            return
        logger.info(
            "one of %d workers of %s: sessions are shared with %d others in %s",
            group.count,
            group.server,
            workers.others(),
            workers.path,
        )

    def _queue_of(self, application: str) -> str:
        """Return the URL of the message queue that was chosen for an application's workers, if that is this one."""
        assert self.app is not None
        chosen = self._joined and application == identity(self.options, self.app)
        return (self.options.message_queue or "") if chosen else ""

    def _be_shut_down_at_exit(self) -> None:
        if self._ends_in_order.is_set():
            return
        # Not kept alive by that: tests make many applications, and end none.
        self._at_exit = self.mode.on_exit(partial(_shut_down, weakref.ref(self)))
        self._ends_in_order.set()
        weakref.finalize(self, self._at_exit.cancel).atexit = False

    def start_task(self, target: Callable[..., object], *args: Any, **kwargs: Any) -> Task:
        """Start a background task."""
        task = self.mode.start_task(target, *args, **kwargs)
        self._tasks.add(task, target)
        return task

    def _tell_of_inherited_tasks(self) -> None:
        where = (
            "a greenlet runs in every process that was forked since"
            if self.mode.capabilities.green
            else "it runs there, where no client is connected, and not here"
        )
        for name in self._tasks.take_inherited():
            assert self.server is not None  # it serves
            self.server.logger.warning(
                "the background task %s was started before this worker (process %d) was forked: %s; start it in the "
                "worker instead, for instance in a connect handler, gunicorn's post_worker_init or uWSGI's postfork",
                name,
                os.getpid(),
                where,
            )

    def join(self) -> None:
        """Do what the first request does, for clients that do not come over HTTP.

        :raises PluginFailed: if a plugin could not be set up.
        """
        if not self.plugins_set_up.is_set():
            self.set_up()
        if self._failed is not None:
            raise self._failed
        self._record()
        if self.cluster is not None:
            self.cluster.start()

    def _record(self) -> None:
        """Begin to keep what is sent to rooms that have a history."""
        if self.handlers.histories is not None:
            self._make_history()

    def resume(self) -> None:
        """Take connections again, after an earlier :meth:`shutdown`."""
        self.started.clear()  # the first request joins the other servers again
        if self.engine is not None:
            self.engine.server.accepting = True

    def shutdown(self, timeout_s: float = SHUTDOWN_S) -> None:
        """Close every connection, run the disconnect handlers and send what still waits for the queue.

        :param timeout_s: how long the handlers may take, seconds.
        """
        begun_s = time.monotonic()
        at_exit, self._at_exit = self._at_exit, None
        if self.cluster is not None:
            self.cluster.begin_end(others_follow=self._group is not None)
        self._ends_in_order.clear()
        if self.engine is not None:
            self.engine.shutdown(timeout_s, gunicorn.still_listens)
        if self.dispatcher is not None:
            self.dispatcher.close(max(timeout_s - (time.monotonic() - begun_s), 0))
        self.started.clear()  # not before: a request that comes meanwhile must start nothing
        if self.plugins_set_up.is_set() and self.app is not None:
            self.plugins_set_up.clear()
            if self._failed is None:
                self.plugins.tear_down(self.app)
        if self._history is not None:
            self._history.flush(FLUSH_S)
        if self.cluster is not None:
            self._hand_on(self.cluster, time.monotonic() - begun_s)
            self.cluster.close()
        if self._store is not None:
            self._store.close()
        if at_exit is not None:
            at_exit.cancel()

    def _hand_on(self, cluster: Cluster, elapsed_s: float) -> None:
        """Let other servers keep what clients that have lost their connection come back to.

        :param elapsed_s: how long this process is about to end already, seconds.
        """
        if self.server is None or self.server.recoveries is None:
            return
        logger = self.server.logger
        try:
            graceful_s = gunicorn.graceful_s()
            most_s = HANDED_ON_S if graceful_s is None else min(HANDED_ON_S, graceful_s - 1)
            left = cluster.hand_on(max(most_s - elapsed_s, 1.0))
        except QueueError as error:
            log_error(logger, error, "clients that have lost their connection start anew")
        else:
            if left:
                logger.warning(
                    "%d clients that have lost their connection start anew: no other server keeps their state",
                    left,
                )

    # sending

    def emit(
        self,
        emission: Emission,
        callback: Callable[..., Any] | None = None,
        timeout_s: float | None = None,
        on_timeout: Callable[[CallError], Any] | None = None,
    ) -> None:
        """Send an event to clients.

        :param callback: called with what a client acknowledges, in a worker.
        :param timeout_s: how long that may take, seconds; ``None`` for as long as the options allow.
        :param on_timeout: called in a worker if nobody has acknowledged by then, or as soon as nobody will.
        :raises ValueError: if one of these is given without what it belongs to.
        """
        if callback is not None:
            emission = emission._replace(on_ack=self._acknowledger(callback))
        if timeout_s is not None or on_timeout is not None:
            last = self._expecting(emission, timeout_s, on_timeout)
            self.plugins.around_emit(last, emission=emission)
        elif self.plugins.surrounds_emits:
            self.plugins.around_emit(self._send, emission=emission)
        else:
            self._send(emission)

    def _send(self, emission: Emission) -> None:
        if self.plugins.observes_emits:
            self._tell_emission(emission, emission.to)
        if self.handlers.histories is not None:
            emission = self.history.mark(emission)
        if not emission.local:
            self.emitter.emit(emission)
        elif self.server is not None:
            self.server.emit(emission)

    def _expecting(
        self, emission: Emission, timeout_s: float | None, on_timeout: Callable[[CallError], Any] | None
    ) -> Callable[[Emission], None]:
        """Return what sends an emission and waits for the acknowledgement so long."""
        if timeout_s is None:
            raise ValueError("on_timeout= needs timeout=, the seconds that an acknowledgement may take")
        if on_timeout is None and emission.on_ack is None:
            raise ValueError("timeout= is for an acknowledgement: pass callback= or on_timeout=, too")
        on_failure = _ignore if on_timeout is None else self._acknowledger(on_timeout)
        return partial(self._send_expecting, timeout_s, on_failure)

    def _send_expecting(
        self, timeout_s: float, on_failure: Callable[[CallError], object], emission: Emission
    ) -> None:
        to = emission.to
        if to is None or len(to) != 1:
            raise ValueError(
                "timeout= is for the acknowledgement of one client or one room: give its sid or name as to="
            )
        try:
            ask, timeout_s = self._question(emission, to[0], timeout_s)
        except ClientGone as error:
            on_failure(error)
            return
        on_ack = emission.on_ack or _ignore
        expectation = calling.Expectation(
            self.mode, emission.event, to[0], timeout_s, on_ack=on_ack, on_failure=on_failure
        )
        if self.emitter is self._loop_emitter:
            self._loop_emitter.put(partial(expectation.begin, ask))
        else:
            expectation.begin(ask)

    def _tell_emission(self, emission: Emission, to: tuple[Any, ...] | None) -> None:
        self.plugins.emit(event=emission.event, namespace=emission.namespace, to=to, args=emission.args)

    def call(self, emission: Emission, to: str, timeout_s: float | None) -> Any:
        """Send an event to one client and return what it acknowledges: a value, a tuple of several, or ``None``.

        :raises CallTimeout: if it does not within the time-out.
        :raises ClientGone: if it leaves before.
        """
        ask, timeout_s = self._question(emission, to, timeout_s)
        return calling.unpacked(calling.wait(self.mode, ask, emission.event, to=to, timeout_s=timeout_s))

    async def call_async(self, emission: Emission, to: str, timeout_s: float | None) -> Any:
        """Do as :meth:`call` does, in a coroutine."""
        ask, timeout_s = self._question(emission, to, timeout_s)
        return calling.unpacked(await calling.wait_async(ask, emission.event, to=to, timeout_s=timeout_s))

    def call_all(self, emission: Emission, timeout_s: float, *, returns: bool) -> CallAnswers:
        """Send an event to clients and return what each acknowledges.

        :param returns: also if the time is over; otherwise it is an error.
        :raises CallTimeout: if somebody has not acknowledged by then.
        """
        answers = calls_to_all.wait(self.mode, self._begin_call_all(emission, timeout_s))
        return answers if returns else calls_to_all.in_time(answers, emission.event, timeout_s)

    async def call_all_async(self, emission: Emission, timeout_s: float, *, returns: bool) -> CallAnswers:
        """Do as :meth:`call_all` does, in a coroutine."""
        answers = await calls_to_all.wait_async(self.mode, self._begin_call_all(emission, timeout_s))
        return answers if returns else calls_to_all.in_time(answers, emission.event, timeout_s)

    def call_all_back(
        self, emission: Emission, timeout_s: float, callback: Callable[[CallAnswers], Any]
    ) -> None:
        """Send an event to clients, and call back once with what they acknowledge."""
        back = calls_to_all.CallBack(self.mode, self._acknowledger(callback))
        begin = partial(back.begin, self._begin_call_all(emission, timeout_s))
        if self.emitter is self._loop_emitter:
            self._loop_emitter.put(begin)
        else:
            begin()

    def _begin_call_all(self, emission: Emission, timeout_s: float) -> calls_to_all.Begin:
        if self.plugins.observes_emits:
            self._tell_emission(emission, emission.to)
        return partial(self.servers.call_all, emission, timeout_s)

    def _question(self, emission: Emission, to: str, timeout_s: float | None) -> tuple[calling.Ask, float]:
        timeout_s = calling.FOREVER_S if timeout_s is None else timeout_s
        if self.plugins.observes_emits:
            self._tell_emission(emission, (to,))
        server = self.server
        if server is not None and (self.cluster is None or emission.local):
            return calling.question(server, emission, to), timeout_s
        if emission.local:
            raise ClientGone(
                f"cannot call {emission.event!r} locally: this process only sends and has no clients"
            )
        assert self.cluster is not None  # a process that only sends has a queue
        return self.cluster.question(emission, to, timeout_s)

    def disconnect(self, sid: str, namespace: str, reason: str, *, ignore_queue: bool = False) -> None:
        """Disconnect a client; that of this process has had its disconnect handler when this returns.

        :raises ValueError: if the reason is not one of an application's.
        :param ignore_queue: only if it is connected to this process.
        """
        why = check_reason(reason)
        server = self.server
        if server is not None and (ignore_queue or server.is_connected(sid, namespace)):
            # A handler that is no coroutine has no place on the event loop.
            server.disconnect(sid, namespace, why, None if self.is_on_loop else run_nested)
        else:
            self.emitter.disconnect(sid, namespace, why)

    def _acknowledger(self, callback: Callable[..., Any]) -> Callable[..., None]:
        if self.dispatcher is not None:
            return self.dispatcher.acknowledger(callback)
        return lambda *args: self.mode.spawn(partial(callback, *args))
