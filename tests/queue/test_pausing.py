"""A paused queue, as an application uses it, and what `explain` says."""

from __future__ import annotations

from typing import Any

import pytest

from pyxqueue import Concurrency, ResultTimeoutError, TaskQueue, eager_mode
from pyxqueue.backends.memory import MemoryBackend, MemoryStore
from pyxqueue.clock import FakeClock
from pyxqueue.errors import ConfigurationError
from pyxqueue.protocols import Pausing, StoreOptions


def test_an_eager_queue_keeps_its_calls() -> None:
    """Calls of a paused eager queue run when it is resumed, in their order; a wait before that says why it is vain."""
    with eager_mode():
        queue, ran = TaskQueue("jobs"), list[int]()

        @queue.task(name="jobs.note")
        def note(number: int) -> None:
            ran.append(number)

        assert queue.admin.pause()
        handles = [note(number) for number in range(3)]
        assert ran == []
        with pytest.raises(ResultTimeoutError, match="the queue is paused"):
            handles[0].get()
        assert queue.admin.info().paused
        assert queue.admin.resume()
        assert ran == [0, 1, 2]
        assert not queue.admin.resume()


def test_a_store_without_pauses_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The facade refuses with words what its store cannot do."""

    class Plain(MemoryBackend):
        pause: Any = None
        resume: Any = None
        is_paused: Any = None

    backend = Plain(MemoryStore(), StoreOptions("jobs"))
    assert not isinstance(backend, Pausing)
    queue = TaskQueue(broker=backend)
    assert not queue.admin.info().paused
    with pytest.raises(ConfigurationError, match="Plain cannot pause a queue"):
        queue.admin.pause()


def test_what_a_task_waits_for() -> None:
    """Without workers: a ready task behind others, a delayed one, an ended one."""
    store = MemoryStore()
    queue = TaskQueue(broker=MemoryBackend(store, StoreOptions("jobs")))

    @queue.task(name="jobs.note")
    def note(number: int) -> None: ...

    handles = [note(number) for number in range(4)]
    late = note.with_options(delay=90)(9)

    def reasons(task_id: str) -> list[str]:
        return list(queue.admin.explain(task_id).reasons)

    assert reasons(handles[3].task_id) == ["ready, about 3 before it", "no worker is running"]
    assert reasons(late.task_id)[0].endswith("90 s more")
    backend = MemoryBackend(store, StoreOptions("jobs"))
    backend.claim("worker", 1, 0)
    assert reasons(handles[0].task_id) == ["it runs or is about to run on worker"]
    assert reasons(handles[3].task_id) == ["ready, about 2 before it"]
    handles[3].cancel()
    assert str(queue.admin.explain(handles[3].task_id)) == "it has ended with CANCELLED"


def test_eager_time_counts_in_what_is_said() -> None:
    """The delay of an eager task is told by the clock of the session."""
    with eager_mode():
        queue = TaskQueue("jobs")

        @queue.task(name="jobs.note")
        def note() -> None: ...

        handle = note.with_options(delay=10)()
        assert queue.admin.explain(handle.task_id).reasons[0].startswith("delayed until 2023-11-14 22:13:")
        assert FakeClock()() // 1000 == 1_700_000_000


def test_a_paused_limit_in_eager_mode() -> None:
    """Calls of one key wait until it is resumed, and run then; `explain` says why they wait."""
    with eager_mode():
        queue, ran = TaskQueue("jobs"), list[int]()

        @queue.task(name="jobs.note", limits=[Concurrency(2, by="number", name="api")])
        def note(number: int) -> None:
            ran.append(number)

        assert queue.admin.pause(limit="api", key=7)
        handle = note(7)
        note(8)
        assert ran == [8]
        told = (
            "the limit api/7 is paused: admin.resume(limit='api', key='7') or `pyxqueue resume --limit api --key 7` "
            "lets it go on"
        )
        assert queue.admin.explain(handle.task_id).reasons[0] == told
        assert queue.limits.paused() == ["api/7"]
        assert queue.admin.resume(limit="api", key=7)
        handle.get()
        assert ran == [8, 7]


def test_a_wrong_name_of_a_limit_is_refused() -> None:
    """A key needs its limit; and a store whose limits cannot be paused says so."""

    class Plain(MemoryBackend):
        def limits(self) -> None:  # type: ignore[override] # it has none
            return None

    queue = TaskQueue(broker=Plain(MemoryStore(), StoreOptions()))
    with pytest.raises(ConfigurationError, match="needs limit="):
        queue.admin.pause(key=7)
    with pytest.raises(ConfigurationError, match="the name of a limit"):
        queue.admin.resume(limit="a/b")
    with pytest.raises(ConfigurationError, match="Plain cannot pause a limit"):
        queue.admin.pause(limit="api")


def test_a_paused_task_name_in_eager_mode() -> None:
    """Calls of that task wait until it is resumed, and run then, in their order; other tasks run."""
    with eager_mode():
        queue, ran = TaskQueue("jobs"), list[str]()

        @queue.task(name="jobs.render")
        def render(text: str) -> None:
            ran.append(text)

        @queue.task(name="jobs.send")
        def send(text: str) -> None:
            ran.append(text)

        assert queue.admin.pause(task="jobs.render")
        handle = render("a")
        render("b")
        send("c")
        assert ran == ["c"]
        assert queue.admin.info().paused_tasks == ["jobs.render"]
        assert (queue.limits.paused(), queue.limits.gates()) == ([], [])
        why = (
            "the task jobs.render is paused: admin.resume(task='jobs.render') or `pyxqueue resume --task jobs.render` "
            "lets it go on"
        )
        assert queue.admin.explain(handle.task_id).reasons[0] == why
        with pytest.raises(ResultTimeoutError, match=r"nothing is left to run: the task jobs\.render is paused"):
            handle.get()
        assert queue.admin.resume(task="jobs.render")
        handle.get()
        assert ran == ["c", "a", "b"]
        assert not queue.admin.resume(task="jobs.render")


def test_what_is_ready_is_said_to_be_paused_by_its_name() -> None:
    """Also before a worker has come to it."""
    queue = TaskQueue(broker=MemoryBackend(MemoryStore(), StoreOptions()))

    @queue.task(name="jobs.render")
    def render() -> None:
        """Do nothing."""

    handle = render()
    queue.admin.pause(task="jobs.render")
    reasons = queue.admin.explain(handle.task_id).reasons
    assert reasons[0].startswith("the task jobs.render is paused: ")
    assert reasons[1] == "ready, about 0 before it"


def test_a_wrong_task_name_is_refused() -> None:
    queue = TaskQueue(broker=MemoryBackend(MemoryStore(), StoreOptions()))
    for name in ("", "a b", "task:/a", "x" * 201):
        with pytest.raises(ConfigurationError, match="is not the name of a task"):
            queue.admin.pause(task=name)
    with pytest.raises(ConfigurationError, match="give limit= or task=, not both"):
        queue.admin.resume(task="a", limit="b")
