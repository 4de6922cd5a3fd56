"""What a process imports and does that only serves: nothing of what others might need."""

from __future__ import annotations

import copy
import importlib.util
import os
import pickle
import subprocess
import sys

import pytest
from socketio import exceptions

from flask_socketio_core.errors import CallError, CallTimeout, ClientGone, refusals

#: Libraries of queues and async modes that nobody asked for, python-socketio, which imports them, and test clients.
NOT_NEEDED = {
    "asyncio",
    "click.testing",
    "engineio",
    "eventlet",
    "flask.testing",
    "flask_socketio_core.app.test_client",
    "gevent",
    "kafka",
    "kombu",
    "redis",
    "requests",
    "socketio",
    "werkzeug.debug",
}

#: Of our own, what is for several servers, for several workers and for logs; but for these, what makes a server is
#: imported with it. A module of handlers needs no more than to register them.
NOT_FOR_ONE_SERVER = {
    "flask_socketio_core.cluster.cluster",
    "flask_socketio_core.server.logged",
    "flask_socketio_core.transport.handover.passing",
}
NOT_FOR_HANDLERS = NOT_FOR_ONE_SERVER | {
    "flask_socketio_core.app.binding",
    "flask_socketio_core.app.watched",
    "flask_socketio_core.cluster.asking",
    "flask_socketio_core.selection",
    "flask_socketio_core.server.server",
    "flask_socketio_core.transport.http",
    "packaging",
    "subprocess",
}

#: What registers handlers before there is an application.
REGISTER = """
socketio = flask_socketio_core.SocketIO()
blueprint = flask_socketio_core.SocketBlueprint("/chat")
blueprint.on("say")(socketio.on("say")(lambda text: flask_socketio_core.emit("said", text)))
socketio.register_blueprint(blueprint)
"""

SERVE = """
from flask import Flask
from wsgiref.util import setup_testing_defaults

app = Flask("app")
socketio = flask_socketio_core.SocketIO(app, async_mode="threading")
environ = {"PATH_INFO": "/socket.io/", "QUERY_STRING": "EIO=4&transport=polling"}
setup_testing_defaults(environ)
(body,) = app.wsgi_app(environ, lambda status, headers, exc_info=None: None)
assert body.startswith(b'0{"sid":'), body
"""

#: The plugins there are to choose from; what a plugin that offers a feature needs is its own matter.
PARTS = (
    "async-eventlet,async-gevent,async-threading,queue-host,queue-kafka,queue-kombu,queue-memory,queue-redis"
)

LIMIT = "resource.getrlimit(resource.RLIMIT_NOFILE)[0]"


def answer_of(code: str) -> str:
    """Run a program in an interpreter of its own, and return what it prints."""
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "SOCKETIO_LOAD_PLUGINS": PARTS}
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=True
    ).stdout


@pytest.mark.parametrize(
    ("then", "not_needed"),
    [
        ("", NOT_FOR_HANDLERS),
        (REGISTER, NOT_FOR_HANDLERS),
        (SERVE, NOT_FOR_ONE_SERVER),
    ],
    ids=["import", "handlers", "served request"],
)
def test_what_only_others_need_is_not_imported(then: str, not_needed: set[str]) -> None:
    loaded = answer_of(f"import sys, flask_socketio_core\n{then}\nprint(*sys.modules)").split()
    assert "flask_socketio_core" in loaded
    by_flask = answer_of("import sys, flask\nprint(*sys.modules)").split()  # more in an older one
    assert (NOT_NEEDED | not_needed).intersection(loaded) - set(by_flask) == set()


@pytest.mark.parametrize("name", sorted(NOT_FOR_HANDLERS))
def test_what_is_not_imported_is_there_to_be_imported(name: str) -> None:
    assert importlib.util.find_spec(name) is not None, "or it has another name by now"


def test_the_error_that_refuses_is_imported_for_who_asks_for_it() -> None:
    code = "from flask_socketio_core import ConnectionRefusedError as error; print(error.__module__)"
    assert answer_of(code) == "socketio.exceptions\n"


def test_the_first_connection_raises_the_limit_of_descriptors_and_no_object() -> None:
    pytest.importorskip("resource")
    serve = SERVE.replace("environ =", f"made = {LIMIT}\nenviron =")
    lower = "import resource, flask_socketio_core\nhard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]\n"
    lower += "resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))\n"
    assert answer_of(f"{lower}{serve}\nprint(made, {LIMIT} == hard)") == "256 True\n"


@pytest.mark.parametrize("error", [CallTimeout, ClientGone])
@pytest.mark.parametrize(
    "name", [CallError, TimeoutError, exceptions.TimeoutError, exceptions.SocketIOError], ids=repr
)
def test_a_call_without_an_answer_is_caught_by_every_name(
    error: type[CallError], name: type[Exception]
) -> None:
    with pytest.raises(name, match="no answer") as caught:
        raise error("no answer")
    assert isinstance(caught.value, error)
    again = copy.copy(pickle.loads(pickle.dumps(caught.value)))
    assert (type(again), type(again).__name__, str(again)) == (
        type(caught.value),
        error.__name__,
        "no answer",
    )


def test_no_error_needs_python_socketio(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "socketio.exceptions")
    assert type(CallTimeout("no answer")) is CallTimeout
    assert refusals() == ()
