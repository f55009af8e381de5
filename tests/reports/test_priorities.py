"""Reports about priorities and expiry."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from pyxqueue import (
    Concurrency,
    ConfigurationError,
    DependencyFailedError,
    Rate,
    Task,
    TaskExpiredError,
    TaskQueue,
    TaskStatus,
    Unique,
    chord,
)
from pyxqueue.model.message import Defer, Delivery, Fail, Retry, StartStatus
from pyxqueue.protocols import Beginning

from .conftest import Site, ids, waiting


def note_of(queue: TaskQueue, ran: list[str], **options: Any) -> Task[[str], None]:
    """A task that notes its runs."""

    @queue.task(name="note", **options)
    def note(name: str) -> None:
        ran.append(name)

    return note


# Order within a class


@pytest.mark.parametrize("priority", [100, -100, 49, 1, 0])
def test_bullmq_4249_the_order_of_arrival_at_the_ends_of_the_range(site: Site, priority: int) -> None:
    """bullmq#4249 and #4261: priority and a counter were packed into one number; at the largest priority that is
    allowed it had no more room for the counter, so tasks with it came in the order of their ids. And #2597: the counter
    was cut to 32 bits with its sign.

    Tasks whose ids are in the opposite order, at both ends of the range: they run in the order of the calls.
    """
    queue, ran = site.program(), list[str]()
    note = note_of(queue, ran, priority=priority)
    names = [f"{9 - number}" for number in range(10)]

    for name in names:
        note.with_options(task_id=name)(name)
    site.work(queue)

    assert ran == names


def test_bullmq_more_tasks_in_a_millisecond_than_a_score_can_tell_apart(site: Site) -> None:
    """bullmq, getDelayedScore.lua: the score of a delayed job has 12 bits for the order of those that are due in the
    same millisecond, so the 4,097th came first.

    4,200 tasks are enqueued at once with the same delay: they come in the order of the calls.
    """
    queue = site.program()
    note = note_of(queue, [])
    handles = note.with_options(delay=60).map([(str(number),) for number in range(4_200)])

    site.advance(61)
    while queue.stores.backend.maintain(1_000) == 0:
        pass
    worker = site.program()
    claimed = [one for _ in range(17) for one in ids(site.hold(worker, 256))]

    assert claimed == [handle.task_id for handle in handles]


def test_bullmq_1929_what_a_rate_turned_away_keeps_its_order(site: Site) -> None:
    """bullmq#1929 (PR#1991): jobs with a priority that had met a rate limit were put back behind the others of their
    priority, so 1, 2, 3, 4 became 2, 3, 1, 4.

    Four urgent tasks with a rate of one in a minute: each that is turned away is the next one to start.
    """
    queue, ran = site.program(), list[str]()
    note = note_of(queue, ran, priority=60, limits=[Rate(1, per=60, name="api")])
    for name in ("1", "2", "3", "4"):
        note(name)

    for _ in range(4):
        site.work(queue)
        site.advance(61)

    assert ran == ["1", "2", "3", "4"]


# The class is kept


def back_by_retry(site: Site, queue: TaskQueue, held: list[Delivery]) -> None:
    site.end(queue, held, Retry())


def back_by_delay(site: Site, queue: TaskQueue, held: list[Delivery]) -> None:
    site.end(queue, held, Retry(60_000))
    site.advance(61)


def back_by_deferral(site: Site, queue: TaskQueue, held: list[Delivery]) -> None:
    site.end(queue, held, Defer())


def back_by_release(site: Site, queue: TaskQueue, held: list[Delivery]) -> None:
    site.kill(queue, held)


def back_by_lease(site: Site, queue: TaskQueue, held: list[Delivery]) -> None:
    site.advance(31)


def back_by_requeue(site: Site, queue: TaskQueue, held: list[Delivery]) -> None:
    site.end(queue, held, Fail("no"))
    assert queue.admin.retry(ids(held)).done == len(held)


WAYS = [back_by_retry, back_by_delay, back_by_deferral, back_by_release, back_by_lease, back_by_requeue]


@pytest.mark.parametrize("back", WAYS)
def test_bullmq_1969_what_comes_back_keeps_its_priority(
    site: Site, back: Callable[[Site, TaskQueue, list[Delivery]], None]
) -> None:
    """bullmq#1969, bull#1755: a retried job was put into the plain list, so its priority was gone. #2176: so was that
    of a stalled one. bull#915 and #1505: that of a delayed one.

    Two urgent tasks come back in each way there is, while plain ones wait and a more urgent one arrives.
    """
    queue, ran = site.program(lease=30_000), list[str]()
    note = note_of(queue, ran)
    note.with_options(priority=10).map([("urgent",), ("urgent",)])
    held = site.hold(site.program(lease=30_000), 2)
    assert len(held) == 2
    for name in ("plain", "other"):
        note(name)
    back(site, queue, held)
    note.with_options(priority=90)("most urgent")

    worker = site.program(lease=30_000)
    note_of(worker, ran)
    site.work(worker)

    assert ran == ["most urgent", "urgent", "urgent", "plain", "other"]


def test_bullmq_2510_a_rate_does_not_take_the_priority_away(site: Site) -> None:
    """bullmq#2510, bull#1053: a job that met a rate limit was put back without its priority.

    The urgent task is turned away once; when it may start, it does so before plain ones that have waited longer.
    """
    queue, ran = site.program(), list[str]()
    plain = note_of(queue, ran)
    limited = queue.task(name="limited", limits=[Rate(1, per=60)], priority=60)(ran.append)
    limited("first")
    limited("second")
    site.work(queue)
    for name in ("a", "b", "c"):
        plain(name)
    site.advance(61)

    site.work(queue)

    assert ran == ["first", "second", "a", "b", "c"]


def test_bull_915_delayed_ones_enter_by_their_priority(site: Site) -> None:
    """bull#915: a delayed job was put at the end of the waiting list when it was due, whatever its priority.

    Three delayed tasks of different classes become due in the same look.
    """
    queue, ran = site.program(), list[str]()
    note = note_of(queue, ran)
    for priority, name in ((-60, "low"), (0, "plain"), (60, "high")):
        note.with_options(priority=priority, delay=60)(name)
    note("waits")
    site.advance(61)

    worker = site.program()
    note_of(worker, ran)
    site.work(worker)

    assert ran[0] == "high"
    assert sorted(ran[1:3]) == ["plain", "waits"]
    assert ran[3] == "low"


def test_bullmq_1915_no_second_list_gets_out_of_step(site: Site) -> None:
    """bullmq#1915 and #1919: a prioritised job was in one structure and its marker in another; if a worker, a removal
    or a drain touched only one of them, workers waited although there was work, or took what was gone.

    Tasks of all classes are cancelled, deleted and claimed in turn: what is counted, what is listed and what workers
    get are the same.
    """
    queue, ran = site.program(), list[str]()
    note = note_of(queue, ran)
    handles = {
        (priority, number): note.with_options(priority=priority)(f"{priority} {number}")
        for priority in (90, 10, 0, -10, -90)
        for number in range(4)
    }
    worker = site.program()
    held = site.hold(worker)
    for (_, number), handle in handles.items():
        if number == 1:
            handle.cancel()
        if number == 2:
            queue.admin.delete(handle.task_id)
    site.kill(worker, held)

    assert waiting(queue) == (10, 0, 0)
    assert len(queue.admin.tasks(TaskStatus.PENDING).tasks) == 10
    note_of(worker, ran)
    assert site.work(worker) == 10
    assert sorted(ran) == sorted(f"{priority} {number}" for priority in (90, 10, 0, -10, -90) for number in (0, 3))


# Starvation


def test_taskcluster_9131_the_lowest_class_moves(site: Site) -> None:
    """taskcluster#9131, roadrunner#759, sayiir#108: as long as more urgent work came in, a task of low priority was
    never started.

    Urgent tasks never run out: the low one is one of the sixteen that its worker takes next.
    """
    queue = site.program()
    note = note_of(queue, [])
    low = note.with_options(priority=-100)("low")
    note.with_options(priority=100).map([("high",)] * 40)

    claimed = ids(site.hold(site.program(), 16))

    assert low.task_id in claimed
    assert claimed[0] != low.task_id


# Expiry


def test_celery_4287_an_expired_task_does_not_run(site: Site) -> None:
    """celery#4287: a task with an expiry of four seconds was received in time, waited in the worker behind others for
    seven seconds, and was run.

    A worker has claimed the task in time, and comes to it after its expiry: it does not start.
    """
    queue, ran = site.program(), list[str]()
    note = note_of(queue, ran, expires=40)
    late = note("late")
    backend = queue.stores.backend
    assert isinstance(backend, Beginning)
    (delivery,) = queue.stores.backend.claim("worker", 1, 0)
    site.advance(70)

    assert delivery.must_begin
    assert list(backend.begin([delivery.receipt])) == [StartStatus.EXPIRED]
    with pytest.raises(TaskExpiredError):
        late.get(timeout=0)
    assert site.work(queue) == 0


def test_celery_10526_an_expired_member_does_not_hang_the_chord(site: Site) -> None:
    """celery#10526: a member of a chord that was revoked, by its expiry for example, was never counted, so the callback
    was waited for for ever.

    One member expires, another is cancelled: the callback ends and says why.
    """
    queue = site.program()
    count = queue.task(name="count")(len)
    total = queue.task(name="total")(sum)
    for stop in ("expires", "is cancelled"):
        member = count.with_options(expires=60, delay=30) if stop == "expires" else count.with_options(delay=30)
        handle = chord([count.of("ab"), member.of("abc")], total.of())()
        site.work(queue)
        if stop == "expires":
            queue.admin.pause()
            site.advance(61)
            queue.stores.backend.maintain(100)
            queue.admin.resume()
        else:
            (waits,) = [one for one in queue.admin.tasks(TaskStatus.PENDING).tasks if not one.waits_for]
            queue.admin.cancel(waits.id)
        site.work(queue)
        with pytest.raises(DependencyFailedError):
            handle.get(timeout=0)
    assert waiting(queue) == (0, 0, 0)


def test_celery_5237_results_that_do_not_last_hang_no_chord(site: Site) -> None:
    """celery#5237: with ``result_expires=0``, which was meant as "never", the results of a chord were deleted at once,
    and the callback was waited for for ever (see also #4642).

    A time to live of 0 is refused; if the results of the members are gone when the callback starts, it fails with
    words.
    """
    queue = site.program()
    with pytest.raises(ConfigurationError, match="result_ttl"):
        queue.task(name="never", result_ttl=0)(len)
    count = queue.task(name="count", result_ttl=5)(len)
    total = queue.task(name="total")(sum)
    handle = chord([count.of("ab"), count.with_options(delay=60).of("abc")], total.of())()
    site.work(queue)
    site.advance(61)

    site.work(queue)

    with pytest.raises(DependencyFailedError):
        handle.get(timeout=0)


def test_streaq_an_expiry_is_no_failure_and_needs_no_worker(site: Site) -> None:
    """streaq, worker.py: the expiry was noticed only when a worker came to the task, and was reported as a failure of
    it with the text "Task expired!", with all that failures cause.

    No worker is there: the supervisor's look ends the task as cancelled, with what it held.
    """
    queue, ran = site.program(), list[str]()
    limited = note_of(queue, ran, expires=timedelta(minutes=1), unique=Unique(by=()), limits=[Concurrency(1)])
    first = limited("first")
    site.advance(61)
    queue.stores.backend.maintain(100)

    assert first.state is TaskStatus.CANCELLED
    assert queue.admin.tasks(TaskStatus.FAILURE).tasks == []
    second = limited("second")
    assert second.created
    site.work(queue)
    assert ran == ["second"]
