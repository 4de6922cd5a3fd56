"""Draw the pictures of ``docs/architecture.md``: the rows of modules, an event's way and an emission's way.

A step of a way names the file that takes it, and a file that is not there is an error, so that no picture outlives the
code. ``--check`` writes nothing and ends with status 1 if a picture is not current.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "docs" / "diagrams"
CORE = "flask_socketio_core"
#: Pixels of a character, of a box and between boxes.
TEXT, WIDTH, HEIGHT, GAP = 7.3, 340, 50, 34
#: Pixels of a row of modules, and how wide it may get.
ROW, ROW_WIDTH = 30, 760
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1b1f24 }
  .where { font: 12px ui-monospace, monospace; fill: #57606a }
  .box { fill: #f6f8fa; stroke: #8c959f }
  .folder { fill: #ddf4ff; stroke: #54aeff }
  .outside { fill: none; stroke: #8c959f; stroke-dasharray: 5 4 }
  .arrow { stroke: #8c959f; stroke-width: 1.5; fill: none; marker-end: url(#head) }
  #head path { fill: #8c959f }
  .note { fill: #8c959f }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .where, .note { fill: #9198a1 }
    .box { fill: #21262d } .folder { fill: #0c2d6b }
  }"""
HEAD = (
    '<marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0 0 8 4 0 8z"/></marker>'
)


class CannotDraw(Exception):
    """A picture speaks of what is not there; the text says where."""


@dataclass(frozen=True, slots=True)
class Step:
    """One box of a way.

    :param where: the file that does it, or ``""`` for what is outside of the process.
    :param place: column and row.
    :param after: the numbers of the steps that lead here, counted from 0.
    """

    what: str
    where: str
    place: tuple[int, int]
    after: tuple[int, ...] = ()


EVENT = (
    Step("the client sends an event", "", (0, 0)),
    Step("bytes are read, or a request's body", "transport/detached.py  blocking.py  http.py", (0, 1), (0,)),
    Step(
        "messages are made of frames or a payload",
        "websocket_protocol/frames.py  transport/payload.py",
        (0, 2),
        (1,),
    ),
    Step("an Engine.IO packet, with a clock", "transport/session.py", (0, 3), (2,)),
    Step("an event with its arguments, for a client", "server/connection.py  packets.py", (0, 4), (3,)),
    Step("a job in a worker, or in a mailbox first", "server/jobs.py  workers.py  mailbox.py", (1, 4), (4,)),
    Step("which handler", "app/dispatch.py  handlers.py", (1, 3), (5,)),
    Step("in which Flask context", "app/request_context.py  light_context.py", (1, 2), (6,)),
    Step("your handler; observers before and after", "app/around.py", (1, 1), (7,)),
    Step("what it returns is acknowledged", "server/jobs.py  transport/session.py", (1, 0), (8,)),
)
EMISSION = (
    Step("emit() in a handler, socketio.emit() anywhere", "app/context.py  sending.py", (0, 0)),
    Step("what was written becomes an emission", "app/addressing.py  binding.py", (0, 1), (0,)),
    Step("the clients of the rooms, each once", "server/server.py  rooms.py", (0, 2), (1,)),
    Step("encoded once for all of them", "server/packets.py", (0, 3), (2,)),
    Step("written to each; what it does not take waits", "transport/session.py  outbox.py", (0, 4), (3,)),
    Step("the clients of this process", "", (0, 5), (4,)),
    Step("with a message queue: encoded as a message", "cluster/cluster.py  envelope.py", (1, 1), (1,)),
    Step("numbered; sent at once, or kept for a while", "cluster/link.py  outbox.py", (1, 2), (6,)),
    Step("the broker", "", (1, 3), (7,)),
    Step(
        "in another process: heard, repetitions dropped",
        "cluster/listener.py  link.py  peers.py",
        (1, 4),
        (8,),
    ),
    Step("emitted there to its own clients, as from 3 on", "cluster/cluster.py", (1, 5), (9,)),
)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--check", action="store_true", help="write nothing, fail if a picture is not current"
    )
    check = parser.parse_args(argv).check
    stale = [name for name, picture in pictures().items() if picture != drawn(name)]
    for name in stale:
        if not check:
            (FOLDER / name).write_text(pictures()[name], encoding="utf-8")
        sys.stdout.write(
            f"docs/diagrams/{name}: {'is not current, run tools/diagrams.py' if check else 'written'}\n"
        )
    return int(check and bool(stale))


def drawn(name: str) -> str:
    """Return a picture as it is committed."""
    path = FOLDER / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


def pictures() -> dict[str, str]:
    """Return every picture by its file's name.

    :raises CannotDraw: if one names a file that is not there.
    """
    return {"tree.svg": tree(rows()), "event.svg": way(EVENT), "emission.svg": way(EMISSION)}


def rows() -> list[tuple[str, ...]]:
    """Return the rows of modules from the test that guards them, from the ground up."""
    module = ast.parse((ROOT / "tests" / "test_architecture.py").read_text(encoding="utf-8"))
    for node in module.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "ROWS":
            return list(ast.literal_eval(node.value))
    raise CannotDraw("tests/test_architecture.py has no ROWS")


def tree(rows: Sequence[Sequence[str]]) -> str:
    """Draw rows of modules, the ground at the bottom, folders in another colour."""
    parts, y = [], 20.0
    for names in reversed(rows):
        x, top = 44.0, y
        for name in names:
            folder = (ROOT / CORE / name).is_dir()
            label = f"{name}/" if folder else name
            width = len(label) * TEXT + 20
            if x + width > ROW_WIDTH:
                x, y = 44.0, y + ROW
            parts.append(box(x, y, width, ROW - 6, "folder" if folder else "box"))
            parts.append(text(x + width / 2, y + 17, label, "where"))
            x += width + 8
        y += ROW
        parts.insert(0, box(36, top - 6, ROW_WIDTH - 28, y - top + 4, "outside"))
        y += 16
    parts.append(line([(16, 20), (16, y - 24)]))
    parts.append(
        f'<text class="note" transform="translate(11 {y / 2}) rotate(-90)" text-anchor="middle">imports</text>'
    )
    return svg(ROW_WIDTH + 16, y, parts)


def way(steps: Sequence[Step]) -> str:
    """Draw steps in a grid, numbered in their order, with arrows between them."""
    missing = [name for step in steps for name in files(step) if not (ROOT / CORE / name).is_file()]
    if missing:
        raise CannotDraw(f"these files are not in {CORE}/: {', '.join(missing)}")
    parts = []
    for number, step in enumerate(steps):
        x, y = corner(step)
        parts += [link(steps[before], step) for before in step.after]
        parts.append(box(x, y, WIDTH, HEIGHT, "box" if step.where else "outside"))
        parts.append(text(x + WIDTH / 2, y + (21 if step.where else 30), f"{number + 1}. {step.what}"))
        if step.where:
            parts.append(text(x + WIDTH / 2, y + 40, step.where, "where"))
    columns, lines = (1 + max(step.place[axis] for step in steps) for axis in (0, 1))
    return svg(20 + columns * (WIDTH + 2 * GAP) - 2 * GAP + 20, 20 + lines * (HEIGHT + GAP) - GAP + 20, parts)


def files(step: Step) -> list[str]:
    """Return the paths in ``step.where``; the folder of one counts for those after it that name none."""
    paths, folder = [], ""
    for name in step.where.split():
        folder = name.rpartition("/")[0] or folder
        paths.append(f"{folder}/{name.rpartition('/')[2]}".lstrip("/"))
    return paths


def corner(step: Step) -> tuple[float, float]:
    column, line = step.place
    return 20 + column * (WIDTH + 2 * GAP), 20 + line * (HEIGHT + GAP)


def link(before: Step, after: Step) -> str:
    """Draw an arrow from one box to the next: down, up, or to another column."""
    (x, y), (to_x, to_y) = corner(before), corner(after)
    if x == to_x:
        middle = x + WIDTH / 2
        return line(
            [(middle, y + HEIGHT), (middle, to_y)] if to_y > y else [(middle, y), (middle, to_y + HEIGHT)]
        )
    side, to_side = (x + WIDTH, to_x) if to_x > x else (x, to_x + WIDTH)
    between = (side + to_side) / 2
    return line(
        [
            (side, y + HEIGHT / 2),
            (between, y + HEIGHT / 2),
            (between, to_y + HEIGHT / 2),
            (to_side, to_y + HEIGHT / 2),
        ]
    )


def line(points: Sequence[tuple[float, float]]) -> str:
    return f'<path class="arrow" d="M{" L".join(f"{x:g} {y:g}" for x, y in points)}"/>'


def box(x: float, y: float, width: float, height: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="5"/>'


def text(x: float, y: float, words: str, kind: str = "") -> str:
    marked = f' class="{kind}"' if kind else ""
    return f'<text{marked} x="{x:g}" y="{y:g}" text-anchor="middle">{escape(words)}</text>'


def svg(width: float, height: float, parts: Sequence[str]) -> str:
    size = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size}>',
        f"<style>{STYLE}\n</style>",
        f"<defs>{HEAD}</defs>",
    ]
    return "\n".join([*lines, *parts, "</svg>", ""])


if __name__ == "__main__":
    sys.exit(main())
