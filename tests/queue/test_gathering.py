"""Many handles on one wait."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pyxqueue import (
    AsyncResult,
    ConfigurationError,
    ResultTimeoutError,
    TaskCancelledError,
    TaskError,
    TaskQueue,
    UnknownTaskError,
    agather,
    as_completed,
    gather,
)
from pyxqueue.model.message import Record, evolve
from pyxqueue.protocols import Backend
from pyxqueue.testing import FaultyBroker, drain
from tests.conftest import Servers, kinds_to_test
from tests.support.until import until

Handles = list[AsyncResult[Any]]
GatherKind = Callable[..., list[Any]]


def work(value: object) -> object:
    if value == "bad":
        raise ValueError(value)
    return value


def gather_in_asyncio(handles: Iterable[AsyncResult[Any]], **options: Any) -> list[Any]:
    return asyncio.run(agather(handles, **options))


def in_asyncio(handles: Iterable[AsyncResult[Any]], timeout: Any = None) -> Handles:
    async def main() -> Handles:
        return [handle async for handle in as_completed(handles, timeout)]

    return asyncio.run(main())


def in_a_loop(handles: Iterable[AsyncResult[Any]], timeout: Any = None) -> Handles:
    return list(as_completed(handles, timeout))


gathers = pytest.mark.parametrize("gathered", [gather, gather_in_asyncio], ids=["gather", "agather"])
loops = pytest.mark.parametrize("completed", [in_a_loop, in_asyncio], ids=["for", "async for"])


class CountedWaits(FaultyBroker):
    """A backend that counts the waits on it."""

    def __init__(self, inner: Backend) -> None:
        super().__init__(inner)
        self.asked: list[Sequence[str]] = []

    def wait(self, ids: Sequence[str], timeout_ms: int | None, least: int | None = None) -> Sequence[Record | None]:
        self.asked.append(ids)
        return super().wait(ids, timeout_ms, least)


@gathers
def test_the_values_are_in_the_order_of_the_handles(queue: TaskQueue, gathered: GatherKind) -> None:
    """The order is that of the handles, one of which may stand there twice; no handle gives an empty list."""
    handles = queue.task(work).map([(n,) for n in range(5)])
    drain(queue)

    assert gathered([*reversed(handles), handles[0]]) == [4, 3, 2, 1, 0, 0]
    assert gathered(iter(handles)) == [0, 1, 2, 3, 4]
    assert gathered([]) == []


@gathers
def test_the_first_error_is_raised_while_others_run(queue: TaskQueue, gathered: GatherKind) -> None:
    """The first error ends the wait; the other tasks are not waited for."""
    task = queue.task(work)
    bad = task("bad")
    drain(queue)

    with pytest.raises(TaskError, match="bad"):
        gathered([task(1), bad])


@gathers
def test_errors_can_stand_among_the_values(queue: TaskQueue, gathered: GatherKind) -> None:
    """With `return_exceptions`, each error is the one that `get` would raise."""
    task = queue.task(work)
    handles = [task(1), task("bad"), task(3), queue.result("unknown"), task(5)]
    handles[2].cancel()
    drain(queue)
    handles[4].forget()

    one, *errors = gathered(handles, return_exceptions=True)
    assert one == 1
    assert [type(error) for error in errors] == [TaskError, TaskCancelledError, UnknownTaskError, UnknownTaskError]


@gathers
@pytest.mark.parametrize("timeout", [0.01, timedelta(milliseconds=10)])
def test_the_time_is_for_all(queue: TaskQueue, gathered: GatherKind, timeout: Any) -> None:
    """The timeout is for all handles; its error names one that is missing, also with `return_exceptions`."""
    task = queue.task(work)
    done = task(1)
    drain(queue)
    late = task(2)

    text = f"^not all of 2 tasks have ended within 0.01 s: task {late.task_id} is PENDING"
    with pytest.raises(ResultTimeoutError, match=text):
        gathered([done, late], timeout=timeout, return_exceptions=True)


@pytest.mark.parametrize("handles", [3, [3], [None]])
def test_only_handles_are_gathered(handles: Any) -> None:
    """Anything else is refused, and the error shows what was given."""
    for function in (gather, gather_in_asyncio, in_a_loop, in_asyncio):
        with pytest.raises(ConfigurationError, match=r"takes one iterable of handles, .* not (3|None)"):
            function(handles)


def test_one_handle_is_no_list_of_handles(queue: TaskQueue) -> None:
    """`gather(a, b)`, as in asyncio, is refused with an error that says what to write."""
    with pytest.raises(ConfigurationError, match="takes one iterable of handles"):
        gather(queue.task(work)(1))  # type: ignore[call-overload]


@loops
def test_each_comes_as_it_ends(tmp_path: Path, servers: Servers, stream_key: str, completed: Any) -> None:
    """On every store a handle comes while others still run; its value needs no further read."""
    urls = ["memory://", f"sqlite:///{tmp_path}/queue.db", servers(kinds_to_test()[0]).url]
    for url in urls:
        with closing(TaskQueue(url, stream_key=stream_key)) as queue:
            first, second = queue.task(work).map([(1,), (2,)])
            finish = threading.Thread(target=drain, args=[queue])
            finish.start()
            found = completed([second, first, second], 30)
            finish.join()
            assert {handle.task_id for handle in found[:2]} <= {first.task_id, second.task_id}
            assert len(found) == 3
            queue.stores.backend.forget([first.task_id, second.task_id])
            assert [second.get(), first.get()] == [2, 1]


@loops
def test_what_has_failed_comes_too(queue: TaskQueue, completed: Any) -> None:
    """The handle of a failed task comes as well, and its `get` raises the error."""
    bad, unknown = queue.task(work)("bad"), queue.result("unknown")
    drain(queue)

    assert {handle.task_id for handle in completed([unknown, bad])} == {"unknown", bad.task_id}
    with pytest.raises(TaskError):
        bad.get()


@loops
def test_the_loop_ends_with_its_time(queue: TaskQueue, completed: Any) -> None:
    """The loop raises at its timeout, after the handles of the tasks that had ended by then."""
    task = queue.task(work)
    done = task(1)
    drain(queue)
    found = iter(as_completed([task(2), done], 0.01))

    assert next(found) == done
    with pytest.raises(ResultTimeoutError, match="not all of 2 tasks have ended"):
        next(found)
    with pytest.raises(ResultTimeoutError):
        completed([task(2)], 0.01)


def test_all_are_waited_for_on_one_wait(queue: TaskQueue) -> None:
    """Many handles share one wait, and no thread is started for any of them."""
    handles = queue.task(work).map([(n,) for n in range(300)])
    waits: Any = CountedWaits(queue.stores.backend)
    for handle in handles:
        handle._reader = evolve(handle._reader, backend=waits, producer=waits)
    before = threading.active_count()
    drain(queue)

    assert gather(handles) == list(range(300))
    assert [len(ids) for ids in waits.asked] == [300]
    assert threading.active_count() <= before


@gathers
def test_several_queues(tmp_path: Path, servers: Servers, stream_key: str, gathered: GatherKind) -> None:
    """Their stores are looked at in turn, and an error on any of them ends the wait."""
    urls = [f"sqlite:///{tmp_path}/queue.db", servers(kinds_to_test()[0]).url]
    with ExitStack() as stack:
        queues = [stack.enter_context(closing(TaskQueue(url, stream_key=stream_key))) for url in urls]
        tasks = [queue.task(name="work")(work) for queue in queues]
        handles = [task(n) for n, task in enumerate(tasks * 2)]
        finish = threading.Thread(target=lambda: [drain(queue) for queue in reversed(queues)])
        finish.start()
        assert gathered(handles, timeout=30) == [0, 1, 2, 3]
        finish.join()
        never, bad = tasks[0](1), tasks[1]("bad")
        drain(queues[1])
        with pytest.raises(TaskError):
            gathered([never, bad], timeout=30)


def test_two_stores_of_one_process() -> None:
    """Eager queues run what is waited for, and their clock moves for a delayed task."""
    one, other = (TaskQueue(name, eager=True).task(name="work")(work) for name in "ab")

    assert gather([one.with_options(delay=3600)(1), other.with_options(delay=60)(2)]) == [1, 2]


def test_gather_warns_if_no_worker_serves_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One warning covers all handles."""
    monkeypatch.setattr("pyxqueue.client.waiting._SILENCE", 10)
    with closing(TaskQueue(f"sqlite:///{tmp_path}/queue.db")) as queue:
        handles = queue.task(work).map([(1,), (2,)])
        waiting = threading.Thread(target=gather, args=[handles])
        waiting.start()
        until(lambda: caplog.messages, "the hint")
        drain(queue)
        waiting.join(30)

    (line,) = caplog.messages
    assert line.startswith(f"2 tasks wait, task {handles[0].task_id} first, and no worker serves its queue")


def test_many_are_looked_at_seldom(servers: Servers, stream_key: str) -> None:
    """With a thousand handles, the end of one task does not cause a read of all of them."""
    with closing(TaskQueue(servers(kinds_to_test()[0]).url, stream_key=stream_key)) as queue:
        handles: Handles = queue.task(name="one")(lambda n: n).map([(n,) for n in range(1000)])
        waits: Any = CountedWaits(queue.stores.backend)
        finish = threading.Thread(target=drain, args=[queue])
        finish.start()
        handles[0]._reader = reader = evolve(handles[0]._reader, backend=waits)
        for handle in handles:
            handle._reader = reader
        assert sorted(handle.get() for handle in as_completed(handles)) == list(range(1000))
        finish.join()
        assert len(waits.asked) < 700
