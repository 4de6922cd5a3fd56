"""Check requirements against the installed distributions, without importing any of them."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion

CORE = "flask-socketio-core"


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
    found: dict[str, str] = {}
    for extra in own.metadata.get_all("Provides-Extra") or ():
        brings = [item for item in map(Requirement, own.requires or ()) if _belongs(item, extra)]
        # An extra that brings several distributions, or one with extras of its own, is no part's name.
        if len(brings) == 1 and brings[0].name.startswith(prefix) and not brings[0].extras:
            found[extra] = canonicalize_name(brings[0].name)
    return found


def _belongs(requirement: Requirement, extra: str) -> bool:
    marker = requirement.marker
    return marker is not None and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""})
