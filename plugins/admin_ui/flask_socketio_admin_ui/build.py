"""Fetches the released build of the Admin UI from its npm package, of a fixed version and content.

::

    python -m flask_socketio_admin_ui.build

It is run when the wheel is made, and by whoever works on a checkout; nothing but the standard library is used.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

PACKAGE = "@socket.io/admin-ui"
VERSION = "0.5.1"
INTEGRITY = "1dlGL2FGm6T+uL1e6iDvbo2eCINwvW7iVbjIblwh5kPPRM1SP8lmZrbFZf4QNJ/cqQ+JLcx49eXGM9WAB4TK7w=="
"""SHA-512 of the package, as npm writes it."""

FOLDER = Path(__file__).parent / "page"
STAMP = "VERSION"
"""File with the version, written last."""

BUILT = PurePosixPath("package/ui/dist")
LICENCE = PurePosixPath("package/LICENSE")
COMMAND = "python -m flask_socketio_admin_ui.build"
NPM_S = 120
"""Seconds that npm may take."""


class Unreachable(Exception):
    """The package cannot be had here; the text says why."""


def is_here(folder: Path = FOLDER) -> bool:
    """Return whether the build is there, complete and of this version."""
    stamp = folder / STAMP
    return stamp.is_file() and stamp.read_text() == VERSION


def fetch(folder: Path = FOLDER) -> None:
    """Bring the build and its licence, unless they are there.

    npm fetches the package, from whatever registry it is set up for; it is not installed, and nothing of it is run.

    :raises Unreachable: without npm, or if it cannot fetch.
    :raises ValueError: if what it has fetched is something else.
    """
    if is_here(folder):
        return
    with tempfile.TemporaryDirectory(dir=folder.parent) as workplace:
        package = _packed(Path(workplace))
        if base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode() != INTEGRITY:
            raise ValueError(f"what npm has fetched as {PACKAGE} {VERSION} is not what was released")
        made = Path(workplace, "page")
        _unpack(package, made)
        (made / STAMP).write_text(VERSION)
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)


def _packed(workplace: Path) -> Path:
    npm = shutil.which("npm")
    if npm is None:
        raise Unreachable("npm is not installed")
    command = [npm, "pack", "--silent", "--ignore-scripts", f"{PACKAGE}@{VERSION}"]
    try:
        done = subprocess.run(
            command, cwd=workplace, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=NPM_S
        )
    except subprocess.TimeoutExpired:
        raise Unreachable(f"'npm pack' took more than {NPM_S} s") from None
    packages = list(workplace.glob("*.tgz"))
    if done.returncode or len(packages) != 1:
        raise Unreachable(f"'npm pack' failed: {(done.stdout + done.stderr)[-500:].strip()}")
    return packages[0]


def _unpack(package: Path, folder: Path) -> None:
    """Take the build out of the package, without the source maps, which are most of it."""
    with tarfile.open(package) as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            if path == LICENCE:
                target = folder / "LICENSE"
            elif path.is_relative_to(BUILT) and path.suffix != ".map":
                target = folder / path.relative_to(BUILT)
            else:
                continue
            content = archive.extractfile(member)
            if content is not None:  # a folder has none
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content.read())


if __name__ == "__main__":
    try:
        fetch()
    except Unreachable as error:
        sys.exit(f"the Admin UI cannot be fetched: {error}")
