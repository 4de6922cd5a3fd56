"""What a room shows, and what it tells: no clock, no server."""

from __future__ import annotations

from typing import Any

from flask_socketio_presence.rooms import Room


class Screen:
    """A client that keeps the list by what it is told, as the JavaScript module does."""

    def __init__(self, room: Room) -> None:
        self.room = room
        _, self.users = room.first()
        self.heard: list[str] = []

    def look(self) -> dict[str, list[Any]]:
        change = self.room.take_changes()
        if change.event is not None:
            event, told = change.event
            self.heard.append(event)
            if event == "presence_state":
                self.users = told
            if event == "presence_diff":
                self._apply(told)
        return {
            user: [{key: value for key, value in meta.items() if key != "phx_ref"} for meta in entry["metas"]]
            for user, entry in self.users.items()
        }

    def _apply(self, diff: dict[str, Any]) -> None:
        for user, entry in diff["joins"].items():
            self.users.setdefault(user, {"metas": []})["metas"] += entry["metas"]
        for user, entry in diff["leaves"].items():
            refs = {meta["phx_ref"] for meta in entry["metas"]}
            left = [meta for meta in self.users[user]["metas"] if meta["phx_ref"] not in refs]
            self.users[user]["metas"] = left
            if not left:
                del self.users[user]


def news(room: Room) -> list[tuple[bool, str]]:
    return [(came, user) for came, user, _ in room.take_changes().news]


def test_two_tabs_are_one_user_with_two_entries() -> None:
    room = Room(10)
    screen = Screen(room)
    room.join("s1", "ann", {"tab": 1})
    room.join("s2", "ann", {"tab": 2})
    assert len(room) == 1
    assert screen.look() == {"ann": [{"tab": 1}, {"tab": 2}]} == room.metas()
    assert room.leave("s1", 5.0) is None  # the other one is there
    assert screen.look() == {"ann": [{"tab": 2}]} == room.metas()


def test_a_reload_in_time_is_not_told() -> None:
    room = Room(10)
    screen = Screen(room)
    room.join("s1", "ann", {"name": "Ann"})
    screen.look()
    assert room.leave("s1", 5.0) == "ann"
    room.join("s2", "ann", {"name": "Ann"})
    room.expire("ann", 6.0)
    assert screen.look() == {"ann": [{"name": "Ann"}]} == room.metas()
    assert screen.heard == ["presence_diff"]  # the first

    assert room.leave("s2", 9.0) == "ann"
    room.expire("ann", 6.0)  # the time of the first reload is not that of the second
    assert len(room) == 1
    room.expire("ann", 9.0)
    assert screen.look() == {} == room.metas()
    assert room.is_empty


def test_a_reload_whose_end_is_heard_after_its_beginning_is_not_told() -> None:
    room = Room(10)
    screen = Screen(room)
    room.join("s1", "ann", {})
    screen.look()
    room.join("s2", "ann", {})
    assert room.leave("s1", 5.0) is None
    assert screen.look() == {"ann": [{}]} == room.metas()
    assert screen.heard == ["presence_diff"]  # the first
    assert room.leave("s2", 9.0) == "ann"


def test_a_user_that_comes_back_with_other_news_never_left() -> None:
    room = Room(10)
    screen = Screen(room)
    room.join("s1", "ann", {"mood": "good"})
    assert news(room) == [(True, "ann")]
    room.leave("s1", 5.0)
    room.join("s2", "ann", {"mood": "bad"})
    assert room.metas() == {"ann": [{"mood": "bad"}]}
    assert news(room) == []
    room.join("s2", "ann", {"mood": "best"})  # tracked again
    assert room.metas() == {"ann": [{"mood": "best"}]}
    room.join("s2", "ben", {})  # another login over the same connection
    room.expire("ann", 9.0)
    assert room.metas() == {"ben": [{}]}
    assert screen.room.first()[1].keys() == {"ben"}


def test_who_comes_and_goes_between_two_looks_is_no_difference() -> None:
    room = Room(10)
    room.join("s1", "ann", {})
    room.leave("s1", 0.0)
    room.expire("ann", 0.0)
    change = room.take_changes()
    assert change.event is None
    assert [(came, user) for came, user, _ in change.news] == [(True, "ann"), (False, "ann")]
    assert room.is_empty


def test_a_large_room_is_counted_and_listed_again_when_it_is_small() -> None:
    room = Room(10)
    screen = Screen(room)
    for number in range(11):
        room.join(f"s{number}", f"u{number}", {})
    assert room.first() == ("presence_count", {"count": 11})
    screen.look()
    room.join("s0", "u0", {"changed": 1})
    screen.look()
    assert screen.heard == ["presence_count"]  # the number is the same
    for number in range(2):
        room.leave(f"s{number}", 0.0)
        room.expire(f"u{number}", 0.0)
        users = screen.look()
    assert screen.heard == ["presence_count", "presence_count", "presence_state"]
    assert users == room.metas() == {f"u{number}": [{}] for number in range(2, 11)}
