"""No input breaks a parser: what has failed once, and new ones for as long as ``FUZZ_SECONDS`` says."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from .targets import SEEDS, TARGETS

SECONDS = float(os.environ.get("FUZZ_SECONDS", "2"))
CORPUS = Path(__file__).parent / "corpus"
KEPT = sorted(path for path in CORPUS.glob("*/*") if path.is_file())
BATCH = 200

Edit = Callable[[bytes], bytes]


def _edit(place: float, kind: int, what: bytes) -> Edit:
    def edit(data: bytes) -> bytes:
        at = int(place * len(data))
        if kind == 0:
            return data[:at] + what + data[at:]
        if kind == 1:
            return data[:at] + what + data[at + len(what) :]
        if kind == 2:
            return data[:at] + data[at + max(len(what), 1) :]
        if kind == 3:
            return data[:at] + data[at:] * 2
        return data[at:] + data[:at]

    return edit


tokens = st.sampled_from(
    [b'"', b"[", b"{", b"]", b"}", b",", b"\\u0000", b"9" * 120, b"\xff" * 4, b"\x1e", b"b", b"NaN", b"1e999"]
)
edits = st.lists(
    st.builds(_edit, st.floats(0, 1), st.integers(0, 4), st.binary(max_size=6) | tokens),
    min_size=1,
    max_size=6,
)


def mutations(name: str) -> st.SearchStrategy[bytes]:
    """Return changed good inputs of a target, and what is no good input at all."""

    def apply(data: bytes, changes: list[Edit]) -> bytes:
        for change in changes:
            data = change(data)
        return data[:20_000]

    return st.builds(apply, st.sampled_from(SEEDS[name]), edits) | st.binary(max_size=200)


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_has_failed_once_does_not_fail_again(path: Path) -> None:
    TARGETS[path.parent.name](path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_good_inputs_are_good(name: str) -> None:
    for data in SEEDS[name]:
        TARGETS[name](data)


@pytest.mark.timeout(SECONDS + 120)
@pytest.mark.parametrize("name", TARGETS)
def test_no_input_breaks_it(name: str) -> None:
    until = time.monotonic() + SECONDS
    number = int.from_bytes(os.urandom(4), "big") if SECONDS > 2 else 0  # the short run is the same each time
    while time.monotonic() < until:

        @seed(number)
        @settings(
            max_examples=BATCH,
            deadline=None,
            database=None,
            phases=(Phase.generate, Phase.shrink),
            suppress_health_check=list(HealthCheck),
        )
        @given(mutations(name))
        def run(data: bytes) -> None:
            TARGETS[name](data)

        run()
        number += 1
