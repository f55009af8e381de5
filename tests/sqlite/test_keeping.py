"""What is kept, for how long, and that nothing of it grows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from pyxqueue.model.message import DEDUPE_MS, Cancelled, Done, Message, Retry, Settlement

from ..support.sqlite_harness import SQLiteHarness
from .conftest import ask

HOUR = 3_600_000


@pytest.fixture
def harness() -> Iterator[SQLiteHarness]:
    with closing(SQLiteHarness()) as harness:
        yield harness


def test_the_file_stops_growing(harness: SQLiteHarness) -> None:
    """The room of what was forgotten is used again."""
    backend = harness.open(history=20)
    sizes = []
    for turn in range(6):
        for part in range(4):
            backend.enqueue([Message(f"{turn}-{part}-{number}", "kit.job", b"x" * 400) for number in range(100)])
            backend.settle([Settlement(delivery.receipt, Done()) for delivery in backend.claim("one", 100, 0)])
        harness.advance(25 * HOUR + DEDUPE_MS)
        for _ in range(3):  # each forgets a limited number
            backend.claim("one", 1, 0)
        sizes.append(ask(backend, "PRAGMA page_count")[0][0])
    assert sizes[1] == sizes[-1]


def test_a_silent_consumer_is_forgotten(harness: SQLiteHarness) -> None:
    """One whose process died where nobody could see it is not listed for ever; what it holds is, with its name."""
    backend = harness.open(lease=3 * HOUR)
    backend.enqueue([Message("a", "kit.job")])
    backend.claim("silent", 0, 0)
    backend.claim("holder", 1, 0)
    harness.advance(HOUR + 1)
    backend.claim("one", 1, 0)
    assert {consumer.name: list(consumer.in_flight) for consumer in backend.consumers()} == {"holder": ["a"], "one": []}


def test_a_claim_of_nothing_does_not_wait(harness: SQLiteHarness) -> None:
    """Whoever has no room gets nothing at once, though there is work."""
    backend = harness.open()
    backend.enqueue([Message("a", "kit.job")])
    before = backend._store.mark().own
    assert list(backend.claim("one", 0, 50_000)) == []
    assert backend._store.mark().own == before + 1


def test_a_group_that_comes_back_issues_no_old_receipt(harness: SQLiteHarness) -> None:
    """A holder from before a group was removed settles nothing in the one that has its name now."""
    backend = harness.open()
    backend.enqueue([Message("a", "kit.job")])
    (old,) = backend.claim("one", 1, 0)
    backend.remove_group("cg")
    backend.enqueue([Message("a", "kit.job")])
    (new,) = backend.claim("one", 1, 0)
    assert backend.settle([Settlement(old.receipt, Done())]) == [False]
    assert new.fence > old.fence
    assert backend.settle([Settlement(new.receipt, Done())]) == [True]


def test_queues_in_one_file_do_not_meet(harness: SQLiteHarness) -> None:
    """The same id in two queues is two tasks."""
    one = harness.open()
    harness.stream_key = "other"
    other = harness.open()
    assert [*one.enqueue([Message("a", "kit.job")]), *other.enqueue([Message("a", "kit.job")])] == [True, True]
    assert (one.groups(), other.groups()) == (["cg"], ["cg"])
    one.remove_group("cg")
    assert other.depth().ready == 1


def test_an_unreadable_entry_is_at_its_first_attempt_until_it_ends(harness: SQLiteHarness) -> None:
    """Retries of it are not counted, for it has no header; the record of its end says the same."""
    backend = harness.open()
    backend.lease_ms()  # registers the group
    task_id = harness.inject({b"junk": b""})
    for verdict in (Retry(0), Cancelled()):
        (delivery,) = backend.claim("one", 1, 0)
        assert backend.settle([Settlement(delivery.receipt, verdict)]) == [True]

    (record,) = backend.wait([task_id], 0)

    assert record is not None
    assert record.attempt == 1
