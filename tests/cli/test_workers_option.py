"""`flask socketio run --workers`: what it refuses, and what a worker does with what it is handed."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

import pytest
from click.testing import Result
from flask import Flask

from flask_socketio_core import SocketIO
from flask_socketio_core.cli.workers.handed import HANDED, Handed, is_handed, take
from flask_socketio_core.cli.workers.listening import bind
from flask_socketio_core.cli.workers.pauses import LONGEST_PAUSE_S, STEADY_S, Pauses
from flask_socketio_core.contracts import Listener
from flask_socketio_core.errors import ConfigurationError

from .apps import make_app

Invoke = Callable[..., Result]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--reload"], "add --no-reload and send SIGHUP to load changes, or leave --workers out"),
        (["--debug"], "the reloader, which comes with --debug"),
        (["--cert", "adhoc"], "each worker would make another certificate"),
        (["--workers", "0"], "0 is not in the range x>=1"),
    ],
    ids=" ".join,
)
def test_what_several_workers_cannot_do_is_refused(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, options: list[str], said: str
) -> None:
    monkeypatch.setenv("FLASK_DEBUG", "0")  # --debug sets it
    monkeypatch.setitem(sys.modules, "cryptography", ModuleType("cryptography"))  # --cert adhoc looks for it
    result = invoke(make_app(), "run", "--workers", "2", *options)
    assert result.exit_code == 2
    assert said in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("unix:///tmp/socket", "several workers share a port"),
        ("a..b", "host 'a..b' stands for no address"),
        ("192.0.2.1", "192.0.2.1 is no address of this machine"),
    ],
)
def test_an_address_that_cannot_be_had_is_told(invoke: Invoke, host: str, said: str) -> None:
    result = invoke(make_app(), "run", "--workers", "2", "--host", host)
    assert result.exit_code == 1
    assert said in result.output


@pytest.mark.parametrize(
    ("host", "family"),
    [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6), ("localhost", socket.AF_INET)],
)
def test_the_socket_of_workers_blocks_none_of_them(host: str, family: socket.AddressFamily) -> None:
    with bind(host, 0) as listener:
        assert listener.family == family
        assert not listener.getblocking()
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_an_empty_host_is_every_address() -> None:
    with bind("", 0) as listener:
        assert listener.getsockname()[0] == "0.0.0.0"


def test_what_a_worker_was_handed_is_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    descriptors = [*os.pipe(), os.dup(0)]
    for descriptor in descriptors:
        os.set_inheritable(descriptor, True)
    monkeypatch.setenv(HANDED, ",".join(map(str, descriptors)))
    assert is_handed()
    handed = take()
    assert handed == Handed(listener=descriptors[0], ready=descriptors[1], alive=descriptors[2])
    assert not is_handed()
    assert take() is None
    assert not any(map(os.get_inheritable, descriptors))
    for descriptor in descriptors:
        os.close(descriptor)


def test_pauses_grow_until_a_worker_has_lived() -> None:
    pauses = Pauses()
    assert [pauses.after(0.1) for _ in range(8)] == [0, 1, 2, 4, 8, 16, LONGEST_PAUSE_S, LONGEST_PAUSE_S]
    assert pauses.after(STEADY_S) == 0
    assert pauses.after(0.1) == 1


def test_a_mode_that_takes_no_listener_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    app = Flask("shop")
    socketio = SocketIO(app, async_mode="threading")
    kind = type(socketio.binding_of(app).mode)
    monkeypatch.setattr(kind, "capabilities", replace(kind.capabilities, takes_listener=False))
    listener = Listener(fd=-1, on_serving=lambda: None)
    with pytest.raises(ConfigurationError, match=r"'threading' binds its own socket .* without --workers"):
        socketio.run(app, listener=listener)


def test_a_listener_and_the_reloader_do_not_go_together() -> None:
    app = Flask("shop")
    listener = Listener(fd=-1, on_serving=lambda: None)
    with pytest.raises(ConfigurationError, match="use_reloader=False"):
        SocketIO(app, async_mode="threading").run(app, listener=listener, use_reloader=True)
