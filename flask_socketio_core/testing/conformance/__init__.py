"""Test suites that plugin authors import: what a queue, a store, an async mode and a WebSocket
provider must do."""

from __future__ import annotations

import pytest

# A failure shows the values that were compared. Here, because it has to be said before the suites are imported; an
# entry point of pytest's would import this package in every run of pytest, of any project, that has it installed.
pytest.register_assert_rewrite(
    *(f"{__name__}.{suite}" for suite in ("async_modes", "providers", "queues", "stores"))
)
