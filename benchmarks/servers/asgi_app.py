"""python-socketio's AsyncServer on uvicorn under the same load: ``asgi_app.py PORT``."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import socketio
import uvicorn

sio = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins="*")


@sio.event
async def echo(sid: str, data: Any) -> Any:
    return data


@sio.event
async def blast(sid: str, count: int, size: int) -> None:
    text = "the quick brown fox jumps".ljust(size)
    for seq in range(count):
        await sio.emit("tick", {"seq": seq, "text": text})
        await asyncio.sleep(0)


async def empty(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    uvicorn.run(
        socketio.ASGIApp(sio, empty),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        log_level="warning",
        lifespan="off",
    )
