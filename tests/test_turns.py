"""The order in which messages that came back and new ones are claimed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyxqueue.model.priorities import CLASSES, HIGHEST, LOWEST, class_of
from pyxqueue.model.turns import BY_AGE, Lines, Turn, Turns, shares, take_first, take_turns

sizes = st.integers(0, 12)


def lines(came_back: int, new: int) -> tuple[list[str], list[str]]:
    return [f"b{number}" for number in range(came_back)], [f"n{number}" for number in range(new)]


def one_by_one(came_back: list[str], new: list[str], limit: int, owed: bool) -> Turns[str]:
    """The rule of B2, for one delivery after the other."""
    taken: list[str] = []
    back, fresh = list(came_back), list(new)
    while len(taken) < limit and (back or fresh):
        owed = not (fresh and (owed or not back))
        taken.append(back.pop(0) if owed else fresh.pop(0))
    return Turns(taken, len(came_back) - len(back), len(new) - len(fresh), owed)


@pytest.mark.parametrize(
    ("came_back", "new", "limit", "owed", "wanted"),
    [
        (3, 3, 6, False, ("b0 n0 b1 n1 b2 n2", False)),
        (3, 3, 6, True, ("n0 b0 n1 b1 n2 b2", True)),
        (3, 3, 3, False, ("b0 n0 b1", True)),
        (3, 3, 1, False, ("b0", True)),
        (3, 3, 1, True, ("n0", False)),
        (1, 4, 4, False, ("b0 n0 n1 n2", False)),
        (4, 1, 4, False, ("b0 n0 b1 b2", True)),
        (4, 0, 2, True, ("b0 b1", True)),
        (0, 4, 2, False, ("n0 n1", False)),
        (0, 4, 2, True, ("n0 n1", False)),
        (0, 0, 2, True, ("", True)),
        (0, 0, 2, False, ("", False)),
        (2, 2, 0, True, ("", True)),
    ],
)
def test_lines_take_turns(came_back: int, new: int, limit: int, owed: bool, wanted: tuple[str, bool]) -> None:
    """They alternate, the shorter one runs out, and the next claim of the handle goes on from there."""
    turns = take_turns(*lines(came_back, new), limit, owed)

    assert (" ".join(turns.taken), turns.owed) == wanted


@given(came_back=sizes, new=sizes, limit=st.integers(-1, 30), owed=st.booleans())
def test_a_batch_is_what_single_deliveries_would_be(came_back: int, new: int, limit: int, owed: bool) -> None:
    """However large a claim is, it takes what as many claims of one would take."""
    assert take_turns(*lines(came_back, new), limit, owed) == one_by_one(*lines(came_back, new), limit, owed)


@given(first=sizes, second=sizes, limit=sizes)
def test_the_shares_fill_the_limit(first: int, second: int, limit: int) -> None:
    """No place is left free while a line has a message for it, and neither gets less than its half."""
    of_first, of_second = shares(first, second, limit)

    assert of_first + of_second == min(limit, first + second)
    assert of_first >= min(first, (limit + 1) // 2)
    assert of_second >= min(second, limit // 2)


def test_classes_of_priorities() -> None:
    """The whole range, class by class."""
    found = {number: [one for one in range(LOWEST, HIGHEST + 1) if class_of(one) == number] for number in CLASSES}

    assert {number: (line[0], line[-1], len(line)) for number, line in found.items()} == {
        2: (50, 100, 51),
        1: (1, 49, 49),
        0: (0, 0, 1),
        -1: (-49, -1, 49),
        -2: (-100, -50, 51),
    }
    assert (class_of(10**16), class_of(-(10**16))) == (2, -2)


Ages = dict[int, Lines[int]]
"""Messages are the numbers of their order, by class and line."""


def first_of_all(classes: Ages, limit: int, turn: Turn) -> tuple[list[int], Turn]:
    """The rule of B2, for one delivery after the other."""
    rest = {number: (list(lines.came_back), list(lines.new)) for number, lines in classes.items()}
    taken: list[int] = []
    while len(taken) < limit and (ready := {number: lines for number, lines in rest.items() if any(lines)}):
        number = max(ready)
        if turn.since == BY_AGE - 1:
            number = min(ready, key=lambda one: min(line[0] for line in ready[one] if line))
        back, new = ready[number]
        is_back = bool(back) and not (new and number in turn.owed)
        taken.append((back if is_back else new).pop(0))
        turn = turn.after({number: is_back})
    return taken, turn


places = st.tuples(st.sampled_from(CLASSES), st.sampled_from((0, 1)))


@given(
    st.lists(places, max_size=60),
    st.integers(-1, 70),
    st.frozensets(st.sampled_from(CLASSES)),
    st.integers(0, BY_AGE - 1),
)
def test_a_batch_of_all_classes_is_what_single_deliveries_would_be(
    order: list[tuple[int, int]], limit: int, owed: frozenset[int], since: int
) -> None:
    """However large a claim is, it takes what as many claims of one would take, and says how many of each line."""
    lines: Ages = {number: Lines([], []) for number in CLASSES}
    for age, (number, line) in enumerate(order):
        lines[number][line].append(age)  # type: ignore[attr-defined] # a list

    taken = take_first(lines, limit, Turn(owed, since), lambda age: age)

    assert (taken.messages, taken.turn) == first_of_all(lines, limit, Turn(owed, since))
    ends = {(number, line): end for number in taken.numbers for line, end in enumerate(taken.numbers[number])}
    first_ones = [one for (number, line), end in ends.items() for one in lines[number][line][:end]]
    assert sorted(first_ones) == sorted(taken.messages)
