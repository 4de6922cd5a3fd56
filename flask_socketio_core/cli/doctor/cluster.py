"""Checks of the message queue, of the other servers on it, and of the store. `flask socketio check` has asked them."""

from __future__ import annotations

from collections.abc import Iterator

from ...app.examined import secret_key_proof
from ...cluster.signing import CLOCK_SKEW_S
from .. import check_view
from .finding import Case, Finding, NotChecked, error, warning

#: Seconds that clocks may differ before it is told: more than any that are set by the network.
SKEW_S = 2.0


def message_queue(case: Case) -> Iterator[Finding]:
    """Whether a message comes back through the broker."""
    report = case.queue
    if report is None or report.check is None:
        case.loaded()
        return
    check, advice = report.check, check_view.advice(report.check)
    if not check.up:
        yield error(
            f"the message queue {report.url} {'refuses us' if check.refused else 'is down'}",
            cause=check.problem,
            mend=advice,
        )
    elif check.unauthentic:
        yield error(
            f"{check.unauthentic} messages on channel {report.channel!r} were not signed with our secret",
            cause=advice,
            mend="one secret in message_queue_options= of all processes, and clocks that are set by the network",
        )


def store(case: Case) -> Iterator[Finding]:
    """Whether what is put into the store is there again, and all servers that need one have it."""
    report = case.queue
    if report is None or report.store is None:
        _, binding = case.loaded()
        several = binding.cluster is not None or case.web_server.workers > 1
        if several and binding.handlers.has_once:
            yield warning(
                "an event that is handled once is handled once by each server",
                cause="handlers have once=, there are several servers or workers, and each remembers for itself",
                mend='store="redis://HOST:6379/0" in SocketIO() of all: docs/once.md',
            )
        return
    check = report.store.check
    if not check.up:
        yield error(
            f"the store {report.store.url} {'refuses us' if check.refused else 'is down'}",
            cause=check.problem,
            mend=check_view.store_advice(check),
        )


def clocks(case: Case) -> Iterator[Finding]:
    """Whether the clocks of the other servers agree with this one. A broker's clock is not asked: nothing uses it."""
    if case.queue is None or case.queue.check is None or not case.queue.check.answers:
        raise NotChecked("no other server answered")
    for server in case.queue.check.answers:
        skew_s = server.clock_skew_s
        if skew_s is None or abs(skew_s) <= max(SKEW_S, server.after_s):
            continue
        kind = error if abs(skew_s) > CLOCK_SKEW_S else warning
        yield kind(
            f"the clock of server {server.node} is {abs(skew_s):.0f} s {'ahead of' if skew_s > 0 else 'behind'} ours",
            cause=f"one of them is wrong; beyond {CLOCK_SKEW_S:g} s servers do not answer each other's questions and "
            "refuse signed messages",
            mend="let the network set both: `timedatectl set-ntp true`, chrony or ntpd",
        )


def secret_keys(case: Case) -> Iterator[Finding]:
    """Whether the other servers have our ``SECRET_KEY``."""
    app, _ = case.loaded()
    if case.servers is None or not case.servers.answers:
        raise NotChecked("no other server answered")
    ours = secret_key_proof(app, case.nonce)
    proofs, unread = {}, []
    for node, said in case.servers.answers.items():  # anyone who may publish can say anything
        if isinstance(said, dict) and "secret_key" in said:
            proofs[node] = said["secret_key"]
        else:
            unread.append(node)
    if unread:
        yield warning(
            f"it is not known whether {', '.join(sorted(unread))} has our SECRET_KEY",
            cause="what came back is none of the answers that servers give",
            mend="look at what else publishes on the channel, and which version that server runs; a secret in "
            "message_queue_options= of all processes keeps others out",
        )
    others = [node for node, proof in proofs.items() if proof != ours]
    if others:
        yield error(
            "who logs in at one server is not logged in at another",
            cause=f"SECRET_KEY differs between here and {', '.join(sorted(others))}",
            mend="the same SECRET_KEY on all servers, from the environment or a file; then restart those that differ",
        )


def versions_of_servers(case: Case) -> Iterator[Finding]:
    """Whether all servers run one version of flask-socketio-core."""
    if case.queue is None or case.queue.check is None or not case.queue.check.answers:
        raise NotChecked("no other server answered")
    found = sorted({server.version for server in case.queue.check.answers})
    if len(found) > 1:
        yield warning(
            f"servers run {len(found)} versions of flask-socketio-core: {', '.join(found)}",
            cause="an update has not reached all of them",
            mend="update and restart the others; what only some know is not answered by all",
        )
