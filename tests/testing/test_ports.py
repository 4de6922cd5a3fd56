"""``free_port()``: two processes that look for ports at the same time get different ones, and servers can use them."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from flask_socketio_core.testing.ports import free_port

ANOTHER_PROCESS = """
import sys
from flask_socketio_core.testing.ports import free_port
try:
    free_port(int(sys.argv[1]))
except OSError:
    print("taken")
"""


def test_a_port_is_given_to_nobody_else() -> None:
    port = free_port()
    with pytest.raises(OSError, match="in use"):
        free_port(port)
    command = [sys.executable, "-c", ANOTHER_PROCESS, str(port)]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "taken\n"


def test_nobody_answers_before_the_server_that_it_is_for() -> None:
    port = free_port()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    # It sets SO_REUSEADDR, as servers do.
    with socket.create_server(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)):
        with pytest.raises(OSError, match="in use"):
            free_port(port)
