"""The ``SocketIO`` object: Socket.IO for a Flask application."""

from __future__ import annotations

import dataclasses
import logging
import types
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import flask

from ..cluster.servers import ApplicationServers
from ..cluster.topics import CLIENTS, WATCH, Topics
from ..common import options as option_rules
from ..common.reasons import Reason
from ..contracts import process
from ..contracts.hookspecs import hookimpl
from ..errors import ConfigurationError, NotInitialised
from . import examined, running
from .compatibility.changing import change
from .compatibility.extension import ExtensionAttributes
from .handlers import NamespaceBase
from .interfaces import SHUTDOWN_S
from .middleware import SocketIOMiddleware
from .registration import HandlerRegistration
from .sending import Sender

if TYPE_CHECKING:
    from flask import Flask
    from flask.testing import FlaskClient
    from typing_extensions import Unpack

    from ..cluster.link import BusHealth
    from ..common.keywords import OptionKeywords
    from ..contracts import AsyncMode, Listener, Task
    from ..contracts.clients import Load
    from ..contracts.servers import Servers
    from ..selection import Description, Plugins
    from .binding import Binding
    from .facade import ServerFacade
    from .interfaces import Served
    from .test_client import SocketIOTestClient

logger = logging.getLogger(__name__)

ObserverT = TypeVar("ObserverT", bound=Callable[..., object])

EXTENSION = "socketio"
"""Key in ``app.extensions`` of the ``SocketIO`` object that was initialised last, as in Flask-SocketIO."""

MIDDLEWARES = "flask_socketio_core.middlewares"
"""Key in ``app.extensions`` of the middleware of each ``SocketIO`` object."""

UNKNOWN_KEYS = "flask_socketio_core.unknown_keys"
"""Key in ``app.extensions`` of the configuration keys that were warned of."""


class SocketIO(HandlerRegistration, Sender, ExtensionAttributes):
    """Socket.IO for a Flask application::

        app = Flask(__name__)
        socketio = SocketIO(app)

        @socketio.on("say")
        def say(text):
            emit("said", text, broadcast=True)

        if __name__ == "__main__":
            socketio.run(app)

    :param app: the application; without it, call :meth:`init_app` later. With ``message_queue=`` and never an
        application, this is an emitter for a process that serves no clients.
    :param options: see :class:`~flask_socketio_core.common.options.Options`. They win over
        ``app.config["SOCKETIO_..."]``.
    :raises UnknownOption: for an option that does not exist, with the nearest match.
    :raises SelectionError: if a part that was asked for cannot be had.
    """

    reason = Reason

    def __init__(self, app: Flask | None = None, **options: Unpack[OptionKeywords]) -> None:
        super().__init__()
        self._options: dict[str, Any] = dict(options)
        self._latest: Binding | None = None
        self._plugins: Plugins | None = None
        self._chosen_for_sending = False
        self._observers: list[object] = []
        self._modes: dict[tuple[str, int], AsyncMode] = {}
        self._topics = Topics(self._await)
        self._topics.add(CLIENTS, self._tell_of_clients)
        self._topics.add(examined.TOPIC, examined.answer)
        self._topics.add(WATCH, self._tell_who_watches)
        self._servers = ApplicationServers(self._topics, lambda: self._binding().servers)
        self._check_names(options)
        if app is not None or options.get("message_queue") is not None:
            self.init_app(app)

    # setting up

    def init_app(self, app: Flask | None, **options: Unpack[OptionKeywords]) -> None:
        """Select the parts and serve an application, besides those served already.

        :param app: the application, or ``None`` for a process that only sends.
        :param options: win over those of the constructor. Called again for one application, they are added.
        :raises ConfigurationError: if another ``SocketIO`` object serves the application on the same path.
        """
        self._check_names(options)
        if app is None:
            self._options.update(options)
            self._latest = self._bind_sender(self._latest)
            return
        middleware = _middlewares(app).get(self)
        before = middleware.binding.keywords if middleware is not None else {}
        keywords = {**self._options, **before, **options}
        if self._chosen_for_sending:
            self._plugins, self._chosen_for_sending = None, False  # what serves is chosen in another way
        plugins = self._plugins_here()
        checked = option_rules.build({**_configured(app, plugins), **keywords})
        _check_path(app, self, checked.path)
        binding = self._bind(app, checked, plugins)
        binding.keywords = keywords
        if middleware is None:
            middleware = SocketIOMiddleware(binding, app.wsgi_app)
            app.wsgi_app = middleware  # type: ignore[method-assign]  # how Flask wants it
            _middlewares(app)[self] = middleware
        else:
            binding.replace(middleware.binding)
            middleware.bind(binding)
        app.extensions[EXTENSION] = self
        self._latest = binding

    def _bind(self, app: Flask | None, options: option_rules.Options, plugins: Plugins) -> Binding:
        selected = plugins.select_async_mode(options.async_mode)
        key = selected.info.name, options.max_workers
        mode = self._modes.get(key)
        if mode is None:
            mode = self._modes[key] = selected.make(max_workers=options.max_workers)
            mode.on_saturated = partial(plugins.workers_saturated, max_workers=options.max_workers)
        from .binding import Binding  # with the engine, which a module of handlers does not need

        return Binding(app, options, mode, plugins, self.handlers, self)

    def _bind_sender(self, before: Binding | None) -> Binding:
        options = option_rules.build(self._options)
        plugins = self._plugins_here()
        if options.async_mode is None and plugins.facts.patched_by is None:
            from ..selection import Plugins

            # A process that serves nothing has no hub that runs: what is chosen for Werkzeug's server suits it.
            facts = dataclasses.replace(process.observe(), flask_run=True)
            plugins = self._plugins = Plugins(facts=facts, extra=self._observers, socketio=self)
            self._chosen_for_sending = True
        binding = self._bind(None, options, plugins)
        if before is not None and before.app is None:
            binding.replace(before)
        return binding

    def _check_names(self, names: Iterable[str]) -> None:
        option_rules.check_names(names, lambda: self._plugins_here().setting_names())

    def _plugins_here(self) -> Plugins:
        if self._plugins is None:
            from ..selection import Plugins

            self._plugins = Plugins(extra=self._observers, socketio=self)
        return self._plugins

    def _binding(self) -> Binding:
        """Return the parts for the application whose context is active, else for the one initialised last."""
        if flask.has_app_context():
            middleware = _middlewares(flask.current_app).get(self)
            if middleware is not None:
                return middleware.binding
        if self._latest is None:
            raise NotInitialised(
                "this SocketIO object serves no application yet: call init_app(app) first, or pass the application or "
                "message_queue= to SocketIO()"
            )
        return self._latest

    @property
    def async_mode(self) -> str:
        """Name of the async mode.

        :raises NotInitialised: before ``init_app``.
        """
        return self._binding().mode.name

    @async_mode.setter
    def async_mode(self, name: str | None) -> None:
        self._options["async_mode"] = name
        if self._latest is not None and name != self.async_mode:
            change(self._binding(), async_mode=name)

    @property
    def manage_session(self) -> bool:
        """Whether each connection has a session of its own; the option of that name."""
        if self._latest is None:
            return bool(self._options.get("manage_session", True))
        return self._binding().options.manage_session

    @manage_session.setter
    def manage_session(self, managed: bool) -> None:
        self.server_options["manage_session"] = managed
        if self._latest is not None:
            self._binding().manage_sessions(managed)

    @property
    def server(self) -> ServerFacade:
        """The public methods of python-socketio's ``Server``.

        :raises NotInitialised: before ``init_app``.
        """
        return self._binding().facade

    @property
    def servers(self) -> Servers:
        """The servers of this application, to tell or ask them something, and to answer."""
        return self._servers

    @property
    def plugins(self) -> Description:
        """What is installed, what is in use and why: what ``flask socketio plugins`` shows."""
        return self._plugins_here().describe()

    def on_namespace(self, namespace_handler: NamespaceBase, *, _blueprint: object = None) -> None:
        """Register a class-based namespace.

        :raises ValueError: if it is no instance of :class:`~flask_socketio_core.Namespace`.
        """
        instance: object = namespace_handler  # the caller may have no type checker
        if not isinstance(instance, NamespaceBase):
            kind = instance if isinstance(instance, type) else type(instance)
            raise ValueError(f"on_namespace() expects an instance of Namespace, not {kind.__qualname__}")
        namespace_handler._set_socketio(self)
        self.handlers.add_class(namespace_handler, _blueprint)

    def _tell_history(self, question: Any, node: str) -> Any:
        return self._binding().history.answer(question, node)

    def observe(self, observer: ObserverT) -> ObserverT:
        """Have a function told what happens, or asked, by the hook that has its name (decorator)::

            @socketio.observe
            def socketio_bus_gap(resumed):
                if not resumed:
                    socketio.emit("reload")

        It may take fewer arguments than the hook, needs no plugin, and follows the same rules; see ``docs/hooks.md``.

        :raises InvalidHook: if no hook that observes or surrounds has its name, with the nearest match.
        """
        name = getattr(observer, "__name__", type(observer).__name__)
        plugin = types.SimpleNamespace(__name__=name, **{name: hookimpl(observer)})
        self._plugins_here().observe(plugin)
        self._observers.append(plugin)
        return observer

    def unobserve(self, observer: Callable[..., object]) -> None:
        """Tell a function nothing more that was registered with :meth:`observe`, which costs nothing from then on.

        One that is not registered is no error. What happens at the same time it may still be told.
        """
        for plugin in [plugin for plugin in self._observers if observer in vars(plugin).values()]:
            self._observers.remove(plugin)
            self._plugins_here().unobserve(plugin)

    # serving

    def run(
        self,
        app: Flask,
        host: str | None = None,
        port: int | str | None = None,
        *,
        debug: bool | None = None,
        use_reloader: bool | None = None,
        reloader_options: Mapping[str, Any] | None = None,
        extra_files: list[str] | None = None,
        log_output: bool | None = None,
        allow_unsafe_werkzeug: bool = False,
        listener: Listener | None = None,
        **server: Any,  # goes to the web server, whose options we do not know
    ) -> None:
        """Serve with the web server of the async mode, until :meth:`stop` or a signal.

        :param host: ``"127.0.0.1"`` by default; ``""`` is every address of the machine.
        :param port: that of ``SERVER_NAME``, or 5000, by default.
        :param debug: Flask's debug mode, with Werkzeug's debugger; ``app.debug`` by default.
        :param use_reloader: restart when a source file changes; ``debug`` by default.
        :param reloader_options: for Werkzeug's reloader: ``extra_files``, ``reloader_type`` and so on.
        :param extra_files: more files to watch; the older form of ``reloader_options``.
        :param log_output: log each request; ``debug`` by default.
        :param allow_unsafe_werkzeug: serve with Werkzeug's server although this looks like production.
        :param listener: accept from this socket, which another process has bound and shares with more of them, instead
            of binding ``host`` and ``port``. At the end, requests that have begun are served, however long that takes:
            the other process has to limit it. ``flask socketio run --workers`` uses it.
        :param server: for TLS (``certfile``, ``keyfile``, ``ssl_context`` ...), and options of the web server.

        Under the command ``flask run`` it does nothing, as Flask's own ``run()``.
        """
        middleware = _middlewares(app).get(self)
        if middleware is None:
            raise NotInitialised(
                f"this SocketIO object does not serve the application {app.name!r}: call init_app(app) before run()"
            )
        if process.observe().flask_run:
            logger.warning("ignored SocketIO.run(): the command 'flask run' serves this application already")
            return
        binding = middleware.binding
        debug = app.debug if debug is None else debug
        app.debug = debug
        if debug and server.get("use_debugger", True):
            running.wrap_debugger(middleware, server)
        options = running.serve_options(
            debug=debug,
            log_output=log_output,
            use_reloader=use_reloader,
            reloader_options=reloader_options,
            extra_files=extra_files,
            allow_unsafe_werkzeug=allow_unsafe_werkzeug,
            server=server,
            listener=listener,
        )
        running.check_listener(binding.mode, listener, use_reloader=options.use_reloader)
        binding.resume()
        self._serving = binding
        requests = None if listener is None else running.Requests(app, binding.mode)
        try:
            binding.mode.serve(requests or app, *running.address(app, host, port), options)
            if requests is not None:
                requests.linger()
        finally:
            self._serving = None
            binding.shutdown()
        if requests is not None:
            requests.wait()

    def stop(self) -> None:
        """Make :meth:`run` return soon. May be called from a handler, a view and another task.

        :raises RuntimeError: if nothing is being served in this process by :meth:`run`.
        """
        if self._wsgi_server is not None:
            self._wsgi_server.stop()
        else:
            self._binding().mode.stop()

    def _middleware(self, binding: Served) -> SocketIOMiddleware:
        assert binding.app is not None
        return _middlewares(binding.app)[self]

    def close(self, timeout_s: float = SHUTDOWN_S) -> None:
        """Close this process's connections and send what still waits for the message queue.

        Done by itself when the process ends; a process that only sends may call it earlier.

        :param timeout_s: how long disconnect handlers may take, seconds.
        """
        self._binding().shutdown(timeout_s)

    def health(self) -> BusHealth | None:
        """Return how the connection to the other servers is, without asking the broker; ``None`` without a queue.

        :returns: whether it is up, its lag, the other servers, and what waits, was sent, heard and lost; its fields are
            in ``docs/queues.md``.
        """
        return self._binding().health()

    def load(self) -> Load:
        """Return what this process has to do for its clients: connections, clients, rooms, what waits, workers.

        For metrics: it looks at each connection.

        :raises RuntimeError: in a process that only sends, which has no clients.
        """
        load = self.server._server.load()  # which says what is wrong in a process that only sends
        return dataclasses.replace(load, **self._binding().kept())

    def start_background_task(self, target: Callable[..., object], *args: Any, **kwargs: Any) -> Task:
        """Run a function in a task of its own, of the kind that the async mode has.

        :returns: what can be waited for with ``join(timeout)`` and asked ``is_alive()``; it has a ``name``, and
            ``daemon`` is ``True``.
        """
        return self._binding().start_task(target, *args, **kwargs)

    def sleep(self, seconds: float = 0) -> None:
        """Let other tasks run for at least so many seconds."""
        self._binding().mode.sleep(seconds)

    def test_client(
        self,
        app: Flask,
        namespace: str | None = None,
        query_string: str | None = None,
        headers: Mapping[str, str] | None = None,
        auth: Any = None,
        flask_test_client: FlaskClient | None = None,
    ) -> SocketIOTestClient:
        """Return a client for tests, connected already; see :class:`SocketIOTestClient`.

        :param flask_test_client: its cookies, and with them its session, become those of the connection.
        """
        from .test_client import SocketIOTestClient

        return SocketIOTestClient(
            app,
            self,
            namespace=namespace,
            query_string=query_string,
            headers=headers,
            auth=auth,
            flask_test_client=flask_test_client,
        )

    def binding_of(self, app: Flask) -> Binding:
        """Return the parts in use for an application; for tests and tools.

        :raises NotInitialised: if it is not served by this object.
        """
        middleware = _middlewares(app).get(self)
        if middleware is None:
            raise NotInitialised(
                f"this SocketIO object does not serve the application {app.name!r}: call init_app(app) first"
            )
        return middleware.binding


def _middlewares(app: Flask) -> dict[SocketIO, SocketIOMiddleware]:
    found: dict[SocketIO, SocketIOMiddleware] = app.extensions.setdefault(MIDDLEWARES, {})
    return found


def _configured(app: Flask, plugins: Plugins) -> dict[str, Any]:
    """Return the options in the application's configuration, and warn once of each key that looks like one.

    :raises InvalidOption: for a value that a plugin's setting cannot take.
    """
    found, others = option_rules.from_config(app.config, plugins.setting_names())
    told: set[str] = app.extensions.setdefault(UNKNOWN_KEYS, set())
    for key, meant in others.items():
        if key not in told:
            told.add(key)
            logger.warning(
                "app.config[%r] is no option of SocketIO and is ignored here%s",
                key,
                f": {meant}" if meant else "",
            )
    plugins.check_settings(app.config)
    return found


def _check_path(app: Flask, owner: SocketIO, path: str) -> None:
    for other, middleware in _middlewares(app).items():
        if other is not owner and middleware.binding.options.path == path:
            raise ConfigurationError(
                f"another SocketIO object serves the application {app.name!r} at the path {path!r}: pass another path="
            )
