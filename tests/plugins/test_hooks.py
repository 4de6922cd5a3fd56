"""Each hook is called with what it promises, is documented, and has a test named after it."""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Callable
from typing import Any

import pytest

from flask_socketio_core.contracts import hookspecs
from flask_socketio_core.contracts.hookspecs import DESCRIBING, SETTING_UP, SURROUNDING, hookimpl
from flask_socketio_core.selection import Plugins
from support.environments import ROOT
from support.plugins import Describing, mode, provider, queue, store

HOOKS = sorted(name for name in vars(hookspecs) if name.startswith("socketio_"))
TESTS = "".join(path.read_text() for path in sorted((ROOT / "tests").rglob("test_*.py")))


@pytest.mark.parametrize("hook", HOOKS)
def test_each_hook_is_documented_with_its_arguments(hook: str) -> None:
    page = (ROOT / "docs" / "hooks.md").read_text()
    arguments = ", ".join(inspect.signature(getattr(hookspecs, hook)).parameters)
    assert f"### `{hook}({arguments})`" in page


@pytest.mark.parametrize("hook", HOOKS)
def test_each_hook_has_a_docstring_that_dates_it(hook: str) -> None:
    assert ".. versionadded:: " in (getattr(hookspecs, hook).__doc__ or "")


@pytest.mark.parametrize("hook", HOOKS)
def test_each_hook_has_a_test_named_after_it(hook: str) -> None:
    assert re.search(rf"def test_{hook}\b|def test_{hook}_", TESTS)


def test_the_documentation_names_no_other_hook() -> None:
    page = (ROOT / "docs" / "hooks.md").read_text()
    assert sorted(re.findall(r"^### `(\w+)\(", page, re.MULTILINE)) == HOOKS


class Recorder:
    """A plugin that records each call of one observing hook."""

    def __init__(self, hook: str) -> None:
        self.calls: list[dict[str, Any]] = []
        names = list(inspect.signature(getattr(hookspecs, hook)).parameters)
        source = f"def {hook}({', '.join(names)}):\n    record(locals())"
        scope: dict[str, Any] = {"record": lambda arguments: self.calls.append(dict(arguments))}
        exec(source, scope)
        setattr(self, hook, hookimpl(scope[hook]))


@pytest.fixture
def told(nothing_installed: None) -> Callable[..., dict[str, Any]]:
    """Return a function that tells a hook and returns what a plugin received."""

    def tell(hook: str, **arguments: Any) -> dict[str, Any]:
        recorder = Recorder(hook)
        plugins = Plugins(extra=[recorder])
        assert plugins.observes(hook)
        getattr(plugins, hook.removeprefix("socketio_"))(**arguments)
        (call,) = recorder.calls
        assert call.pop("socketio") is None  # these plugins are nobody's
        return call

    return tell


Told = Callable[..., dict[str, Any]]


@pytest.mark.usefixtures("nothing_installed")
class TestDescribing:
    def test_socketio_async_modes(self) -> None:
        plugins = Plugins(extra=[Describing(modes=[mode("a", 1), mode("b", 2)])])
        assert plugins.select_async_mode().info.name == "b"

    def test_socketio_websocket_providers(self) -> None:
        plugins = Plugins(extra=[Describing(providers=[provider("a", 1), provider("b", 2)])])
        assert [item.info.name for item in plugins.select_websocket_providers("any")] == ["b", "a"]

    def test_socketio_message_queues(self) -> None:
        plugins = Plugins(extra=[Describing(queues=[queue("a", "a"), queue("b", "b")])])
        assert plugins.select_queue("b://").info.name == "b"

    def test_socketio_stores(self) -> None:
        plugins = Plugins(extra=[Describing(stores=[store("a", "a"), store("b", "b")])])
        assert plugins.select_store("b://").info.name == "b"

    def test_each_is_called_once_per_object(self) -> None:
        calls = []

        class Counting:
            @hookimpl
            def socketio_async_modes(self) -> object:
                calls.append(1)
                return mode("a")

        plugins = Plugins(extra=[Counting()])
        plugins.select_async_mode()
        plugins.describe()
        plugins.select_async_mode("a")
        assert calls == [1]

    def test_one_descriptor_needs_no_list_and_none_is_none(self) -> None:
        class Brief:
            @hookimpl
            def socketio_async_modes(self) -> object:
                return mode("a")

            @hookimpl
            def socketio_message_queues(self) -> None:
                return None

        assert [part.name for part in Plugins(extra=[Brief()]).describe().parts] == ["a"]


class TestObserving:
    def test_socketio_session_opened(self, told: Told) -> None:
        facts = {"engine_sid": "e", "transport": "polling", "address": "::1", "environ": {"PATH_INFO": "/"}}
        assert told("socketio_session_opened", **facts) == facts

    def test_socketio_session_closed(self, told: Told) -> None:
        facts = {"engine_sid": "e", "transport": "polling", "address": "::1", "reason": "ping timeout"}
        assert told("socketio_session_closed", **facts) == facts

    def test_socketio_transport_changed(self, told: Told) -> None:
        facts = {"engine_sid": "e", "transport": "websocket", "before": "polling"}
        assert told("socketio_transport_changed", **facts) == facts

    def test_socketio_refused(self, told: Told) -> None:
        facts = {"environ": {"PATH_INFO": "/"}, "status": 400, "code": 1, "message": "Session ID unknown"}
        assert told("socketio_refused", **facts) == facts

    def test_socketio_connected(self, told: Told) -> None:
        facts = {"sid": "s", "namespace": "/", "environ": {"PATH_INFO": "/"}, "client": object()}
        assert told("socketio_connected", **facts) == facts

    def test_socketio_recovered(self, told: Told) -> None:
        facts = {"sid": "s", "namespace": "/", "missed": 3}
        assert told("socketio_recovered", **facts) == facts

    def test_socketio_recovery_failed(self, told: Told) -> None:
        facts = {"sid": "s", "namespace": "/", "reason": "unknown"}
        assert told("socketio_recovery_failed", **facts) == facts

    def test_socketio_event_repeated(self, told: Told) -> None:
        facts = {"sid": "s", "namespace": "/", "event": "order"}
        assert told("socketio_event_repeated", **facts) == facts

    def test_socketio_history_lost(self, told: Told) -> None:
        facts = {"namespace": "/", "room": "news", "reason": "store", "count": 1}
        assert told("socketio_history_lost", **facts) == facts

    def test_socketio_history_incomplete(self, told: Told) -> None:
        facts = {"sid": "s", "namespace": "/", "room": "news", "reason": "given up"}
        assert told("socketio_history_incomplete", **facts) == facts

    def test_socketio_client_refused(self, told: Told) -> None:
        facts = {"sid": None, "namespace": "/", "engine_sid": "e", "refusal": {"message": "no"}}
        assert told("socketio_client_refused", **facts) == facts

    def test_socketio_disconnected(self, told: Told) -> None:
        facts = {"sid": "s", "namespace": "/", "reason": "client disconnect", "client": object()}
        assert told("socketio_disconnected", **facts) == facts

    def test_socketio_room_entered(self, told: Told) -> None:
        facts = {"sid": "s", "namespace": "/", "room": ("a", 1)}
        assert told("socketio_room_entered", **facts) == facts

    def test_socketio_room_left(self, told: Told) -> None:
        facts = {"sid": "s", "namespace": "/", "room": "a"}
        assert told("socketio_room_left", **facts) == facts

    def test_socketio_event_before(self, told: Told) -> None:
        facts = {"sid": "s", "namespace": "/", "event": "e", "args": (1, b"2"), "waited_s": 0.5}
        assert told("socketio_event_before", **facts) == facts

    def test_socketio_event_after(self, told: Told) -> None:
        facts = {"sid": "s", "namespace": "/", "event": "e", "duration_s": 0.25}
        assert told("socketio_event_after", **facts) == facts

    def test_socketio_event_error(self, told: Told) -> None:
        facts = {"sid": "s", "namespace": "/", "event": "e", "error": ValueError("no"), "duration_s": 0.25}
        assert told("socketio_event_error", **facts) == facts

    def test_socketio_emit(self, told: Told) -> None:
        facts = {"event": "e", "namespace": "/", "to": ("room",), "args": ({},)}
        assert told("socketio_emit", **facts) == facts

    def test_socketio_delivered(self, told: Told) -> None:
        facts = {
            "event": "e",
            "namespace": "/",
            "to": None,
            "args": (1,),
            "recipients": 3,
            "size_bytes": 20,
        }
        assert told("socketio_delivered", **facts) == facts

    def test_socketio_ack(self, told: Told) -> None:
        facts = {"sid": "s", "namespace": "/", "event": "e", "latency_s": 0.1}
        assert told("socketio_ack", **facts) == facts

    def test_socketio_ack_expired(self, told: Told) -> None:
        facts = {"sid": "s", "namespace": "/", "event": "e", "waited_s": 60.5}
        assert told("socketio_ack_expired", **facts) == facts

    def test_socketio_bus_message(self, told: Told) -> None:
        facts = {"method": "emit", "node": None, "size_bytes": 300}
        assert told("socketio_bus_message", **facts) == facts

    def test_socketio_outbox_overflow(self, told: Told) -> None:
        facts = {"sid": "s", "policy": "disconnect", "packets": 10_001, "size_bytes": 5}
        assert told("socketio_outbox_overflow", **facts) == facts

    def test_socketio_workers_saturated(self, told: Told) -> None:
        assert told("socketio_workers_saturated", max_workers=7) == {"max_workers": 7}

    def test_socketio_bus_state(self, told: Told) -> None:
        facts = {"up": False, "detail": "connection refused"}
        assert told("socketio_bus_state", **facts) == facts

    def test_socketio_server_state(self, told: Told) -> None:
        facts = {"node": "n", "up": True}
        assert told("socketio_server_state", **facts) == facts

    def test_socketio_bus_gap(self, told: Told) -> None:
        facts = {"duration_s": 1.5, "since": 1_700_000_000.0, "missed": 3, "resumed": False}
        assert told("socketio_bus_gap", **facts) == facts

    @pytest.mark.usefixtures("nothing_installed")
    def test_socketio_response_headers(self, caplog: pytest.LogCaptureFixture) -> None:
        asked: list[tuple[object, ...]] = []

        class Inner:
            @hookimpl
            def socketio_response_headers(self, environ: object, headers: object, first: object) -> object:
                asked.append((environ, headers, first))
                return [("Set-Cookie", "a=1"), ("cache-control", "private"), ("X-Own", "inner")]

        class Outer:
            @hookimpl
            def socketio_response_headers(self, headers: object) -> object:
                asked.append((headers,))
                return {"X-Own": "outer", "Content-Length": "5", "X-Late": "a\r\nX-Evil: b", "X-Last": "1"}

        class Wrong:
            @hookimpl
            def socketio_response_headers(self) -> object:
                return "X-Text: 1"

        ours = [("Cache-Control", "no-store"), ("Set-Cookie", "io=sid")]
        plugins = Plugins(extra=[Outer(), Inner(), Wrong()])
        found = plugins.response_headers(environ={"PATH_INFO": "/"}, headers=ours, first=True)
        kept = [("Set-Cookie", "io=sid"), ("Set-Cookie", "a=1"), ("cache-control", "private")]
        assert found == [*kept, ("X-Own", "outer"), ("X-Last", "1")]
        assert asked[0] == ({"PATH_INFO": "/"}, tuple(ours), True)
        assert asked[1] == ((*kept, ("X-Own", "inner")),)
        assert ours == [("Cache-Control", "no-store"), ("Set-Cookie", "io=sid")]
        plugins.response_headers(environ={}, headers=ours, first=False)
        said = [record.getMessage() for record in caplog.records]
        assert len(said) == 3, "once a minute"
        assert (
            "'Outer' (registered in code) adds a header that is left out: Content-Length is the"
            in caplog.text
        )
        assert "the value of X-Late has a line break" in caplog.text
        assert "TypeError: expected a mapping of names to values" in caplog.text

    @pytest.mark.usefixtures("nothing_installed")
    def test_what_nobody_implements_is_not_observed(self) -> None:
        plugins = Plugins()
        assert [hook for hook in HOOKS if plugins.observes(hook)] == []
        plugins.emit(event="e", namespace="/", to=None, args=())

    @pytest.mark.usefixtures("nothing_installed")
    def test_an_observer_may_take_fewer_arguments(self) -> None:
        seen = []

        class Brief:
            @hookimpl
            def socketio_emit(self, event: str) -> None:
                seen.append(event)

        Plugins(extra=[Brief()]).emit(event="e", namespace="/", to=None, args=())
        assert seen == ["e"]

    @pytest.mark.usefixtures("nothing_installed")
    def test_an_observer_that_raises_is_logged_and_keeps_no_other_from_being_told(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        class Raising:
            @hookimpl
            def socketio_workers_saturated(self) -> None:
                raise RuntimeError("cannot count")

        before, after = Recorder("socketio_workers_saturated"), Recorder("socketio_workers_saturated")
        plugins = Plugins(extra=[before, Raising(), after])
        with caplog.at_level(logging.ERROR):
            for _ in range(3):
                plugins.workers_saturated(max_workers=3)
        assert len(before.calls) == len(after.calls) == 3
        assert "plugin 'Raising' (registered in code) failed in socketio_workers_saturated" in caplog.text
        assert caplog.text.count("RuntimeError: cannot count") == 1, "once a minute"


def test_every_hook_that_observes_has_a_method() -> None:
    others = DESCRIBING | SETTING_UP | SURROUNDING
    assert [hook for hook in HOOKS if hook not in others and not hasattr(Plugins, hook[9:])] == []


def test_every_hook_that_does_not_describe_says_which_socketio_object() -> None:
    without = {
        hook for hook in HOOKS if "socketio" not in inspect.signature(getattr(hookspecs, hook)).parameters
    }
    assert without == DESCRIBING | {"socketio_cli"}


def test_every_hook_is_named_as_public() -> None:
    specified = {name for name in vars(hookspecs) if name.startswith("socketio_")}
    assert specified == {name for name in hookspecs.__all__ if name.startswith("socketio_")}
