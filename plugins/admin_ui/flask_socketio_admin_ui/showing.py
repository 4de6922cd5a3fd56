"""What one server shows of its own clients in development mode: who is there, and what happens to them."""

from __future__ import annotations

import threading
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from . import masking

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask_socketio_core import SocketIO
    from flask_socketio_core.contracts.clients import Client

Told = list[list[Any]]
"""Events for pages, each with its arguments."""

PAGE = 100
"""Most clients in one answer of a server, whose size queues limit: some 200 KB."""
MOST_EVENTS = 100
"""Most events of clients that are told at a time; more could not be read, and comings and goings must not wait."""
ENGINE_SID_CHARACTERS = 12
"""As many are shown: who knows the whole has the connection."""
EVERYBODY = "*"


class Showing:
    """This server's part.

    :param own: the pages' namespace.
    :param show_admins: show that, too.
    :param on_page: called when a page was let in.
    """

    def __init__(
        self, socketio: SocketIO, own: str, *, show_admins: bool, on_page: Callable[[], None]
    ) -> None:
        self._socketio = socketio
        self._own = own
        self._show_admins = show_admins
        self._on_page = on_page
        self._lock = threading.Lock()
        self._told: Told = []
        self._events = 0
        self._data: dict[tuple[str, str], Any] = {}

    def shows(self, namespace: str) -> bool:
        """Return whether clients of a namespace are shown."""
        return self._show_admins or namespace != self._own

    def take(self) -> Told:
        """Return what has happened since the last time, in order."""
        with self._lock:
            told, self._told, self._events = self._told, [], 0
        return told

    def _note(self, event: str, *args: Any) -> None:
        with self._lock:
            self._told.append([event, *args])

    def _note_event(self, kind: str, namespace: str, who: str, event: str, args: tuple[Any, ...]) -> None:
        with self._lock:
            self._events += 1
            if self._events > MOST_EVENTS:
                return
            self._told.append([kind, namespace, who, [event, *masking.presentable(args)], _now()])

    # ---------------------------------------------------------------------------------------------- who is there

    def page(self, after: str | None) -> dict[str, Any]:
        """Return some of the clients, and where the next ones begin."""
        found = self._socketio.who(namespace="*", local=True, limit=PAGE, after=after)
        sockets = [self._socket(each.sid, each.namespace) for each in found if self.shows(each.namespace)]
        return {"sockets": [socket for socket in sockets if socket is not None], "next": found.next}

    def _socket(self, sid: str, namespace: str) -> dict[str, Any] | None:
        try:
            client = self._socketio.server.client(sid, namespace)
            transport = self._socketio.server.transport(sid, namespace)
        except KeyError:  # it has left
            return None
        data = self._data[namespace, sid] = _data(client)
        return {
            "id": sid,
            "clientId": client.engine_sid[:ENGINE_SID_CHARACTERS],
            "transport": transport,
            "nsp": namespace,
            "data": data,
            "handshake": _handshake(client),
            "rooms": [str(room) for room in self._socketio.server.rooms(sid, namespace)],
        }

    def note_changed_data(self) -> None:
        """Note whose ``data`` or ``user`` is another one than it was told."""
        before, now = self._data, {}
        for each in self._socketio.who(namespace="*", local=True):
            key = each.namespace, each.sid
            try:
                now[key] = _data(self._socketio.server.client(each.sid, each.namespace))
            except KeyError:
                continue
            if key in before and before[key] != now[key]:
                self._note("socket_updated", {"id": each.sid, "nsp": each.namespace, "data": now[key]})
        self._data = now

    # ---------------------------------------------------------------------------------------------- what happens

    def observers(self) -> list[Callable[..., None]]:
        """Return the functions that are told, while somebody looks."""

        def socketio_connected(sid: str, namespace: str) -> None:
            if namespace == self._own:
                self._on_page()
            if self.shows(namespace) and (socket := self._socket(sid, namespace)) is not None:
                self._note("socket_connected", socket, _now())

        def socketio_disconnected(sid: str, namespace: str, reason: str) -> None:
            if self.shows(namespace):
                detail = getattr(reason, "detail", None)
                text = f"{reason} ({detail})" if detail else str(reason)
                self._note("socket_disconnected", namespace, sid, text, _now())
                self._note(
                    "room_left", namespace, sid, sid, _now()
                )  # its own room, which the page has as well

        def socketio_room_entered(sid: str, namespace: str, room: Any) -> None:
            if self.shows(namespace):
                self._note("room_joined", namespace, str(room), sid, _now())

        def socketio_room_left(sid: str, namespace: str, room: Any) -> None:
            if self.shows(namespace):
                self._note("room_left", namespace, str(room), sid, _now())

        def socketio_transport_changed(engine_sid: str, transport: str) -> None:
            for client in self._socketio.server.clients_of(engine_sid):
                if self.shows(client.namespace):
                    changed = {"id": client.sid, "nsp": client.namespace, "transport": transport}
                    self._note("socket_updated", changed)

        def socketio_event_before(sid: str, namespace: str, event: str, args: tuple[Any, ...]) -> None:
            if event == "*":  # handled by a function for all events
                event, args = str(args[0]), args[1:]
            if self.shows(namespace) and event not in ("connect", "disconnect"):
                self._note_event("event_received", namespace, sid, event, args)

        def socketio_emit(
            namespace: str, event: str, to: tuple[Any, ...] | None, args: tuple[Any, ...]
        ) -> None:
            if namespace != self._own:  # or each would cause another one
                whom = EVERYBODY if to is None else ", ".join(map(str, to))
                self._note_event("event_sent", namespace, whom, event, args)

        return [
            socketio_connected,
            socketio_disconnected,
            socketio_room_entered,
            socketio_room_left,
            socketio_transport_changed,
            socketio_event_before,
            socketio_emit,
        ]


def _data(client: Client) -> dict[str, Any]:
    shown: dict[str, Any] = masking.presentable(dict(client.data))
    return shown if client.user is None else {"user": client.user, **shown}


def _handshake(client: Client) -> dict[str, Any]:
    environ = client.environ
    query = environ.get("QUERY_STRING", "")
    return {
        "address": environ.get("REMOTE_ADDR", ""),
        "headers": masking.headers(environ),
        "query": masking.query(query),
        "issued": int(client.connected_at * 1000),
        "secure": environ.get("wsgi.url_scheme") == "https",
        "time": _iso(client.connected_at),
        "url": masking.url(f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}?{query}"),
        "xdomain": "HTTP_ORIGIN" in environ,
    }


def _now() -> str:
    return _iso(datetime.now(timezone.utc).timestamp())


def _iso(at_s: float) -> str:
    moment = datetime.fromtimestamp(at_s, timezone.utc)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
