"""Errors in handlers."""

from __future__ import annotations

from compat.stage import Stage, act


@act
def own_error_handler(stage: Stage) -> None:
    client = stage.client(connect="/own-error-handler")
    client.call("fail", "loud", namespace="/own-error-handler")
    client.call("fail", "quiet", namespace="/own-error-handler")
    client.call("type error", namespace="/own-error-handler")
    client.call("fail", "wrong", "number of arguments", namespace="/own-error-handler")
    client.fence("/own-error-handler")


@act
def default_error_handler(stage: Stage) -> None:
    client = stage.client(connect="/default-error-handler")
    client.call("fail", "on purpose", namespace="/default-error-handler")
    client.call("type error", namespace="/default-error-handler")


@act
def error_handler_hears_of_disconnect_errors(stage: Stage) -> None:
    client = stage.client(connect="/own-error-handler")
    client.disconnect("/own-error-handler")
    stage.wait("own error handler")


@act
def error_handler_hears_of_connect_errors(stage: Stage) -> None:
    client = stage.client(connect=None)
    client.connect("/default-error-handler", {"fail": True})
    stage.wait("default error handler")


@act(variant="no default error handler")
def unhandled_error_sends_no_ack(stage: Stage) -> None:
    client = stage.client()
    client.send(2, ["fail unhandled"], id=7)
    stage.wait("failing unhandled")
    stage.settle()
