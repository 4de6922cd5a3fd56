"""Who is in which room: from any thread, at the cost of what is touched."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

from flask_socketio_core.server.rooms import Rooms


class Member:
    """What a room knows of a client."""

    def __init__(self, sid: str) -> None:
        self.sid = sid
        self.rooms: set[str] | None = None
        self.user: str | None = None


def make_rooms() -> Any:
    return Rooms(threading.Lock(), max_rooms=100, max_name_length=50)


def test_members_of_excluded_rooms_are_not_selected() -> None:
    rooms = make_rooms()
    for sid, names in (("a", ["one"]), ("b", ["one", "two"]), ("c", [])):
        member = Member(sid)
        rooms.add(member)
        for name in names:
            rooms.enter(member, name)

    def selected(to: list[str] | None, skip: str, *exclude: str) -> str:
        return "".join(client.sid for client in rooms.select(to, frozenset(skip), frozenset(exclude)))

    assert selected(None, "", "two", "nobody") == "ac"
    assert selected(["one"], "", "a") == "b"
    assert selected(["one", "c"], "c", "two") == "a"
    assert selected(["one"], "", "one") == ""
    assert selected(None, "") == "abc"


def test_threads_that_join_leave_close_and_broadcast_leave_everything_in_order() -> None:
    rooms = make_rooms()
    failures: list[BaseException] = []
    names = [f"room {number}" for number in range(5)]
    stay = Member("stays")
    rooms.add(stay)
    rooms.enter(stay, "room of its own")

    def act(seed: int) -> None:
        choice = random.Random(seed)
        try:
            for number in range(400):
                member = Member(f"{seed}.{number}")
                rooms.add(member)
                for _ in range(6):
                    choice.choice([rooms.enter, rooms.enter, rooms.leave])(member, choice.choice(names))
                selected = rooms.select((*names, member.sid), frozenset())
                assert len({client.sid for client in selected}) == len(selected)
                assert member in selected
                if choice.random() < 0.1:
                    rooms.close(choice.choice(names))
                rooms.remove(member)
                rooms.enter(member, choice.choice(names))  # too late
        except BaseException as error:  # noqa: BLE001  # the test's own thread asserts on it
            failures.append(error)

    threads = [threading.Thread(target=act, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert rooms.members(None) == [stay] == rooms.members("room of its own")
    assert [rooms.members(name) for name in names] == [[]] * len(names)
    assert set(rooms._rooms) == {"room of its own"}, "an empty room is forgotten"


def test_leaving_costs_the_clients_own_rooms_and_not_all_there_are() -> None:
    def leave(others: int) -> float:
        rooms = make_rooms()
        for number in range(others):
            member = Member(f"other {number}")
            rooms.add(member)
            rooms.enter(member, f"room {number}")
        leaving = [Member(f"leaving {number}") for number in range(100)]
        for member in leaving:
            rooms.add(member)
            rooms.enter(member, "room 0")
        begun_s = time.perf_counter()
        for member in leaving:
            rooms.remove(member)
        return time.perf_counter() - begun_s

    assert min(leave(50_000) for _ in range(3)) < 50 * min(leave(10) for _ in range(3))
