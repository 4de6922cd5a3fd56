"""Gather the fragments in ``changes/``: print them, or with a version move them into ``CHANGELOG.md``."""

from __future__ import annotations

import argparse
import datetime
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: In the order in which a reader wants them.
TYPES = ("breaking", "added", "changed", "deprecated", "fixed")
#: What stands before the number of a release in ``CHANGELOG.md``.
RELEASE = "\n## "


class BadFragment(Exception):
    """A file in ``changes/`` cannot be placed; the text says why."""


@dataclass(frozen=True, order=True)
class Fragment:
    kind: int
    package: str
    path: Path
    text: str

    @classmethod
    def read(cls, path: Path) -> Fragment:
        """Read one fragment.

        :raises BadFragment: when its name does not say where it belongs, or it is empty.
        """
        _, package, kind = [*path.stem.split("."), "", "", ""][:3]
        packages = [
            "core",
            *sorted(folder.parent.name for folder in ROOT.glob("plugins/[!_]*/pyproject.toml")),
        ]
        if package not in packages:
            raise BadFragment(f"{path.name}: '{package}' is no package\n  available: {', '.join(packages)}")
        if kind not in TYPES:
            raise BadFragment(f"{path.name}: '{kind}' is no type of change\n  available: {', '.join(TYPES)}")
        text = " ".join(path.read_text().split())
        if not text:
            raise BadFragment(f"{path.name}: is empty")
        return cls(TYPES.index(kind), package, path, text)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version", default="", help="release that the fragments become")
    version = parser.parse_args(argv).version
    changelog = ROOT / "CHANGELOG.md"
    try:
        fragments = read_all()
        refuse_changes_of_nothing(fragments, changelog.read_text())
    except BadFragment as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    entry = render(fragments, version or "next release", datetime.date.today())
    if not version:
        sys.stdout.write(entry)
        return 0
    changelog.write_text(insert(changelog.read_text(), entry))
    for fragment in fragments:
        fragment.path.unlink()
    return 0


def read_all() -> list[Fragment]:
    paths = (path for path in (ROOT / "changes").glob("*.md") if path.name != "README.md")
    return sorted(Fragment.read(path) for path in paths)


def refuse_changes_of_nothing(fragments: Sequence[Fragment], changelog: str) -> None:
    """Let nothing be fixed or changed that no user has.

    :raises BadFragment: for the first fragment of another type than ``added`` while there is no release.
    """
    if RELEASE in changelog:
        return
    for fragment in fragments:
        if TYPES[fragment.kind] != "added":
            raise BadFragment(
                f"{fragment.path.name}: nothing was released yet, so nothing can be {TYPES[fragment.kind]}\n"
                "  write what there is, as 'added' or in the fragment of its part, or no fragment at all"
            )


def render(fragments: Sequence[Fragment], version: str, day: datetime.date) -> str:
    """Return the changelog's section for one release."""
    lines = [f"## {version} ({day.isoformat()})"]
    for number, kind in enumerate(TYPES):
        chosen = [fragment for fragment in fragments if fragment.kind == number]
        if chosen:
            lines += ["", f"### {kind.capitalize()}", ""]
            lines += [f"- {fragment.package}: {fragment.text}" for fragment in chosen]
    return "\n".join([*lines, ""])


def insert(changelog: str, entry: str) -> str:
    """Return the changelog with ``entry`` before its newest release."""
    head, mark, releases = changelog.partition(RELEASE)
    return f"{head.rstrip()}\n\n{entry}" + (f"{mark}{releases}" if mark else "")


if __name__ == "__main__":
    sys.exit(main())
