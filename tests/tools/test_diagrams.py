"""The pictures of the architecture show what is there."""

from __future__ import annotations

from types import ModuleType

import pytest

TOOL = "diagrams"


def test_the_committed_pictures_are_current(tool: ModuleType) -> None:
    stale = [name for name, picture in tool.pictures().items() if picture != tool.drawn(name)]
    assert stale == [], "run tools/diagrams.py"


def test_a_step_of_a_file_that_is_gone_is_an_error(tool: ModuleType) -> None:
    steps = (*tool.EVENT, tool.Step("read", "transport/session.py  gone.py", (0, 0)))
    with pytest.raises(tool.CannotDraw, match=r"not in flask_socketio_core/: transport/gone\.py"):
        tool.way(steps)


def test_every_row_and_module_is_in_the_picture_of_the_tree(tool: ModuleType) -> None:
    picture = tool.pictures()["tree.svg"]
    names = [name for row in tool.rows() for name in row]
    assert names
    assert [name for name in names if f">{name}<" not in picture and f">{name}/<" not in picture] == []
