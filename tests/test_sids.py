"""Which names have the form of a sid."""

from __future__ import annotations

import random
import secrets
import string
import uuid
import zlib

from hypothesis import given
from hypothesis import strategies as st

from flask_socketio_core.common.sids import address_in, is_address, is_sid, new_sid

#: Names that applications give to rooms, some of the length of a sid.
HONEST = (
    "", "lobby", "room:42", "conversation-00001234567", "user_12345678901234567890", 5, None, ("a", 1), b"x" * 24,
)  # fmt: skip


ADDRESSES = ("", "000000", "ffffff", "0a1b2c")


def test_every_sid_is_one_and_safe_in_urls() -> None:
    sids = {new_sid(address) for address in ADDRESSES for _ in range(500)}
    assert len(sids) == 2_000
    assert all(map(is_sid, sids))
    allowed = set(string.ascii_letters + string.digits + "-_")
    assert all(len(sid) == 24 and set(sid) <= allowed for sid in sids)


def test_what_differs_from_a_sid_in_one_character_is_none() -> None:
    for sid in map(new_sid, ADDRESSES):
        for place in range(len(sid)):
            for character in "aZ7_-ést ":
                changed = sid[:place] + character + sid[place + 1 :]
                assert is_sid(changed) is (changed == sid)
    assert not is_sid(sid + " ")
    assert not is_sid(sid[:-1])


def test_a_sid_tells_its_address_and_other_names_tell_none() -> None:
    assert [address_in(new_sid(address)) for address in ADDRESSES] == list(ADDRESSES)
    assert [address_in(name) for name in HONEST] == [""] * len(HONEST)


@given(st.text(string.printable, min_size=4, max_size=4))
def test_a_sid_that_somebody_has_made_up_may_be_asked_for_its_address(start: str) -> None:
    random = start + "yW1VkELyE2x1"
    made_up = f"{random}t{zlib.crc32(random.encode(), 1) & 0xFFF_FFFF:07x}"
    assert is_sid(made_up)
    address = address_in(made_up)
    assert address == "" or is_address(address)


def test_names_of_rooms_and_ids_of_other_makes_are_none() -> None:
    choice = random.Random(1)
    made_up = [secrets.token_hex(12) for _ in range(5_000)]  # as MongoDB's ids
    made_up += ["".join(choice.choices(string.ascii_lowercase + string.digits, k=24)) for _ in range(5_000)]
    made_up += [str(uuid.uuid4()), secrets.token_urlsafe(18), secrets.token_urlsafe(15)]
    assert not any(map(is_sid, [*HONEST, *made_up]))


@given(st.text(max_size=30))
def test_any_text_may_be_asked_about(name: str) -> None:
    assert not is_sid(name)
