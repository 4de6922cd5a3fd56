"""Fixtures for all tests, the core's and the plugins'."""

from __future__ import annotations

from hypothesis import settings

pytest_plugins = ["support.brokers"]

# How long one example takes says more about the machine than about the code.
settings.register_profile("unhurried", settings(deadline=None))
settings.load_profile("unhurried")
