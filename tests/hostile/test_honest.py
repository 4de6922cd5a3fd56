"""What people build meets none of the bounds that hold hostile clients off: everything here runs with the defaults.

No client is refused, read no more for a while or left by the server, no event is lost, and nothing is logged as a
warning.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from support.clients import CURRENT, JS, node, python_client
from support.crowd import Crowd, allows
from support.servers import (
    MODE_KINDS,
    THREADING,
    AppSpec,
    Server,
    ServerKind,
    Servers,
    kind_params,
    skip_marks,
    wait_until,
)

pytestmark = pytest.mark.timeout(120)

PROXY = "203.0.113.7"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    servers = Servers(tmp_path_factory.mktemp("honest"))
    yield servers
    servers.stop()


@pytest.fixture(params=kind_params(*MODE_KINDS))
def server(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Server]:
    """Give a server without options; afterwards it must have held nobody up and have complained about nothing."""
    kind: ServerKind = request.param
    server = servers.get(kind, AppSpec(app="honest"))
    server.post("/forget")
    yield server
    told = look(server)
    assert (told["held"], told["warnings"]) == (0, [])
    assert "Traceback" not in server.log_text()


def look(server: Server) -> dict[str, Any]:
    """Return what the application has counted since the test began."""
    found: dict[str, Any] = json.loads(server.get("/counts").body)
    return found


def assert_left(server: Server, count: int) -> None:
    """See that so many clients have left, and each by itself."""
    wait_until(lambda: sum(look(server)["left"].values()) >= count, timeout_s=20, interval_s=0.1)
    left = Counter(look(server)["left"])
    # The second is that of python-socketio's client if it closes the connection before it has said that it leaves.
    assert left["client disconnect"] + left["transport close"] == left.total() == count


LINES = 4
BUFFERED = 300
"""What one has written while the network was away: the clients send it all at once."""


class Talker:
    """A person with python-socketio's client."""

    def __init__(self, server: Server, *transports: str) -> None:
        self.client = python_client()
        self.heard: list[tuple[str, int]] = []
        self.acknowledged: list[int] = []
        self.client.on("said", lambda author, number: self.heard.append((author, number)))
        self.client.connect(server.url, transports=list(transports) or None, wait_timeout=10)
        self.client.call("enter", "lobby", timeout=10)

    def say(self, author: str, number: int) -> None:
        self.client.emit("say", ("lobby", author, number), callback=self.acknowledged.append)

    def close(self) -> None:
        self.client.disconnect()


def test_a_chat_of_a_hundred(server: Server) -> None:
    with ExitStack() as stack:
        crowd = stack.enter_context(Crowd(server.port))
        visitors = crowd.join(94)
        talkers = [
            stack.enter_context(closing(Talker(server, *transports)))
            for transports in (("websocket",), ("polling",), ()) * 2
        ]
        for visitor in visitors:
            visitor.say('20["enter","lobby"]')
        crowd.pump(lambda: all(visitor.heard == [b'0["lobby"]'] for visitor in visitors))
        for number in range(LINES):
            for place, visitor in enumerate(visitors):
                visitor.say(f'21["say","lobby","visitor {place}",{number}]')
            for place, talker in enumerate(talkers):
                talker.say(f"talker {place}", number)
            crowd.read(0)
        for number in range(LINES, BUFFERED):
            talkers[0].say("talker 0", number)
            visitors[0].say(f'21["say","lobby","visitor 0",{number}]')

        authors = [f"visitor {place}" for place in range(94)] + [f"talker {place}" for place in range(6)]
        said = {(author, number) for author in authors for number in range(LINES)}
        said |= {(author, number) for author in (authors[0], "talker 0") for number in range(LINES, BUFFERED)}
        own = [len([line for line in said if line[0] == author]) for author in authors]
        crowd.pump(
            lambda: (
                all(len(v.heard) >= 1 + len(said) + own[place] for place, v in enumerate(visitors))
                and all(len(talker.heard) >= len(said) for talker in talkers)
            )
        )
        for place, visitor in enumerate(visitors):
            events = [tuple(json.loads(text)[1:]) for text in visitor.heard if text.startswith(b'["said"')]
            assert Counter(events) == Counter(said)
            assert len([text for text in visitor.heard if text.startswith(b"1[")]) == own[place]
        for place, talker in enumerate(talkers):
            assert Counter(talker.heard) == Counter(said)
            assert sorted(talker.acknowledged) == list(range(own[94 + place]))
        crowd.leave()
    assert_left(server, 100)


PLAYERS = 12
TICKS = 180
TICK_S = 1 / 60


def test_a_game_at_sixty_events_per_second(server: Server) -> None:
    with Crowd(server.port) as crowd:
        players = crowd.join(PLAYERS)
        for player in players:
            player.say('20["enter","arena"]')
        crowd.pump(lambda: all(player.heard for player in players))
        begin_s = time.monotonic()
        for tick in range(TICKS):
            for place, player in enumerate(players):
                player.say(f'2["move",{place},{tick}]')
            while (left_s := begin_s + (tick + 1) * TICK_S - time.monotonic()) > 0:
                crowd.read(left_s)
        everything = PLAYERS * TICKS
        crowd.pump(lambda: all(len(player.heard) > everything for player in players))
        moves = Counter((place, tick) for place in range(PLAYERS) for tick in range(TICKS))
        for player in players:
            assert Counter(tuple(json.loads(text)[1:]) for text in player.heard[1:]) == moves
        crowd.leave()
    assert_left(server, PLAYERS)


SIZE = 50_000_000
PIECE = 500_000
"""In polling requests it is a third larger, and still below ``max_http_buffer_size``."""


@pytest.mark.parametrize("transport", ["websocket", "polling"])
@pytest.mark.parametrize(
    ("server", "in_flight"),
    [pytest.param(kind, 8, id=f"{kind.name}-8", marks=skip_marks(kind)) for kind in MODE_KINDS]
    + [pytest.param(THREADING, 1, id="threading-1")],
    indirect=["server"],
)
def test_an_upload_of_50_megabytes(server: Server, transport: str, in_flight: int) -> None:
    arguments = [server.url, transport, *map(str, (SIZE, PIECE, in_flight))]
    command = [node(), str(JS / "upload.mjs"), CURRENT, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["disconnects"] == []
    assert told["acknowledged"] == SIZE // PIECE
    assert told["stored"] == told["sent"]
    assert_left(server, 1)


@pytest.mark.parametrize(
    ("server", "count"),
    [
        pytest.param(kind, 10_000 if kind is THREADING else 1000, id=kind.name, marks=skip_marks(kind))
        for kind in MODE_KINDS
    ],
    indirect=["server"],
)
def test_a_dashboard_behind_one_address(server: Server, count: int) -> None:
    if not allows(count):
        pytest.skip(f"the limit of descriptors is below {count}")
    with Crowd(server.port, forwarded_for=PROXY) as crowd:
        visitors = crowd.join(count)
        server.post("/figures", timeout_s=30)
        crowd.pump(lambda: all(visitor.heard for visitor in visitors))
        assert {tuple(visitor.heard) for visitor in visitors} == {(b'["figures",{"visitors":17}]',)}
        crowd.leave()
    assert_left(server, count)
    assert look(server)["addresses"] == {PROXY: count}
