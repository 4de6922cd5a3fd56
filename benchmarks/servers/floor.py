"""The floor: a bare loop over raw WebSockets, no protocol, no framework. ``floor.py PORT``

It answers the load generator just well enough to be measured by it: what a delivery costs when Python does nothing but
call ``send``, and an acknowledged event when it does nothing but wait, read, unmask, parse, encode and send.
"""

from __future__ import annotations

import base64
import hashlib
import json
import select
import socket
import sys

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
OPEN = b'0{"sid":"floor","upgrades":[],"pingInterval":25000,"pingTimeout":20000,"maxPayload":1000000}'


def frame(text: bytes) -> bytes:
    size = len(text)
    return (bytes((0x81, size)) if size < 126 else b"\x81\x7e" + size.to_bytes(2, "big")) + text


def unmask(data: bytes) -> bytes:
    size = data[1] & 127
    mask = int.from_bytes((data[2:6] * 32)[:size], "little")
    return (int.from_bytes(data[6 : 6 + size], "little") ^ mask).to_bytes(size, "little")


def accept(server: socket.socket) -> socket.socket | None:
    sock, _ = server.accept()
    head = b""
    while b"\r\n\r\n" not in head:
        data = sock.recv(65_536)
        if not data:  # whoever waits for the port to listen
            sock.close()
            return None
        head += data
    key = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key")).split(
        b": "
    )[1]
    answer = base64.b64encode(hashlib.sha1(key + MAGIC).digest())
    sock.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + answer + b"\r\n\r\n" + frame(OPEN)
    )
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def serve(port: int) -> None:
    server = socket.create_server(("127.0.0.1", port), backlog=1024)
    poll = select.epoll()
    poll.register(server.fileno(), select.EPOLLIN)
    clients: dict[int, socket.socket] = {}
    while True:
        for fd, _ in poll.poll():
            if fd == server.fileno():
                sock = accept(server)
                if sock is not None:
                    clients[sock.fileno()] = sock
                    poll.register(sock.fileno(), select.EPOLLIN)
                continue
            data = clients[fd].recv(65_536)
            if not data:
                poll.unregister(fd)
                clients.pop(fd).close()
                continue
            text = unmask(data)
            if text.startswith(b"421["):
                clients[fd].send(frame(b"431" + json.dumps(json.loads(text[3:])[1:]).encode()))
            elif text == b"40":
                clients[fd].send(frame(b'40{"sid":"floor"}'))
            elif text.startswith(b'42["blast",'):
                for seq in range(json.loads(text[2:])[1]):
                    payload = frame(
                        b'42["tick",%s]'
                        % json.dumps({"seq": seq, "text": "the quick brown fox jumps"}).encode()
                    )
                    for sock in clients.values():
                        sock.send(payload)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
