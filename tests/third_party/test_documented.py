"""The queue of docs/plugins.md passes its suite as the page says it is run: with threads, and under green modes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.documents import page
from third_party.pigeon_post import PigeonPost, pigeon_post

pytestmark = pytest.mark.timeout(120)  # the suite, in a pytest of its own

PAGE = page("docs/plugins.md")
ADDRESS = "pigeon://127.0.0.1:4222"
FILES = ("socketio_pigeon/hooks.py", "socketio_pigeon/queue.py")
SUITES = {
    "test_pigeon.py": (),
    "under_gevent/test_pigeon_under_gevent.py": ("under_gevent/conftest.py",),
    "under_eventlet/test_pigeon_under_eventlet.py": ("under_eventlet/conftest.py",),
}


@pytest.mark.parametrize("suite", SUITES)
def test_the_documented_queue_passes_its_suite(suite: str, tmp_path: Path) -> None:
    PAGE.write(tmp_path, *FILES, suite, *SUITES[suite])
    post: PigeonPost
    with pigeon_post() as post:
        source = (tmp_path / suite).read_text()
        assert ADDRESS in source
        (tmp_path / suite).write_text(source.replace(ADDRESS, f"pigeon://127.0.0.1:{post.port}"))
        result = subprocess.run(
            [
                sys.executable,
                "-m",
                "pytest",
                "-q",
                "-p",
                "no:cacheprovider",
                "-c",
                os.devnull,
                "--rootdir",
                ".",
                suite,
            ],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=100,
        )
    assert result.returncode == 0, result.stdout + result.stderr
    assert " passed" in result.stdout and " failed" not in result.stdout
