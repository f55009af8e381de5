"""Reports about unique, debounced and throttled tasks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from pyxqueue import (
    AsyncResult,
    BrokerUnavailableError,
    ConfigurationError,
    Debounce,
    Task,
    TaskQueue,
    TaskStatus,
    Throttle,
    Unique,
    chain,
)
from pyxqueue.testing import Fault, FaultyBroker

from .conftest import Site, waiting

Made = AsyncResult[Any]


def sync_of(queue: TaskQueue, ran: list[str], **options: Any) -> Task[[int, str], None]:
    """A task that is unique for each customer, and notes why it runs."""

    @queue.task(name="sync", **{"unique": Unique(by="customer"), "jitter": 0, **options})
    def sync(customer: int, reason: str) -> None:
        ran.append(reason)
        if reason == "bad":
            raise ValueError(reason)

    return sync


@pytest.mark.parametrize("fault", [Fault.LOSE_CALL, Fault.LOSE_REPLY])
def test_oban_1087_a_conflict_names_a_task_that_exists(site: Site, fault: Fault) -> None:
    """oban#1087, #1093 and #1112: a call that could not get the lock was answered as a conflict, with no id; the one
    that had the lock was rolled back, so nothing was enqueued at all, and nobody knew.

    The first call is lost on its way, or its reply is: a second one is told about a task that is there and runs.
    """
    lossy = site.program(wrap=lambda backend: FaultyBroker(backend, [fault], operations={"enqueue_unique"}))
    queue, ran = site.program(), list[str]()
    queue.stores.backend.lease_ms()
    with pytest.raises(BrokerUnavailableError):
        sync_of(lossy, ran)(7, "lost")

    handle = sync_of(queue, ran)(7, "second")

    assert handle.created is (fault is Fault.LOSE_CALL)
    assert handle.state is TaskStatus.PENDING
    site.work(queue)
    assert ran == (["second"] if fault is Fault.LOSE_CALL else ["lost"])


@pytest.mark.parametrize("act", ["delete", "cancel", "retry"])
def test_bullmq_3236_only_the_holder_gives_the_lock_back(site: Site, act: str) -> None:
    """bullmq#3236, #3232, #4311 and #4190: what happened to one job deleted the deduplication key of another, which had
    the same; and keys of jobs that were gone stayed.

    The first task has failed, and another one has the lock: whatever is done to the first, the lock stays.
    """
    queue, ran = site.program(), list[str]()
    sync = sync_of(queue, ran)
    first = sync(7, "bad")
    site.work(queue)
    holder = sync.with_options(delay=60)(7, "good")
    assert holder.created

    getattr(queue.admin, act)(first.task_id)

    assert not sync(7, "third").created
    assert sync(7, "third") == holder
    site.advance(61)
    site.work(queue)
    assert ran == ["bad", "good"]
    assert sync(7, "free").created


def end_done(site: Site, queue: TaskQueue, task: Made) -> None:
    site.work(queue)


def end_cancelled(site: Site, queue: TaskQueue, task: Made) -> None:
    assert queue.admin.cancel(task.task_id).done == 1


def end_deleted(site: Site, queue: TaskQueue, task: Made) -> None:
    assert queue.admin.delete(task.task_id).done == 1


def end_expired(site: Site, queue: TaskQueue, task: Made) -> None:
    site.advance(3_601)
    queue.stores.backend.maintain(100)
    assert task.state is TaskStatus.CANCELLED


def end_crashed(site: Site, queue: TaskQueue, task: Made) -> None:
    site.kill(queue, site.hold(queue))
    site.work(queue)
    assert task.state is TaskStatus.FAILURE


def end_purged(site: Site, queue: TaskQueue, task: Made) -> None:
    assert queue.admin.purge(waiting=True) == 1


ENDS = [end_done, end_cancelled, end_deleted, end_expired, end_crashed, end_purged]


@pytest.mark.parametrize("until", ["finished", "started"])
@pytest.mark.parametrize("end", ENDS)
def test_asynq_275_every_end_gives_the_lock_back(
    site: Site, end: Callable[[Site, TaskQueue, Made], None], until: Any
) -> None:
    """asynq#275 (PR#276): a unique task that was deleted kept its lock until that ran out, so an equal one was refused
    though there was none. #842, #886, #629 and #369: the same after an archived one.

    Each way to end: the next equal call is accepted at once.
    """
    queue, ran = site.program(), list[str]()
    sync = sync_of(queue, ran, unique=Unique(by="customer", until=until), expires=3_600, max_crashes=0)
    first = sync(7, "first")
    assert not sync(7, "no").created

    end(site, queue, first)

    assert sync(7, "second").created


def test_asynq_a_known_id_takes_no_lock(site: Site) -> None:
    """asynq, rdb.go: the lock was taken first and the id looked at then; for an id that was known, the call was refused
    and the lock stayed with nobody.

    A call repeats an id under another lock: that lock is free for the next call.
    """
    queue, ran = site.program(), list[str]()
    sync = sync_of(queue, ran)
    assert sync.with_options(task_id="a")(1, "first").created

    repeated = sync.with_options(task_id="a")(2, "repeated")

    assert (repeated.created, repeated.task_id) == (False, "a")
    assert sync(2, "second").created
    site.work(queue)
    assert ran == ["first", "second"]


def test_sidekiq_4162_a_dead_task_keeps_no_lock(site: Site) -> None:
    """Sidekiq#4162: a job that had used up its retries kept its lock until it ran out, which may be days. #4763: a time
    that had passed already made a lock without an end.

    A task fails for good: the next one is accepted at once. A lock by time is not longer than it says, and what cannot
    be a time is refused.
    """
    queue, ran = site.program(), list[str]()
    sync = sync_of(queue, ran, retries=1, backoff=60)
    dead = sync(7, "bad")
    site.work(queue)
    assert not sync(7, "while it waits for its retry").created
    site.advance(61)
    site.work(queue)
    assert dead.state is TaskStatus.FAILURE

    assert sync(7, "good").created
    window = sync.with_options(unique=Unique(by="customer", window=30))
    assert [window(8, "bad").created, window(8, "again").created] == [True, False]
    site.work(queue)
    site.advance(31)
    assert window(8, "later").created
    for wrong in (0, -5, timedelta(seconds=-1)):
        with pytest.raises(ValueError, match="more than 0"):
            Unique(window=wrong)


def test_sidekiq_2499_a_task_is_in_no_conflict_with_itself(site: Site) -> None:
    """Sidekiq#2499: a delayed unique job met its own lock when it became due, and was dropped. wurk PR#218, river
    0.12.1, streaq: likewise a retried one, or its lock was lost then.

    A delayed one becomes due, is retried with a delay and at once, and loses its worker: it runs, and keeps the lock
    until its end.
    """
    queue, ran = site.program(lease=30_000), list[str]()
    sync = sync_of(queue, ran, retries=1, backoff=60)
    task = sync.with_options(delay=60)(7, "bad")
    others = []
    for _ in range(2):
        others.append(sync(7, "other"))
        site.advance(61)
        assert len(site.hold(queue)) == 1
        others.append(sync(7, "other"))
        site.advance(31)
        others.append(sync(7, "other"))
        site.work(queue)

    assert ran == ["bad", "bad"]
    assert task.state is TaskStatus.FAILURE
    assert others == [task] * 6
    assert not any(other.created for other in others)
    assert sync(7, "other").created


def test_oban_1416_no_state_has_a_gap(site: Site) -> None:
    """oban#1416, #1259 and #1505: the states in which a job counts as unique can be chosen; with one left out, two
    equal jobs existed, and the step that makes jobs ready failed on the pair for ever, for all queues. Others:
    activejob-uniqueness#14, sidekiq-unique-jobs#74, #339, #412, #560 and #766.

    A task waits an hour for its retry: an equal call finds it, and other tasks become ready beside it.
    """
    queue, ran = site.program(), list[str]()
    sync = sync_of(queue, ran, retries=1, backoff=3_600, backoff_max=3_600)
    waits = sync(7, "bad")
    site.work(queue)
    equal, other = sync.with_options(delay=60)(7, "equal"), sync.with_options(delay=60)(8, "other")

    site.advance(61)
    site.work(queue)

    assert (equal, equal.created) == (waits, False)
    assert other.state is TaskStatus.SUCCESS
    assert ran == ["bad", "other"]
    site.advance(3_600)
    site.work(queue)
    assert ran == ["bad", "other", "bad"]


def test_streaq_a_conflict_is_found_at_the_call(site: Site) -> None:
    """streaq, worker.py: a unique task was enqueued all the same, and one that met another when it was run was recorded
    as a failure.

    Five equal calls of two programs: each is told at once, one task is there, and nothing has failed.
    """
    programs, ran = [site.program(), site.program()], list[str]()
    tasks = [sync_of(queue, ran) for queue in programs]

    handles = [tasks[number % 2](7, str(number)) for number in range(5)]

    assert [handle.created for handle in handles] == [True, False, False, False, False]
    assert len({handle.task_id for handle in handles}) == 1
    assert waiting(programs[0]) == (1, 0, 0)
    site.work(programs[1])
    assert ran == ["0"]
    assert programs[0].admin.tasks(TaskStatus.FAILURE).tasks == []


def test_sidekiq_3662_no_flow_waits_for_what_was_never_enqueued(site: Site) -> None:
    """Sidekiq#3662: a batch counted a unique job that was not pushed because an equal one was there, and waited for it
    for ever. bullmq#3637 and #3761: likewise a parent for a deduplicated child.

    Here it cannot arise: a task that may stand for another one cannot be part of a flow, which is said when the flow is
    built, before anything is enqueued.
    """
    queue, ran = site.program(), list[str]()
    sync = sync_of(queue, ran)
    after = queue.task(name="after")(lambda *_: None)

    with pytest.raises(ConfigurationError, match="unique"):
        chain(sync.of(7, "first"), after.of())()
    plain = queue.task(name="plain")(lambda: None)
    for options in ({"unique": Unique()}, {"debounce": Debounce(5)}, {"throttle": Throttle(5)}):
        with pytest.raises(ConfigurationError):
            chain(plain.with_options(**options).of(), after.of())()

    assert waiting(queue) == (0, 0, 0)


@pytest.mark.parametrize(
    "option", [{"unique": Unique(by="customer", window=60)}, {"throttle": Throttle(60, by="customer")}]
)
def test_river_827_a_window_begins_with_the_first_call(site: Site, option: dict[str, Any]) -> None:
    """river#827 and #984: the time was cut to a multiple of the period, so two calls a second apart were both accepted
    where that second was the end of a period.

    Calls at each twelve seconds of two minutes: whatever the clock says, one in each 60 seconds after the one before.
    """
    queue, ran = site.program(), list[str]()
    sync = sync_of(queue, ran, **({"unique": None} | option))
    accepted = []
    for second in range(0, 144, 12):
        if sync(7, str(second)).created:
            accepted.append(second)
        site.work(queue)
        site.advance(12.1)

    assert accepted == [0, 60, 120]
    assert ran == ["0", "60", "120"]


def test_graphile_303_calls_during_a_run_make_one_more(site: Site) -> None:
    """graphile/worker#303 and #580: each call with the key of a job that ran made another one, several of them; the
    other mode dropped them all, and what had changed meanwhile was never seen. bullmq#2960.

    Five calls while the first runs: the change is seen by one more run.
    """
    queue, ran = site.program(), list[str]()
    made: list[Made] = []

    @queue.task(name="index", unique=Unique(by="doc", until="started"))
    def index(doc: int, text: str) -> None:
        ran.append(text)
        if text == "first":
            made.extend(index(doc, f"during {number}") for number in range(5))

    index(1, "first")
    site.work(queue)

    assert ran == ["first", "during 0"]
    assert [handle.created for handle in made] == [True, False, False, False, False]


def test_bullmq_3250_a_debounced_call_during_the_run_is_not_lost(site: Site) -> None:
    """bullmq#3250 and #2960: with deduplication, what was called while the job ran was dropped, so the last change was
    not worked on.

    The last of three calls runs; a call during that run begins another round with its own arguments, and so does one
    during that.
    """
    queue, ran = site.program(), list[str]()
    following = {"abc": "during", "during": "last"}

    @queue.task(name="index", debounce=Debounce(60, by="doc", max_wait=600))
    def index(doc: int, text: str) -> None:
        ran.append(text)
        if text in following:
            index(doc, following[text])

    handles = [index(1, text) for text in ("a", "ab", "abc")]
    site.work(queue)
    assert ran == []
    for _ in range(3):
        site.advance(60.1)
        site.work(queue)

    assert len({handle.task_id for handle in handles}) == 1
    assert ran == ["abc", "during", "last"]


def test_graphile_312_two_tasks_with_one_key_are_two(site: Site) -> None:
    """graphile/worker#312: two calls of different tasks with the same key became one; the first was replaced.

    Both run.
    """
    queue, ran = site.program(), list[str]()
    mail = queue.task(name="mail", unique=Unique(key="k"))(lambda: ran.append("mail"))
    bill = queue.task(name="bill", unique=Unique(key="k"))(lambda: ran.append("bill"))

    assert [mail().created, bill().created, mail().created] == [True, True, False]
    site.work(queue)

    assert ran == ["mail", "bill"]


def test_river_715_a_delayed_holder_counts_from_its_call_to_its_end(site: Site) -> None:
    """river#715: uniqueness in a period looked at the time of the call only, so the second of two jobs for times far
    apart was dropped as equal.

    Ours says that a delayed task holds its lock while it waits: the second call is told so, and can choose another key.
    """
    queue, ran = site.program(), list[str]()
    sync = sync_of(queue, ran)
    first = sync.with_options(delay=60)(7, "first")

    second = sync.with_options(delay=3_600)(7, "second")
    other = sync.with_options(delay=3_600, unique=Unique(key="7 in an hour"))(7, "other")

    assert (second.created, second, other.created) == (False, first, True)
    site.advance(3_601)
    site.work(queue)
    assert ran == ["first", "other"]
