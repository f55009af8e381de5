"""The kit quotes the laws from the docstrings of the protocols."""

from __future__ import annotations

import pytest

from pyxqueue.testing.contract.laws import Law, law, read_laws


class Some:
    """A protocol.

    * **X1 First.** It has
      two lines.
    * **X2** It has no title.

      - It has a consequence.

    * **X10 Last.** It stands apart.

    No law.
    """


def test_laws_are_read_from_a_docstring() -> None:
    """Every bullet with a number is a law, with the list or the table below it."""
    laws = read_laws(Some)

    assert {number: found.text for number, found in laws.items()} == {
        "X1": " First. It has\n  two lines.",
        "X2": " It has no title.\n\n  - It has a consequence.",
        "X10": " Last. It stands apart.",
    }


def test_a_law_of_the_protocols_is_found() -> None:
    """The kit's own laws are those of `pyxqueue.protocols`."""
    assert law("B4").text.startswith(" Fenced. `settle` accepts a settlement only with the current receipt")


def test_a_broken_law_is_quoted() -> None:
    """A failure says what was seen and wanted, and the text of the law."""
    with pytest.raises(AssertionError) as raised:
        Law("X1", " First. It is so.").same(1, 2, "the number of things")

    assert str(raised.value) == (
        "law X1 is broken: the number of things\n  seen:   1\n  wanted: 2\n\nX1 First. It is so."
    )


def test_what_holds_is_silent() -> None:
    """Nothing is raised where nothing is wrong, and what is there is returned."""
    found = Law("X1", "")
    found.same(1, 1, "")
    found.holds(True, "")

    assert found.there("it", "") == "it"


@pytest.mark.parametrize("check", [lambda found: found.holds([], "no"), lambda found: found.there(None, "no")])
def test_what_does_not_hold_is_told(check: object) -> None:
    """An empty result and a missing one both break the law."""
    assert callable(check)
    with pytest.raises(AssertionError, match="law X1 is broken: no"):
        check(Law("X1", ""))
