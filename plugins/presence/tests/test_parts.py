"""Another server's part: pages and differences in whatever order, of which some are lost."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from flask_socketio_presence import parts
from flask_socketio_presence.others import Pages, Part
from flask_socketio_presence.parts import Key, OwnPart, Told, within


def key(number: int) -> Key:
    return "/", "doc:7", f"{number:03}"


def heard(payload: Any) -> Told:
    return Told.read(json.loads(json.dumps(payload)))


class Copy:
    """What another server makes of a part: ``stamps`` has what is said of each connection that it shows."""

    def __init__(self, own: OwnPart) -> None:
        self.part = Part()
        self.stamps: dict[Key, int] = {}
        self._own = own
        self._newest: dict[Key, int] = {}
        self._pages = Pages()

    def hear(self, payload: Any) -> None:
        self.apply(self.part.hear(heard(payload)))
        if self.part.misses:
            self.begin()

    def begin(self) -> None:
        self.part.asking, self.part.again = True, False
        self._pages = Pages(self.part.keys)

    def ask(self) -> Any:
        """Return what the other server answers now."""
        return within(self._own.page(self._pages.after), 120)

    def read(self, answer: Any) -> None:
        page = heard(answer)
        assert self._pages.take(page)
        self.apply(page)
        if not page.more:
            since = self.part.finish(self._pages)
            self.apply(since)
            if since is None:
                self.begin()

    def apply(self, told: Told | None) -> None:
        for gone in told.left if told is not None else ():
            self.part.keys.discard(gone)
            self.stamps.pop(gone, None)
        for came, (_, meta) in told.joined.items() if told is not None else ():
            assert meta["stamp"] >= self._newest.get(came, 0), "an earlier state was shown again"
            self._newest[came] = self.stamps[came] = meta["stamp"]
            self.part.keys.add(came)


@pytest.mark.parametrize("seed", range(30))
def test_a_copy_is_right_in_the_end_and_never_goes_back(seed: int) -> None:
    rng = random.Random(seed)
    own, stamps, under_way, answer = OwnPart(), {}, [], None  # type: ignore[var-annotated]
    copy = Copy(own)
    copy.begin()

    def change(stamp: int) -> None:
        changed = key(rng.randrange(40))
        if changed in own and rng.random() < 0.5:
            own.leave(changed)
            del stamps[changed]
        else:
            own.join(changed, "ann", {"stamp": stamp})
            stamps[changed] = stamp

    def tell() -> None:
        under_way.extend(own.difference(keys) for keys in own.take_changed())

    for stamp in range(1, 1_000):
        action = rng.random()
        if action < 0.3:
            change(stamp)
        elif action < 0.4:
            tell()
        elif action < 0.5 and under_way:
            copy.hear(under_way.pop(0))
        elif action < 0.51 and under_way and seed % 3:
            under_way.pop(0)  # lost
        elif action < 0.53 and seed % 3 == 2:  # a gap of the bus
            copy.part.again = copy.part.asking
            if not copy.part.asking:
                copy.begin()
        elif copy.part.asking:
            if answer is None:
                answer = copy.ask()
            elif rng.random() < 0.9:
                copy.read(answer)
                answer = None
            else:
                answer = None  # lost
    change(1_000)
    tell()
    while under_way:
        copy.hear(under_way.pop(0))
    while copy.part.asking:
        copy.read(copy.ask())
    assert copy.stamps == stamps
    assert set(copy.part.keys) == set(stamps)


def test_changes_meanwhile_do_not_begin_the_pages_anew() -> None:
    own = OwnPart()
    for number in range(30):
        own.join(key(number), "ann", {"stamp": 1})
    own.take_changed()
    copy = Copy(own)
    copy.begin()
    questions = 0
    while copy.part.asking:
        copy.read(copy.ask())
        questions += 1
        own.join(key(100 + questions), "ben", {"stamp": 1})
        for keys in own.take_changed():
            copy.hear(own.difference(keys))
    assert 15 <= questions <= 60
    assert len(copy.stamps) == 30 + questions


def test_what_a_gap_has_swallowed_meanwhile_is_asked_for_once_more() -> None:
    own = OwnPart()
    own.join(key(1), "ann", {"stamp": 1})
    copy = Copy(own)
    copy.begin()
    answer = copy.ask()
    own.join(key(2), "ben", {"stamp": 1})
    own.difference([key(1), key(2)])  # lost, and none follows
    copy.part.again = True
    copy.read(answer)
    assert copy.part.asking
    copy.read(copy.ask())
    assert (copy.part.asking, set(copy.stamps)) == (False, {key(1), key(2)})


def test_a_page_is_bounded_and_has_one_connection_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "MOST_AT_ONCE", 10)
    own = OwnPart()
    for number in range(25):
        own.join(key(number), "ann", {"text": "x" * 100})
    first = own.page(None)
    assert (len(first["joined"]), first["more"]) == (10, True)
    last = own.page(list(key(19)))
    assert (len(last["joined"]), last["more"]) == (5, False)
    assert [len(within(last, size)["joined"]) for size in (1, 300, 10_000)] == [1, 2, 5]
    assert within(last, 300)["more"]
    assert len(own.whole()["joined"]) == 25
    own.withhold(key(3))
    own.leave(key(4))
    assert [item[2] for item in own.page(None)["joined"]][2:5] == ["002", "005", "006"]


def test_what_is_not_the_next_page_changes_nothing() -> None:
    pages = Pages([key(1), key(5)])
    assert not pages.take(Told(1, {}, more=True))
    assert pages.take(page := Told(1, {key(2): ("ann", {})}, more=True))
    assert page.left == [key(1)]
    assert not pages.take(Told(1, {key(2): ("ann", {})}, more=True))
    assert pages.take(page := Told(2, {}))
    assert page.left == [key(5)]
