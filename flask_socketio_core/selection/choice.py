"""Choose among candidates: pure functions from what there is and what is wanted to a selection or an error.

Order is data: the highest priority of what is usable in this process wins; an explicit wish wins over that, and fails
loudly when it cannot be had. *Unknown*, *not installed*, *broken*, *unsuitable here* and *claimed twice* are five
errors, and each says what to do.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn, TypeVar

from ..contracts import OK, Verdict, WebSocketProviderInfo
from ..errors import (
    AmbiguousPart,
    InvalidDescriptor,
    InvalidOption,
    PartBroken,
    PartNotInstalled,
    PartUnsuitable,
    UnknownPart,
)
from . import description
from .parts import Info, Schemed
from .records import Candidate, Plugin, Selection, one_line
from .requirements import how_to_get, how_to_have

InfoT = TypeVar("InfoT", bound=Info)
SchemedT = TypeVar("SchemedT", bound=Schemed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One of the kinds of part, as messages call it.

    :param noun: what one is called.
    :param hook: the hook that describes it.
    :param prefix: how, by convention, the distributions start whose extra is named like the part.
    :param entry_prefix: how, by convention, their entry points start.
    :param beside: the ``entry_prefix`` of another kind whose plugins may have parts of this kind, too.
    """

    noun: str
    hook: str
    prefix: str
    entry_prefix: str
    beside: str = ""

    @property
    def option(self) -> str:
        """The option that has its URL, if it has one."""
        return self.noun.replace(" ", "_")


ASYNC_MODE = Kind(
    noun=description.ASYNC_MODE,
    hook="socketio_async_modes",
    prefix="flask-socketio-async-",
    entry_prefix="async-",
)
PROVIDER = Kind(
    noun=description.WEBSOCKET_PROVIDER,
    hook="socketio_websocket_providers",
    prefix="flask-socketio-websocket-",
    entry_prefix="websocket-",
)
QUEUE = Kind(
    noun=description.MESSAGE_QUEUE,
    hook="socketio_message_queues",
    prefix="flask-socketio-queue-",
    entry_prefix="queue-",
)
STORE = Kind(
    noun=description.STORE,
    hook="socketio_stores",
    prefix="flask-socketio-store-",
    entry_prefix="store-",
    beside=QUEUE.entry_prefix,
)
KINDS = (ASYNC_MODE, PROVIDER, QUEUE, STORE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offers:
    """What one kind of part has on offer.

    :param candidates: every part that an installed plugin describes.
    :param broken: plugins that could not be loaded or described, unless by their names they are of another kind.
    :param skipped: plugins left out by the environment, of this kind or without a sign of another.
    :param installable: distributions that could be installed, by the name of their part.
    :param related: the same for the kind whose plugins may have parts of this one, too.
    """

    kind: Kind
    candidates: Sequence[Candidate[Info]]
    broken: Sequence[Plugin] = ()
    skipped: Sequence[Plugin] = ()
    installable: Mapping[str, str]
    related: Mapping[str, str] = field(default_factory=dict)

    def absent(self) -> dict[str, str]:
        """Return what could be installed but is not."""
        present = {candidate.plugin.distribution for candidate in self.candidates}
        present |= {plugin.distribution for plugin in (*self.broken, *self.skipped)}
        return {name: dist for name, dist in self.installable.items() if dist not in present}


# --------------------------------------------------------------------------------------- by name and by priority


def by_priority(candidates: Iterable[Candidate[InfoT]]) -> list[Candidate[InfoT]]:
    """Sort, highest priority first, then by name."""
    return sorted(candidates, key=lambda item: (-getattr(item.info, "priority", 0), item.info.name))


def best(candidates: Sequence[Candidate[InfoT]], offers: Offers) -> Selection[InfoT]:
    """Return the usable candidate of the highest priority.

    :raises SelectionError: if there is none, or two plugins claim its name.
    """
    usable = [candidate for candidate in by_priority(candidates) if candidate.usable]
    if not usable:
        _refuse_for_want_of_any(offers)
    first = usable[0]
    _refuse_rivals(
        [item for item in candidates if item.info.name == first.info.name], first.info.name, offers
    )
    return Selection(
        info=first.info,
        plugin=first.plugin,
        reason=_joined(_why_first(usable), first.verdict.reason),
        asked=f"{offers.kind.noun} {first.info.name!r}",
        kind=offers.kind.noun,
    )


def _why_first(usable: Sequence[Candidate[Info]]) -> str:
    if len(usable) == 1:
        return "the only one usable here"
    first, second = (getattr(item.info, "priority", 0) for item in usable[:2])
    if first == second:
        return f"first by name of those with priority {first}"
    return f"highest priority of the usable ones, {first}"


def named(
    candidates: Sequence[Candidate[InfoT]], name: str, asked: str, offers: Offers, *, reason: str
) -> Selection[InfoT]:
    """Return the candidate of that name.

    :param asked: how the user asked for it, for the message.
    :param reason: the reason to give for the selection.
    :raises SelectionError: if it cannot be had.
    """
    rivals = [candidate for candidate in candidates if candidate.info.name == name]
    _refuse_rivals(rivals, name, offers)
    if not rivals:
        _refuse_unknown(name, asked, offers)
    chosen = rivals[0]
    refuse_unusable(chosen, asked)
    return Selection(
        info=chosen.info,
        plugin=chosen.plugin,
        reason=_joined(reason, chosen.verdict.reason),
        asked=asked,
        kind=offers.kind.noun,
    )


def providers(
    candidates: Sequence[Candidate[WebSocketProviderInfo]], mode_name: str
) -> tuple[Selection[WebSocketProviderInfo], ...]:
    """Return the usable providers that serve a mode, in the order in which requests are offered to them."""
    usable = [item for item in by_priority(candidates) if item.usable and serves(item.info, mode_name)]
    return tuple(
        Selection(
            info=item.info,
            plugin=item.plugin,
            reason=_joined(_provider_reason(number, len(usable), item.info), item.verdict.reason),
            asked=f"{PROVIDER.noun} {item.info.name!r}",
            kind=PROVIDER.noun,
        )
        for number, item in enumerate(usable, 1)
    )


def serves(info: WebSocketProviderInfo, mode_name: str) -> bool:
    """Return whether a provider can be used with an async mode."""
    return not info.async_modes or mode_name in info.async_modes


def _provider_reason(number: int, count: int, info: WebSocketProviderInfo) -> str:
    if count == 1:
        return "the only one usable here"
    return f"priority {info.priority}, asked {_ordinal(number)} for each request"


def _ordinal(number: int) -> str:
    return {1: "first", 2: "second", 3: "third"}.get(number, f"as number {number}")


# ------------------------------------------------------------------------------------------------- by URL scheme


def scheme_of(url: str, option: str) -> str:
    """Return a URL's scheme in lower case.

    :param option: that which has the URL, for the message.

    :raises InvalidOption: if there is none. The message does not show the URL, which may hold a password.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or not scheme:
        raise InvalidOption(
            f"{option} has no URL scheme, expected something like memory:// or name://host:port"
        )
    return scheme.lower()


def for_scheme(candidates: Sequence[Candidate[SchemedT]], scheme: str, offers: Offers) -> Selection[SchemedT]:
    """Return the part for a URL scheme: an exact claim beats a prefix, a prefix beats a catch-all.

    :raises SelectionError: if there is none, or it cannot be had.
    """
    asked = f"{offers.kind.option}='{scheme}://...'"
    chosen, reason = _claimant(candidates, scheme, asked, offers)
    refuse_unusable(chosen, asked)
    return Selection(
        info=chosen.info, plugin=chosen.plugin, reason=reason, asked=asked, kind=offers.kind.noun
    )


def _claimant(
    candidates: Sequence[Candidate[SchemedT]], scheme: str, asked: str, offers: Offers
) -> tuple[Candidate[SchemedT], str]:
    exact = [item for item in candidates if scheme in item.info.schemes]
    if exact:
        return _single(exact, scheme, offers), f"claims {scheme}://"
    longest = max((_prefix_length(item.info, scheme) for item in candidates), default=0)
    prefixed = [item for item in candidates if longest and _prefix_length(item.info, scheme) == longest]
    if prefixed:
        willing = _willing(prefixed, scheme, asked)
        reason = f"claims {scheme[:longest]}*://"
    else:
        _refuse_broken(scheme, asked, offers)
        catch_alls = [item for item in candidates if getattr(item.info, "catch_all", False)]
        willing = _willing(catch_alls, scheme, asked)
        reason = "takes schemes that no other claims"
    if not willing:
        claimed = {claimed for item in candidates for claimed in item.info.schemes}
        known = sorted(name for name in claimed if not name.endswith("*"))
        _refuse_unknown(scheme, asked, offers, offered=known)
    return _single(willing, scheme, offers), reason


def _prefix_length(info: Schemed, scheme: str) -> int:
    """Return the length of the longest prefix that a part claims of a scheme, 0 for none."""
    starts = [claimed[:-1] for claimed in info.schemes if claimed.endswith("+*")]
    return max((len(start) for start in starts if scheme.startswith(start) and scheme != start), default=0)


def _willing(candidates: Sequence[Candidate[SchemedT]], scheme: str, asked: str) -> list[Candidate[SchemedT]]:
    """Return those that take a scheme.

    :raises PartUnsuitable: if none takes it, and one that knows it says why.
    """
    verdicts = [(item, claim(item.info, scheme)) for item in candidates]
    willing = [item for item, verdict in verdicts if verdict is not None and verdict.usable]
    for item, verdict in verdicts:
        if not willing and verdict is not None:
            raise PartUnsuitable(
                f"{asked} cannot be served by {item.info.name} ({item.plugin}): {verdict.reason}"
            )
    return willing


def claim(info: Schemed, scheme: str) -> Verdict | None:
    """Ask a part for its verdict on a scheme that it does not claim by name."""
    try:
        claims: Callable[[str], Verdict | None] | None = getattr(info, "claims", None)
        verdict = OK if claims is None else claims(scheme)
        return verdict if verdict is None else as_verdict(verdict, "claims")
    except Exception as exc:  # noqa: BLE001  # a stranger's function; its failure is its answer
        return Verdict(usable=False, reason=f"{info.name} failed to answer: {one_line(exc)}")


def as_verdict(answer: object, function: str) -> Verdict:
    """Return what a plugin's function answered.

    :raises InvalidDescriptor: if that is no verdict.
    """
    if not isinstance(answer, Verdict):
        raise InvalidDescriptor(f"{function} returned {answer!r:.80}, expected a Verdict")
    return answer


def _single(rivals: Sequence[Candidate[SchemedT]], scheme: str, offers: Offers) -> Candidate[SchemedT]:
    _refuse_rivals(rivals, f"{scheme}://", offers)
    return rivals[0]


# ----------------------------------------------------------------------------------------------------- refusals


def refuse_unusable(candidate: Candidate[Info], asked: str) -> None:
    """Raise the error that says why a candidate that was asked for cannot be had."""
    owner = f"{asked} ({candidate.plugin})"
    if candidate.missing:
        lacking = [text.partition(" (")[0] for text in candidate.missing]
        command = how_to_have(lacking, candidate.info.install)
        raise PartNotInstalled(f"{owner} needs {', '.join(map(_not_there, candidate.missing))}\n  {command}")
    if candidate.error is not None:
        raise PartBroken(f"{owner} is installed but broken: {one_line(candidate.error)}") from candidate.error
    if not candidate.verdict.usable:
        raise PartUnsuitable(f"{owner} cannot be used in this process: {candidate.verdict.reason}")


def _not_there(missing: str) -> str:
    return missing if missing.endswith(")") else f"{missing}, which is not installed"


def _refuse_rivals(rivals: Sequence[Candidate[Info]], name: str, offers: Offers) -> None:
    if len(rivals) > 1:
        owners = " and ".join(dict.fromkeys(str(item.plugin) for item in rivals))
        raise AmbiguousPart(
            f"{offers.kind.noun} {name!r} is claimed by {len(rivals)} plugins: {owners}; uninstall all but one"
        )


def _refuse_broken(name: str, asked: str, offers: Offers) -> None:
    """Blame a plugin that is broken, if by its name it is the one that was asked for."""
    for plugin in offers.broken:
        if plugin.error is not None and _named_like(plugin, name, offers.kind):
            raise PartBroken(
                f"{asked} is probably provided by plugin {plugin.name!r} ({plugin}), "
                f"which is installed but broken: {one_line(plugin.error)}"
            ) from plugin.error


def _named_like(plugin: Plugin, name: str, kind: Kind) -> bool:
    """Return whether a plugin's names hold the name that was asked for; of ``name+more``, the name."""
    stems = {plugin.name.removeprefix(kind.entry_prefix), plugin.distribution.removeprefix(kind.prefix)}
    stems -= {plugin.name, plugin.distribution}
    words = set(re.split(r"[^a-z0-9]+", f"{plugin.name} {plugin.distribution}".lower()))
    return name.partition("+")[0] in words or any(name.startswith(stem) for stem in stems if stem)


def _refuse_unknown(
    name: str, asked: str, offers: Offers, *, offered: Sequence[str] | None = None
) -> NoReturn:
    _refuse_broken(name, asked, offers)
    absent = offers.absent()
    if name in absent:
        raise PartNotInstalled(
            f"{asked} is provided by {absent[name]}, which is not installed\n"
            f"{_installed(offers)}\n  {how_to_get(absent[name])}"
        )
    names = list(offered) if offered is not None else [item.info.name for item in offers.candidates]
    suspects = [plugin for plugin in offers.broken if not plugin.hooks or offers.kind.hook in plugin.hooks]
    near = difflib.get_close_matches(name, [*names, *absent], n=1, cutoff=0.6)
    if suspects and not near:
        # No slip in the name: what could not say what it provides is the likeliest to provide it.
        lines = [f"{asked} is not provided by any plugin that works", _installed(offers), *_left_out(offers)]
        raise PartBroken("\n".join(lines)) from suspects[0].error
    lines = [f"{asked} is not provided by any installed plugin", _installed(offers)]
    lines += _left_out(offers)
    lines += _suggestion(near, names, absent) or _related(name, offers)
    raise UnknownPart("\n".join(lines))


def _suggestion(near: Sequence[str], names: Sequence[str], absent: Mapping[str, str]) -> list[str]:
    if near and near[0] in names:
        return [f"  did you mean {near[0]!r}?"]
    if near:
        return [f"  did you mean {near[0]!r}?  {how_to_get(absent[near[0]])}"]
    if absent:
        return [
            f"  can be installed: {', '.join(f'{extra} ({how_to_get(dist)})' for extra, dist in absent.items())}"
        ]
    return []


def _related(name: str, offers: Offers) -> list[str]:
    if name not in offers.related:
        return []
    distribution = offers.related[name]
    return [f"  {distribution}, which is not installed, may have it: {how_to_get(distribution)}"]


def _installed(offers: Offers) -> str:
    """Return what there is, one line for each plugin."""
    names: dict[str, list[str]] = {}
    for item in offers.candidates:
        names.setdefault(str(item.plugin), []).extend(getattr(item.info, "schemes", (item.info.name,)))
    lines = [f"{' '.join(offered)} ({plugin})" for plugin, offered in names.items()]
    return "  installed: " + ("\n             ".join(lines) or "none")


def _left_out(offers: Offers) -> list[str]:
    lines = [f"  broken: {plugin.name} ({plugin}): {one_line(plugin.error)}" for plugin in offers.broken]
    if offers.skipped:
        lines.append(
            f"  left out by SOCKETIO_LOAD_PLUGINS: {', '.join(plugin.name for plugin in offers.skipped)}"
        )
    return lines


def _refuse_for_want_of_any(offers: Offers) -> NoReturn:
    lines = [f"no {offers.kind.noun} can be used in this process"]
    for item in by_priority(offers.candidates):
        lines.append(f"  {item.info.name} ({item.plugin}): {why_not(item)}")
    lines += _left_out(offers)
    lines += [f"  not installed: {extra}  {how_to_get(dist)}" for extra, dist in offers.absent().items()]
    if not offers.candidates and offers.broken:
        raise PartBroken("\n".join(lines)) from offers.broken[0].error
    kind = PartUnsuitable if any(not item.missing for item in offers.candidates) else PartNotInstalled
    raise kind("\n".join(lines))


def why_not(candidate: Candidate[Info]) -> str:
    """Return in a few words what speaks against a candidate; empty if nothing does."""
    if candidate.status != "ok":
        return candidate.status
    return "" if candidate.verdict.usable else candidate.verdict.reason or "unsuitable here"


def _joined(*reasons: str) -> str:
    return "; ".join(reason for reason in reasons if reason)
