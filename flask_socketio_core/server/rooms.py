"""Who is in which room, for each namespace of one process."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
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

    __slots__ = ("_clients", "_lock", "_max_name_length", "_max_rooms", "_rooms", "lost")

    def __init__(self, lock: Lock, *, max_rooms: int, max_name_length: int) -> None:
        self._lock = lock
        self._max_rooms = max_rooms
        self._max_name_length = max_name_length
        self._clients: dict[str, Client] = {}
        self._rooms: dict[str, dict[str, Client]] = {}
        self.lost: Rooms | None = None
        """Clients that have lost their connection and may come back, and the rooms that they are in."""

    def __len__(self) -> int:
        return len(self._clients)

    def get(self, sid: str) -> Client | None:
        """Return a client, or ``None``."""
        return self._clients.get(sid)

    def add(self, client: Client) -> None:
        """Let a client in."""
        with self._lock:
            self._put_in(client, ())

    def remove(self, client: Client) -> Iterable[str]:
        """Take a client out of the namespace and of its rooms, which are returned."""
        with self._lock:
            return self._take_out(client)

    def _take_out(self, client: Client) -> Collection[str]:
        if self._clients.get(client.sid) is not client:
            return ()  # another connection has its sid, and its rooms
        del self._clients[client.sid]
        rooms, client.rooms = client.rooms or (), None
        for room in rooms:
            self._discard(room, client.sid)
        return rooms

    def _put_in(self, client: Client, rooms: Iterable[str]) -> None:
        self._clients[client.sid] = client
        client.rooms = set(rooms) or None
        for room in client.rooms or ():
            self._rooms.setdefault(room, {})[client.sid] = client

    def lose(self, client: Client) -> Iterable[str]:
        """Keep a client that has lost its connection apart from the others; return its rooms."""
        with self._lock:
            if self._clients.get(client.sid) is not client:
                return ()
            rooms = self._take_out(client)
            self._put_apart(client, rooms)
            return rooms

    def add_lost(self, client: Client, rooms: Iterable[str]) -> None:
        """Keep a client apart, from now on, that has lost its connection to another server."""
        with self._lock:
            self._put_apart(client, rooms)

    def _put_apart(self, client: Client, rooms: Iterable[str]) -> None:
        if self.lost is None:
            self.lost = Rooms(self._lock, max_rooms=self._max_rooms, max_name_length=self._max_name_length)
        earlier = self.lost.get(client.sid)
        if earlier is not None:
            self.lost._take_out(earlier)
        self.lost._put_in(client, rooms)

    def replace(self, old: Client, new: Client, missed: int) -> bool:
        """Have a client be the one that it was before, with its rooms; ``False`` if that is not there."""
        with self._lock:
            rooms, holder = self._holding(old.sid)
            if holder is not old:
                return False
            left = rooms._take_out(old)
            new.come_back_as(old, missed=missed)
            self._put_in(new, left)
            return True

    def _holding(self, sid: str) -> tuple[Rooms, Client | None]:
        """Return who has a sid now, which may be on another connection than a moment ago, and where."""
        if self.lost is not None and sid in self.lost._clients:
            return self.lost, self.lost._clients[sid]
        return self, self._clients.get(sid)

    def enter(self, client: Client, room: str) -> bool:
        """Put a client into a room, whoever has its sid by now.

        :returns: whether that is to be told: ``False`` if it is there already or has left; or is away, for its rooms
            are told when it is back.
        :raises ValueError: if the room is another client's sid, on whatever server, or a user's; if its name is too
            long, or the client in too many.
        """
        if room == client.sid:
            return False
        refuse_reserved("enter", room)
        self._check_length(room)
        with self._lock:
            rooms, holder = self._holding(client.sid)
            if holder is None:
                return False  # it left in the meantime
            if holder.rooms is None:
                holder.rooms = set()
            elif room in holder.rooms:
                return False
            elif len(holder.rooms) - (holder.user is not None) >= self._max_rooms:
                raise ValueError(
                    f"cannot enter room {room!r}: client {client.sid} is in {self._max_rooms} rooms, "
                    f"the most that max_rooms={self._max_rooms} allows"
                )
            rooms._rooms.setdefault(room, {})[client.sid] = holder
            holder.rooms.add(room)
            return rooms is self

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

        Of one that is away nothing is to be told, and one that has a newer connection only notes it.

        :raises ValueError: if the name of the room would be too long.
        """
        entered = None if user_id is None else user(user_id)
        if entered is not None:
            self._check_length(entered)
        with self._lock:
            left = None if client.user is None else user(client.user)
            client.keep_user(user_id)
            rooms, holder = self._holding(client.sid)
            if left == entered or holder is not client:
                return None, None
            if client.rooms is None:
                client.rooms = set()
            if left is not None:
                client.rooms.discard(left)
                rooms._discard(left, client.sid)
            if entered is not None:
                rooms._rooms.setdefault(entered, {})[client.sid] = client
                client.rooms.add(entered)
            return (left, entered) if rooms is self else (None, None)

    def leave(self, client: Client, room: str) -> bool:
        """Take a client out of a room, whoever has its sid by now. Nobody leaves that of the own user.

        :returns: whether that is to be told: ``False`` if it is not there; or is away, which was told when it was lost.
        """
        if is_users_room(room):
            return False
        with self._lock:
            rooms, holder = self._holding(client.sid)
            if holder is None or not holder.rooms or room not in holder.rooms:
                return False
            holder.rooms.discard(room)
            rooms._discard(room, client.sid)
            return rooms is self

    def close(self, room: str) -> Collection[Client]:
        """Take everybody out of a room, and return who was in it and is not away.

        :raises ValueError: if the room is a client's sid, on whatever server, or a user's.
        """
        refuse_reserved("close", room)
        with self._lock:
            members = self._rooms.pop(room, {}).values()
            away = self.lost._rooms.pop(room, {}).values() if self.lost is not None else ()
            for client in (*members, *away):
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
        return self._without(clients, skip, exclude) if skip or exclude else clients

    def select_with_lost(
        self, to: Iterable[str] | None, skip: frozenset[str], exclude: frozenset[Any] = frozenset()
    ) -> list[Client]:
        """Return each addressed client once, also those that may come back; see :meth:`select`.

        At one moment, so that one that is just being lost, or comes back, is neither missed nor found twice.
        """
        rooms = None if to is None else tuple(to)
        with self._lock:
            if self.lost is None or not self.lost._clients:
                found = self._members_of(rooms)
            else:
                found = {**self.lost._members_of(rooms), **self._members_of(rooms)}
            clients = list(found.values())
            if exclude:
                clients = self._without(clients, skip, exclude)
        return clients if exclude or not skip else self._without(clients, skip, exclude)

    def _members_of(self, rooms: tuple[str, ...] | None) -> Mapping[str, Client]:
        if rooms is None:
            return self._clients
        found: dict[str, Client] = {}
        for room in rooms:
            client = self._clients.get(room)
            found.update(self._rooms.get(room, {}) if client is None else {room: client})
        return found

    def _without(self, clients: list[Client], skip: frozenset[str], exclude: frozenset[Any]) -> list[Client]:
        if exclude:
            # A room is asked for each client instead of copied: it may be much larger than what is sent to.
            skip = skip.union(name for name in exclude if isinstance(name, str))
            for room in exclude:
                for rooms in (self, self.lost):
                    if rooms is not None and (members := rooms._rooms.get(room)):
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
        """Let a client into its namespace; see :meth:`Rooms.add`."""
        with self._lock:
            self._rooms_for(client).add(client)

    def add_lost(self, client: Client, rooms: Iterable[str]) -> None:
        """Keep a client apart that has lost its connection to another server; see :meth:`Rooms.add_lost`."""
        with self._lock:
            self._rooms_for(client).add_lost(client, rooms)

    def _rooms_for(self, client: Client) -> Rooms:
        rooms = self.rooms.get(client.namespace)
        if rooms is None:
            rooms = self.rooms[client.namespace] = self._new_rooms(self._create_lock())
        return rooms

    def remove(self, client: Client) -> Iterable[str]:
        """Take a client out, and return the rooms that it was in.

        A namespace without any client is forgotten: with ``namespaces="*"`` clients make them up.
        """
        with self._lock:
            rooms = self.rooms.get(client.namespace)
            if rooms is None:
                return ()
            left = rooms.remove(client)
            if rooms.lost is not None:
                left = (*left, *rooms.lost.remove(client))
            if not rooms and not rooms.lost:
                del self.rooms[client.namespace]
            return left

    def lose(self, client: Client) -> Iterable[str]:
        """Keep a client apart that may come back; see :meth:`Rooms.lose`."""
        with self._lock:  # or the namespace could be forgotten while the client is in neither place
            rooms = self.rooms.get(client.namespace)
            return () if rooms is None else rooms.lose(client)

    def replace(self, old: Client, new: Client, missed: int) -> bool:
        """Put a client in the place of the one that it was before; see :meth:`Rooms.replace`."""
        with self._lock:
            rooms = self.rooms.get(old.namespace)
            return rooms is not None and rooms.replace(old, new, missed)

    def find_lost(self, sid: str, namespace: str) -> Client | None:
        """Return a client that may come back, or ``None``."""
        rooms = self.rooms.get(namespace)
        return rooms.lost.get(sid) if rooms is not None and rooms.lost is not None else None

    def find(self, sid: str, namespace: str) -> Client | None:
        """Return a client, or ``None``."""
        rooms = self.rooms.get(namespace)
        return rooms.get(sid) if rooms is not None else None
