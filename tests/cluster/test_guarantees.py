"""The table of guarantees in docs/queues.md and its tests belong together."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import socketio

from flask_socketio_core.contracts.clients import Emission
from flask_socketio_core.testing.conformance.queues import Listener
from flask_socketio_core.testing.threads import ThreadMode
from support.environments import ROOT
from support.nodes import Node

from .buses import KINDS, make_bus

if TYPE_CHECKING:
    from collections.abc import Mapping

pytestmark = pytest.mark.timeout(120)

PAGE = (ROOT / "docs" / "queues.md").read_text()
MIB = 1024 * 1024
#: What needs no test: there is no broker, or nothing that a queue of this kind could do.
NOTHING = "-"
#: The table's names of the queues, and those of the tests.
NAMES = {
    "redis": "redis",
    "redis-streams": "streams",
    "rabbitmq": "rabbitmq",
    "kafka": "kafka",
    "kombu": "kombu",
    "host": "host",
    "memory": "memory",
}
HERE = "tests/cluster"

Row = dict[str, tuple[str, str]]


def _of_each(test: str, **cells: str) -> Row:
    """Return a row whose cells are one test's parameters."""
    return {name: (text, f"{HERE}/{test}[{NAMES[name]}]") for name, text in _named(cells).items()}


def _named(cells: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): text for name, text in cells.items()}


_LOST = "losses, counted"
_NO_BROKER = {"host": (NOTHING, ""), "memory": (NOTHING, "")}
_IN_ORDER = "test_servers.py::test_thousands_of_messages_to_a_room_arrive_in_order"
_OUTAGE = "test_outages.py::test_durable_queues_lose_and_repeat_nothing"
_RESUMES = "test_gap.py::test_a_durable_queue_resumes_and_says_that_nothing_is_missing"
_MISSING = "test_gap.py::test_a_queue_that_keeps_nothing_says_how_many_messages_are_missing"
_LARGEST = "test_guarantees.py::test_the_largest_message_arrives"
_SHARED = "test_python_socketio.py::test_their_server_hears_everything_of_ours_once"
_NOT_SHARED = "test_guarantees.py::test_python_socketio_is_not_heard"

#: What each cell says, and the test that shows it.
CELLS: dict[str, Row] = {
    "order of one sender and room": {
        **_of_each(_IN_ORDER, redis="kept", redis_streams="kept", rabbitmq="kept", kafka="kept"),
        **_of_each("test_cluster.py::test_messages_to_a_room_keep_their_order", host="kept", memory="kept"),
        **_of_each("test_cluster.py::test_messages_to_a_room_keep_their_order", kombu="as the transport"),
    },
    "the broker restarts under traffic": {
        "redis": (_LOST, f"{HERE}/test_loss.py::test_what_an_outage_of_the_broker_costs_is_counted"),
        **_of_each(_OUTAGE, redis_streams="no loss, with `appendonly yes`"),
        **_of_each(_OUTAGE, rabbitmq="no loss", kafka="no loss"),
        "kombu": (_LOST, f"{HERE}/test_gap.py::test_what_kombu_loses_when_its_broker_restarts_is_counted"),
        **_NO_BROKER,
    },
    "a server is cut off for a while": {
        **_of_each(_MISSING, redis=_LOST, kombu=_LOST),
        **_of_each(_RESUMES, redis_streams="resumes", rabbitmq="resumes", kafka="resumes"),
        **_NO_BROKER,
    },
    "it is cut off for too long to resume": {
        "redis": (NOTHING, ""),
        "redis-streams": (
            f"{_LOST}, after `stream_max_length` messages",
            f"{HERE}/test_gap.py::test_a_stream_that_was_trimmed_past_our_position_has_losses",
        ),
        "rabbitmq": (
            f"{_LOST}, after `queue_expires_s`",
            f"{HERE}/test_gap.py::test_a_queue_of_rabbitmq_that_has_expired_has_losses",
        ),
        "kafka": (
            f"{_LOST}, after `retention_s`",
            f"{HERE}/test_gap.py::test_a_kafka_topic_that_has_dropped_what_we_missed_has_losses",
        ),
        "kombu": (NOTHING, ""),
        **_NO_BROKER,
        "host": (
            f"{_LOST}, after `peer_max_bytes`",
            f"{HERE}/test_loss.py::test_what_a_process_of_the_host_misses_while_it_is_stopped_is_counted",
        ),
    },
    "largest message": {
        **_of_each(_LARGEST, redis="16 MiB", redis_streams="64 MiB", rabbitmq="64 MiB", kafka="8 MiB"),
        **_of_each(_LARGEST, kombu="16 MiB", host="16 MiB", memory="no limit"),
    },
    "shares a channel with python-socketio": {
        **_of_each(_SHARED, redis="yes", rabbitmq="yes", kombu="yes"),
        **_of_each(_NOT_SHARED, redis_streams="no", kafka="no", host="no", memory="no"),
    },
}


def table() -> dict[str, dict[str, str]]:
    """Return the cells of the documentation's table by row and queue."""
    section = PAGE[PAGE.index("What each guarantees") :]
    lines = re.findall(r"^\|(.*)\|$", section[: section.index("\n\n", section.index("\n| "))], re.MULTILINE)
    rows = [[cell.strip() for cell in line.split("|")] for line in lines]
    queues = [name.strip("`") for name in rows[0][1:]]
    return {title: dict(zip(queues, cells, strict=True)) for title, *cells in rows[2:]}


@pytest.fixture(scope="module")
def collected() -> set[str]:
    """Return the ids of all tests in the files that are named."""
    files = sorted({test.partition("::")[0] for row in CELLS.values() for _, test in row.values() if test})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {line for line in done.stdout.splitlines() if "::" in line}


def test_each_cell_of_the_table_is_known_here_word_for_word() -> None:
    assert table() == {
        title: {queue: text for queue, (text, _) in row.items()} for title, row in CELLS.items()
    }
    assert list(next(iter(table().values()))) == list(NAMES)


def test_each_cell_has_a_test_that_exists(collected: set[str]) -> None:
    cells = [cell for row in CELLS.values() for cell in row.values()]
    assert {test for text, test in cells if text != NOTHING} - collected == set()


@pytest.mark.parametrize("kind", KINDS)
def test_the_largest_message_arrives(request: pytest.FixtureRequest, kind: str) -> None:
    bus = make_bus(request, kind)
    limit = bus.queue_class.capabilities.max_message_bytes
    stated = CELLS["largest message"][{kind: name for name, kind in NAMES.items()}[kind]][0]
    if limit is None:
        assert stated == "no limit"
        limit = 64 * MIB
    else:
        assert stated == f"{limit / MIB:.0f} MiB"  # Kafka's includes some 100 bytes of its own
    mode = ThreadMode()
    queue = bus.queue_class(bus.url, bus.channel, mode=mode, options={})
    try:
        listener = Listener(queue, again=True).subscribed()
        queue.publish(b"x" * limit)
        (message,) = listener.wait_for(1, 60)
        assert len(message) == limit
    finally:
        queue.close()
        mode.close()


@pytest.mark.parametrize("kind", ["streams", "kafka", "host", "memory"])
def test_python_socketio_is_not_heard(request: pytest.FixtureRequest, kind: str) -> None:
    bus = make_bus(request, kind)
    node = Node(bus).start()
    member = node.connect()
    try:
        _emit_with_python_socketio(bus.url, bus.channel)
        node.cluster.emit(Emission("ours", ()))
        assert member.wait_for(1) == [["ours"]]
        assert node.cluster.health().received == 0
    finally:
        node.close()


def _emit_with_python_socketio(url: str, channel: str) -> None:
    """Emit as somebody does who gives python-socketio the same broker and channel."""
    if url.startswith("kafka"):
        theirs: Any = socketio.KafkaManager(url, channel=channel, write_only=True)
        with pytest.raises((AssertionError, TypeError)):  # it sends text, and kafka-python takes bytes
            theirs.emit("theirs", ())
        theirs.producer.close()
        theirs.consumer.close()
    elif url.startswith(("host", "memory")):
        socketio.KombuManager("memory://", channel=channel, write_only=True).emit("theirs", ())
    else:
        theirs = socketio.RedisManager(url.replace("+streams", ""), channel=channel, write_only=True)
        theirs.emit("theirs", ())
        theirs.redis.connection_pool.disconnect()
