"""What the suites have in common for parts that a URL names and a broker serves: queues and stores."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol, cast
from urllib.parse import quote, urlsplit

import pytest

from ..threads import ThreadMode

if TYPE_CHECKING:
    from ...contracts import AsyncMode

#: What no text may show.
USER, PASSWORD = "us3r-name", "s3cret w@rd"
SECRETS = (USER, PASSWORD, quote(PASSWORD))


class StoppableBroker(Protocol):
    """A broker that a test can stop and start again, with the same address and data."""

    def stop(self) -> None: ...
    def start(self) -> None: ...


class FreezableBroker(StoppableBroker, Protocol):
    """One that can be made to keep its connections and answer nothing."""

    def pause(self) -> None: ...
    def resume(self) -> None: ...


class RemoteConformance:
    """The fixtures that both suites have."""

    @pytest.fixture
    def url(self) -> str:
        """The broker's URL. Every test uses a channel of its own on it."""
        raise NotImplementedError("give a fixture 'url' that returns the URL of a running broker")

    @pytest.fixture
    def broker(self) -> StoppableBroker | None:
        """The broker, if the test may stop it; ``None`` skips the outage tests."""
        return None

    @pytest.fixture
    def secret_url(self, url: str) -> str | None:
        """The URL of a broker that is not there, with a user name and a password; ``None`` if there is no such URL."""
        scheme, _, rest = url.partition("://")
        return f"{scheme}://{USER}:{quote(PASSWORD)}@127.0.0.1:1" if urlsplit(f"//{rest}").hostname else None

    @pytest.fixture
    def frozen(self, broker: StoppableBroker | None) -> Iterator[FreezableBroker]:
        """The broker, if it can be frozen; it is thawed at the test's end."""
        if not (hasattr(broker, "pause") and hasattr(broker, "resume")):
            pytest.skip("no broker that the test may freeze, with pause() and resume()")
        freezable = cast("FreezableBroker", broker)
        yield freezable
        freezable.resume()

    @pytest.fixture
    def mode(self) -> Iterator[AsyncMode]:
        """The async mode that the part is made with."""
        mode = ThreadMode()
        yield mode
        mode.close()

    @pytest.fixture
    def channel(self) -> str:
        """A channel that nobody has used before."""
        return f"conformance-{uuid.uuid4().hex[:12]}"
