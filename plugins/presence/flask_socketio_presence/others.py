"""What is known of another server's part, and how its pages and differences become one. Pure.

While a part is asked for, the differences that come are kept. The pages are applied one by one, in their order, and
with the last one the differences: of each connection the newest, if it is newer than the page which that is on.
If a difference was lost meanwhile, all pages are read once more. Until then the part has what is known, and no version.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field

from .parts import Entry, Key, Told


class Pages:
    """The pages of a part that were read, one after the other.

    :param known: connections that were known before.
    """

    def __init__(self, known: Iterable[Key] = ()) -> None:
        self._known = sorted(known)
        self._ends: list[Key] = []
        self._versions: list[int] = []

    @property
    def after(self) -> Key | None:
        """Key behind which the next page begins."""
        return self._ends[-1] if self._ends else None

    @property
    def versions(self) -> list[int]:
        """Those of the pages: neither the first nor the last one's has to be that of a difference that was heard."""
        return self._versions

    def take(self, page: Told) -> bool:
        """Take the next page, and add what has gone to what it says.

        :returns: whether it is that; if not, nothing has changed.
        """
        after = self.after
        keys = sorted(page.joined)
        if (page.more and not keys) or (keys and after is not None and keys[0] <= after):
            return False
        start = 0 if after is None else bisect_right(self._known, after)
        end = bisect_right(self._known, keys[-1]) if page.more else len(self._known)
        page.left = [key for key in self._known[start:end] if key not in page.joined]
        self._versions.append(page.version)
        if page.more:
            self._ends.append(keys[-1])
        return True

    def newer(self, told: Told) -> Told:
        """Return of a difference what the pages did not have yet."""
        if not self._versions or told.version > self._versions[-1]:
            return told
        joined = {key: entry for key, entry in told.joined.items() if told.version > self.version_of(key)}
        left = [key for key in told.left if told.version > self.version_of(key)]
        return Told(told.version, joined, left)

    def version_of(self, key: Key) -> int:
        """Return the version of the page that a connection is on, or would be."""
        return self._versions[bisect_left(self._ends, key)]


@dataclass(slots=True)
class Part:
    """What is known of another server's clients.

    :param version: that of the last difference which is in it; -1 until all pages were read once.
    :param heard: version of the newest difference that was heard.
    :param asking: whether it is being asked for.
    :param again: whether something may have been missed since that began.
    """

    version: int = -1
    heard: int = 0
    asking: bool = False
    again: bool = False
    keys: set[Key] = field(default_factory=set)
    _pages: Pages = field(default_factory=Pages)
    _kept: dict[Key, tuple[int, Entry | None]] = field(default_factory=dict)
    _kept_from: int = 0  # from here on none is missing
    _kept_to: int = 0

    def hear(self, told: Told) -> Told | None:
        """Take a difference.

        :returns: what is to be applied now.
        """
        self.heard = max(self.heard, told.version)
        if self.asking:
            self._keep(told)
        elif told.version == self.version + 1:
            self.version = told.version
            return self._pages.newer(told)
        return None

    @property
    def misses(self) -> bool:
        """Whether it has to be asked for."""
        return not self.asking and self.heard > self.version

    def _keep(self, told: Told) -> None:
        if told.version != self._kept_to + 1:
            self._kept_from = told.version
        self._kept_to = told.version
        for key in told.left:
            self._kept[key] = told.version, None
        for key, entry in told.joined.items():
            self._kept[key] = told.version, entry

    def finish(self, pages: Pages) -> Told | None:
        """Have all pages; ``None`` if a difference was lost meanwhile, so that they have to be asked for once more.

        :returns: what has changed since.
        """
        first = pages.versions[0]
        follows = self._kept_from <= first + 1 and self._kept_to == self.heard
        if self.again or (self.heard > first and not follows):
            return None
        since = Told(max(first, self.heard), {})
        for key, (version, entry) in self._kept.items():
            if version <= pages.version_of(key):
                continue
            if entry is None:
                since.left.append(key)
            else:
                since.joined[key] = entry
        self._kept, self._kept_from, self._kept_to = {}, 0, 0
        self._pages, self.version, self.asking = pages, since.version, False
        return since
