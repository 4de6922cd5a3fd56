"""What the chat's server promises to its page, asked through the test client."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from demo.loading import load_example
from demo.servers import EXAMPLES

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

    def __init__(self, app: Flask, nick: str) -> None:
        self.nick = nick
        self.client = app.extensions["socketio"].test_client(app)

    def ask(self, event: str, **data: Any) -> dict[str, Any]:
        """Emit an event and return its acknowledgement."""
        answer: dict[str, Any] = self.client.emit(event, data, callback=True)
        return answer

    def join(self, room: str = "lobby") -> dict[str, Any]:
        return self.ask("join", room=room, nick=self.nick, who=f"tab of {self.nick}")

    def say(self, text: str, *, key: str = "1", room: str = "lobby") -> dict[str, Any]:
        return self.ask("say", id=f"{self.nick}-{key}", room=room, text=text)

    def heard(self, event: str) -> list[dict[str, Any]]:
        """Take out of the client what it received, and return the arguments of one event."""
        arguments = [packet["args"] for packet in self.client.get_received() if packet["name"] == event]
        return [each[0] if isinstance(each, list) else each for each in arguments]  # "message" has only one


@pytest.fixture
def guest(app: Flask) -> Callable[[str], Guest]:
    return lambda nick: Guest(app, nick)


def test_greeting_names_process_mode_and_queue(app: Flask) -> None:
    (hello,) = Guest(app, "Ada").heard("hello")
    assert hello["mode"] == "threading"
    assert hello["queue"] is None
    assert re.fullmatch(r"\d+-[0-9a-f]{4}", hello["process"])


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


def test_presence_follows_a_guest_who_joins_changes_room_and_goes(guest: Callable[[str], Guest]) -> None:
    ada, bob = guest("Ada"), guest("Bob")
    ada.join()
    bob.join()
    bob.join("music")
    bob.client.disconnect()
    news = ada.heard("presence")
    seen = [{person["nick"]: person["room"] for person in said["guests"]} for said in news]
    assert seen[-1] == {"Ada": "lobby"}
    assert {"Ada": "lobby", "Bob": "lobby"} in seen
    assert {"Ada": "lobby", "Bob": "music"} in seen
    assert [said["version"] for said in news] == sorted(said["version"] for said in news)


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
        ("join", {"room": "lobby", "nick": "   ", "who": "x"}, "please give a nickname and a room"),
        ("join", {"room": 7, "nick": ["Ada"], "who": None}, "please give a nickname and a room"),
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
