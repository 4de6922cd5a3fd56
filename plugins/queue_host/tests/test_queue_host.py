"""What is particular to one host: its directory, and processes that are killed, stopped, foreign or forked."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flask_socketio_core.contracts.host.directory import SETTLED_S
from flask_socketio_core.errors import ConfigurationError, InvalidOption, QueueRefused, QueueUnavailable
from flask_socketio_core.selection import Plugins
from flask_socketio_core.testing.conformance.queues import Listener
from flask_socketio_core.testing.threads import ThreadMode
from flask_socketio_queue_host.frames import QUESTION, FrameReader, FrameTooLarge, frame
from flask_socketio_queue_host.pace import AGAIN_S, COUNTED, PAUSE_S, TRIED, Pace
from flask_socketio_queue_host.peer import Peer
from flask_socketio_queue_host.queue import HostQueue
from support.gathering import assert_gathers_in_order
from support.nodes import wait_until
from support.servers import stopped

pytestmark = pytest.mark.timeout(60)

NOBODY = 65534
#: Seconds that a process may take to start on a busy machine.
START_S = 30.0
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="tells who is connected on Linux alone")

Make = Callable[..., HostQueue]


@pytest.fixture
def place() -> Iterator[Path]:
    """A short path that others may pass, as /tmp is: pytest's own is 0700."""
    with tempfile.TemporaryDirectory(prefix="host") as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.fixture
def private(place: Path) -> Path:
    return place / f"flask-socketio-{os.geteuid()}"


@pytest.fixture
def make(place: Path) -> Iterator[Make]:
    made: list[HostQueue] = []

    def make(url: str = "host://", channel: str = "test", **options: object) -> HostQueue:
        queue = HostQueue(url, channel, mode=ThreadMode(), options={"directory": str(place), **options})
        made.append(queue)
        return queue

    yield make
    for queue in made:
        queue.close()


LISTEN = """
import sys
from flask_socketio_core.testing.threads import ThreadMode
from flask_socketio_queue_host.queue import HostQueue

queue = HostQueue(sys.argv[1], "test", mode=ThreadMode(), options={})
for message in queue.listen():
    print(message[:10].decode() or "quiet", flush=True)
"""

FORK = r"""
import os, sys, time
from flask_socketio_core.testing.threads import ThreadMode
from flask_socketio_queue_host.queue import HostQueue

def make():
    return HostQueue(sys.argv[1], "test", mode=ThreadMode(), options={})

queue = make()
listening = queue.listen()
next(listening)
queue.publish(b"parent")
if os.fork() == 0:
    make().publish(b"child")
    os.write(1, b"%d\n" % os.getpid())  # at once, unlike print()
    time.sleep(60)
next(message for message in listening if message == b"child")
os.write(1, b"heard\n")
time.sleep(60)
"""


class Child:
    """A process that listens, and prints what it hears."""

    def __init__(self, place: Path, program: str = LISTEN) -> None:
        command = [sys.executable, "-c", program, f"host://?directory={place}"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.lines: list[str] = []
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        wait_until(lambda: self.lines, "sign of the child", START_S)

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            self.lines.extend(
                line.strip() for line in self.process.stdout if line != "quiet\n" or not self.lines
            )

    @property
    def heard(self) -> list[str]:
        return self.lines[1:]

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reading.join(10)


@pytest.fixture
def child(place: Path) -> Iterator[Child]:
    child = Child(place)
    yield child
    child.end()


def sockets(private: Path) -> list[Path]:
    return list(private.glob("*/*"))


def descriptors() -> int:
    return len(os.listdir("/dev/fd"))


# ------------------------------------------------------------------------------------------------- the plugin


def test_the_plugin_is_listed_as_ok_and_chosen_by_its_url() -> None:
    plugins = Plugins()
    plugin = next(item for item in plugins.describe().plugins if item.name == "queue-host")
    assert (plugin.status, [part.name for part in plugin.parts]) == ("ok", ["host"])
    assert (
        plugins.select_queue("host://").info.name == plugins.select_queue("host://blue").info.name == "host"
    )


@pytest.mark.parametrize(
    "url", ["host://me@blue", "host://:secret@blue", "host://blue:1", "host://blue,green", "host:///run/app"]
)
def test_a_url_names_a_deployment_and_nothing_else(make: Make, url: str) -> None:
    with pytest.raises(InvalidOption, match=r"expected host:// or host://NAME"):
        make(url)


def test_a_system_without_unix_sockets_is_told_what_works(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flask_socketio_queue_host.queue.FAMILY", None)
    with pytest.raises(ConfigurationError, match=r"needs Unix sockets.*a broker works here"):
        make()


# ---------------------------------------------------------------------------------------------------- frames


def test_a_stream_is_taken_apart_wherever_it_is_cut() -> None:
    messages = [b"a", b"\x00" * 300, b"bc"]
    stream = frame(messages[0]) + QUESTION + frame(messages[1]) + frame(messages[2])
    for size in (1, 2, 3, 5, 299, len(stream)):
        reader = FrameReader(300)
        found = [m for at in range(0, len(stream), size) for m in reader.feed(stream[at : at + size])]
        assert (found, reader.questions, reader.partial) == (messages, 1, False)


def test_a_length_beyond_the_limit_is_refused_before_anything_is_kept() -> None:
    with pytest.raises(FrameTooLarge, match="301 bytes, expected at most 300"):
        FrameReader(300).feed(frame(bytes(301))[:4])


# ------------------------------------------------------------------------------------------------------ pace


def test_messages_gather_while_they_follow_closely_and_each_pause_brings_some() -> None:
    pace, now_s = Pace(), 100.0
    for _ in range(3 * COUNTED):  # a thousand a second
        now_s += 0.001
        pace.note(1, now_s)
        assert not pace.pauses
    for _ in range(COUNTED):
        now_s += 0.0003
        pace.note(1, now_s)
    assert pace.pauses
    for _ in range(3 * TRIED):
        now_s += PAUSE_S
        pace.note(3, now_s)
        assert pace.pauses


def test_answers_that_wait_for_each_other_are_held_up_for_a_hundredth_of_the_time() -> None:
    pace, now_s, paused_s = Pace(), 100.0, 0.0
    while now_s < 110.0:
        waits_s = PAUSE_S if pace.pauses else 0.0
        paused_s += waits_s
        now_s += waits_s + 0.0002
        pace.note(1, now_s)
    assert 0 < paused_s < 10.0 / AGAIN_S * TRIED * PAUSE_S * 1.2


def test_what_gathers_under_load_arrives_in_order_and_single_messages_do_not_gather(make: Make) -> None:
    assert_gathers_in_order(make())


# ------------------------------------------------------------------------------------------- who is there


def test_deployments_and_channels_do_not_mix(make: Make) -> None:
    buses = [("host://", "test"), ("host://", "other"), ("host://blue", "test"), ("host://green", "test")]
    listeners = [Listener(make(*bus)).subscribed() for bus in buses]
    for url, channel in buses:
        make(url, channel).publish(f"{url} {channel}".encode())
    assert [listener.wait_for(1) for listener in listeners] == [[f"{u} {c}".encode()] for u, c in buses]


def test_a_newcomer_hears_whatever_is_sent_once_it_is_ready(make: Make) -> None:
    sender = make()
    for number in range(30):  # most of them within one tick of the file system's clock
        newcomer = make()
        listening = newcomer.listen()
        assert next(listening) == b""
        sender.publish(b"%d" % number)
        assert next(message for message in listening if message) == b"%d" % number
        newcomer.close()


def test_what_is_published_to_others_is_not_heard_by_ones_own_listeners(make: Make) -> None:
    queue, other = make(), make()
    own, also_own, theirs = [Listener(each).subscribed() for each in (queue, queue, other)]
    for number in range(3):
        queue.publish_to_others(b"%d" % number)
    queue.publish(b"all")
    assert theirs.wait_for(4) == [b"0", b"1", b"2", b"all"]
    assert [own.wait_for(1), also_own.wait_for(1)] == [[b"all"]] * 2


def test_two_with_one_address_both_hear_what_is_for_either(make: Make) -> None:
    one, other, sender, third = make(), make(), make(), make()
    other.address = one.address
    both = [Listener(each).subscribed() for each in (one, other)]
    neither = Listener(third).subscribed()
    sender.publish_to(one.address, b"for one")
    sender.publish(b"for all")
    assert [each.wait_for(2) for each in both] == [[b"for one", b"for all"]] * 2
    assert neither.wait_for(1) == [b"for all"]


def test_what_is_for_one_that_has_left_reaches_everybody(make: Make) -> None:
    left, stays, sender = make(), make(), make()
    listeners = [Listener(each).subscribed() for each in (left, stays)]
    sender.publish_to(left.address, b"first")
    assert listeners[0].wait_for(1) == [b"first"]
    left.close()
    assert listeners[0].ended()
    sender.publish_to(left.address, b"second")
    assert listeners[1].wait_for(1) == [b"second"]


def test_all_that_start_at_once_hear_each_other(make: Make) -> None:
    queues = [make() for _ in range(8)]
    ready, listeners = threading.Barrier(8), []

    def join(queue: HostQueue) -> None:
        ready.wait()
        listeners.append(Listener(queue).subscribed())
        ready.wait()
        queue.publish(b"here")

    threads = [threading.Thread(target=join, args=(queue,)) for queue in queues]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(listener.wait_for(8)) for listener in listeners] == [8] * 8


def test_who_only_sends_and_who_leaves_leave_nothing_behind(make: Make, place: Path, private: Path) -> None:
    make().publish(b"to nobody")
    make().ping()
    assert list(place.iterdir()) == []
    before = descriptors()
    queues = [make() for _ in range(3)]
    listeners = [Listener(queue).subscribed() for queue in queues]
    sender = make()
    sender.publish(b"x" * 1_000_000)
    for listener in listeners:
        listener.wait_for(1)
    assert descriptors() > before
    for queue in (*queues, sender):
        queue.close()
    assert all(listener.ended() for listener in listeners)
    wait_until(lambda: descriptors() <= before, lambda: f"end of {descriptors() - before} descriptors")
    assert list(place.iterdir()) == []


def test_a_listener_whose_directory_was_cleared_is_found_again(make: Make, private: Path) -> None:
    sender, listener = make(), Listener(make(), again=True).subscribed()
    sender.publish(b"before")
    (path,) = sockets(private)
    path.unlink()
    listener.wait_until(lambda: bool(listener.errors), 15, "error of the listener")
    assert "was removed" in str(listener.errors[0])
    ticks = listener.ticks
    listener.wait_until(lambda: listener.ticks > ticks, 15, "new subscription")
    sender.publish(b"after")
    assert listener.wait_for(2) == [b"before", b"after"]


# ------------------------------------------------------------------------------ processes that do not behave


def test_who_was_stopped_or_killed_costs_nobody_anything(
    make: Make, child: Child, private: Path, caplog: pytest.LogCaptureFixture
) -> None:
    limit, size, count = 1_000_000, 10_000, 400
    sender, listener = make(peer_max_bytes=limit), Listener(make()).subscribed()
    sender.publish(b"first")
    wait_until(lambda: child.heard == ["first"], "message")
    with stopped(child.process.pid):
        slowest = 0.0
        for number in range(count):
            before = time.monotonic()
            sender.publish(b"%010d" % number + bytes(size - 10))
            slowest = max(slowest, time.monotonic() - before)
        assert len(listener.wait_for(count + 1)) == count + 1
        assert slowest < 5  # it is 1 s, once, when half of the limit waits for it
        assert caplog.text.count(f"process {child.process.pid} on this host reads no messages") == 1
        before = time.monotonic()
        sender.flush(5)
        assert time.monotonic() - before < 4

    asked = itertools.count(1)

    def is_back() -> bool:
        sender.publish(b"again %d" % next(asked))
        return any(line.startswith("again") for line in child.heard)

    wait_until(is_back, "message after the pause")
    sent = count + next(asked) - 1
    (told,) = [record.message for record in caplog.records if "reads again:" in record.message]
    lost = int(told.partition("again: ")[2].split()[0])
    wait_until(lambda: len(child.heard) == 1 + sent - lost, "all that is not counted as lost")
    arrived = [line for line in child.heard if line.isdecimal()]
    assert arrived == [f"{number:010}" for number in range(len(arrived))]  # the oldest, in order, none twice

    child.process.kill()
    child.process.wait()
    assert len(sockets(private)) == 2
    for number in range(3):
        sender.publish(b"%d" % number)
    assert listener.wait_for(1 + sent + 3)[-3:] == [b"0", b"1", b"2"]
    assert len(sockets(private)) == 1
    assert not listener.errors


def test_a_reader_that_is_slow_loses_nothing(make: Make) -> None:
    sender, reader = make(peer_max_bytes=400_000), make()
    listening = reader.listen()
    assert next(listening) == b""
    sent = [b"%d" % number + bytes(30_000) for number in range(60)]

    def send() -> None:
        for message in sent:
            sender.publish(message)

    sending = threading.Thread(target=send)
    sending.start()
    heard = []
    for message in listening:
        heard += [message] if message else []
        time.sleep(0.005)
        if len(heard) == len(sent):
            break
    sending.join()
    assert heard == sent


def connected(path: Path) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(path))
    return sock


def test_half_a_message_and_noise_harm_nobody_else(
    make: Make, private: Path, caplog: pytest.LogCaptureFixture
) -> None:
    listener = Listener(make()).subscribed()
    (path,) = sockets(private)
    with connected(path) as sock:
        sock.sendall(frame(b"whole") + frame(b"this is cut off")[:10])
    with connected(path) as noisy:
        noisy.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert noisy.recv(1) == b""  # it was left
    with connected(path):
        pass  # dies while it connects
    make().publish(b"behind")
    assert sorted(listener.wait_for(2)) == [b"behind", b"whole"]
    wait_until(lambda: "ended in the middle of a message" in caplog.text, "word of the half message")
    assert "is not understood: message of 1195725856 bytes" in caplog.text


def test_sockets_that_dead_processes_have_left_are_removed(make: Make, private: Path) -> None:
    listener = Listener(make()).subscribed()
    (path,) = sockets(private)
    stale, hidden = path.with_name("0" * 12), path.with_name("." + "0" * 12)
    for left in (stale, hidden):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(str(left))
    make().publish(b"x")
    assert sorted(sockets(private)) == [hidden, path]  # that may be one who is about to come
    assert listener.wait_for(1) == [b"x"]
    os.utime(hidden, (0, 0))
    other = make()
    assert next(other.listen()) == b""
    assert hidden not in sockets(private)


@on_linux
def test_a_forked_child_joins_anew_and_keeps_no_dead_parent_alive(
    make: Make, place: Path, private: Path
) -> None:
    listener, sender = Listener(make()).subscribed(), make()
    child = Child(place, FORK)
    grandchild = 0
    try:
        wait_until(lambda: len(child.lines) == 2, "parent that has heard its child", START_S)
        grandchild = int(next(line for line in child.lines if line != "heard"))
        sender.publish(b"all are there")
        assert sorted(listener.wait_for(3)) == [b"all are there", b"child", b"parent"]
        assert len(sockets(private)) == 2
        child.process.kill()
        child.process.wait()
        os.kill(grandchild, 0)  # is still there
        sender.publish(b"one is gone")
        assert len(sockets(private)) == 1
    finally:
        if grandchild:
            os.kill(grandchild, signal.SIGKILL)
        child.end()


# ---------------------------------------------------------------------------------------------- the directory


def test_what_is_made_is_ours_alone(make: Make, private: Path) -> None:
    old = os.umask(0)
    try:
        Listener(make()).subscribed()
    finally:
        os.umask(old)
    modes = [stat.S_IMODE(path.stat().st_mode) for path in (private, *private.iterdir())]
    assert modes == [0o700, 0o700]


def _a_file(private: Path) -> None:
    private.write_text("")


def _a_link(private: Path) -> None:
    private.with_name("elsewhere").mkdir(mode=0o700)
    private.symlink_to("elsewhere")


def _open_to_others(private: Path) -> None:
    private.mkdir()
    private.chmod(0o755)


def _somebody_elses(private: Path) -> None:
    private.mkdir(mode=0o700)
    os.chown(private, NOBODY, NOBODY)


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (_a_file, "is no directory, remove it"),
        (_a_link, "is no directory, remove it"),
        (_open_to_others, r"is open to others \(mode 755\): chmod 700 it"),
        pytest.param(_somebody_elses, r"belongs to user 65534, not to us \(0\)", marks=as_root),
    ],
)
def test_a_directory_that_is_not_ours_alone_is_refused(
    make: Make, private: Path, spoil: Callable[[Path], None], text: str
) -> None:
    spoil(private)
    queue = make()
    for act in (queue.ping, lambda: queue.publish(b"x"), lambda: next(queue.listen())):
        with pytest.raises(QueueRefused, match=f"no directory for Unix sockets: directory: .*{text}"):
            act()


def test_the_first_place_that_can_be_used_is_taken(
    place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runtime, temporary, absent = place / "runtime", place / "temporary", place / "absent"
    runtime.mkdir()
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))

    def listen() -> contextlib.AbstractContextManager[object]:
        queue = HostQueue("host://", "test", mode=ThreadMode(), options={})
        Listener(queue).subscribed()
        return contextlib.closing(queue)

    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    with listen():
        assert list(runtime.iterdir()) and not list(temporary.iterdir())
    for unusable in (absent, place / ("long" * 30)):
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(unusable))
        with listen():
            assert list(temporary.iterdir())
    monkeypatch.setattr(tempfile, "tempdir", str(place / ("also" * 30)))
    with pytest.raises(
        QueueRefused, match=r"XDG_RUNTIME_DIR: .* is too long.*temporary directory: .*is too long"
    ):
        HostQueue("host://", "test", mode=ThreadMode(), options={}).ping()


BIND_AND_CONNECT = """
import os, socket, sys
directory, mine, theirs = sys.argv[1:]
os.chdir(directory)  # from where the way leads on, past the private directory
os.setuid(65534)
listening = socket.socket(socket.AF_UNIX)
listening.bind(mine)
os.chmod(mine, 0o777)
listening.listen()
sock = socket.socket(socket.AF_UNIX)
sock.connect(theirs)
try:
    sock.sendall(bytes((0, 0, 0, 1)) + b"!")
except (BrokenPipeError, ConnectionResetError):
    pass
print("connected", flush=True)
sys.stdin.readline()
listening.setblocking(False)
sender, _ = listening.accept()
sender.setblocking(True)
print(sender.recv(100), flush=True)
"""


@on_linux
def test_listeners_that_could_not_be_met_are_met_before_the_next_message(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    listeners = [Listener(make()).subscribed() for _ in range(2)]
    sender = make()
    connect = Peer.connect
    attempts: list[Peer] = []

    def without_a_descriptor(peer: Peer) -> None:
        attempts.append(peer)
        if len(attempts) == 1:
            raise OSError(errno.EMFILE, "no descriptor is left")
        connect(peer)

    time.sleep(SETTLED_S + 0.1)  # the directory's time says that nothing has changed
    monkeypatch.setattr(Peer, "connect", without_a_descriptor)
    with pytest.raises(QueueUnavailable):
        sender.publish(b"lost")
    sender.publish(b"heard")
    for listener in listeners:
        assert listener.wait_for(1) == [b"heard"]


@on_linux
def test_a_listener_removes_what_the_dead_have_left_beside_it(make: Make, private: Path) -> None:
    program = "import os, socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()"
    listener = Listener(make()).subscribed()
    (alive,) = sockets(private)
    dead, empty, foreign = (private / name for name in ("d" * 12, "e" * 12, "f" * 12))
    for directory in (dead, empty, foreign):
        directory.mkdir()
    (foreign / "a file").touch()
    subprocess.run([sys.executable, "-c", program, str(dead / ("1" * 12))], check=True)
    Listener(make(channel="another")).subscribed()
    assert not dead.exists() and not empty.exists() and foreign.exists()
    assert alive.exists() and len(sockets(private)) == 3
    make().publish(b"as before")
    assert listener.wait_for(1) == [b"as before"]


@as_root
@on_linux
def test_other_users_are_neither_heard_nor_sent_to(
    make: Make, private: Path, caplog: pytest.LogCaptureFixture
) -> None:
    listener = Listener(make()).subscribed()
    (path,) = sockets(private)
    path.parent.chmod(0o777)  # so that nothing but the check of the user keeps others out
    path.chmod(0o777)
    command = [sys.executable, "-c", BIND_AND_CONNECT, str(path.parent), "f" * 12, path.name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "connected\n"
        wait_until(lambda: "of user 65534 has to say" in caplog.text, "refusal")
        sender = make()
        sender.publish(b"for us")
        sender.publish(b"again")
        assert listener.wait_for(2) == [b"for us", b"again"]
        assert caplog.text.count("not sent to") == 1
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "b''\n"
