"""Disconnect reasons: python-socketio's five texts, and what tells more of them apart."""

from __future__ import annotations

import json
import pickle

import pytest
import socketio

from flask_socketio_core import SocketIO
from flask_socketio_core.common.reasons import DisconnectReason, Reason, by_application, check_reason, shown

NAMES = [name for name in vars(Reason) if name.isupper()]
FIVE = [name for name in vars(socketio.Server.reason) if name.isupper()]


def test_those_of_python_socketio_are_there_and_have_no_detail() -> None:
    for name in FIVE:
        reason = getattr(SocketIO.reason, name)
        assert (reason, reason.detail) == (getattr(socketio.Server.reason, name), "")


@pytest.mark.parametrize("name", sorted(set(NAMES) - set(FIVE)))
def test_each_other_is_equal_to_one_of_them_and_has_its_name_as_detail(name: str) -> None:
    reason = getattr(Reason, name)
    assert str(reason) in [getattr(socketio.Server.reason, known) for known in FIVE]
    assert reason.detail == name.lower()
    assert shown(reason) == f"{reason} ({name.lower()})"
    assert json.dumps(reason) == f'"{reason}"'
    again = pickle.loads(pickle.dumps(reason))
    assert (again, again.detail) == (reason, reason.detail)


def test_another_server_can_only_tell_what_an_application_can() -> None:
    assert by_application("replaced") is Reason.REPLACED
    assert by_application("expired") is Reason.EXPIRED
    others = ("kicked", "shutdown", "server disconnect", "", None, [1], "a\nb", "x" * 201)
    assert [by_application(detail) is Reason.KICKED for detail in others] == [True] * len(others)
    own = by_application("banned")
    assert (own, own.detail) == (Reason.SERVER_DISCONNECT, "banned")
    assert shown("a stranger's") == "a stranger's"


def test_an_application_has_reasons_of_its_own() -> None:
    assert check_reason("kicked") is check_reason(Reason.KICKED) is Reason.KICKED
    for reason in ("banned", "x" * 200, DisconnectReason("server disconnect", "banned")):
        checked = check_reason(reason)
        assert (checked, checked.detail) == (Reason.SERVER_DISCONNECT, getattr(reason, "detail", reason))


@pytest.mark.parametrize(
    "reason",
    ["server disconnect", "shutdown", "", "x" * 201, "a\nb", Reason.SHUTDOWN, Reason.PING_TIMEOUT, None],
)
def test_an_application_disconnects_for_no_other_reason(reason: object) -> None:
    with pytest.raises(ValueError, match="is not why an application disconnects a client"):
        check_reason(reason)
