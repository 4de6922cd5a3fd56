"""Message queue URLs are taken apart, and never shown with their secrets."""

from __future__ import annotations

import pytest

from flask_socketio_core.contracts import urls
from flask_socketio_core.errors import InvalidOption


@pytest.mark.parametrize(
    ("url", "hosts", "path"),
    [
        ("redis://", (), ""),
        ("redis://broker", (("broker", None),), ""),
        ("redis://user:p%40ss@broker:6380/2?db=3", (("broker", 6380),), "/2"),
        ("unix:///run/redis.sock", (), "/run/redis.sock"),
        ("kafka://a:1,b:2", (("a", 1), ("b", 2)), ""),
        ("redis+sentinel://:secret@[::1]:26379,b/0/main", (("::1", 26379), ("b", None)), "/0/main"),
        ("amqp://guest:guest@broker:5672//", (("broker", 5672),), "//"),
    ],
)
def test_a_url_is_taken_apart(url: str, hosts: tuple[tuple[str, int | None], ...], path: str) -> None:
    parsed = urls.parse(url)
    assert parsed.hosts == hosts
    assert parsed.path == path


def test_user_and_password_are_unquoted() -> None:
    parsed = urls.parse("redis://us%3Aer:p%40ss@broker/0")
    assert (parsed.username, parsed.password) == ("us:er", "p@ss")


def test_what_is_missing_comes_from_the_default() -> None:
    assert urls.parse("redis://").host(("localhost", 6379)) == ("localhost", 6379)
    assert urls.parse("redis://:7000").host(("localhost", 6379)) == ("localhost", 7000)


@pytest.mark.parametrize(
    "url",
    [
        "broker:6379",
        "redis://user:secret@broker:port",
        "redis://user:1/secret@broker/0",
        "redis://user:secret/2@broker/0",
        "redis://user:secret?2@broker/0",
    ],
)
def test_a_url_that_makes_no_sense_is_refused_without_its_secret(url: str) -> None:
    with pytest.raises(InvalidOption, match=r"no scheme|no number|write '%2F'") as raised:
        urls.parse(url)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("redis://user:secret@broker/0", "redis://***@broker/0"),
        ("redis://:secret@broker/0", "redis://***@broker/0"),
        ("redis://:se@cret@broker/0", "redis://***@broker/0"),
        ("two: amqp://a:secret@x and kafka://b:secret@y", "two: amqp://***@x and kafka://***@y"),
        ("redis://user:secret/2@broker/0", "redis://***@broker/0"),
        ("redis://:1/secret?2#3@broker/0", "redis://***@broker/0"),
        ("redis://broker:1/0?password=se@cret", "redis://broker:1/0?password=***"),
        ("redis://broker?password=secret&db=1", "redis://broker?password=***&db=1"),
        ("kafka://broker?ssl_password=secret", "kafka://broker?ssl_password=***"),
        ("redis://broker:6379/0", "redis://broker:6379/0"),
    ],
)
def test_secrets_are_masked(text: str, masked: str) -> None:
    assert urls.mask(text) == masked


def test_an_error_is_described_without_the_secrets_of_its_url() -> None:
    error = ValueError("login of alice with pa/ss failed,\n tried pa%2Fss")
    described = urls.describe(error, "redis://alice:pa%2Fss@broker")
    assert described == "ValueError: login of *** with *** failed, tried ***"


@pytest.mark.parametrize(
    ("url", "text", "masked"),
    [
        ("nats://t0ken@bus:4222", "at nats://t0ken@bus:4222: t0ken?", "at nats://***@bus:4222: ***?"),
        ("redis://us er:pa ss w@rd@bus/0", "to redis://us er:pa ss w@rd@bus/0", "to redis://***@bus/0"),
        ("redis://:p@x?w@bus", "to redis://:p@x?w@bus: p@x?w", "to redis://***@bus: ***"),
        ("amqp://a:b/c?d=e@bus//", "amqp://a:b/c?d=e@bus// b/c?d=e", "amqp://***@bus// ***"),
        ("kafka://bob:s3cret@bus", "user 'bob', not bobby", "user '***', not bobby"),
        ("amqp://guest:pw@guest-house", "guest at guest-house", "guest at guest-house"),
        ("redis://redis:s3cret@redis", "Redis at redis://redis:s3cret@redis", "Redis at redis://***@redis"),
        ("kafka://bus?ssl_password=s3cret", "key s3cret", "key ***"),
        ('redis://:it\'s "x"@bus', "wrong: 'it\\'s \"x\"'", "wrong: '***'"),
    ],
)
def test_secrets_of_a_known_url_are_masked_everywhere(url: str, text: str, masked: str) -> None:
    assert urls.Secrets(url).mask(text) == masked


def test_secrets_of_options_are_masked_at_any_depth() -> None:
    options = {"password": "first", "client_options": {"sasl_plain_password": "second", "level": "third"}}
    assert urls.Secrets("redis://bus", options).mask("first second third") == "*** *** third"
