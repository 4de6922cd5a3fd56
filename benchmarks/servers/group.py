"""Start what belongs to one server as children of this process, which ends with them.

``group.py [--redis PORT] [--sticky PORT WORKERS] -- COMMAND ...``. With ``--sticky`` the command is started so many
times, ``{port}`` in it and in its environment replaced, behind nginx, which chooses one of them by a hash of the
client's ``Sec-WebSocket-Key``: what an address would be where clients have different ones.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from flask_socketio_core.testing.ports import free_port

NGINX = """
daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log; user {user};
events {{ worker_connections 19000; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  upstream servers {{ hash $http_sec_websocket_key; {servers} }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{
      proxy_pass http://servers;
      proxy_http_version 1.1;
      proxy_buffering off;
      proxy_read_timeout 300s;
      proxy_set_header Host $host;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "Upgrade";
    }}
  }}
}}
"""


def wait_for(port: int) -> None:
    for _ in range(600):
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--redis", type=int)
    parser.add_argument("--sticky", type=int, nargs=2, metavar=("PORT", "WORKERS"))
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    children: list[subprocess.Popen[bytes]] = []
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))

    def start(words: list[str], env: dict[str, str] | None = None) -> None:
        children.append(subprocess.Popen(words, env=env))

    try:
        if args.redis:
            start(["redis-server", "--port", str(args.redis), "--save", "", "--dir", str(folder)])
            wait_for(args.redis)
        if args.sticky is None:
            start(args.command)
        else:
            port, workers = args.sticky
            ports = [free_port() for _ in range(workers)]
            for own in ports:
                words = [word.replace("{own}", str(own)) for word in args.command]
                start(words, {**os.environ, "APP_PORT": str(own)})
            for own in ports:
                wait_for(own)
            servers = " ".join(f"server 127.0.0.1:{own};" for own in ports)
            config = folder / "nginx.conf"
            user = "root" if os.geteuid() == 0 else "nobody"
            config.write_text(NGINX.format(folder=folder, servers=servers, port=port, user=user))
            start(["nginx", "-p", str(folder), "-c", str(config)])
        children[-1].wait()
    finally:
        for child in reversed(children):
            child.terminate()
        for child in children:
            child.wait(20)


if __name__ == "__main__":
    main()
