"""A file was restored from a backup: it uses numbers again, and what a worker has from before counts no more."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest

from pyxqueue import BrokerUnavailableError
from pyxqueue.model.message import (
    Cancelled,
    Defer,
    Done,
    Extension,
    Fail,
    LeaseStatus,
    Message,
    Retry,
    Settlement,
    StartStatus,
    Suspend,
    TaskStatus,
    Verdict,
)
from tests.support.settlements import done

from .conftest import Open

VERDICTS: list[Verdict] = [Done(), Retry(), Defer(), Suspend(event="e"), Fail("x"), Cancelled()]


@pytest.fixture
def lost(open_store: Open, file: Path) -> str:
    """The receipt of a task that the file does not have any more."""
    with closing(open_store()) as backend:
        backend.lease_ms()
    backup = shutil.copy(file, file.with_suffix(".backup"))
    with closing(open_store()) as backend:
        backend.enqueue([Message("lost", "job")])
        (held,) = backend.claim("w", 1, 0)
    shutil.move(backup, file)
    return held.receipt


@pytest.mark.parametrize("verdict", [None, *VERDICTS], ids=str)
def test_it_settles_no_other_task(open_store: Open, lost: str, verdict: Verdict | None) -> None:
    with closing(open_store()) as backend:
        backend.enqueue([Message("new", "job")])
        (held,) = backend.claim("w", 1, 0)
        assert lost.replace("lost", "new") == held.receipt
        stale = done(lost, "lost") if verdict is None else Settlement(lost, verdict)

        assert backend.settle([stale]) == [False]

        assert backend.extend([Extension(lost), Extension(held.receipt)]) == [LeaseStatus.LOST, LeaseStatus.HELD]
        assert backend.begin([lost]) == [StartStatus.LOST]
        assert backend.save_steps(lost, {"step:a": b"1"}) is LeaseStatus.LOST
        assert backend.settle([done(lost, "lost"), done(held.receipt, "new")]) == [False, True]
        assert [one and one.status for one in backend.show(["lost", "new"])] == [None, TaskStatus.SUCCESS]


def test_what_is_ready_in_it_is_claimed_at_once(open_store: Open, file: Path) -> None:
    """Also by a worker that has looked at larger numbers in the file before, and found nothing there."""
    with closing(open_store()) as backend:
        backend.enqueue([Message(f"old-{number}", "job") for number in range(9)])
    backup = shutil.copy(file, file.with_suffix(".backup"))
    with closing(open_store()) as worker:
        worker.enqueue([Message(f"new-{number}", "job") for number in range(9)])
        assert len(worker.claim("w", 99, 0)) == 18
        assert worker.claim("w", 1, 0) == []
        assert worker.claim("w", 1, 0) == []
        shutil.move(backup, file)
        with pytest.raises(BrokerUnavailableError):
            worker.claim("w", 1, 0)

        claimed = [one.message.id for _ in range(3) for one in worker.claim("w", 3, 0)]

    assert claimed == [f"old-{number}" for number in range(9)]
