"""Reports about periodic tasks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from attrs import evolve

from pyxqueue import BrokerUnavailableError, Task, TaskQueue, TaskStatus, Unique, current_task
from pyxqueue.model.ticks import Timing
from pyxqueue.protocols import ScheduleChange
from pyxqueue.testing import Fault, FaultySchedules
from pyxqueue.ticking import store_of_schedules

from ..support.redis_harness import RedisHarness
from .conftest import Site, ms_of, waiting

MINUTE, HOUR, DAY = 60, 3_600, 86_400
NOON = "2026-06-01T12:00:30"
"""A Monday."""


class Beats:
    """The ticks for which a task has run, whichever program ran it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.ticks: list[datetime] = []

    def program(self, name: str = "beat", **options: Any) -> TaskQueue:
        """Start a program with a task that runs by itself."""
        queue = self.site.program()
        self.task(queue, name, **options)
        return queue

    def task(self, queue: TaskQueue, name: str = "beat", **options: Any) -> Task[[], None]:
        @queue.task(name=name, **options)
        def beat() -> None:
            tick = current_task().tick
            assert tick is not None
            self.ticks.append(tick)

        return beat

    def times(self) -> list[str]:
        return [f"{tick:%H:%M}" for tick in self.ticks]

    def days(self) -> list[str]:
        return [f"{tick:%m-%d %H:%M}" for tick in self.ticks]


@pytest.fixture
def beats(site: Site) -> Beats:
    site.set_clock(NOON)
    return Beats(site)


def running(site: Site, queue: TaskQueue) -> Callable[[], int]:
    """What a worker of this program does after each step of time."""
    return lambda: site.work(queue)


# Each tick once


def test_celery_4041_a_tick_is_not_enqueued_again_and_again(site: Site, beats: Beats) -> None:
    """celery#4041, django-celery-beat#82 and #109: with a time zone other than UTC, the scheduler compared times of two
    zones, found a task due that it had just sent, and sent it many times a second until the server was full.

    Three supervisors look every ten seconds, in a zone with an offset: each tick runs once.
    """
    programs = [beats.program(cron="*/2 8 * * *", timezone="America/New_York") for _ in range(3)]

    site.pass_time(
        5 * MINUTE,
        [site.supervisor(one) for one in programs],
        step=10,
        act=lambda: [site.work(one) for one in programs],
    )

    assert beats.times() == ["12:02", "12:04"]
    assert programs[0].schedules["beat"].runs == 2


def test_redbeat_81_a_restart_does_not_repeat_a_tick(site: Site, beats: Beats) -> None:
    """redbeat#81 and #154, steady-queue PR#54, streaq (ids made at random at each start): a scheduler that was
    restarted within a period sent the task of that period again.

    Every program is restarted several times a minute, beside others: each tick runs once.
    """
    for _ in range(20):
        queue = beats.program(every=2 * MINUTE)
        site.pass_time(20, [site.supervisor(queue), site.supervisor(queue)], step=10, act=running(site, queue))

    assert beats.times() == ["12:02", "12:04", "12:06"]


def test_bullmq_2876_an_upsert_at_each_start_makes_no_duplicates(site: Site, beats: Beats) -> None:
    """bullmq#2876, #2889, #2991 and #3001: an upsert of a schedule that was there made another task for the time that
    had one, so there were more with each deploy. And #3381: upserts of several nodes at the same time removed it.

    Five nodes upsert the same schedule at each start, before and after a tick: nothing is repeated or lost.
    """
    programs = [beats.program() for _ in range(5)]
    supervisors = [site.supervisor(one) for one in programs]

    def start() -> None:
        for queue in programs:
            queue.schedules.upsert("poll", beats.task(queue), every=3 * MINUTE)

    def restart() -> None:
        start()
        site.work(programs[0])
        start()

    start()
    site.pass_time(12 * MINUTE, supervisors, act=restart)

    assert beats.times() == ["12:03", "12:06", "12:09", "12:12"]
    assert len(programs[0].schedules) == 1
    assert waiting(programs[0]) == (0, 0, 0)


def test_asynq_schedulers_of_several_instances_enqueue_once(site: Site, beats: Beats) -> None:
    """asynq, scheduler.go: each instance that runs a scheduler enqueues each task, so two of them for availability mean
    everything twice.

    Two programs have seen the same schedule as due, and both act on what they saw, one of them when the task has run
    and is gone: one enqueues.
    """
    programs = [beats.program(every=5 * MINUTE) for _ in range(2)]
    for queue in programs:
        site.supervisor(queue).look()
    site.set_clock("2026-06-01T12:05:00")
    stale = store_of_schedules(programs[0].stores.backend).due(100)

    class SeenBefore(FaultySchedules):
        def due(self, limit: int) -> Any:
            return stale if limit else super().due(limit)

    site.supervisor(programs[0]).ticker.tick()
    site.work(programs[0])
    assert programs[0].admin.delete(programs[0].schedules["beat"].last_task).done == 1
    site.supervisor(programs[1], SeenBefore(store_of_schedules(programs[1].stores.backend))).ticker.tick()

    assert waiting(programs[0]) == (0, 0, 0)
    assert beats.times() == ["12:05"]


# A schedule goes on


def test_bullmq_3063_a_schedule_that_is_made_again_runs(site: Site, beats: Beats) -> None:
    """bullmq#3063 and #4299: a schedule was removed and made again soon after; the id of its next task was that of one
    that had ended already, so no task was made, and without one the schedule never ran again.

    It is deleted and made again, and the clock is set back over a tick that has run: that one is not repeated, and the
    next one runs.
    """
    queue = beats.program()
    task, supervisor = beats.task(queue), site.supervisor(queue)
    queue.schedules.upsert("test", task, every=3 * MINUTE)
    site.pass_time(3 * MINUTE, [supervisor], act=running(site, queue))
    queue.schedules["test"].delete()
    queue.schedules.upsert("test", task, every=3 * MINUTE)
    site.pass_time(3 * MINUTE, [supervisor], act=running(site, queue))
    assert beats.times() == ["12:03", "12:06"]

    queue.schedules["test"].delete()
    site.set_clock("2026-06-01T12:05:30")
    queue.schedules.upsert("test", task, every=3 * MINUTE)
    site.pass_time(6 * MINUTE, [supervisor], act=running(site, queue))

    assert beats.times() == ["12:03", "12:06", "12:09"]


def test_asynq_842_a_failed_run_does_not_block_the_schedule(site: Site, beats: Beats) -> None:
    """asynq#842, #1055 and #492: to have a periodic task once, it was given a fixed id; a run that failed was archived
    under that id, and every later one was refused as a duplicate.

    Each run fails, and is kept with the failed tasks: each tick runs all the same.
    """
    queue, ran = site.program(), list[str]()

    @queue.task(name="beat", every=MINUTE)
    def beat() -> None:
        ran.append(current_task().id)
        raise ValueError("no")

    site.pass_time(5 * MINUTE, [site.supervisor(queue)], act=running(site, queue))

    assert len(ran) == len(set(ran)) == 5
    assert len(queue.admin.tasks(TaskStatus.FAILURE).tasks) == 5
    assert queue.schedules["beat"].skipped == 0


def test_bullmq_3262_the_next_tick_does_not_depend_on_the_run_before(site: Site, beats: Beats) -> None:
    """bullmq#3262, #3272, #3381, #3269 and #4222, docket#437 and #377: each run made the task of the next one, so a run
    that was removed, struck out or lost with its worker was the last of its schedule.

    One run is deleted, one cancelled, one dies with its worker until it fails: the next tick comes each time.
    """
    queue = beats.program(every=MINUTE, max_crashes=0)
    supervisor = site.supervisor(queue)
    supervisor.look()

    def last() -> str:
        site.pass_time(MINUTE, [supervisor])
        return queue.schedules["beat"].last_task

    assert queue.admin.delete(last()).done == 1
    assert queue.admin.cancel(last()).done == 1
    last()
    site.kill(queue, site.hold(queue))
    assert site.work(queue) == 1
    assert beats.times() == []
    last()
    site.work(queue)

    assert beats.times() == ["12:04"]
    assert (queue.schedules["beat"].runs, queue.schedules["beat"].skipped) == (4, 0)


def test_bullmq_2944_an_interval_does_not_drift(site: Site, beats: Beats) -> None:
    """bullmq#2944, #3142, #3307, #3551, #3446, #3705, #4113 and #4266: the first run of an interval, and its offset
    afterwards, depended on when it was upserted, when a worker was late, and on the version.

    Programs start at odd moments and look late: the ticks are at multiples of the interval, and none is at the start.
    """
    for seconds in (30, 137, 65, 214, 7, 160):
        queue = beats.program(every=5 * MINUTE)
        queue.schedules.upsert("other", beats.task(queue, "other"), every=5 * MINUTE)
        supervisor = site.supervisor(queue)
        supervisor.look()
        site.work(queue)
        site.set_clock(site.clock() + 1000 * seconds)
        supervisor.look()
        site.work(queue)

    assert beats.times() == ["12:05", "12:05", "12:10", "12:10"]


def test_river_791_a_weekly_task_runs_although_programs_restart_often(site: Site, beats: Beats) -> None:
    """river#791, also rq's cron: the time of the next run was counted from the start of the process, so a weekly task
    never ran where there is a deploy each day.

    The program is replaced each day for three weeks: it runs each Monday.
    """
    for _ in range(21):
        queue = beats.program(cron="0 7 * * mon")
        site.pass_time(DAY, [site.supervisor(queue)], step=12 * HOUR, act=running(site, queue))

    assert beats.days() == ["06-08 07:00", "06-15 07:00", "06-22 07:00"]


@pytest.mark.parametrize("fault", [Fault.LOSE_CALL, Fault.LOSE_REPLY])
def test_river_a_tick_is_not_lost_with_its_insert(site: Site, beats: Beats, fault: Fault) -> None:
    """river, periodic_job_enqueuer.go: the next run was computed first and the job inserted then; an insert that failed
    was logged, and that run never came.

    The connection breaks at the tick, before or after the store has heard of it: the tick runs once.
    """
    queue = beats.program(every=5 * MINUTE)
    site.supervisor(queue).look()
    store = store_of_schedules(queue.stores.backend)
    faulty = FaultySchedules(store, [fault], operations={"change"})
    site.set_clock("2026-06-01T12:05:01")

    with pytest.raises(BrokerUnavailableError):
        site.supervisor(queue, faulty).ticker.tick()
    site.supervisor(queue).look()
    site.work(queue)

    assert beats.times() == ["12:05"]


def test_bullmq_3430_a_changed_upsert_counts_at_once(site: Site, beats: Beats) -> None:
    """bullmq#3430, #3500 and #3378: an upsert with another interval or other data changed nothing, since the task of
    the next run was there already, made from the old ones. #3197: one during a run left a task without name and data.

    An interval is upserted three times, once while its task runs: each change counts from the next tick.
    """
    queue, ran = site.program(), list[tuple[str, str]]()

    @queue.task(name="poll")
    def poll(text: str) -> None:
        tick = current_task().tick
        assert tick is not None
        ran.append((f"{tick:%H:%M}", text))
        if text == "second":
            queue.schedules.upsert("poll", poll, "third", every=3 * MINUTE)

    supervisor = site.supervisor(queue)
    queue.schedules.upsert("poll", poll, "first", every=10 * MINUTE)
    site.pass_time(2 * MINUTE, [supervisor], act=running(site, queue))
    queue.schedules.upsert("poll", poll, "second", every=4 * MINUTE)
    site.pass_time(8 * MINUTE, [supervisor], act=running(site, queue))

    assert ran == [("12:04", "second"), ("12:06", "third"), ("12:09", "third")]


def test_river_1035_a_long_absence_is_one_run(site: Site, beats: Beats) -> None:
    """river#1035: a program that had not run for two weeks inserted a job for each five seconds of them at its start.

    The same absence: one run, which knows how many there were as far as they are counted, and then the usual ones.
    """
    queue, ran = site.program(), list[int]()

    @queue.task(name="beat", every=MINUTE)
    def beat() -> None:
        ran.append(current_task().missed)

    site.supervisor(queue).look()
    site.set_clock(site.clock() + 14 * DAY * 1000)
    supervisor = site.supervisor(queue)
    supervisor.look()
    assert waiting(queue) == (1, 0, 0)
    site.work(queue)
    site.pass_time(2 * MINUTE, [supervisor], act=running(site, queue))

    assert ran == [14 * DAY // MINUTE - 1, 0, 0]


# One schedule and the others


def test_docket_361_a_schedule_with_an_error_stops_no_other(site: Site, beats: Beats) -> None:
    """docket#361, river#1251, qwen-code#11720: one entry that could not be computed, or whose insert hung, ended the
    loop in which all others were waiting.

    One schedule has a time zone that this machine does not know: it shows its error, and the other one ticks.
    """
    queue = beats.program()
    task, supervisor = beats.task(queue), site.supervisor(queue)
    for name in ("bad", "good"):
        queue.schedules.upsert(name, task, cron="*/5 * * * *")
    store = store_of_schedules(queue.stores.backend)
    (bad,) = store.get(["bad"])
    assert bad is not None
    store.change(ScheduleChange("bad", bad.mark, evolve(bad, mark="m", timing=Timing("*/5 * * * *", "Mars/Base"))))

    site.pass_time(10 * MINUTE, [supervisor], act=running(site, queue))

    assert beats.times() == ["12:05", "12:10"]
    assert queue.schedules["good"].errors == 0
    assert "Mars/Base" in queue.schedules["bad"].error


# Deploys


def test_streaq_what_was_removed_from_the_code_stops(site: Site, beats: Beats) -> None:
    """streaq, worker.py: a cron job that was removed from the code was enqueued for ever, and each run failed with
    "missing function".

    The new release does not have the task: its schedule stops, says so, and no task of it waits.
    """
    old, supervisor = beats.program(cron="*/5 * * * *"), None
    supervisor = site.supervisor(old)
    site.pass_time(10 * MINUTE, [supervisor], act=running(site, old))
    new = beats.program("other", every=MINUTE)
    site.pass_time(20 * MINUTE, [site.supervisor(new)], act=running(site, new))
    ticks, schedule = len(beats.ticks), new.schedules["beat"]
    for task in new.admin.tasks().tasks:
        new.admin.delete(task.id)

    site.pass_time(20 * MINUTE, [site.supervisor(new)], act=running(site, new))

    assert (schedule.state, schedule.next) == ("orphaned", None)
    assert len(beats.ticks) == ticks + 20
    assert new.schedules["beat"].runs == schedule.runs
    assert waiting(new) == (0, 0, 0)


def test_solid_queue_738_what_was_changed_in_the_code_counts(site: Site, beats: Beats) -> None:
    """solid_queue#738 and #792: a change of a recurring task in the code was not seen by the scheduler.

    The release that is started later says another cron expression: it counts from then on, and no tick runs twice.
    """
    old = beats.program(cron="0 * * * *")
    site.pass_time(HOUR, [site.supervisor(old)], step=10 * MINUTE, act=running(site, old))
    new = beats.program(cron="0,20 * * * *")

    site.pass_time(HOUR, [site.supervisor(new)], step=10 * MINUTE, act=running(site, new))

    assert beats.times() == ["13:00", "13:20", "14:00"]
    assert new.schedules["beat"].cron == "0,20 * * * *"


def test_docket_437_two_releases_do_not_fight(site: Site, beats: Beats) -> None:
    """docket#437, #331 and #335, also streaq: while an old and a new release ran side by side, each wrote its own time
    of the next run over that of the other.

    Both look in turns for twenty minutes: the schedule is that of the release that was started later.
    """
    old = beats.program(every=5 * MINUTE)
    before = site.supervisor(old)
    site.pass_time(5 * MINUTE, [before], act=running(site, old))
    new = beats.program(cron="*/7 * * * *")
    after = site.supervisor(new)

    site.pass_time(20 * MINUTE, [before, after, before], act=running(site, new))

    assert beats.times() == ["12:05", "12:07", "12:14", "12:21"]
    assert new.schedules["beat"].cron == "*/7 * * * *"


# Gaps


def test_solid_queue_763_a_scheduler_goes_on_after_its_machine_has_slept(site: Site, beats: Beats) -> None:
    """solid_queue#763: after a laptop had slept, the timers of the scheduler were gone and nothing ran any more.
    Sidekiq#3047 and #3974: one that wakes up as a leader of old fires what others have fired meanwhile.

    One supervisor sleeps for three hours while another works, and then both for a night: nothing is repeated, the
    latest missed tick runs once, and it goes on.
    """
    queue = beats.program(cron="0 * * * *")
    sleeper, other = site.supervisor(queue), site.supervisor(queue)
    sleeper.look()
    site.pass_time(3 * HOUR, [other], step=30 * MINUTE, act=running(site, queue))
    sleeper.slept_ms = 3 * HOUR * 1000
    sleeper.look()
    site.work(queue)
    assert beats.times() == ["13:00", "14:00", "15:00"]

    site.set_clock("2026-06-02T06:45:00")
    for one in (sleeper, other):
        one.slept_ms += 15 * HOUR * 1000
        one.look()
        site.work(queue)
    site.pass_time(HOUR, [sleeper], step=30 * MINUTE, act=running(site, queue))

    assert beats.days()[3:] == ["06-02 06:00", "06-02 07:00"]
    assert queue.schedules["beat"].missed == 14


def test_apscheduler_296_a_tick_that_is_a_little_late_runs(site: Site, beats: Beats) -> None:
    """apscheduler#296: a run that was more than a second late, as on a busy machine, was skipped as a misfire.

    A supervisor comes 50 seconds late: the tick runs, also where missed ones are to be skipped.
    """
    queue = beats.program(cron="*/5 * * * *", missed="skip")
    supervisor = site.supervisor(queue)
    supervisor.look()
    site.set_clock("2026-06-01T12:05:50")

    supervisor.look()
    site.work(queue)

    assert beats.times() == ["12:05"]
    assert queue.schedules["beat"].missed == 0


def test_graphile_worker_a_timer_that_fires_early_runs_nothing_early(site: Site, beats: Beats) -> None:
    """graphile/worker, cron.ts: a timer that fires a moment too early is handled on purpose there, since the minute
    that it would find is the last one; others run that again, or leave the right one out.

    A supervisor looks a millisecond before the tick (of a server, some seconds), and at the tick: nothing is early, and
    it runs once.
    """
    queue = beats.program(cron="*/5 * * * *")
    supervisor = site.supervisor(queue)
    supervisor.look()
    goes_on = isinstance(site.harness, RedisHarness)
    site.set_clock(ms_of("2026-06-01T12:05:00") - (10_000 if goes_on else 1))
    supervisor.look()
    assert waiting(queue) == (0, 0, 0)

    site.set_clock("2026-06-01T12:05:00")
    supervisor.look()
    site.work(queue)

    assert beats.times() == ["12:05"]


# Summer time

NIGHTS = {"spring": "2026-03-28T22:00:00", "autumn": "2026-10-24T21:00:00"}
"""Six hours before the end of what is looked at. In both nights the clocks of Berlin are changed at 01:00 UTC."""
BERLIN = {
    "30 2 * * *": (["01:00"], ["00:30"]),
    "0 2,3 * * *": (["01:00"], ["00:00", "02:00"]),
    "0,30 2 * * *": (["01:00"], ["00:00", "00:30"]),
    "15 3 * * *": (["01:15"], ["02:15"]),
    "30 */2 * * *": (["23:30", "02:30"], ["22:30", "00:30", "01:30"]),
    "0 * * * *": (
        ["23:00", "00:00", "01:00", "02:00", "03:00", "04:00"],
        ["22:00", "23:00", "00:00", "01:00", "02:00", "03:00"],
    ),
}


@pytest.mark.parametrize("night", NIGHTS)
@pytest.mark.parametrize("cron", BERLIN)
def test_sidekiq_5049_each_local_time_once_when_clocks_are_changed(memory: Site, cron: str, night: str) -> None:
    """Sidekiq#5049, oban (cron.ex), rundeck#6879, node-cron#563, zslayton/cron#145, cron-utils#112, Temporal#8205: zero
    or two runs of a daily task in the nights in which clocks are changed.

    Both nights of 2026 in Berlin: a fixed time runs once, and what has a star in it goes on with each hour that passes.
    """
    memory.set_clock(NIGHTS[night])
    beats = Beats(memory)
    queue = beats.program(cron=cron, timezone="Europe/Berlin")
    supervisor = memory.supervisor(queue)
    supervisor.look()

    memory.pass_time(6 * HOUR + 5 * MINUTE, [supervisor], step=5 * MINUTE, act=running(memory, queue))

    assert beats.times() == BERLIN[cron][night == "autumn"]


def test_celery_6438_the_scheduler_survives_the_night_of_the_change(site: Site, beats: Beats) -> None:
    """celery#6438, django-celery-beat#285 and #604: in the hour that comes twice the scheduler found a next run in the
    past, or raised AmbiguousTimeError, and nothing was sent until it was restarted. celery#10107: an hourly task left
    out the second of the two.

    A program that is started in the second of the two hours, and one that ran all the time: hourly and daily tasks run
    each time they should, and none for a time before the start.
    """
    site.set_clock("2026-10-25T00:10:30")
    queue = beats.program(cron="0 * * * *", timezone="Europe/Berlin", overlap="allow")
    beats.task(queue, "daily", cron="30 2 * * *", timezone="Europe/Berlin")
    site.pass_time(HOUR, [site.supervisor(queue)], step=10 * MINUTE, act=running(site, queue))
    assert beats.times() == ["00:30", "01:00"]
    beats.ticks.clear()
    late = beats.program("late", cron="20 2 * * *", timezone="Europe/Berlin")
    beats.task(late, cron="0 * * * *", timezone="Europe/Berlin", overlap="allow")

    site.pass_time(3 * HOUR, [site.supervisor(late)], step=10 * MINUTE, act=running(site, late))

    assert beats.times() == ["02:00", "03:00", "04:00"]


# Overlap, arguments, other options


@pytest.mark.parametrize(("overlap", "after"), [("skip", []), ("queue", ["12:20"])])
def test_celery_2283_runs_do_not_pile_up(site: Site, beats: Beats, overlap: Any, after: list[str]) -> None:
    """celery#2283, graphile#285, #227 and PR#294: where a run takes longer than its period, the tasks of all ticks
    since then waited for it, more and more of them.

    A run takes four periods: none or one waits behind it, the others are counted.
    """
    queue = beats.program(every=5 * MINUTE, overlap=overlap)
    supervisor = site.supervisor(queue)
    supervisor.look()
    site.set_clock("2026-06-01T12:05:00")
    supervisor.look()
    held = site.hold(queue)

    site.pass_time(15 * MINUTE, [supervisor])
    assert waiting(queue) == (0, 0, 0)
    site.end(queue, held)
    site.set_clock("2026-06-01T12:20:30")
    supervisor.look()
    site.work(queue)

    schedule = queue.schedules["beat"]
    assert beats.times() == after
    assert schedule.runs + schedule.skipped + schedule.missed == 4


def test_river_161_a_unique_task_is_scheduled_as_any_other(site: Site, beats: Beats) -> None:
    """river#161 and #168: ``unique`` was not looked at for periodic jobs, since these are inserted in bulk. And 0.12.1:
    once it was, a job that waited for its retry was in conflict with itself.

    Ours says that ticks do not ask for the lock of ``unique``, and keeps runs apart by ``overlap``: neither a call that
    holds the lock for an hour nor the run before keeps a tick from running, and the call is not touched.
    """
    queue = site.program()
    task = beats.task(queue, unique=Unique(by=()), every=MINUTE)
    called = task.with_options(delay=HOUR)()

    site.pass_time(3 * MINUTE, [site.supervisor(queue)], act=running(site, queue))

    assert beats.times() == ["12:01", "12:02", "12:03"]
    assert called.created
    assert not task().created
    assert called.state is TaskStatus.PENDING


def test_procrastinate_each_run_gets_the_arguments_as_they_were_given(site: Site, beats: Beats) -> None:
    """procrastinate, periodic.py: all ticks shared the dictionary of arguments, and a change that was made for one of
    them was still there for the next.

    The caller and the task change what they have in their hands: each run gets what was given.
    """
    queue, seen = site.program(), list[Any]()
    given: dict[str, Any] = {"sizes": [1, 2], "options": {"deep": {}}}

    @queue.task(name="resize")
    def resize(sizes: list[int], options: dict[str, Any]) -> None:
        seen.append((list(sizes), {"deep": dict(options["deep"])}))
        sizes.append(3)
        options["deep"]["x"] = 1

    queue.schedules.upsert("resize", resize, kwargs=given, every=MINUTE)
    given["sizes"].append(9)
    site.pass_time(3 * MINUTE, [site.supervisor(queue)], act=running(site, queue))

    assert seen == [([1, 2], {"deep": {}})] * 3


@pytest.mark.parametrize(
    ("cron", "days"),
    [
        ("0 0 * * 6", ["06-06", "06-13", "06-20"]),
        ("0 0 * * 6/1", ["06-06", "06-07", "06-13"]),
        ("0 0 6/10 * *", ["06-06", "06-16", "06-26"]),
        ("0 0 * * 0", ["06-07", "06-14", "06-21"]),
        ("0 0 * * 7", ["06-07", "06-14", "06-21"]),
        ("0 0 * * 5-7", ["06-05", "06-06", "06-07", "06-12"]),
        ("0 0 */10 * *", ["06-11", "06-21", "07-01"]),
        ("0 0 13 * 5", ["06-05", "06-12", "06-13", "06-19"]),
        ("0 0 L * *", ["06-30", "07-31", "08-31"]),
        ("0 0 29 2 *", ["02-29", "02-29"]),
    ],
)
def test_croniter_246_an_expression_keeps_its_meaning(memory: Site, cron: str, days: list[str]) -> None:
    """croniter#246: a new release of the library read ``6/1`` in the field of the day of the week otherwise, so
    schedules that had run each day ran on Saturdays.

    Expressions that libraries read in different ways are written down here. A step behind a single number goes from
    that number to the end of the field.
    """
    memory.set_clock("2026-06-01T12:00:30")
    queue = memory.program()
    task = queue.task(name="beat")(lambda: None)
    moment, found = datetime(2026, 6, 1, 12, tzinfo=UTC), list[str]()
    queue.schedules.upsert("beat", task, cron=cron)
    for _ in days:
        found_next = queue.schedules["beat"].next
        assert found_next is not None
        moment = found_next
        found.append(f"{moment:%m-%d}")
        memory.set_clock(round(moment.timestamp() * 1000))
        memory.supervisor(queue).look()
        memory.work(queue)

    assert found == days
