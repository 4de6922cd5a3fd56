"""What the chat's server promises to its page, asked through the test client."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from typing import TYPE_CHECKING, Any

import pytest

from demo.loading import load_example
from demo.servers import EXAMPLES
from support.servers import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import ModuleType

    from flask import Flask


CHAT = EXAMPLES / "chat"


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example's module, fresh for each test."""
    return load_example(CHAT / "app.py", monkeypatch)


@pytest.fixture
def app(chat: ModuleType) -> Flask:
    made: Flask = chat.create_app("threading")
    return made


class Guest:
    """A guest of the chat."""

    def __init__(self, app: Flask, nick: str, *, moderator: str = "") -> None:
        self.nick = nick
        self.client = app.extensions["socketio"].test_client(
            app, auth={"secret": f"secret of {nick}", "moderator": moderator}
        )
        (self.hello,) = self.heard("hello")

    def ask(self, event: str, **data: Any) -> dict[str, Any]:
        """Emit an event and return its acknowledgement."""
        answer: dict[str, Any] = self.client.emit(event, data, callback=True)
        return answer

    def join(self, room: str = "lobby") -> dict[str, Any]:
        return self.ask("join", room=room, nick=self.nick)

    def say(self, text: str, *, key: str = "1", room: str = "lobby") -> dict[str, Any]:
        return self.ask("say", id=f"{self.nick}-{key}", room=room, text=text)

    def heard(self, event: str) -> list[dict[str, Any]]:
        """Take out of the client what it received, and return the arguments of one event."""
        arguments = [packet["args"] for packet in self.client.get_received() if packet["name"] == event]
        return [each[0] if isinstance(each, list) else each for each in arguments]  # "message" has only one

    def waits_for(self, event: str) -> dict[str, Any]:
        """Return the first argument of the next event of a name."""
        told: dict[str, Any] = self.client.wait_for(event, timeout=30)["args"][0]
        return told


@pytest.fixture
def guest(app: Flask) -> Callable[[str], Guest]:
    return lambda nick: Guest(app, nick)


def test_greeting_names_server_mode_and_queue(app: Flask, chat: ModuleType) -> None:
    hello = Guest(app, "Ada").hello
    assert (hello["mode"], hello["queue"]) == ("threading", None)
    assert hello["server"] == f"process {os.getpid()}"
    named = chat.create_app("threading", server="port 5001")
    assert Guest(named, "Ada").hello["server"] == "port 5001"


def test_guest_is_whoever_knows_its_secret_which_is_told_to_nobody(app: Flask) -> None:
    ada = Guest(app, "Ada")
    ada.join()
    assert re.fullmatch(r"[0-9a-f]{16}", ada.hello["who"])
    assert Guest(app, "Ada").hello["who"] == ada.hello["who"] != Guest(app, "Bob").hello["who"]
    assert "secret of Ada" not in str(app.extensions["socketio"].who())


@pytest.mark.parametrize("auth", [None, {}, {"secret": ""}, {"secret": 7}, "secret", ["secret"]])
def test_client_without_a_secret_is_refused(app: Flask, auth: Any) -> None:
    assert not app.extensions["socketio"].test_client(app, auth=auth).is_connected()


def test_message_is_acknowledged_and_reaches_the_room_but_not_its_author(
    guest: Callable[[str], Guest],
) -> None:
    ada, bob, cyd = guest("Ada"), guest("Bob"), guest("Cyd")
    ada.join()
    bob.join()
    cyd.join("music")
    acknowledgement = ada.say("hello")
    assert acknowledgement["at"] > 1_700_000_000_000  # milliseconds
    assert [message["text"] for message in bob.heard("message")] == ["hello"]
    assert ada.heard("message") == []
    assert cyd.heard("message") == []


def test_message_sent_again_is_acknowledged_alike_and_delivered_once(guest: Callable[[str], Guest]) -> None:
    ada, bob = guest("Ada"), guest("Bob")
    ada.join()
    bob.join()
    assert ada.say("hello", key="7") == ada.say("hello", key="7")
    assert len(bob.heard("message")) == 1


def test_late_comer_gets_the_last_50_messages(guest: Callable[[str], Guest]) -> None:
    ada = guest("Ada")
    ada.join()
    for number in range(60):
        ada.say(str(number), key=str(number))
    history = guest("Bob").join()["history"]
    assert [message["text"] for message in history] == [str(number) for number in range(10, 60)]


def test_other_room_is_forgotten_when_its_last_guest_leaves(guest: Callable[[str], Guest]) -> None:
    ada = guest("Ada")
    ada.join("garden")
    ada.say("hello", room="garden")
    ada.join("lobby")
    assert guest("Bob").join("garden")["history"] == []


def test_guests_are_told_who_is_here_in_which_room_and_at_which_server(app: Flask) -> None:
    ada, bob = Guest(app, "Ada"), Guest(app, "Bob")
    ada.join()
    bob.join("music")
    told = bob.waits_for("presence_state")
    metas = {who: [(meta["nick"], meta["room"]) for meta in entry["metas"]] for who, entry in told.items()}
    assert metas == {ada.hello["who"]: [("Ada", "lobby")], bob.hello["who"]: [("Bob", "music")]}
    assert told[ada.hello["who"]]["metas"][0]["server"] == ada.hello["server"]


def test_author_hears_by_name_who_has_not_acknowledged_a_message(
    guest: Callable[[str], Guest], chat: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat, "DELIVERY_TIMEOUT_S", 1.0)
    ada, bob, cyd = guest("Ada"), guest("Bob"), guest("Cyd")
    cyd.client.on("message", lambda _message: None)  # acknowledges; Bob's page does not run
    ada.join()
    ada.say("hello?", key="1")
    nobody = {"id": "Ada-1", "by": 0, "of": 0, "missing": [], "complete": True}
    assert ada.waits_for("delivery") == nobody
    bob.join()
    cyd.join()
    ada.say("hello", key="2")
    bob_not = {"id": "Ada-2", "by": 1, "of": 2, "missing": ["Bob"], "complete": False}
    assert ada.waits_for("delivery") == bob_not
    assert bob.heard("delivery") == []


def test_moderator_removes_a_guest_who_may_come_back(app: Flask) -> None:
    ada, bob = Guest(app, "Ada", moderator=app.config["MODERATOR"]), Guest(app, "Bob")
    assert (ada.hello["isModerator"], bob.hello["isModerator"]) == (True, False)
    ada.join()
    bob.join()
    assert ada.ask("kick", who=bob.hello["who"]) == {}
    assert wait_until(lambda: not bob.client.is_connected(), timeout_s=30)
    assert ada.client.is_connected()
    assert Guest(app, "Bob").join()["room"] == "lobby"


def test_typing_is_told_to_the_others(guest: Callable[[str], Guest]) -> None:
    ada, bob = guest("Ada"), guest("Bob")
    ada.join()
    bob.join()
    ada.client.emit("typing")
    assert [who["nick"] for who in bob.heard("typing")] == ["Ada"]
    assert ada.heard("typing") == []


@pytest.mark.parametrize(
    ("event", "data", "error"),
    [
        ("say", {"id": "1", "room": "lobby", "text": "hello"}, "please join the room first"),
        ("join", {"room": "lobby", "nick": "   "}, "please give a nickname and a room"),
        ("join", {"room": 7, "nick": ["Ada"]}, "please give a nickname and a room"),
        ("kick", {"who": "somebody"}, "only a moderator may do that"),
    ],
)
def test_nonsense_is_answered_with_an_error(
    guest: Callable[[str], Guest], event: str, data: dict[str, Any], error: str
) -> None:
    assert guest("Ada").ask(event, **data) == {"error": error}


def test_room_that_was_left_refuses_a_message(guest: Callable[[str], Guest]) -> None:
    ada = guest("Ada")
    ada.join("lobby")
    ada.join("music")
    assert ada.say("late", room="lobby") == {"error": "please join the room first"}


def test_page_takes_the_client_from_node_modules_or_else_from_its_cdn(
    app: Flask, chat: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = app.test_client()
    monkeypatch.setattr(chat, "CLIENT_DIST", tmp_path)
    assert chat.CLIENT_CDN in web.get("/").text
    (tmp_path / "socket.io.min.js").write_text("// the client")
    assert chat.CLIENT_CDN not in web.get("/").text
    with web.get("/client/socket.io.min.js") as answer:
        assert answer.data == b"// the client"


def test_cdn_serves_the_version_that_npm_installs(chat: ModuleType) -> None:
    version = json.loads((CHAT / "package.json").read_text())["dependencies"]["socket.io-client"]
    assert f"socket.io-client@{version}/" in chat.CLIENT_CDN


def test_cdn_integrity_is_that_of_the_installed_file(chat: ModuleType) -> None:
    installed = CHAT / "node_modules" / "socket.io-client" / "dist" / "socket.io.min.js"
    if not installed.exists():
        pytest.skip("socket.io-client is not installed: npm ci in examples/chat")
    digest = base64.b64encode(hashlib.sha384(installed.read_bytes()).digest()).decode()
    assert f"sha384-{digest}" == chat.CLIENT_INTEGRITY
