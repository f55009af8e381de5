"""A server restored from a backup uses ids of entries again: what a worker has from before counts no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pyxqueue.backends.redis import RedisBackend
from pyxqueue.model.message import (
    Cancelled,
    Defer,
    Done,
    Extension,
    Fail,
    LeaseStatus,
    Message,
    Progress,
    Retry,
    Settlement,
    StartStatus,
    Suspend,
    TaskStatus,
    Verdict,
)
from tests.support.settlements import done

FUTURE = f"{10**14}-0"
"""Later than any time: Redis numbers the entries behind it one by one, so the next id does not depend on the time."""
VERDICTS: list[Verdict] = [Done(), Retry(), Retry(60_000), Defer(), Suspend(event="e"), Fail("x"), Cancelled()]


@pytest.fixture
def receipts(backend: RedisBackend, client: Any, stream_key: str) -> tuple[str, str]:
    """The receipts of a task that the server has lost, and of one that has its entry now; one worker has both."""
    client.xdel(stream_key, client.xadd(stream_key, {"name": "job"}, id=FUTURE))
    backup = {key: client.dump(key) for key in (stream_key.encode(), *client.scan_iter(f"*{stream_key}}}*"))}
    backend.enqueue([Message("lost", "job")])
    (lost,) = backend.claim("w", 1, 0)
    client.delete(*client.scan_iter(f"*{stream_key}}}*"))
    for key, value in backup.items():
        client.restore(key, 0, value, replace=True)
    backend.enqueue([Message("new", "job")])
    (new,) = backend.claim("w", 1, 0)
    assert lost.receipt.replace("lost", "new") == new.receipt
    return lost.receipt, new.receipt


@pytest.mark.parametrize("verdict", VERDICTS, ids=str)
def test_a_settlement_is_refused(backend: RedisBackend, receipts: tuple[str, str], verdict: Verdict) -> None:
    """The task that has the entry now is not settled with it."""
    lost, new = receipts

    assert backend.settle([Settlement(lost, verdict)]) == [False]

    assert backend.settle([done(new, "new")]) == [True]
    assert [one and one.status for one in backend.show(["lost", "new"])] == [None, TaskStatus.SUCCESS]


def test_it_is_refused_in_a_batch_too(backend: RedisBackend, receipts: tuple[str, str]) -> None:
    lost, new = receipts

    assert backend.settle([done(lost, "lost"), done(new, "new"), done(lost, "lost")]) == [False, True, False]


LOOKS: dict[str, tuple[Callable[[RedisBackend, str], object], object]] = {
    "extend": (lambda backend, one: backend.extend([Extension(one, Progress(1, 2, ""))]), [LeaseStatus.LOST]),
    "begin": (lambda backend, one: backend.begin([one]), [StartStatus.LOST]),
    "save_steps": (lambda backend, one: backend.save_steps(one, {"step:a": b"1"}), LeaseStatus.LOST),
}


@pytest.mark.parametrize("name", LOOKS)
def test_the_worker_learns_it(backend: RedisBackend, receipts: tuple[str, str], name: str) -> None:
    """Nothing is stored about the task that was lost, so its id can be enqueued again."""
    call, wanted = LOOKS[name]

    assert call(backend, receipts[0]) == wanted

    assert backend.show(["lost"]) == [None]
    assert backend.enqueue([Message("lost", "job")]) == [True]
    assert backend.settle([done(receipts[1], "new")]) == [True]
