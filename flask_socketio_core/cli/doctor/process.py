"""Checks of what the application runs in: the web server, its workers, the patched standard library, descriptors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ...errors import SelectionError
from ...selection import ASYNC_MODE, Plugins
from .finding import Case, Finding, NotChecked, error, warning
from .server import UWSGI_PATCH

if TYPE_CHECKING:
    from ...selection import PartDescription

QUEUE = 'message_queue="redis://HOST:6379/0", or another queue, in SocketIO(): docs/queues.md'
#: Connections that a limit of descriptors should leave room for.
FEW_CONNECTIONS = 1000


def gunicorn_worker(case: Case) -> Iterator[Finding]:
    """Whether gunicorn has the kind of worker that it is asked for, as eventlet's, which newer ones have no more."""
    server = case.web_server
    if server.problem and server.worker:
        yield error(
            f"gunicorn does not start with {server.worker} workers",
            cause=f"{server.told_by}: {server.problem}",
            mend="-k gthread --threads 100, or -k gevent; or no gunicorn: `flask socketio run`, or socketio.run(app)",
        )
    elif server.problem:
        raise NotChecked(server.problem)


def async_mode(case: Case) -> Iterator[Finding]:
    """Whether the async mode suits the web server: the mode itself is asked, about the process that it would be in."""
    facts, server = case.web_server.facts, case.web_server
    _, binding = case.loaded()
    if facts is None:
        raise NotChecked("the web server is not known: --server says what starts it")
    if server.preload and not server.patches and binding.mode.capabilities.green:
        return  # what is wrong with that is found as a missing patch
    try:
        there = Plugins(facts=facts, strict=False).select_async_mode(binding.options.async_mode)
    except SelectionError as exc:
        yield error(
            f"the async mode does not suit {server.name}",
            cause=f"{server.told_by}: {exc}",
            mend="start the server as the text says, or leave out async_mode= so that one that suits it is selected",
        )
        return
    if there.info.name != binding.mode.name and binding.options.async_mode is None:
        yield warning(
            f"the async mode under {server.name} is {there.info.name}, here it is {binding.mode.name}",
            cause=f"{server.told_by}; the mode is selected in each process: {there.reason}",
            mend=f"async_mode={there.info.name!r} in SocketIO() turns what does not suit it into an error at the start",
        )


def monkey_patch(case: Case) -> Iterator[Finding]:
    """Whether a green mode has the standard library patched, and before anything else is imported."""
    _, binding = case.loaded()
    cold, server = case.cold, case.web_server
    part = _part(case)
    if cold is None:
        raise NotChecked("the application has no module that could be loaded afresh")
    if cold.problem:
        raise NotChecked(f"the application could not be loaded in a process of its own: {cold.problem}")
    first_line = _first_line(part) if part is not None and part.patch else "the line that patches"
    if cold.patched_by is not None and cold.before and not server.patches:
        yield error(
            f"the standard library is patched too late, by {cold.patched_by}",
            cause=f"imported before that: {', '.join(cold.before)}; they keep what they took of it unpatched",
            mend=f"the program's first line, before all other imports: {first_line}",
        )
    elif (
        cold.patched_by is None
        and not server.patches
        and server.facts is not None
        and server.facts.uwsgi_loop
    ):
        yield error(
            f"uWSGI runs its loop {server.facts.uwsgi_loop!r}, and the standard library is not patched in time",
            cause=f"{server.told_by} has no {UWSGI_PATCH}: whoever waits stops all clients",
            mend=UWSGI_PATCH,
        )
    elif cold.patched_by is None and part is not None and part.patch and not server.patches:
        kind = error if server.name else warning
        yield kind(
            f"the standard library is not patched, and the async mode is {binding.mode.name}",
            cause=_who_patches(case),
            mend=f"the program's first line: {first_line}; or start it with `flask socketio run`, which patches first",
        )


def _who_patches(case: Case) -> str:
    server = case.web_server
    nobody = "the application's module does not patch it, so that whoever waits stops all clients"
    if server.preload:
        return f"{nobody}: with --preload gunicorn loads the application before its workers patch"
    if server.name:
        return f"{nobody}; {server.name} does not patch either"
    return f"{nobody}, unless the server does it, as gunicorn's worker; --server says what starts it"


def _part(case: Case) -> PartDescription | None:
    parts = (part for part in case.description.parts if part.kind == ASYNC_MODE and part.selected)
    return next(parts, None)


def _first_line(part: PartDescription) -> str:
    module, _, function = (part.patch or "").partition(":")
    return f"from {module} import {function}; {function}()"


WORKERS_FOUND = ("gunicorn", "uwsgi", "flask socketio run")
"""Web servers whose workers find each other."""


def several_workers(case: Case) -> Iterator[Finding]:
    """Whether several workers can reach each other's clients, and clients find their worker again."""
    server = case.web_server
    if server.workers < 2:
        return
    _, binding = case.loaded()
    options = binding.options
    found = server.name in WORKERS_FOUND and binding.mode.capabilities.watches
    shares = found and options.share_sessions
    mend = "share_sessions=True (SOCKETIO_SHARE_SESSIONS)" if found else QUEUE
    if binding.cluster is None and not (shares and binding.plugins.queue_url_for_workers("")):
        yield error(
            "what one worker emits does not reach the clients of the others",
            cause=f"{server.told_by}: {server.workers} workers, and no message queue joins them",
            mend=f"{mend}; or one worker",
        )
    if "polling" in options.transports and server.name in (*WORKERS_FOUND, "") and not shares:
        yield warning(
            "clients on long polling get status 400, `Session ID unknown`",
            cause=f"{server.told_by}: {server.workers} workers share an address, so polls of one client reach several",
            mend=f"{mend}, if they are on one host: docs/deployment.md, several workers"
            if found
            else 'transports=["websocket"] here and at the clients; or a server for each worker, behind a proxy that '
            "keeps a client at one: docs/deployment.md, several workers",
        )


def descriptors(case: Case) -> Iterator[Finding]:
    """Whether there are as many descriptors as there may be connections."""
    _, binding = case.loaded()
    assert binding.engine is not None  # an application has one
    asked, most = binding.options.max_connections, binding.engine.server.eio.most_connections
    if most is None:
        return
    mend = "raise the hard limit: LimitNOFILE= of systemd, --ulimit nofile= of a container, `ulimit -Hn` in a shell"
    if asked is not None and most < asked:
        yield error(
            f"clients are answered 503 beyond {most} connections, not beyond max_connections={asked}",
            cause=f"the hard limit of descriptors leaves {most} of this process for connections",
            mend=f"{mend}; or lower max_connections",
        )
    elif asked is None and most < FEW_CONNECTIONS:
        yield warning(
            f"clients are answered 503 beyond {most} connections",
            cause=f"the hard limit of descriptors leaves {most} of this process for connections",
            mend=mend,
        )
