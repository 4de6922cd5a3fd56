"""Draw the medians of a result as bars: ``python benchmarks/plot.py results/NAME.json`` writes ``NAME.svg``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from xml.sax.saxutils import escape

PANELS = {
    "broadcast_us": "CPU per broadcast delivery, us",
    "event_us": "CPU per acknowledged event, us",
    "connect_us": "CPU per connection accepted, us",
    "kb_per_client": "memory per idle connection, kB",
}
BAR, GAP, LABEL, WIDTH = 18, 6, 210, 720
COLOURS = {"ours": "#1f77b4", "node": "#2ca02c", "floor": "#7f7f7f"}


def draw(medians: dict[str, dict[str, float]]) -> str:
    """Return an SVG with one panel per figure, one bar per server."""
    parts: list[str] = []
    top = 10
    for column, title in PANELS.items():
        bars = {name: figures[column] for name, figures in medians.items() if column in figures}
        if bars:
            parts.append(_panel(title, bars, top))
            top += 40 + len(bars) * (BAR + GAP)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>' + "".join(parts) + "</svg>\n"
    )


def _panel(title: str, bars: dict[str, float], top: int) -> str:
    longest = max(bars.values()) or 1
    lines = [f'<text x="8" y="{top + 14}" font-weight="bold">{escape(title)}</text>']
    for index, (name, value) in enumerate(sorted(bars.items(), key=lambda bar: bar[1])):
        y = top + 24 + index * (BAR + GAP)
        colour = COLOURS.get(name.split("-")[0], "#c7c7c7")
        width = max(value / longest * (WIDTH - LABEL - 80), 1)
        lines.append(f'<text x="{LABEL - 6}" y="{y + 13}" text-anchor="end">{escape(name)}</text>')
        lines.append(f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>')
        lines.append(f'<text x="{LABEL + width + 5:.1f}" y="{y + 13}">{value:.4g}</text>')
    return "".join(lines)


def main() -> None:
    """Draw the results named on the command line."""
    for name in sys.argv[1:]:
        path = Path(name)
        path.with_suffix(".svg").write_text(draw(json.loads(path.read_text())["medians"]))


if __name__ == "__main__":
    main()
