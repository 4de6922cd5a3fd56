"""Servers whose handlers fail, or that stand still."""

from __future__ import annotations

from support.fixtures import leave_nothing_open

__all__ = ["leave_nothing_open"]
