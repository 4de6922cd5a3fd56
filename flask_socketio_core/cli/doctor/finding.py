"""What a check of `flask socketio doctor` finds, and what it looks at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from ...app.binding import Binding
    from ...contracts.servers import Answers
    from ...selection import Description
    from ..check_view import Report
    from .cold import ColdStart
    from .server import WebServer


class Severity(Enum):
    """Whether a finding breaks something."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong.

    :param what: what somebody notices, or what was seen.
    :param cause: where it comes from.
    :param mend: what to do.
    """

    severity: Severity
    what: str
    cause: str
    mend: str


def error(what: str, *, cause: str, mend: str) -> Finding:
    """Return a finding that breaks something."""
    return Finding(severity=Severity.ERROR, what=what, cause=cause, mend=mend)


def warning(what: str, *, cause: str, mend: str) -> Finding:
    """Return a finding that breaks something for some, or later."""
    return Finding(severity=Severity.WARNING, what=what, cause=cause, mend=mend)


class NotChecked(Exception):
    """Raised by a check that cannot be made here; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What the checks look at. What a check needs and is ``None`` could not be had; another check says why.

    :param description: the plugins.
    :param failure: what the application raised while it was loaded.
    :param web_server: the server that is to run the application, as far as it is known.
    :param app: the application.
    :param binding: what its ``SocketIO`` object has in use.
    :param cold: what was seen when another process loaded the application.
    :param queue: what `flask socketio check` says.
    :param nonce: what the servers were asked with.
    :param servers: what they have answered; ``None`` if they were not asked.
    :param log: a file to look for our lines in.
    """

    description: Description
    failure: Exception | None
    web_server: WebServer
    app: Flask | None = None
    binding: Binding | None = None
    cold: ColdStart | None = None
    queue: Report | None = None
    nonce: str = ""
    servers: Answers | None = None
    log: Path | None = None

    def loaded(self) -> tuple[Flask, Binding]:
        """Return the application and what is in use for it.

        :raises NotChecked: if it could not be loaded, or has no ``SocketIO`` object.
        """
        if self.app is None or self.binding is None:
            raise NotChecked("it needs the application")
        return self.app, self.binding
