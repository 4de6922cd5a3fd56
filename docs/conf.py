"""How Sphinx makes the site out of the pages: ``make docs``.

The source folder is the root of the repository, so that README, COMPAT.md and the plugins' READMEs are pages as well,
and a relative link leads where it leads in the repository.
"""

from __future__ import annotations

import re
import sys
from importlib.metadata import version as version_of
from typing import TYPE_CHECKING, Any

from sphinx.ext import intersphinx
from sphinx.util.nodes import make_refnode

if TYPE_CHECKING:
    from docutils import nodes
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

project = "flask-socketio-core"
author = "flask-socketio-core contributors"
release = version_of(project)
version = ".".join(release.split(".")[:2])
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.intersphinx"]

root_doc = "docs/index"
include_patterns = [
    "*.md",
    "docs/**.md",
    "plugins/*/README.md",
    "examples/README.md",
    "benchmarks/**.md",
    "changes/README.md",
    "flask_socketio_core/*/README.md",
    "tests/*/README.md",
    "tools/README.md",
]
exclude_patterns = [".*", "**/node_modules", "site"]
myst_heading_anchors = 3
nitpicky = True  # a name in a docstring that leads nowhere is a warning, and a warning ends the build

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 100
python_use_unqualified_type_names = True

# Committed, so that the build needs no network; inventories/README.md says how to bring them up to date.
intersphinx_mapping = {
    "flask": ("https://flask.palletsprojects.com/en/stable/", "docs/inventories/flask.inv"),
    "socketio": (
        "https://python-socketio.readthedocs.io/en/stable/",
        "docs/inventories/python-socketio.inv",
    ),
}

html_theme = "furo"
html_title = f"{project} {version}"
html_copy_source = False
templates_path = ["templates"]
html_additional_pages = {"index": "redirect.html"}  # the front page is docs/index.html

#: What catches misspelt keywords is not for whoever calls.
MISSPELT = re.compile(r",\s*\*\*unknown: [\w.]*Never")

#: Classes that have a page instead of an entry.
PAGES = {"BusHealth": "docs/queues", "Options": "docs/options"}
#: Modules before a class or function.
QUALIFIER = re.compile(r"^(?:[a-z_]\w*\.)+(?=\w)")


#: A link that says the name of its file, as an editor's reader likes it: in the site it says the page's title.
LINK_BY_FILE = re.compile(r"\[[\w./-]*?([\w-]+\.md)\](?=\([\w./-]*\1\))")


def setup(app: Sphinx) -> None:
    app.connect("source-read", name_links)
    app.connect("autodoc-process-signature", shorten)
    app.connect("missing-reference", find, priority=900)  # after intersphinx


def name_links(app: Sphinx, name: str, source: list[str]) -> None:
    source[0] = LINK_BY_FILE.sub("[]", source[0])


def shorten(
    app: Sphinx,
    what: str,
    name: str,
    thing: object,
    options: Any,
    signature: str | None,
    returned: str | None,
) -> tuple[str | None, str | None]:
    return (signature and MISSPELT.sub("", signature)), returned


def find(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.Node | None:
    """Find what a docstring calls by its bare name, or by the module that defines it, under its public name."""
    if node.get("refdomain") != "py":
        return None
    domain = env.domains["py"]
    target = node["reftarget"]
    name = QUALIFIER.sub("", target)
    if name in PAGES:
        return make_refnode(app.builder, node["refdoc"], PAGES[name], "", content)
    found = [full for full in domain.objects if full == name or full.endswith(f".{name}")]
    if len({domain.objects[full][:2] for full in found}) == 1:
        return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", found[0], node, content)
    in_signature = "refexplicit" not in node
    if in_signature:
        node["reftarget"] = f"flask.{name}"
        return intersphinx.missing_reference(app, env, node, content) or content
    is_pythons = target.partition(".")[0] in sys.stdlib_module_names  # whose inventory is not here
    return content if is_pythons else None
