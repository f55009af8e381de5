"""What the laws cannot ask of every backend: a process that is killed in the middle leaves nothing half done."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from harness import FilesHarness
from pyxqueue_files import FilesBackend
from pyxqueue_files.folder import Folder

from pyxqueue.model.message import Delivery, Done, Fail, Retry, Settlement
from pyxqueue.testing.contract.laws import law
from pyxqueue.testing.contract.steps import claimed, done, fail, jobs, photo, take

STEPS = [(Path, "mkdir"), (Path, "write_bytes"), (Path, "rename"), (Path, "unlink"), (shutil, "rmtree")]
"""All that changes the disk."""


class Killed(BaseException):
    """Nobody catches it, as nobody catches SIGKILL."""


class Life:
    """Lets so many steps happen, and kills in the middle of the next."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps = -1
        for owner, name in STEPS:
            monkeypatch.setattr(owner, name, self.mortal(getattr(owner, name), name))

    def mortal(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        def step(*args: Any, **options: Any) -> Any:
            self.steps -= 1
            if self.steps == -1:
                if name == "write_bytes":
                    function(args[0], args[1][: len(args[1]) // 2])
                raise Killed(name)
            return function(*args, **options)

        return step


Operation = Callable[[FilesBackend, Sequence[Delivery]], object]
OPERATIONS: dict[str, Operation] = {
    "enqueue": lambda backend, _: backend.enqueue(jobs(3, "new", delay_ms=0)),
    "claim": lambda backend, _: backend.claim("two", 2, 0),
    "settle": lambda backend, mine: backend.settle(
        [done(mine[0], then=jobs(2, "next")), fail(mine[1]), Settlement(mine[2].receipt, Retry(5_000))]
    ),
    "release": lambda backend, mine: backend.release("one", [mine[0].receipt]),
    "cancel and trim": lambda backend, _: backend.cancel(["t004", "t005"]),
    "remove a group": lambda backend, _: backend.remove_group("other"),
    "finish and forget": lambda backend, mine: backend.settle(
        [Settlement(mine[0].receipt, Done()), Settlement(mine[1].receipt, Fail("no use"))]
    ),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_killed_operation_happened_or_did_not(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever step was its last, whoever comes next finds all of it done in every group, or nothing."""
    # Given a queue of two groups
    first = FilesHarness(tmp_path / "first")
    other, backend = first.open("other"), first.open(history=1)
    other.lease_ms()
    claimed(backend, law("B5"), "old")
    backend.enqueue(jobs(6))
    mine = take(backend, 3)
    before, after, ends = seen(first), None, []
    life = Life(monkeypatch)
    # When a process is killed at its first step, at its second, and so on until it comes to its end
    for steps in range(1_000):
        copy = FilesHarness(tmp_path / "copy")
        shutil.copytree(first.folder, copy.folder)
        life.steps = steps
        try:
            OPERATIONS[name](copy.open(history=1), mine)
            after = seen(copy)
            break
        except Killed:
            life.steps = -1
            ends.append(seen(copy))
        finally:
            life.steps = -1
            shutil.rmtree(copy.folder)
    # Then each time it had happened or not, and what had happened once is not undone by a later death
    assert after not in (None, before)
    assert len(ends) > 3
    happened = ends.index(after)
    assert ends == [before] * happened + [after] * (len(ends) - happened)


def test_a_fork_in_the_midst_keeps_no_lock(tmp_path: Path) -> None:
    """A task may start a process while another thread changes the folder; however long it lives, it is in no way."""
    reader, writer = os.pipe()
    with Folder(tmp_path).change() as change:
        change.ticket()
        child = os.fork()
        if child == 0:
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
    try:
        with (tmp_path / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(writer)
        os.waitpid(child, 0)
        os.close(reader)


def seen(harness: FilesHarness) -> object:
    """All that can be seen of the queue, by a process that has just started."""
    groups = harness.open("cg").groups()
    everything = [(name, photo(harness.open(name))) for name in groups]
    assert not list(harness.folder.rglob("journal"))
    return everything
