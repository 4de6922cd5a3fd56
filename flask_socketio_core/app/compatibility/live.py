"""Mappings whose keys may go at any moment."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, Mapping, ValuesView
from typing import Any, TypeVar

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT", covariant=True)


class LiveMapping(Mapping[KeyT, ValueT]):
    """A mapping of clients, rooms or connections: one that leaves while it is looked at is left out."""

    def items(self) -> ItemsView[KeyT, ValueT]:
        """Return the pairs that are there when their turn comes."""
        return _Items(self)

    def values(self) -> ValuesView[ValueT]:
        """Return the values that are there when their turn comes."""
        return _Values(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and dict(self.items()) == dict(other.items())

    __hash__ = None  # type: ignore[assignment]  # like every mapping that changes

    def __repr__(self) -> str:
        return repr(dict(self.items()))


class _Items(ItemsView[Any, Any]):
    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        mapping: Mapping[Any, Any] = self._mapping  # type: ignore[attr-defined]  # of the base class
        for key in mapping:
            try:
                yield key, mapping[key]
            except KeyError:
                continue


class _Values(ValuesView[Any]):
    def __iter__(self) -> Iterator[Any]:
        mapping: Mapping[Any, Any] = self._mapping  # type: ignore[attr-defined]  # of the base class
        for _, value in _Items(mapping):
            yield value
