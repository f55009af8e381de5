"""Public reports of workflows that hung, started too early or ran twice in other queues, and what happens here.

Each test names its report, says what went wrong there, and does the same here, on each store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from itertools import pairwise
from typing import Any

import pytest
import redis

from pyxqueue import ConfigurationError, DependencyFailedError, TaskError, TaskQueue, TaskStatus, chain, chord, group
from pyxqueue.model.flows import UNFINISHED_MS, many
from pyxqueue.model.message import FLOW_VERSION, Cancelled, Delivery, Message, Settlement
from pyxqueue.protocols import Backend
from pyxqueue.testing import drain
from pyxqueue.testing.contract import Harness
from pyxqueue.testing.contract.flows import flow
from pyxqueue.testing.contract.steps import decided, defer, done, fail, job, retry, take
from pyxqueue.testing.memory import MemoryHarness

from ..conftest import Servers
from ..support.redis_harness import RedisHarness
from ..support.sqlite_harness import SQLiteHarness

STORES = ("memory", "sqlite", "redis")
MINUTE, DAY = 60_000, 86_400_000
ENDS: dict[str, Callable[[Delivery], Settlement]] = {
    "done": done,
    "fail": fail,
    "cancel": lambda delivery: decided(delivery, Cancelled()),
}


@pytest.fixture(params=STORES)
def harness(request: pytest.FixtureRequest, servers: Servers) -> Iterator[Harness]:
    opened: AbstractContextManager[Any] = nullcontext(MemoryHarness())
    if request.param == "sqlite":
        opened = closing(SQLiteHarness())
    elif request.param == "redis":
        opened = closing(RedisHarness(redis.Redis.from_url(servers("valkey").url)))
    with opened as found:
        yield found


@pytest.fixture
def backend(harness: Harness) -> Backend:
    return harness.open()


def stored(backend: Backend, *edges: str, **headers: Any) -> None:
    """Enqueue a flow with these edges: ``ab:f`` leads from ``a`` to ``b``, which fails with it."""
    assert all(backend.enqueue(flow(*edges, **headers)))


def run(backend: Backend, **how: str) -> list[str]:
    """Do what a worker does until nothing is ready: the tasks end as `how` says, as a success without that. Returns
    those that ran; ``c!b`` for a task that failed without being run because of ``b``."""
    ran = []
    while held := take(backend):
        for delivery in held:
            message = delivery.message
            assert isinstance(message, Message)
            ran.append(f"{message.id}!{message.doomed}" if message.doomed else message.id)
            end = "fail" if message.doomed else how.get(message.id, "done")
            assert list(backend.settle([ENDS[end](delivery)])) == [True]
    return ran


def held(backend: Backend) -> Delivery:
    """Claim the only task that is ready."""
    (delivery,) = take(backend)
    return delivery


def states(backend: Backend, ids: str) -> list[str]:
    return [info.status.name if info is not None else "gone" for info in backend.show(list(ids))]


def at_rest(backend: Backend) -> bool:
    """Whether nothing waits and nothing runs."""
    depth = backend.depth()
    return depth.waiting + depth.in_flight == 0


# Celery


def test_a_member_of_a_chord_is_revoked(backend: Backend) -> None:
    """celery#10526: a member that a worker had received was revoked; it was stored as REVOKED, but the chord did not
    count it, and waited for ever. Here a request to cancel ends the member through its worker, as any other end."""
    stored(backend, "ac:f", "bc:f")
    first, second = take(backend)
    assert list(backend.cancel([first.message.id])) == [True]
    backend.settle([ENDS["cancel"](first), done(second)])
    assert run(backend) == [f"c!{first.message.id}"]
    assert at_rest(backend)


def test_results_of_a_chord_that_are_not_kept(harness: Harness, backend: Backend) -> None:
    """celery#5237: with results that expire at once, the counter of the chord expired with them, and its callback never
    ran. Here the counter stands with the task that waits."""
    stored(backend, "ac:f", "bc:f")
    for delivery in take(backend):
        backend.settle([done(delivery, ttl_ms=1)])
        harness.advance(MINUTE)
    assert run(backend) == ["c"]


def test_the_creation_of_a_chord_is_interrupted(harness: Harness, backend: Backend) -> None:
    """celery#1700: a program died while it stored a chord, and a task that polled for the members, `chord_unlock`, came
    back for ever. Here what waits for members that never come fails after an hour, and says so."""
    last = job("c", flow="one", after=(many("c", 300),), v=FLOW_VERSION)
    children = [job(f"c.{number}", flow="one", successors=("f:c",), v=FLOW_VERSION) for number in range(3)]
    backend.enqueue([last, *children])
    assert run(backend) == ["c.0", "c.1", "c.2"]
    assert states(backend, "c") == ["PENDING"]
    harness.advance(UNFINISHED_MS + MINUTE)
    assert run(backend) == ["c!3 of 300 predecessors"]
    assert at_rest(backend)


def test_a_group_of_chains_of_which_one_raises(backend: Backend) -> None:
    """celery#6437: a group of chains hung when a task in the middle of a chain raised, because the tasks behind it
    never ended. Here they fail unrun, one after the other, and whoever waits for them too."""
    stored(backend, "ab:f", "bg:f", "cd:f", "dg:f")
    assert sorted(run(backend, a="fail")) == ["a", "b!a", "c", "d", "g!b"]
    assert states(backend, "abdg") == ["FAILURE", "FAILURE", "SUCCESS", "FAILURE"]


def test_a_chord_with_many_members(backend: Backend) -> None:
    """celery#4207: the callback of a chord with about 100 members was not always called, as workers counted them at the
    same time. Here the count is part of the step that ends a member, also of many in one step."""
    last = job("c", flow="one", after=(many("c", 100),), v=FLOW_VERSION)
    backend.enqueue([last, *(job(f"c.{n}", flow="one", successors=("f:c",), v=FLOW_VERSION) for n in range(100))])
    members = take(backend)
    assert all(backend.settle([done(one) for one in members[:50]]))
    assert run(backend) == []
    assert all(backend.settle([done(one) for one in members[50:]]))
    assert not any(backend.settle([done(one) for one in members]))
    assert run(backend) == ["c"]


def test_members_of_a_chord_are_retried(harness: Harness, backend: Backend) -> None:
    """celery#1401: the callback of a chord was not executed if one of its members had been retried. Here a member ends
    once, at its last attempt."""
    stored(backend, "ac:f", "bc:f")
    first, second = take(backend)
    backend.settle([retry(first, MINUTE), done(second)])
    assert run(backend) == []
    harness.advance(MINUTE + 1_000)
    assert run(backend) == [first.message.id, "c"]


# RQ


def test_a_dependency_fails(backend: Backend) -> None:
    """rq#1093: a job whose dependency had failed stayed deferred for ever. Here it fails too, with the cause."""
    stored(backend, "ab:f")
    assert run(backend, a="fail") == ["a", "b!a"]
    assert states(backend, "ab") == ["FAILURE", "FAILURE"]


def test_a_dependency_is_canceled(backend: Backend) -> None:
    """rq#1691: a canceled dependency let its dependents run, or wait, as it was neither finished nor failed. Here they
    fail unrun; with ``on_failure="continue"`` they run."""
    stored(backend, "ab:f", "ac:c", "ad:w")
    assert list(backend.cancel(["a"])) == [True]
    assert sorted(run(backend)) == ["b!a", "c", "d!a"]


def test_the_worker_of_a_dependency_is_gone(harness: Harness, backend: Backend) -> None:
    """rq#2006: the container of a job was restarted; the job was moved to the failed ones as abandoned, and dependents
    that allow failures were not enqueued. Here a task comes back, and fails in a worker like any other, however often
    its process dies."""
    stored(backend, "ab:c")
    for _ in range(3):
        held(backend)
        harness.advance(harness.lease + 1)
    delivery = held(backend)
    assert isinstance(delivery.message, Message)
    assert delivery.message.crashes >= 2
    backend.settle([fail(delivery, "its process died 3 times")])
    assert run(backend) == ["b"]


def test_a_dependency_without_a_result(harness: Harness, backend: Backend) -> None:
    """rq#675: a job that depended on one with ``result_ttl=0`` was not executed, as that one was gone when it ended.
    Here an edge needs no record, even where the history keeps nothing."""
    backend = harness.open(history=0)
    stored(backend, "ab:f")
    backend.settle([done(held(backend), ttl_ms=0)])
    harness.advance(MINUTE)
    assert run(backend) == ["b"]


def test_a_dependency_is_stopped(backend: Backend) -> None:
    """rq#1388: a running job was stopped by a command, and its dependent stayed deferred and could not be stopped. Here
    both end, and what waits can be cancelled itself."""
    stored(backend, "ab:f", "bc:f")
    delivery = held(backend)
    assert list(backend.cancel(["a"], force=True)) == [True]
    assert list(backend.cancel(["c"])) == [True]
    backend.settle([ENDS["cancel"](delivery)])
    assert run(backend) == ["b!a"]
    assert states(backend, "abc") == ["CANCELLED", "FAILURE", "CANCELLED"]


def test_a_dependency_is_retried(harness: Harness, backend: Backend) -> None:
    """rq#813: a dependent started when the first run of its dependency had raised, although that was to be retried.
    Here a retry is no end, with a delay or without."""
    stored(backend, "ab:c")
    backend.settle([retry(held(backend))])
    backend.settle([retry(held(backend), MINUTE)])
    assert run(backend) == []
    harness.advance(MINUTE + 1_000)
    assert run(backend) == ["a", "b"]


def test_a_dependency_ends_before_its_dependents_are_complete(backend: Backend) -> None:
    """rq#387: the first job was often finished before the second was enqueued, so that nobody started that one. Here
    the task that waits is stored first, and counts the ends from then on."""
    last, second, first = flow("ac:f", "bc:f")
    backend.enqueue([last, first])
    assert run(backend) == ["a"]
    backend.enqueue([second])
    assert run(backend) == ["b", "c"]


# BullMQ


def test_a_child_fails(backend: Backend) -> None:
    """bullmq#3362, #3122, #800: by default a parent stayed in waiting-children for ever when a child had failed. Here
    the default fails it."""
    stored(backend, "ac:f", "bc:f")
    assert run(backend, b="fail")[-1] == "c!b"
    assert at_rest(backend)


def test_the_last_child_fails_and_the_parent_wants_to_run(backend: Backend) -> None:
    """bullmq#1333: if the last child failed, the parent that ignores failures was not called. Here it is, whichever end
    comes last."""
    stored(backend, "ac:c", "bc:c")
    first, second = take(backend)
    backend.settle([done(second)])
    backend.settle([fail(first)])
    assert run(backend) == ["c"]


def test_a_failed_child_is_removed(backend: Backend) -> None:
    """bullmq#1752: a child that was removed as it failed was never counted, and its parent waited for ever. Here a
    deletion is an end, also of a failed task for which a task waits."""
    stored(backend, "ac:w", "ad:c")
    assert run(backend, a="fail") == ["a", "d"]
    assert states(backend, "c") == ["PENDING"]
    assert list(backend.delete(["a"])) == [True]
    assert run(backend) == ["c!a"]


def test_a_child_stalls(harness: Harness, backend: Backend) -> None:
    """bullmq#2464, #2531: a child that had stalled too often was failed without telling its parent. Here the count of
    crashes does not end a task: the worker that gets it does, and the edges fire."""
    stored(backend, "ac:f", "ad:c")
    for _ in range(2):
        held(backend)
        harness.advance(harness.lease + 1)
    assert sorted(run(backend, a="fail")) == ["a", "c!a", "d"]


def test_the_parent_is_delayed_or_prioritized(harness: Harness, backend: Backend) -> None:
    """bullmq#3112, #3160: a parent that was delayed or prioritized when a child failed was not failed. Here a task that
    waits for others is in one place, whatever its delay and priority; doomed, it does not wait for its delay."""
    headers = {"b": {"delay_ms": DAY}, "c": {"priority": 90}, "d": {"priority": -90, "delay_ms": DAY}}
    stored(backend, "ab:f", "ac:f", "ad:c", **headers)
    assert sorted(run(backend, a="fail")) == ["a", "b!a", "c!a"]
    harness.advance(DAY + MINUTE)
    assert run(backend) == ["d"]


def test_the_children_had_ended_before(harness: Harness, backend: Backend) -> None:
    """bullmq#2554: a flow was added again under the ids of an older one; its children were completed already, and the
    root waited for ever. Here the ids are refused, and what was stored of the flow fails."""
    old = flow("ab:f")
    backend.enqueue(old)
    assert run(backend) == ["a", "b"]
    backend.delete(["b"])
    assert list(backend.enqueue(flow("ab:f", name="flow-2"))) == [True, False]
    assert run(backend) == []
    harness.advance(UNFINISHED_MS + MINUTE)
    assert run(backend) == ["b!0 of 1 predecessors"]


def test_the_queue_is_drained(backend: Backend) -> None:
    """bullmq#992: draining a queue removed the children, and left parents that waited for them. Here each of them is
    counted, in whatever order they are deleted."""
    stored(backend, "ac:f", "bc:c", "cd:f")
    assert list(backend.delete(["b", "a"])) == [True, True]
    assert run(backend) == ["c!a", "d!c"]
    assert list(backend.delete(list("abcd"))) == [False, False, True, True]
    assert backend.show(list("abcd")) == [None] * 4


def test_a_sibling_still_runs_when_the_parent_fails(backend: Backend) -> None:
    """bullmq#2229: a parent was failed and removed by one child while another still ran; what that one did at its end
    left the flow in a bad state. Here its edge finds nothing to fire at."""
    stored(backend, "ac:f", "bc:f")
    deliveries = {one.message.id: one for one in take(backend)}
    backend.settle([fail(deliveries["a"])])
    assert run(backend) == ["c!a"]
    assert list(backend.delete(["c"])) == [True]
    assert list(backend.settle([done(deliveries["b"])])) == [True]
    assert run(backend) == []
    assert states(backend, "abc") == ["FAILURE", "SUCCESS", "gone"]


def test_parents_pile_up(backend: Backend) -> None:
    """bullmq#3587: one failed job left hundreds of ancestors in waiting-children, which grew in production. Here all of
    them end."""
    names = "abcdefghijklmnop"
    stored(backend, *(f"{one}{other}:f" for one, other in pairwise(names)))
    assert len(run(backend, a="fail")) == len(names)
    assert backend.depth().dependent == 0


def test_the_parent_does_not_run_before_its_children_have_ended(backend: Backend) -> None:
    """bullmq#1740: a parent went on before all of its children had ended. Here it cannot be claimed; neither a deferral
    nor a released worker counts as an end."""
    stored(backend, "ac:f", "bc:f")
    first, second = take(backend)
    backend.settle([done(first), defer(second)])
    assert held(backend).message.id == second.message.id
    backend.release("one", [])
    assert run(backend) == [second.message.id, "c"]


def test_a_parent_is_retried(backend: Backend) -> None:
    """bullmq#3319: a parent with children was not retried when it raised itself. Here it is a task like any other, and
    does not wait again."""
    stored(backend, "ab:f")
    backend.settle([done(held(backend))])
    backend.settle([retry(held(backend))])
    assert run(backend) == ["b"]


# Sidekiq


def test_a_job_is_handed_back_at_shutdown(backend: Backend) -> None:
    """sidekiq#4361: a process that shut down counted the job down and put it back; it was counted again at its end, the
    number went below zero, and the callback was never called. Here what is handed back is not counted, and what the old
    holder says is refused."""
    stored(backend, "ac:f", "bc:f")
    first, second = take(backend)
    backend.release("one", [first.receipt])
    assert list(backend.settle([done(first)])) == [False]
    assert sorted(one.message.id for one in take(backend)) == sorted([first.message.id, second.message.id])
    backend.release("one", [])
    assert run(backend)[-1] == "c"


def test_a_member_is_counted_twice(backend: Backend) -> None:
    """sidekiq#2268: the number of pending jobs of a batch fell below zero. Here each edge fires once in the life of a
    task, also if it is settled again, requeued and deleted."""
    stored(backend, "ac:f", "bc:f")
    deliveries = {one.message.id: one for one in take(backend)}
    backend.settle([done(deliveries["a"])])
    assert list(backend.settle([done(deliveries["a"])])) == [False]
    assert list(backend.requeue(["a"])) == [True]
    assert run(backend) == ["a"]
    assert list(backend.delete(["a"])) == [True]
    (info,) = backend.show(["c"])
    assert info is not None
    assert (info.status, info.waits_for) == (TaskStatus.PENDING, 1)
    backend.settle([done(deliveries["b"])])
    assert run(backend) == ["c"]


def test_an_interruption_is_not_an_end(backend: Backend) -> None:
    """sidekiq#3710: jobs that a shutdown interrupted made the complete callback of their batch fire. Here an
    interrupted task has not ended."""
    stored(backend, "ab:c")
    delivery = held(backend)
    backend.release("one", [delivery.receipt])
    (info,) = backend.show(["b"])
    assert info is not None
    assert info.waits_for == 1
    assert run(backend) == ["a", "b"]


def test_a_death_goes_up(backend: Backend) -> None:
    """sidekiq#4774: a batch in a batch died, and the outer one was never told. Here each task that fails tells those
    that wait for it."""
    stored(backend, "ab:f", "bc:f", "cd:c")
    assert run(backend, a="fail") == ["a", "b!a", "c!b", "d"]


def test_a_job_that_kills_its_process(harness: Harness, backend: Backend) -> None:
    """sidekiq#6234: a job that crashed its process was given up, and not counted, so that the batch stayed open. Here
    it is failed by a worker, or cancelled by an operator while it comes and goes."""
    stored(backend, "ab:c", "ac:f")
    delivery = held(backend)
    backend.cancel(["a"])
    harness.advance(harness.lease + 1)
    assert sorted(run(backend)) == ["b", "c!a"]
    assert states(backend, "a") == ["CANCELLED"]
    assert list(backend.settle([done(delivery)])) == [False]


# What applications write


@pytest.fixture(params=STORES)
def queue(request: pytest.FixtureRequest, servers: Servers, tmp_path: Any, stream_key: str) -> Iterator[TaskQueue]:
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/queue.db"}
    url = urls.get(request.param) or servers("valkey").url
    with closing(TaskQueue(url, stream_key=stream_key)) as found:
        yield found


def plus(number: int, more: int = 0) -> int:
    return number + more


def total(numbers: Sequence[int], more: int = 0) -> int:
    return sum(numbers) + more


def test_a_chord_of_nothing(queue: TaskQueue) -> None:
    """celery#4333, sidekiq#5903: a chord or a batch of no tasks did nothing, and waiting for its callback blocked for
    ever. Here the callback runs at once, with no results."""
    add, sums = queue.task(plus), queue.task(total)
    with queue.flow() as flow:
        nothing = flow.chord([], sums.of(3))
        more = flow.add(add, nothing, 1)
    drain(queue)
    assert more.get(timeout=0) == 4


def test_chords_inside_each_other(queue: TaskQueue) -> None:
    """celery#4401: a group of groups, each with a callback, and one for all of them, stopped after the innermost tasks.
    Here the forms may be nested."""
    add, sums = queue.task(plus), queue.task(total)
    inner = [chord([add.of(one, 1), add.of(one, 2)], sums.of()) for one in (10, 20)]
    handle = chord(group(*inner), sums.of(more=1000))()
    drain(queue)
    assert handle.get(timeout=0) == 1066


@pytest.mark.parametrize("count", [1, 2])
def test_a_group_in_a_chain(queue: TaskQueue, count: int) -> None:
    """celery#8182: the task behind a chain of one group did not wait for the members of the group. Here it does, and
    gets a list, also of one."""
    add, sums = queue.task(plus), queue.task(total)
    members = [add.of(number) for number in range(1, count + 1)]
    handle = chain(chain(group(*members)), sums.of())()
    drain(queue)
    assert handle.get(timeout=0) == sum(range(1, count + 1))
    handle = chain(add.of(1), chain(add.of(1), group(*[add.of(number) for number in range(count)])), sums.of())()
    drain(queue)
    assert handle.get(timeout=0) == 2 * count + sum(range(count))


def test_a_result_is_gone_before_its_reader_runs(queue: TaskQueue) -> None:
    """rq#2452: the result of a finished job expired before its dependent ran, which failed as it found no such job.
    Here it does not start, and its error names the result."""
    add = queue.task(plus)
    with queue.flow() as flow:
        first = flow.add(add, 1)
        last = flow.add(add, first)
        beside = flow.add(add, 5, after=[first])
    backend = queue.stores.backend
    backend.settle([done(held(backend))])
    backend.forget([first.task_id])
    drain(queue)
    assert beside.get(timeout=0) == 5
    with pytest.raises(
        DependencyFailedError, match=f"the result of task {first.task_id}, which is an argument, is gone"
    ):
        last.get(timeout=0)


def test_ids_that_belong_to_an_older_flow(queue: TaskQueue) -> None:
    """bullmq#2554, as an application meets it: the error comes from the call that enqueues the flow, and names the
    id."""
    add, sums = queue.task(plus), queue.task(total)
    named = add.with_options(task_id="child")
    with queue.flow() as flow:
        flow.add(named, 1)
    drain(queue)
    with pytest.raises(ConfigurationError, match="'child' belongs to another task"), queue.flow() as flow:
        flow.add(sums, [flow.add(named, 1)])
    with queue.flow() as flow:
        flow.chord([add.of(1)], sums.with_options(task_id="body"))
    drain(queue)
    queue.admin.delete("body")
    with pytest.raises(ConfigurationError, match=r"'body\.0' belongs to another task"), queue.flow() as flow:
        flow.chord([add.of(1)], sums.with_options(task_id="body"))


def test_a_failure_before_a_group(queue: TaskQueue) -> None:
    """celery#8786: where a group follows on a group of which a member fails, some tasks of the second one were not
    told, and waiting for them timed out. Here each of them fails."""
    add, bad = queue.task(plus), queue.task(name="bad")(broken)
    sums = queue.task(total)
    handle = chain(group(add.of(1), bad.of()), group(sums.of(1), sums.of(2)))()
    drain(queue)
    assert handle.done
    for one in handle:
        if one.task_id not in (f"{handle.id}.0", f"{handle.id}.1"):
            with pytest.raises(DependencyFailedError):
                one.get(timeout=0)


def test_a_group_of_chains_is_awaited(queue: TaskQueue) -> None:
    """celery#3810, celery#9674: the result of a group of chains was waited for without end if the first task of a chain
    had raised. Here `get` raises, with the error of the task that failed first as the cause."""
    add, bad = queue.task(plus), queue.task(name="bad")(broken)
    handle = group(add.of(1), chain(bad.of(), add.of(1), add.of(2)))()
    drain(queue)
    with pytest.raises(DependencyFailedError) as caught:
        handle.get(timeout=0)
    assert isinstance(caught.value.__cause__, TaskError)
    assert caught.value.__cause__.type == "ValueError"


def broken() -> int:
    raise ValueError("no such page")
