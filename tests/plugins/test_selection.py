"""Which part is selected, and what is said when one cannot be had."""

from __future__ import annotations

import pytest

from flask_socketio_core.contracts import AsyncMode, AsyncModeInfo, Verdict
from flask_socketio_core.contracts.process import ProcessFacts
from flask_socketio_core.errors import (
    AmbiguousPart,
    InvalidDescriptor,
    InvalidOption,
    PartBroken,
    PartNotInstalled,
    PartUnsuitable,
    SelectionError,
    UnknownPart,
)
from flask_socketio_core.selection import Plugins
from flask_socketio_core.selection import requirements as installed
from support.plugins import Describing, mode, provider, queue, store

pytestmark = pytest.mark.usefixtures("nothing_installed")


def plugins(*extra: object, facts: ProcessFacts | None = None) -> Plugins:
    return Plugins(facts=facts or ProcessFacts(), extra=extra)


def modes(*infos: AsyncModeInfo, facts: ProcessFacts | None = None) -> Plugins:
    return plugins(Describing(modes=infos), facts=facts)


def unless_flask_run(facts: ProcessFacts) -> Verdict:
    return Verdict(
        usable=not facts.flask_run, reason="flask run serves with threads" if facts.flask_run else ""
    )


def failing_load() -> type[AsyncMode]:
    raise ImportError("libgreen.so: cannot open shared object file")


def said(caught: pytest.ExceptionInfo[UnknownPart]) -> str:
    """Return the message without the line about the plugins that these tests leave out."""
    return "\n".join(line for line in str(caught.value).splitlines() if not line.startswith("  left out"))


class TestAsyncMode:
    def test_the_highest_priority_wins(self) -> None:
        selection = modes(mode("low", 0), mode("high", 80), mode("middle", 40)).select_async_mode()
        assert selection.info.name == "high"
        assert selection.reason == "highest priority of the usable ones, 80"

    def test_the_only_one_says_so(self) -> None:
        assert modes(mode("lone")).select_async_mode().reason == "the only one usable here"

    def test_equal_priorities_are_decided_by_name(self) -> None:
        selection = modes(mode("b", 5), mode("a", 5)).select_async_mode()
        assert (selection.info.name, selection.reason) == ("a", "first by name of those with priority 5")

    def test_one_whose_requirement_is_missing_is_passed_over(self) -> None:
        loaded = modes(mode("green", 100, requires=("no-such-library>=2",)), mode("plain"))
        assert loaded.select_async_mode().info.name == "plain"
        status = {part.name: part.status for part in loaded.describe().parts}
        assert status == {"green": "missing: no-such-library>=2", "plain": "ok"}

    def test_one_whose_probe_says_no_is_passed_over_with_its_reason(self) -> None:
        loaded = modes(
            mode("green", 100, probe=unless_flask_run), mode("plain"), facts=ProcessFacts(flask_run=True)
        )
        assert loaded.select_async_mode().info.name == "plain"
        reason = {part.name: part.reason for part in loaded.describe().parts}
        assert reason["green"] == "flask run serves with threads"

    def test_what_flask_run_would_get_is_described(self) -> None:
        description = modes(mode("green", 100, probe=unless_flask_run), mode("plain")).describe()
        assert (description.async_mode, description.under_flask_run) == ("green", "plain")

    def test_a_probe_that_raises_is_an_error_in_the_list(self) -> None:
        def probe(facts: ProcessFacts) -> Verdict:
            raise ZeroDivisionError("division by zero")

        loaded = modes(mode("green", 100, probe=probe), mode("plain"))
        assert loaded.select_async_mode().info.name == "plain"
        status = {part.name: part.status for part in loaded.describe().parts}
        assert status["green"] == "error: ZeroDivisionError: division by zero"

    def test_the_one_asked_for_wins_over_priority(self) -> None:
        selection = modes(mode("low", 0), mode("high", 80)).select_async_mode("low")
        assert (selection.info.name, selection.reason) == ("low", "asked for with async_mode='low'")

    def test_the_command_line_wins_over_the_application(self) -> None:
        loaded = modes(mode("low", 0), mode("high", 80), facts=ProcessFacts(async_mode="low"))
        selection = loaded.select_async_mode("high")
        assert (selection.info.name, selection.reason) == ("low", "asked for with --async-mode low")

    def test_an_unknown_name_lists_what_is_installed_and_the_nearest(self) -> None:
        with pytest.raises(UnknownPart) as caught:
            modes(mode("threads")).select_async_mode("thread")
        assert said(caught) == (
            "async_mode='thread' is not provided by any installed plugin\n"
            "  installed: threads (describing, registered in code)\n"
            "  did you mean 'threads'?"
        )

    def test_one_that_could_be_installed_says_how(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(installed, "installable", lambda prefix: {"fast": f"{prefix}fast"})
        with pytest.raises(
            PartNotInstalled,
            match=r"async_mode='fast' is provided by flask-socketio-async-fast, which is not installed\n"
            r".*\n  pip install flask-socketio-async-fast",
        ):
            modes(mode("plain")).select_async_mode("fast")

    def test_a_slip_in_the_name_of_one_that_could_be_installed_says_how(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(installed, "installable", lambda prefix: {"fast": f"{prefix}fast"})
        with pytest.raises(
            UnknownPart, match=r"did you mean 'fast'\?  pip install flask-socketio-async-fast"
        ):
            modes(mode("plain")).select_async_mode("fasst")

    def test_one_whose_requirement_is_missing_says_what_to_install(self) -> None:
        with pytest.raises(
            PartNotInstalled,
            match=r"async_mode='green' \(describing, registered in code\) needs no-such-library>=2, "
            r'which is not installed\n  pip install "no-such-library>=2"',
        ):
            modes(mode("green", requires=("no-such-library>=2",))).select_async_mode("green")

    def test_one_whose_requirement_is_too_old_says_what_is_there(self) -> None:
        loaded = modes(mode("green", requires=("flask>=99",), install="pip install green-mode"))
        with pytest.raises(
            PartNotInstalled, match=r"needs flask>=99 \([\d.]+ is installed\)\n  pip install green-mode"
        ):
            loaded.select_async_mode("green")

    def test_one_that_is_unsuitable_says_why(self) -> None:
        loaded = modes(mode("green", 100, probe=unless_flask_run), facts=ProcessFacts(flask_run=True))
        with pytest.raises(
            PartUnsuitable,
            match=r"async_mode='green' .* cannot be used in this process: flask run serves with threads",
        ):
            loaded.select_async_mode("green")

    def test_one_that_cannot_be_loaded_keeps_the_cause(self) -> None:
        selection = modes(mode("green", load=failing_load)).select_async_mode("green")
        with pytest.raises(
            PartBroken,
            match=r"async_mode='green' \(describing, .*\) is installed but cannot be loaded: ImportError: libgr",
        ) as caught:
            selection.load()
        assert isinstance(caught.value.__cause__, ImportError)

    def test_nothing_is_loaded_before_it_is_selected(self) -> None:
        assert modes(mode("green", 9, load=failing_load), mode("plain")).describe().async_mode == "green"

    def test_two_plugins_of_one_name_are_an_error_only_when_it_is_selected(self) -> None:
        loaded = plugins(
            Describing(name="one", modes=[mode("twice", 1), mode("once", 5)]),
            Describing(name="other", modes=[mode("twice", 2)]),
        )
        assert loaded.select_async_mode().info.name == "once"
        with pytest.raises(
            AmbiguousPart,
            match=r"async mode 'twice' is claimed by 2 plugins: one, .* and other, .*; uninstall all but one",
        ):
            loaded.select_async_mode("twice")

    def test_a_name_claimed_twice_is_not_chosen_by_priority_either(self) -> None:
        with pytest.raises(AmbiguousPart):
            plugins(
                Describing(name="one", modes=[mode("twice", 1)]),
                Describing(name="other", modes=[mode("twice", 2)]),
            ).select_async_mode()

    def test_with_nothing_usable_each_reason_is_given(self) -> None:
        loaded = modes(
            mode("green", 100, requires=("no-such-library",)),
            mode("plain", probe=unless_flask_run),
            facts=ProcessFacts(flask_run=True),
        )
        with pytest.raises(PartUnsuitable) as caught:
            loaded.select_async_mode()
        lines = str(caught.value).splitlines()
        assert lines[0] == "no async mode can be used in this process"
        assert "  green (describing, registered in code): missing: no-such-library" in lines
        assert "  plain (describing, registered in code): flask run serves with threads" in lines

    def test_with_nothing_installed_the_command_is_given(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SOCKETIO_LOAD_PLUGINS", "queue-memory")
        monkeypatch.setattr(installed, "installable", lambda prefix: {"fast": f"{prefix}fast"})
        with pytest.raises(
            PartNotInstalled, match="not installed: fast  pip install flask-socketio-async-fast"
        ):
            Plugins().select_async_mode()

    def test_every_refusal_is_a_value_error(self) -> None:
        assert issubclass(SelectionError, ValueError)


class TestWebSocketProviders:
    def test_all_that_serve_the_mode_are_asked_in_order_of_priority(self) -> None:
        loaded = plugins(
            Describing(
                providers=[
                    provider("slow", 1),
                    provider("quick", 9, async_modes=("green",)),
                    provider("other", 99, async_modes=("plain",)),
                ]
            )
        )
        chosen = loaded.select_websocket_providers("green")
        assert [(item.info.name, item.reason) for item in chosen] == [
            ("quick", "priority 9, asked first for each request"),
            ("slow", "priority 1, asked second for each request"),
        ]

    def test_without_one_clients_poll(self) -> None:
        assert plugins().select_websocket_providers("green") == ()

    def test_the_one_asked_for_is_the_only_one(self) -> None:
        loaded = plugins(Describing(providers=[provider("slow", 1), provider("quick", 9)]))
        (chosen,) = loaded.select_websocket_providers("green", "slow")
        assert (chosen.info.name, chosen.reason) == ("slow", "asked for with websocket_provider='slow'")

    def test_one_that_serves_another_mode_is_refused(self) -> None:
        loaded = plugins(Describing(providers=[provider("quick", async_modes=("green", "blue"))]))
        with pytest.raises(
            PartUnsuitable,
            match=r"websocket_provider='quick' .* does not serve the async mode 'plain', only green, blue",
        ):
            loaded.select_websocket_providers("plain", "quick")

    def test_an_unknown_name_is_refused(self) -> None:
        with pytest.raises(
            UnknownPart, match=r"websocket_provider='quik' is not provided .*\n(.*\n)+  did you mean 'quick'"
        ):
            plugins(Describing(providers=[provider("quick")])).select_websocket_providers("green", "quik")


class TestMessageQueue:
    def test_an_exact_scheme_beats_a_prefix_and_a_prefix_beats_a_catch_all(self) -> None:
        loaded = plugins(
            Describing(
                queues=[
                    queue("any", catch_all=True),
                    queue("prefix", "owl+*"),
                    queue("exact", "owl", "owl+post"),
                ]
            )
        )
        chosen = {url: loaded.select_queue(url) for url in ("owl+post://", "owl+air://", "raven://")}
        assert {url: (item.info.name, item.reason) for url, item in chosen.items()} == {
            "owl+post://": ("exact", "claims owl+post://"),
            "owl+air://": ("prefix", "claims owl+*://"),
            "raven://": ("any", "takes schemes that no other claims"),
        }

    def test_the_scheme_is_compared_without_regard_to_case(self) -> None:
        assert plugins(Describing(queues=[queue("owl", "owl")])).select_queue("OWL://tree").info.name == "owl"

    def test_a_catch_all_may_refuse_a_scheme_that_it_knows(self) -> None:
        def claims(scheme: str) -> Verdict | None:
            return Verdict(usable=False, reason="drops every broadcast") if scheme == "raven" else None

        loaded = plugins(Describing(queues=[queue("any", catch_all=True, claims=claims)]))
        with pytest.raises(
            PartUnsuitable,
            match=r"message_queue='raven://...' cannot be served by any \(.*\): drops every broadcast",
        ):
            loaded.select_queue("raven://")
        with pytest.raises(UnknownPart):
            loaded.select_queue("rook://")

    def test_a_prefix_may_refuse_a_scheme_that_it_knows(self) -> None:
        def claims(scheme: str) -> Verdict:
            return Verdict(usable=scheme != "owl+stone", reason="owls carry no stones")

        loaded = plugins(Describing(queues=[queue("owl", "owl+*", claims=claims)]))
        assert loaded.select_queue("owl+post://").info.name == "owl"
        with pytest.raises(PartUnsuitable, match="owls carry no stones"):
            loaded.select_queue("owl+stone://")

    def test_a_catch_all_that_fails_to_answer_takes_nothing(self) -> None:
        def claims(scheme: str) -> Verdict:
            raise RuntimeError("out of order")

        with pytest.raises(PartUnsuitable, match="any failed to answer: RuntimeError: out of order"):
            plugins(Describing(queues=[queue("any", catch_all=True, claims=claims)])).select_queue("raven://")

    def test_a_catch_all_that_answers_with_something_else_takes_nothing(self) -> None:
        def claims(scheme: str) -> bool:
            return True

        with pytest.raises(
            PartUnsuitable, match="InvalidDescriptor: claims returned True, expected a Verdict"
        ):
            plugins(Describing(queues=[queue("any", catch_all=True, claims=claims)])).select_queue("raven://")

    def test_two_claimants_of_one_scheme_are_an_error_that_names_both(self) -> None:
        loaded = plugins(
            Describing(name="one", queues=[queue("owl", "owl")]),
            Describing(name="other", queues=[queue("eagle", "owl")]),
        )
        with pytest.raises(
            AmbiguousPart, match=r"message queue 'owl://' is claimed by 2 plugins: one, .* and other, "
        ):
            loaded.select_queue("owl://")

    def test_two_claimants_of_one_scheme_disturb_no_other(self) -> None:
        loaded = plugins(
            Describing(name="one", queues=[queue("owl", "owl"), queue("rook", "rook")]),
            Describing(name="other", queues=[queue("eagle", "owl")]),
        )
        assert loaded.select_queue("rook://").info.name == "rook"

    def test_two_catch_alls_are_an_error_where_both_say_yes(self) -> None:
        loaded = plugins(
            Describing(name="one", queues=[queue("any", catch_all=True)]),
            Describing(name="other", queues=[queue("all", catch_all=True)]),
        )
        with pytest.raises(AmbiguousPart, match="'raven://'"):
            loaded.select_queue("raven://")

    def test_an_unknown_scheme_names_installed_queues_and_the_nearest(self) -> None:
        with pytest.raises(UnknownPart) as caught:
            plugins(Describing(queues=[queue("owl", "owl", "owls")])).select_queue("oowl://secret:word@tree")
        assert said(caught) == (
            "message_queue='oowl://...' is not provided by any installed plugin\n"
            "  installed: owl owls (describing, registered in code)\n"
            "  did you mean 'owl'?"
        )

    def test_a_scheme_that_could_be_installed_says_how(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(installed, "installable", lambda prefix: {"owl": f"{prefix}owl"})
        with pytest.raises(
            PartNotInstalled,
            match=r"'owl://...' is provided by flask-socketio-queue-owl.*\n.*\n  pip install flask-so",
        ):
            plugins().select_queue("owl://")

    def test_a_missing_client_library_says_what_to_install(self) -> None:
        with pytest.raises(
            PartNotInstalled, match=r"'owl://...' \(.*\) needs owl-client, which is not installed\n  pip in"
        ):
            plugins(Describing(queues=[queue("owl", "owl", requires=("owl-client",))])).select_queue("owl://")

    @pytest.mark.parametrize("url", ["owl", "", "://", "user:secret@host"])
    def test_a_url_without_a_scheme_is_refused_without_being_shown(self, url: str) -> None:
        with pytest.raises(InvalidOption, match="message_queue has no URL scheme") as caught:
            plugins().select_queue(url)
        assert "secret" not in str(caught.value)


class TestStore:
    def test_the_claimant_of_a_scheme_gets_it(self) -> None:
        loaded = plugins(Describing(stores=[store("owl", "owl+*"), store("owlet", "owl+small")]))
        assert loaded.select_store("OWL+small://tree").info.name == "owlet"
        selection = loaded.select_store("owl+big://tree")
        assert (selection.info.name, selection.reason) == ("owl", "claims owl+*://")
        assert selection.kind == "store"
        description = loaded.describe()
        assert description.store == "owl" and description.message_queue is None
        assert {part.name: part.reason for part in description.parts} == {
            "owl": "claims owl+*://",
            "owlet": "not asked for",
        }

    def test_a_queue_of_that_scheme_is_no_store(self) -> None:
        loaded = plugins(Describing(queues=[queue("owl", "owl")], stores=[store("owlet", "owlet")]))
        with pytest.raises(UnknownPart) as caught:
            loaded.select_store("owl://secret:word@tree")
        assert said(caught) == (
            "store='owl://...' is not provided by any installed plugin\n"
            "  installed: owlet (describing, registered in code)\n"
            "  did you mean 'owlet'?"
        )

    def test_the_plugin_of_a_queue_may_have_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            installed, "installable", lambda prefix: {"owl": f"{prefix}owl"} if "queue" in prefix else {}
        )
        with pytest.raises(
            UnknownPart,
            match=r"flask-socketio-queue-owl, which is not installed, may have it: pip install flask-so",
        ):
            plugins().select_store("owl://")

    def test_a_url_without_a_scheme_is_refused_without_being_shown(self) -> None:
        with pytest.raises(InvalidOption, match="store has no URL scheme") as caught:
            plugins().select_store("user:secret@host")
        assert "secret" not in str(caught.value)

    def test_a_store_without_a_scheme_is_no_descriptor(self) -> None:
        with pytest.raises(
            InvalidDescriptor, match=r"StoreInfo 'owl': schemes=.*: expected at least one URL scheme"
        ):
            store("owl")


class TestInstallable:
    def test_the_extras_of_the_core_say_what_can_be_installed(self) -> None:
        offers = installed.installable("flask-socketio-async-")
        assert offers["gevent"] == "flask-socketio-async-gevent"
        assert "all" not in offers
        assert "redis" in installed.installable("flask-socketio-queue-")
