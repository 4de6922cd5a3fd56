"""Werkzeug's reloader around a server of any mode."""

from __future__ import annotations

import _thread
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..async_mode import ServeOptions

__all__ = ["run_with_reloader"]


def run_with_reloader(
    serve: Callable[[], None],
    options: ServeOptions,
    interrupt: Callable[[], object] = _thread.interrupt_main,
) -> None:
    """Serve in another thread and start the process again when a file changes; return when serving has ended.

    The reloader handles SIGTERM and SIGINT itself.

    :param interrupt: raises ``KeyboardInterrupt`` in the caller's thread or greenlet.
    """
    from werkzeug._reloader import run_with_reloader as watch_files

    def run() -> None:
        serve()
        interrupt()  # it was stopped: the main thread would watch files for ever

    watch_files(run, **options.reloader_options)
