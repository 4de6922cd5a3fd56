"""What all web servers are told alike: options, TLS, and why an address cannot be had."""

from __future__ import annotations

import errno
import ssl
from typing import Any

import pytest

from flask_socketio_core.contracts import ServeOptions
from flask_socketio_core.contracts.concurrency.servers import (
    TLS_OPTIONS,
    explain_bind_error,
    is_gunicorn,
    make_tls_context,
    name_server,
    split_options,
    warn_of_single_requests,
)
from support.tls import certificate, needs_openssl


@pytest.mark.parametrize(
    ("environ", "name"),
    [
        ({"uwsgi.version": b"2.0"}, "uWSGI"),
        ({"SERVER_SOFTWARE": "gunicorn/27.0.0"}, "gunicorn/27.0.0"),
        ({"SERVER_SOFTWARE": "Werkzeug/3.1.9", "werkzeug.socket": None}, "Werkzeug/3.1.9"),
        ({"eventlet.input": None, "wsgi.input": None}, "the server of eventlet"),
        ({"asgi.scope": {}, "wsgi.multithread": True}, "an ASGI server"),
        ({"wsgi.input": None, "wsgi.multithread": True}, "a web server without a name"),
        (
            {"wsgi.input": None, "wsgi.multithread": False, "wsgi.multiprocess": True},
            "a web server without a name",
        ),
        ({"REMOTE_ADDR": "127.0.0.1", "wsgi.input": None}, None),
        ({"wsgi.input": None, "wsgi.multithread": False, "wsgi.multiprocess": False}, None),
    ],
)
def test_a_server_is_named_by_its_environ(environ: dict[str, Any], name: str | None) -> None:
    assert name_server(environ) == name


@pytest.mark.parametrize(
    ("environ", "warned"),
    [
        ({"SERVER_SOFTWARE": "gunicorn/27.0.0", "wsgi.multithread": False}, True),
        ({"wsgi.multithread": False, "wsgi.multiprocess": True}, True),  # bjoern
        ({"SERVER_SOFTWARE": "gunicorn/27.0.0", "wsgi.multithread": True}, False),
        ({"wsgi.multithread": False, "wsgi.multiprocess": False}, False),  # a test client
    ],
)
def test_a_server_that_serves_one_request_at_a_time_is_told_what_that_costs(
    environ: dict[str, Any], warned: bool, caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_single_requests(environ)
    assert ("serves one request at a time" in caplog.text) == warned


def test_gunicorn_is_known_with_every_worker() -> None:
    assert is_gunicorn({"SERVER_SOFTWARE": "gevent/26.9 gunicorn/27.0.0"})
    assert is_gunicorn({"gunicorn.socket": None})
    assert not is_gunicorn({"SERVER_SOFTWARE": "Werkzeug/3.1.9"})


def test_options_of_the_server_and_of_tls_are_told_apart() -> None:
    given, context = split_options(ServeOptions(server={"backlog": 5, "log": None}), ("backlog", "log"), "it")
    assert given == {"backlog": 5}
    assert context is None


def test_an_unknown_option_is_refused_with_what_there_is() -> None:
    with pytest.raises(TypeError, match=r"'backlogg'; that server takes backlog and, for TLS, .*certfile"):
        split_options(ServeOptions(server={"backlogg": 5}), ("backlog",), "that server")


@needs_openssl
@pytest.mark.parametrize("form", ["names", "pair", "context"])
def test_a_certificate_is_taken_in_every_form(form: str) -> None:
    certfile, keyfile = certificate()
    forms: dict[str, dict[str, Any]] = {
        "names": {"certfile": certfile, "keyfile": keyfile},
        "pair": {"ssl_context": (certfile, keyfile)},
        "context": {"ssl_context": ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)},
    }
    assert isinstance(make_tls_context(forms[form]), ssl.SSLContext)


@needs_openssl
def test_every_option_of_tls_is_taken() -> None:
    certfile, keyfile = certificate()
    given: dict[str, Any] = {
        "certfile": certfile,
        "keyfile": keyfile,
        "password": "of no use to a key that is not encrypted",
        "ca_certs": certfile,
        "cert_reqs": ssl.CERT_REQUIRED,
        "ciphers": "ECDHE-RSA-AES256-GCM-SHA384",
        "ssl_version": ssl.PROTOCOL_TLS_SERVER,
    }
    assert {*given, "ssl_context"} == set(TLS_OPTIONS)
    _, context = split_options(ServeOptions(tls=given), (), "it")
    assert context.get_ca_certs()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert given["ciphers"] in [cipher["name"] for cipher in context.get_ciphers()]
    assert len(context.get_ciphers()) < len(
        make_tls_context({"certfile": certfile, "keyfile": keyfile}).get_ciphers()
    )


def test_a_key_alone_is_not_enough() -> None:
    with pytest.raises(TypeError, match="need certfile= or ssl_context="):
        make_tls_context({"keyfile": "key.pem"})


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (errno.EADDRINUSE, "port 80 of 127.0.0.1 is in use by another program"),
        (errno.EACCES, "choose one from 1024 on"),
        (errno.EADDRNOTAVAIL, "127.0.0.1 is no address of this machine"),
    ],
)
def test_an_address_that_cannot_be_had_is_explained(number: int, text: str) -> None:
    error = explain_bind_error(OSError(number, "cryptic"), "127.0.0.1", 80)
    assert error.errno == number
    assert text in str(error)
