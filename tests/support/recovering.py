"""Clients of the official JavaScript library that lose their connection and come back.

``RECOVERY_EVENTS=10000 make test-recovery`` has so many events flow while connections are cut, and not only some.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from support.clients import CURRENT, JS, node
from support.proxy import Proxy
from support.servers import HOST, THREADING, AppSpec, Server, serving, wait_until

#: A client whose connection is cut during its upgrade notices that at its ping time-out.
OPTIONS = {"recovery": {"window": 60, "max_events": 5000}, "ping_interval": 4, "ping_timeout": 4}
#: Seconds until clients that retry every 0.1 s are back.
BACK_S = 15.0
#: How many events flow where that is not given.
EVENTS = int(os.environ.get("RECOVERY_EVENTS", 0))
#: Seconds that one test may take.
LIMIT_S = 120 + EVENTS // 20
TRANSPORTS = {"polling": ["polling"], "websocket": ["websocket"], "upgraded": []}
#: The fixture with a queue's broker, and what stands for its scheme.
QUEUES = {
    "redis": ("redis_url", ""),
    "streams": ("redis_url", "redis+streams"),
    "rabbitmq": ("rabbitmq_url", ""),
    "kafka": ("kafka_url", ""),
    "kombu": ("rabbitmq_url", "kombu+amqp"),
}


@dataclass(frozen=True)
class Seen:
    """What a client has seen so far.

    :param sids: its sids, one for each time that it has connected.
    :param recovered: whether it had recovered then.
    :param received: the numbers that it has had.
    :param early: how many of them it had before each of its connect events.
    :param others: the other events, with their arguments.
    """

    sids: list[str]
    recovered: list[bool]
    received: list[int]
    early: list[int]
    others: list[list[Any]]
    errors: list[str]
    connected: bool
    transport: str | None = None
    offset: str | None = None
    pid: str | None = None


class Clients:
    """Some clients of one program.

    :param parser: package of what they speak; without, JSON.
    """

    def __init__(self, port: int, count: int | str, *transports: str, parser: str = "") -> None:
        command = [
            node(*filter(None, [parser])),
            str(JS / "recovery.mjs"),
            CURRENT,
            f"http://{HOST}:{port}",
            str(count),
            *transports,
        ]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PARSER": parser},
        )

    def tell(self, line: str = "look") -> list[Seen]:
        """Have the clients do something; return what each has seen so far."""
        return [Seen(**found) for found in self._ask(line)]

    def _ask(self, line: str) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    @property
    def one(self) -> Seen:
        """What the only client has seen so far."""
        (seen,) = self.tell()
        return seen

    def wait(self, times: int, transport: str | None = None, timeout_s: float = BACK_S) -> list[Seen]:
        """Wait until each of them has connected so often, and is connected."""
        seen: list[Seen] = []

        def are_there() -> bool:
            nonlocal seen
            seen = self.tell()
            return all(
                len(one.sids) >= times and one.connected and transport in (None, one.transport)
                for one in seen
            )

        assert wait_until(are_there, timeout_s=timeout_s), seen
        return seen

    def wait_for(self, number: int, timeout_s: float = BACK_S) -> list[Seen]:
        """Wait until each of them has had a number."""
        have_it = wait_until(lambda: all(self._ask(f"has {number}")), timeout_s=timeout_s)
        seen = self.tell()
        assert have_it, [
            (one.sids, one.recovered, one.connected, one.received[-5:], one.errors) for one in seen
        ]
        return seen

    @contextmanager
    def cut_off(self, proxy: Proxy) -> Iterator[None]:
        """Cut their connections; let none through until the end of a ``with`` block, and until each has noticed.

        One that polls may be between two requests for the whole block, and otherwise would notice nothing.
        """
        with proxy.refusing():
            yield
            assert wait_until(lambda: not any(one.connected for one in self.tell()), timeout_s=10), (
                self.tell()
            )

    def close(self) -> None:
        """End the program."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()


def join(
    stack: ExitStack,
    queue: str,
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    *,
    servers: int = 2,
    **options: Any,
) -> list[Server]:
    """Start some servers on a queue and wait until they know each other.

    :param options: more of them, of ``SocketIO``.
    """
    fixture, scheme = QUEUES[queue]
    url: str = request.getfixturevalue(fixture)
    if scheme:
        url = f"{scheme}://{url.partition('://')[2]}"
    options = {
        **OPTIONS,
        "message_queue": url,
        "channel": f"recovery-{uuid.uuid4().hex[:8]}",
        **options,
    }
    spec = AppSpec(app="recovery", options=options)
    found = [
        stack.enter_context(serving(THREADING, spec, tmp_path_factory.mktemp("recovery")))
        for _ in range(servers)
    ]
    for server in found:  # the first request has each of them join
        server.get("/socket.io/?EIO=4&transport=polling")
    assert wait_until(lambda: all(peers(server) == servers - 1 for server in found), timeout_s=20)
    return found


def peers(server: Server) -> int:
    """Return how many other servers one knows."""
    return int(server.get("/peers").body)


def is_up(server: Server) -> bool:
    """Return whether messages flow to and from one."""
    return bool(json.loads(server.get("/up").body))


def load(server: Server) -> dict[str, Any]:
    """Return what a server keeps."""
    found: dict[str, Any] = json.loads(server.get("/load").body)
    return found


def cut_while_events_flow(proxy: Proxy, count: int, pause_s: float, targets: Sequence[Server] = ()) -> int:
    """Cut most connections again and again, for about as long as so many events take; return how many were cut.

    :param pause_s: between two of the events, seconds.
    :param targets: where new connections are to go to, one of these after each cut.
    """
    cut = 0
    until_s = time.monotonic() + count * pause_s
    while time.monotonic() < until_s:
        time.sleep(0.3)
        if targets:
            proxy.target = random.choice(targets).port
        cut += proxy.cut(0.7)
    return cut


@contextmanager
def clients(port: int, count: int | str, *transports: str, parser: str = "") -> Iterator[Clients]:
    """Run some clients; or one for each of several namespaces on one connection, with their names."""
    running = Clients(port, count, *transports, parser=parser)
    try:
        yield running
    finally:
        running.close()
