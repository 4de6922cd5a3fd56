"""Fixtures for all tests, the core's and the plugins'."""

from __future__ import annotations

pytest_plugins = ["support.brokers"]
