"""How values are written for people."""

from __future__ import annotations

import pytest

from pyxqueue.cli.output import duration, showable


@pytest.mark.parametrize(("ms", "text"), [(0, "0 ms"), (999, "999 ms"), (3_200, "3.2 s"), (5_400_000, "1.5 h")])
def test_durations_are_short(ms: int, text: str) -> None:
    """One unit, one decimal."""
    assert duration(ms) == text


def test_what_json_cannot_show_is_described() -> None:
    """Also an int that Python would not turn into text."""
    assert showable({"a": [1]}) == {"a": [1]}
    assert showable({1, 2}) == "{1, 2}"
    assert showable(10**5000) == "<int that is too long to show>"
