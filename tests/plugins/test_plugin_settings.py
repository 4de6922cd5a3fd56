"""Plugins have settings of their own in the application's configuration, checked as ours are."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from flask import Flask

from flask_socketio_core import SocketIO
from flask_socketio_core.cli.plugins_view import view
from flask_socketio_core.contracts.settings import Setting, configured
from flask_socketio_core.errors import (
    DuplicateSetting,
    InvalidDescriptor,
    InvalidOption,
    PluginFailed,
    UnknownOption,
)
from flask_socketio_core.hookspecs import hookimpl
from flask_socketio_core.selection import Plugins
from support.plugins import MakeDistribution

RATE = Setting("census_rate", float, 100.0, "most events a second", above=0)
PORT = Setting("census_port", int, 0, "port", at_least=0)
OPEN = Setting("census_open", bool, False, "let everybody in")
STORE: Setting[str | None] = Setting("census_store", str, None, "URL of a store")
STYLE = Setting("census_style", str, "short", "how names are shown", choices=("short", "long"))
EVENTS: Setting[tuple[str, ...]] = Setting("census_events", tuple, (), "events that are counted")
BY_EVENT: Setting[dict[str, int]] = Setting("census_by_event", dict, {}, "rates by event")


def per_second(text: str) -> float:
    count, _, unit = text.partition(" per ")
    if unit not in ("second", "minute"):
        raise ValueError(f"{text!r} is no rate, write '10 per second'")
    return float(count) / {"second": 1, "minute": 60}[unit]


LIMIT = Setting("census_limit", str, 5.0, "rate", parse=per_second)
ALL = (RATE, PORT, OPEN, STORE, STYLE, EVENTS, BY_EVENT, LIMIT)
SOURCE = """
from flask_socketio_core.contracts.settings import Setting, configured
from flask_socketio_core.hookspecs import hookimpl

RATE = Setting("census_rate", float, 100.0, "most events a second", above=0)
found = []

@hookimpl
def socketio_settings():
    return RATE

@hookimpl
def socketio_setup(socketio, app):
    found.append(configured(RATE, app.config))
"""


class Declaring:
    """A plugin with settings."""

    def __init__(self, *settings: Setting[Any], name: str = "declaring") -> None:
        self.__name__ = name
        self.settings: object = settings

    @hookimpl
    def socketio_settings(self) -> object:
        return self.settings


Serve = Callable[..., Flask]


@pytest.fixture
def serve(make_distribution: MakeDistribution, monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Return a function that serves an application with its configuration, and one plugin called census."""
    pytest.importorskip("flask_socketio_async_threading", reason="no async mode to serve with")
    monkeypatch.setenv("SOCKETIO_LOAD_PLUGINS", "async-threading,census")
    make_distribution("socketio-census", plugins={"census": ("census_hooks", SOURCE)})

    def with_configuration(**config: Any) -> Flask:
        app = Flask("shop")
        app.config.update(config)
        SocketIO(app)
        return app

    return with_configuration


@pytest.mark.parametrize(
    ("setting", "given", "value"),
    [
        (RATE, "2.5", 2.5),
        (RATE, 1, 1.0),
        (PORT, "8000", 8000),
        (PORT, 1e3, 1000),
        (OPEN, "yes", True),
        (STORE, "redis://", "redis://"),
        (STORE, None, None),
        (STYLE, "long", "long"),
        (EVENTS, "say, shout", ("say", "shout")),
        (EVENTS, ["say"], ("say",)),
        (BY_EVENT, {"say": 5}, {"say": 5}),
        (LIMIT, "30 per minute", 0.5),
    ],
)
def test_a_value_is_what_it_looks_like(setting: Setting[Any], given: object, value: object) -> None:
    found = configured(setting, {setting.config_key: given})
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize("setting", ALL)
@pytest.mark.parametrize("missing", [{}, None])
def test_what_is_missing_or_none_is_the_default(setting: Setting[Any], missing: object) -> None:
    assert configured(setting, {} if missing == {} else {setting.config_key: None}) == setting.default


@pytest.mark.parametrize(
    ("setting", "given", "text"),
    [
        (
            RATE,
            "many",
            "['SOCKETIO_CENSUS_RATE']='many': expected a number greater than 0 (most events a second)",
        ),
        (RATE, 0, "expected a number greater than 0"),
        (PORT, -1, "expected a whole number, 0 or more"),
        (PORT, True, "expected a whole number, 0 or more"),
        (OPEN, "flase", "expected true or false"),
        (STORE, 5, "['SOCKETIO_CENSUS_STORE']: expected text"),
        (STYLE, "medium", "='medium': expected one of short, long"),
        (EVENTS, 5, "expected a list"),
        (EVENTS, {"say": 1}, "expected a list"),
        (EVENTS, b"say", "expected a list"),
        (BY_EVENT, "say", "expected a dict"),
        (LIMIT, "10 per week", "'10 per week' is no rate, write '10 per second'"),
    ],
)
def test_another_value_is_refused_with_what_is_expected(
    setting: Setting[Any], given: object, text: str
) -> None:
    with pytest.raises(InvalidOption, match=re.escape(text)):
        configured(setting, {setting.config_key: given})


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"kind": str, "default": "x", "above": 0}, "above=0: only numbers have limits"),
        ({"kind": float, "default": 5}, "default=5 does not suit it: expected a number, write 5.0"),
        ({"kind": bool, "default": 1}, "default=1 does not suit it: expected true or false, write True"),
        ({"kind": int, "default": -1, "at_least": 0}, "default=-1 does not suit it: .* 0 or more"),
        ({"kind": str, "default": "x", "choices": ("a", "b")}, "default='x' .* expected one of a, b"),
        ({"kind": str, "default": "a", "choices": ("a")}, r"choices='a': .* write \('a',\)"),
        ({"kind": list, "default": []}, "kind=<class 'list'>: expected .*, tuple, dict or object"),
        ({"kind": str, "default": "", "parse": "int"}, "parse='int': expected a function"),
    ],
)
def test_a_setting_checks_itself_when_it_is_declared(more: dict[str, Any], text: str) -> None:
    with pytest.raises(InvalidDescriptor, match=f"Setting 'census': {text}"):
        Setting(**{"name": "census", "text": "a setting", **more})


def test_socketio_settings_are_read_in_the_set_up(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    import census_hooks  # type: ignore[import-not-found]  # installed a moment ago

    app = serve(SOCKETIO_CENSUS_RATE="7")
    assert app.test_client().get("/").status_code == 404
    assert census_hooks.found == [7.0]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_a_wrong_value_ends_the_start_and_names_the_plugin(serve: Serve) -> None:
    with pytest.raises(
        InvalidOption,
        match=r"a number greater than 0 .*\n  it is a setting of the plugin 'census' \(socketio-cen",
    ):
        serve(SOCKETIO_CENSUS_RATE="-1")


@pytest.mark.parametrize("key", ["SOCKETIO_CENSUS_RATES", "SOCKETIO_Census_Rate"])
def test_a_misspelt_key_is_warned_of_with_the_one_that_was_meant(
    serve: Serve, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    serve(**{key: 5})
    assert (
        f"app.config['{key}'] is no option of SocketIO and is ignored here: did you mean SOCKETIO_CENSUS_RATE?"
        in (caplog.messages)
    )


@pytest.mark.usefixtures("serve")
@pytest.mark.parametrize("name", ["census_rate", "census_rates", "censusRate"])
def test_a_setting_that_is_given_as_a_keyword_is_refused_with_its_key(name: str) -> None:
    socketio = SocketIO()
    ways: list[Callable[[], object]] = [
        lambda: SocketIO(Flask("shop"), **{name: 5}),  # type: ignore[arg-type]  # what is tried
        lambda: socketio.init_app(Flask("shop"), **{name: 5}),  # type: ignore[arg-type]  # what is tried
        lambda: socketio.server_options.update({name: 5}),
    ]
    for way in ways:
        with pytest.raises(
            UnknownOption,
            match=rf"argument '{name}': it is a plugin's, use app.config\['SOCKETIO_CENSUS_RATE'\]",
        ):
            way()
    with pytest.raises(UnknownOption, match="'ping_intervall', did you mean 'ping_interval'"):
        SocketIO(Flask("shop"), ping_intervall=5)  # type: ignore[call-arg]  # what is tried


def test_the_settings_of_a_plugin_that_is_left_out_are_warned_of(
    serve: Serve, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOCKETIO_LOAD_PLUGINS", "async-threading")
    serve(SOCKETIO_CENSUS_RATE=5)
    assert (
        "app.config['SOCKETIO_CENSUS_RATE'] is no option of SocketIO and is ignored here" in caplog.messages
    )


@pytest.mark.usefixtures("nothing_installed")
class TestDeclaring:
    @pytest.mark.parametrize("name", ["ping_interval", "resource"])
    def test_an_option_of_ours_is_refused_with_both_owners(self, name: str) -> None:
        plugins = Plugins(extra=[Declaring(Setting(name, float, 5.0, "mine"))])
        with pytest.raises(
            DuplicateSetting,
            match=rf"'SOCKETIO_{name.upper()}'\] is claimed twice: by flask-socketio-core itself and by .* 'declaring'",
        ):
            plugins.setting_names()
        assert "claimed twice" in "".join(plugins.describe().problems)

    def test_two_plugins_with_one_setting_are_refused_with_both(self) -> None:
        plugins = Plugins(extra=[Declaring(RATE, name="one"), Declaring(RATE, name="two")])
        with pytest.raises(
            DuplicateSetting, match=r"by the plugin 'one' \(registered in code\) and by the plugin 'two'"
        ):
            plugins.check_settings({})

    @pytest.mark.parametrize(
        ("settings", "text"),
        [
            ("rate", "returned 'rate', expected Setting, a sequence of them, or None"),
            (
                (Setting("census-rate", int, 1, "x"),),
                "a setting named 'census-rate', expected a Python identifier",
            ),
            (
                (Setting("Rate", int, 1, "x"),),
                "a setting named 'Rate', expected a Python identifier in lower case",
            ),
            ((RATE, RATE), "two settings named 'census_rate'"),
        ],
    )
    def test_a_wrong_result_lists_the_plugin_as_broken(self, settings: Sequence[object], text: str) -> None:
        plugin = Declaring()
        plugin.settings = settings
        plugins = Plugins(extra=[plugin])
        assert plugins.setting_names() == ()
        (listed,) = plugins.describe().plugins[-1:]
        assert listed.status.startswith("error: InvalidHook: socketio_settings returned ")
        assert text in listed.status

    def test_an_exception_lists_the_plugin_as_broken_and_leaves_the_others(self) -> None:
        class Failing:
            @hookimpl
            def socketio_settings(self) -> None:
                raise OSError("no file")

        plugins = Plugins(extra=[Failing(), Declaring(RATE)])
        assert plugins.setting_names() == ("census_rate",)
        assert [item.status for item in plugins.describe().plugins][-2:] == ["error: OSError: no file", "ok"]

    def test_a_fault_of_the_plugin_is_not_the_users(self) -> None:
        def parse(value: object) -> object:
            raise KeyError(value)

        broken: Setting[Any] = Setting("census_rate", object, None, "rate", parse=parse)
        plugins = Plugins(extra=[Declaring(broken)])
        with pytest.raises(
            PluginFailed, match=r"'declaring' .* failed at .*'SOCKETIO_CENSUS_RATE'\]: KeyError"
        ) as raised:
            plugins.check_settings({"SOCKETIO_CENSUS_RATE": 5})
        assert isinstance(raised.value.__cause__, KeyError)

    def test_they_are_listed(self) -> None:
        description = Plugins(extra=[Declaring(*ALL)]).describe()
        page = view(description)
        assert re.search(
            r"Key of app.config .*\n *SOCKETIO_CENSUS_RATE .* 100.0 +most events a second \(a number greater",
            page,
        )
        listed = json.loads(json.dumps(description.to_dict()))["plugins"][-1]["settings"]
        assert [item["key"] for item in listed] == [setting.config_key for setting in ALL]
