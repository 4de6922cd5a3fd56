"""Namespaces as classes, catch-all handlers, and the ways to register a handler."""

from __future__ import annotations

from compat.stage import Stage, act


@act
def class_based_namespace(stage: Stage) -> None:
    client = stage.client(connect=None)
    client.connect("/class", {"token": 1})
    client.call("echo", 1, b"two", [3], namespace="/class")
    client.call("my_event", "value", namespace="/class")
    client.call("message", "text", namespace="/class")
    client.call("json", {"a": 1}, namespace="/class")
    client.call("function", 5, namespace="/class")
    client.fence("/class")
    client.disconnect("/class")
    stage.wait("class disconnect")


@act
def class_based_namespace_talks(stage: Stage) -> None:
    first, second = stage.client("A", connect="/class"), stage.client("B", connect="/class")
    first.call("talk", stage.room("room"), namespace="/class")
    for client in (first, second):
        client.fence("/class")


@act
def class_based_namespace_asks(stage: Stage) -> None:
    client = stage.client(connect="/class")
    client.emit("ask", namespace="/class")
    client.ack(client.wait_event("question", "/class"), "an answer", 2)
    stage.wait("class acknowledged")


@act(variant="no default error handler")
def class_based_namespace_with_old_signatures(stage: Stage) -> None:
    client = stage.client(connect="/class-old-style")
    client.disconnect("/class-old-style")
    stage.wait("class disconnect without reason")


@act
def default_error_handler_comes_before_error_hook_of_class(stage: Stage) -> None:
    client = stage.client(connect="/class-errors")
    client.call("fail", "on purpose", namespace="/class-errors")


@act(variant="no default error handler")
def class_based_namespace_with_error_hook(stage: Stage) -> None:
    client = stage.client(connect="/class-errors")
    client.call("fail", "on purpose", namespace="/class-errors")
    client.call("fail", namespace="/class-errors")


@act
def class_based_namespace_with_own_dispatch(stage: Stage) -> None:
    client = stage.client(connect="/class-dispatch")
    client.call("anything", 1, [2], namespace="/class-dispatch")
    client.fence("/class-dispatch")


@act
def class_based_namespace_refuses(stage: Stage) -> None:
    client = stage.client(connect=None)
    client.connect("/class-refusing")
    client.connect("/class-refusing", {"how": "raise"})


@act
def catch_all_events(stage: Stage) -> None:
    client = stage.client(connect="/catch-all")
    client.call("known", 1, namespace="/catch-all")
    client.call("unknown", 1, [2], namespace="/catch-all")


@act(variant="any namespace")
def catch_all_namespaces(stage: Stage) -> None:
    client = stage.client()
    for namespace in ("/made-up", "/another/one"):
        client.connect(namespace)
        client.call("known", 1, namespace=namespace)
    client.call("echo", "explicit handlers come first")


@act(variant="any namespace")
def catch_all_namespace_yields_to_catch_all_event(stage: Stage) -> None:
    client = stage.client(connect="/catch-all")
    client.call("known", 1, namespace="/catch-all")
    client.call("unknown", 1, namespace="/catch-all")


@act
def ways_to_register(stage: Stage) -> None:
    client = stage.client()
    client.connect("/registration")
    client.call("by_function_name", 1)
    client.call("by_function_name_elsewhere", 2, namespace="/registration")
    client.call("by on_event", 3, namespace="/registration")
    client.call("replaced")
