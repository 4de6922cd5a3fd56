"""What every client can read: the check of data that is to be sent, by this process or over a message queue.

A client that gets something else closes its connection, and only its own log says why. So this is the sender's error,
raised before anything is sent, with the place in the data.

Source: socket.io-parser 4.2 (names, placeholders, attachments), ECMA-404 (numbers).
"""

from __future__ import annotations

import contextlib
import json as standard_json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

from ..errors import InvalidData
from .quoting import printable

BINARY = (bytes, bytearray, memoryview)
"""What becomes an attachment."""

FAILURES = (TypeError, ValueError, OverflowError, RecursionError)
"""What an encoder raises if the data is at fault."""

RESERVED_EVENTS = frozenset(
    ("connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener")
)
"""Names that no event may have. Source: socket.io-parser's ``RESERVED_EVENTS``."""

NOT_FINITE = "JSON has no such number"


def check_name(event: object) -> None:
    """Refuse what cannot be an event's name.

    :raises InvalidData: if it is no text, or reserved.
    """
    if not isinstance(event, str):
        raise InvalidData(
            f"event {event!r} cannot be sent: its name is of type {type(event).__name__}, not text"
        )
    if event in RESERVED_EVENTS:
        raise InvalidData(
            f"event {event!r} cannot be sent: the name is reserved, clients close the connection on it; "
            f"reserved are {', '.join(sorted(RESERVED_EVENTS))}"
        )


def check_count(attachments: int, most: int) -> None:
    """Refuse more attachments than clients take.

    :raises ValueError: if there are.
    """
    if attachments > most:
        raise ValueError(
            f"{attachments} attachments exceed max_attachments={most}; official clients take 10 unless they are "
            f"told otherwise"
        )


# attachments and their placeholders


def placeholder(number: int) -> dict[str, Any]:
    """Source: socket.io-protocol v5, "Packet encoding", binary attachments."""
    return {"_placeholder": True, "num": number}


def has_binary(value: Any) -> bool:
    """Return whether there is anything that becomes an attachment."""
    if isinstance(value, dict):
        return any(map(has_binary, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(has_binary, value))
    return isinstance(value, BINARY)


def take_out(value: Any, attachments: list[bytes]) -> Any:
    """Return a value with placeholders where it has bytes, which are appended to the attachments.

    What holds no bytes is left as it is: an encoder may know better than we what a named tuple or a mapping becomes.

    :raises ValueError: if something else looks like a placeholder.
    """
    if isinstance(value, BINARY):
        attachments.append(bytes(value))
        return placeholder(len(attachments) - 1)
    before = len(attachments)
    if isinstance(value, (list, tuple)):
        items = [take_out(item, attachments) for item in value]
        return value if len(attachments) == before else items
    if isinstance(value, dict):
        if value.get("_placeholder"):
            raise ValueError(_LOOKALIKE)
        pairs = {key: take_out(item, attachments) for key, item in value.items()}
        return value if len(attachments) == before else pairs
    return value


_LOOKALIKE = "it looks like the placeholder of an attachment, and there are attachments beside it"


def put_back(value: Any, attachments: list[bytes]) -> Any:
    """Return a value with its placeholders replaced by the attachments, each of which is used once.

    A second use would let a few bytes become any number of them where the value is encoded again.

    :raises ValueError: if placeholders and attachments do not match.
    """
    left: list[bytes | None] = list(attachments)
    found = _put_back(value, left)
    unused = [number for number, attachment in enumerate(left) if attachment is not None]
    if unused:
        raise ValueError(f"attachment {unused[0]} of {len(left)} without a placeholder")
    return found


def _put_back(value: Any, left: list[bytes | None]) -> Any:
    if isinstance(value, list):
        return [_put_back(item, left) for item in value]
    if not isinstance(value, dict):
        return value
    if not value.get("_placeholder"):
        return {key: _put_back(item, left) for key, item in value.items()}
    number = value.get("num")  # without one it is no data either: nobody could encode it to send it on
    if number.__class__ is not int or not 0 <= number < len(left):
        raise ValueError(f"placeholder for attachment {printable(repr(number))} of {len(left)}")
    attachment, left[number] = left[number], None
    if attachment is None:
        raise ValueError(f"second placeholder for attachment {number}")
    return attachment


# numbers

_SUSPECT = re.compile(r"NaN|Infinity|[eE]\+?[0-9]{3}|[0-9]{200}")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_CONSTANT_OR_FLOAT = re.compile(r"NaN|Infinity|[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?")


def refuse_constant(name: str) -> Any:
    """Refuse a constant of JavaScript that Python's JSON takes for a number."""
    raise ValueError(f"{name}: {NOT_FINITE}")


def finite(digits: str) -> float:
    """Return a number of JSON that has a fraction or an exponent.

    :raises ValueError: if it is too large.
    """
    value = float(digits)
    if math.isinf(value):
        raise ValueError(f"{digits[:20]} is infinite: {NOT_FINITE}")
    return value


class StrictJson:
    """A JSON module that neither writes nor reads numbers that JSON does not have, whatever it does by itself."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return getattr(self._module, name)

    def dumps(self, *args: Any, **keywords: Any) -> Any:
        """Return data as text, or as bytes if the module does."""
        text = self._module.dumps(*args, **keywords)
        _check_numbers(text if isinstance(text, str) else bytes(text).decode())
        return text

    def loads(self, text: Any) -> Any:
        """Return the value of a text."""
        _check_numbers(text if isinstance(text, str) else bytes(text).decode())
        return self._module.loads(text)


def _check_numbers(text: str) -> None:
    if _SUSPECT.search(text) is None:
        return
    for match in _CONSTANT_OR_FLOAT.finditer(_STRING.sub('""', text)):
        found = match.group()
        if found in ("NaN", "Infinity"):
            refuse_constant(found)
        if not found.isdecimal():
            finite(found)


_strict = standard_json.JSONEncoder(allow_nan=False)
# What JSONEncoder.encode() makes anew for each value, which takes as long as to encode a small one.
_make = getattr(standard_json.encoder, "c_make_encoder", None)
_encode_at_once: Callable[[Any, int], tuple[str, ...]] | None = _make and _make(
    None,  # it looks for no circles: they end with the recursion
    _strict.default,
    standard_json.encoder.encode_basestring_ascii,
    None,
    _strict.key_separator,
    _strict.item_separator,
    _strict.sort_keys,
    _strict.skipkeys,
    _strict.allow_nan,
)


def encode_strictly(value: Any) -> str:
    """Return the standard library's JSON without the numbers that JSON does not have.

    :raises TypeError: for a value that cannot be encoded; :class:`ValueError` and :class:`RecursionError` likewise.
    """
    if _encode_at_once is not None:
        try:
            return "".join(_encode_at_once(value, 0))
        except RecursionError:
            pass  # it is said below whether it contains itself
    return _strict.encode(value)


# what is wrong, and where


def explain(subject: str, data: Any, error: Exception, encode: Callable[[Any], object]) -> InvalidData:
    """Return the error that says where the data is what cannot be sent.

    :param subject: what was to be sent.
    :param encode: what has failed; it is tried on one value after the other.
    """
    found = None
    with contextlib.suppress(RecursionError):  # then the first error says it
        found = _find(data, encode, has_binary(data))
    if found is None:
        text = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
    else:
        place, value, reason = found
        what = repr(value) if isinstance(value, float) else f"of type {type(value).__name__}"
        text = f"{place} is {what}: {reason}"
    return InvalidData(f"{subject} cannot be sent: {text}")


def _find(data: Any, encode: Callable[[Any], object], binary: bool) -> tuple[str, Any, str] | None:
    for place, value in _walk(data):
        if isinstance(value, dict):
            if binary and value.get("_placeholder"):
                return place, value, _LOOKALIKE
            for key in value:
                if not isinstance(key, str) and (reason := _reason({key: None}, encode)):
                    return f"a key of {place}", key, reason
        elif not isinstance(value, (list, tuple, *BINARY)) and (reason := _reason(value, encode)):
            return place, value, reason
    return None


def _reason(value: Any, encode: Callable[[Any], object]) -> str | None:
    try:
        encode(value)
    except FAILURES as error:
        if isinstance(value, float) and not math.isfinite(value):
            return NOT_FINITE
        return str(error) or type(error).__name__
    return None


def _walk(data: Any) -> Iterator[tuple[str, Any]]:
    """Yield everything in the data with its place, in the order of encoders; what contains itself, once."""
    yield "data", data
    stack = [("data", data, _items(data))]
    above = {id(data)}
    while stack:
        place, container, items = stack[-1]
        for key, value in items:
            inner = f"{place}[{_key(key)}]"
            yield inner, value
            if isinstance(value, (dict, list, tuple)) and id(value) not in above:
                stack.append((inner, value, _items(value)))
                above.add(id(value))
                break
        else:
            stack.pop()
            above.discard(id(container))


def _items(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        return iter(list(value.items()))
    return iter(list(enumerate(value))) if isinstance(value, (list, tuple)) else iter(())


def _key(key: Any) -> str:
    return printable(standard_json.dumps(key, ensure_ascii=False) if isinstance(key, str) else repr(key))


def carries_all(serializer: str | type[Any]) -> bool:
    """Return whether a serializer carries bytes and every number by itself, as msgpack does."""
    return serializer == "msgpack" or not getattr(serializer, "uses_binary_events", True)
