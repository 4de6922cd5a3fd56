"""Tells pages what their servers and clients do: those of this server, and through the others theirs.

A server with a page says so to the others (``looks``), each two seconds. Whoever is looked at observes what it takes,
collects that, and tells its own pages and the servers with others (``told``) ten times a second.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from . import counting
from .introducing import Introducing
from .looking import EVENTS, FIGURES, NOTHING, Looking
from .showing import Showing
from .stats import Stats

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask import Flask

    from flask_socketio_core import SocketIO

    from .showing import Told

logger = logging.getLogger(__name__)

TOPIC = "flask-socketio-admin-ui"
TICK_S = 0.1
"""Seconds between two times that pages are told what has happened."""
STATS_S = 2.0
"""Seconds between two times that a server tells its figures; the page takes one that is silent for 10 for unhealthy."""
MOST_AT_ONCE = 200
"""Most events in one message between servers, whose size queues limit."""


class Telling:
    """What one process has to do with pages.

    :param own: the pages' namespace.
    :param what: what pages are shown: ``FIGURES``, or ``EVENTS`` as well.
    :param most: most clients that are shown.
    :param on_change: called when pages are shown more, or less, than before.
    """

    def __init__(
        self,
        socketio: SocketIO,
        app: Flask,
        own: str,
        *,
        what: int,
        most: int,
        show_admins: bool,
        on_change: Callable[[], None],
    ) -> None:
        self._socketio = socketio
        self._app = app
        self._own = own
        self._what = what
        self._on_change = on_change
        self._lock = threading.Lock()  # held for what neither blocks nor switches
        self._looking = Looking()
        self._observed = NOTHING
        self._runs = self._ended = False
        self._stats = Stats(socketio, own, show_admins=show_admins)
        self._showing = Showing(socketio, own, show_admins=show_admins, on_page=self.introduce)
        self._introducing = Introducing(socketio.servers, TOPIC, most, self._tell, self._on_crowd)
        self._observers = {
            FIGURES: counting.observers(own, self._stats.happened),
            EVENTS: [*self._showing.observers(), *self._others_observers()],
        }

    @property
    def shown(self) -> int:
        """What pages are shown at the moment."""
        return FIGURES if self._introducing.crowded else self._what

    def begin(self) -> None:
        """Tell, if somebody looks."""
        self._ended = False

    def end(self) -> None:
        """Tell nothing more, and observe nothing: the other servers see that this one has left."""
        self._ended = True
        self._observe()

    def expect_page(self) -> None:
        """Note that a page is being let in, and begin."""
        with self._lock:
            self._looking.here(time.monotonic())
        self._work()

    def _has_pages(self) -> bool:
        return any(True for _ in self._socketio.server.manager.get_participants(self._own, None))

    # ---------------------------------------------------------------------------------------------- the other servers

    def on_topic(self, payload: Any, node: str) -> Any:
        """Hear what another server says, or answer with some of this one's clients."""
        if "sockets" in payload:
            if self._what < EVENTS:
                return {"sockets": [], "next": None}
            self._note_looks(node, EVENTS)
            self._work()
            return self._showing.page(payload["sockets"])
        if told := payload.get("told"):
            self._hear(node, told)
        if payload.get("anew"):
            self.introduce()
        if looks := payload.get("looks"):
            self._note_looks(node, looks)
            if self._work() and self._what >= EVENTS:
                self._socketio.servers.tell(TOPIC, {"anew": True})
        return None

    def _note_looks(self, node: str, what: int) -> None:
        if node != self._socketio.servers.node:
            with self._lock:
                self._looking.elsewhere(node, what, time.monotonic())

    def _others_observers(self) -> list[Callable[..., None]]:
        def socketio_server_state(node: str, up: bool) -> None:
            if not up:  # one that has come says so itself
                self._introducing.forget(node)
                self.introduce()

        def socketio_bus_gap(resumed: bool) -> None:
            if not resumed:
                self.introduce()

        return [socketio_server_state, socketio_bus_gap]

    # ---------------------------------------------------------------------------------------------- pages

    def introduce(self) -> None:
        """Tell the pages of this server who is there, soon."""
        if self.shown >= EVENTS and not self._ended and self._introducing.begin():
            self._socketio.start_background_task(self._introduce)

    def _introduce(self) -> None:
        again = True
        while again:
            with self._app.app_context():
                self._introducing.run()
            again = self._introducing.takes_again() and self._introducing.begin()

    def _on_crowd(self) -> None:
        self._on_change()
        self.introduce()

    def _hear(self, node: str, told: Told) -> None:
        """Pass on what a server tells, this one included."""
        if not self._has_pages():
            return
        if self._what >= EVENTS:
            for event, *args in told:
                if event == "server_stats":
                    self._introducing.count(node, args[0])
        if self.shown < EVENTS:
            told = [each for each in told if each[0] == "server_stats"]
        self._introducing.tell(told)

    def _tell(self, told: Told) -> None:
        for event, *args in told:
            self._socketio.emit(event, *args, namespace=self._own, local=True)

    # ---------------------------------------------------------------------------------------------- this server

    def _work(self) -> bool:
        """Observe what is looked at, and tell it in a task; return whether more is observed than before."""
        before, now = self._observe()
        with self._lock:
            if self._runs or self._ended or now == NOTHING:
                return now > before
            self._runs = True
        self._socketio.start_background_task(self._run)
        return now > before

    def _observe(self) -> tuple[int, int]:
        """Observe what is looked at, and nothing else; return what was and what is."""
        has_pages = not self._ended and self._has_pages()
        with self._lock:
            now_s = time.monotonic()
            here = self.shown if has_pages or self._looking.is_here(now_s) else NOTHING
            wanted = NOTHING if self._ended else min(max(here, self._looking.at(now_s)), self._what)
            before, self._observed = self._observed, wanted
            for what, observers in self._observers.items():
                for observer in observers:
                    if before < what <= wanted:
                        self._socketio.observe(observer)
                    elif wanted < what <= before:
                        self._socketio.unobserve(observer)
        return before, wanted

    def _run(self) -> None:
        try:
            self._go_on()
        except BaseException:
            self.end()  # or what is observed would be kept for nobody
            raise
        with self._lock:
            self._runs = False
        self._work()  # somebody may have come meanwhile

    def _go_on(self) -> None:
        stats_at_s = 0.0
        while self._observe()[1] > NOTHING:
            now_s = time.monotonic()
            due = now_s >= stats_at_s
            if due:
                stats_at_s = now_s + STATS_S
            try:
                with self._app.app_context():
                    self._tick(due)
            except Exception:  # the next time it may work
                logger.exception("the pages of the Admin UI could not be told what happens")
            self._socketio.sleep(TICK_S)

    def _tick(self, due: bool) -> None:
        servers = self._socketio.servers
        told: Told = []
        if due:
            told.append(["server_stats", self._stats.read()])
            if self._has_pages():
                servers.tell(TOPIC, {"looks": self.shown})
            if self._observed >= EVENTS:
                self._showing.note_changed_data()
        told += self._showing.take()
        if not told:
            return
        self._hear(servers.node, told)
        with self._lock:
            elsewhere = self._looking.at(time.monotonic())
        if elsewhere == FIGURES:
            told = told[:1] if due else []
        for start in range(0, len(told) if elsewhere else 0, MOST_AT_ONCE):
            servers.tell(TOPIC, {"told": told[start : start + MOST_AT_ONCE]})
