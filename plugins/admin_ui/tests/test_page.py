"""The page in a real browser, on two servers."""

from __future__ import annotations

import os
import uuid
from contextlib import ExitStack
from pathlib import Path

import pytest

from demo.browser import require_browser, run_scenario
from flask_socketio_admin_ui import build
from support.brokers import Broker
from support.servers import THREADING, AppSpec, serving

pytestmark = pytest.mark.timeout(120)  # seconds: a scenario ends itself after 60


@pytest.fixture(autouse=True)
def _page() -> None:
    require_browser()
    try:
        build.fetch()
    except build.Unreachable as error:
        if os.environ.get("REQUIRE_BROKERS") == "1":
            pytest.fail(str(error))
        pytest.skip(str(error))


def test_an_admin_logs_in_and_stays_so_when_the_page_is_loaded_again(
    redis_broker: Broker, tmp_path: Path
) -> None:
    options = {"message_queue": redis_broker.url, "channel": f"admin-{uuid.uuid4().hex}"}
    spec = AppSpec(app="administered", options=options)
    with ExitStack() as stack:
        first, second = (stack.enter_context(serving(THREADING, spec, tmp_path)) for _ in range(2))
        second.get("/socket.io/?EIO=4&transport=polling")  # it joins the other one
        servers = f"{first.worker_pid} {second.worker_pid}"
        kept = os.environ.get("DEMO_SCREENSHOTS")
        screenshots = Path(kept) if kept else tmp_path / "screenshots"
        run_scenario("admin", screenshots=screenshots, url=first.url, servers=servers)
