"""`flask socketio check`: try the message queue and the store, as somebody does who is paged at night."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
from flask.cli import ScriptInfo, pass_script_info

from ..contracts.urls import Secrets
from ..errors import ConfigurationError
from . import check_view, launch
from .check_view import Report, StoreReport
from .loading import extension_of
from .workers_queue import queue_of

if TYPE_CHECKING:
    from flask import Flask

    from ..app.binding import Binding

TIMEOUT_S = 5.0


timeout_option = click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(min=0, min_open=True),
    default=TIMEOUT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long to try the message queue, and wait for answers.",
)


@click.command("check", short_help="Try the message queue and the store.")
@timeout_option
@click.option("--json", "as_json", is_flag=True, help="Print the same as JSON.")
@pass_script_info
def check_command(info: ScriptInfo, timeout_s: float, as_json: bool) -> None:
    """Send a message through the message queue, wait until it comes back, and show which servers answer.
    Of a store, put something there and take it out again.

    This opens connections of its own and does not count as a server; the running ones are not disturbed.

    Ends with status 0 if the message came back, or if no queue is configured; likewise of the store. Ends with status 1
    if not, or if the application cannot be loaded; the output says what to do.
    """
    try:
        found = report(launch.load_patched(info), timeout_s)
    except ConfigurationError as exc:
        raise click.ClickException(str(exc)) from exc
    click.echo(json.dumps(check_view.data(found), indent=2) if as_json else check_view.view(found))
    if not found.ok:
        click.get_current_context().exit(1)


def report(app: Flask, timeout_s: float) -> Report:
    """Try the message queue and the store of an application.

    :param timeout_s: how long to try, seconds.
    """
    extension = extension_of(app)
    binding = extension.binding_of(app)
    store = _try_store(extension.plugins.store or "", binding) if binding.options.store else None
    url = queue_of(app, binding.options)
    if not url:
        return Report(store=store)
    joins_workers = binding.cluster is None
    if joins_workers:  # those that run were given one, for want of another
        extension.init_app(app, message_queue=url)
        binding = extension.binding_of(app)
    assert binding.cluster is not None
    return Report(
        queue=extension.plugins.message_queue or "",
        url=Secrets(url).mask(url),
        channel=binding.options.channel,
        joins_workers=joins_workers,
        check=binding.cluster.check_queue(timeout_s),
        store=store,
    )


def _try_store(name: str, binding: Binding) -> StoreReport:
    store = binding.store
    try:
        return StoreReport(name=name, url=store.url, channel=binding.options.channel, check=store.check())
    finally:
        store.close()
