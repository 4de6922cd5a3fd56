"""The same clients do the same things with both libraries and see the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import compat.acts
from compat.stage import ACTS, Act, Stage, Transcript
from support.servers import CORE, EVENTLET, GEVENT_BUILTIN, REFERENCE, THREADING, ServerKind, skip_marks

if TYPE_CHECKING:
    from compat.conftest import OpenStage

assert compat.acts  # importing it registers the acts

#: Variants whose subject depends on the mode; the others are played in one mode only.
MODE_VARIANTS = ("default", "in order", "always connect", "short pings")

ALL = [
    pytest.param(act, kind, id=f"{act.name}-{kind.name}", marks=mark)
    for kind, mark in (
        (THREADING, ()),
        (GEVENT_BUILTIN, skip_marks(GEVENT_BUILTIN)),
        (EVENTLET, skip_marks(EVENTLET)),
    )
    for act in ACTS
    if kind is THREADING or act.variant in MODE_VARIANTS
]


@pytest.mark.parametrize(("act", "kind"), ALL)
def test_transcript_is_that_of_flask_socketio(act: Act, kind: ServerKind, open_stage: OpenStage) -> None:
    assert kind  # read by open_stage
    expected = _play(act, open_stage(REFERENCE, act.variant))
    found = _play(act, open_stage(CORE, act.variant))
    assert found == expected


def _play(act: Act, stage: Stage) -> Transcript:
    act.play(stage)
    return stage.transcript()
