"""What this plugin registers. Loaded in every process that has it installed, so it imports nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_socketio_core.contracts import StoreInfo
from flask_socketio_core.hookspecs import hookimpl

if TYPE_CHECKING:
    from flask_socketio_core.contracts import Store


def load() -> type[Store]:
    from .store import DrawerStore

    return DrawerStore


@hookimpl
def socketio_stores() -> StoreInfo:
    return StoreInfo(name="drawer", schemes=("drawer",), load=load, summary="in a file, for one host")
