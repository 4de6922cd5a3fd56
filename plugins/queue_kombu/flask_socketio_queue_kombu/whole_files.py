"""Kombu's file system transport, but no message is seen before it is written.

Kombu opens a message's file under its name and locks it afterwards, and does not ask for that lock when it reads; so a
reader may find half a message, or none, and has removed it by then.
"""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Any

import kombu.transport.filesystem
import kombu.utils.json
from kombu.exceptions import ChannelError

_Channel: Any = kombu.transport.filesystem.Channel
_Transport: Any = kombu.transport.filesystem.Transport


class Channel(_Channel):  # type: ignore[misc]  # Kombu's classes are untyped
    """Write a message under another name, which readers pass over, and rename it."""

    def _put(self, queue: str, payload: Any, **_: Any) -> None:
        name = f"{round(time.monotonic() * 1000)}_{uuid.uuid4()}.{queue}.msg"  # read in this order
        partial = Path(self.data_folder_out, f"{name}.partial")
        try:
            partial.write_text(kombu.utils.json.dumps(payload), "utf-8")
            partial.rename(Path(self.data_folder_out, name))
        except OSError as error:
            raise ChannelError(f"cannot write {partial}: {error}") from error


class Transport(_Transport):  # type: ignore[misc]  # as above
    """The same with our channels."""

    Channel = Channel
