"""``host://``: every process connects to every listener on this host, by Unix sockets in a private directory."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, ClassVar

from flask_socketio_core import queues
from flask_socketio_core.contracts import MessageQueue, QueueCapabilities
from flask_socketio_core.contracts.host.directory import NoDirectory, SocketDirectory
from flask_socketio_core.contracts.host.unix import FAMILY
from flask_socketio_core.errors import ConfigurationError, InvalidOption, QueueClosed, QueueUnavailable
from flask_socketio_core.queues import Setting

from .frames import frame
from .inbox import Inbox
from .sender import Sender

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from flask_socketio_core.contracts import AsyncMode

MIB = 1024 * 1024
#: Of what is sent: processes with another do not understand each other, and do not meet.
PROTOCOL = "1"
#: Seconds between two ``b""`` of a quiet channel.
TICK_S = 0.5
NOBODY: Collection[str] = frozenset()

SETTINGS: tuple[Setting[Any], ...] = (
    Setting(
        "directory",
        str,
        None,
        "where the private directory is made; otherwise in XDG_RUNTIME_DIR, or among temporary files",
    ),
    Setting(
        "peer_max_bytes", int, 32 * MIB, "most bytes that wait for one process that does not read", above=0
    ),
    Setting(
        "publish_timeout_s", float, 2.0, "seconds a publish may wait for processes that read slowly", above=0
    ),
)


class HostQueue(MessageQueue):
    """Carry messages between the processes of one host and user that use the same name and channel.

    ``host://`` is one bus, ``host://name`` another. A message is accepted when each listener's socket has it, or it
    waits in this process for those that have not read what came before.
    """

    capabilities: ClassVar[QueueCapabilities] = QueueCapabilities(
        max_message_bytes=16 * MIB, needs_patched=("select",)
    )

    def __init__(self, url: str, channel: str, *, mode: AsyncMode, options: Mapping[str, Any]) -> None:
        super().__init__(url, channel, mode=mode, options=options)
        if FAMILY is None:
            raise ConfigurationError(
                "host:// needs Unix sockets, which Python does not have on this system; "
                "a broker works here: message_queue='redis://localhost'"
            )
        parsed = queues.parse(url)
        settings = queues.read(SETTINGS, options, parsed.query, where="host")
        self.address = queues.new_address()
        self._directory = SocketDirectory(
            PROTOCOL,
            _name(url, parsed),
            channel,
            chosen=settings["directory"],
            advice="Name a writable one: host://?directory=/path",
        )
        self._sender = Sender(
            self._directory,
            mode,
            limit_bytes=settings["peer_max_bytes"],
            timeout_s=settings["publish_timeout_s"],
        )
        self._our_errors = queues.ClientErrors(
            "the host's queue", url, OSError, refuses=lambda error: isinstance(error, NoDirectory)
        )
        self._inboxes: list[Inbox] = []
        self._own: Collection[str] = NOBODY  # their paths
        self._closed = False

    def publish(self, message: bytes, *, key: str = "") -> None:
        self._publish(message, NOBODY)

    def knows(self, address: str) -> bool:
        return self._sender.knows(address)

    def publish_to(self, address: str, message: bytes, *, key: str = "") -> None:
        self._publish(message, self._own, address)

    def publish_to_others(self, message: bytes, *, key: str = "") -> None:
        self._publish(message, self._own)

    def _publish(self, message: bytes, skip: Collection[str], address: str = "") -> None:
        queues.check_size(message, self.max_message_bytes, "host")
        if message:  # b"" is what a quiet channel yields
            with self._our_errors:
                self._sender.send(frame(message), skip, address)

    def listen(self) -> Iterator[bytes]:
        self._check_open()
        with self._our_errors:
            inbox = Inbox(
                self._directory,
                self.mode,
                address=self.address,
                max_bytes=self.max_message_bytes or 0,
                tick_s=TICK_S,
            )
        try:
            with self._our_errors:
                inbox.open()
            self._inboxes.append(inbox)
            self._own = {inbox.path for inbox in self._inboxes}
            yield b""
            yield from self._messages(inbox)
        finally:
            inbox.close()
            if inbox in self._inboxes:
                self._inboxes.remove(inbox)
                self._own = {inbox.path for inbox in self._inboxes}

    def _messages(self, inbox: Inbox) -> Iterator[bytes]:
        quiet_at = look_at = time.monotonic() + TICK_S
        while not self._closed:
            with self._our_errors:
                messages = inbox.read()
            yield from messages
            now = time.monotonic()
            if messages:
                quiet_at = now + TICK_S
            elif now >= quiet_at:
                quiet_at = now + TICK_S
                yield b""
            if now >= look_at and not self._closed:
                look_at = now + TICK_S
                self._check_found(inbox)

    def _check_found(self, inbox: Inbox) -> None:
        with self._our_errors:
            is_there = inbox.is_there
        if not is_there:
            raise QueueUnavailable("the socket of this process was removed from its directory")

    def ping(self) -> None:
        with self._our_errors:
            self._sender.look()

    def flush(self, timeout_s: float) -> int:
        return self._sender.flush(timeout_s)

    def close(self) -> None:
        self._closed = True
        self._sender.close()
        for inbox in list(self._inboxes):
            inbox.leave()

    def _check_open(self) -> None:
        if self._closed:
            raise QueueClosed("the host's message queue was closed")


def _name(url: str, parsed: queues.QueueURL) -> str:
    """Return the deployment's name.

    :raises InvalidOption: for a URL with more than that in it.
    """
    names = [name for name, port in parsed.hosts if port is None]
    more = parsed.username or parsed.password or parsed.path.strip("/") or len(names) != len(parsed.hosts)
    if more or len(names) > 1:
        raise InvalidOption(
            f"message queue URL {queues.mask(url)!r} names more than a deployment, "
            "expected host:// or host://NAME, with options such as ?directory=/path"
        )
    return names[0] if names else ""
