"""Flows for applications: chain, group, chord, `queue.flow`, and what becomes of them, in eager mode."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from pyxqueue import (
    AsyncResult,
    ConfigurationError,
    DependencyFailedError,
    Flow,
    Progress,
    SerializationError,
    TaskError,
    TaskQueue,
    TaskStatus,
    Unique,
    chain,
    chord,
    current_task,
    group,
)
from pyxqueue.errors import ArgumentError
from pyxqueue.options.limits import Concurrency, Rate
from pyxqueue.testing import eager_mode

queue = TaskQueue("memory://", stream_key="flows", eager=True)
ran: list[Any] = []
broken = True


@queue.task
def add(a: int, b: int = 0) -> int:
    ran.append(("add", a, b))
    return a + b


@queue.task
def total(numbers: Any) -> int:
    return sum(numbers)


@queue.task
def seen(*args: Any, **kwargs: Any) -> str:
    ran.append("seen")
    return repr((args, kwargs))


@queue.task
def fails(*_: Any) -> None:
    if broken:
        raise ValueError("no such page")


@queue.task
async def soon(number: int) -> int:
    await asyncio.sleep(0)
    return number * 2


@queue.task
def same(results: Any) -> Any:
    return results


@queue.task
def kind(results: Any) -> tuple[str, int, list[int], int]:
    return type(results).__name__, len(results), results[1:3], results[-1]


@queue.task
def errors(results: Any) -> list[str]:
    return [str(one) if isinstance(one, Exception) else "fine" for one in results]


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nothing has run, and no task of another test waits."""
    ran.clear()
    monkeypatch.setattr("tests.eager.test_flows.broken", True)
    with eager_mode():
        yield


def test_a_chain_hands_each_result_on() -> None:
    """It is the first argument of the next call."""
    assert chain(add.of(1, 2), add.of(10), add.of(100))().get() == 113
    assert ran == [("add", 1, 2), ("add", 3, 10), ("add", 13, 100)]


def test_a_group_is_a_list() -> None:
    """In the order of the calls; calls may come from a generator."""
    assert group(add.of(1), add.of(2))().get() == [1, 2]
    assert group(add.of(number) for number in range(3))().get() == [0, 1, 2]


@pytest.mark.parametrize("count", [1, 2])
def test_a_group_of_any_size_is_a_list(count: int) -> None:
    """Also one task, and a chain in it or around it: for the caller, and for the task behind it."""
    calls = [add.of(1, number) for number in range(count)]
    listed = [1 + number for number in range(count)]
    assert group(*[chain(one) for one in calls])().get() == listed
    assert chain(add.of(0), group(*[add.of(one) for one in listed]))().get() == listed
    assert chain(chain(add.of(0), group(*[add.of(one) for one in listed])), total.of())().get() == sum(listed)
    handle = pickle.loads(pickle.dumps(group(*[chain(one) for one in calls])()))
    assert handle.get() == listed


def test_a_chord_waits_for_its_group() -> None:
    """The body gets the results, read page by page, as a sequence."""
    handle = chord((add.of(number) for number in range(600)), total.of())()

    assert (len(handle), handle.get()) == (601, 179_700)
    assert chord([add.of(1), add.of(2), add.of(3)], kind.of())().get() == ("Results", 3, [2, 3], 3)


def test_an_empty_chord_starts_at_once() -> None:
    """There is nothing to wait for."""
    with queue.flow() as flow:
        body = flow.chord([], total)

    assert body.get() == 0
    assert chord([], total.of())().get() == 0
    assert chord(iter(()), total.of())().get() == 0


def test_an_empty_chord_in_a_chain_waits_for_the_step_before() -> None:
    """And for each task of a group; its body gets no results."""
    assert chain(add.of(1), chord([], seen.of()))().get() == "(([],), {})"
    assert ran == [("add", 1, 0), "seen"]
    ran.clear()
    assert chain(add.of(1), group(add.of(2), add.of(3)), chord([], seen.of()))().get() == "(([],), {})"
    assert ran == [("add", 1, 0), ("add", 1, 2), ("add", 1, 3), "seen"]
    with pytest.raises(DependencyFailedError):
        chain(fails.of(), chord([], seen.of()))().get()


def test_results_are_not_handed_on_as_they_are() -> None:
    """They would have to be read from the store; the error says how."""
    handle = chord([add.of(1), add.of(2)], same.of())()

    with pytest.raises(TaskError, match=r"a value of type Results cannot travel: make a list of it, list\(results\)"):
        handle.get()


def test_forms_inside_each_other() -> None:
    """Each may be a step of another, and be called twice."""
    diamond = chain(add.of(1, 1), group(add.of(1), add.of(2)), total.of())

    assert [diamond().get(), diamond().get()] == [7, 7]
    assert chain(group(add.of(1, 1), add.of(2, 2)), total.of(), add.of(5))().get() == 11
    assert chain(chain(add.of(1), group(add.of(1), add.of(2))), total.of())().get() == 5
    assert chain(add.of(1), group(add.of(1), chain(add.of(2), add.of(3))))().get() == [2, 6]


def test_handles_are_arguments() -> None:
    """A handle of the flow stands for its result, also inside lists, tuples and dicts."""
    with queue.flow() as flow:
        one, two = flow.add(add, 1), flow.add(add, 2)
        last = flow.add(seen, one, [two, (one, 5)], named={"two": two})

    assert last.get() == "((1, [2, (1, 5)]), {'named': {'two': 2}})"
    assert flow.result().get() == last.get()


def test_nothing_is_enqueued_before_the_end_of_the_block() -> None:
    """Nor if the block raises."""
    flow = queue.flow()

    def block() -> None:
        with flow:
            flow.add(add, 1)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        block()
    assert ran == []
    with pytest.raises(ConfigurationError, match="not enqueued yet"):
        flow.result()


def test_a_flow_of_nothing() -> None:
    """It has ended."""
    with queue.flow() as flow:
        pass

    handle = flow.result()
    assert (len(handle), handle.done, handle.get(), [*handle.watch()]) == (0, True, [], [Progress(0, 0)])


def test_a_call_that_cannot_be_stored_stops_all() -> None:
    """However many tasks come before it."""
    flow = queue.flow()
    last = flow.chord([add.of(number) for number in range(300)] + [seen.of(object())], seen)

    with pytest.raises(SerializationError):
        flow.enqueue()
    assert queue.stores.backend.show([last.task_id, f"{last.task_id}.0"]) == [None, None]
    with pytest.raises(ConfigurationError, match="is not enqueued yet"):
        flow.result()


def test_coroutines_and_async_waits() -> None:
    """A coroutine function gets results as any other task; the handle can be awaited."""

    async def wait() -> Any:
        return await chain(add.of(1), soon.of(), soon.of())()

    assert asyncio.run(wait()) == 4


def test_a_flow_is_enqueued_from_asyncio() -> None:
    """By the end of an ``async with`` block, and by `aenqueue`; nothing is enqueued if the block raises."""

    async def build() -> list[Any]:
        async with queue.flow() as flow:
            last = flow.add(soon, flow.add(add, 1))
        return [await last, await (await group(add.of(1), soon.of(2)).aenqueue())]

    async def fail() -> None:
        async with queue.flow() as flow:
            flow.add(add, 100)
            raise RuntimeError

    assert asyncio.run(build()) == [2, [1, 4]]
    ran.clear()
    with pytest.raises(RuntimeError):
        asyncio.run(fail())
    assert ran == []


def test_a_failure_fails_what_follows() -> None:
    """The tasks behind it do not run; the error of the flow has that of the first as its cause."""
    handle = chain(fails.of(), seen.of(), seen.of())()

    with pytest.raises(DependencyFailedError, match=r"was not run: task .* did not end as a success") as caught:
        handle.get()
    assert isinstance(caught.value.__cause__, TaskError)
    assert caught.value.__cause__.error == "ValueError: no such page"
    with pytest.raises(DependencyFailedError) as caught:
        asyncio.run(handle.aget())
    assert isinstance(caught.value.__cause__, TaskError)
    assert caught.value.__cause__.error == "ValueError: no such page"
    assert ran == []
    assert [info.status for info in handle.infos() if info] == [TaskStatus.FAILURE] * 3


def test_continue_runs_all_the_same() -> None:
    """An argument is the error then; what only comes after it has none."""
    with queue.flow() as flow:
        bad = flow.add(fails)
        told = flow.add(errors, [bad, flow.add(add, 1)], on_failure="continue")
        after = flow.add(seen, 5, after=[bad], on_failure="continue")

    assert told.get() == [
        f"task {bad.task_id} failed: ValueError: no such page" + told.get()[0].partition("page")[2],
        "fine",
    ]
    assert after.get() == "((5,), {})"


def test_a_chord_that_continues() -> None:
    """Its body gets the errors in the places of the results."""
    with queue.flow() as flow:
        body = flow.chord([add.of(1), fails.of(), add.of(2)], errors, on_failure="continue")

    assert [one[:4] for one in body.get()] == ["fine", "task", "fine"]


def test_wait_waits_for_a_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    """A task that waits for a failed one runs when that was retried and has succeeded."""
    with queue.flow() as flow:
        bad = flow.add(fails)
        last = flow.add(seen, after=[bad], on_failure="wait")
    assert (bad.state, last.state) == (TaskStatus.FAILURE, TaskStatus.PENDING)

    monkeypatch.setattr("tests.eager.test_flows.broken", False)
    queue.admin.retry(bad.task_id)

    assert last.get() == "((), {})"


def test_a_policy_for_each_task_before() -> None:
    """`after` may be a mapping."""
    with queue.flow() as flow:
        bad, good = flow.add(fails), flow.add(add, 1)
        last = flow.add(seen, after={bad: "continue", good: "fail"})

    assert last.get() == "((), {})"


def test_watch_counts_all_tasks() -> None:
    """From none to all of them."""
    steps = list(chain(add.of(1), add.of(2))().watch())

    assert (steps[0], steps[-1]) == (Progress(0, 2), Progress(2, 2))


def test_cancel_ends_all() -> None:
    """What has not started never runs."""
    with queue.flow() as flow:
        first = flow.add(add.with_options(delay=60), 1)
        last = flow.add(add, first)
    handle = flow.result()
    assert not handle.done

    assert handle.cancel() == 2
    assert handle.done
    assert (first.state, last.state, ran) == (TaskStatus.CANCELLED, TaskStatus.CANCELLED, [])
    assert handle.cancel() == 0


@pytest.mark.parametrize("end", ["cancel", "delete"])
def test_what_an_operator_ends_lets_others_run_at_once(end: str) -> None:
    """As what ends by itself does: nobody has to wait for the result to make it run."""
    ran.clear()
    with queue.flow() as flow:
        first = flow.add(add.with_options(delay=60), 1)
        doomed, last = flow.add(add, first), flow.add(seen, after={first: "continue"})

    getattr(queue.admin, end)(first.task_id)

    assert ran == ["seen"]
    assert [queue.admin.task(one.task_id).info.status for one in (doomed, last)] == [
        TaskStatus.FAILURE,
        TaskStatus.SUCCESS,
    ]


def test_options_of_a_call_apply() -> None:
    """An id of one's own, a delay, and an expiry, after which the tasks behind it fail."""
    with queue.flow() as flow:
        one = flow.add(add.with_options(task_id="my-own", delay=20), 1)
        two = flow.add(add.with_options(delay=60, expires=70), one)
        three = flow.add(add.with_options(delay=90, expires=100), two)
        four = flow.add(seen, after=["my-own", three])

    assert one.task_id == "my-own"
    assert four.get(timeout=200) == "((), {})"


def test_an_expired_task_fails_what_follows() -> None:
    """The expiry of a task is an end like any other."""
    with queue.flow() as flow:
        slow = flow.add(add.with_options(delay=60), 1)
        expiring = flow.add(add.with_options(expires=30), slow)
        last = flow.add(add, expiring)

    with pytest.raises(DependencyFailedError):
        last.get(timeout=90)
    assert (slow.state, expiring.state) == (TaskStatus.PENDING, TaskStatus.CANCELLED)


def test_what_fails_unrun_waits_for_no_limit() -> None:
    """It is no start of a rate, and a pause of its task does not keep it."""
    rated = queue.task(name="rated", limits=[Rate(1, per=3600)])(lambda value: value)
    with queue.flow() as flow:
        handles = [flow.add(fails)]
        for _ in range(5):
            handles.append(flow.add(rated, handles[-1]))

    assert [one.state for one in handles] == [TaskStatus.FAILURE] * 6
    assert rated(1).get(timeout=0) == 1

    queue.admin.pause(task="rated")
    with queue.flow() as flow:
        last = flow.add(rated, flow.add(fails))
    assert last.state is TaskStatus.FAILURE
    queue.admin.resume(task="rated")


def test_a_result_that_is_gone() -> None:
    """A task whose argument was forgotten fails with words; it does not hang."""
    with queue.flow() as flow:
        one = flow.add(add, 1)
        last = flow.add(add.with_options(delay=60), one)
    one.forget()

    with pytest.raises(DependencyFailedError, match="which is an argument, is gone"):
        last.get(timeout=90)


def test_its_message_says_what_it_waits_for() -> None:
    """The details of a task have its flow, and what it waits for."""
    with queue.flow() as flow:
        first = flow.add(add.with_options(delay=60), 1)
        last = flow.add(add, first)
    info = last.info().info

    assert info.waits_for == 1
    assert info.readable is not None
    assert (info.readable.flow, info.readable.after) == (flow.id, (first.task_id,))
    flow.result().cancel()


def refused(text: str, build: Callable[[Flow], object], error: type[Exception] = ConfigurationError) -> None:
    """Building and enqueueing this flow must raise that error."""
    flow = queue.flow()
    with pytest.raises(error, match=text):
        _ = build(flow), flow.enqueue()


def test_what_cannot_be_built_is_refused() -> None:
    """A circle, an unknown task, the same id twice, a handle of another flow, and options that are not known."""
    other = add(1)
    one, two = add.with_options(task_id="one"), add.with_options(task_id="two")

    refused("in a circle: one, two", lambda flow: (flow.add(one, 1, after=["two"]), flow.add(two, 1, after=["one"])))
    refused("in a circle: one", lambda flow: flow.add(one, 1, after=["one"]))
    refused("waits for task 'nobody', which is not part", lambda flow: flow.add(add, 1, after=["nobody"]))
    refused("two tasks of the flow have the id 'one'", lambda flow: (flow.add(one, 1), flow.add(one, 2)))
    refused("is not part of this flow", lambda flow: flow.add(add, other))
    refused("'ignore' must be one of 'fail'", lambda flow: flow.add(add, 1, on_failure="ignore"))  # type: ignore[arg-type] # wrong on purpose
    refused("does not take these arguments", lambda flow: flow.add(add, 1, 2, 3), ArgumentError)
    refused("after= takes several tasks, not one", lambda flow: flow.add(add, 1, after=flow.add(add, 1)))  # type: ignore[arg-type] # wrong on purpose
    refused("after= takes several tasks, not one", lambda flow: flow.add(add, 1, after="one"))
    refused("a dict with the key", lambda flow: flow.add(seen, [{"$result": "x"}]))


def test_tasks_that_cannot_be_in_a_flow_are_refused() -> None:
    """Unique ones, those of another queue, and ones whose limit depends on a result."""
    other = TaskQueue("memory://", stream_key="other", eager=True)

    @other.task(name="elsewhere")
    def elsewhere() -> None: ...

    @queue.task(name="only", unique=Unique())
    def only() -> None: ...

    @queue.task(name="limited", limits=[Concurrency(1, by="customer")])
    def limited(customer: int) -> None: ...

    refused("a task of another queue", lambda flow: flow.add(elsewhere))
    refused("unique, debounced or throttled", lambda flow: flow.add(only))
    refused("is by customer, which is the result", lambda flow: flow.add(limited, flow.add(add, 1)))
    refused("is not a task", lambda flow: flow.add(print))  # type: ignore[arg-type] # wrong on purpose
    refused("an AsyncResult is not a task", lambda flow: flow.add(add(1)))  # type: ignore[arg-type] # wrong on purpose


def test_what_is_told_apart_by_a_result_is_refused() -> None:
    """A limit by a function of the arguments, and the tenant of a fair queue: they are known when the flow is built."""
    fair = TaskQueue("memory://", stream_key="fair-flows", eager=True, fair_by="tenant")

    @fair.task(name="share")
    def share(tenant: str, number: int = 0) -> None: ...

    @fair.task(name="limited", limits=[Concurrency(1, by=lambda number: number % 2)])
    def limited(number: int) -> None: ...

    flow = fair.flow()
    handle = flow.add(share, "acme")
    flow.add(share, "acme", handle)
    with pytest.raises(ConfigurationError, match="the queue is fair by tenant, which is the result of another task"):
        flow.add(share, [handle])
    with pytest.raises(ConfigurationError, match="the limit of limited is by number, which is the result of another"):
        flow.add(limited, handle)


def test_an_id_of_a_chord_is_refused_for_another_task() -> None:
    """The ids of the calls of a chord begin with that of its last task."""
    flow = queue.flow()
    flow.add(add.with_options(task_id="sum.1"), 1)
    flow.chord([add.of(1), add.of(2)], total.with_options(task_id="sum"))
    with pytest.raises(
        ConfigurationError, match=r"two tasks of the flow have the id 'sum\.1', one of them in the chord"
    ):
        flow.enqueue()
    with queue.flow() as flow:
        flow.add(add.with_options(task_id="sum.2"), 1)
        flow.add(add.with_options(task_id="sum.01"), 1)
        flow.chord([add.of(1), add.of(2)], total.with_options(task_id="sum"))


def test_too_many_edges_are_refused() -> None:
    """The error says what to do."""

    def wide(flow: Flow) -> None:
        first = flow.add(add, 1)
        for _ in range(40):
            flow.add(add, first)

    refused("256: only a chord of plain", lambda flow: flow.add(total, [flow.add(add, 1) for _ in range(300)]))
    refused(r"too many tasks \(40\) wait for task", wide)


def test_an_id_that_another_task_has_is_refused() -> None:
    """What was stored for it cannot start; the error says so."""
    taken = add.with_options(task_id="taken")
    taken(1)

    refused("'taken' belongs to another task already", lambda flow: flow.add(seen, flow.add(taken, 1)))


def test_a_flow_that_is_known_in_part_is_refused() -> None:
    """It was enqueued before under this id, and the store has forgotten its last task: that would wait for ends that
    have been."""

    def build() -> AsyncResult[int]:
        with queue.flow("nightly") as flow:
            return flow.add(add, flow.add(add, 1))

    assert build().get() == 1
    assert build().get() == 1
    queue.admin.delete("nightly.1")
    assert queue.eager is not None
    queue.eager.advance(1)
    with pytest.raises(ConfigurationError, match=r"task 'nightly\.0' was stored before, and 'nightly\.1', which waits"):
        build()
    queue.admin.delete("nightly.1")


def test_a_lost_reply_is_no_other_flow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store was asked again, and knows the tasks of that call then."""
    backend, calls = queue.stores.backend, list[Any]()
    enqueue = backend.enqueue

    def ask(messages: Any) -> Any:
        calls.append(enqueue(messages))
        return enqueue(messages) if len(calls) > 1 else calls[0]

    monkeypatch.setattr("pyxqueue.client.flows._BATCH", 1)
    monkeypatch.setattr(backend, "enqueue", ask)

    assert chain(add.of(1), add.of(1))().get() == 2
    assert calls == [[True], [True]]


@pytest.mark.parametrize(
    "late",
    [
        lambda flow: flow.add(add, 1),
        lambda flow: flow.chord([], total),
        lambda flow: flow.chord([add.of(1)], total),
        lambda flow: flow.group([add.of(1)]),
    ],
)
def test_a_task_is_not_added_after_the_end_of_the_block(late: Callable[[Flow], object]) -> None:
    """It would never be stored."""
    with queue.flow() as flow:
        flow.add(add, 1)
    with pytest.raises(ConfigurationError, match="the flow is enqueued already: add tasks inside its block"):
        late(flow)


@pytest.mark.parametrize("make", [chain, group, lambda *steps: chord(steps, total.of())])
def test_forms_take_calls_only(make: Any) -> None:
    """Not tasks."""
    with pytest.raises(ConfigurationError, match=r"takes calls that are not enqueued, task.of"):
        make(add.of(1), add)


@pytest.mark.parametrize("make", [chain, group])
def test_a_form_is_not_empty(make: Any) -> None:
    with pytest.raises(ConfigurationError, match="needs at least one call"):
        make()


def test_a_handle_is_pickled_by_the_name_of_its_queue() -> None:
    """Another process of the same program can wait for the flow."""
    handle = chord([add.of(1), add.of(2)], total.of())()

    again = pickle.loads(pickle.dumps(handle))

    assert (again.id, len(again), again.get()) == (handle.id, 3, 3)


def test_a_flow_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has failed, and what failed because of that, runs again, one after the other; the rest does not."""
    ran.clear()
    handle = chain(add.of(1, 2), fails.of(), seen.of(), seen.of())()
    assert [info.status.name for info in handle.infos() if info] == ["FAILURE", "FAILURE", "FAILURE", "SUCCESS"]
    assert handle.retry() == 3
    assert [info.status.name for info in handle.infos() if info] == ["FAILURE", "FAILURE", "FAILURE", "SUCCESS"]

    monkeypatch.setitem(globals(), "broken", False)
    assert handle.retry() == 3

    assert handle.get() == repr((("((None,), {})",), {}))
    assert ran == [("add", 1, 2), "seen", "seen"]
    assert handle.retry() == 0


def test_a_chord_is_retried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last task waits for the retried one, and gets all results."""
    handle = chord([add.of(1), fails.of(), add.of(2)], seen.of())()
    with pytest.raises(DependencyFailedError):
        handle.get()

    monkeypatch.setitem(globals(), "broken", False)
    assert handle.retry() == 2

    assert handle.get() == "((<the results of 3 tasks>,), {})"


def test_a_flow_is_retried_by_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or by that of any of its tasks."""
    handle = chain(fails.of(), seen.of())()
    monkeypatch.setitem(globals(), "broken", False)
    last = next(iter(handle))

    assert queue.admin.retry_flow(last.task_id) == 2
    assert last.get() == "((None,), {})"
    assert queue.admin.retry_flow(handle.id) == 0


def test_a_large_flow_is_retried_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also that part of it which `admin.flow` does not show."""
    monkeypatch.setattr("pyxqueue.client.flow_view.MOST", 8)
    monkeypatch.setattr("pyxqueue.client.flow_view._PAGE", 4)
    with queue.flow() as flow:
        flow.group(fails.of() for _ in range(20))
        for _ in range(10):
            flow.add(seen, flow.add(fails))
    assert not queue.admin.flow(flow.id).complete
    assert not queue.admin.flow(group([seen.of()] * 9)().id).complete
    assert queue.admin.flow(group([seen.of()] * 8)().id).complete
    monkeypatch.setitem(globals(), "broken", False)

    assert queue.admin.retry_flow(flow.id) == 40
    assert {info.status for info in flow.result().infos() if info} == {TaskStatus.SUCCESS}


def test_a_task_that_runs_twice_starts_its_flow_once() -> None:
    """The flow has the id of the task; it is found by that id."""
    ran.clear()

    @queue.task
    def start() -> str:
        with queue.flow(current_task().id) as flow:
            flow.add(seen, flow.add(add, 1))
        return flow.id

    handle = start()
    assert queue.admin.retry(handle.task_id, ended=True).done == 1

    assert ran == [("add", 1, 0), "seen"]
    assert sorted(queue.admin.flow(handle.get()).tasks) == [f"{handle.task_id}.0", f"{handle.task_id}.1"]


def test_an_id_of_a_flow_is_checked() -> None:
    """The ids of its tasks have room behind it."""
    for wrong in ("a b", "", "x" * 63, 5):
        with pytest.raises(ConfigurationError, match=r"flow id .* is not valid: use 1 to 62 characters"):
            queue.flow(wrong)  # type: ignore[arg-type] # wrong on purpose
    with queue.flow("x" * 62) as flow:
        assert flow.add(add, 1).task_id == f"{'x' * 62}.0"
        with pytest.raises(ConfigurationError, match="has 71 characters, the limit is 64: give the flow a shorter id"):
            flow.group([add.of(1)])
        for _ in range(9):
            flow.add(add, 1)
        with pytest.raises(ConfigurationError, match="has 65 characters, the limit is 64: give the flow a shorter id"):
            flow.add(add, 1)


def test_a_schedule_starts_a_flow() -> None:
    """Each tick starts one of its own; a pause of the schedule, and one of the queue, hold it up."""
    scheduled = TaskQueue("memory://", stream_key="scheduled flows", eager=True)
    done: list[Any] = []

    @scheduled.task
    def count(tick: str) -> int:
        return len(tick)

    @scheduled.task
    def store(number: int, tick: str) -> None:
        done.append((number, tick))

    @scheduled.every(timedelta(hours=1))
    def hourly() -> None:
        task = current_task()
        with scheduled.flow(task.id) as flow:
            flow.add(store, flow.add(count, f"{task.tick:%H}"), f"{task.tick:%H:%M}")

    clock = scheduled.eager
    assert clock is not None
    clock.advance(timedelta(hours=2))

    assert [number for number, _ in done] == [2, 2]
    assert len({tick for _, tick in done}) == 2
    scheduled.admin.pause()
    clock.advance(timedelta(hours=1))
    assert len(done) == 2
    scheduled.admin.resume()
    assert len(done) == 3


@pytest.mark.parametrize("end", ["success", "failure", "cancellation"])
def test_callbacks(end: str) -> None:
    """A task on success, one at any end, and one at the end of the whole flow."""
    called: list[str] = []

    @queue.task
    def on_success(value: int) -> None:
        called.append(f"success {value}")

    @queue.task
    def at_the_end(outcome: Any) -> None:
        called.append(type(outcome).__name__)

    @queue.task
    def at_last(*outcomes: Any) -> None:
        called.append(f"last: {sum(isinstance(one, Exception) for one in outcomes)} of {len(outcomes)}")

    queue.admin.pause()
    with queue.flow() as flow:
        step: Any = flow.add(fails) if end == "failure" else flow.add(add, 1, 2)
        ends = [flow.add(on_success, step), flow.add(at_the_end, step, on_failure="continue")]
        flow.add(at_last, *ends, on_failure="continue")
    if end == "cancellation":
        assert step.cancel()
    queue.admin.resume()

    if end == "success":
        assert called == ["success 3", "int", "last: 0 of 2"]
    else:
        assert called == ["TaskError" if end == "failure" else "TaskCancelledError", "last: 1 of 2"]
