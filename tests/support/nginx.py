"""nginx with the configuration of the deployment page, in a folder of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.documents import page
from support.servers import HOST

if TYPE_CHECKING:
    from pathlib import Path

NAME = "nginx"
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def site(listen: str, server_port: int, **changes: str) -> str:
    """Return the page's configuration for one server.

    :param listen: what follows the word ``listen``, and further directives.
    :param changes: other values of directives that it has.
    """
    text = page("docs/deployment.md").block("nginx.conf")
    spelled = [
        ("    server 127.0.0.1:5002;\n", ""),
        ("127.0.0.1:5001", f"{HOST}:{server_port}"),
        ("listen 8080;", f"listen {HOST}:{listen};"),
    ]
    for directive, value in changes.items():
        (old,) = [line.strip() for line in text.splitlines() if line.split()[:1] == [directive]]
        spelled.append((old, f"{directive} {value};"))
    for old, new in spelled:
        assert old in text
        text = text.replace(old, new)
    return text


def command(folder: Path, sites: str) -> list[str]:
    """Write the whole configuration and return the command that serves by it, in the foreground."""
    config = folder / "nginx.conf"
    temporary = "".join(f"{name}_temp_path {folder}/{name};" for name in TEMPORARY)
    config.write_text(
        f"daemon off; pid {folder}/pid; error_log {folder}/error.log; events {{ }}\n"
        f"http {{ access_log off; {temporary}\n{sites} }}"
    )
    return [NAME, "-p", str(folder), "-c", str(config)]
