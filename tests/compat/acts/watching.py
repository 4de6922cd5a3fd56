"""What a handler sees of its client and of Flask."""

from __future__ import annotations

from compat.stage import Stage, act


@act
def context_of_a_handler(stage: Stage) -> None:
    client = stage.client(query={"colour": "blue"}, headers={"X-Test": "yes", "Cookie": "taste=sweet"})
    client.call("context", 1, {"a": 2})


@act
def context_of_a_handler_over_polling(stage: Stage) -> None:
    client = stage.client(
        transport="polling", query={"colour": "blue"}, headers={"X-Test": "yes", "Cookie": "taste=sweet"}
    )
    client.call("context", 1)


@act
def g_is_new_for_each_event(stage: Stage) -> None:
    client = stage.client()
    client.call("context g", 1)
    client.call("context g", 2)


@act
def teardown_functions_run(stage: Stage) -> None:
    stage.client().call("context teardown")
    stage.wait("handler ran", "teardown_request")
    stage.wait("teardown_appcontext")
