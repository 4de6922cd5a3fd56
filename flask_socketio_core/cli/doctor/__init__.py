"""`flask socketio doctor`: everything that somebody tries who is paged, with what it is and what mends it."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from flask.cli import ScriptInfo, pass_script_info

from ...app.examined import TOPIC
from ...common.quoting import printable
from .. import check, launch
from ..loading import describe
from ..table import WIDTH, paragraph, table, terminal_width
from . import application, cluster, cold, log, process, server
from .finding import Case, Finding, NotChecked, Severity

if TYPE_CHECKING:
    from ...app.binding import Binding

Check = Callable[[Case], Iterable[Finding]]

CHECKS: tuple[Check, ...] = (
    application.application,
    application.plugins,
    application.versions,
    process.gunicorn_worker,
    process.async_mode,
    process.monkey_patch,
    process.several_workers,
    process.descriptors,
    application.origins,
    application.trusted_hosts,
    application.secret_key,
    cluster.message_queue,
    cluster.store,
    cluster.clocks,
    cluster.secret_keys,
    cluster.versions_of_servers,
    log.log,
)
COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one check has led to.

    :param name: of the check.
    :param not_checked: why it could not be made; empty if it could.
    """

    name: str
    findings: tuple[Finding, ...] = ()
    not_checked: str = ""


@click.command("doctor", short_help="Look for what is wrong, and say what mends it.")
@click.option(
    "--server",
    "line",
    metavar="COMMAND",
    help="What starts the server, such as 'gunicorn -w 4 app:app'. By default, what GUNICORN_CMD_ARGS, "
    "gunicorn.conf.py and WEB_CONCURRENCY say.",
)
@click.option(
    "--log",
    "log_file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A server's log, to look for our lines in.",
)
@check.timeout_option
@click.option("--json", "as_json", is_flag=True, help="Print the same as JSON.")
@pass_script_info
def doctor_command(
    info: ScriptInfo, line: str | None, log_file: Path | None, timeout_s: float, as_json: bool
) -> None:
    """Look at the application, the web server, what is installed, the message queue and the servers on it.

    Start it in the environment of the server. The application is loaded here, and once more in a process of its own; it
    does not become a server, and the running ones are not disturbed. No password and no key is shown.

    Ends with status 0 if nothing is found that breaks something, else with status 1. A warning leaves it at 0.
    """
    outcomes = examine(info, server.find(line, os.environ), log_file, timeout_s)
    if as_json:
        click.echo(json.dumps(data(outcomes), indent=2))
    else:
        width = min(terminal_width(), WIDTH)
        click.echo(view(outcomes, width))
    if any(finding.severity is Severity.ERROR for item in outcomes for finding in item.findings):
        click.get_current_context().exit(1)


def examine(
    info: ScriptInfo, web_server: server.WebServer, log_file: Path | None, timeout_s: float
) -> list[Outcome]:
    """Make all checks."""
    case = _case(info, web_server, log_file, timeout_s)
    return [_outcome(make, case) for make in CHECKS]


def _outcome(make: Check, case: Case) -> Outcome:
    name = make.__name__
    try:
        return Outcome(name, tuple(make(case)))
    except NotChecked as exc:
        return Outcome(name, not_checked=str(exc))
    except Exception as exc:  # noqa: BLE001  # what one check has not reckoned with takes nothing from the others
        return Outcome(name, not_checked=printable(f"it failed with {type(exc).__name__}: {exc}"))


def _case(info: ScriptInfo, web_server: server.WebServer, log_file: Path | None, timeout_s: float) -> Case:
    nonce = secrets.token_hex()
    found: dict[str, Any] = {"nonce": nonce, "web_server": web_server, "log": log_file, "failure": None}
    try:
        app = launch.load_patched(info)
    except Exception as exc:  # noqa: BLE001  # whatever the application raises is a finding
        return Case(**found | {"failure": exc}, description=describe(info)[0])
    found |= {"description": describe(info)[0], "app": app}
    extension = app.extensions.get("socketio")
    if extension is None:
        return Case(**found)
    binding = extension.binding_of(app)
    found |= {"binding": binding, "cold": cold.start(info, nonce), "queue": check.report(app, timeout_s)}
    return Case(**found, servers=_ask(binding, found["queue"], nonce, timeout_s))


def _ask(binding: Binding, queue: Any, nonce: str, timeout_s: float) -> Any:
    """Ask the other servers what only they know, if there are any."""
    if binding.cluster is None or not queue.ok or not queue.check.answers:
        return None
    try:
        return binding.servers.ask(
            TOPIC, {"nonce": nonce}, timeout_s=timeout_s, node=None, include_self=False
        )
    finally:
        binding.cluster.close()


def data(outcomes: list[Outcome]) -> dict[str, Any]:
    """Return the findings for a program."""
    return {
        "ok": not any(finding.severity is Severity.ERROR for item in outcomes for finding in item.findings),
        "findings": [
            {
                "check": item.name,
                "severity": finding.severity.value,
                "what": finding.what,
                "cause": finding.cause,
                "mend": finding.mend,
            }
            for item in outcomes
            for finding in item.findings
        ],
        "not_checked": {item.name: item.not_checked for item in outcomes if item.not_checked},
    }


def view(outcomes: list[Outcome], width: int) -> str:
    """Return the findings for a person, those that break something first."""
    findings = [finding for item in outcomes for finding in item.findings]
    findings.sort(key=lambda finding: finding.severity is not Severity.ERROR)
    lines: list[str] = []
    for finding in findings:
        title, *more = paragraph(f"{finding.severity.value}: {finding.what}", width=width)
        lines += [click.style(title, fg=COLOURS[finding.severity], bold=True), *more]
        rows = [("cause", finding.cause), ("mend", finding.mend)]
        lines += [*table(rows, indent="  ", width=width), ""]
    left_out = [(item.name, item.not_checked) for item in outcomes if item.not_checked]
    if left_out:
        lines += [*table([("Not checked", "because"), *left_out], width=width), ""]
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    counted = f"{errors} errors, {len(findings) - errors} warnings" if findings else "nothing is wrong"
    return "\n".join([*lines, f"{len(outcomes) - len(left_out)} checks: {counted}"])
