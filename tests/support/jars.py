"""Java libraries from Maven Central, kept between runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>local</groupId><artifactId>jars</artifactId><version>1</version>
  <dependencies>{dependencies}</dependencies>
</project>
"""
_DEPENDENCY = "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>"


class JarsMissing(Exception):
    """The libraries cannot be had; the message says why, and what to do."""


def fetch(name: str, *artifacts: str) -> Path:
    """Return the folder with libraries and all that they need.

    :param name: of the folder; with a version, so that another version is fetched anew.
    :param artifacts: as ``group:artifact:version``.
    :raises JarsMissing: if they are not there and cannot be fetched.
    """
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    target = Path(base) / "flask-socketio-core" / name
    if not target.is_dir():
        _download(target, artifacts)
    return target


def _download(target: Path, artifacts: tuple[str, ...]) -> None:
    """Fetch into a folder beside the target and move it there at once: runs may coincide."""
    if shutil.which("mvn") is None:
        raise JarsMissing(
            f"mvn, which fetches the jars of {target.name}, is not installed: apt-get install maven"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    dependencies = "".join(_DEPENDENCY.format(*artifact.split(":")) for artifact in artifacts)
    with tempfile.TemporaryDirectory(dir=target.parent) as work:
        (Path(work) / "pom.xml").write_text(_POM.format(dependencies=dependencies))
        command = ["mvn", "-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=libs"]
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            tail = "\n".join(done.stdout.splitlines()[-3:])
            raise JarsMissing(
                f"the jars of {target.name} could not be fetched ({' '.join(command)}):\n{tail}"
            )
        try:
            (Path(work) / "libs").rename(target)
        except OSError:
            if not target.is_dir():
                raise
