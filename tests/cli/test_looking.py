"""What `info` and `top` say is wrong with a group."""

from __future__ import annotations

import pytest

from pyxqueue.cli.looking import Look, workers_line, wrong
from pyxqueue.client.views import QueueInfo, WorkerInfo
from pyxqueue.model.message import Depth
from pyxqueue.model.presence import WorkerFacts


def worker(
    *held: str, host: str = "web1", pid: int = 1, idle_ms: int = 10, slots: int = 1, draining: bool = False,
    lost: bool = False,
) -> WorkerInfo:  # fmt: skip
    facts = WorkerFacts(host, pid, 7, 0, "1", "3", [], 0, slots, 1, draining, [], 0, lost)
    return WorkerInfo(f"w{pid}", None, pid, idle_ms, held, [], facts, host)


def said(*workers: WorkerInfo, ready: int = 0, failed: int = 0, paused: bool = False) -> list[str]:
    depth = Depth(ready, 0, 0, failed, 0, oldest_ms=33_000 if ready else 0)
    info = QueueInfo("shop", "cg", depth, paused=paused)
    return list(wrong(Look(info, workers, [], [], 30_000, "shop", " shop")))


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (said(ready=5), "no worker is running → pyxqueue worker shop"),
        (said(worker("a"), ready=1_253), "1,253 wait, every worker is busy, the oldest waits 33 s"),
        (said(worker(draining=True)), "every worker is draining, so no task starts → pyxqueue worker shop"),
        (
            said(worker("a", "b", host="web2", pid=811, idle_ms=18_000, lost=True)),
            "web2:811 is silent for 18 s and holds 2 tasks: its lease ends in 12 s",
        ),
        (
            said(worker("a", host="web2", pid=811, idle_ms=40_000)),
            "web2:811 is silent for 40 s and holds 1 task: its lease has ended, others take over",
        ),
        (said(worker(), failed=3), "3 failed → pyxqueue failed shop --by kind"),
    ],
)
def test_what_is_wrong_is_said_in_words(found: list[str], line: str) -> None:
    """One line each, with the command that helps."""
    assert found == [line]


@pytest.mark.parametrize(
    "found",
    [
        said(worker(), ready=5),
        said(worker("a", slots=2), ready=5),
        said(worker("a"), worker(pid=2), ready=5),
        said(worker("a"), ready=5, paused=True),
        said(worker("a")),
        said(worker(idle_ms=20_000)),
    ],
)
def test_what_is_as_it_should_be_is_not_mentioned(found: list[str]) -> None:
    """A worker with room, a pause, and a silent worker that holds nothing are no alarm."""
    assert found == []


def test_many_silent_workers_are_counted() -> None:
    """A dead host may have had hundreds."""
    found = said(*(worker(f"t{pid}", pid=pid, lost=True, idle_ms=18_000) for pid in range(40)))

    assert len(found) == 4
    assert found[-1] == "37 more workers are silent and hold tasks"


def test_workers_are_counted_in_one_line() -> None:
    """How many there are, on how many hosts, and what they do."""
    workers = [worker("a"), worker(host="web2", draining=True), worker("b", host="web2", lost=True)]

    look = Look(QueueInfo("shop", "cg", None), workers, [], [], 30_000, "", "")

    assert workers_line(look) == "3 workers on 2 hosts: 1 busy, 1 idle, 1 silent, 1 draining"
