"""Log lines: who writes them and when, what they show, and that a server without them is the plain one."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from flask_socketio_core.common import options
from flask_socketio_core.contracts.clients import Emission
from flask_socketio_core.server.engine import server_class
from flask_socketio_core.server.interface import Group
from flask_socketio_core.server.lines import MOST_WAITING, Fallback, Lines, choose_logger
from flask_socketio_core.server.logged import LoggedServer, LoggedSession
from flask_socketio_core.server.server import Server
from flask_socketio_core.transport.session import Session
from support.engine import ManualMode, RecordingApplication, WokenTransport, connection_of


class Recorder:
    """A logger of an application's own, with no more than what is called."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, text: str, *args: object) -> None:
        self.lines.append(text % args)

    warning = info

    def log(self, level: int, text: str, *args: object) -> None:
        self.info(text, *args)


def make(**keywords: Any) -> tuple[Server, ManualMode]:
    mode, checked = ManualMode(), options.build(keywords)
    return server_class(checked)(RecordingApplication(), checked, mode, clock=lambda: 100.0), mode


def test_without_the_options_server_and_sessions_are_the_plain_ones() -> None:
    server, _ = make()
    assert type(server) is Server
    assert type(server.eio.add_session({}, WokenTransport())) is Session


def test_each_layer_is_told_to_its_own_logger() -> None:
    upper, lower = Recorder(), Recorder()
    server, mode = make(logger=upper, engineio_logger=lower)
    session = server.eio.add_session({}, WokenTransport())
    session.receive("40")
    mode.run_jobs()
    assert type(server) is LoggedServer
    assert type(session) is LoggedSession
    assert [line.split(" ", 2)[2] for line in upper.lines] == [
        f"of session {session.sid} connects [/]",
        "is connected [/]",
    ]
    assert [line.partition(": ")[2] for line in lower.lines[1:]] == [
        "opened over polling from an unknown address",
        "received packet MESSAGE 0",
        f'sending packet MESSAGE 0{{"sid":"{connection_of(session).clients["/"].sid}"}}',
    ]


@pytest.mark.parametrize(("on", "silent"), [("logger", "engineio_logger"), ("engineio_logger", "logger")])
def test_one_layer_alone(on: str, silent: str) -> None:
    recorder = Recorder()
    server, mode = make(**{on: recorder, silent: False})
    session = server.eio.add_session({}, WokenTransport())
    session.receive("40")
    mode.run_jobs()
    assert recorder.lines
    assert (type(session) is LoggedSession) is (on == "engineio_logger")


@pytest.mark.parametrize(
    ("packet", "shown"),
    [
        ('40{"token":"secret"}', "MESSAGE 0 <auth of 18 characters>"),
        ('40{"sid":"secret"}', "MESSAGE 0 <auth of 16 characters>"),
        ('40/chat?token=secret,{"a":"secret"}', "MESSAGE 0/chat, <auth of 14 characters>"),
        ("40/chat?token=secret", "MESSAGE 0/chat"),
        ("40secret", "MESSAGE 0 <auth of 6 characters>"),
        ("40", "MESSAGE 0"),
    ],
)
def test_what_a_client_connects_with_is_never_shown(packet: str, shown: str) -> None:
    recorder = Recorder()
    server, mode = make(engineio_logger=recorder)
    session = server.eio.add_session({}, WokenTransport())
    try:
        session.receive(packet)
    except Exception:  # noqa: BLE001  # broken ones are shown as well
        session.lost()
    mode.run_jobs()
    assert f"{session.sid}: received packet {shown}" in recorder.lines
    assert "secret" not in "".join(recorder.lines)


def test_of_another_serializers_messages_only_the_size_is_shown() -> None:
    pytest.importorskip("msgpack")
    recorder = Recorder()
    server, mode = make(engineio_logger=recorder, serializer="msgpack")
    session = server.eio.add_session({}, WokenTransport())
    packet = b"\x83\xa4type\x00\xa4data\x81\xa1t\xa6secret\xa3nsp\xa1/"
    session.receive(packet)
    mode.run_jobs()
    assert f"{session.sid}: received packet MESSAGE <{len(packet)} bytes>" in recorder.lines
    assert "secret" not in "".join(recorder.lines)


def test_nothing_is_written_by_the_task_that_causes_a_line() -> None:
    recorder = Recorder()
    server, mode = make(logger=recorder)
    server.emit(Emission("news", (), to=("a", "b")))
    assert recorder.lines == []
    mode.run_jobs()
    assert recorder.lines == ["emitting event 'news' to a, b [/]"]


def test_every_change_of_rooms_is_told_once_whoever_asks_for_it() -> None:
    recorder = Recorder()
    server, mode = make(logger=recorder)
    session = server.eio.add_session({}, WokenTransport())
    session.receive("40")
    mode.run_jobs()
    sid = connection_of(session).clients["/"].sid
    recorder.lines.clear()
    server.enter_room(sid, "hall")
    server.move(Group(to=(sid,)), enter=("kitchen",), leave=("hall",))
    server.leave_room(sid, "kitchen")
    mode.run_jobs()
    assert recorder.lines == [
        f"{sid} is entering room hall [/]",
        f"{sid} is leaving room hall [/]",
        f"{sid} is entering room kitchen [/]",
        f"{sid} is leaving room kitchen [/]",
    ]


def test_a_slow_handler_holds_up_a_bounded_number_of_lines() -> None:
    mode, recorder = ManualMode(), Recorder()
    tell = Lines(mode).teller(recorder, on=True)  # type: ignore[arg-type]  # as options allow
    for number in range(MOST_WAITING + 7):
        tell("line %d", number)
    mode.run_jobs()
    tell("again")
    mode.run_jobs()
    assert len(recorder.lines) == MOST_WAITING + 2
    assert recorder.lines[-2:] == ["7 lines left out: log handlers are slow", "again"]


def test_a_handler_that_raises_loses_its_own_line_only() -> None:
    mode, recorder = ManualMode(), Recorder()
    tell = Lines(mode).teller(recorder, on=True)  # type: ignore[arg-type]  # as options allow
    tell("%d", "no number")
    tell("next")
    with pytest.raises(TypeError):
        mode.run_jobs()
    mode.run_jobs()
    assert recorder.lines == ["next"]


def test_lines_go_on_after_a_time_without_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    mode, recorder = ManualMode(), Recorder()
    tell = Lines(mode).teller(recorder, on=True)  # type: ignore[arg-type]  # as options allow

    def fail(job: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(mode, "spawn", fail)
        tell("first")
    tell("second")
    mode.run_jobs()
    assert recorder.lines == ["first", "second"]


def test_the_fallback_is_silent_as_soon_as_there_is_a_handler(capsys: pytest.CaptureFixture[str]) -> None:
    logger = choose_logger(True, "flask_socketio_core.test_fallback")
    logger.propagate = False
    logger.info("alone")
    logger.addHandler(logging.NullHandler())
    logger.info("with another")
    assert capsys.readouterr().err == "alone\n"
    again = choose_logger(True, logger.name)
    assert len([handler for handler in again.handlers if isinstance(handler, Fallback)]) == 1
