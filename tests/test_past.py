"""The lines of earlier attempts: they are short whatever they tell, and read whatever was written."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyxqueue.model.message import Message
from pyxqueue.model.past import LOST, MAX_BYTES, MAX_LINES, Attempt, appended, attempts_in, line, line_of_silent
from pyxqueue.model.wire import message_from_fields, message_to_fields
from pyxqueue.options import TaskOptions
from pyxqueue.policy import admit

TEXTS = st.text(st.characters(), max_size=400)
NUMBERS = st.integers(0, 2**53 - 1)
ATTEMPTS = st.builds(Attempt, NUMBERS, TEXTS, TEXTS, NUMBERS, TEXTS, TEXTS, NUMBERS)
WIDEST = "\N{GRINNING FACE}" * 999


@given(ATTEMPTS)
def test_a_line_is_short_and_read_again(attempt: Attempt) -> None:
    """It has room in the past, its texts are printable, and to write it again changes nothing."""
    written = line(attempt)

    (read,) = attempts_in(written)

    assert len(written.encode()) <= MAX_BYTES
    assert "\n" not in written
    assert (read.attempt, read.when_ms, read.ran_ms) == (attempt.attempt, attempt.when_ms, attempt.ran_ms)
    assert all(text.isprintable() for text in (read.type, read.text, read.worker, read.host))
    assert line(read) == written
    assert appended("", written) == written


def test_the_longest_line() -> None:
    """One whose texts all have the widest letters still has room."""
    largest = 2**53 - 1
    written = line(Attempt(largest, WIDEST, WIDEST, largest, WIDEST, WIDEST, largest))

    assert MAX_BYTES // 2 < len(written.encode()) <= MAX_BYTES
    assert len(attempts_in(written)) == 1


@given(st.lists(st.one_of(ATTEMPTS.map(line), st.text(st.characters(exclude_categories=["Cs"]), max_size=3_000))))
def test_the_past_is_bounded(lines: list[str]) -> None:
    """Whatever is added: it has at most five lines of 2,048 bytes, the newest are kept, and the message is readable."""
    past = ""
    for one in lines:
        before, past = past, appended(past, one)
        assert past == before or past.split("\n")[-1] == one.replace("\n", " ")

    assert len(past.encode()) <= MAX_BYTES
    assert past.count("\n") < MAX_LINES
    message, flat = Message("one", "job", past=past), iter(message_to_fields(Message("one", "job", past=past)))
    assert message_from_fields(dict(zip(flat, flat, strict=True)), "one") == message


@given(
    st.one_of(
        st.text(),
        st.lists(st.text()).map("\n".join),
        st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps),
    )
)
def test_what_is_no_line_is_left_out(past: str) -> None:
    """Nothing that is found in a past raises."""
    assert len(attempts_in(past)) <= MAX_LINES


@pytest.mark.parametrize(
    "damaged",
    [
        "[" * 100_000, "[]", '[1,"E"]', '[-1,"E","x",1,"w"]', '[1,"E","x",9007199254740992,"w"]', '[1,"E",2,1,"w"]',
        '[true,"E","x",1,"w"]', '["\\ud800', '{"attempt":1}', "x" * 1_000_000,
    ],
)  # fmt: skip
def test_a_damaged_line(damaged: str) -> None:
    """It is left out, and the others are read."""
    found = attempts_in(f'[1,"E","x",1,"w"]\n{damaged}\n[2,"F","y",2,"w","host",3]')

    assert found[-1] == Attempt(2, "F", "y", 2, "w", "host", 3)
    assert found[:-1] in ([], [Attempt(1, "E", "x", 1, "w")])


def test_hostile_text_is_escaped() -> None:
    """A line that another program has written is shown without its control characters, also in an error."""
    hostile = json.dumps([1, LOST, "\x1b[2J", 1, "w\nw", "\x07"])

    (found,) = attempts_in(hostile)
    failed = admit(Message("one", "job", crashes=9, past=hostile), TaskOptions())

    assert (found.text, found.worker, found.host) == (r"\x1b[2J", r"w\nw", r"\x07")
    assert failed is not None
    assert failed.reason == r"its worker process died 9 times while it ran, last: \x1b[2J (worker w\nw on host \x07)"


def test_a_lease_that_ended_on_a_clock_that_went_back() -> None:
    """No time in its line is negative."""
    (found,) = attempts_in(line_of_silent(1, -5, -7, "w", ""))

    assert (found.when_ms, found.ran_ms) == (0, 0)
