"""What an application sees, with the test client; and what servers do about what they have missed."""

from __future__ import annotations

import gc
import uuid
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from flask import Flask

from flask_socketio_core import SocketIO, join_room, leave_room
from flask_socketio_core.cluster.memory import MemoryQueue
from flask_socketio_core.contracts.servers import Answers
from flask_socketio_core.errors import ConfigurationError, ContextError, InvalidData, InvalidOption
from flask_socketio_presence import Presence, parts
from flask_socketio_presence.presence import PAGES, TOPIC
from support.nodes import wait_until

pytestmark = pytest.mark.timeout(60)


class Site:
    """An application of this process, which is a server of its own."""

    def __init__(self, **given: Any) -> None:
        options = {name: given.pop(name) for name in list(given) if name.islower()}
        self.app = Flask(__name__)
        self.app.config.update(given)
        self.socketio = SocketIO(self.app, async_mode="threading", **options)
        self.presence = Presence(self.socketio)
        self.errors: list[BaseException] = []
        self.socketio.user_loader(lambda auth: auth)

        @self.socketio.on("track")
        def track(room: str, meta: Any = None) -> None:
            self.presence.track(room, meta)

        @self.socketio.on("untrack")
        def untrack(room: str) -> None:
            self.presence.untrack(room)

        @self.socketio.on("enter")
        def enter(room: str) -> None:
            join_room(room)

        @self.socketio.on("leave")
        def leave(room: str) -> None:
            leave_room(room)

        @self.socketio.on_error_default
        def note(error: BaseException) -> None:
            self.errors.append(error)

    def client(self, user: Any, *events: Any) -> Any:
        client = self.socketio.test_client(self.app, auth=user)
        for event in events:
            client.emit(*event)
        return client


Sites = Any


@pytest.fixture
def make_site() -> Iterator[Sites]:
    made: list[Site] = []

    def make(**given: Any) -> Site:
        made.append(Site(**given))
        return made[-1]

    yield make
    for site in made:
        site.socketio.close(0.5)


def heard(client: Any) -> list[tuple[str, Any]]:
    return [(event["name"], event["args"][0]) for event in client.get_received()]


def test_a_client_that_is_tracked_is_told_the_state_once(make_site: Sites) -> None:
    site = make_site(SOCKETIO_PRESENCE_GRACE_S=0)
    ann = site.client("ann", ("track", "doc:7", {"n": 1}))
    ben = site.client(42, ("track", "doc:7"), ("track", "doc:7", {"n": 2}))
    assert site.presence.list("doc:7") == {"ann": [{"n": 1}], "42": [{"n": 2}]}
    states = [told for name, told in heard(ben) if name == "presence_state"]
    assert [sorted(state) for state in states] == [["42", "ann"]]
    wait_until(lambda: any("42" in told.get("joins", {}) for _, told in heard(ann)), "difference")
    ben.emit("untrack", "doc:7")
    wait_until(lambda: site.presence.count("doc:7") == 1, "end of the time")
    wait_until(lambda: any("42" in told.get("leaves", {}) for _, told in heard(ann)), "difference")
    ann.disconnect()
    wait_until(lambda: site.presence.list("doc:7") == {}, "end of the last")
    wait_until(lambda: not site.presence._rooms and not site.presence._runs, "end of the task")


def test_rooms_of_the_setting_are_tracked_by_themselves(make_site: Sites) -> None:
    site = make_site(SOCKETIO_PRESENCE_ROOMS="doc:*", SOCKETIO_PRESENCE_GRACE_S=0)
    ann = site.client("ann", ("enter", "doc:7"), ("enter", "other"))
    site.client(None, ("enter", "doc:7"))
    assert [name for name, _ in heard(ann)][:1] == ["presence_state"]
    assert (site.presence.list("doc:7"), site.presence.list("other")) == ({"ann": [{}]}, {})
    ann.emit("leave", "doc:7")
    wait_until(lambda: site.presence.count("doc:7") == 0, "end of the time")


def test_what_cannot_be_tracked_says_why(make_site: Sites) -> None:
    site = make_site()
    with pytest.raises(ContextError, match="not set up here"):
        site.presence.track("doc:7", sid="s")
    site.client(None, ("track", "doc:7"))
    site.client("ann", ("track", "doc:7", {"x": "y" * 1024}), ("track", "doc:7", {"phx_ref": 1}))
    with pytest.raises(ContextError, match="no event is being handled"):
        site.presence.track("doc:7")
    kinds = [
        (type(error), text)
        for error, text in zip(site.errors, ("no user", "MAX_META", "phx_ref"), strict=True)
    ]
    assert [kind for kind, _ in kinds] == [ValueError, InvalidData, InvalidData]
    assert all(text in str(error) for error, (_, text) in zip(site.errors, kinds, strict=True))
    assert site.presence.list("doc:7") == {}
    with pytest.raises(ConfigurationError, match="a Presence already"):
        Presence(site.socketio)
    with pytest.raises(InvalidOption, match="pattern"):
        Site(SOCKETIO_PRESENCE_ROOMS=7)


def test_a_server_that_has_missed_something_asks_again(make_site: Sites) -> None:
    queue = {"message_queue": "memory://presence", "channel": uuid.uuid4().hex}
    first, second = make_site(**queue), make_site(**queue)
    first.client("ann", ("track", "doc:7"))
    second.client("ben", ("track", "doc:7"))
    wait_until(
        lambda: [set(site.presence.list("doc:7")) for site in (first, second)] == [{"ann", "ben"}] * 2,
        "both users",
    )

    node = first.socketio.servers.node
    part = second.presence._others[node]
    with second.presence._lock:  # as if what was told had been lost
        for key in list(part.keys):
            second.presence._leave(key)
        part.keys.clear()
    first.socketio.servers.tell(TOPIC, {"version": part.version + 2, "joined": [], "left": []})
    wait_until(lambda: part.keys, "answer after a jump of the version")
    with second.presence._lock:
        part.keys.clear()
    second.presence.ask_all()  # as after a gap
    wait_until(lambda: part.keys, "answer after a gap")
    assert set(second.presence.list("doc:7")) == {"ann", "ben"}


def test_a_part_comes_in_pages_of_which_some_are_lost(
    make_site: Sites, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = {"message_queue": "memory://presence", "channel": uuid.uuid4().hex}
    monkeypatch.setattr(MemoryQueue, "max_message_bytes", 3_000)
    monkeypatch.setattr(parts, "MOST_AT_ONCE", 20)
    first, second = make_site(**queue), make_site(**queue)
    late: list[str] = []
    questions: list[Any] = []
    ask = second.socketio.servers.ask

    def ask_and_lose(topic: str, payload: Any = None, **options: Any) -> Any:
        found = ask(topic, payload, **options)
        questions.append((topic, payload, dict(found.errors)))
        if len(questions) in (2, 7):
            return Answers(answers={}, errors={}, missing={options["node"]: "silent"})
        if len(questions) in (6, 9):  # who comes meanwhile sorts before and behind what was read
            late.extend(f"late {len(questions)} {number}" for number in range(3))
            for user in late[-3:]:
                first.client(user, ("track", "doc:7" if user < "late 7" else "doc:6", {"x": "y" * 300}))
        return found

    monkeypatch.setattr(second.socketio.servers, "ask", ask_and_lose)
    users = [f"user {number}" for number in range(45)]
    for user in users:
        first.client(user, ("track", "doc:7", {"x": "y" * 100}))
    second.client("ben", ("track", "doc:7"))
    wait_until(lambda: len(second.presence.list("doc:7")) == 49, "pages")
    assert second.presence.list("doc:7") == {
        **{user: [{"x": "y" * 100}] for user in users},
        **{user: [{"x": "y" * 300}] for user in late[:3]},
        "ben": [{}],
    }
    wait_until(lambda: set(second.presence.list("doc:6")) == set(late[3:]), "who came meanwhile")
    node = first.socketio.servers.node
    wait_until(lambda: not second.presence._others[node].asking, "last page")
    assert {topic for topic, _, _ in questions} == {PAGES}
    # More than the queue carries was asked for at first. Nothing was read twice, except what was lost.
    failed = [bool(errors) for _, _, errors in questions]
    assert failed == sorted(failed, reverse=True) and failed.count(True) < 6, questions
    places = [payload["after"] for _, payload, errors in questions if not errors]
    assert len(places) > 8 and len({str(place) for place in places}) >= len(places) - 2, places


def test_servers_of_an_older_version_are_asked_for_everything_at_once(make_site: Sites) -> None:
    queue: dict[str, Any] = {"message_queue": "memory://presence", "channel": uuid.uuid4().hex}
    asked: list[Any] = []
    app = Flask("older")
    older = SocketIO(app, async_mode="threading", **queue)

    @older.servers.on_topic(TOPIC)
    def answer(payload: Any, node: str) -> Any:
        asked.append(payload)
        return {"version": 3, "joined": [["/", "doc:7", "s1", "ann", {}], ["/", "doc:7", "s2", "eve", {}]]}

    older.test_client(app)
    site = make_site(**queue)
    site.client("ben", ("track", "doc:7"))
    wait_until(lambda: set(site.presence.list("doc:7")) == {"ann", "eve", "ben"}, "the older server's part")
    older.servers.tell(TOPIC, {"version": 4, "joined": [], "left": [["/", "doc:7", "s2"]]})
    wait_until(lambda: site.presence._others[older.servers.node].version == 4, "difference")
    assert None in asked

    node = site.socketio.servers.node
    whole = older.servers.ask(TOPIC, timeout_s=10, node=node).answers[node]
    ((_, _, _, user, meta),) = whole["joined"]
    assert (user, meta, set(whole)) == ("ben", {}, {"version", "joined"})
    older.close(0.5)


def test_what_no_message_carries_takes_nothing_from_the_rest(
    make_site: Sites, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    queue = {"message_queue": "memory://presence", "channel": uuid.uuid4().hex}
    first, second = make_site(**queue), make_site(**queue)
    watcher = first.client("ann", ("track", "doc:7"))
    second.client("ben", ("track", "doc:7"))
    wait_until(lambda: first.presence.count("doc:7") == second.presence.count("doc:7") == 2, "both users")
    part = second.presence._others[first.socketio.servers.node]
    told = part.version
    asked: list[str] = []
    monkeypatch.setattr(second.presence, "ask", asked.append)
    monkeypatch.setattr(MemoryQueue, "max_message_bytes", 1_000)
    large, fits = "x" * 900, "x" * 300
    for user, meta in (("b", fits), ("c", fits), ("d", large), ("e", fits), ("f", fits)):
        first.client(user, ("track", "doc:7", {"x": meta}))
    wait_until(lambda: set(second.presence.list("doc:7")) == {"ann", "ben", *"bcef"}, "those that fit")
    wait_until(lambda: any("d" in diff.get("joins", {}) for _, diff in heard(watcher)), "the client here")
    assert part.version > told and not asked
    assert (
        "cannot be told of client" in caplog.text and "exceeds the message queue's 1000 bytes" in caplog.text
    )

    # What fails otherwise is noticed by the others at the next change.
    fail = [OSError("no route")]
    tell = first.socketio.servers.tell

    def tell_or_fail(topic: str, payload: Any) -> None:
        if fail:
            raise fail.pop()
        tell(topic, payload)

    monkeypatch.setattr(first.socketio.servers, "tell", tell_or_fail)
    watcher.emit("untrack", "doc:7")
    wait_until(lambda: not fail, "a difference that is lost")
    watcher.emit("track", "doc:8")
    wait_until(lambda: first.socketio.servers.node in asked, "question")


def test_a_connect_handler_may_put_clients_into_rooms(make_site: Sites) -> None:
    site: Site = make_site(SOCKETIO_PRESENCE_ROOMS=["doc:*"])

    @site.socketio.on("connect")
    def connect() -> None:
        join_room("doc:7")
        site.presence.track("lobby", {"new": True})

    ann = site.client("ann")
    assert site.presence.list("doc:7") == {"ann": [{}]}
    assert site.presence.list("lobby") == {"ann": [{"new": True}]}
    assert [name for name, _ in heard(ann)][:2] == ["presence_state", "presence_state"]


def test_an_extension_object_that_is_no_longer_used_is_forgotten() -> None:
    site = weakref.ref(Site().socketio)
    gc.collect()
    assert site() is None
