"""The plugins of one extension object."""

from __future__ import annotations

import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from ..common import headers as response_headers
from ..common.repeats import Repeats, kind_of
from ..common.tracebacks import log_error
from ..contracts import AsyncModeInfo, QueueInfo, StoreInfo, Verdict, WebSocketProviderInfo, process
from ..contracts.hookspecs import DESCRIBING, SETTING_UP
from ..contracts.settings import Setting
from ..errors import DuplicateSetting, InvalidHook, PartUnsuitable, PluginFailed, SelectionError
from . import choice, describing, discovery, parts, requirements, settings
from .choice import ASYNC_MODE, PROVIDER, QUEUE, STORE, Kind, Offers, SchemedT
from .parts import Info
from .records import Candidate, Plugin, Selection, one_line

if TYPE_CHECKING:
    import pluggy

    from ..common.headers import Headers
    from ..contracts.clients import Client, Emission
    from ..contracts.process import ProcessFacts
    from .description import Description

TRACE_SWITCH = "SOCKETIO_TRACE_PLUGINS"

logger = logging.getLogger(__name__)
InfoT = TypeVar("InfoT", bound=Info)
DescriptorT = TypeVar("DescriptorT")
Observer = tuple[str, Callable[..., object], tuple[str, ...]]


class Plugins:
    """The plugins of one ``SocketIO`` object: what there is, what is selected, and whom to tell about what happens.

    ::

        plugins = Plugins()
        mode = plugins.select_async_mode(None).load()()

    Construction finds and loads the plugins' hook modules, nothing heavier.

    :param facts: what can be seen of the process; observed now if ``None``.
    :param extra: plugin objects registered in code, besides the installed ones.
    :param socketio: the object whose plugins they are.
    :param strict: ``False`` keeps what is wrong with a plugin in :attr:`problems` instead of raising it.
    :raises DuplicatePlugin: if two distributions register one entry-point name.
    :raises InvalidHook: if a plugin implements a hook that does not exist.
    :raises InvalidOption: if ``SOCKETIO_LOAD_PLUGINS`` names a plugin that does not exist.
    """

    def __init__(
        self,
        *,
        facts: ProcessFacts | None = None,
        extra: Iterable[object] = (),
        socketio: object | None = None,
        strict: bool = True,
    ) -> None:
        self._socketio = socketio
        self.facts = process.observe() if facts is None else facts
        self._trace = _write_trace if os.environ.get(TRACE_SWITCH) else None
        found, self.problems = discovery.discover(extra)
        if strict and self.problems:
            raise self.problems[0]
        self._plugins = {item.record.name: item.record for item in found}
        self._manager = discovery.new_manager()
        for item in found:
            if item.module is not None:
                self._manager.register(item.module, name=item.record.name)
            self._report(item.record)
        self._modes: list[Candidate[AsyncModeInfo]] | None = None
        self._providers: list[Candidate[WebSocketProviderInfo]] | None = None
        self._queues: list[Candidate[QueueInfo]] | None = None
        self._stores: list[Candidate[StoreInfo]] | None = None
        self._settings: settings.Declared | None = None
        self._chosen_mode: Selection[AsyncModeInfo] | None = None
        self._chosen_providers: tuple[Selection[WebSocketProviderInfo], ...] | None = None
        self._chosen_queue: Selection[QueueInfo] | None = None
        self._chosen_store: Selection[StoreInfo] | None = None
        self._observers: dict[str, tuple[Observer, ...]] = {}
        self._repeats = Repeats(time.monotonic)
        self._note_observers(discovery.hook_names())

    # -- selecting ---------------------------------------------------------------------------------------------

    def select_async_mode(self, requested: str | None = None) -> Selection[AsyncModeInfo]:
        """Choose the async mode.

        The command line wins over ``requested``, and that over priority.

        :param requested: name that the application asked for; ``None`` for the best usable one.
        :raises SelectionError: if it cannot be had.
        """
        offers = self._offers(ASYNC_MODE, self._mode_candidates())
        wish = self.facts.async_mode or requested
        if wish is None:
            chosen = choice.best(self._mode_candidates(), offers)
        else:
            asked = f"--async-mode {wish}" if self.facts.async_mode else f"async_mode={wish!r}"
            chosen = choice.named(
                self._mode_candidates(), wish, asked, offers, reason=f"asked for with {asked}"
            )
        self._chosen_mode = chosen
        self._note("selected async mode %s: %s", chosen.info.name, chosen.reason)
        return chosen

    def select_websocket_providers(
        self, mode_name: str, requested: str | None = None
    ) -> tuple[Selection[WebSocketProviderInfo], ...]:
        """Choose the WebSocket providers for the selected async mode.

        :param mode_name: name of the selected mode.
        :param requested: name that the application asked for; ``None`` for every usable one.
        :returns: in the order in which each request is offered to them. Empty if there is none: then clients poll.
        :raises SelectionError: if the one that was asked for cannot be had.
        """
        candidates = self._provider_candidates()
        if requested is None:
            chosen = choice.providers(candidates, mode_name)
        else:
            asked = f"websocket_provider={requested!r}"
            offers = self._offers(PROVIDER, candidates)
            one = choice.named(candidates, requested, asked, offers, reason=f"asked for with {asked}")
            if not choice.serves(one.info, mode_name):
                raise PartUnsuitable(
                    f"{asked} ({one.plugin}) does not serve the async mode {mode_name!r}, "
                    f"only {', '.join(one.info.async_modes)}"
                )
            chosen = (one,)
        self._chosen_providers = chosen
        for item in chosen:
            self._note("selected WebSocket provider %s: %s", item.info.name, item.reason)
        return chosen

    def select_queue(self, url: str) -> Selection[QueueInfo]:
        """Choose the message queue for a URL by its scheme.

        :raises InvalidOption: if the URL has no scheme.
        :raises SelectionError: if no queue can be had for it.
        """
        self._chosen_queue = chosen = self._select_by_scheme(QUEUE, self._queue_candidates(), url)
        return chosen

    def select_store(self, url: str) -> Selection[StoreInfo]:
        """Choose the store for a URL by its scheme.

        :raises InvalidOption: if the URL has no scheme.
        :raises SelectionError: if no store can be had for it.
        """
        self._chosen_store = chosen = self._select_by_scheme(STORE, self._store_candidates(), url)
        return chosen

    def _select_by_scheme(
        self, kind: Kind, candidates: Sequence[Candidate[SchemedT]], url: str
    ) -> Selection[SchemedT]:
        offers = self._offers(kind, candidates)
        chosen = choice.for_scheme(candidates, choice.scheme_of(url, kind.option), offers)
        self._note("selected %s %s: %s", kind.noun, chosen.info.name, chosen.reason)
        return chosen

    def queue_url_for_workers(self, name: str) -> str | None:
        """Return the URL of a message queue that joins a web server's workers; ``None`` if no plugin offers one.

        :param name: what they have in common.
        """
        for item in self._queue_candidates():
            if item.info.for_workers and not choice.why_not(item):
                return item.info.for_workers.format(name=name)
        return None

    # -- settings ----------------------------------------------------------------------------------------------

    def setting_names(self) -> tuple[str, ...]:
        """Return the names of the settings that the plugins have, which are no options of ours.

        :raises DuplicateSetting: if two plugins declare one, or one declares an option of ours.
        """
        return tuple(setting.name for setting, _ in self._declared_settings())

    def check_settings(self, config: Mapping[str, Any]) -> None:
        """Check the plugins' settings in an application's configuration.

        :raises InvalidOption: for a value that one cannot take.
        :raises PluginFailed: if a plugin fails at a value.
        """
        settings.check(self._declared_settings(), config)

    def _declared_settings(self) -> settings.Declared:
        if self._settings is None:
            declared = self._described("socketio_settings", Setting, settings.complaint)
            settings.refuse_rivals(declared)
            self._settings = declared
        return self._settings

    def describe(self, *, load: bool = False) -> Description:
        """Return every plugin with what it provides and what was selected, as plain data.

        What was not selected yet is selected by priority for the description; that raises nothing.

        :param load: import every part that could be used, to see whether it can be loaded.
        """
        problems = [str(problem) for problem in self.problems]
        mode = self._chosen_mode or self._try(self.select_async_mode, problems)
        providers = self._chosen_providers
        if providers is None:
            providers = choice.providers(self._provider_candidates(), mode.info.name) if mode else ()
        look: Callable[[Candidate[Any]], Candidate[Any]] = _loaded if load else lambda item: item
        modes = [look(item) for item in self._mode_candidates()]
        provider_parts = [look(item) for item in self._provider_candidates()]
        queues = [look(item) for item in self._queue_candidates()]
        stores = [look(item) for item in self._store_candidates()]
        try:
            declared = self._declared_settings()
        except DuplicateSetting as exc:
            declared = []
            problems.append(str(exc))
        return describing.describe(
            plugins=list(self._plugins.values()),  # only now it is known which of them could not describe
            modes=modes,
            providers=provider_parts,
            queues=queues,
            stores=stores,
            settings=declared,
            chosen=describing.Chosen(
                mode=mode, providers=providers, queue=self._chosen_queue, store=self._chosen_store
            ),
            under_flask_run=self._under_flask_run(),
            installable=self._installable(),
            problems=tuple(problems),
        )

    def _try(self, select: Callable[[], Selection[InfoT]], problems: list[str]) -> Selection[InfoT] | None:
        try:
            return select()
        except SelectionError as exc:
            problems.append(str(exc))
            return None

    def _under_flask_run(self) -> Selection[AsyncModeInfo] | None:
        facts = replace(self.facts, flask_run=True, async_mode=None)
        candidates = [self._candidate(item.info, item.plugin, facts) for item in self._mode_candidates()]
        return self._try(lambda: choice.best(candidates, self._offers(ASYNC_MODE, candidates)), [])

    def _installable(self) -> tuple[str, ...]:
        present = {plugin.distribution for plugin in self._plugins.values()}
        found = {**requirements.installable(ASYNC_MODE.prefix), **requirements.installable(QUEUE.prefix)}
        return tuple(sorted(extra for extra, distribution in found.items() if distribution not in present))

    # -- surrounding, observing --------------------------------------------------------------------------------

    def observe(self, observer: object) -> None:
        """Ask or tell an object registered in code, too, from now on.

        :raises InvalidHook: if it implements a hook that does not exist, or one for plugins only.
        """
        found = discovery.check(observer, tuple(self._plugins.values()))
        record = found.record
        if record.error is not None:
            raise record.error
        for hook in record.hooks:
            if hook in DESCRIBING or hook in SETTING_UP:
                raise InvalidHook(f"{record} implements {hook}, which is no observer's: only a plugin can")
        self._plugins[record.name] = record
        self._manager.register(observer, name=record.name)
        self._note_observers(record.hooks)

    def unobserve(self, observer: object) -> None:
        """Ask and tell an object registered in code no longer; nothing happens if it is not there.

        What it is being told it is told to the end.
        """
        name = self._manager.get_name(observer)
        if name is not None:
            self._manager.unregister(observer)
            self._note_observers(self._plugins.pop(name).hooks)

    def observes(self, hook: str) -> bool:
        """Return whether anybody implements a hook that surrounds or observes."""
        return bool(self._observers[hook])

    def _note_observers(self, hooks: Iterable[str]) -> None:
        self._observers.update((hook, self._observers_of(hook)) for hook in hooks)
        #: For those who ask for each event.
        self.surrounds_connects = self.observes("socketio_around_connect")
        self.surrounds_events = self.observes("socketio_around_event")
        self.surrounds_emits = self.observes("socketio_around_emit")
        self.observes_emits = self.observes("socketio_emit")
        self.observes_events = any(
            self.observes(f"socketio_event_{moment}") for moment in ("before", "after", "error")
        )
        self.observes_acks = self.observes("socketio_ack")
        self.observes_deliveries = self.observes("socketio_delivered")
        self.observes_bus_messages = self.observes("socketio_bus_message")
        self.adds_headers = self.observes("socketio_response_headers")
        self.attends_events = self.surrounds_connects or self.surrounds_events or self.observes_events

    def around_connect(self, last: Callable[[Any], Any], *, client: Client, auth: Any) -> Any:
        """Ask ``socketio_around_connect``.

        :param last: what is innermost; called with the auth.
        """
        return self._surround("socketio_around_connect", last, {"client": client}, "auth", auth)

    def around_event(
        self, last: Callable[[Any], Any], *, client: Client, event: str, args: tuple[Any, ...]
    ) -> Any:
        """Ask ``socketio_around_event``.

        :param last: what is innermost; called with the arguments.
        """
        facts = {"client": client, "event": event}
        return self._surround("socketio_around_event", last, facts, "args", args)

    def around_emit(self, last: Callable[[Any], Any], *, emission: Emission) -> None:
        """Ask ``socketio_around_emit``.

        :param last: what is innermost; called with the emission.
        """
        self._surround("socketio_around_emit", last, {}, "emission", emission)

    def _surround(
        self, hook: str, last: Callable[[Any], Any], facts: dict[str, Any], changing: str, value: Any
    ) -> Any:
        facts = {"socketio": self._socketio, **facts}
        return self._enter(hook, self._observers[hook], facts, last, changing, value)

    def _enter(
        self,
        hook: str,
        layers: Sequence[Observer],
        facts: dict[str, Any],
        last: Callable[[Any], Any],
        changing: str,
        value: Any,
    ) -> Any:
        # No closure that calls itself: each event would leave a cycle that holds its client.
        if not layers:
            return last(value)
        (owner, function, names), *inner = layers
        self._note("%s -> %s", hook, owner)
        known = {**facts, changing: value}
        known["proceed"] = lambda changed=value: self._enter(hook, inner, facts, last, changing, changed)
        return function(*[known[name] for name in names])

    def response_headers(self, *, environ: dict[str, Any], headers: Headers, first: bool) -> Headers:
        """Ask ``socketio_response_headers``; return the response's headers with what was added."""
        hook = "socketio_response_headers"
        for owner, function, names in self._observers[hook]:
            self._note("%s -> %s", hook, owner)
            known = {
                "environ": environ,
                "headers": tuple(headers),
                "first": first,
                "socketio": self._socketio,
            }
            try:
                added = response_headers.pairs(function(*[known[name] for name in names]))
            except Exception as error:  # noqa: BLE001  # the response is sent all the same
                self._log_failure(owner, hook, error)
                continue
            for name, value in added:
                problem = response_headers.why_not(name, value)
                if problem is None:
                    headers = response_headers.add(headers, str(name), str(value))
                elif (more := self._repeats.take((owner, hook, problem))) is not None:
                    logger.error("plugin %s adds a header that is left out: %s%s", owner, problem, more)
        return headers

    # -- setting up --------------------------------------------------------------------------------------------

    def set_up(self, app: Any) -> None:
        """Call ``socketio_setup``.

        :raises PluginFailed: what the first plugin raised whose set-up failed; the others are not set up.
        """
        for owner, function, names in self._observers["socketio_setup"]:
            self._note("socketio_setup -> %s", owner)
            facts = {"socketio": self._socketio, "app": app}
            try:
                function(*[facts[name] for name in names])
            except Exception as error:
                raise PluginFailed(
                    f"the plugin {owner} could not be set up for {app.name!r}: {one_line(error)}"
                ) from error

    def tear_down(self, app: Any) -> None:
        """Call ``socketio_teardown``, in the reverse order of setting up."""
        self._tell("socketio_teardown", app=app)

    def add_commands(self, group: Any) -> list[str]:
        """Call ``socketio_cli``; return what went wrong, one line each."""
        problems = []
        for owner, function, names in self._observers["socketio_cli"]:
            try:
                function(*(group for _ in names))
            except Exception as error:  # noqa: BLE001  # the other commands are to work
                problems.append(f"the plugin {owner} could not add its commands: {one_line(error)}")
        return problems

    # -- telling -----------------------------------------------------------------------------------------------

    def session_opened(
        self, *, engine_sid: str, transport: str, address: str, environ: dict[str, Any]
    ) -> None:
        """Tell ``socketio_session_opened``."""
        self._tell(
            "socketio_session_opened",
            engine_sid=engine_sid,
            transport=transport,
            address=address,
            environ=environ,
        )

    def session_closed(self, *, engine_sid: str, transport: str, address: str, reason: str) -> None:
        """Tell ``socketio_session_closed``."""
        self._tell(
            "socketio_session_closed",
            engine_sid=engine_sid,
            transport=transport,
            address=address,
            reason=reason,
        )

    def transport_changed(self, *, engine_sid: str, transport: str, before: str) -> None:
        """Tell ``socketio_transport_changed``."""
        self._tell("socketio_transport_changed", engine_sid=engine_sid, transport=transport, before=before)

    def refused(self, *, environ: dict[str, Any], status: int, code: int, message: str) -> None:
        """Tell ``socketio_refused``."""
        self._tell("socketio_refused", environ=environ, status=status, code=code, message=message)

    def recovered(self, *, sid: str, namespace: str, missed: int) -> None:
        """Tell ``socketio_recovered``."""
        self._tell("socketio_recovered", sid=sid, namespace=namespace, missed=missed)

    def recovery_failed(self, *, sid: str, namespace: str, reason: str) -> None:
        """Tell ``socketio_recovery_failed``."""
        self._tell("socketio_recovery_failed", sid=sid, namespace=namespace, reason=reason)

    def client_refused(self, *, sid: str | None, namespace: str, engine_sid: str, refusal: Any) -> None:
        """Tell ``socketio_client_refused``."""
        self._tell(
            "socketio_client_refused", sid=sid, namespace=namespace, engine_sid=engine_sid, refusal=refusal
        )

    def connected(self, *, sid: str, namespace: str, environ: dict[str, Any], client: Client) -> None:
        """Tell ``socketio_connected``."""
        self._tell("socketio_connected", sid=sid, namespace=namespace, environ=environ, client=client)

    def disconnected(self, *, sid: str, namespace: str, reason: str, client: Client) -> None:
        """Tell ``socketio_disconnected``."""
        self._tell("socketio_disconnected", sid=sid, namespace=namespace, reason=reason, client=client)

    def room_entered(self, *, sid: str, namespace: str, room: Any) -> None:
        """Tell ``socketio_room_entered``."""
        self._tell("socketio_room_entered", sid=sid, namespace=namespace, room=room)

    def room_left(self, *, sid: str, namespace: str, room: Any) -> None:
        """Tell ``socketio_room_left``."""
        self._tell("socketio_room_left", sid=sid, namespace=namespace, room=room)

    def event_before(
        self, *, sid: str, namespace: str, event: str, args: tuple[Any, ...], waited_s: float
    ) -> None:
        """Tell ``socketio_event_before``."""
        self._tell(
            "socketio_event_before", sid=sid, namespace=namespace, event=event, args=args, waited_s=waited_s
        )

    def event_after(self, *, sid: str, namespace: str, event: str, duration_s: float) -> None:
        """Tell ``socketio_event_after``."""
        self._tell("socketio_event_after", sid=sid, namespace=namespace, event=event, duration_s=duration_s)

    def event_error(
        self, *, sid: str, namespace: str, event: str, error: BaseException, duration_s: float
    ) -> None:
        """Tell ``socketio_event_error``."""
        self._tell(
            "socketio_event_error",
            sid=sid,
            namespace=namespace,
            event=event,
            error=error,
            duration_s=duration_s,
        )

    def emit(self, *, event: str, namespace: str, to: tuple[str, ...] | None, args: tuple[Any, ...]) -> None:
        """Tell ``socketio_emit``."""
        self._tell("socketio_emit", event=event, namespace=namespace, to=to, args=args)

    def delivered(
        self,
        *,
        event: str,
        namespace: str,
        to: tuple[Any, ...] | None,
        args: tuple[Any, ...],
        recipients: int,
        size_bytes: int,
    ) -> None:
        """Tell ``socketio_delivered``."""
        self._tell(
            "socketio_delivered",
            event=event,
            namespace=namespace,
            to=to,
            args=args,
            recipients=recipients,
            size_bytes=size_bytes,
        )

    def ack(self, *, sid: str, namespace: str, event: str, latency_s: float) -> None:
        """Tell ``socketio_ack``."""
        self._tell("socketio_ack", sid=sid, namespace=namespace, event=event, latency_s=latency_s)

    def ack_expired(self, *, sid: str, namespace: str, event: str, waited_s: float) -> None:
        """Tell ``socketio_ack_expired``."""
        self._tell("socketio_ack_expired", sid=sid, namespace=namespace, event=event, waited_s=waited_s)

    def event_repeated(self, *, sid: str, namespace: str, event: str) -> None:
        """Tell ``socketio_event_repeated``."""
        self._tell("socketio_event_repeated", sid=sid, namespace=namespace, event=event)

    def history_lost(self, *, namespace: str | None, room: Any, reason: str, count: int) -> None:
        """Tell ``socketio_history_lost``."""
        self._tell("socketio_history_lost", namespace=namespace, room=room, reason=reason, count=count)

    def history_incomplete(self, *, sid: str, namespace: str, room: Any, reason: str) -> None:
        """Tell ``socketio_history_incomplete``."""
        self._tell("socketio_history_incomplete", sid=sid, namespace=namespace, room=room, reason=reason)

    def outbox_overflow(self, *, sid: str, policy: str, packets: int, size_bytes: int) -> None:
        """Tell ``socketio_outbox_overflow``."""
        self._tell("socketio_outbox_overflow", sid=sid, policy=policy, packets=packets, size_bytes=size_bytes)

    def workers_saturated(self, *, max_workers: int) -> None:
        """Tell ``socketio_workers_saturated``."""
        self._tell("socketio_workers_saturated", max_workers=max_workers)

    def bus_state(self, *, up: bool, detail: str) -> None:
        """Tell ``socketio_bus_state``."""
        self._tell("socketio_bus_state", up=up, detail=detail)

    def bus_message(self, *, method: str, node: str | None, size_bytes: int) -> None:
        """Tell ``socketio_bus_message``."""
        self._tell("socketio_bus_message", method=method, node=node, size_bytes=size_bytes)

    def bus_gap(self, *, duration_s: float, since: float, missed: int | None, resumed: bool) -> None:
        """Tell ``socketio_bus_gap``."""
        self._tell("socketio_bus_gap", duration_s=duration_s, since=since, missed=missed, resumed=resumed)

    def server_state(self, *, node: str, up: bool) -> None:
        """Tell ``socketio_server_state``."""
        self._tell("socketio_server_state", node=node, up=up)

    def _tell(self, hook: str, **facts: Any) -> None:
        facts["socketio"] = self._socketio
        for owner, function, names in self._observers[hook]:
            self._note("%s -> %s", hook, owner)
            try:
                function(*[facts[name] for name in names])
            except Exception as error:  # noqa: BLE001  # an observer must not change what it observes
                self._log_failure(owner, hook, error)

    def _log_failure(self, owner: str, hook: str, error: Exception) -> None:
        more = self._repeats.take((owner, hook, kind_of(error)))  # it may fail at each event of a client
        if more is not None:
            log_error(logger, error, "plugin %s failed in %s%s", owner, hook, more)

    def _observers_of(self, hook: str) -> tuple[Observer, ...]:
        # Called without pluggy's own loop, in which one plugin's exception keeps the others from being told.
        implementations: Iterable[pluggy.HookImpl] = getattr(self._manager.hook, hook).get_hookimpls()
        if hook != "socketio_setup":  # what is set up last stands outermost, and ends first
            implementations = reversed(list(implementations))
        return tuple(
            (self._owner(impl.plugin_name), impl.function, tuple(impl.argnames)) for impl in implementations
        )

    def _owner(self, name: str) -> str:
        plugin = self._plugins[name]
        return f"{name!r} ({plugin})" if plugin.distribution else f"{name!r} (registered in code)"

    # -- asking for descriptors --------------------------------------------------------------------------------

    def _mode_candidates(self) -> list[Candidate[AsyncModeInfo]]:
        if self._modes is None:
            self._modes = self._ask(ASYNC_MODE.hook, AsyncModeInfo)
        return self._modes

    def _provider_candidates(self) -> list[Candidate[WebSocketProviderInfo]]:
        if self._providers is None:
            self._providers = self._ask(PROVIDER.hook, WebSocketProviderInfo)
        return self._providers

    def _queue_candidates(self) -> list[Candidate[QueueInfo]]:
        if self._queues is None:
            self._queues = self._ask(QUEUE.hook, QueueInfo)
        return self._queues

    def _store_candidates(self) -> list[Candidate[StoreInfo]]:
        if self._stores is None:
            self._stores = self._ask(STORE.hook, StoreInfo)
        return self._stores

    def _ask(self, hook: str, kind: type[InfoT]) -> list[Candidate[InfoT]]:
        return [self._candidate(info, plugin, self.facts) for info, plugin in self._described(hook, kind)]

    def _described(
        self, hook: str, kind: type[DescriptorT], complaint: Callable[[list[DescriptorT]], str] | None = None
    ) -> list[tuple[DescriptorT, Plugin]]:
        """Return what the plugins describe.

        :param complaint: says what is wrong with what one plugin returned, if anything.
        """
        found = []
        for implementation in getattr(self._manager.hook, hook).get_hookimpls():
            name = implementation.plugin_name
            self._note("%s -> %s", hook, self._owner(name))
            try:
                infos = _infos(implementation.function(), kind, hook)
                if complaint is not None and (wrong := complaint(infos)):
                    raise InvalidHook(f"{hook} returned {wrong}")
            except Exception as exc:  # noqa: BLE001  # listed as broken, with its cause
                self._plugins[name] = replace(self._plugins[name], error=exc)
                self._report(self._plugins[name])
                continue
            found += [(info, self._plugins[name]) for info in infos]
        return found

    def _candidate(self, info: InfoT, plugin: Plugin, facts: ProcessFacts) -> Candidate[InfoT]:
        missing = requirements.missing(info.requires)
        probe: Callable[[ProcessFacts], Verdict] | None = getattr(info, "probe", None)
        if missing or probe is None:
            return Candidate(info=info, plugin=plugin, missing=missing)
        try:
            verdict = choice.as_verdict(probe(facts), "probe")
            return Candidate(info=info, plugin=plugin, verdict=verdict)
        except Exception as exc:  # noqa: BLE001  # shown as the candidate's status
            return Candidate(info=info, plugin=plugin, error=exc)

    def _offers(self, kind: Kind, candidates: Sequence[Candidate[Info]]) -> Offers:
        mine = (kind.entry_prefix, kind.beside)
        others = tuple(other.entry_prefix for other in choice.KINDS if other.entry_prefix not in mine)
        plugins = [plugin for plugin in self._plugins.values() if not plugin.name.startswith(others)]
        return Offers(
            kind=kind,
            candidates=candidates,
            broken=[plugin for plugin in plugins if plugin.error is not None],
            skipped=[plugin for plugin in plugins if plugin.skipped],
            installable=requirements.installable(kind.prefix),
            related=self._installable_beside(kind),
        )

    def _installable_beside(self, kind: Kind) -> dict[str, str]:
        """Return what could be installed of another kind that may bring parts of this one."""
        present = {plugin.distribution for plugin in self._plugins.values()}
        found: dict[str, str] = {}
        for other in choice.KINDS:
            if other.entry_prefix == kind.beside:
                found |= requirements.installable(other.prefix)
        return {name: distribution for name, distribution in found.items() if distribution not in present}

    def _report(self, plugin: Plugin) -> None:
        if plugin.error is not None:
            logger.warning(
                "plugin %r (%s) is broken and left out: %s", plugin.name, plugin, one_line(plugin.error)
            )
            self._note("broken: %r (%s): %s", plugin.name, plugin, one_line(plugin.error))
        else:
            self._note("%s: %r (%s)", "skipped" if plugin.skipped else "loaded", plugin.name, plugin)

    def _note(self, text: str, *values: object) -> None:
        if self._trace is not None:
            self._trace(text % values)


def _loaded(candidate: Candidate[Any]) -> Candidate[Any]:
    """Return a candidate with the error of loading it, if it could be used and that fails."""
    if candidate.usable:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a library that warns of itself is to do so when it is used
                parts.load(candidate.info)
        except Exception as exc:  # noqa: BLE001  # shown as the candidate's status
            return replace(candidate, error=exc)
    return candidate


def _infos(result: object, kind: type[DescriptorT], hook: str) -> list[DescriptorT]:
    """Return a hook's result as a list, or say what is wrong with it."""
    if result is None:
        return []
    items = [result] if isinstance(result, kind) else result
    if isinstance(items, Sequence) and not isinstance(items, (str, bytes)):
        strangers = [item for item in items if not isinstance(item, kind)]
        if not strangers:
            return [item for item in items if isinstance(item, kind)]
        result = strangers[0]
    raise InvalidHook(
        f"{hook} returned {result!r:.80}, expected {kind.__name__}, a sequence of them, or None"
    )


def _write_trace(text: str) -> None:
    sys.stderr.write(f"flask-socketio plugins: {text}\n")
