"""A self-signed certificate for loopback."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest


@functools.cache
def certificate() -> tuple[str, str]:
    """Return the files of a certificate and its key, made once per process; empty names if openssl is missing."""
    program = shutil.which("openssl")
    if program is None:
        return "", ""
    directory = Path(tempfile.mkdtemp(prefix="certificate-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    files = str(directory / "certificate.pem"), str(directory / "key.pem")
    command = [
        program,
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    subprocess.run([*command, "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
    return files


needs_openssl = pytest.mark.skipif(
    shutil.which("openssl") is None, reason="the program openssl is not installed"
)
