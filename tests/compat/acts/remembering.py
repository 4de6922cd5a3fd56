"""Sessions."""

from __future__ import annotations

from compat.stage import Stage, act
from support.servers import Server


def _cookie(server: Server, query: str) -> dict[str, str]:
    """Visit a view that fills the session, and return the headers that carry it on."""
    answer = server.get(f"/session/set?{query}")
    return {"Cookie": answer.headers["set-cookie"].split(";")[0]}


@act
def managed_session_is_forked_from_the_http_session(stage: Stage) -> None:
    headers = _cookie(stage.server, "user=ann")
    client = stage.client(headers=headers)
    client.call("session get", "user", "missing")
    client.call("session set", "user", "bob")
    client.call("session set", "more", [1, {"any": "object"}])
    client.call("session get", "user", "more")
    client.call("session pop", "more")
    client.call("session get", "user", "more")
    client.call("session kind")
    stage.note(stage.server.get("/session", headers=headers).text.strip())


@act
def managed_session_belongs_to_one_connection(stage: Stage) -> None:
    headers = _cookie(stage.server, "user=ann")
    first, second = stage.client("A", headers=headers), stage.client("B", headers=headers)
    first.call("session set", "user", "changed by A")
    second.call("session get", "user")


@act
def managed_session_is_shared_by_the_namespaces_of_a_connection(stage: Stage) -> None:
    client = stage.client()
    client.call("session set", "key", "from the default namespace")
    client.connect("/session")
    client.call("session get", "key", "visits", namespace="/session")
    client.call("session get", "visits")
    client.disconnect("/session")
    stage.wait("session at disconnect")


@act(variant="flask sessions")
def cookie_session_is_frozen_at_connection_time(stage: Stage) -> None:
    headers = _cookie(stage.server, "user=ann")
    client = stage.client(headers=headers)
    client.call("session get", "user")
    client.call("session set", "user", "bob")
    client.call("session get", "user")
    client.call("session kind")


@act(variant="server-side sessions")
def server_side_session_is_shared_with_http(stage: Stage) -> None:
    headers = {"Cookie": f"key={stage.tag}"}
    stage.server.get("/session/set?user=ann", headers=headers)
    client = stage.client(headers=headers)
    client.call("session get", "user")
    client.call("session set", "user", "bob")
    stage.note(stage.server.get("/session", headers=headers).text.strip())
    stage.server.get("/session/set?user=carl", headers=headers)
    client.call("session get", "user")
