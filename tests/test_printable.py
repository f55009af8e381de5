"""Text from anyone, as it is shown to people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyxqueue.printable import printable, printable_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("größe 尺寸 ✓", "größe 尺寸 ✓"),
        ("one\nINFO forged", r"one\nINFO forged"),
        ("\r\x1b[2J\x07", r"\r\x1b[2J\x07"),
        ("\x1b]52;c;cm0gLXJm\x07", r"\x1b]52;c;cm0gLXJm\x07"),
        ("\x9b31m\x85\u2028", r"\x9b31m\x85\u2028"),
        ("a\u202eb\u2066c", r"a\u202eb\u2066c"),
        ("\udcff", r"\udcff"),
    ],
)
def test_nothing_but_text_reaches_a_terminal(text: str, shown: str) -> None:
    """Controls of a terminal, ends of lines and marks of direction are shown as what they are."""
    assert printable(text) == shown


@given(text=st.text(), limit=st.integers(1, 50))
def test_it_is_one_printable_line_of_bounded_length(text: str, limit: int) -> None:
    """Whatever it is."""
    shown = printable(text, limit)

    assert shown.isprintable()
    assert len(shown) <= 10 * limit + 40


def test_a_long_text_says_what_is_missing() -> None:
    """Else nobody knows that there is more."""
    assert printable("x" * 1_500, 3) == "xxx… (1,497 more characters)"


def test_lines_stay_lines() -> None:
    """Each by itself."""
    assert printable_lines("a\n\tb\x1b[0m\nccc", 10) == "a\n    b\\x1b[0m\nccc"
