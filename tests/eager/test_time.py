"""Eager time moves when it is told to, or when somebody waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pyxqueue import (
    ConfigurationError,
    EagerSession,
    ResultTimeoutError,
    RetryLater,
    TaskError,
    TaskQueue,
    current_task,
)


@pytest.fixture
def queue() -> TaskQueue:
    return TaskQueue("time-tests")


def test_a_delayed_task_runs_when_its_time_has_come(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """The task does not run a millisecond earlier."""

    @queue.task
    def work() -> str:
        return "done"

    handle = work.with_options(delay=60)()
    pyxqueue_eager.advance(59.999)
    assert handle.state.name == "PENDING"
    pyxqueue_eager.advance(0.001)
    assert handle.state.name == "SUCCESS"


def test_waiting_lets_the_time_pass(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """Waiting moves the clock to the due time at once, and no further."""

    @queue.task
    def work() -> str:
        return "done"

    start = pyxqueue_eager.clock()
    assert work.with_options(delay=86_400)().get() == "done"
    assert pyxqueue_eager.clock() - start == 86_400_000


def test_an_eta_is_a_delay(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """The delay is counted from the machine's clock, and holds on the clock that stands still."""

    @queue.task
    def work() -> None: ...

    handle = work.with_options(eta=datetime.now(UTC) + timedelta(hours=1))()
    pyxqueue_eager.advance(3_000)
    assert handle.state.name == "PENDING"
    pyxqueue_eager.advance(600)
    assert handle.state.name == "SUCCESS"


def test_an_eta_in_the_past_is_now(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """A task that is late runs at once."""

    @queue.task
    def work() -> None: ...

    assert work.with_options(eta=datetime(2020, 1, 1, tzinfo=UTC))().state.name == "SUCCESS"


def test_retries_back_off(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """One step of the clock runs all retries that fall into it, each at its own time."""
    start = pyxqueue_eager.clock()
    runs = []

    @queue.task(retries=3, backoff=10, jitter=0)
    def work() -> None:
        runs.append((pyxqueue_eager.clock() - start) // 1000)
        raise OSError("down")

    handle = work()
    pyxqueue_eager.advance(3600)

    assert runs == [0, 10, 30, 70]
    assert pyxqueue_eager.clock() - start == 3_600_000
    with pytest.raises(TaskError, match="down"):
        handle.get()


def test_waiting_goes_through_the_retries(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """`get` waits through all retries without making the test wait."""

    @queue.task(retries=5)
    def work() -> int:
        attempt = current_task().attempt
        if attempt < 4:
            raise RetryLater(1000)
        return attempt

    assert work().get() == 4


def test_retries_and_new_tasks_take_turns(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """As at a worker: a retry that is due does not wait for all that is queued, nor all that is queued for retries."""
    ran: list[str] = []

    @queue.task
    def child(name: str) -> None:
        ran.append(name)

    @queue.task(retries=2)
    def parent() -> None:
        attempt = current_task().attempt
        ran.append(f"parent {attempt}")
        child(f"a{attempt}")
        child(f"b{attempt}")
        if attempt < 3:
            raise RetryLater(0)

    parent()

    assert ran == ["parent 1", "parent 2", "a1", "parent 3", "b1", "a2", "b2", "a3", "b3"]


def test_queues_live_on_one_clock(pyxqueue_eager: EagerSession) -> None:
    """A task that is due earlier runs earlier, on whichever queue it is."""
    order = []
    first, second = TaskQueue("first"), TaskQueue("second")

    @first.task(name="note")
    def note(text: str) -> None:
        order.append(text)

    other = second.task(name="note")(note.function)
    late = note.with_options(delay=60)("late")
    other.with_options(delay=30)("early")
    late.get()

    assert order == ["early", "late"]


def test_watching_lets_the_time_pass(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """A loop over the progress of a delayed task ends, after its last progress."""

    @queue.task
    def work() -> None:
        queue.update_task_progress(50)

    seen = [progress.done for progress in work.with_options(delay=60)().watch()]

    assert seen == [50]


def test_watching_ends_with_its_timeout(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """A timeout is time on the clock that stands still, not in the test."""

    @queue.task
    def work() -> None: ...

    handle = work.with_options(delay=60)()
    with pytest.raises(ResultTimeoutError, match=r"has not ended within \d+(\.\d+)? s of its clock"):
        list(handle.watch(timeout=30))


def test_time_does_not_go_back(pyxqueue_eager: EagerSession) -> None:
    """A negative step is a mistake in the test."""
    with pytest.raises(ConfigurationError, match="the clock cannot go back"):
        pyxqueue_eager.advance(-1)


def test_drain_runs_what_the_clock_made_ready(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """A caller that moves the clock itself also drains itself."""

    @queue.task
    def work() -> None: ...

    handle = work.with_options(delay=1)()
    pyxqueue_eager.clock.advance(1_000)
    assert handle.state.name == "PENDING"
    pyxqueue_eager.drain()
    assert handle.state.name == "SUCCESS"


def test_a_result_can_be_read_for_its_time_to_live(queue: TaskQueue, pyxqueue_eager: EagerSession) -> None:
    """The result is gone after its time to live."""

    @queue.task(result_ttl=60)
    def work() -> int:
        return 1

    handle = work()
    pyxqueue_eager.advance(59)
    assert queue.result(handle.task_id).get() == 1
    pyxqueue_eager.advance(2)
    with pytest.raises(LookupError, match="its result has expired"):
        queue.result(handle.task_id).get()
