"""From a URL and options to redis-py's clients: one that publishes, with a time-out, one that listens, without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import unquote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel, SentinelConnectionPool

from flask_socketio_core import queues
from flask_socketio_core.errors import InvalidOption
from flask_socketio_core.queues import Setting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flask_socketio_core.queues import QueueURL

DEFAULT_HOST = ("localhost", 6379)
DEFAULT_SENTINEL = ("localhost", 26379)

#: Options that both Redis queues and the store know. Names without a unit are redis-py's own.
SETTINGS: tuple[Setting[Any], ...] = (
    Setting("username", str, None, "user name, when it is not in the URL"),
    Setting("password", str, None, "password, when it is not in the URL"),
    Setting("db", int, None, "database number, when it is not in the URL"),
    Setting("socket_timeout", float, 2.0, "seconds an answer may take; a listener has no time-out", above=0),
    Setting("socket_connect_timeout", float, 2.0, "seconds a connection attempt may take", above=0),
    Setting("client_name", str, None, "name shown by CLIENT LIST"),
    Setting("ssl_cert_reqs", str, "required", "'required', 'optional' or 'none'"),
    Setting("ssl_ca_certs", str, None, "file with the certificate authorities to trust"),
    Setting("ssl_certfile", str, None, "file with our certificate"),
    Setting("ssl_keyfile", str, None, "file with our certificate's key"),
    Setting("ssl_check_hostname", bool, True, "whether the certificate must name the host"),
    Setting("service", str, None, "Sentinel's name of the service, when it is not in the URL"),
    Setting("sentinel_username", str, None, "user name for the Sentinels"),
    Setting("sentinel_password", str, None, "password for the Sentinels"),
    Setting("client_options", object, {}, "further keyword arguments for redis-py's connections"),
)

_PASSED_ON = ("username", "password", "db", "client_name", "socket_connect_timeout")


def close(client: redis.Redis) -> None:
    """Close all connections of a client, and those to the Sentinels that it has asked for the master."""
    pool = client.connection_pool
    pool.disconnect()
    for sentinel in pool.sentinel_manager.sentinels if isinstance(pool, SentinelConnectionPool) else ():
        sentinel.close()


class Words(Protocol):
    """How a part takes its URL and options apart: the module ``queues`` or ``stores`` of the core."""

    @property
    def parse(self) -> Callable[[str], QueueURL]: ...
    @property
    def read(self) -> Callable[..., dict[str, Any]]: ...


class ClientFactory:
    """Make clients for one URL; connects to nothing."""

    def __init__(
        self,
        url: str,
        options: Mapping[str, Any],
        known: tuple[Setting[Any], ...],
        *,
        where: str,
        words: Words = queues,
    ) -> None:
        """Check the URL and the options.

        :param words: what reads them.

        :raises InvalidOption: for a URL or an option that cannot be used.
        """
        self._url = words.parse(url)
        self.settings = words.read(known, options, self._url.query, where=where)
        scheme = self._url.scheme.removesuffix("+streams")
        self._sentinel = scheme.endswith("+sentinel")
        base = scheme.removesuffix("+sentinel")
        self._unix = base == "unix"
        self._tls = base in ("rediss", "valkeys")
        self._path = self._url.path.strip("/").split("/") if self._url.path.strip("/") else []
        self._arguments = self._common()

    def publisher(self) -> redis.Redis:
        """Return a client whose commands fail after ``socket_timeout`` and are tried again once on a lost connection.

        The second attempt is for connections that died while nobody used them.
        """
        once_more = Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))
        return self._client(socket_timeout=self.settings["socket_timeout"], retry=once_more)

    def listener(self, stall_timeout_s: float) -> Any:
        """Return a client for one reader; a lost connection is an error at once.

        :param stall_timeout_s: seconds that a reply may take *once it was asked for or has begun*. It is no limit on
            how long a channel may be quiet.
        :returns: a ``redis.Redis``, untyped: the types of its replies differ between redis-py's versions.
        """
        never = Retry(NoBackoff(), 0, supported_errors=())
        return self._client(socket_timeout=stall_timeout_s, retry=never)

    def _client(self, **arguments: Any) -> redis.Redis:
        arguments = {**self._arguments, **arguments, **self.settings["client_options"]}
        if self._sentinel:
            return self._from_sentinels(arguments)
        return redis.Redis(connection_pool=redis.ConnectionPool(**arguments))

    def _from_sentinels(self, arguments: dict[str, Any]) -> redis.Redis:
        own = {
            "username": self.settings["sentinel_username"],
            "password": self.settings["sentinel_password"],
            "socket_timeout": self.settings["socket_timeout"],
            "socket_connect_timeout": self.settings["socket_connect_timeout"],
        }
        hosts = [
            (name or DEFAULT_SENTINEL[0], port or DEFAULT_SENTINEL[1])
            for name, port in self._url.hosts or (DEFAULT_SENTINEL,)
        ]
        arguments.pop("connection_class", None)  # Sentinel's pool has one of its own
        make_sentinel: Any = Sentinel  # untyped in redis-py
        sentinel = make_sentinel(
            hosts, sentinel_kwargs={k: v for k, v in own.items() if v is not None}, **arguments
        )
        client: redis.Redis = sentinel.master_for(self._service(), ssl=self._tls)
        return client

    def _service(self) -> str:
        service = self._path[1] if len(self._path) > 1 else self.settings["service"]
        return service or "mymaster"  # the name in Redis's own sample configuration

    def _common(self) -> dict[str, Any]:
        chosen = {name: self.settings[name] for name in _PASSED_ON if self.settings[name] is not None}
        if self._url.username:
            chosen["username"] = self._url.username
        if self._url.password:
            chosen["password"] = self._url.password
        chosen["protocol"] = 2  # RESP3 delivers messages as pushes, which differ between redis-py's versions
        if self._unix:
            path = unquote("/" + "/".join(self._path))
            return {**chosen, "connection_class": redis.UnixDomainSocketConnection, "path": path}
        if self._path and not self._sentinel_only_service():
            chosen["db"] = self._database(self._path[0])
        chosen["socket_keepalive"] = True
        if self._tls:
            chosen["connection_class"] = redis.SSLConnection
            chosen.update({name: value for name, value in self.settings.items() if name.startswith("ssl_")})
        if not self._sentinel:
            chosen["host"], chosen["port"] = self._url.host(DEFAULT_HOST)
        return chosen

    def _sentinel_only_service(self) -> bool:
        """Return whether the path of a Sentinel URL leaves the database out: ``redis+sentinel://h:1//service``."""
        return self._sentinel and not self._path[0]

    def _database(self, text: str) -> int:
        if not text.isdecimal():
            raise InvalidOption(f"Redis database {text!r} in the URL must be a whole number")
        return int(text)
