"""The same clients do the same things with both libraries and see the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import compat.acts
from compat.stage import ACTS, Act, Stage, Transcript
from support.servers import CORE, EVENTLET, GEVENT_BUILTIN, REFERENCE, THREADING, ServerKind, kind_params

if TYPE_CHECKING:
    from compat.conftest import OpenStage

assert compat.acts  # importing it registers the acts

ALL = [pytest.param(act, id=act.name) for act in ACTS]


@pytest.mark.parametrize("kind", kind_params(THREADING, GEVENT_BUILTIN, EVENTLET))
@pytest.mark.parametrize("act", ALL)
def test_transcript_is_that_of_flask_socketio(act: Act, kind: ServerKind, open_stage: OpenStage) -> None:
    assert kind  # read by open_stage
    expected = _play(act, open_stage(REFERENCE, act.variant))
    found = _play(act, open_stage(CORE, act.variant))
    assert found == expected


def _play(act: Act, stage: Stage) -> Transcript:
    act.play(stage)
    return stage.transcript()
