"""Whether a part can be used in a process, and what the descriptors of all parts have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..common import descriptor_rules as rules

if TYPE_CHECKING:
    from .process import ProcessFacts

__all__ = ["OK", "Probe", "Verdict", "always_usable"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a part can be used in this process, and why.

    :param usable: ``True`` if nothing speaks against it.
    :param reason: one short sentence for the table of ``flask socketio plugins``; with ``usable=False`` also what
        to do.
    """

    usable: bool
    reason: str = ""

    def __post_init__(self) -> None:
        rules.check(self, usable=rules.yes_or_no, reason=rules.text)


OK = Verdict(usable=True)

Probe = Callable[["ProcessFacts"], Verdict]


def always_usable(facts: ProcessFacts) -> Verdict:
    """Say that nothing in the process speaks against a part (the default probe)."""
    return OK


#: The rules for what all descriptors of parts have.
PART: dict[str, rules.Rule] = {
    "name": rules.name,
    "load": rules.loader,
    "requires": rules.several(rules.requirement),
    "install": rules.text,
    "summary": rules.text,
}
