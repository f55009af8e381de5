"""Rows that another program has written: each is shown or failed by itself, and those beside it as ever."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from pyxqueue import TaskQueue
from pyxqueue.backends.sqlite.driver import best
from pyxqueue.errors import SerializationError
from pyxqueue.message import Done, Message, Settlement, TaskStatus, Unreadable
from pyxqueue.testing import drain

from .conftest import Open

BAD_BODIES = [b"", b"\xc1", b"\x91\xc4\x01v", b"\x01", "text", 7, b"\x92\xc4\x01v\xa1x"]


def write(file: Path, sql: str, *values: Any) -> None:
    with closing(best().connect(f"{file.as_uri()}?mode=rw")) as connection:  # the library that the queue uses
        connection.execute(sql, values)


@pytest.mark.parametrize("body", BAD_BODIES, ids=repr)
def test_a_bad_body_is_failed_and_kept(file: Path, body: object) -> None:
    """The task behind it runs."""
    queue = TaskQueue(f"sqlite:///{file}", stream_key="q")
    job = queue.task(name="job")(lambda: "done")
    with closing(queue):
        handles = job.map([(), ()])
        write(file, "UPDATE body SET fields = ? WHERE seq = (SELECT min(seq) FROM task)", body)

        drain(queue)

        assert handles[1].get(5) == "done"
        (failed,), _ = queue.stores.backend.tasks(TaskStatus.FAILURE)
        assert failed.id == handles[0].task_id
        assert isinstance(failed.message, Unreadable)


@pytest.mark.parametrize("column", ["attempt", "crashes", "suspect", "returns", "due"])
@pytest.mark.parametrize("value", ["abc", b"\xff", -5, 1.5])
def test_a_bad_header_is_failed_and_kept(file: Path, column: str, value: object) -> None:
    """Whatever stands in a number's place."""
    queue = TaskQueue(f"sqlite:///{file}", stream_key="q")
    job = queue.task(name="job")(lambda: "done")
    with closing(queue):
        handles = job.map([(), ()])
        write(file, f"UPDATE task SET {column} = ? WHERE id = ?", value, handles[0].task_id)

        drain(queue)

        assert handles[1].get(5) == "done"
        (failed,), _ = queue.stores.backend.tasks(TaskStatus.FAILURE)
        assert failed.id == handles[0].task_id


@pytest.mark.parametrize("value", [b"", b"\xc1", b"\x91\xc4\x01v", "text", 7])
def test_a_bad_record_is_an_error_of_its_own(open_store: Open, file: Path, value: object) -> None:
    """Whoever asks for it learns that it is damaged; whoever looks around sees the rest."""
    backend = open_store(driver=best())
    backend.enqueue([Message(name, "kit.job") for name in ("a", "b")])
    backend.settle([Settlement(delivery.receipt, Done()) for delivery in backend.claim("w", 5, 0)])
    write(file, "UPDATE task SET record = ? WHERE id = 'a'", value)

    with pytest.raises(SerializationError, match="the stored result of a is damaged"):
        backend.get(["a"])
    assert [info and info.status for info in backend.show(["a", "b"])] == [TaskStatus.SUCCESS, TaskStatus.SUCCESS]


@pytest.mark.parametrize("progress", [b"{", "text", 7, 1.5])
def test_a_bad_state_or_progress_stops_nobody(open_store: Open, file: Path, progress: object) -> None:
    """The task is shown as waiting, without progress."""
    backend = open_store(driver=best())
    backend.enqueue([Message(name, "kit.job") for name in ("a", "b")])
    write(file, "UPDATE task SET ended = 99, progress = ? WHERE id = 'a'", progress)

    page, _ = backend.tasks()

    assert [(info.id, info.status, info.progress) for info in page] == [
        ("b", TaskStatus.PENDING, None),
        ("a", TaskStatus.PENDING, None),
    ]
