"""What is known about a plugin and about each part that it offers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from ..contracts import OK, Verdict
from ..errors import PartBroken, PluginError, SocketIOError
from . import parts
from .parts import Info, Loadable
from .requirements import FREEZE_AGAIN, is_frozen

PartT = TypeVar("PartT")


InfoT_co = TypeVar("InfoT_co", bound=Info, covariant=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plugin:
    """One plugin, loaded or not.

    :param name: name of its entry point, or of the object that was registered in code.
    :param distribution: the distribution that brought it; empty for an object registered in code.
    :param version: the distribution's version.
    :param path: where its code was loaded from.
    :param hooks: names of the hooks it implements.
    :param error: why it could not be loaded.
    :param skipped: it was left out on purpose, by the environment.
    """

    name: str
    distribution: str = ""
    version: str = ""
    path: str = ""
    hooks: tuple[str, ...] = ()
    error: BaseException | None = None
    skipped: bool = False

    def __str__(self) -> str:
        if self.distribution:
            return f"{self.distribution} {self.version}".rstrip()
        return f"{self.name}, registered in code"


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate(Generic[InfoT_co]):
    """A part that could be selected, with what speaks against it.

    :param missing: the requirements that are not met, each with what is there instead.
    :param verdict: what its probe says about this process.
    :param error: what its probe raised, or what loading it for a look at it did.
    """

    info: InfoT_co
    plugin: Plugin
    missing: tuple[str, ...] = ()
    verdict: Verdict = OK
    error: BaseException | None = None

    @property
    def status(self) -> str:
        """``ok``, ``missing: what``, or ``error: what``."""
        if self.missing:
            return f"missing: {', '.join(self.missing)}"
        return f"error: {one_line(self.error)}" if self.error is not None else "ok"

    @property
    def usable(self) -> bool:
        """Whether it can be selected in this process."""
        return not self.missing and self.error is None and self.verdict.usable


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection(Generic[InfoT_co]):
    """A part that was selected, and why.

    :param asked: how the user asked for it (``"async_mode='gevent'"``), or what kind of part it is.
    :param kind: what kind of part it is.
    """

    info: InfoT_co
    plugin: Plugin
    reason: str
    asked: str
    kind: str

    def load(self: Selection[Loadable[PartT]]) -> type[PartT]:
        """Import the part and return its class.

        :raises PartBroken: if that fails, whatever it raised, or if it is no class that the contract describes;
            ``__cause__`` is the original error.
        """
        try:
            return parts.load(self.info)
        except Exception as exc:
            raise self._broken("loaded", one_line(exc)) from exc

    def make(
        self: Selection[Loadable[PartT]],
        *arguments: Any,
        tell: Callable[[Exception], str] | None = None,
        **keywords: Any,
    ) -> PartT:
        """Load the part, call its class with these arguments and return what it made.

        :param tell: puts into words what the class raised, if its arguments hold secrets.
        :raises SocketIOError: what the class raises on purpose, such as :class:`UnknownOption`.
        :raises PartBroken: as :meth:`load`, and if the class raises anything else.
        """
        part = self.load()
        try:
            return parts.make(self.info, part, *arguments, **keywords)
        except Exception as exc:
            if isinstance(exc, SocketIOError) and not isinstance(exc, PluginError):
                raise
            raise self._broken("made", (tell or one_line)(exc)) from exc

    def _broken(self, what: str, problem: str) -> PartBroken:
        error = PartBroken(f"{self.asked} ({self.plugin}) is installed but cannot be {what}: {problem}")
        error.plugin, error.kind, error.part = self.plugin.name, self.kind, self.info.name
        error.problem = problem
        return error


def one_line(error: BaseException | None) -> str:
    """Return an exception's class and text in one line, and in a frozen program what a missing module takes."""
    text = " ".join(f"{type(error).__name__}: {error}".split()).removesuffix(":")
    if isinstance(error, ModuleNotFoundError) and is_frozen():
        text = f"{text}; {FREEZE_AGAIN} --hidden-import {error.name}"
    return text
