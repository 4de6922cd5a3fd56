"""What a server says of itself to ``flask socketio doctor``, which compares the servers of a cluster."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any

import flask

from ..cluster.topics import CORE

if TYPE_CHECKING:
    from flask import Flask

TOPIC = f"{CORE}doctor"


def answer(payload: Any, node: str) -> dict[str, Any]:
    """Answer another process's question on :data:`TOPIC`, in the application's context.

    :param payload: ``{"nonce": "..."}``, text that the asker has made up.
    """
    return {"secret_key": secret_key_proof(flask.current_app, str(payload["nonce"]))}


def secret_key_proof(app: Flask, nonce: str) -> str | None:
    """Return what two processes with one ``SECRET_KEY`` have in common; ``None`` without a key.

    It signs nothing: the key of the digest is derived, and the nonce is another each time. It tells who listens no more
    of the key than any session cookie does.
    """
    key = app.config.get("SECRET_KEY")
    if not key:
        return None
    derived = hmac.digest(key if isinstance(key, bytes) else str(key).encode(), TOPIC.encode(), "sha256")
    return hmac.digest(derived, nonce.encode(), "sha256").hex()
