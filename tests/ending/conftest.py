"""Servers that are ended by the tests, each of its own."""

from __future__ import annotations

from support.fixtures import leave_nothing_open

__all__ = ["leave_nothing_open"]
