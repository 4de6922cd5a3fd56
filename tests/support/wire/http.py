"""HTTP without a session: one request, one connection, nothing kept open, so that descriptors can be counted."""

from __future__ import annotations

import http.client
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

HttpError = http.client.HTTPException

HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Response:
    """An HTTP response, read to its end.

    :param headers: names in lower case; of a repeated one, the last.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def text(self) -> str:
        """Return the body as text."""
        return self.body.decode()


def request(
    port: int,
    method: str,
    target: str,
    *,
    body: str | bytes = b"",
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 5.0,
) -> Response:
    """Send one request to loopback and read the response.

    :raises OSError: when the server cannot be reached or goes away.
    :raises HttpError: when it answers something that is not HTTP.
    """
    connection = http.client.HTTPConnection(HOST, port, timeout=timeout_s)
    payload = body.encode() if isinstance(body, str) else body
    try:
        connection.request(method, target, payload or None, {"Connection": "close", **(headers or {})})
        response = connection.getresponse()
        fields = {name.lower(): value for name, value in response.getheaders()}
        return Response(response.status, fields, response.read())
    finally:
        connection.close()
