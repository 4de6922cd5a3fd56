"""Checks of the application and of what is installed around it."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib import metadata

from flask import Flask

from ...app.examined import secret_key_proof
from ...app.trusted_hosts import host_refusal
from ...common.origins import OriginList, parse
from ...selection import unmet_requirements
from ..plugins_view import CORE, owner_of
from .finding import Case, Finding, NotChecked, error, warning


def application(case: Case) -> Iterator[Finding]:
    """Whether the application can be loaded, and has a ``SocketIO`` object."""
    if case.failure is not None:
        yield error(
            "the application cannot be loaded",
            cause=f"{type(case.failure).__name__}: {case.failure}",
            mend="what the text says; `flask socketio plugins` shows the whole traceback",
        )
    elif case.binding is None:
        yield error(
            "the application has no Socket.IO: its clients get status 404",
            cause="no SocketIO object serves it",
            mend="SocketIO(app), or its init_app(app)",
        )


def plugins(case: Case) -> Iterator[Finding]:
    """Whether each plugin and each part can be loaded, and has its name for itself."""
    told = str(case.failure)
    for problem in case.description.problems:
        if told not in problem or case.failure is None:
            yield error(
                "a plugin is wrong",
                cause=problem,
                mend="what the text says; `flask socketio plugins` shows all",
            )
    for plugin in case.description.plugins:
        mend = f"another version of {owner_of(plugin)}, or uninstall it"
        if plugin.status.startswith("error: "):
            yield error(
                f"the plugin {plugin.name} is broken", cause=plugin.status[len("error: ") :], mend=mend
            )
        for part in plugin.parts:
            if part.status.startswith("error: "):
                kind = error if part.selected else warning
                yield kind(
                    f"the {part.kind} {part.name} is broken{'' if part.selected else ', and not in use'}",
                    cause=part.status[len("error: ") :],
                    mend=mend,
                )


def versions(case: Case) -> Iterator[Finding]:
    """Whether the versions of what the distributions need are those that they were made for."""
    names = {CORE, *(plugin.distribution for plugin in case.description.plugins if plugin.distribution)}
    for name in sorted(names):
        try:
            requires = metadata.requires(name) or ()
        except metadata.PackageNotFoundError:  # a frozen program may be without
            continue
        for requirement in unmet_requirements(requires):
            yield error(
                f"{name} does not work with what is installed",
                cause=f"it needs {requirement}, and Python here is {platform.python_version()}",
                mend=f'pip install --upgrade "{requirement.partition(" (")[0]}"',
            )


def origins(case: Case) -> Iterator[Finding]:
    """Whether the application's own pages are among the origins that may talk to it."""
    app, binding = case.loaded()
    listed, host = binding.options.cors_allowed_origins, app.config.get("SERVER_NAME")
    if not isinstance(listed, tuple) or not listed:
        return
    if not host:
        raise NotChecked("app.config['SERVER_NAME'] does not say what the application's own origin is")
    scheme = app.config["PREFERRED_URL_SCHEME"]
    own, other = parse(f"{scheme}://{host}"), parse(f"{'http' if scheme == 'https' else 'https'}://{host}")
    allowed = OriginList(listed)
    if own is None or own in allowed:
        return
    mend = (
        f"cors_allowed_origins=[{str(own)!r}, ...]; or leave it out: then the own origin is the one allowed"
    )
    if other is not None and other in allowed:
        yield error(
            f"browsers on {own} are refused with status 400",
            cause=f"cors_allowed_origins has {other}, and PREFERRED_URL_SCHEME={scheme!r}: another scheme is another "
            "origin",
            mend=f"{mend}; or PREFERRED_URL_SCHEME, if the pages are served by {other.scheme}",
        )
    else:
        yield warning(
            f"browsers on {own} are refused with status 400",
            cause=f"cors_allowed_origins={listed!r} has not what SERVER_NAME={host!r} and "
            f"PREFERRED_URL_SCHEME={scheme!r} make the application's own origin",
            mend=mend,
        )


def trusted_hosts(case: Case) -> Iterator[Finding]:
    """Whether Flask answers to the application's own host, and each of ``TRUSTED_HOSTS`` can be one."""
    app, _ = case.loaded()
    trusted = app.config.get("TRUSTED_HOSTS")
    if not trusted:
        return
    if "TRUSTED_HOSTS" not in Flask.default_config:
        yield warning(
            "requests to any host are answered",
            cause="this Flask does not know TRUSTED_HOSTS, which came with 3.1",
            mend='pip install --upgrade "flask>=3.1"',
        )
        return
    hosts = [trusted] if isinstance(trusted, str) else list(trusted)
    own = app.config.get("SERVER_NAME")
    for host in hosts:
        if _is_not_trusted(case, str(host).removeprefix(".")):
            yield error(
                f"requests to {host} are answered 400, by Flask and here",
                cause=f"TRUSTED_HOSTS has {host!r}, which is no host's name: no request can match it",
                mend="names only, such as 'example.com', or '.example.com' for its subdomains, too",
            )
    if own and _is_not_trusted(case, own):
        yield error(
            f"requests to {own} are answered 400",
            cause=f"SERVER_NAME={own!r} is not in TRUSTED_HOSTS={trusted!r}",
            mend=f"TRUSTED_HOSTS=[{own.partition(':')[0]!r}, ...]",
        )


def _is_not_trusted(case: Case, host: str) -> bool:
    app, _ = case.loaded()
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/", "HTTP_HOST": host, "wsgi.url_scheme": "http"}
    environ |= {"SERVER_NAME": "localhost", "SERVER_PORT": "80", "QUERY_STRING": "", "SCRIPT_NAME": ""}
    refusal = host_refusal(app, environ)
    return refusal is not None and "TRUSTED_HOSTS" in refusal


def secret_key(case: Case) -> Iterator[Finding]:
    """Whether there is a ``SECRET_KEY``, and it is the same whenever the application is loaded."""
    app, _ = case.loaded()
    if not app.config.get("SECRET_KEY"):
        yield warning(
            "flask.session cannot be written, and nobody stays logged in",
            cause="the application has no SECRET_KEY",
            mend='app.config["SECRET_KEY"], from the environment or a file: python -c "import secrets; '
            'print(secrets.token_hex())" makes one',
        )
        return
    if case.cold is None or case.cold.problem:
        raise NotChecked(
            "the application could not be loaded a second time, to see whether the key is the same"
        )
    if case.cold.secret_key != secret_key_proof(app, case.nonce):
        yield error(
            "sessions are lost at each restart, and with several workers at random",
            cause="SECRET_KEY is made when the application is loaded: two processes that load it have two",
            mend="make it once, and keep it in the environment or in a file that all workers read",
        )
