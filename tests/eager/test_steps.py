"""Tasks that resume: steps, waits, events and tasks of their own, in eager mode."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from pyxqueue import (
    ConfigurationError,
    EventStatus,
    EventTimeoutError,
    PayloadTooLargeError,
    RetryLater,
    SealError,
    SerializationError,
    TaskError,
    TaskQueue,
    TaskStatus,
    TaskSuspended,
    current_task,
)
from pyxqueue.eager.session import EagerSession
from pyxqueue.model.steps import MAX_STEPS
from pyxqueue.serializers import Seal
from pyxqueue.testing import eager_mode
from pyxqueue.worker import steps as worker_steps

HOUR = 3_600
queue = TaskQueue("memory://", stream_key="steps", eager=True)
ran: list[Any] = []
body: Callable[..., Any] = print
"""What the task `task` does in the present test."""


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Nothing has run, and no task of another test waits."""
    ran.clear()
    with eager_mode():
        yield


@queue.task(retries=3, backoff=1)
def task(*args: Any) -> Any:
    return body(*args)


@queue.task
def double(number: int) -> int:
    ran.append(("double", number))
    return 2 * number


@queue.task
def fails(text: str) -> None:
    raise ValueError(text)


def run(function: Callable[..., Any], *args: Any) -> Any:
    """Run a function as the task, to its end, and return its result."""
    return start(function, *args).get()


def start(function: Callable[..., Any], *args: Any) -> Any:
    global body  # noqa: PLW0603 - a task is a module's
    body = function
    return task(*args)


def session() -> EagerSession:
    eager = queue.eager
    assert eager is not None
    return eager


def note(value: Any) -> Any:
    ran.append(value)
    return value


# Steps


def test_a_step_runs_once() -> None:
    """A run after a failure gets the stored values, and goes on behind them."""

    def order(number: int) -> tuple[Any, ...]:
        steps = current_task()
        paid = steps.step("charge", note, {"number": number, "paid": True})
        ran.append("between")
        if len(ran) < 3:
            raise RetryLater(1)
        return paid, steps.step("ship", note, "shipped")

    assert run(order, 17) == ({"number": 17, "paid": True}, "shipped")
    assert ran == [{"number": 17, "paid": True}, "between", "between", "shipped"]


def test_values_keep_their_types() -> None:
    """A step returns the same in each run, types included."""

    def typed() -> list[Any]:
        got = current_task().step("make", lambda: [{1: (2, b"3")}, None, timedelta(4)])
        if current_task().attempt == 1:
            raise RetryLater
        return got

    assert run(typed) == [{1: (2, b"3")}, None, timedelta(4)]


def test_a_step_that_raises_is_not_stored() -> None:
    """The next attempt calls its function again."""

    def step() -> int:
        ran.append("tried")
        if len(ran) < 3:
            raise ValueError("not yet")
        return len(ran)

    assert run(lambda: current_task().step("try", step)) == 3


def test_a_name_is_used_once() -> None:
    """Twice in a run is an error, whatever it is used for; the second run may use it again."""

    def twice(second: Callable[[Any], Any]) -> Any:
        current_task().step("same", note, 1)
        return second(current_task())

    for second in (
        lambda steps: steps.step("same", note, 2),
        lambda steps: steps.sleep("same", 1),
        lambda steps: steps.wait_event("same"),
        lambda steps: steps.gather("same", [double.of(1)]),
    ):
        with pytest.raises(TaskError, match=r"the name 'same' is used twice in this run of .*task: give each"):
            run(lambda second=second: twice(second))
    assert 2 not in ran


@pytest.mark.parametrize("name", ["", "x" * 201, "a\nb", "\ud800", 7])
def test_names_that_are_not_valid(name: Any) -> None:
    """An empty one, a very long one, control characters and what is no text."""
    with pytest.raises(TaskError, match="is not the name of a step: use 1 to 200 printable characters"):
        run(lambda: current_task().step(name, note, 1))
    with pytest.raises(ConfigurationError, match="is not the name of an event: use 1 to 200"):
        queue.send_event("x", name)


def test_stored_steps_that_are_not_used_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A step that was renamed runs under its new name, and the old one is ignored."""

    def renamed() -> None:
        steps = current_task()
        steps.step("old" if steps.attempt == 1 else "new", note, steps.attempt)
        steps.step("same", note, "same")
        if steps.attempt == 1:
            raise RetryLater

    with caplog.at_level(logging.WARNING, "pyxqueue"):
        run(renamed)
    assert ran == [1, "same", 2]
    assert [one.getMessage() for one in caplog.records if "did not come to" in one.getMessage()] != []
    assert "so they were ignored: 'old'" in caplog.text


def test_too_many_steps() -> None:
    """The error says what to do, and the step one too many does not run."""

    def many() -> None:
        for number in range(MAX_STEPS + 1):
            current_task().step(f"step {number}", note, number)

    with pytest.raises(TaskError, match=r"has more than 256 steps: put several into one, save a cursor"):
        run(many)
    assert len(set(ran)) == MAX_STEPS


def test_a_value_that_is_too_large() -> None:
    """64 KB is the limit; the task is not retried, because the next run would return the same."""
    with pytest.raises(TaskError, match=r"PayloadTooLargeError: the value of the step 'big' needs 70,002 bytes, the l"):
        run(lambda: current_task().step("big", note, "x" * 70_000))
    assert len(ran) == 1


def test_all_values_together_are_too_large() -> None:
    """1 MB is the limit."""

    def large() -> None:
        for number in range(20):
            current_task().step(f"step {number}", note, "x" * 60_000)

    with pytest.raises(TaskError, match=r"the steps of .* need more than 1,048,576 bytes with the step 'step 17'"):
        run(large)


def test_a_value_that_cannot_be_stored() -> None:
    """The error names the step."""
    with pytest.raises(TaskError, match="SerializationError: the value of the step 'bad' cannot be stored"):
        run(lambda: current_task().step("bad", object))


def test_a_task_as_a_step_is_refused() -> None:
    """Its call would only enqueue it."""
    with pytest.raises(TaskError, match="the step 'double' is a task, which a call would only enqueue"):
        run(lambda: current_task().step("double", double, 2))
    assert run(lambda: current_task().step("double", double.call, 2)) == 4


def test_a_failed_task_goes_on_where_it_failed() -> None:
    """An operator's retry keeps the steps, unless it says fresh."""

    def order() -> str:
        current_task().step("charge", note, "charged")
        if broken:
            raise ValueError("no stock")
        return "shipped"

    broken = True
    handle = start(order)
    with pytest.raises(TaskError, match="no stock"):
        handle.get()
    broken = False
    queue.admin.retry(handle.task_id)
    assert handle.get() == "shipped"
    assert ran == ["charged"]


def test_fresh() -> None:
    """An operator may let a failed task begin again."""

    def order() -> None:
        current_task().step("charge", note, "charged")
        if len(ran) < 2:
            raise ValueError("no stock")

    handle = start(order)
    with pytest.raises(TaskError, match="no stock"):
        handle.get()
    queue.admin.retry(handle.task_id, fresh=True)
    handle.get()
    assert ran == ["charged", "charged"]


# Sleep


def test_sleep() -> None:
    """The task waits, nothing of it runs meanwhile, and it goes on behind the sleep."""

    def slow() -> int:
        steps = current_task()
        steps.step("before", note, "before")
        ran.append("run")
        steps.sleep("cool off", timedelta(hours=1))
        return session().clock()

    now = session().clock()
    handle = start(slow)
    assert handle.state is TaskStatus.PENDING
    assert "sleeps until" in str(queue.admin.explain(handle.task_id))
    session().advance(HOUR - 1)
    assert ran == ["before", "run"]
    assert handle.get() == now + HOUR * 1000
    assert ran == ["before", "run", "run"]
    message = queue.admin.task(handle.task_id).info.readable
    assert message is not None
    assert message.attempt == 1


def test_a_retry_does_not_begin_the_sleep_again() -> None:
    """Its end is a step."""

    def slow() -> int:
        steps = current_task()
        steps.sleep("cool off", HOUR)
        if steps.attempt < 3:
            raise RetryLater(60)
        return session().clock()

    now = session().clock()
    assert run(slow) == now + (HOUR + 120) * 1000


@pytest.mark.parametrize("seconds", [-1, float("nan"), "1", 1e12])
def test_what_is_no_duration(seconds: Any) -> None:
    """It is refused with words."""
    with pytest.raises(TaskError, match="is not a duration: give seconds, 0 or more, or a timedelta"):
        run(lambda: current_task().sleep("s", seconds))


def test_a_short_sleep() -> None:
    """No time at all is one, too."""

    def short() -> None:
        current_task().sleep("a", 0)
        current_task().sleep("b", 0.001)

    run(short)


def test_cleaning_up_before_a_wait() -> None:
    """`finally` runs before each wait, `except Exception` does not catch it."""

    def careful() -> str:
        try:
            current_task().sleep("s", HOUR)
        except Exception:  # noqa: BLE001 - it must not be caught
            ran.append("caught")
        except TaskSuspended:
            ran.append("suspended")
            raise
        finally:
            ran.append("finally")
        return "done"

    assert run(careful) == "done"
    assert ran == ["suspended", "finally", "finally"]


# Events


def test_an_event_before_and_after_the_wait() -> None:
    """Both reach the task; the first of a name counts."""

    def approved() -> list[Any]:
        steps = current_task()
        return [steps.wait_event("first"), steps.wait_event("second", timeout=HOUR)]

    handle = task.with_options(delay=60)  # it has not started when the first event comes
    global body  # noqa: PLW0603 - what the task runs
    body = approved
    waiting = handle()
    assert queue.send_event(waiting, "first", {"by": "Ada"}) is EventStatus.STORED
    assert queue.send_event(waiting.task_id, "first", "too late") is EventStatus.EARLIER
    session().advance(60)
    assert "waits for the event 'second', until" in str(queue.admin.explain(waiting.task_id))
    assert queue.send_event(waiting.task_id.encode(), "second") is EventStatus.STORED
    assert waiting.get(timeout=0) == [{"by": "Ada"}, None]
    assert not queue.send_event(waiting, "third")
    assert queue.send_event("nobody", "third") is EventStatus.REFUSED


def test_an_event_that_does_not_come() -> None:
    """The wait ends with an error, and stays ended: an event that comes later is not seen by a later run."""

    def approved() -> str:
        steps = current_task()
        try:
            return str(steps.wait_event("approved", timeout=HOUR))
        except EventTimeoutError as error:
            ran.append(str(error))
        steps.sleep("remind", HOUR)
        return "reminded"

    handle = start(approved)
    session().advance(HOUR)
    assert ran == ["the event 'approved' has not come in time"]
    assert queue.send_event(handle, "approved", "yes")
    assert handle.get() == "reminded"


def test_a_wait_without_a_limit_that_nobody_ends() -> None:
    """In eager mode the caller is told."""
    handle = start(lambda: current_task().wait_event("approved"))
    with pytest.raises(TimeoutError, match="has not ended and nothing is left to run"):
        handle.get()
    assert "waits for the event 'approved': queue.send_event sends it" in str(queue.admin.explain(handle.task_id))
    handle.cancel()
    assert handle.state is TaskStatus.CANCELLED


def test_an_event_that_is_too_large() -> None:
    """The sender is told."""
    with pytest.raises(PayloadTooLargeError, match="the value of the event 'big' needs 70,002 bytes"):
        queue.send_event("x", "big", "x" * 70_000)
    with pytest.raises(SerializationError, match="the value of the event 'bad' cannot be stored"):
        queue.send_event("x", "bad", object())


# Tasks of its own


def test_gather() -> None:
    """It runs others, waits for them, and gets their results in order."""

    def order() -> int:
        numbers = current_task().gather("double", [double.of(n) for n in (3, 1, 2)])
        ran.append("gathered")
        current_task().sleep("s", 3 * 24 * HOUR)  # their records have ended then
        return sum(numbers)

    handle = start(order)
    assert handle.get() == 12
    assert ran == [("double", 3), ("double", 1), ("double", 2), "gathered", "gathered"]


def test_gather_many() -> None:
    """More than run at once, and none at all."""

    def order() -> list[Any]:
        assert current_task().gather("none", []) == []
        return current_task().gather("double", [double.of(n) for n in range(600)])

    assert run(order) == [2 * n for n in range(600)]
    assert len(ran) == 600


def test_gather_large_arguments_and_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few are enqueued in one step, and results that are too large for a step stay where they are."""
    monkeypatch.setattr(worker_steps, "_MANY_BYTES", 100)

    def order() -> int:
        texts = current_task().gather("echo", [echo.of(f"{n}" * 30_000) for n in range(4)])
        return sum(map(len, texts))

    assert run(order) == 120_000


@queue.task
def echo(text: str) -> str:
    return text


def test_gather_failures() -> None:
    """All end; then the first error is raised, or is in its place."""

    def strict() -> None:
        current_task().gather("both", [fails.of("no"), double.of(1)])

    with pytest.raises(TaskError, match="no"):
        run(strict)
    assert ran == [("double", 1)]

    def kind() -> list[str]:
        got = current_task().gather("both", [fails.of("no"), double.of(1)], return_exceptions=True)
        return [one.message if isinstance(one, TaskError) else str(one) for one in got]

    assert run(kind) == ["no", "2"]


def test_a_failed_one_may_be_retried() -> None:
    """First the failed task, then the one that gathers: it gets the new result."""
    broken = True

    def maybe(number: int) -> int:
        if broken and number == 2:
            raise ValueError("broken")
        return number

    def order(*args: int) -> Any:
        return maybe(*args) if args else sum(current_task().gather("maybe", [task.of(1), task.of(2)]))

    handle = start(order)
    with pytest.raises(TaskError, match="broken"):
        handle.get()
    failed = [one.id for one in queue.admin.failed().tasks if one.message and one.message.parent == handle.task_id]  # type: ignore[union-attr] # it is readable
    broken = False
    queue.admin.retry(failed)
    queue.admin.retry(handle.task_id)
    assert handle.get() == 3


def test_what_gather_refuses() -> None:
    """Handles, tasks of another queue, unique ones, other arguments than the function has."""
    other = TaskQueue("memory://", stream_key="other", eager=True)

    @other.task
    def elsewhere() -> None: ...

    for call, said in (
        (lambda: [7], "takes calls that are not enqueued, task.of"),
        (lambda: double.of(1), r"takes a list of calls, \[task.of\(...\)\], not "),
        (lambda: [elsewhere.of()], "takes tasks of the queue 'steps', and .*elsewhere is one of 'other'"),
        (lambda: [double.with_options(task_id="mine").of(1)], "it cannot be gathered"),
        (lambda: [double.of()], "does not take these arguments"),
    ):
        with pytest.raises(TaskError, match=said):
            run(lambda call=call: current_task().gather("g", call()))
    with pytest.raises(TaskError, match="takes a list of calls"):
        run(lambda: asyncio.run(current_task().agather("g", double.of(1))))  # type: ignore[call-overload] # wrong on purpose


def test_other_calls_than_before() -> None:
    """Code that was changed meanwhile is told."""

    def order() -> None:
        current_task().gather("g", [double.of(n) for n in range(1 + len(ran))])

    with pytest.raises(TaskError, match=r"gather\('g'\) has 2 calls, and had 1 when the task came here first"):
        run(order)


def test_a_task_explains_that_it_gathers() -> None:
    """It waits for tasks of its own."""

    def order() -> None:
        current_task().gather("g", [task.with_options(delay=HOUR).of(1), task.with_options(delay=HOUR).of(2)])

    handle = start(lambda *args: None if args else order())
    assert str(queue.admin.explain(handle.task_id)) == "it waits for 2 tasks of its own"
    handle.cancel()


# Loops


def test_a_cursor() -> None:
    """A run after a failure goes on where the last one was."""

    def loop() -> int:
        steps = current_task()
        for number in range(steps.cursor(0), 10):
            ran.append(number)
            if number == 6 and steps.attempt == 1:
                raise ValueError("no")
            steps.save(number + 1)
        steps.sleep("s", 1)
        return int(steps.cursor())

    assert run(loop) == 10
    assert ran == [*range(7), *range(6, 10)]


# Coroutines


def test_async_tasks() -> None:
    """All of it, with await."""

    async def fetch(number: int) -> int:
        await asyncio.sleep(0)
        return int(note(number))

    async def order() -> list[Any]:
        steps = current_task()
        got: list[Any] = [await steps.astep("fetch", fetch, 1), await steps.astep("plain", note, 2)]
        got += await asyncio.gather(*(steps.astep(f"many {number}", fetch, number) for number in (3, 4)))
        await steps.asleep("s", HOUR)
        await steps.asave(got)
        got += await steps.agather("g", [double.of(5)])
        return [*got, await steps.await_event("e", timeout=HOUR)]

    handle = start(order)
    queue.send_event(handle, "e", "came")
    assert handle.get() == [1, 2, 3, 4, 10, "came"]
    assert (ran[:2], set(ran[2:4]), ran[4:]) == ([1, 2], {3, 4}, [("double", 5)])


def test_an_async_step_in_step() -> None:
    """It is told what to do."""

    async def fetch() -> None: ...

    with pytest.raises(TaskError, match=r"the step 'fetch' is async: await task.astep"):
        run(lambda: current_task().step("fetch", fetch))


# Elsewhere


def test_outside_of_a_worker() -> None:
    """`Task.call` runs the steps and stores nothing; it cannot wait."""
    global body  # noqa: PLW0603 - what the task runs

    def local() -> Any:
        current_task().save(3)
        return current_task().step("a", note, 1), current_task().cursor(2)

    body = local
    assert task.call() == (1, 2)
    body = lambda: current_task().sleep("s", 1)  # noqa: E731 - as the others
    with pytest.raises(ConfigurationError, match="a task can only wait in a worker or in eager mode"):
        task.call()


def test_sealed() -> None:
    """Values of steps and events are sealed: what others write is refused."""
    sealed = TaskQueue("memory://", stream_key="sealed", eager=True, seal=Seal("0123456789abcdef"))
    found: list[Any] = []

    @sealed.task
    def order() -> Any:
        steps = current_task()
        found.append(steps.step("charge", lambda: 17))
        return steps.wait_event("approved")

    handle = order()
    assert sealed.send_event(handle, "approved", "yes")
    assert (handle.get(), found) == ("yes", [17, 17])

    handle = order()
    backend: Any = sealed.stores.backend
    genuine = sealed.core.codec.step_value("another", "event", "approved", "forged")
    assert backend.send_event(handle.task_id, "approved", genuine) is EventStatus.STORED
    with pytest.raises(TaskError, match="SealError"):
        handle.get()
    assert issubclass(SealError, SerializationError)
