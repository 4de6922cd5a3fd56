"""The documentation as tests see it: pages, their code blocks and their links.

A code block that has a file's name behind its language, such as ``python app.py``, is that file: tests write it to a
folder and run it. Later blocks of one name replace earlier ones, as a reader would edit the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
#: Where pages for readers are, in order.
PLACES = (
    "*.md",
    "docs/**/*.md",
    "plugins/*/README.md",
    "examples/README.md",
    "benchmarks/README.md",
    "changes/README.md",
)
FENCE = re.compile(
    r"^(?P<indent> *)```(?P<info>[^\n`]*)\n(?P<text>.*?)^(?P=indent)```$", re.DOTALL | re.MULTILINE
)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\((?P<target>[^)\s]+)\)")
HEADING = re.compile(r"^#+ (?P<text>.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced code block.

    :param name: the file that it is, or ``""``.
    :param line: where it begins on the page.
    """

    language: str
    name: str
    text: str
    line: int


@dataclass(frozen=True, slots=True)
class Page:
    """One Markdown page."""

    path: Path

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    def blocks(self, language: str | None = None) -> list[Block]:
        """Return the code blocks, of one language or all."""
        return [block for block in self._blocks() if language in (None, block.language)]

    def versions(self, name: str) -> list[str]:
        """Return the texts of all blocks that are a file of this name."""
        found = [block.text for block in self._blocks() if block.name == name]
        assert found, f"{self.name} has no code block for {name}"
        return found

    def block(self, name: str) -> str:
        """Return the text of the last block that is a file of this name."""
        return self.versions(name)[-1]

    def write(self, folder: Path, *names: str) -> None:
        """Write the files of these names, the page's last word on each."""
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.block(name), encoding="utf-8")

    def links(self) -> list[str]:
        """Return what the page links to within this repository, code blocks left out."""
        targets = [found["target"] for found in LINK.finditer(FENCE.sub("", self.text))]
        return [target for target in targets if "://" not in target and not target.startswith("mailto:")]

    def anchors(self) -> set[str]:
        """Return the anchors of the page's headings, as code hosts make them."""
        plain = FENCE.sub("", self.text)
        return {anchor_of(found["text"]) for found in HEADING.finditer(plain)}

    def _blocks(self) -> Iterator[Block]:
        text = self.text
        for found in FENCE.finditer(text):
            language, _, name = found["info"].strip().partition(" ")
            indent = len(found["indent"])
            lines = [line[indent:] if line.strip() else line for line in found["text"].splitlines(True)]
            yield Block(language, name.strip(), "".join(lines), text.count("\n", 0, found.start()) + 1)


def anchor_of(heading: str) -> str:
    """Return the anchor of a heading: lower case, punctuation gone, hyphens for spaces."""
    plain = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.strip().lower()))
    return plain.replace(" ", "-")


def page(name: str) -> Page:
    """Return a page by its path from the root of the repository."""
    return Page(ROOT / name)


def pages() -> list[Page]:
    """Return every page for readers."""
    return [Page(path) for place in PLACES for path in sorted(ROOT.glob(place))]
