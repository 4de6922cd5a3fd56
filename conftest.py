"""Fixtures for all tests, the core's and the plugins'."""

from __future__ import annotations

import signal

from hypothesis import settings

pytest_plugins = ["support.brokers"]

# How long one example takes says more about the machine than about the code.
settings.register_profile("unhurried", settings(deadline=None))
settings.load_profile("unhurried")

# A shell lets its background jobs ignore Ctrl-C, and what a job ignores its children ignore: no server that a test
# starts would ever notice it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
