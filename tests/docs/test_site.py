"""The site that ``make docs`` makes: what is in it, and that it needs nobody.

``make docs`` itself fails at a warning; here its result is brought up to date and looked at.
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

import flask_socketio_core
from support.documents import ROOT, pages

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("sphinx") is None, reason="make docs installs Sphinx"),
    pytest.mark.timeout(120),  # Sphinx reads every page
]

#: Modules whose names the reference has entries for.
MODULES = ("flask_socketio_core", "flask_socketio_core.errors", "flask_socketio_core.contracts.hookspecs")
#: What a page loads when it is looked at. Links to other sites are not that.
LOADED = re.compile(r"<(?:script|img|iframe|link)\b[^>]*\b(?:src|href)=\"(?:https?:)?//[^\"]*\"")


@pytest.fixture(scope="module")
def site() -> Path:
    """The site, made without a network: every proxy leads nowhere."""
    command = [sys.executable, "-m", "sphinx", "-q", "-c", "docs", "-d", ".cache/doctrees", ".", "site"]
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **nowhere}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return ROOT / "site"


@pytest.fixture(scope="module")
def entries(site: Path) -> dict[str, str]:
    """Where each name has its entry, from the inventory that the site offers to others."""
    head, _, body = (site / "objects.inv").read_bytes().partition(b"zlib.\n")
    assert b"Sphinx inventory version 2" in head
    rows = [line.split(" ", 4) for line in zlib.decompress(body).decode().splitlines()]
    return {row[0]: row[3] for row in rows if row[1].startswith("py:")}


def test_every_page_is_in_the_site(site: Path) -> None:
    missing = [page.name for page in pages() if not (site / page.name).with_suffix(".html").exists()]
    assert missing == []


def test_the_front_page_is_where_a_browser_looks(site: Path) -> None:
    target = re.search(r"url=([\w/.]+)", (site / "index.html").read_text())
    assert target is not None
    assert "Which of these are you?" in (site / target[1]).read_text()


@pytest.mark.parametrize("name", flask_socketio_core.__all__)
def test_every_public_name_has_an_entry(entries: dict[str, str], name: str) -> None:
    assert {entries.get(f"{module}.{name}", "") for module in MODULES} - {""}


def test_methods_have_entries_with_their_signatures(site: Path, entries: dict[str, str]) -> None:
    path, _, anchor = entries["flask_socketio_core.SocketIO.emit"].partition("#")
    text = (site / path).read_text()
    assert anchor in ("$", "flask_socketio_core.SocketIO.emit")
    assert "skip_sid" in text
    assert "unknown" not in re.sub(r"<[^>]*>", "", text).partition("Send an event to clients")[0]


def test_flasks_names_lead_to_flasks_documentation(site: Path) -> None:
    assert (
        'href="https://flask.palletsprojects.com/en/stable/api/#flask.Flask"'
        in (site / "docs/api.html").read_text()
    )


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    found = [
        f"{path.relative_to(site)}: {match[0]}"
        for path in site.rglob("*.html")
        for match in LOADED.finditer(path.read_text())
    ]
    assert found == []


def test_the_site_can_be_searched(site: Path) -> None:
    index = (site / "searchindex.js").read_text()
    assert index.startswith("Search.setIndex(")
    assert '"docs/start/on_call"' in index
