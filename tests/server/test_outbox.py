"""The outbox: order, limits, and what its policies may drop."""

from __future__ import annotations

import hashlib
import tracemalloc

from flask_socketio_core.transport.outbox import CHUNK_BYTES, Outbox
from flask_socketio_core.transport.packets import Outgoing


def event(number: int) -> Outgoing:
    return Outgoing((f'42["e",{number}]',), is_event=True)


def test_frames_come_out_in_order_and_the_rest_of_a_frame_first() -> None:
    outbox = Outbox()
    outbox.set_head(b"the rest", 4)
    outbox.push(event(1))
    outbox.push(event(2))
    assert outbox.next_frames() == b"rest"
    outbox.wrote(2)
    assert outbox.next_frames() == b"st"
    outbox.wrote(2)
    both = event(1).frames + event(2).frames
    assert outbox.next_frames() == both
    outbox.wrote(len(both))
    assert outbox.next_frames() == b""
    assert not outbox
    assert outbox.size_bytes == 0


def test_a_large_message_is_never_copied_for_a_client_that_reads_slowly() -> None:
    frames = bytes(range(256)) * 65_536  # 16 MB, and other clients' as well
    read = hashlib.sha256(frames[:1000])
    outbox = Outbox()
    tracemalloc.start()
    try:
        outbox.set_head(frames, 1000)
        while chunk := outbox.next_frames():
            read.update(chunk[:10_000])
            outbox.wrote(min(len(chunk), 10_000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert read.digest() == hashlib.sha256(frames).digest()
    assert outbox.size_bytes == 0
    assert peak < 4 * CHUNK_BYTES


def test_packets_are_taken_in_order() -> None:
    outbox = Outbox()
    outbox.push(event(1))
    outbox.push(Outgoing(('451-["b",{"_placeholder":true,"num":0}]', b"\0\1")))
    assert outbox.take_packets() == ['42["e",1]', '451-["b",{"_placeholder":true,"num":0}]', b"\0\1"]
    assert not outbox


def test_limits_count_bytes_and_packets() -> None:
    outbox = Outbox()
    outbox.push(event(1))
    assert not outbox.exceeds(event(1).size, 1)
    assert outbox.exceeds(event(1).size - 1, 1)
    outbox.push(event(2))
    assert outbox.exceeds(1_000_000, 1)


def test_drop_oldest_drops_events_only_and_keeps_the_order() -> None:
    outbox = Outbox()
    ack, connect = Outgoing(("431[]",)), Outgoing(('40{"sid":"x"}',))
    for outgoing in (connect, event(1), ack, event(2), event(3)):
        outbox.push(outgoing)
    assert outbox.drop_oldest(1_000_000, 3) == 2
    assert outbox.take_packets() == ['40{"sid":"x"}', "431[]", '42["e",3]']


def test_drop_newest_drops_the_last_event_and_no_ack() -> None:
    outbox = Outbox()
    outbox.push(event(1))
    outbox.push(event(2))
    outbox.drop_newest()
    outbox.push(Outgoing(("431[]",)))
    outbox.drop_newest()
    assert outbox.take_packets() == ['42["e",1]', "431[]"]


def test_what_was_partly_written_is_never_dropped() -> None:
    outbox = Outbox()
    outbox.set_head(b"x" * 101, 1)
    outbox.push(event(1))
    outbox.drop_oldest(10, 10)
    assert outbox.next_frames() == b"x" * 100
