"""Check requirements against the installed distributions, without importing any of them."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion

CORE = "flask-socketio-core"


def missing(requirements: Iterable[str]) -> tuple[str, ...]:
    """Return the requirements that are not met; one of another version also says what is installed.

    :param requirements: PEP 508 strings. One whose marker does not apply here is met.
    """
    return tuple(text for text in map(_unmet, requirements) if text)


def _unmet(text: str) -> str:
    try:
        requirement = Requirement(text)
    except InvalidRequirement:
        return f"{text} (not a valid requirement)"
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
    extras = own.metadata.get_all("Provides-Extra") or []
    found: dict[str, str] = {}
    for requirement in map(Requirement, own.requires or ()):
        if not requirement.name.startswith(prefix) or requirement.extras or requirement.marker is None:
            continue
        for extra in extras:
            if requirement.marker.evaluate({"extra": extra}) and not requirement.marker.evaluate(
                {"extra": ""}
            ):
                found[extra] = canonicalize_name(requirement.name)
    return found
