"""Text tables that fit a terminal."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterable, Sequence

#: Columns of a line, at most.
WIDTH = 100
#: In a terminal that has fewer.
LEAST_WIDTH = 80
GAP = "  "
#: Columns that a cell keeps in any case.
NARROWEST = 12


def terminal_width() -> int:
    """Return the columns of the terminal; where there is none, those of a line."""
    return max(shutil.get_terminal_size((WIDTH, 24)).columns, LEAST_WIDTH)


def table(
    rows: Sequence[Sequence[str]], *, flexible: Sequence[int] = (-1,), indent: str = "", width: int = WIDTH
) -> list[str]:
    """Return rows as aligned lines; a cell that is too long goes on below itself.

    :param rows: cells of equal number.
    :param flexible: the columns that give way when a line is too long.
    :param width: columns of a line, at most.
    """
    widths = _widths(rows, flexible, width - len(indent))
    lines = []
    for row in rows:
        cells = [_wrap(cell, room) for cell, room in zip(row, widths, strict=True)]
        for number in range(max(map(len, cells))):
            parts = [cell[number] if number < len(cell) else "" for cell in cells]
            padded = (part.ljust(room) for part, room in zip(parts, widths, strict=True))
            lines.append((indent + GAP.join(padded)).rstrip())
    return lines


def _widths(rows: Sequence[Sequence[str]], flexible: Sequence[int], width: int) -> list[int]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    excess = sum(widths) + len(GAP) * (len(widths) - 1) - width
    for _ in range(excess):
        widest = max(flexible, key=lambda number: widths[number])
        widths[widest] = max(widths[widest] - 1, NARROWEST)
    return widths


def _wrap(cell: str, room: int) -> list[str]:
    return textwrap.wrap(cell, room, break_on_hyphens=False) or [""]


def paragraph(text: str, *, indent: str = "", width: int = WIDTH) -> list[str]:
    """Return text as lines, each of its own lines wrapped, further lines indented."""
    lines: Iterable[list[str]] = (
        textwrap.wrap(
            line, width, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False
        )
        for line in text.splitlines()
    )
    return [line for wrapped in lines for line in wrapped]
