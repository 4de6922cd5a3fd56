"""Who receives what: rooms, broadcasts, exclusions."""

from __future__ import annotations

from compat.stage import Stage, act

FORMS = (
    "to",
    "room",
    "not me",
    "skip me",
    "skip me in list",
    "outside",
    "outside not me",
    "outside skip",
    "ignore queue",
    "default",
)


@act
def joining_and_leaving(stage: Stage) -> None:
    client = stage.client()
    room, other = stage.room("room"), stage.room("other")
    client.call("rooms")
    client.call("join", room, other)
    client.call("join", room)
    client.call("leave", room)
    client.call("leave", room)
    client.call("rooms of", client.sids["/"])
    client.call("join", 42)


@act
def who_hears_an_emit(stage: Stage) -> None:
    first = stage.client("A")
    room = stage.room("room")
    for client in (first, stage.client("B"), stage.client("C", transport="polling")):
        client.call("join", room)
    stage.client("D")
    for form in FORMS:
        first.call("say", form, room)
    stage.settle()


@act
def who_hears_an_emit_to_a_sid(stage: Stage) -> None:
    first, second = stage.client("A"), stage.client("B")
    for form in ("to", "not me", "outside"):
        first.call("say", form, second.sids["/"])
        first.call("say", form, first.sids["/"])
    first.call("say", "to", stage.room("empty"))
    first.call("say", "to", "nobody")
    stage.settle()


@act
def who_hears_a_broadcast(stage: Stage) -> None:
    first = stage.client("A")
    stage.client("B")
    stage.client("C", transport="polling")
    for form in ("broadcast", "broadcast not me", "outside all"):
        first.call("say", form, stage.room("all"))
    stage.settle()


@act
def emit_to_several_rooms_reaches_each_client_once(stage: Stage) -> None:
    first, second, third = stage.client("A"), stage.client("B"), stage.client("C")
    one, two = stage.room("one"), stage.room("two")
    first.call("join", one, two)
    second.call("join", two)
    third.call("join", stage.room("three"))
    first.call("say to both", [one, two])
    first.call("say to both", [stage.room("nobody"), one])
    stage.settle()


@act
def closing_a_room(stage: Stage) -> None:
    first, second = stage.client("A"), stage.client("B")
    for event in ("close room", "close room outside"):
        for client in (first, second):
            client.call("join", stage.room("room"))
        first.call(event, stage.room("room"))
        first.call("say", "to", stage.room("room"))
        second.call("rooms")
    stage.settle()


@act
def moving_another_client(stage: Stage) -> None:
    first, second = stage.client("A"), stage.client("B")
    first.call("join other", second.sids["/"], stage.room("room"))
    second.call("rooms")
    first.call("say", "to", stage.room("room"))
    first.call("leave other", second.sids["/"], stage.room("room"))
    second.call("rooms")
    first.call("say", "to", stage.room("room"))
    stage.settle()


@act
def misusing_rooms(stage: Stage) -> None:
    first, second = stage.client("A"), stage.client("B")
    first.call("misuse rooms", second.sids["/"])


@act
def rooms_belong_to_a_namespace(stage: Stage) -> None:
    first, second = stage.client("A"), stage.client("B")
    room = stage.room("room")
    for client in (first, second):
        client.connect("/other")
    first.call("join", room)
    second.call("join", room, namespace="/other")
    first.call("say", "to", room)
    first.call("say", "other namespace", room)
    first.call("say", "all of other namespace", room)
    first.call("say here", room, namespace="/other")
    first.call("rooms of", first.sids["/"])
    first.call("rooms of", first.sids["/other"], "/other")
    stage.settle()
    stage.settle(namespace="/other")


@act
def rooms_are_left_on_disconnect(stage: Stage) -> None:
    first, second = stage.client("A"), stage.client("B")
    room = stage.room("room")
    for client in (first, second):
        client.call("join", room)
    first.call("participants", room)
    second.abort()
    stage.wait("disconnect")
    stage.server.wait_journal("disconnect")
    first.call("rooms")


@act
def server_facade(stage: Stage) -> None:
    client = stage.client()
    client.call("facade", stage.room("room"))
    client.call("facade session", "value")
    stage.settle()


@act
def server_facade_over_polling(stage: Stage) -> None:
    stage.client(transport="polling").call("facade", stage.room("room"))


@act
def server_facade_disconnects(stage: Stage) -> None:
    first, second = stage.client("A"), stage.client("B")
    first.call("facade disconnect", second.sids["/"])
    second.read_until(lambda packet: packet.name == "DISCONNECT")
    stage.wait("disconnect")
