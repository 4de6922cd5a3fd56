"""Connection state recovery as applications see it."""

from __future__ import annotations

from support.flask_apps import MakeApp


def test_a_test_client_takes_no_part(make_app: MakeApp) -> None:
    app, socketio = make_app(recovery=60)

    @socketio.on("ask")
    def ask() -> None:
        socketio.emit("answer", "text")

    client = socketio.test_client(app)
    client.emit("ask")
    assert client.get_received() == [{"name": "answer", "args": ["text"], "namespace": "/"}]
    load = socketio.load().recovery
    assert load is not None
    assert load.clients == 0
    client.close()
