"""`flask socketio run`: serve the application with the selected async mode."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from flask.cli import CertParamType, ScriptInfo, SeparatedPathType
from flask.helpers import get_debug_flag
from werkzeug.debug import DebuggedApplication
from werkzeug.serving import is_running_from_reloader, make_server

from ..contracts import ServeOptions
from ..contracts.concurrency.reloader import run_with_reloader
from ..contracts.process import ASYNC_MODE_KEY, observe
from ..errors import ConfigurationError
from ..selection import Plugins
from . import launch
from .loading import extension_of
from .workers import is_handed, supervise, take

if TYPE_CHECKING:
    import ssl

    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from flask import Flask

    from ..app.extension import SocketIO


def _set_debug(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    source = context.get_parameter_source(parameter.name or "")
    if source not in (ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP):
        # As Flask's own option does it, for application factories.
        os.environ["FLASK_DEBUG"] = "1" if value else "0"


def _check_key(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    cert = context.params.get("cert")
    if value is not None and not isinstance(cert, str):
        raise click.BadParameter("needs a certificate file in --cert", context, parameter)
    if value is not None and cert == "adhoc":
        raise click.BadParameter("is not used with --cert adhoc", context, parameter)
    return value


@click.command("run", short_help="Serve the application with the selected async mode.")
@click.option("--host", "-h", default="127.0.0.1", show_default=True, help="The interface to bind to.")
@click.option("--port", "-p", default=5000, show_default=True, help="The port to bind to.")
@click.option(
    "--workers",
    "-w",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="How many processes serve. Several are supervised: SIGHUP exchanges them one by one.",
)
@click.option(
    "--graceful-timeout",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="With several workers: how long one may take to end before it is killed.",
)
@click.option("--async-mode", default=None, help="Wins over what the application asks for.")
@click.option(
    "--debug/--no-debug", expose_value=False, is_eager=True, callback=_set_debug, help="Set debug mode."
)
@click.option(
    "--reload/--no-reload", default=None, help="Restart when a file changes. By default, with --debug only."
)
@click.option(
    "--cert",
    type=CertParamType(),
    is_eager=True,
    help="A certificate file; 'adhoc' or an SSLContext where possible.",
)
@click.option(
    "--key",
    type=click.Path(exists=True, dir_okay=False, resolve_path=True),
    callback=_check_key,
    help="The key file, unless it is in the certificate file.",
)
@click.option(
    "--log-output/--no-log-output", default=None, help="Log requests. By default, with --debug only."
)
@click.option("--extra-files", type=SeparatedPathType(), help="More files to restart for.")
@click.option("--exclude-patterns", type=SeparatedPathType(), help="Files not to restart for.")
@click.option(
    "--allow-unsafe-werkzeug",
    is_flag=True,
    help="Serve with Werkzeug's server although it is not for production.",
)
@click.pass_context
def run_command(
    context: click.Context, /, async_mode: str | None, workers: int, graceful_timeout: float, **options: Any
) -> None:
    """Serve the application with the selected async mode, its web server and its WebSocket.

    A mode that monkey-patches the standard library is started in a process that is patched before anything is
    imported. With --async-mode that is known before the application is loaded; else it is loaded once to ask it.

    With several workers, SIGTERM and SIGINT end them, SIGHUP exchanges them one by one for new ones, which load the
    application again, SIGTTIN and SIGTTOU make it one more and one less. A worker that ends is started again.
    """
    context.meta[ASYNC_MODE_KEY] = async_mode
    settings = _run_settings(**options)
    if workers > 1 and not is_handed():
        _check_supervised(workers, settings)
        context.exit(supervise(workers, settings["host"], settings["port"], graceful_timeout))
    try:
        patched = observe().patched_by is not None
        if async_mode is not None and not patched:
            launch.patch_first(Plugins().select_async_mode().info.patch)
        app = _load(context.ensure_object(ScriptInfo), settings)
        extension = extension_of(app)
        if not patched:
            # An application whose first line patches is too late by now: Flask and more are imported.
            launch.patch_first(launch.patch_of(extension.plugins))
        handed = take()
        if handed is None:
            _tell(_line(extension, app, settings))
        else:
            settings["port"] = handed.port
            settings["listener"] = handed.listen(_line(extension, app, settings))
            handed.end_with_supervisor(extension.binding_of(app).mode, graceful_timeout)
        extension.run(app, **settings)
    except ConfigurationError as exc:
        raise click.ClickException(str(exc)) from exc


def _check_supervised(workers: int, settings: dict[str, Any]) -> None:
    """Refuse what several workers cannot do."""
    if os.name != "posix":
        raise click.UsageError(f"--workers {workers} needs a Unix system: leave it out")
    if settings["use_reloader"]:
        raise click.UsageError(
            f"--workers {workers} and the reloader, which comes with --debug, do not go together: add --no-reload and "
            "send SIGHUP to load changes, or leave --workers out while you develop"
        )
    if settings.get("ssl_context") == "adhoc":
        raise click.UsageError(
            f"--workers {workers} and --cert adhoc: each worker would make another certificate"
        )


def _line(extension: SocketIO, app: Flask, settings: dict[str, Any]) -> str:
    protocol = "https" if {"certfile", "ssl_context"} & set(settings) else "http"
    host = f"[{settings['host']}]" if ":" in settings["host"] else settings["host"]
    return f" * {app.name!r} on {protocol}://{host}:{settings['port']}, async mode {extension.async_mode}"


def _tell(line: str) -> None:
    if not is_running_from_reloader():
        with suppress(OSError):  # the standard output is on a full disk, say
            click.echo(line)


def _run_settings(
    *,
    reload: bool | None,
    cert: str | ssl.SSLContext | None,
    key: str | None,
    log_output: bool | None,
    extra_files: list[str] | None,
    exclude_patterns: list[str] | None,
    **settings: Any,
) -> dict[str, Any]:
    """Turn the command's options into keyword arguments of ``SocketIO.run``."""
    debug = get_debug_flag()
    watched = {"extra_files": extra_files, "exclude_patterns": exclude_patterns}
    settings |= {
        "debug": debug,
        "use_reloader": debug if reload is None else reload,
        "reloader_options": {name: value for name, value in watched.items() if value},
        "log_output": debug if log_output is None else log_output,
    }
    if isinstance(cert, str) and cert != "adhoc":
        settings |= {"certfile": cert} | ({"keyfile": key} if key is not None else {})
    elif cert is not None:
        settings["ssl_context"] = cert
    return settings


def _load(info: ScriptInfo, settings: dict[str, Any]) -> Flask:
    """Load the application. In the reloader's child, a failure is served instead, until a file changes."""
    try:
        return info.load_app()
    except Exception as exc:  # whatever the application raises
        if not is_running_from_reloader():
            raise
        traceback.print_exc()
        error = exc

    def failure(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        raise error from None

    _serve_failure(DebuggedApplication(failure) if settings["debug"] else failure, settings)
    raise SystemExit(0)


def _serve_failure(app: WSGIApplication, settings: dict[str, Any]) -> None:
    # Werkzeug's server, because no async mode was selected; the parent may have bound the port for its children.
    inherited = os.environ.get("WERKZEUG_SERVER_FD")
    files = (settings["certfile"], settings.get("keyfile")) if "certfile" in settings else None
    server = make_server(
        settings["host"],
        settings["port"],
        app,
        threaded=True,
        ssl_context=settings.get("ssl_context", files),
        fd=None if inherited is None else int(inherited),
    )
    run_with_reloader(server.serve_forever, ServeOptions(reloader_options=settings["reloader_options"]))
