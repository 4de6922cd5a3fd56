from __future__ import annotations

from support.environments import fresh_environment, package_index, wheels

__all__ = ["fresh_environment", "package_index", "wheels"]
