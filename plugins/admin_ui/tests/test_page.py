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
from support.clients import python_client
from support.servers import THREADING, AppSpec, serving

pytestmark = pytest.mark.timeout(240)  # seconds: the scenario ends itself before


@pytest.fixture(autouse=True)
def _page() -> None:
    require_browser()
    try:
        build.fetch()
    except build.Unreachable as error:
        if os.environ.get("REQUIRE_BROKERS") == "1":
            pytest.fail(str(error))
        pytest.skip(str(error))


def test_an_admin_logs_in_looks_around_and_disconnects_a_client_of_another_server(
    redis_broker: Broker, tmp_path: Path
) -> None:
    options = {"message_queue": redis_broker.url, "channel": f"admin-{uuid.uuid4().hex}"}
    spec = AppSpec(app="administered", options=options, settings={"SOCKETIO_ADMIN_UI_MODE": "development"})
    secret = uuid.uuid4().hex
    with ExitStack() as stack:
        first, second = (stack.enter_context(serving(THREADING, spec, tmp_path)) for _ in range(2))
        client = python_client()  # which answers pings, however long this takes
        client.connect(
            f"{second.url}?token={secret}&shown=masked-by-nobody",
            headers={"Cookie": f"session={secret}"},
            wait_timeout=60,
        )
        stack.callback(client.disconnect)
        assert client.call("enter", "club", timeout=60) == "club"

        def look() -> None:
            second.wait_journal("left", timeout_s=30)
            assert second.journal() == [["left", "server disconnect"]]

        servers = f"{first.worker_pid} {second.worker_pid}"
        kept = os.environ.get("DEMO_SCREENSHOTS")
        screenshots = Path(kept) if kept else tmp_path / "screenshots"
        run_scenario(
            "admin",
            screenshots=screenshots,
            actions={"look who has left": look},
            url=first.url,
            servers=servers,
            sid=str(client.get_sid()),
            secret=secret,
        )
