"""Who is in which room, for each namespace of one process."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial
from itertools import filterfalse
from typing import TYPE_CHECKING, Any

from ..common.users import is_users_room, refuse_reserved, user

if TYPE_CHECKING:
    from ..contracts import Lock
    from .clients import Client


class Rooms:
    """Clients of one namespace by sid and by room. Thread-safe; every operation costs what it touches.

    Every client is alone in a room named by its own sid; that room is not stored.

    :param lock: a native lock, held for a few instructions only.
    :param max_rooms: most rooms of one client, its own left out.
    :param max_name_length: most characters of a room's name.
    """

    __slots__ = ("_clients", "_lock", "_max_name_length", "_max_rooms", "_rooms")

    def __init__(self, lock: Lock, *, max_rooms: int, max_name_length: int) -> None:
        self._lock = lock
        self._max_rooms = max_rooms
        self._max_name_length = max_name_length
        self._clients: dict[str, Client] = {}
        self._rooms: dict[str, dict[str, Client]] = {}

    def __len__(self) -> int:
        return len(self._clients)

    def get(self, sid: str) -> Client | None:
        """Return a client, or ``None``."""
        return self._clients.get(sid)

    def add(self, client: Client) -> None:
        """Let a client in."""
        with self._lock:
            self._clients[client.sid] = client

    def remove(self, client: Client) -> Iterable[str]:
        """Take a client out of the namespace and of its rooms, which are returned."""
        with self._lock:
            self._clients.pop(client.sid, None)
            rooms, client.rooms = client.rooms or (), None
            for room in rooms:
                self._discard(room, client.sid)
            return rooms

    def enter(self, client: Client, room: str) -> bool:
        """Put a client into a room; ``False`` if it is there already, or has left.

        :raises ValueError: if the room is another client's sid, on whatever server, or a user's; if its name is too
            long, or the client in too many.
        """
        if room == client.sid:
            return False
        refuse_reserved("enter", room)
        self._check_length(room)
        with self._lock:
            if client.sid not in self._clients:
                return False  # it left in the meantime
            if client.rooms is None:
                client.rooms = set()
            elif room in client.rooms:
                return False
            elif len(client.rooms) - (client.user is not None) >= self._max_rooms:
                raise ValueError(
                    f"cannot enter room {room!r}: client {client.sid} is in {self._max_rooms} rooms, "
                    f"the most that max_rooms={self._max_rooms} allows"
                )
            self._rooms.setdefault(room, {})[client.sid] = client
            client.rooms.add(room)
            return True

    def _check_length(self, room: Any) -> None:
        # Rooms need not be text: a tuple is as long as it is written.
        length = len(room) if isinstance(room, str) else len(repr(room))
        if length > self._max_name_length:
            raise ValueError(
                f"cannot enter a room whose name has {length} characters: "
                f"max_name_length={self._max_name_length} allows no more"
            )

    def identify(self, client: Client, user_id: str | None) -> tuple[str | None, str | None]:
        """Take a client for a user's, and no longer for another one's; return which room it has left and entered.

        :raises ValueError: if the name of the room would be too long.
        """
        entered = None if user_id is None else user(user_id)
        if entered is not None:
            self._check_length(entered)
        with self._lock:
            left = None if client.user is None else user(client.user)
            client.keep_user(user_id)
            if left == entered or client.sid not in self._clients:
                return None, None
            if client.rooms is None:
                client.rooms = set()
            if left is not None:
                client.rooms.discard(left)
                self._discard(left, client.sid)
            if entered is not None:
                self._rooms.setdefault(entered, {})[client.sid] = client
                client.rooms.add(entered)
            return left, entered

    def leave(self, client: Client, room: str) -> bool:
        """Take a client out of a room; ``False`` if it is not there. Nobody leaves that of the own user."""
        if is_users_room(room):
            return False
        with self._lock:
            if not client.rooms or room not in client.rooms:
                return False
            client.rooms.discard(room)
            self._discard(room, client.sid)
            return True

    def close(self, room: str) -> Collection[Client]:
        """Take everybody out of a room, and return who was in it.

        :raises ValueError: if the room is a client's sid, on whatever server, or a user's.
        """
        refuse_reserved("close", room)
        with self._lock:
            members = self._rooms.pop(room, {}).values()
            for client in members:
                if client.rooms:
                    client.rooms.discard(room)
            return members

    def of(self, client: Client) -> list[str]:
        """Return the rooms of a client, its own sid first, without that of its user."""
        with self._lock:
            rooms = sorted(client.rooms or (), key=str)  # they need not be text
        return [client.sid, *(rooms if client.user is None else filterfalse(is_users_room, rooms))]

    def names(self) -> list[str]:
        """Return the rooms that somebody is in, without those of a client alone."""
        with self._lock:
            return list(self._rooms)

    def sizes(self) -> dict[Any, int]:
        """Return how many are in each room, without those of a client alone."""
        with self._lock:
            return {room: len(members) for room, members in self._rooms.items()}

    def count(self) -> int:
        """Return how many rooms somebody is in, without those of a client alone."""
        return len(self._rooms)

    def members(self, room: str | None) -> list[Client]:
        """Return who is in a room now; ``None`` for the whole namespace."""
        with self._lock:
            if room is None:
                return list(self._clients.values())
            if room in self._clients:
                return [self._clients[room]]
            return list(self._rooms.get(room, {}).values())

    def select(
        self, to: Iterable[str] | None, skip: frozenset[str], exclude: frozenset[Any] = frozenset()
    ) -> list[Client]:
        """Return each addressed client once.

        :param to: rooms and sids; ``None`` for the whole namespace.
        :param skip: sids to leave out.
        :param exclude: rooms whose members are left out, and sids.
        """
        rooms = None if to is None else tuple(to)
        if rooms is None or len(rooms) == 1:
            clients = self.members(None if rooms is None else rooms[0])
        else:
            clients = list({client.sid: client for room in rooms for client in self.members(room)}.values())
        if exclude:
            # A room is asked for each client instead of copied: it may be much larger than what is sent to.
            skip = skip.union(name for name in exclude if name in self._clients)
            for room in exclude:
                if members := self._rooms.get(room):
                    clients = [client for client in clients if client.sid not in members]
        return [client for client in clients if client.sid not in skip] if skip else clients

    def _discard(self, room: str, sid: str) -> None:
        members = self._rooms.get(room)
        if members is not None:
            members.pop(sid, None)
            if not members:
                del self._rooms[room]


class Namespaces:
    """The rooms of each namespace that has clients. Thread-safe.

    :param create_lock: makes native locks, see :class:`Rooms` for the rest.
    """

    __slots__ = ("_create_lock", "_lock", "_new_rooms", "rooms")

    def __init__(self, create_lock: Callable[[], Lock], *, max_rooms: int, max_name_length: int) -> None:
        self._create_lock = create_lock
        self._lock = create_lock()
        self._new_rooms = partial(Rooms, max_rooms=max_rooms, max_name_length=max_name_length)
        self.rooms: dict[str, Rooms] = {}

    def add(self, client: Client) -> None:
        """Let a client into its namespace."""
        with self._lock:
            rooms = self.rooms.get(client.namespace)
            if rooms is None:
                rooms = self.rooms[client.namespace] = self._new_rooms(self._create_lock())
            rooms.add(client)

    def remove(self, client: Client) -> Iterable[str]:
        """Take a client out, and return the rooms that it was in.

        A namespace without any client is forgotten: with ``namespaces="*"`` clients make them up.
        """
        with self._lock:
            rooms = self.rooms.get(client.namespace)
            if rooms is None:
                return ()
            left = rooms.remove(client)
            if not rooms:
                del self.rooms[client.namespace]
            return left

    def find(self, sid: str, namespace: str) -> Client | None:
        """Return a client, or ``None``."""
        rooms = self.rooms.get(namespace)
        return rooms.get(sid) if rooms is not None else None
