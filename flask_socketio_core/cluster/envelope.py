"""The wire format on the bus: JSON that python-socketio's managers read and write, with extra keys of ours.

A message is an object with ``method`` and ``host_id``. Methods of python-socketio: ``emit``, ``callback``,
``disconnect``, ``enter_room``, ``leave_room``, ``close_room``. Ours besides: ``node`` (a server says that it is
there), ``gone`` (who was asked for an acknowledgement has left), ``move`` and ``kick`` (of the clients of rooms), and
what servers say to each other: ``tell``, ``ask`` and ``answer``, ``asked`` and ``acked``. A method that a process does
not know is ignored, by python-socketio's, too. Extra keys in every message of ours:

=========  ===========================================================================================
``v``      version of these additions, now 1
``node``   id of the sender, and with a colon the address for which alone a message is; ``host_id`` is that of the
           addressee in a ``callback``
``seq``    counts the sender's messages; ``(node, seq)`` identifies a message, and a gap is a loss. A ``node`` message
           has no number of its own: it repeats the last one, so that the loss of the last messages is noticed, too;
           so it does in ``to`` for each address to which the sender has sent something alone
``sig``    only with a secret: see :mod:`~flask_socketio_core.cluster.signing`
=========  ===========================================================================================

Binary values travel as python-socketio sends them: ``data`` is a list of the structure with placeholders and the
attachments in base64, and ``binary`` is true. In a ``callback`` the same is ours alone: python-socketio cannot send it.
So is ``room``, which is true if a room was asked: its other members may answer, too. ``keep`` of an ``emit`` is an id
of the event, which goes into the history of its rooms.

A ``node`` message says with ``protocol`` what its server understands, so that it is sent nothing else, and with
``topics`` what it can be asked about. Without them it is 0 and nothing. A higher protocol understands what the lower
ones do. :data:`MAX_TOPICS` holds for all of them; keys that a server does not know are ignored.

========  ================  ===================================================================================
protocol  since             understands
========  ================  ===================================================================================
0         the beginning     what has no number here
1         0.1               ``tell`` and ``ask``: ``topic``, ``args`` (a list, of which the first is used; binary
                            values as in a ``callback``). Besides, for ``ask``: ``id``, ``expires_at`` (seconds
                            since the epoch, when nobody waits any more) and perhaps ``to``, the node that is asked
                            alone. ``answer``: ``id``, with ``args`` or ``error``; ``host_id`` is that of who asked
2         0.1               ``except`` of an ``emit``: rooms whose members do not receive it. What may be a sid is
                            in ``skip_sid``, too, which all know
3         0.1               ``move`` (``enter`` and ``leave``, lists of rooms) and ``kick`` (``reason``, the detail,
                            and ``close``), of the clients that ``to`` (a list of rooms and sids, or none) and
                            ``except`` tell. ``close`` of a ``disconnect``
4         0.1               ``ask_all`` of an ``emit``, with ``expires_at``: see
                            :mod:`~flask_socketio_core.cluster.calls_to_all`, as for ``asked`` and ``acked``
========  ================  ===================================================================================

What is addressed to sids of ours has these in ``sids`` and only the rest in ``room``: a process of python-socketio's,
which may have let a client into a room of that name, is not told of them. If there is no rest, the method is
``emit_sids``, which python-socketio ignores. Its processes and emitters write our sids into ``room``, and are heard.

An ``emit_sids`` has only the keys that say something, and ``sids`` stands last, before the extra keys and without
spaces, so that a server which has none of these clients need not read the rest. It has to where ``ask_all`` is in it.

Source: python-socketio 5.18.1, ``pubsub_manager.py`` (format), ``packet.py`` (placeholders).
"""

from __future__ import annotations

import base64
import json as standard_json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..common.quoting import printable
from ..common.sendable import StrictJson, check_count, encode_strictly, has_binary, put_back, take_out
from ..common.sids import LENGTH as SID_LENGTH
from ..common.sids import is_address, is_sid
from ..common.values import full_namespace
from ..server.interface import Group

if TYPE_CHECKING:
    from ..contracts.clients import Emission

VERSION = 1

STAMP_BYTES = 128
"""Bytes that a stamp adds to a message, generously."""

SIGNATURE_BYTES = 101
"""Bytes that a signature adds to a message; see :mod:`~flask_socketio_core.cluster.signing`."""

_NODE = b',"node":"'
_TO_SIDS = "emit_sids"
_STARTS_TO_SIDS = (b'{"method": "emit_sids"', b'{"method":"emit_sids"')
_SIDS = b',"sids":["'
_PLAIN_SIDS = re.compile(r'[\w-]+(?:","[\w-]+)*', re.ASCII)
_TO_SIDS_ALONE = re.compile(
    rb'([^"]+(?:","[^"]+)*)"\],"v":%d,"node":"([^"]+)","seq":([0-9]{1,18})\}' % VERSION
)

Message = dict[str, Any]
"""A message as JSON has it."""


MAX_ID = 64
"""Most characters of the id of a process."""

MAX_NAME = 65_536
"""Most characters of the name of an event, a namespace, a room or a client."""

MAX_NUMBER = 2**63 - 1
"""Highest number of a message or an acknowledgement."""

MAX_DEPTH = 256
"""Deepest nesting of values."""

PROTOCOL = 4
"""What this version understands; see the table above."""

MAX_TOPICS = 64
"""Most topics of a server. With ``MAX_ID`` characters each, they take 4.3 kB of a sign of life at most."""

MAX_ERROR = 1_000
"""Most characters of what went wrong where an answer was asked for."""


class Malformed(Exception):
    """A message from the bus that cannot be used.

    :ivar kind: what is wrong with it, one of a few sentences.
    """

    def __init__(self, kind: str, detail: str = "") -> None:
        super().__init__(f"{kind}: {printable(detail)}" if detail else kind)
        self.kind = kind


class Wire:
    """Encode and decode messages with one JSON module.

    :param json: anything with ``dumps`` and ``loads``; ``None`` for the standard library's.
    :param strict: write no numbers that clients which speak JSON cannot read. Others may send them, and they are read.
    """

    def __init__(self, json: Any = None, *, strict: bool = True) -> None:
        self.dumps: Callable[[Any], Any]
        self._loads = (json or standard_json).loads
        #: What json.loads() calls, without what it does besides, which takes as long for a small message.
        decoder: Any = standard_json.JSONDecoder()
        self._scan = decoder.scan_once if self._loads is standard_json.loads else None
        if json is None or json is standard_json:
            self.dumps = encode_strictly if strict else standard_json.dumps
        else:
            self.dumps = StrictJson(json).dumps if strict else json.dumps

    def encode(self, message: Message) -> bytes:
        """Return a message without its sequence number; :func:`stamp` adds it.

        :raises TypeError: for a value that the JSON module cannot encode.
        :raises ValueError: likewise.
        """
        if message.get("method") != _TO_SIDS or "ask_all" in message:
            return self._dump(message)
        sids = '","'.join(message["sids"])
        if _PLAIN_SIDS.fullmatch(sids) is None:  # a checksum can fit a name with quotes in it
            return self._dump(message)
        rest = message.copy()
        del rest["sids"]
        return b'%b,"sids":["%b"]}' % (self._dump(rest)[:-1], sids.encode())

    def _dump(self, message: Message) -> bytes:
        text = self.dumps(message)
        return (text.encode() if isinstance(text, str) else bytes(text)).strip()

    def _load(self, text: str) -> Any:
        if self._scan is not None:
            try:
                value, end = self._scan(text, 0)
            except StopIteration:
                end = -1
            if end == len(text):  # or else json.loads() says what is wrong, or skips the spaces
                return value
        return self._loads(text)

    def decode(self, raw: bytes) -> Message:
        """Return a message whose parts have the types that they should have, with its attachments put back.

        :raises Malformed: if it is none.
        """
        try:
            message = self._load(raw.decode())  # with bytes, json.loads() guesses the encoding first
        except (ValueError, RecursionError) as error:
            raise Malformed("not JSON", str(error)) from None
        if not isinstance(message, dict) or not isinstance(message.get("method"), str):
            raise Malformed("no object with a method")
        if raw.count(b"[") + raw.count(b"{") > MAX_DEPTH:
            _check_depth(message)
        _check_sender(message)
        method = message["method"]
        parts = _PARTS.get(method, _NO_PARTS)
        for key, value in message.items():
            if key in parts and not parts[key](value):
                raise Malformed(f"{method!r} with a wrong {key!r}")
        for key in _NEEDED.get(method, ()):
            if key not in message:
                raise Malformed(f"{method!r} with a wrong {key!r}")
        body = _BODIES.get(method)
        if body is not None and message.get("binary"):
            message[body], message["binary"] = list(unpack(message.get(body))), False
        return message


def _check_depth(message: Message) -> None:
    level: list[Any] = [message]
    for _ in range(MAX_DEPTH):
        level = [
            inner
            for value in level
            for inner in (value.values() if isinstance(value, dict) else value)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return
    raise Malformed("nested too deeply")


def _check_sender(message: Message) -> None:
    """Check what :func:`stamp` adds; python-socketio's messages have neither."""
    if "node" not in message and "seq" not in message and message["method"] != "node":
        return
    if not is_id(message.get("node")):
        raise Malformed("a wrong 'node'")
    if not is_number(message.get("seq")):
        raise Malformed("a wrong 'seq'")


def is_id(value: Any) -> bool:
    """Return whether a value can be the id of a process, or a topic's name."""
    return isinstance(value, str) and 0 < len(value) <= MAX_ID and value.isascii() and value.isprintable()


def is_number(value: Any) -> bool:
    """Return whether a value can be a number of something that is counted."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_NUMBER


def _is_name(value: Any) -> bool:
    if not isinstance(value, str) or len(value) > MAX_NAME:
        return False
    if value.isascii():
        return True
    try:
        value.encode()  # JSON can have half a surrogate pair, which nobody could be told
    except UnicodeEncodeError:
        return False
    return True


def is_room(value: Any, depth: int = 4) -> bool:
    """Return whether a value can be a room's name: text, a number, or a tuple of them, which is a list in JSON."""
    if isinstance(value, (list, tuple)):
        return depth > 0 and all(is_room(item, depth - 1) for item in value)
    return _is_name(value) if isinstance(value, str) else value is None or isinstance(value, (int, float))


def _is_namespace(value: Any) -> bool:
    return value is None or _is_name(value)


def _is_callback(value: Any) -> bool:
    if value is None:
        return True
    if not isinstance(value, list) or len(value) != 3:
        return False
    room, namespace, number = value
    return is_room(room) and _is_namespace(namespace) and is_number(number)


def _are_rooms(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(map(is_room, value)))


def _is_skip(value: Any) -> bool:
    return value is None or _is_name(value) or (isinstance(value, list) and all(map(_is_name, value)))


def _are_sids(value: Any) -> bool:
    return value is None or (isinstance(value, list) and all(map(is_sid, value)))


def _are_named(value: Any) -> bool:
    return isinstance(value, list) and all(map(is_sid, value))


def _are_acks(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_ack, value))


def _is_ack(value: Any) -> bool:
    if not isinstance(value, list) or len(value) not in (2, 3) or not is_sid(value[0]):
        return False
    if len(value) == 2:
        return value[1] in ("gone", "dropped")
    return isinstance(value[1], list) and isinstance(value[2], bool)


def _is_end(value: Any) -> bool:
    return value is None or is_moment(value)


def _is_question(value: Any) -> bool:
    return value is None or is_number(value)


def _is_sender(value: Any) -> bool:
    return value is None or is_id(value)


def is_moment(value: Any) -> bool:
    """Return whether a value can be a time in seconds that one can calculate with."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= MAX_NUMBER


def _is_list(value: Any) -> bool:
    return isinstance(value, list)


def _is_answer(value: Any) -> bool:
    return value is None or isinstance(value, list)


def _is_error(value: Any) -> bool:
    return value is None or (_is_name(value) and len(value) <= MAX_ERROR)


def _is_protocol(value: Any) -> bool:
    return value is None or is_number(value)


def _are_topics(value: Any) -> bool:
    return value is None or (isinstance(value, list) and len(value) <= MAX_TOPICS and all(map(is_id, value)))


def _are_sent_to(value: Any) -> bool:
    if not isinstance(value, dict):
        return value is None
    return all(map(is_address, value)) and all(map(is_number, value.values()))


_BODIES = {
    "emit": "data",
    "emit_sids": "data",
    "callback": "args",
    "tell": "args",
    "ask": "args",
    "answer": "args",
}
_GROUP: dict[str, Callable[[Any], bool]] = {
    "namespace": _is_namespace,
    "to": _are_rooms,
    "except": _are_rooms,
}
_TELL: dict[str, Callable[[Any], bool]] = {"node": is_id, "topic": is_id, "args": _is_list}
_EMIT: dict[str, Callable[[Any], bool]] = {
    "event": _is_name,
    "namespace": _is_namespace,
    "room": is_room,
    "sids": _are_sids,
    "skip_sid": _is_skip,
    "except": _are_rooms,
    "ask_all": _is_question,
    "keep": _is_sender,
    "expires_at": _is_end,
    "callback": _is_callback,
    "host_id": _is_sender,
}
_PARTS: dict[str, dict[str, Callable[[Any], bool]]] = {
    "emit": _EMIT,
    "emit_sids": _EMIT,
    "callback": {"host_id": is_id, "id": is_number, "sid": is_room, "namespace": _is_namespace},
    "gone": {"host_id": is_id, "id": is_number, "sid": is_room},
    "disconnect": {"sid": _is_name, "namespace": _is_namespace},
    "enter_room": {"sid": _is_name, "room": is_room, "namespace": _is_namespace},
    "leave_room": {"sid": _is_name, "room": is_room, "namespace": _is_namespace},
    "close_room": {"room": is_room, "namespace": _is_namespace},
    "move": {**_GROUP, "enter": _are_rooms, "leave": _are_rooms},
    "kick": _GROUP,
    "node": {
        "state": is_id,
        "async_mode": _is_sender,
        "version": _is_sender,
        "protocol": _is_protocol,
        "topics": _are_topics,
        "to": _are_sent_to,
    },
    "tell": _TELL,
    "ask": {**_TELL, "id": is_number, "expires_at": is_moment, "to": _is_sender},
    "asked": {"node": is_id, "host_id": is_id, "id": is_number, "sids": _are_named, "total": is_number},
    "acked": {"node": is_id, "host_id": is_id, "id": is_number, "acks": _are_acks},
    "answer": {"node": is_id, "host_id": is_id, "id": is_number, "args": _is_answer, "error": _is_error},
}


_NO_PARTS: dict[str, Callable[[Any], bool]] = {}
_NEEDED = {
    method: tuple(key for key, suits in parts.items() if not suits(None)) for method, parts in _PARTS.items()
}
"""Keys without which a message is none."""


def stamp(encoded: bytes, node: str, seq: int) -> bytes:
    """Add version, sender and sequence number to an encoded message.

    Done to the bytes, so that the number can be taken at the last moment and the message is encoded only once.
    """
    return b'%b,"v":%d,"node":"%b","seq":%d}' % (encoded[:-1], VERSION, node.encode(), seq)


def sender_to(node: str, address: str) -> str:
    """Return as whom a node sends what is for an address alone, with other numbers than what is for all."""
    return f"{node}:{address}" if address else node


def is_to_one(sender: str) -> bool:
    """Return whether a sender is one that sends to an address alone; see :func:`sender_to`."""
    return ":" in sender


def node_of(sender: str) -> str:
    """Return which node has sent a message; see :func:`sender_to`."""
    return sender.partition(":")[0]


def number_of(stamped: bytes) -> int:
    """Return the sequence number of a message that :func:`stamp` has made."""
    return int(stamped[stamped.rindex(b":") + 1 : -1])


def sent_by(raw: bytes, node: str) -> bool:
    """Say, without decoding a message, whether it was stamped by a node: most of what a server hears is its own."""
    start = raw.rfind(_NODE, -STAMP_BYTES - SIGNATURE_BYTES)
    return start >= 0 and raw.startswith(b'%b","seq":' % node.encode(), start + len(_NODE))


def first_sid(stamped: bytes) -> str:
    """Return what looks like the first sid to which a message is sent, and may be anything; empty if there is none."""
    if not stamped.startswith(_STARTS_TO_SIDS):
        return ""
    start = stamped.rfind(_SIDS) + len(_SIDS)
    return stamped[start : start + SID_LENGTH].decode("latin-1")


def addressed(stamped: bytes) -> tuple[list[str], str, int] | None:
    """Return to whom alone a message is sent, its sender and its number, without decoding it.

    :returns: ``None`` if that takes decoding, as with every other message than an ``emit_sids`` of this version.
    """
    if not stamped.startswith(_STARTS_TO_SIDS):
        return None
    found = _TO_SIDS_ALONE.fullmatch(stamped, stamped.rfind(_SIDS) + len(_SIDS))
    if found is None:
        return None
    sids, sender, number = found.groups()
    node = sender.decode("latin-1")
    if not is_id(node):
        return None
    return sids.decode("latin-1").split('","'), node, int(number)


def emit(
    emission: Emission,
    *,
    host_id: str,
    callback: tuple[Any, str, int] | None,
    max_attachments: int | None = None,
) -> Message:
    """Return the message that sends an event to clients elsewhere.

    :param max_attachments: most binary values that clients take; ``None`` for any number.
    :raises ValueError: if clients could not take the attachments.
    :param callback: room, namespace and number of the acknowledgement that is asked for.
    """
    event, args, namespace, to, skip, _, volatile, _, exclude, keep = emission
    names, sids = to, [name for name in to or () if is_sid(name)]
    if to is not None and sids:
        found = frozenset(sids)
        names = () if len(sids) == len(to) else tuple([name for name in to if name not in found])
    if exclude:
        # Who does not know ``except`` leaves out those that are sids at least, also sids of python-socketio.
        skip = skip.union(name for name in exclude if isinstance(name, str))
    data, binary = pack(list(args))
    if binary and max_attachments is not None:
        check_count(len(data) - 1, max_attachments)
    if sids and not names:  # python-socketio ignores it, so nothing need be said that goes without saying
        message: Message = {
            "method": _TO_SIDS,
            "event": event,
            "data": data,
            "namespace": namespace,
            "sids": sids,
        }
        if binary:
            message["binary"] = True
        if skip:
            message["skip_sid"] = sorted(skip)
        if callback is not None:
            message.update(callback=list(callback), host_id=host_id)
        _add_extras(message, exclude, volatile, keep)
        return message
    message = {
        "method": "emit",
        "event": event,
        "data": data,
        "binary": binary,
        "namespace": namespace,
        "room": _rooms_to_wire(names),
        "skip_sid": sorted(skip) if skip else None,
        "callback": None if callback is None else list(callback),
        "host_id": host_id,
    }
    if sids:
        message["sids"] = sids
    _add_extras(message, exclude, volatile, keep)
    return message


def _add_extras(message: Message, exclude: frozenset[Any], volatile: bool, keep: str | None) -> None:
    if exclude and (rooms := [name for name in exclude if not is_sid(name)]):
        message["except"] = rooms
    if volatile:
        message["volatile"] = True
    if keep is not None:
        message["keep"] = keep


def _rooms_to_wire(to: tuple[Any, ...] | None) -> Any:
    # A list is several rooms, so a room that is a tuple itself must not travel alone.
    if to is None or (len(to) == 1 and not isinstance(to[0], tuple)):
        return None if to is None else to[0]
    return list(to)


def addressees(message: Message) -> tuple[Any, ...] | None:
    """Return the rooms and sids of an ``emit`` or ``emit_sids`` message; ``None`` for everybody."""
    sids = message.get("sids") or ()
    value = message.get("room")
    if value is None:
        return tuple(sids) if message["method"] == "emit_sids" else None
    if isinstance(value, list):
        return (*map(room, value), *sids)
    return (value, *sids)


_NOBODY: frozenset[Any] = frozenset()


def excluded(message: Message) -> frozenset[Any]:
    """Return the rooms whose members do not receive what an ``emit`` message sends."""
    rooms = message.get("except")
    return frozenset(map(room, rooms)) if rooms else _NOBODY


def of_group(group: Group) -> Message:
    """Return what says in a message which clients are meant."""
    return {
        "namespace": group.namespace,
        "to": None if group.to is None else list(group.to),
        "except": list(group.exclude),
    }


def group_of(message: Message) -> Group:
    """Return which clients are meant by what :func:`of_group` has written."""
    to = message.get("to")
    namespace = full_namespace(message.get("namespace"))
    return Group(namespace, None if to is None else rooms(to), excluded(message))


def rooms(values: Any) -> tuple[Any, ...]:
    """Return the names of rooms as they were."""
    return tuple(map(room, values or ()))


def room(value: Any) -> Any:
    """Return a room's name as it was: JSON makes a list of a tuple."""
    return tuple(room(item) for item in value) if isinstance(value, list) else value


def pack(values: list[Any]) -> tuple[list[Any], bool]:
    """Return values ready for JSON, and whether binary ones were taken out."""
    if not has_binary(values):
        return values, False
    attachments: list[bytes] = []
    structure = take_out(values, attachments)
    return [structure, *(base64.b64encode(data).decode() for data in attachments)], True


def unpack(data: Any) -> tuple[Any, ...]:
    """Return the values of which :func:`pack` has taken out the binary ones.

    :raises Malformed: if placeholders and attachments do not match.
    """
    try:
        attachments = [base64.b64decode(text, validate=True) for text in data[1:]]
        structure = put_back(data[0], attachments)
    except (ValueError, TypeError, IndexError, KeyError, RecursionError) as error:
        raise Malformed("binary attachments do not fit", str(error)) from None
    return arguments(structure)


def arguments(data: Any) -> tuple[Any, ...]:
    """Return the arguments of an event or an acknowledgement: python-socketio sends a single one without a list."""
    return tuple(data) if isinstance(data, list) else (data,)
