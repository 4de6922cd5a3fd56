"""What the clients of one address may have: connections, and handshakes per minute."""

from __future__ import annotations

import threading

import pytest

from flask_socketio_core.common import options
from flask_socketio_core.contracts.clients import address_of
from flask_socketio_core.server.server import Server
from flask_socketio_core.transport import addresses
from flask_socketio_core.transport.addresses import Addresses, Place, TooMany
from flask_socketio_core.transport.admission import placed
from flask_socketio_core.transport.wsgi import Refusal
from support.engine import ManualMode, RecordingApplication, WokenTransport


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def make(connections: int | None = None, handshakes: int | None = None) -> tuple[Addresses, Clock]:
    clock = Clock()
    return Addresses(threading.Lock(), clock, connections, handshakes), clock


def enter(counts: Addresses, address: str) -> Place:
    place = counts.enter({"REMOTE_ADDR": address})
    assert place is not None
    return place


@pytest.mark.parametrize(
    ("given", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:4711", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:DB8:0:0:ffff::1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("[2001:db8::1]:4711", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
def test_an_address_in_all_its_spellings_is_one(given: str, counted: str) -> None:
    assert address_of({"REMOTE_ADDR": given}) == counted


@pytest.mark.parametrize("environ", [{}, {"REMOTE_ADDR": ""}])
def test_who_has_no_address_is_not_counted(environ: dict[str, str]) -> None:
    counts, _ = make(1, 1)
    for _ in range(3):
        counts.check_handshake(environ)
        assert counts.enter(environ) is None


def test_places_are_given_back_once_each_and_nothing_is_kept() -> None:
    counts, _ = make(2)
    first, _ = enter(counts, "192.0.2.1"), enter(counts, "192.0.2.1")
    enter(counts, "192.0.2.2").leave()
    with pytest.raises(TooMany, match="max_connections_per_address"):
        enter(counts, "192.0.2.1")
    first.leave()
    first.leave()
    last = enter(counts, "192.0.2.1")
    with pytest.raises(TooMany):
        enter(counts, "192.0.2.1")
    last.leave()
    assert dict(counts._connections) == {"192.0.2.1": 1}


def test_handshakes_come_back_with_time_and_refused_ones_take_none() -> None:
    counts, clock = make(handshakes=60)
    environ = {"REMOTE_ADDR": "192.0.2.1"}
    for _ in range(60):
        counts.check_handshake(environ)
    for _ in range(100):
        with pytest.raises(TooMany, match="max_handshakes_per_address") as caught:
            counts.check_handshake(environ)
    assert caught.value.retry_s == 1
    counts.check_handshake({"REMOTE_ADDR": "192.0.2.2"})
    clock.now_s += 1.01
    counts.check_handshake(environ)
    with pytest.raises(TooMany):
        counts.check_handshake(environ)


def test_it_is_told_in_the_log_once(caplog: pytest.LogCaptureFixture) -> None:
    server = Server(RecordingApplication(), options.build({"max_connections_per_address": 1}), ManualMode())
    environ = {"REMOTE_ADDR": "192.0.2.1"}
    with placed(server.eio, environ):
        for _ in range(5):
            with pytest.raises(Refusal) as caught, placed(server.eio, environ):
                pass
            assert caught.value.status == 429
            assert dict(caught.value.headers)["Retry-After"] == "10"
    assert caplog.text.count("192.0.2.1") == 1


def test_a_connection_that_could_not_be_made_keeps_no_place() -> None:
    server = Server(RecordingApplication(), options.build({"max_connections_per_address": 1}), ManualMode())
    environ = {"REMOTE_ADDR": "192.0.2.1"}
    for _ in range(3):
        with pytest.raises(OSError, match="no descriptor"), placed(server.eio, environ):
            raise OSError("no descriptor")
    with placed(server.eio, environ) as place:
        session = server.eio.add_session({}, WokenTransport(), place)
    session.close("test")
    assert not server.eio.addresses._connections


def test_only_so_many_addresses_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "MOST_ADDRESSES", 3)
    counts, _ = make(handshakes=1)
    for number in range(10):
        counts.check_handshake({"REMOTE_ADDR": f"192.0.2.{number}"})
    assert list(counts._buckets) == ["192.0.2.7", "192.0.2.8", "192.0.2.9"]
