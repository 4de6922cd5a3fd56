"""Every hook that a plugin can implement.

A plugin is a module (or object) registered under the entry-point group ``flask_socketio_core`` whose functions are
marked with :data:`hookimpl`::

    from flask_socketio_core.hookspecs import hookimpl

    @hookimpl
    def socketio_message_queues():
        return QueueInfo(name="postgres", schemes=("postgresql",), load=load)

There are four kinds, told apart by what an implementation may do and by what its errors mean:

==============  =================================================  ==================================================
hooks that      return                                             what an implementation raises
==============  =================================================  ==================================================
describe        descriptors; they have no side effect              lists its plugin as broken
set up          nothing; they do once what a feature needs         ends the serving (set-up), is logged (the rest)
surround        what goes on; they may change, refuse or answer    counts as raised by the handler, or by ``emit()``
observe         nothing; all that are not named in the others      is logged and changes nothing
                (:func:`socketio_response_headers` may add to
                the response)
==============  =================================================  ==================================================

A hook that nobody implements costs nothing. An implementation may accept fewer arguments than its hook has; each of
those that set up, surround or observe can ask for ``socketio``, the ``SocketIO`` object. An application registers a
function for one that surrounds or observes with
:meth:`SocketIO.observe <flask_socketio_core.app.extension.SocketIO.observe>`, without being a plugin.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from .async_mode import AsyncModeInfo
    from .clients import Client, Emission
    from .message_queue import QueueInfo
    from .settings import Setting
    from .store import StoreInfo
    from .websocket_provider import WebSocketProviderInfo

__all__ = [
    "DESCRIBING",
    "PROJECT_NAME",
    "SETTING_UP",
    "SURROUNDING",
    "hookimpl",
    "socketio_ack",
    "socketio_ack_expired",
    "socketio_around_connect",
    "socketio_around_emit",
    "socketio_around_event",
    "socketio_async_modes",
    "socketio_bus_gap",
    "socketio_bus_message",
    "socketio_bus_state",
    "socketio_cli",
    "socketio_client_refused",
    "socketio_connected",
    "socketio_delivered",
    "socketio_disconnected",
    "socketio_emit",
    "socketio_event_after",
    "socketio_event_before",
    "socketio_event_error",
    "socketio_event_repeated",
    "socketio_history_incomplete",
    "socketio_history_lost",
    "socketio_message_queues",
    "socketio_outbox_overflow",
    "socketio_recovered",
    "socketio_recovery_failed",
    "socketio_refused",
    "socketio_response_headers",
    "socketio_room_entered",
    "socketio_room_left",
    "socketio_server_state",
    "socketio_session_closed",
    "socketio_session_opened",
    "socketio_settings",
    "socketio_setup",
    "socketio_stores",
    "socketio_teardown",
    "socketio_transport_changed",
    "socketio_websocket_providers",
    "socketio_workers_saturated",
]


PROJECT_NAME = "flask_socketio_core"
"""pluggy's project name and the entry-point group."""

DESCRIBING = frozenset(
    {
        "socketio_async_modes",
        "socketio_websocket_providers",
        "socketio_message_queues",
        "socketio_stores",
        "socketio_settings",
    }
)
"""The hooks that describe."""

SETTING_UP = frozenset({"socketio_setup", "socketio_teardown", "socketio_cli"})
"""The hooks that set up."""

SURROUNDING = frozenset({"socketio_around_connect", "socketio_around_event", "socketio_around_emit"})
"""The hooks that surround; all that are in none of these sets observe."""

hookspec = pluggy.HookspecMarker(PROJECT_NAME)
hookimpl = pluggy.HookimplMarker(PROJECT_NAME)
"""Mark a function as the implementation of the hook that has its name (decorator)."""


@hookspec
def socketio_async_modes() -> AsyncModeInfo | Sequence[AsyncModeInfo] | None:
    """Describe the async modes this plugin provides.

    Called once per ``SocketIO`` object, when its parts are selected, before any connection is accepted. Must not
    import the concurrency library: put that import in the callable passed as ``AsyncModeInfo.load``.

    :returns: one descriptor, several, or ``None`` for none. Two plugins that give one name are an error, reported
        with both distributions when that name is selected. An exception lists the plugin as broken.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_websocket_providers() -> WebSocketProviderInfo | Sequence[WebSocketProviderInfo] | None:
    """Describe the WebSocket providers this plugin provides.

    Called once per ``SocketIO`` object, right after the async mode was selected.

    :returns: as in :func:`socketio_async_modes`.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_message_queues() -> QueueInfo | Sequence[QueueInfo] | None:
    """Describe the message queues this plugin provides.

    Called once per ``SocketIO`` object. Must not import the broker's client library: put that import in the callable
    passed as ``QueueInfo.load``.

    :returns: one descriptor, several, or ``None``. Two plugins that claim one URL scheme are an error, reported with
        both distributions when that scheme is used.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_stores() -> StoreInfo | Sequence[StoreInfo] | None:
    """Describe the stores this plugin provides.

    Called once per ``SocketIO`` object, when an application names a store. Must not import the client library: put that
    import in the callable passed as ``StoreInfo.load``.

    :returns: as in :func:`socketio_message_queues`; the schemes of queues and those of stores are independent of each
        other.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_settings() -> Setting[Any] | Sequence[Setting[Any]] | None:
    """Declare the settings that this plugin has in an application's configuration.

    ::

        RATE = Setting("census_rate", float, 100.0, "most events of a client per second", above=0)

        @hookimpl
        def socketio_settings():
            return RATE

        @hookimpl
        def socketio_setup(socketio, app):
            rate = configured(RATE, app.config)  # app.config["SOCKETIO_CENSUS_RATE"]

    Called once per ``SocketIO`` object, when it is initialised for its first application. For each application the
    values in its configuration are checked then: one that a setting cannot take is an
    :class:`~flask_socketio_core.errors.InvalidOption`.

    :returns: one setting, several, or ``None``; a name is a Python identifier in lower case that begins with the
        plugin's. One that another plugin or the core has is a
        :class:`~flask_socketio_core.errors.DuplicateSetting`, with both distributions. An exception lists the plugin as
        broken.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_setup(socketio: Any, app: Any) -> None:
    """Set up a feature for an application: register namespaces, handlers, URL rules, background tasks.

    Called once per application and process that serves it, before its first request to whatever path is answered, and
    again in a child that was forked after that. Other requests wait for it. Without a Flask context.

    What it raises is logged, and every request to Socket.IO's path fails with
    :class:`~flask_socketio_core.errors.PluginFailed`: a feature that guards something must not be missing silently.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_teardown(socketio: Any, app: Any) -> None:
    """End what :func:`socketio_setup` has begun in this process; the last one set up is called first.

    Called when the process ends, after the clients' disconnect handlers and before the message queue is closed, so that
    a last message can be sent. What it raises is logged.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_cli(group: Any) -> None:
    """Add commands to ``flask socketio``.

    :param group: takes the commands; :func:`flask.cli.with_appcontext` is for those that need the application.

    Called when one of its commands, or the list of them, is asked for. What it raises is told on standard error, and
    the other commands work.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_around_connect(client: Client, auth: Any, proceed: Callable[..., Any], socketio: Any) -> Any:
    """Stand around the connect handler of a namespace, or where there is none; in the client's Flask context.

    ::

        @hookimpl
        def socketio_around_connect(client, auth, proceed):
            if not is_valid(auth):
                raise ConnectionRefusedError("log in first")
            return proceed()

    :param proceed: runs the next one, in the end the handler, and returns what it returns; with an argument, that is
        the auth from then on. To return ``False`` or to raise
        :class:`~flask_socketio_core.errors.ConnectionRefusedError` refuses the client.

    Of several plugins the one registered last is outermost, but for ``hookimpl(tryfirst=True)`` and ``trylast=True``.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_around_event(
    client: Client, event: str, args: tuple[Any, ...], proceed: Callable[..., Any], socketio: Any
) -> Any:
    """Stand around the handler of an event; in the client's Flask context. Not called for events that nobody handles.

    ::

        @hookimpl
        def socketio_around_event(client, event, args, proceed):
            if too_fast(client.sid):
                raise EventRejected(ack={"error": "too fast", "retry_after": 5})
            return proceed()

    :param event: its name, also where a catch-all handles it.
    :param proceed: runs the next one, in the end the handler, and returns its answer; with a tuple, those are the
        arguments from then on. What is returned is acknowledged.

    To raise :class:`~flask_socketio_core.errors.EventRejected` rejects the event without an error; anything else counts
    as raised by the handler. Order as in :func:`socketio_around_connect`.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_around_emit(emission: Emission, proceed: Callable[..., None], socketio: Any) -> None:
    """Stand around what this process emits, before it is delivered or published; calls are none.

    ::

        @hookimpl
        def socketio_around_emit(emission, proceed):
            if emission.event not in MUTED:
                proceed(emission._replace(args=(*emission.args, stamp())))

    :param emission: event, arguments and addressees; immutable.
    :param proceed: sends it; with another emission, sends that. Not to call it drops the message.

    What it raises, ``emit()`` raises. Order as in :func:`socketio_around_connect`.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_session_opened(
    engine_sid: str, transport: str, address: str, environ: dict[str, Any], socketio: Any
) -> None:
    """Observe that an Engine.IO session begins, before any client of it has joined a namespace.

    Called in the task of its first request, outside of a Flask context.

    :param transport: ``"polling"`` or ``"websocket"``.
    :param address: the client's, as ``REMOTE_ADDR`` has it; behind a proxy that is the proxy's, unless ``ProxyFix``
        is in place. Empty if the server does not say.
    :param environ: WSGI environ of that request, without the server's own objects.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_session_closed(
    engine_sid: str, transport: str, address: str, reason: str, socketio: Any
) -> None:
    """Observe that an Engine.IO session has ended; once for each that was opened.

    Called in a worker, outside of a Flask context; for one session always after :func:`socketio_session_opened` and
    :func:`socketio_transport_changed`. The disconnect handlers of its clients may still run.

    :param transport: what carried it in the end.
    :param reason: one of ``SocketIO.reason``'s values.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_transport_changed(engine_sid: str, transport: str, before: str, socketio: Any) -> None:
    """Observe that a session was upgraded; called as :func:`socketio_session_closed`.

    :param transport: what carries it now, ``"websocket"``.
    :param before: what carried it, ``"polling"``.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_refused(environ: dict[str, Any], status: int, code: int, message: str, socketio: Any) -> None:
    """Observe that a request to Socket.IO's path is answered with an error, before it is.

    Called in the request's own task, outside of a Flask context. A client that is refused by a connect handler is no
    refused request.

    :param environ: the request's, without the server's own objects.
    :param status: HTTP status.
    :param code: Engine.IO's: 0 unknown transport, 1 unknown session, 2 wrong method for a handshake, 3 bad request (an
        origin, a host, a limit), 5 unsupported protocol.
    :param message: what the client is told.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_response_headers(
    environ: dict[str, Any], headers: Sequence[tuple[str, str]], first: bool, socketio: Any
) -> Mapping[str, str] | Iterable[tuple[str, str]] | None:
    """Add headers to a response of our own: to a handshake, a poll, what was posted, a refusal, a WebSocket's 101.

    ::

        @hookimpl
        def socketio_response_headers(first):
            if first:
                return {"Set-Cookie": f"node={NODE}; Path=/; HttpOnly"}

    Called in the request's own task, outside of a Flask context, for each response; so it must be quick. Not called
    where the web server writes the 101 by itself; ``docs/hooks.md`` says where.

    :param environ: the request's, without the server's own objects.
    :param headers: what is sent so far, by us and by the plugins before this one.
    :param first: whether this is the first response of a session.
    :returns: what to add: names with their values, as a mapping or in pairs. A header takes the place of one that has
        its name, but for ``Set-Cookie``, ``Link``, ``Server-Timing`` and ``Vary``. One that would break the response
        (``Content-Length``, ``Connection``, ``Sec-WebSocket-Accept``, a value with a line break) is logged and left
        out; all others are sent.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_connected(
    sid: str, namespace: str, environ: dict[str, Any], client: Client, socketio: Any
) -> None:
    """Observe that a client was accepted on a namespace, after its CONNECT packet was sent.

    Called once per client and namespace, in the worker that ran the connect handler. Must not block for long.

    :param environ: WSGI environ of the connection's first request, without the server's own objects.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_client_refused(
    sid: str | None, namespace: str, engine_sid: str, refusal: Any, socketio: Any
) -> None:
    """Observe that a client may not join a namespace: it is sent a CONNECT_ERROR, and its connection stays.

    Because its connect handler, or what stands around that, refuses it, has failed, or disconnects it; because the
    namespace does not exist; or because of ``max_namespaces`` or ``max_name_length``. Called in a worker, outside of a
    Flask context.

    :param sid: the client's, which ended with that; ``None`` if no connect handler was asked.
    :param namespace: whatever the client has named.
    :param engine_sid: the Engine.IO session id of its connection.
    :param refusal: what it is told, as a rule a dictionary with a ``message``; with ``always_connect`` there is no
        room for it.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_disconnected(sid: str, namespace: str, reason: str, client: Client, socketio: Any) -> None:
    """Observe that an accepted client left a namespace, after its disconnect handler ran.

    :param reason: one of ``SocketIO.reason``'s values.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_room_entered(sid: str, namespace: str, room: Any, socketio: Any) -> None:
    """Observe that a client of this process is in a room in which it was not before; its own room is none.

    Called in the task that put it there. The room is what was given to ``join_room()``, text as a rule.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_room_left(sid: str, namespace: str, room: Any, socketio: Any) -> None:
    """Observe that a client of this process is in a room no longer: taken out, the room was closed, or the client left.

    Of a client that has left it is called for each of its rooms, after :func:`socketio_disconnected`.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_event_before(
    sid: str, namespace: str, event: str, args: tuple[Any, ...], waited_s: float, socketio: Any
) -> None:
    """Observe an event of a client, right before its handler runs, inside the handler's Flask context.

    :param waited_s: time from its arrival until a worker took it up, seconds; with ``async_handlers="ordered"``, and
        while its client's connect handler runs, it waits for that, too. A disconnect handler waits from the moment at
        which the client has left.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_event_after(sid: str, namespace: str, event: str, duration_s: float, socketio: Any) -> None:
    """Observe that an event's handler returned.

    :param duration_s: time the handler took, seconds.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_event_error(
    sid: str, namespace: str, event: str, error: BaseException, duration_s: float, socketio: Any
) -> None:
    """Observe that an event's handler raised, before the application's error handlers are asked.

    :param duration_s: time the handler took until then, seconds.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_emit(
    event: str, namespace: str, to: tuple[str, ...] | None, args: tuple[Any, ...], socketio: Any
) -> None:
    """Observe that this process emits an event, before it is delivered or published.

    :param to: rooms or sids addressed; ``None`` for every client of the namespace.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_delivered(
    event: str,
    namespace: str,
    to: tuple[Any, ...] | None,
    args: tuple[Any, ...],
    recipients: int,
    size_bytes: int,
    socketio: Any,
) -> None:
    """Observe that an event was handed to clients of this process, be it emitted here or by another server.

    Called once for an event, in the task that emits it, or in the one that listens to the message queue.

    :param to: rooms or sids addressed; ``None`` for every client of the namespace.
    :param args: what they are sent.
    :param recipients: how many clients of this process it is for; 0 if none is here. One that reads too slowly may
        lose it all the same.
    :param size_bytes: what each of them is sent, as uncompressed WebSocket frames, bytes; 0 without recipients.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_ack(sid: str, namespace: str, event: str, latency_s: float, socketio: Any) -> None:
    """Observe that a client of this process has acknowledged an event that was sent to it.

    Called in a worker, outside of a Flask context, about when the callback is.

    :param event: what it has acknowledged.
    :param latency_s: time since the event was sent, seconds.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_ack_expired(sid: str, namespace: str, event: str, waited_s: float, socketio: Any) -> None:
    """Observe that an acknowledgement of a client of this process is waited for no longer; its callback is not called.

    It has not come within ``ack_timeout``, or within the time-out of ``call()`` or ``emit()``; or more than
    ``max_pending_acks`` were waited for, and it is the oldest. Of a room that ``call()`` asked, those who have not
    answered when the first one has. Of a client that leaves, nothing is told but that. Called in a worker, outside of a
    Flask context.

    :param event: what was to be acknowledged.
    :param waited_s: time since the event was sent, seconds.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_recovered(sid: str, namespace: str, missed: int, socketio: Any) -> None:
    """Observe that a client which has lost its connection is back, with its sid, rooms, data and user.

    Called in a worker, outside of a Flask context, about when its connect handler begins, which may refuse it still.

    :param missed: how many events it is sent again.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_recovery_failed(sid: str, namespace: str, reason: str, socketio: Any) -> None:
    """Observe that a client wanted to come back and has to start anew; called as :func:`socketio_recovered`.

    :param sid: its new one.
    :param reason: one of those that :class:`~flask_socketio_core.contracts.clients.RecoveryLoad` counts.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_event_repeated(sid: str, namespace: str, event: str, socketio: Any) -> None:
    """Observe that an event which is handled once came again, and is acknowledged as the first was.

    Called in the task that would have run its handler, or on the event loop of coroutines: must not block.

    :param event: its name.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_history_lost(namespace: str | None, room: Any, reason: str, count: int, socketio: Any) -> None:
    """Observe that something of a room's history is not kept although it should be.

    Called in the task that emits or delivers, or in a worker, each time; so it must be quick.

    :param namespace: that of the room; ``None`` with ``"memory"``, as it is not known whose history was given up.
    :param room: likewise.
    :param reason: one of those of :class:`HistoryLoad.lost <flask_socketio_core.contracts.histories.HistoryLoad>`.
    :param count: events, or with ``"memory"`` rooms.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_history_incomplete(sid: str, namespace: str, room: Any, reason: str, socketio: Any) -> None:
    """Observe that a client has joined a room with an offset, and it cannot be shown that it has everything now.

    Called in the task that put it into the room, after that.

    :param reason: one of those of
        :class:`HistoryLoad.incomplete <flask_socketio_core.contracts.histories.HistoryLoad>`.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_outbox_overflow(sid: str, policy: str, packets: int, size_bytes: int, socketio: Any) -> None:
    """Observe that a client's outbox reached its limit and the policy was applied.

    Called once per connection and overflow, not per packet dropped.

    :param sid: the Engine.IO session id of the connection.
    :param policy: ``"disconnect"``, ``"drop_oldest"`` or ``"drop_newest"``.
    :param packets: packets waiting at that moment.
    :param size_bytes: their size in bytes.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_workers_saturated(max_workers: int, socketio: Any) -> None:
    """Observe that all workers are busy and a job has to wait; once until the pool was idle again.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_bus_state(up: bool, detail: str, socketio: Any) -> None:
    """Observe how the connection to the message queue is: once when this process joins, then when it changes.

    Called first when the connection is there, or could not be had, then each time that it was lost or restored. A
    process that only sends joins when it first waits for an answer; what it loses it learns of when it sends.

    :param up: ``True`` if messages flow.
    :param detail: one sentence without credentials: the cause, or how long the bus was away and what was lost. Without
        an outage before it: how many messages were lost because the broker takes them too slowly.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_bus_message(method: str, node: str | None, size_bytes: int, socketio: Any) -> None:
    """Observe a message of another process from the message queue, before it is acted on.

    Called in the task that listens, so it must be quick. Signs of life are not told, nor what is dropped: what cannot
    be read, has no valid signature, or was heard before.

    :param method: what it asks for: ``"emit"``, ``"enter_room"``, ``"disconnect"``, ``"callback"`` and so on.
    :param node: id of the sender; ``None`` for one of python-socketio's processes.
    :param size_bytes: its size on the queue, bytes.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_bus_gap(
    duration_s: float, since: float, missed: int | None, resumed: bool, socketio: Any
) -> None:
    """Observe that this server was cut off from the message queue and hears the others again.

    What the others sent meanwhile has not reached this server's clients, unless ``resumed`` says so: the moment to
    have them load anew what they show. Called once per gap, in a worker: at once if the queue resumes, else as soon as
    the servers that were there before have said what they sent, which takes milliseconds if they can, or after 20
    seconds (four heartbeat intervals, if that is longer). Not called in a process that only sends.

    :param duration_s: length of the gap, seconds: from the last message that was heard to the new subscription. 0 if
        messages got lost although this server was not cut off, as when another one's buffer ran over.
    :param since: when it began, seconds since the epoch.
    :param missed: messages of those servers that are lost for this one; ``None`` if that cannot be known. What
        processes that only send, and those of python-socketio, have sent meanwhile is never in it.
    :param resumed: the queue has kept everything and delivers it now: nothing is missing, ``missed`` is 0.

    .. versionadded:: 0.1
    """


@hookspec
def socketio_server_state(node: str, up: bool, socketio: Any) -> None:
    """Observe that another server of the application is there, or is there no longer.

    Called in a worker, outside of a Flask context, for one server at a time: for each that this one hears of, when it
    ends, and when it is taken for dead, which is three of its heartbeat intervals after it was heard last. One that was
    taken for dead and is heard again, as after a gap, is there again, under the same id. Who comes and goes within a
    tenth of a second may not be told. Not called in a process that only sends, nor for python-socketio's processes.

    :param node: its id, as the answers of :class:`~flask_socketio_core.contracts.servers.Servers` have it. Some moments
        may pass until it is known what it can be asked.
    :param up: whether it is there.

    .. versionadded:: 0.1
    """
