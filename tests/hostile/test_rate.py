"""Clients that send as fast as they can, whatever it is: no more is read from them than the rate allows.

Each sends more than its burst and then an event whose answer shows when all of it was read. It is neither refused nor
closed, and others are answered meanwhile.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from flask_socketio_core.testing.rawclient import PING, PONG, TEXT, masked
from support.servers import MODE_KINDS, UWSGI_GEVENT, AppSpec, Server, kind_params, serving
from support.wire.engine import Polling
from support.wire.raw import join

RATE = 200
BURST = 10 * RATE
PACKETS = BURST + 2 * RATE
LEAST_S = 1.0
"""How long the attack takes at least: two seconds, but for what is read at once when it may go on."""

ATTACKS = {
    "pongs": masked(TEXT, b"3"),
    "acks": masked(TEXT, b'431["never asked"]'),
    "repeated CONNECTs": masked(TEXT, b"40"),
    "refused CONNECTs": masked(TEXT, b"40/nowhere,"),
    "events": masked(TEXT, b'42["nobody listens"]'),
    "control pings": masked(PING, b""),
    "control pongs": masked(PONG, b""),
}
END = '420["echo","end"]'
ANSWER = '430["end"]'


@pytest.fixture(scope="module", params=kind_params(*MODE_KINDS, UWSGI_GEVENT))
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(
        request.param,
        AppSpec(app="pending", options={"max_packets_per_s": RATE}),
        tmp_path_factory.mktemp("rate"),
    ) as server:
        yield server


def attack(server: Server, frame: bytes, count: int = PACKETS) -> float:
    """Send it all, and return how long it took until it was read, seconds."""
    with join(server.port) as client:
        begun_s = time.monotonic()
        client.send(count * frame + masked(TEXT, END.encode()))
        while client.read_frame()[1] != ANSWER.encode():
            pass
        return time.monotonic() - begun_s


def attack_by_polling(server: Server) -> float:
    client = Polling(server.port)
    client.post("40")
    begun_s = time.monotonic()
    for _ in range(4):
        client.post("\x1e".join(PACKETS // 4 * ["3"]))
    client.post(END)
    while ANSWER not in client.receive(timeout_s=15):
        pass
    return time.monotonic() - begun_s


def test_who_stays_below_the_rate_does_not_wait(server: Server) -> None:
    attack(server, ATTACKS["events"], BURST // 2)
    assert "max_packets_per_s=" not in server.log_text()


def test_nothing_is_read_for_a_while_from_one_that_sends_too_fast(server: Server) -> None:
    taken: dict[str, float] = {}

    def run(name: str, frame: bytes) -> None:
        taken[name] = attack(server, frame)

    def poll() -> None:
        taken["polling"] = attack_by_polling(server)

    threads = [threading.Thread(target=run, args=args) for args in ATTACKS.items()]
    threads.append(threading.Thread(target=poll))
    for thread in threads:
        thread.start()
    try:
        with join(server.port) as honest:
            honest.send(masked(TEXT, b'420["echo","here"]'))
            while honest.read_frame()[1] != b'430["here"]':
                pass
            assert not taken, "the others still wait"
    finally:
        for thread in threads:
            thread.join(20)
    assert taken.keys() == {*ATTACKS, "polling"}, "each was answered in the end"
    assert {name: s for name, s in taken.items() if s < LEAST_S} == {}
    assert server.log_text().count("max_packets_per_s=") == 1
