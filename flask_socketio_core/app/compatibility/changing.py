"""Options that change while an application is served."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import ConfigurationError

if TYPE_CHECKING:
    from ..interfaces import Served


def change(binding: Served, **options: Any) -> None:
    """Serve an application with other options from now on.

    :raises ConfigurationError: if it has clients, who know the old ones.
    """
    server = binding.server
    if server is not None and server.sessions:
        names = " and ".join(options)
        raise ConfigurationError(
            f"{names} cannot change any more: {len(server.sessions)} clients are connected to this process; set it "
            "before the first one comes, best as an argument of SocketIO() or init_app()"
        )
    if binding.started.is_set():
        binding.shutdown()
    binding.owner.init_app(binding.app, **options)
