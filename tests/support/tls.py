"""Certificates for loopback: a self-signed one, and one of an authority that was made for the tests."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

_KEY = ("-newkey", "rsa:2048", "-nodes")


@dataclass(frozen=True, slots=True)
class Authority:
    """The files of an authority and of a certificate for ``localhost`` and 127.0.0.1 that it has signed.

    :param stranger: certificate of another authority, which has signed nothing here.
    """

    authority: Path
    certificate: Path
    key: Path
    stranger: Path


@functools.cache
def certificate() -> tuple[str, str]:
    """Return the files of a certificate and its key, made once per process; empty names if openssl is missing."""
    if not has_openssl():
        return "", ""
    files = _directory() / "certificate.pem", _directory() / "key.pem"
    _self_signed("localhost", *files)
    return str(files[0]), str(files[1])


@functools.cache
def authority() -> Authority:
    """Make an authority and what it signs, once per process."""
    directory = _directory()
    found = Authority(
        *(directory / f"{name}.pem" for name in ("authority", "signed", "signed-key", "stranger"))
    )
    authority_key, request, names = (directory / name for name in ("authority-key.pem", "request", "names"))
    _self_signed("authority of the tests", found.authority, authority_key)
    _self_signed("another authority", found.stranger, directory / "stranger-key.pem")
    names.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    _openssl("req", *_KEY, "-subj", "/CN=localhost", "-keyout", found.key, "-out", request)
    signing = ("-CA", found.authority, "-CAkey", authority_key, "-CAcreateserial", "-days", "2")
    _openssl("x509", "-req", "-in", request, *signing, "-extfile", names, "-out", found.certificate)
    return found


def has_openssl() -> bool:
    """Say whether certificates can be made here."""
    return shutil.which("openssl") is not None


needs_openssl = pytest.mark.skipif(not has_openssl(), reason="the program openssl is not installed")


@functools.cache
def _directory() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="certificate-"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    return directory


def _self_signed(name: str, certificate: Path, key: Path) -> None:
    _openssl("req", "-x509", *_KEY, "-days", "2", "-subj", f"/CN={name}", "-out", certificate, "-keyout", key)


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)
