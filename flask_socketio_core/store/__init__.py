"""What is kept for a while; see README.md in this folder."""

from __future__ import annotations
