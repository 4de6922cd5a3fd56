"""Whatever a server holds more of at the end is named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from .state import MORE_BLOCKS, MORE_MALLOC_BYTES, MORE_RESIDENT_BYTES, NOTHING_OF, WORKERS, State, growth


def state(more: Mapping[str, int] | None = None, objects: Mapping[str, int] | None = None) -> State:
    held: dict[str, Any] = dict.fromkeys(NOTHING_OF, 0)
    held.update(threads=7, descriptors=11, blocks=300_000, malloc_bytes=10**7, resident_bytes=7 * 10**7)
    return State({**held, **(more or {})}, {"Session": 0, "_Worker": 4, **(objects or {})})


def test_the_same_is_no_growth() -> None:
    assert growth(state(), state()) == []


@pytest.mark.parametrize("name", NOTHING_OF)
def test_what_only_clients_need_is_named(name: str) -> None:
    assert growth(state(), state({name: 3})) == [f"{name}: 3"]


@pytest.mark.parametrize(
    ("name", "start", "allowed"),
    [
        ("threads", 7, WORKERS),
        ("descriptors", 11, 2),
        ("blocks", 300_000, MORE_BLOCKS),
        ("malloc_bytes", 10**7, MORE_MALLOC_BYTES),
        ("resident_bytes", 7 * 10**7, MORE_RESIDENT_BYTES),
    ],
)
def test_more_than_is_allowed_is_named(name: str, start: int, allowed: int) -> None:
    assert growth(state(), state({name: start + allowed})) == []
    assert growth(state(), state({name: start + allowed + 1})) == [
        f"{name}: {start + allowed + 1} after {start}"
    ]


def test_an_object_of_a_client_is_named() -> None:
    assert growth(state(), state(objects={"Session": 1, "_Worker": 50})) == ["Session: 1 after 0"]
