"""Check requirements against the installed distributions, without importing any of them."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion

CORE = "flask-socketio-core"

FREEZE_AGAIN = "this program is frozen: build it again where that is installed, with PyInstaller's"


def missing(requirements: Iterable[str]) -> tuple[str, ...]:
    """Return the requirements that are not met; one of another version also says what is installed.

    :param requirements: valid PEP 508 strings. One whose marker does not apply here is met.
    """
    return tuple(text for text in map(_unmet, requirements) if text)


def _unmet(text: str) -> str:
    requirement = Requirement(text)
    if requirement.marker is not None and not requirement.marker.evaluate():
        return ""
    try:
        version = metadata.version(requirement.name)
    except metadata.PackageNotFoundError:
        return text
    try:
        met = requirement.specifier.contains(version, prereleases=True)
    except InvalidVersion:
        met = True  # a version from before PEP 440 cannot be compared
    return "" if met else f"{text} ({version} is installed)"


def installable(prefix: str) -> dict[str, str]:
    """Return what this project's own extras install, as ``{extra: distribution}``.

    :param prefix: only distributions whose names start so.
    """
    try:
        own = metadata.distribution(CORE)
    except metadata.PackageNotFoundError:
        return {}
    requires = [Requirement(text) for text in own.requires or ()]
    found: dict[str, str] = {}
    for extra in own.metadata.get_all("Provides-Extra") or ():
        brings = [item for item in requires if _belongs(item, extra)]
        # An extra that brings several distributions, or one with extras of its own, is no part's name.
        if len(brings) == 1 and brings[0].name.startswith(prefix) and not brings[0].extras:
            found[extra] = canonicalize_name(brings[0].name)
    return found


def _belongs(requirement: Requirement, extra: str) -> bool:
    marker = requirement.marker
    return marker is not None and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""})


# how to get what is not there


def is_frozen() -> bool:
    """Return whether this program was frozen, as by PyInstaller: nothing can be installed, it has to be built again."""
    return bool(getattr(sys, "frozen", False))


def how_to_get(distribution: str) -> str:
    """Return what brings a plugin of this project: a command, or in a frozen program the flags to build it with."""
    if not is_frozen():
        return pip_install(distribution)
    module = f"{distribution.replace('-', '_')}.hooks"
    return f"{FREEZE_AGAIN} --recursive-copy-metadata {distribution} --hidden-import {module}"


def how_to_have(requirements: Sequence[str], install: str) -> str:
    """Return what brings requirements that are not met.

    :param install: the command that the plugin gives, ``""`` for none.
    """
    if not is_frozen():
        return install or pip_install(*requirements)
    names = [re.split(r"[^\w.-]", text, maxsplit=1)[0] for text in requirements]
    return " ".join([FREEZE_AGAIN, *(f"--copy-metadata {name}" for name in names)])


def pip_install(*requirements: str) -> str:
    """Return the command that installs requirements, quoted for a shell where needed."""
    quoted = (
        text if text.replace("-", "").replace("_", "").isalnum() else f'"{text}"' for text in requirements
    )
    return f"pip install {' '.join(quoted)}"
