"""A descriptor checks itself when it is made, field by field, and says what to write instead."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from flask_socketio_core.contracts import (
    AsyncCapabilities,
    AsyncModeInfo,
    QueueCapabilities,
    QueueInfo,
    Verdict,
    WebSocketProviderInfo,
)
from flask_socketio_core.errors import InvalidDescriptor


def load() -> Any: ...


VALID: dict[Any, dict[str, Any]] = {
    AsyncModeInfo: {"name": "fibers", "priority": 50, "load": load, "patch": "fibers.monkey:patch"},
    WebSocketProviderInfo: {"name": "fibers", "priority": 5, "load": load, "async_modes": ("fibers",)},
    QueueInfo: {"name": "badger", "schemes": ("badger", "badger+*"), "load": load, "claims": load},
    QueueCapabilities: {"max_message_bytes": 1_000_000, "needs_patched": ()},
    AsyncCapabilities: {"green": True},
    Verdict: {"usable": False, "reason": "not here"},
}
FIELDS = [(kind, field.name) for kind in VALID for field in dataclasses.fields(kind)]


@pytest.mark.parametrize("kind", VALID)
def test_what_the_contract_asks_for_is_taken(kind: Any) -> None:
    assert kind(**VALID[kind])


@pytest.mark.parametrize(("kind", "field"), FIELDS)
def test_no_field_takes_anything_at_all(kind: Any, field: str) -> None:
    with pytest.raises(InvalidDescriptor, match=rf"^{kind.__name__}.*: {field}=<object object.*: expected"):
        kind(**{**VALID[kind], field: object()})


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        (QueueInfo, {"schemes": "badger"}, "schemes='badger': expected a tuple, .* write ('badger',)"),
        (
            QueueInfo,
            {"schemes": ["badger"]},
            "schemes=['badger']: expected a tuple of texts, write ('badger',)",
        ),
        (QueueInfo, {"schemes": ("pigeon://",)}, "'pigeon://' is no URL scheme: .*, write 'pigeon'"),
        (
            QueueInfo,
            {"schemes": ("Pigeon",)},
            "'Pigeon' is no URL scheme: expected lower case.*, write 'pigeon'",
        ),
        (QueueInfo, {"schemes": ("ok", "pigeon*")}, "'pigeon*' is no URL scheme: .*, write 'pigeon+*'"),
        (QueueInfo, {"schemes": ("*",)}, "set catch_all=True"),
        (QueueInfo, {"schemes": ("two words",)}, "'two words' is no URL scheme"),
        (QueueInfo, {"schemes": (5,)}, "5 is no text"),
        (QueueInfo, {"schemes": ()}, "expected at least one URL scheme, or catch_all=True"),
        (QueueInfo, {"schemes": ("badger",)}, "claims= is asked only with catch_all=True"),
        (QueueInfo, {"name": "our queue"}, "name='our queue': expected a name .*, write 'our-queue'"),
        (QueueInfo, {"name": ""}, "name='': expected a short name"),
        (QueueInfo, {"load": int}, "not the class itself; write `def load(): from .module import int;"),
        (
            QueueInfo,
            {"requires": "redis>=5"},
            "requires='redis>=5': expected a tuple, .* write ('redis>=5',)",
        ),
        (QueueInfo, {"requires": ("redis=5",)}, "'redis=5' is no requirement as pip takes it"),
        (AsyncModeInfo, {"priority": "80"}, "priority='80': expected a whole number, write 80"),
        (AsyncModeInfo, {"priority": True}, "priority=True: expected a whole number"),
        (
            AsyncModeInfo,
            {"patch": "fibers.patch"},
            "expected 'package.module:function' .*, write 'fibers:patch'",
        ),
        (AsyncModeInfo, {"patch": "fibers:patch()"}, "expected 'package.module:function' or None"),
        (WebSocketProviderInfo, {"async_modes": "fibers"}, "expected a tuple, .* write ('fibers',)"),
        (QueueCapabilities, {"needs_patched": "socket"}, "expected a tuple, .* write ('socket',)"),
        (QueueCapabilities, {"max_message_bytes": 1e6}, "or None for no limit, write 1000000"),
        (QueueCapabilities, {"max_message_bytes": 0}, "expected a number of bytes greater than 0"),
        (Verdict, {"usable": "yes"}, "usable='yes': expected True or False"),
    ],
)
def test_a_slip_is_told_with_what_to_write(kind: Any, given: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidDescriptor) as caught:
        kind(**{**VALID[kind], **given})
    parts = said.split(".*")
    text = str(caught.value)
    assert text.startswith(kind.__name__)
    for part in parts:
        assert part.strip() in text
        text = text.partition(part.strip())[2]
