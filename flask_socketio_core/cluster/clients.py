"""Who is connected to which server: what each tells of its clients, and how all of them are asked.

A client is known to its own server alone; nothing is sent when one joins a room. What a server has to tell may be more
than a message can carry, so it answers in parts, in the order of keys that stay the same while others come and go.
"""

from __future__ import annotations

import heapq
import json
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..common.repeats import Repeats
from ..common.sendable import FAILURES, encode_strictly
from ..common.sids import is_sid
from ..contracts.found import ClientInfo, Clients, Count, RoomCounts
from . import envelope
from .topics import CLIENTS

if TYPE_CHECKING:
    from ..contracts.clients import Client
    from ..server.interface import Group, LocalServer
    from .servers import Community

#: Bytes of one answer, roughly: some 1000 clients. Every broker carries that, and a worker is done with it in 10 ms.
ANSWER_BYTES = 262_144
#: Bytes of what may be told of one client's data.
DATA_BYTES = 65_536

Part = tuple[list[Any], bool]
"""Items, each with its key first, and whether there are more behind them."""


class ClientsHere:
    """What this server tells of its clients.

    :param node: returns this process's id.
    :param most_bytes: returns how large a message may be, bytes; ``None`` for any size.
    """

    def __init__(
        self,
        server: LocalServer,
        node: Callable[[], str],
        most_bytes: Callable[[], int | None] = lambda: None,
        *,
        logger: logging.Logger | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._server = server
        self._node = node
        self._most_bytes = most_bytes
        self._logger = logger or logging.getLogger("flask_socketio_core.cluster")
        self._repeats = Repeats(clock)
        self._tellers = {"count": self._count, "who": self._who, "rooms": self._rooms}

    def answer(self, question: Mapping[str, Any]) -> Any:
        """Return what was asked for, for JSON.

        :raises Exception: of whatever kind for what is no question; others may ask anything.
        """
        group = envelope.group_of(dict(question))
        after, beyond = question.get("after"), question.get("beyond")
        node = self._node()
        if (after is not None and node not in after) or (beyond is not None and node <= beyond):
            return [[], False]
        key = "" if after is None else str(after[node])
        return self._tellers[question["what"]](group, key, question.get("limit"))

    def _count(self, group: Group, key: str, limit: int | None) -> int:
        return len(self._server.select(group))

    def _who(self, group: Group, key: str, limit: int | None) -> Part:
        by_sid = {client.sid: client for client in self._server.select(group) if client.sid > key}
        sids = sorted(by_sid) if limit is None else heapq.nsmallest(limit + 1, by_sid)
        return self._part((self._record(by_sid[sid]) for sid in sids), len(sids), limit)

    def _rooms(self, group: Group, key: str, limit: int | None) -> Part:
        sizes = self._server.room_sizes(group.namespace)
        named = ((name, room) for room in sizes if (name := _encoded(room)) is not None and name > key)
        found = sorted(named)
        return self._part(([name, room, sizes[room]] for name, room in found), len(found), limit)

    def _part(self, items: Iterable[list[Any]], count: int, limit: int | None) -> Part:
        """Return as many of the items as a message carries; one at least."""
        most = self._most_bytes()
        room = ANSWER_BYTES if most is None else min(ANSWER_BYTES, most // 2)
        part: list[Any] = []
        for item in items:
            if len(part) == limit:
                break
            room -= len(encode_strictly(item))
            if room < 0 and part:
                break
            part.append(item)
        return part, len(part) < count

    def _record(self, client: Client) -> list[Any]:
        try:
            rooms = self._server.rooms(client.sid, client.namespace)[1:]
            transport = self._server.transport(client.sid, client.namespace)
        except KeyError:  # it has just left
            rooms, transport = [], ""
        return [
            client.sid,
            client.namespace,
            [room for room in rooms if _encoded(room) is not None],
            client.user,
            self._data(client),
            transport,
            client.environ.get("REMOTE_ADDR"),
            client.connected_at,
        ]

    def _data(self, client: Client) -> Any:
        data = client.data
        if not data:
            return {}
        try:
            encoded = encode_strictly(data)
        except FAILURES as error:
            problem = str(error)
        else:
            if len(encoded) <= DATA_BYTES:
                return json.loads(encoded)  # a copy, as elsewhere
            problem = f"{len(encoded)} bytes are more than {DATA_BYTES}"
        more = self._repeats.take("untold data")
        if more is not None:
            self._logger.warning(
                "the data of client %s cannot be told to other servers: %s%s", client.sid, problem, more
            )
        return None


def _encoded(room: Any) -> str | None:
    """Return a room's name as JSON; ``None`` if other servers could not be told of it."""
    try:
        return encode_strictly(room) if envelope.is_room(room) else None
    except FAILURES:
        return None


@dataclass(slots=True)
class _Asked:
    """What has come back so far.

    :param parts: items by server.
    :param more: the last key of the servers that have more.
    """

    until_s: float
    limit: int | None = None
    parts: defaultdict[str, list[list[Any]]] = field(default_factory=lambda: defaultdict(list))
    more: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    cut_off: bool = False
    all_asked: bool = True

    def __len__(self) -> int:
        return sum(map(len, self.parts.values()))

    @property
    def wanted(self) -> int | None:
        """How many items are still wanted."""
        return None if self.limit is None else max(self.limit - len(self), 0)

    def next_to_ask(self) -> tuple[dict[str, str], int | None]:
        """Return who is to be asked for more, behind which key, and how many: with a limit what is first in order."""
        if self.limit is None:
            return dict(self.more), None
        wanted = self.limit
        for node in sorted({*self.parts, *self.more}):
            wanted -= len(self.parts[node])
            if wanted <= 0:
                break
            if node in self.more:
                return {node: self.more[node]}, wanted
        return {}, 0


class Finding:
    """Ask all servers about their clients.

    :param community: the way to them.
    :param here: what this process tells itself; ``None`` if it only sends.
    """

    def __init__(
        self,
        community: Community,
        here: ClientsHere | None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.here = here
        self._community = community
        self._clock = clock

    def count(self, group: Group, *, timeout_s: float, local: bool = False) -> Count:
        """Count clients."""
        asked = _Asked(self._clock() + timeout_s)
        question = {"what": "count", **envelope.of_group(group)}
        by_node = {
            node: answer
            for node, answer in self._ask(question, asked, local=local).items()
            if _is_good(envelope.is_number(answer), node, asked)
        }
        return Count.of(by_node).noting(asked.missing, cut_off=asked.cut_off)

    def who(
        self,
        group: Group,
        *,
        timeout_s: float,
        limit: int | None = None,
        after: str | None = None,
        local: bool = False,
    ) -> Clients:
        """Return clients, or a page of them.

        :raises ValueError: for an ``after`` that no page has told, or a limit below 1.
        """
        if limit is not None and limit < 1:
            raise ValueError(f"limit={limit!r} is no number of clients: expected 1 or more, or None for all")
        asked = _Asked(self._clock() + timeout_s, limit)
        question = {"what": "who", **envelope.of_group(group)}
        self._collect(question, asked, after, local=local)
        found = [_client(record, node) for node in sorted(asked.parts) for record in asked.parts[node]]
        page = found[:limit]
        more = bool(asked.more) or len(found) > len(page) or not asked.all_asked
        following = f"{page[-1].node} {page[-1].sid}" if page and more else None
        return Clients.of(page, following).noting(asked.missing, cut_off=asked.cut_off)

    def rooms(self, namespace: str, *, timeout_s: float, local: bool = False) -> RoomCounts:
        """Count the clients of each room."""
        asked = _Asked(self._clock() + timeout_s)
        self._collect({"what": "rooms", "namespace": namespace}, asked, None, local=local)
        counts = RoomCounts()
        for part in asked.parts.values():
            for _, name, count in part:
                room = envelope.room(name)
                counts[room] = counts.get(room, 0) + count
        return counts.noting(asked.missing, cut_off=asked.cut_off)

    def _collect(self, question: dict[str, Any], asked: _Asked, after: str | None, *, local: bool) -> None:
        """Ask until everything is there, or as much as is wanted."""
        if after is not None:
            node, _, key = after.partition(" ")
            if not envelope.is_id(node) or not is_sid(key):
                raise ValueError(f"after={after!r:.100} is not what an earlier page has as 'next'")
            asked.more[node] = key
            self._ask_for_more(question, asked, local=local)
            if asked.wanted == 0:
                asked.all_asked = False
                return
            question = {**question, "beyond": node}
        answers = self._ask({**question, "limit": asked.wanted}, asked, local=local)
        _take(question["what"], answers, asked)
        self._ask_for_more(question, asked, local=local)

    def _ask_for_more(self, question: dict[str, Any], asked: _Asked, *, local: bool) -> None:
        while True:
            nodes, limit = asked.next_to_ask()
            if not nodes:
                return
            for node in nodes:
                del asked.more[node]
            details = {**question, "after": nodes, "beyond": None, "limit": limit}
            _take(question["what"], self._ask(details, asked, nodes=nodes, local=local), asked)

    def _ask(
        self, question: dict[str, Any], asked: _Asked, *, nodes: Iterable[str] | None = None, local: bool
    ) -> dict[str, Any]:
        """Ask once, and return the answers by server.

        :param nodes: who is asked; ``None`` for all.
        """
        answers: dict[str, Any] = {}
        own = self._community.node
        others = None if nodes is None else [node for node in nodes if node != own]
        if self.here is not None and (nodes is None or own in nodes):
            # Not by a worker: all of them may be waiting for answers.
            answers[own] = self.here.answer(question)
        if not local and others != []:
            found = self._community.ask(
                CLIENTS,
                question,
                timeout_s=max(asked.until_s - self._clock(), 0.0),
                node=others[0] if others is not None and len(others) == 1 else None,
                include_self=False,
            )
            answers.update(found.answers)
            asked.missing.update({**dict.fromkeys(found.unable, "unable"), **found.missing, **found.errors})
            asked.cut_off = asked.cut_off or found.cut_off
        return answers


def _take(what: str, answers: Mapping[str, Any], asked: _Asked) -> None:
    for node, answer in answers.items():
        if _is_good(_is_part(what, answer), node, asked):
            part, more = answer
            asked.parts[node] += part
            if more and part:
                asked.more[node] = part[-1][0]


def _is_good(good: bool, node: str, asked: _Asked) -> bool:
    if not good:
        asked.missing[node] = "an answer that is none"
    return good


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_text_or_none(value: Any) -> bool:
    return value is None or isinstance(value, str)


def _is_data(value: Any) -> bool:
    return value is None or isinstance(value, dict)


def _are_rooms(value: Any) -> bool:
    return isinstance(value, list) and all(map(envelope.is_room, value))


_FIELDS: dict[str, tuple[Callable[[Any], bool], ...]] = {
    # sid, namespace, rooms, user, data, transport, address, connected_at
    "who": (
        is_sid,
        _is_text,
        _are_rooms,
        _is_text_or_none,
        _is_data,
        _is_text,
        _is_text_or_none,
        envelope.is_moment,
    ),
    # name, room, count
    "rooms": (_is_text, envelope.is_room, envelope.is_number),
}
"""What the fields of an item have to be, by what was asked for."""


def _is_part(what: str, answer: Any) -> bool:
    """Return whether an answer is a part of clients or rooms; anyone who may publish can send anything."""
    return (
        isinstance(answer, (list, tuple))
        and len(answer) == 2
        and isinstance(answer[0], list)
        and isinstance(answer[1], bool)
        and all(_is_item(item, _FIELDS[what]) for item in answer[0])
    )


def _is_item(item: Any, fields: tuple[Callable[[Any], bool], ...]) -> bool:
    return (
        isinstance(item, list)
        and len(item) == len(fields)
        and all(suits(value) for suits, value in zip(fields, item, strict=True))
    )


def _client(record: list[Any], node: str) -> ClientInfo:
    sid, namespace, rooms, user, data, transport, address, connected_at = record
    return ClientInfo(
        sid=sid,
        namespace=namespace,
        rooms=envelope.rooms(rooms),
        user=user,
        data=data,
        transport=transport,
        address=address,
        connected_at=connected_at,
        node=node,
    )
