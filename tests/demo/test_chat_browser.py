"""The chat in a real browser: one window on a desk, one on a phone."""

from __future__ import annotations

import importlib.util
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from demo.browser import require_browser, run_scenario
from demo.servers import ExampleServer, chat_server, chat_workers

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.timeout(180)  # seconds: a scenario ends itself after 120
MODES = ("threading", "gevent", "eventlet")


@pytest.fixture(autouse=True)
def _browser() -> None:
    require_browser()


@pytest.fixture
def screenshots(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A folder for screenshots; ``DEMO_SCREENSHOTS`` names one that outlives the test."""
    kept = os.environ.get("DEMO_SCREENSHOTS")
    return Path(kept, request.node.name) if kept else tmp_path / "screenshots"


@pytest.fixture
def chat(tmp_path: Path) -> Callable[..., ExampleServer]:
    """Make chat servers, each to be used as a context manager."""

    def make(*, mode: str = "", queue: str = "", name: str = "server") -> ExampleServer:
        if mode in ("gevent", "eventlet") and importlib.util.find_spec(mode) is None:
            pytest.skip(f"{mode} is not installed")
        return chat_server(tmp_path / f"{name}.log", mode=mode, queue=queue)

    return make


@pytest.mark.parametrize("mode", MODES)
def test_two_people_talk_over_websocket(
    chat: Callable[..., ExampleServer], screenshots: Path, mode: str
) -> None:
    with chat(mode=mode) as server:
        run_scenario("talk", screenshots=screenshots, url=server.url, mode=mode)


@pytest.mark.parametrize("mode", MODES)
def test_messages_written_during_a_restart_arrive_after_it(
    chat: Callable[..., ExampleServer], screenshots: Path, mode: str
) -> None:
    with chat(mode=mode) as server:
        actions = {"stop": server.stop, "start": server.start}
        run_scenario("restart", screenshots=screenshots, url=server.url, actions=actions)


def test_page_works_by_polling_alone(chat: Callable[..., ExampleServer], screenshots: Path) -> None:
    with chat() as server:
        run_scenario("polling", screenshots=screenshots, url=server.url)


def test_page_says_that_its_client_is_missing(chat: Callable[..., ExampleServer], screenshots: Path) -> None:
    with chat() as server:
        run_scenario("withoutClient", screenshots=screenshots, url=server.url)


def test_two_servers_know_who_is_here_and_who_has_a_message_and_a_moderator_removes_a_guest(
    tmp_path: Path, screenshots: Path, redis_url: str
) -> None:
    with chat_workers(tmp_path / "servers.log", queue=redis_url) as servers:
        one, other = servers.ports
        tokens = re.findall(r"moderator=(\w+)", servers.log.read_text())
        assert len(tokens) == 2, "each server says what its address is for a moderator"
        assert tokens[0] == tokens[1], "and one address's token is good for all servers"
        run_scenario(
            "servers",
            screenshots=screenshots,
            url=servers.url,
            other=servers.other_urls[0],
            server=f"port {one}",
            otherServer=f"port {other}",
            moderator=tokens[0],
        )


@pytest.mark.parametrize("mode", MODES[1:])  # the others in threads: above
def test_two_processes_share_rooms_through_redis(
    chat: Callable[..., ExampleServer], screenshots: Path, redis_url: str, mode: str
) -> None:
    with chat(mode=mode, queue=redis_url) as one, chat(mode=mode, queue=redis_url, name="other") as other:
        actions = {"stop the other": other.stop}
        run_scenario("processes", screenshots=screenshots, url=one.url, other=other.url, actions=actions)
