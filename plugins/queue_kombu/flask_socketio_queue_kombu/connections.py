"""From a URL and options to Kombu's connections; nothing is connected before it is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

from flask_socketio_core import queues
from flask_socketio_core.contracts import Verdict
from flask_socketio_core.errors import PartUnsuitable
from flask_socketio_core.queues import Setting

from . import pyamqp
from .client import REDIS, Connection, foreign_errors, refusals
from .transports import ON_REQUEST, claims, transport_of

if TYPE_CHECKING:
    from collections.abc import Mapping

#: Seconds between two polls of a transport that cannot wait. Kombu's own default of 1.0 is for task queues.
POLL_S = 0.05
#: Transports that speak AMQP, and tell when a subscription exists. The others subscribe when they are first polled.
AMQP = frozenset({"amqp", "amqps", "pyamqp", "librabbitmq"})

SETTINGS: tuple[Setting[Any], ...] = (
    Setting("publish_timeout_s", float, 2.0, "seconds a publish may take", above=0),
    Setting("connect_timeout", float, 2.0, "seconds a connection attempt may take", above=0),
    Setting("login_method", str, None, "SASL mechanism, as Kombu names it"),
    Setting("ssl", object, None, "True, or a dict of Kombu's TLS settings"),
    Setting("transport_options", object, {}, "further options for Kombu's transport"),
)


class Connections:
    """Make connections for one URL.

    :param known: the options that there are.
    :param where: what the queue is called, for errors about options.
    :raises InvalidOption: for a URL or an option that cannot be used.
    :raises PartUnsuitable: for a transport that cannot fan out.
    """

    def __init__(
        self, url: str, options: Mapping[str, Any], known: tuple[Setting[Any], ...], *, where: str
    ) -> None:
        self._url = url
        self._address, _, query = url.partition("?")
        scheme, _, rest = self._address.partition("://")
        if scheme.lower().startswith("kombu+"):
            self._address = f"{scheme[len('kombu+') :]}://{rest}"
        self.settings = queues.read(known, options, dict(parse_qsl(query)), where=where)
        self.timeout_s: float = self.settings["publish_timeout_s"]
        self._transport = transport_of(scheme)
        self._transport_options = dict(self.settings["transport_options"])
        self._check_transport(scheme, rest)
        refused = refusals(self._transport)
        self.our_errors = queues.ClientErrors(
            "message queue",
            url,
            *foreign_errors(self._transport),
            refuses=lambda error: isinstance(error, refused),
        )

    @property
    def speaks_amqp(self) -> bool:
        """Whether the transport is one of AMQP, and not one that imitates it."""
        return self._transport in AMQP

    def use_pyamqp(self) -> None:
        """Never take the C library for ``amqp://``, which has no confirms."""
        if self._address.startswith("amqp://"):
            self._address = f"py{self._address}"

    def open(self, *, heartbeat: float = 0) -> Any:
        """Return a new connection, with ``publish_timeout_s`` as its time-out.

        :param heartbeat: seconds between signs of life; 0 for none.
        """
        connection = Connection(
            self._address,
            transport=self._implementation(),
            connect_timeout=self.settings["connect_timeout"],
            login_method=self.settings["login_method"],
            ssl=self.tls(),
            heartbeat=heartbeat,
            transport_options={**self._time_outs(), **self._transport_options},
        )
        # One attempt per host: connect() sleeps for two seconds and tries again.
        attempts = len(connection.alt) or 1
        connection.ensure_connection(max_retries=attempts - 1, reraise_as_library_errors=False)
        pyamqp.limit_waiting(connection, self.timeout_s)
        return connection

    def tls(self) -> Any:
        """Return Kombu's ``ssl``. Over AMQP the certificate must name the host, which py-amqp does not ask for."""
        chosen = self.settings["ssl"] or self._transport == "amqps"
        if not self.speaks_amqp or not chosen or ";" in self._address:  # several hosts, one setting
            return chosen
        own = chosen if isinstance(chosen, dict) else {}
        host, _ = queues.parse(self._address).host(("localhost", 5671))
        return own if "context" in own else {"server_hostname": host, **own}

    def _time_outs(self) -> dict[str, float]:
        """Return the time-outs of a transport's sockets, where it has such options. A reader waits outside of them."""
        if self._transport not in REDIS:
            return {}
        return {"socket_timeout": self.timeout_s, "socket_connect_timeout": self.settings["connect_timeout"]}

    def _implementation(self) -> Any:
        """Return a transport instead of Kombu's own, or ``None``."""
        if self._transport != "filesystem":
            return None
        from .whole_files import Transport

        return Transport

    def _check_transport(self, scheme: str, rest: str) -> None:
        verdict = claims(scheme) or Verdict(
            usable=False, reason=f"Kombu has no transport {self._transport!r}"
        )
        if not verdict.usable:
            raise PartUnsuitable(f"message queue {queues.mask(self._url)}: {verdict.reason}")
        switch = ON_REQUEST.get(self._transport)
        if switch is not None and not self._transport_options.get(switch):
            raise PartUnsuitable(
                f"message queue {queues.mask(self._url)}: Kombu's transport {self._transport!r} fans out only with "
                f"message_queue_options={{'transport_options': {{{switch!r}: True}}}}"
            )
        if self._transport in ("filesystem", "memory"):
            self._transport_options.setdefault("polling_interval", POLL_S)
        if self._transport == "filesystem" and rest.strip("/"):
            self._use_folder(Path("/" + unquote(rest).lstrip("/")))

    def _use_folder(self, folder: Path) -> None:
        """Let ``filesystem:///some/folder`` mean what it says: Kombu itself ignores the path."""
        places = {"data_folder_in": "messages", "data_folder_out": "messages", "control_folder": "control"}
        for option, name in places.items():
            (folder / name).mkdir(parents=True, exist_ok=True)
            self._transport_options.setdefault(option, str(folder / name))
