"""What a package index shows as description: the README, with links that lead somewhere from there too.

In the repository they are relative. In the metadata they begin with the address in ``[project.urls]``, ``Repository``;
as long as none is written there, what they say stays and the link goes.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

BRANCH = "main"
#: A block of code, which stays as it is, or a link to a file of the repository.
CODE_OR_LINK = re.compile(
    r"^```.*?^```$|\[(?P<text>[^\]]*)\]\((?![a-z]+:|#)(?P<path>[^)\s]+)\)", re.DOTALL | re.MULTILINE
)


class Description(MetadataHookInterface):
    """Makes the dynamic field ``readme``."""

    def update(self, metadata: dict[str, Any]) -> None:
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        address = metadata.get("urls", {}).get("Repository", "")
        metadata["readme"] = {"content-type": "text/markdown", "text": with_links(text, address)}


def with_links(text: str, address: str) -> str:
    """Return a page with its relative links made absolute, or taken out if ``address`` is empty."""

    def replacement(found: re.Match[str]) -> str:
        if found["path"] is None:
            return found[0]
        target = f"({address}/blob/{BRANCH}/{found['path']})"
        return f"[{found['text']}]{target}" if address else found["text"]

    return CODE_OR_LINK.sub(replacement, text)
