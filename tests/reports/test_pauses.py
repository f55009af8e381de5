"""Reports about pausing and resuming."""

from __future__ import annotations

import threading

from pyxqueue import TaskQueue, current_task
from pyxqueue.backends.memory import MemoryBackend
from pyxqueue.backends.sqlite import SQLiteBackend
from pyxqueue.model.message import Fail
from pyxqueue.protocols import Backend, StoreOptions
from pyxqueue.testing.memory import MemoryHarness

from ..support.redis_harness import RedisHarness
from .conftest import Site, ids, waiting


def test_bullmq_1880_whatever_becomes_ready_waits_and_comes(site: Site) -> None:
    """bullmq#1880, #1884, #1931, #1314, #1321, #1335 and #322, bull#247, #903, #1087, #1813 and #2540: a pause moved
    the waiting jobs into another list. What was retried, promoted, stalled, recovered or added meanwhile was put into
    one of the two lists, often the wrong one: it ran during the pause, or was stuck after it, or vanished.

    During a pause a task is called, one becomes due, one is retried by hand, one comes back from a worker that dies:
    none starts, and all of them start after it.
    """
    queue, ran = site.program(), list[str]()
    note = queue.task(name="note")(ran.append)
    note("failed")
    failed = site.hold(queue)
    site.end(queue, failed, Fail("no"))
    note("crashed")
    crashed = site.hold(queue)
    note("before")
    note.with_options(delay=60)("delayed")
    assert queue.admin.pause()
    note("during")
    site.advance(61)
    queue.stores.backend.maintain(100)
    assert queue.admin.retry(ids(failed)).done == 1
    site.kill(queue, crashed)

    assert site.work(queue) == 0
    assert waiting(queue) == (5, 0, 0)
    assert len(queue.admin.tasks().tasks) == 5
    assert queue.admin.resume()
    assert site.work(queue) == 5
    assert sorted(ran) == ["before", "crashed", "delayed", "during", "failed"]


def test_bullmq_3971_resume_is_the_end_of_the_pause(site: Site) -> None:
    """bullmq#3971 and #3982: a resume did nothing while a job of the time before the pause was still running, and the
    worker did not come back.

    A queue is paused while a task runs, twice, and by another program too: one resume, by anybody, while that task
    still runs, is the end.
    """
    queue, other, ran = site.program(), site.program(), list[str]()
    note = queue.task(name="note")(ran.append)
    note("runs")
    held = site.hold(queue)

    assert [queue.admin.pause(), queue.admin.pause(), other.admin.pause()] == [True, False, False]
    note.with_options(priority=60)("urgent")
    note.with_options(delay=60)("delayed")
    assert [other.admin.resume(), queue.admin.resume()] == [True, False]
    site.advance(61)
    site.work(queue)

    assert sorted(ran) == ["delayed", "urgent"]
    assert not other.admin.info().paused
    assert site.end(queue, held) == [True]


def test_river_854_resume_wakes_those_who_wait(site: Site) -> None:
    """river#854 and #870: after the end of the pause, workers that slept were not woken, and did nothing until the next
    job came in.

    A worker waits at a paused queue for an hour: it gets the task that is there, and nothing else was needed.
    """
    queue, claimed = site.program(), list[str]()
    task = queue.task(name="note")(print)
    queue.stores.backend.lease_ms()
    queue.admin.pause()
    handle = task()
    worker = site.program().stores.backend
    waits = threading.Event()

    def wait() -> None:
        waits.set()
        claimed.extend(ids(list(worker.claim("worker", 1, 60_000))))

    thread = threading.Thread(target=wait)
    thread.start()
    waits.wait()
    site.program().admin.resume()
    thread.join(timeout=30)
    worker.interrupt()

    assert claimed == [handle.task_id]


def test_sidekiq_4975_a_worker_that_starts_finds_the_pause(site: Site) -> None:
    """Sidekiq#4975: workers that were started, as by a deploy, took two or three jobs of a paused queue before they had
    loaded which queues were paused.

    The first claim of a new program, and of one that was there before: neither gets anything.
    """
    queue, ran = site.program(), list[str]()
    note = queue.task(name="note")(ran.append)
    assert site.work(queue) == 0
    site.program().admin.pause()
    for number in range(3):
        note(str(number))

    for _ in range(3):
        started = site.program()
        started.task(name="note")(ran.append)
        assert site.work(started) == 0
    assert site.work(queue) == 0
    assert ran == []


def test_sidekiq_6574_a_worker_that_works_finds_the_pause(site: Site) -> None:
    """Sidekiq#6574, #5834, #5700 and #6202: the pause was shown everywhere, but came to running processes as a message,
    and those that had missed it went on.

    A worker runs task after task; one of them pauses the queue from another program: it was the last one.
    """
    queue, other, ran = site.program(), site.program(), list[int]()

    @queue.task(name="note")
    def note(number: int) -> None:
        ran.append(number)
        if number == 2:
            other.admin.pause()

    note.map([(number,) for number in range(6)])
    site.work(queue)
    assert ran == [0, 1, 2]
    note(6)
    assert site.work(queue) == 0

    other.admin.resume()
    site.work(queue)
    assert ran == [0, 1, 2, 3, 4, 5, 6]


def other_queue(site: Site) -> Backend:
    """Another queue in the same store."""
    options = StoreOptions("another")
    if isinstance(site.harness, MemoryHarness):
        return MemoryBackend(site.harness.store, options)
    if isinstance(site.harness, RedisHarness):
        return site.harness.another().open()
    file = site.harness
    return SQLiteBackend(file.path, options, clock=file.clock, driver=file.driver, safe_for_wal=file.safe_for_wal)


def test_sidekiq_6528_a_pause_is_one_of_one_queue(site: Site) -> None:
    """Sidekiq#6528: the message "paused" went to all databases of a server, and stopped the queues of that name of
    other applications.

    Another group of the queue, and another queue of the store, go on.
    """
    queue, group, ran = site.program(), site.program("other"), list[str]()
    another = TaskQueue(stream_key="another", broker=other_queue(site), eager=False)
    for one in (queue, group, another):
        one.stores.backend.lease_ms()
    note = queue.task(name="note")(ran.append)
    group.task(name="note")(ran.append)
    queue.admin.pause()
    note("group")
    another.task(name="note")(ran.append)("queue")

    assert [site.work(one) for one in (queue, group, another)] == [0, 1, 1]
    assert ran == ["group", "queue"]
    assert [one.admin.info().paused for one in (queue, group, another)] == [True, False, False]
    another.close()


def test_lavinmq_446_a_pause_survives_a_restart(site: Site) -> None:
    """LavinMQ#446: after a restart of the server, a paused queue went on. Others keep a pause in the memory of the
    process.

    Every program is closed, and others open the store: queue, task name, limit and schedule are still paused.
    """
    queue, ran = site.program(), list[str]()
    note = queue.task(name="note")(ran.append)
    queue.schedules.upsert("hourly", note, "tick", every=3_600)
    queue.schedules["hourly"].pause()
    queue.admin.pause()
    queue.admin.pause(task="note")
    queue.admin.pause(limit="api", key=7)
    note("called")
    queue.close()

    after = site.program()
    after.task(name="note")(ran.append)

    assert after.admin.info().paused
    assert after.admin.info().paused_tasks == ["note"]
    assert after.limits.paused() == ["api/7"]
    assert after.schedules["hourly"].state == "paused"
    assert site.work(after) == 0
    after.admin.resume()
    assert site.work(after) == 0
    assert ran == []
    after.admin.resume(task="note")
    site.work(after)
    assert ran == ["called"]


def test_oban_a_deploy_does_not_end_a_pause(site: Site) -> None:
    """oban (commit db1c103c): the configuration of a node said whether a queue starts paused, so a deploy ended a pause
    that an operator had made, on that node alone.

    A new release starts, declares its schedule and its limit and works: what the operator has paused stays paused.
    """
    old = site.program()
    ran = list[str]()

    def release(queue: TaskQueue) -> None:
        @queue.task(name="beat", every=60)
        def beat() -> None:
            ran.append(current_task().id)

    release(old)
    site.supervisor(old).look()
    old.schedules["beat"].pause()
    old.admin.pause()
    new = site.program()
    release(new)
    new.task(name="note")(ran.append)("called")

    site.pass_time(300, [site.supervisor(new), site.supervisor(old)], act=lambda: site.work(new))

    assert ran == []
    assert (new.schedules["beat"].state, new.admin.info().paused) == ("paused", True)
    assert waiting(new) == (1, 0, 0)
