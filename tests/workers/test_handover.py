"""What workers write to each other, the ids of their sessions, and who has them."""

from __future__ import annotations

import contextlib
import json
import os
import struct
import threading
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_socketio_async_threading.mode import ThreadingMode
from flask_socketio_core.common import options
from flask_socketio_core.contracts.host.unix import connect, unix_socket
from flask_socketio_core.server.server import Server
from flask_socketio_core.transport.handover.messages import (
    MOST_HEAD_BYTES,
    POST,
    WEBSOCKET,
    Answer,
    BrokenMessage,
    MessageReader,
    Request,
    answer_of,
    encode,
    request_of,
)
from flask_socketio_core.transport.handover.receiving import Receiver
from flask_socketio_core.transport.handover.sids import LENGTH, TAG, is_sid_of, new_tagged_sid, tag_of
from flask_socketio_core.transport.handover.workers import Workers
from flask_socketio_core.transport.reactor import Reactor
from support.engine import RecordingApplication
from support.nodes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LIMIT = 1000
REQUEST = Request(
    kind=WEBSOCKET,
    sid="s" * LENGTH,
    headers=[("X-Name", "Zoë"), ("Vary", "Origin")],
    encodings="gzip",
    head="HTTP/1.1 101 \xff\r\n\r\n",
    compresses=True,
)


def message(head: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">II", len(head), len(body)) + head + body


def fed(*pieces: bytes, limit: int = LIMIT) -> tuple[dict[str, Any], bytes] | None:
    reader = MessageReader(limit)
    found = None
    for piece in pieces:
        assert found is None, "the message was complete before"
        found = reader.feed(piece)
    return found


# --------------------------------------------------------------------------------------------------- messages


def test_a_message_is_read_wherever_it_is_cut() -> None:
    data = encode(REQUEST, b"\x00body")
    for cut in range(len(data) + 1):
        found = fed(data[:cut], data[cut:]) if cut < len(data) else fed(data)
        assert found is not None
        assert (request_of(found[0]), found[1]) == (REQUEST, b"\x00body")
    found = fed(*(data[at : at + 1] for at in range(len(data))))
    assert found is not None and request_of(found[0]) == REQUEST


texts = st.text(max_size=30)
answers = st.builds(
    Answer,
    status=st.integers(100, 599),
    code=st.none() | st.integers(0, 5),
    message=texts,
    closes=st.booleans(),
)
requests = st.builds(
    Request,
    kind=st.sampled_from(["poll", "post", "websocket"]),
    sid=texts,
    headers=st.lists(st.tuples(texts, texts), max_size=3),
    encodings=texts,
    head=st.text(st.characters(max_codepoint=255), max_size=30),
    compresses=st.booleans(),
    error=texts,
)


@given(head=requests | answers, body=st.binary(max_size=LIMIT), size=st.integers(1, 500))
def test_what_is_written_is_read(head: Request | Answer, body: bytes, size: int) -> None:
    data = encode(head, body)
    found = fed(*(data[at : at + size] for at in range(0, len(data), size)))
    assert found is not None
    made = request_of(found[0]) if isinstance(head, Request) else answer_of(found[0])
    assert (made, found[1]) == (head, body)


@given(data=st.binary(max_size=60))
def test_noise_is_broken_or_not_complete(data: bytes) -> None:
    try:
        found = fed(data)
        if found is not None:
            request_of(found[0])
    except BrokenMessage:
        pass


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (struct.pack(">II", MOST_HEAD_BYTES + 1, 0), "a head of 1048577 bytes"),
        (struct.pack(">II", 2, LIMIT + 1), "a body of 1001"),
        (struct.pack(">II", 0xFFFFFFFF, 0xFFFFFFFF), "a head of 4294967295 bytes and a body of 4294967295"),
        (message(b"{}") + b"x", "1 bytes behind the message"),
        (2 * encode(REQUEST, b"body"), "bytes behind the message"),
        (message(b""), "no JSON"),
        (message(b"{"), "no JSON"),
        (message(b'{"sid": "\xff"}'), "no JSON"),
        (message(b"[" * 500_000), "no JSON"),
        (message(b"9" * 5000), "no JSON"),
        (message(b'["poll"]'), "a head that is list"),
        (message(b"null"), "a head that is NoneType"),
    ],
    ids=str,
)
def test_what_is_no_message_is_broken(data: bytes, text: str) -> None:
    with pytest.raises(BrokenMessage, match=text):
        fed(data)


def test_lengths_beyond_the_limit_are_refused_before_anything_is_kept() -> None:
    reader = MessageReader(LIMIT)
    with pytest.raises(BrokenMessage):
        reader.feed(struct.pack(">II", 2, LIMIT + 1))
    assert fed(message(b"{}", bytes(LIMIT))) == ({}, bytes(LIMIT))


VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    1.5,
    [],
    {},
    ["a"],
    [["a"]],
    [["a", 1]],
    [["a", "b", "c"]],
    [{}],
    "ab",
)
GOOD: dict[str, Callable[[Any], bool]] = {
    "headers": lambda value: value == [],
    "compresses": lambda value: value is True,
    "closes": lambda value: value is True,
    "status": lambda value: type(value) is int,
    "code": lambda value: value is None or type(value) is int,
}


def is_good(name: str, value: Any) -> bool:
    return GOOD.get(name, lambda value: isinstance(value, str))(value)


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("name", ["kind", "sid", "headers", "encodings", "head", "compresses", "error"])
def test_a_field_of_a_request_has_its_type(name: str, value: Any) -> None:
    head = {"kind": POST, "sid": "s", name: value}
    if is_good(name, value):
        request_of(head)
    else:
        with pytest.raises(BrokenMessage, match=f"request with {name}="):
            request_of(head)


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize("name", ["status", "code", "message", "closes"])
def test_a_field_of_an_answer_has_its_type(name: str, value: Any) -> None:
    if is_good(name, value):
        answer_of({name: value})
    else:
        with pytest.raises(BrokenMessage, match=f"answer with {name}="):
            answer_of({name: value})


def test_a_handshake_is_what_can_be_written_to_its_client() -> None:
    with pytest.raises(BrokenMessage, match="request with head="):
        request_of({"kind": WEBSOCKET, "sid": "s", "head": "\u0100"})


@pytest.mark.parametrize(
    "head", [{}, {"kind": POST}, {"sid": "s"}, {"kind": POST, "sid": "s", "more": ""}, {"": ""}]
)
def test_fields_are_those_of_this_version(head: dict[str, Any]) -> None:
    with pytest.raises(BrokenMessage, match="request with other fields"):
        request_of(head)
    with pytest.raises(BrokenMessage, match="answer with other fields"):
        answer_of({"kind": POST, **head})


def test_what_is_said_of_a_broken_field_is_bounded() -> None:
    with pytest.raises(BrokenMessage) as caught:
        request_of({"kind": POST, "sid": ["x" * 500_000]})
    assert len(str(caught.value)) <= 1000


# ------------------------------------------------------------------------------------------------ session ids

names = st.text("0123456789abcdef", min_size=12, max_size=12)


@given(name=names, other=names)
def test_a_sid_is_that_of_its_worker_alone(name: str, other: str) -> None:
    sid = new_tagged_sid(name)
    assert (len(sid), sid[:TAG]) == (LENGTH, tag_of(name))
    assert sid.isascii() and sid.replace("-", "a").replace("_", "a").isalnum()
    assert is_sid_of(name, sid)
    assert is_sid_of(other, sid) is (name == other)


@given(name=names, at=st.integers(0, LENGTH - 1), character=st.characters())
def test_a_sid_of_which_one_character_differs_is_nobodys(name: str, at: int, character: str) -> None:
    sid = new_tagged_sid(name)
    forged = sid[:at] + character + sid[at + 1 :]
    assert is_sid_of(name, forged) is (forged == sid)


@given(name=names, sid=st.text(max_size=2 * LENGTH))
def test_what_is_no_sid_is_nobodys(name: str, sid: str) -> None:
    assert not is_sid_of(name, sid)
    assert not is_sid_of(name, tag_of(name) + sid)


def test_a_tag_with_the_code_of_another_worker_is_refused() -> None:
    one, other = "a" * 12, "b" * 12
    sid, theirs = new_tagged_sid(one), new_tagged_sid(other)
    assert not is_sid_of(one, sid[:-4] + theirs[-4:])
    assert not is_sid_of(one, sid[:TAG] + theirs[TAG:])
    for forged in (sid + "a", sid[:-1], "", sid[:TAG], sid.lower() + " ", "é" * LENGTH, sid[:-1] + "\udcff"):
        assert not is_sid_of(one, forged)


# ---------------------------------------------------------------------------------------------- who is there


@pytest.fixture
def join(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Workers]]:
    """Make workers that meet in a directory of this test; they leave at its end."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    made = []

    def make(group: str = "group") -> Workers:
        made.append(Workers(group, threading.Lock()))
        return made[-1]

    yield make
    for workers in made:
        workers.close()
    assert list(tmp_path.iterdir()) == []


def test_a_worker_finds_whose_a_session_is(join: Callable[..., Workers]) -> None:
    one, other = join(), join()
    sid = other.new_sid()
    owner = one.owner_of(sid)
    assert owner is not None and os.path.dirname(owner) == one.path == other.path
    assert other.owner_of(sid) is None
    assert one.owner_of(sid[:-1] + ("a" if sid[-1] != "a" else "b")) is None
    assert one.owner_of("a" * LENGTH) is None
    third = join()
    assert third.owner_of(sid) == owner
    assert (one.owner_of(third.new_sid()) or "").startswith(one.path)


def test_workers_of_another_group_are_not_found(join: Callable[..., Workers]) -> None:
    one, other = join(), join("other")
    assert one.owner_of(other.new_sid()) is None
    assert (one.others(), other.others()) == (0, 0)


def test_who_leaves_is_not_found_any_more(join: Callable[..., Workers]) -> None:
    one, other, third = join(), join(), join()
    sid = other.new_sid()
    owner = one.owner_of(sid)
    assert owner is not None
    other.leave()
    with pytest.raises(FileNotFoundError), contextlib.closing(unix_socket()) as sock:
        connect(sock, owner)
    one.remove(owner)
    assert one.owner_of(sid) is None
    assert one.owner_of(third.new_sid()) is not None
    assert one.others() == 1


def test_a_worker_that_has_left_is_not_woken_up_again_and_again(join: Callable[..., Workers]) -> None:
    mode, workers, has_left = ThreadingMode(), join(), False
    server = Server(RecordingApplication(), options.build({}), mode)
    reactor = Reactor(mode, server.eio.report)
    receiver = Receiver(workers.sock, server.eio, reactor, lambda: has_left, lambda *_: None)
    receiver.start()
    assert reactor.descriptors == 1
    has_left = True
    workers.leave()
    wait_until(lambda: reactor.descriptors == 0, "end of the receiver")
    reactor.close()
    server.shutdown()
    mode.close()


def test_what_is_put_into_the_directory_is_no_worker(join: Callable[..., Workers]) -> None:
    one = join()
    for name in ("../../../../x", ".hidden", "A" * 12, "a" * 11):
        sid = new_tagged_sid(name)
        if "/" not in name:
            open(os.path.join(one.path, name), "w").close()
        assert one.owner_of(sid) is None
        if "/" not in name:
            os.unlink(os.path.join(one.path, name))


def test_workers_with_one_tag_are_told_apart_by_the_code(
    join: Callable[..., Workers], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("sids", "workers"):
        monkeypatch.setattr(f"flask_socketio_core.transport.handover.{module}.tag_of", lambda name: "same")
    one, others = join(), [join() for _ in range(3)]
    sids = [other.new_sid() for other in others]
    assert {sid[:TAG] for sid in sids} == {"same"}
    found = [one.owner_of(sid) for sid in sids]
    assert None not in found and len(set(found)) == 3
    assert one.owner_of("same" + json.dumps("x" * 18)) is None
