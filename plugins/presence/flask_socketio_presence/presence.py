"""Who is in the rooms of an application."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from importlib import resources
from typing import TYPE_CHECKING, Any, TypeVar
from weakref import WeakSet

import flask

from flask_socketio_core.contracts.fork import ProcessFlag
from flask_socketio_core.contracts.settings import configured
from flask_socketio_core.errors import ConfigurationError, ContextError, InvalidData, MessageTooLarge

from . import settings
from .others import Pages, Part
from .parts import PAGE_BYTES, Key, OwnPart, Told, within
from .rooms import REF, Changes, Meta, Metas, Room

if TYPE_CHECKING:
    from flask import Flask

    from flask_socketio_core import SocketIO
    from flask_socketio_core.contracts.clients import Client
    from flask_socketio_core.contracts.servers import Answers

logger = logging.getLogger(__name__)

TOPIC = "flask-socketio-presence"
PAGES = "flask-socketio-presence.pages"
BATCH_S = 0.2
"""Seconds between two times that changes are told; Phoenix has 1.5 between servers and none to clients."""
ASK_S = 5.0
FAILURES_AT_MOST = 12
"""How often a server is asked that does not answer, or of which something is lost meanwhile: a minute, if silent."""

Place = tuple[str, str]
"""Namespace and room."""

Handler = Callable[[str, str, list[Meta]], object]
"""Called with room, user, and what was said about the connection that came first or left last."""

HandlerT = TypeVar("HandlerT", bound=Handler)

_made: WeakSet[Presence] = WeakSet()


def presence_of(socketio: SocketIO) -> Presence | None:
    """Return what an application has made for an extension object, which keeps it alive."""
    return next((presence for presence in list(_made) if presence.is_for(socketio)), None)


class Presence:
    """Who is in a room, by user and over all servers::

        presence = Presence(socketio)

        @socketio.on("open")
        def open(doc):
            presence.track(f"doc:{doc}", meta={"name": current_user.name})

        presence.list("doc:7")  # {"42": [{"name": "Ann"}, {"name": "Ann"}]}: one user, two tabs

    :param socketio: the extension object, which serves one application.
    :raises ConfigurationError: if there is one for it already.
    """

    def __init__(self, socketio: SocketIO) -> None:
        if presence_of(socketio) is not None:
            raise ConfigurationError("this SocketIO object has a Presence already: use that one")
        self._socketio = socketio
        self._lock = threading.Lock()  # held for what neither blocks nor switches
        self._handlers: list[tuple[bool, str, str, Handler]] = []
        self._app: Flask | None = None
        self._here = ProcessFlag()
        self._begin()
        socketio.servers.on_topic(TOPIC, self._on_topic)
        socketio.servers.on_topic(PAGES, self._on_page)
        _observe(self, socketio)
        _made.add(self)

    def _begin(self) -> None:
        self._own = OwnPart()
        self._others: dict[str, Part] = {}
        self._rooms: dict[Place, Room] = {}
        self._changed: set[Place] = set()
        self._held: deque[tuple[float, Place, str]] = deque()
        self._entering: set[Key] = set()
        self._runs = self._ended = False

    def is_for(self, socketio: SocketIO) -> bool:
        """Return whether it was made for an extension object."""
        return self._socketio is socketio

    def set_up(self, app: Flask) -> None:
        """Begin for an application; anew in a child that was forked.

        :raises ConfigurationError: if this is for another one.
        """
        if self._app is not None and self._app is not app:
            raise ConfigurationError(
                "a Presence is for one application: make a SocketIO object for the other one"
            )
        if not self._here.is_set():
            if self._app is not None:
                self._lock = threading.Lock()
                self._begin()
            self._here.set()
        self._patterns = configured(settings.ROOMS, app.config)
        self._grace_s = configured(settings.GRACE_S, app.config)
        self._most = configured(settings.MAX_LISTED, app.config)
        self._max_meta_bytes = configured(settings.MAX_META_BYTES, app.config)
        self._app = app
        self._ended = False

    def tear_down(self) -> None:
        """Tell nothing more: the others see that this server has left."""
        self._ended = True

    # ------------------------------------------------------------------------------------------------ application

    def track(
        self, room: str, meta: Meta | None = None, *, sid: str | None = None, namespace: str | None = None
    ) -> None:
        """Put a client into a room, and show its user there until it leaves; again, to change what is said about it.

        It is told who is there, ``presence_state``, and from then on what changes, ``presence_diff``.

        :param meta: what everybody in the room is told about this connection: a small dictionary for JSON.
        :param sid: the client, one of this process; by default the one whose event is being handled.
        :param namespace: that of the event being handled by default.
        :raises ValueError: if it has no user.
        :raises InvalidData: if ``meta`` cannot be told, or is too large.
        :raises ContextError: if there is no client, or the plugin is not loaded.
        :raises KeyError: if the client is not connected to this process.
        """
        self._need_app()
        client = self._client(sid, namespace)
        user = client.user
        if user is None:
            raise ValueError(
                f"client {client.sid} cannot be tracked, it has no user: write a user loader, or set client.user"
            )
        told = self._checked({} if meta is None else meta)
        key = client.namespace, room, client.sid
        self._entering.add(key)
        try:
            self._socketio.server.enter_room(client.sid, room, namespace=client.namespace)
        finally:
            self._entering.discard(key)
        self._show(key, user, told)

    def untrack(self, room: str, *, sid: str | None = None, namespace: str | None = None) -> None:
        """Show a client no longer; it stays in the room, and goes on to be told who is there.

        The parameters are those of :meth:`track`.
        """
        client = self._client(sid, namespace)
        self._hide((client.namespace, room, client.sid))

    def list(self, room: str, namespace: str | None = None) -> Metas:
        """Return who is in a room, on all servers: for each user what is said about each connection.

        :param namespace: that of the event being handled by default, else ``"/"``.
        """
        with self._lock:
            found = self._rooms.get((_space(namespace), room))
            return {} if found is None else found.metas()

    def count(self, room: str, namespace: str | None = None) -> int:
        """Return how many users are in a room, on all servers; see :meth:`list`."""
        with self._lock:
            found = self._rooms.get((_space(namespace), room))
            return 0 if found is None else len(found)

    def on_join(self, pattern: str = "*", *, namespace: str = "/") -> Callable[[HandlerT], HandlerT]:
        """Have a function called when a user comes into a room (decorator)::

            @presence.on_join("doc:*")
            def joined(room, user, metas): ...

        On each server, whichever the user is connected to, in the application's context.

        :param pattern: of rooms, with ``*``.
        """
        return self._add_handler(True, pattern, namespace)

    def on_leave(self, pattern: str = "*", *, namespace: str = "/") -> Callable[[HandlerT], HandlerT]:
        """Have a function called when a user has left a room, and not come back in time; see :meth:`on_join`."""
        return self._add_handler(False, pattern, namespace)

    def module(self) -> flask.Response:
        """Return the JavaScript module as a response, for a view of the application's own::

        app.add_url_rule("/presence.mjs", view_func=presence.module)
        """
        text = resources.files(__package__).joinpath("presence.mjs").read_text("utf-8")
        return flask.Response(text, mimetype="text/javascript")

    def _add_handler(self, came: bool, pattern: str, namespace: str) -> Callable[[HandlerT], HandlerT]:
        def add(handler: HandlerT) -> HandlerT:
            self._handlers.append((came, pattern, namespace, handler))
            return handler

        return add

    def _client(self, sid: str | None, namespace: str | None) -> Client:
        if sid is not None:
            return self._socketio.server.client(sid, _space(namespace))
        client: Client | None = _handled()
        if client is None:
            raise ContextError("no event is being handled here: pass sid= and namespace=")
        return client

    def _need_app(self) -> Flask:
        if self._app is None:
            raise ContextError(
                "the plugin 'presence' is not set up here: the application serves no request yet, or does not load it;"
                " see `flask socketio plugins` and SOCKETIO_LOAD_PLUGINS"
            )
        return self._app

    def _checked(self, meta: Meta) -> Meta:
        try:
            text = json.dumps(meta, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InvalidData(f"meta cannot be told: {error}") from error
        if len(text) > self._max_meta_bytes:
            raise InvalidData(
                f"meta of {len(text)} bytes exceeds {settings.MAX_META_BYTES.config_key}={self._max_meta_bytes}: it is "
                "told to everybody in the room, so keep it small"
            )
        checked: Any = json.loads(text)
        if not isinstance(checked, dict) or REF in checked:
            raise InvalidData(f"meta has to be a dictionary without {REF!r}, got {text:.80}")
        return checked

    # ----------------------------------------------------------------------------------------------- this server

    def entered(self, sid: str, namespace: str, room: Any) -> None:
        """Track a client that has entered a room of the setting, if it has a user."""
        if self._app is None or not isinstance(room, str) or (namespace, room, sid) in self._entering:
            return
        if any(fnmatchcase(room, pattern) for pattern in self._patterns):
            user = self._socketio.server.client(sid, namespace).user
            if user is not None:
                self._show((namespace, room, sid), user, {})

    def left(self, sid: str, namespace: str, room: Any) -> None:
        """Show a client no longer that has left."""
        if (namespace, room, sid) in self._own:
            self._hide((namespace, room, sid))

    def _show(self, key: Key, user: str, meta: Meta) -> None:
        space, room, sid = key
        with self._lock:
            is_new = key not in self._own
            self._own.join(key, user, meta)
            self._join(key, user, meta)
            event, told = self._rooms[space, room].first()
        if is_new:
            self._emit(event, told, room, space, sid)
        self._wake()
        if room not in self._socketio.server.rooms(sid, space):  # it left meanwhile, which was told before
            self._hide(key)

    def _hide(self, key: Key) -> None:
        with self._lock:
            if self._own.leave(key):
                self._leave(key)
        self._wake()

    # -------------------------------------------------------------------------------------------------- all servers

    def _join(self, key: Key, user: str, meta: Meta) -> None:
        space, room, sid = key
        place = space, room
        if place not in self._rooms:
            self._rooms[place] = Room(self._most)
        self._rooms[place].join(sid, user, meta)
        self._changed.add(place)

    def _leave(self, key: Key) -> None:
        space, room, sid = key
        place = space, room
        if place in self._rooms:
            until_s = time.monotonic() + self._grace_s
            if (user := self._rooms[place].leave(sid, until_s)) is not None:
                self._held.append((until_s, place, user))
            self._changed.add(place)

    def _wake(self) -> None:
        with self._lock:
            if self._runs or self._ended or not (self._changed or self._held or self._own.has_changed):
                return
            self._runs = True
        self._socketio.start_background_task(self._run)

    def _run(self) -> None:
        """Tell what has changed, in batches, until there is nothing more to tell or to wait for."""
        while True:
            self._socketio.sleep(BATCH_S)
            if not self._ended:
                try:
                    with self._need_app().app_context():
                        self._tell()
                except Exception:  # the next time it may work
                    logger.exception("changes of who is present could not be told")
            with self._lock:
                if self._ended or not (self._changed or self._held or self._own.has_changed):
                    self._runs = False
                    return

    def _tell(self) -> None:
        with self._lock:
            self._expire(time.monotonic())
            changed = self._own.take_changed()
            changes = [(place, self._rooms[place].take_changes()) for place in self._changed]
            for place in self._changed:
                if self._rooms[place].is_empty:
                    del self._rooms[place]
            self._changed.clear()
        for (space, room), change in changes:
            self._tell_room(space, room, change)
        for keys in changed:
            try:
                self._tell_others(keys)
            except Exception:  # the version that is missing makes them ask
                logger.exception(
                    "other servers could not be told who is present: they will ask at the next change"
                )

    def _tell_others(self, keys: Sequence[Key]) -> None:
        """Tell the other servers of connections, in as many messages as it takes."""
        with self._lock:
            difference = self._own.difference(keys)
        try:
            self._socketio.servers.tell(TOPIC, difference)
        except MessageTooLarge as error:
            if len(keys) > 1:
                with self._lock:
                    self._own.take_back()
                half = len(keys) // 2
                self._tell_others(keys[:half])
                self._tell_others(keys[half:])
                return
            space, room, sid = keys[0]
            with self._lock:
                self._own.withhold(keys[0])
            logger.error(
                "other servers cannot be told of client %s in room %r on namespace %r: %s",
                sid,
                room,
                space,
                error,
            )
            # Nothing, with its version: who has asked meanwhile has that one, and would miss the next of this number.
            self._socketio.servers.tell(TOPIC, {**difference, "joined": [], "left": []})

    def _expire(self, now_s: float) -> None:
        while self._held and self._held[0][0] <= now_s:
            _, place, user = self._held.popleft()
            if place in self._rooms:
                self._rooms[place].expire(user, now_s)
                self._changed.add(place)

    def _tell_room(self, space: str, room: str, change: Changes) -> None:
        if change.event is not None:
            try:
                self._emit(*change.event, room, space, room)
            except Exception:  # the other rooms are told all the same
                logger.exception("clients could not be told who is present in room %r", room)
        for came, user, metas in change.news:
            for wants, pattern, namespace, handler in self._handlers:
                if wants is came and namespace == space and fnmatchcase(room, pattern):
                    try:
                        handler(room, user, metas)
                    except Exception:  # the application's; the others are called all the same
                        logger.exception("a handler of who is present failed in room %r", room)

    def _emit(self, event: str, told: dict[str, Any], room: str, namespace: str, to: str) -> None:
        self._socketio.emit(event, told, room, namespace=namespace, to=to, local=True)

    # ------------------------------------------------------------------------------------------- the other servers

    def _on_topic(self, payload: Any, node: str) -> Any:
        """Take a difference of another server's part, or answer one of an older version, which knows no pages."""
        if payload is None:
            with self._lock:
                return self._own.whole()
        told = Told.read(payload)
        with self._lock:
            part = self._others.get(node)
            fresh = None if part is None else part.hear(told)
            if part is not None and fresh is not None:
                self._apply(part, fresh)
            misses = part is None or part.misses
        if misses:
            self.ask(node)
        else:
            self._wake()
        return None

    def _on_page(self, question: Any, node: str) -> Any:
        """Answer who asks for a page of this server's part."""
        with self._lock:
            page = self._own.page(question["after"])
        return within(page, question["bytes"])

    def _apply(self, part: Part, told: Told) -> None:
        for key in told.left:
            part.keys.discard(key)
            self._leave(key)
        for key, (user, meta) in told.joined.items():
            part.keys.add(key)
            self._join(key, user, meta)

    def server_state(self, node: str, up: bool) -> None:
        """Ask a server that has come; drop the part of one that has gone."""
        if up:
            self.ask(node)
        else:
            self._drop(node)

    def ask_all(self) -> None:
        """Ask all others anew: something may have been missed."""
        with self._lock:
            nodes = list(self._others)
        for node in nodes:
            self.ask(node)

    def ask(self, node: str) -> None:
        """Ask another server for the whole of its part, in a task."""
        if self._app is None or self._ended:
            return
        with self._lock:
            part = self._others.setdefault(node, Part())
            if part.asking:
                part.again = True
                return
            part.asking = True
        self._socketio.start_background_task(self._ask, node, part)

    def _ask(self, node: str, part: Part) -> None:
        try:
            with self._need_app().app_context():
                is_known = self._read(node, part)
        finally:
            with self._lock:
                part.asking = False
        if not is_known:
            logger.warning("server %s does not say who is present there", node)

    def _read(self, node: str, part: Part) -> bool:
        """Read another server's part; return whether there is nothing more to read."""
        pages, most_bytes, failures = self._first_page(part), PAGE_BYTES, 0
        while failures < FAILURES_AT_MOST:
            found = self._ask_page(node, pages, most_bytes)
            if self._ended:
                return True
            if node in found.answers:
                done = self._take_page(node, part, pages, Told.read(found.answers[node]))
                if done is not None:
                    if done:
                        return True
                    pages, failures = self._first_page(part), failures + 1
            elif node in found.errors:  # it may be more than the queue carries
                most_bytes, failures = most_bytes // 4, failures + 1
            elif found.missing.get(node) == "silent":
                failures += 1
            else:
                self._drop(node)
                return True
        return False

    def _first_page(self, part: Part) -> Pages:
        with self._lock:
            part.again = False
            return Pages(part.keys)

    def _ask_page(self, node: str, pages: Pages, most_bytes: int) -> Answers:
        ask = self._socketio.servers.ask
        question = {"after": pages.after, "bytes": most_bytes}
        found = ask(PAGES, question, timeout_s=ASK_S, node=node)
        if found.missing.get(node) == "unable":
            return ask(TOPIC, timeout_s=ASK_S, node=node)
        return found

    def _take_page(self, node: str, part: Part, pages: Pages, page: Told) -> bool | None:
        """Take what was answered; return whether that is all, ``None`` if more pages follow."""
        with self._lock:
            if self._others.get(node) is not part:  # it has left meanwhile
                return True
            if not pages.take(page):
                return False
            self._apply(part, page)
            since = None if page.more else part.finish(pages)
            if since is not None:
                self._apply(part, since)
        self._wake()
        return None if page.more else since is not None

    def _drop(self, node: str) -> None:
        with self._lock:
            part = self._others.pop(node, None)
            for key in part.keys if part is not None else ():
                self._leave(key)
        self._wake()


def _observe(presence: Presence, socketio: SocketIO) -> None:
    @socketio.observe
    def socketio_room_entered(sid: str, namespace: str, room: Any) -> None:
        presence.entered(sid, namespace, room)

    @socketio.observe
    def socketio_room_left(sid: str, namespace: str, room: Any) -> None:
        presence.left(sid, namespace, room)

    @socketio.observe
    def socketio_server_state(node: str, up: bool) -> None:
        presence.server_state(node, up)

    @socketio.observe
    def socketio_bus_gap(resumed: bool) -> None:
        if not resumed:
            presence.ask_all()


def _handled() -> Any:
    return getattr(flask.request, "client", None) if flask.has_request_context() else None


def _space(namespace: str | None) -> str:
    if namespace is not None:
        return namespace
    client = _handled()
    return "/" if client is None else str(client.namespace)
