"""Reports about limits of concurrency, rates and fairness."""

from __future__ import annotations

from typing import Any

import pytest

from pyxqueue import BrokerUnavailableError, Concurrency, Rate, Task, TaskQueue, TaskStatus
from pyxqueue.model.message import Done, Extension, LeaseStatus, Retry, StartStatus
from pyxqueue.protocols import Beginning
from pyxqueue.testing import Fault, FaultyBroker

from .conftest import Site, ids, waiting


def render_of(queue: TaskQueue, ran: list[Any], *limits: Any, **options: Any) -> Task[[int, int], None]:
    """A task with limits, that notes its runs."""

    @queue.task(name="render", limits=limits or [Concurrency(1)], jitter=0, **options)
    def render(customer: int, page: int) -> None:
        ran.append((customer, page))

    return render


def gates(queue: TaskQueue) -> dict[str, tuple[int, int]]:
    """How many tokens of each gate are out, and how many tasks wait there."""
    return {gate.name: (gate.used, gate.waiting) for gate in queue.limits.gates()}


# Tokens


@pytest.mark.parametrize("act", ["cancel", "delete", "expires"])
def test_docket_223_one_that_waits_does_not_give_back_the_place_of_one_that_runs(site: Site, act: str) -> None:
    """docket#223: a task that had not got a slot released one when it was put back: that of the task that ran, so two
    ran at the same time.

    Tasks that wait in the line end there: the limit of one still has its one task, and nothing else starts.
    """
    queue, ran = site.program(), list[Any]()
    render = render_of(queue, ran)
    render(1, 0)
    held = site.hold(queue)
    waits = [render.with_options(expires=60)(1, page) for page in range(1, 4)]
    last = render(1, 9)

    for handle in waits:
        if act != "expires":
            getattr(queue.admin, act)(handle.task_id)
    if act == "expires":
        site.advance(61)
        queue.stores.backend.maintain(100)

    assert site.hold(queue, 10, "other") == []
    assert gates(queue) == {"render/": (1, 1)}
    site.end(queue, held)
    assert ids(site.hold(queue, 10, "other")) == [last.task_id]


def test_docket_397_the_end_of_one_admits_the_next_in_the_same_step(site: Site) -> None:
    """docket#397 and #188, solid_queue PR#761: a task was put into the line in a second step, after the holder had
    looked there and gone, so nobody woke it.

    The program that ends the first task dies at that moment: without any further step of it, the next one is ready.
    """
    queue = site.program(wrap=lambda backend: FaultyBroker(backend, [Fault.LOSE_REPLY], operations={"settle"}))
    render = render_of(queue, [])
    render(1, 0)
    held = site.hold(queue)
    following = render(1, 1)
    with pytest.raises(BrokerUnavailableError):
        site.end(queue, held)

    claimed = site.program().stores.backend.claim("other", 1, 0)

    assert ids(claimed) == [following.task_id]


def test_solid_queue_689_a_stale_end_gives_nothing_back(site: Site) -> None:
    """solid_queue PR#689, PR#761 and #735: a worker was taken for dead while it went on; its job was given to another,
    and when the first one ended at last, the semaphore was signalled a second time. A limit of 1 ran eleven at once.

    A worker loses its lease and goes on: what it sends in the end is refused, as often as it repeats it, and the limit
    still holds.
    """
    queue, ran = site.program(lease=30_000), list[Any]()
    render = render_of(queue, ran)
    render(1, 0)
    stale = site.hold(queue, 1, "stale")
    site.advance(31)
    held = site.hold(queue, 10, "other")
    assert ids(held) == ids(stale)
    for page in range(1, 12):
        render(1, page)

    for _ in range(11):
        assert site.end(queue, stale) == [False]
        assert site.hold(queue, 10, "more") == []

    assert gates(queue) == {"render/": (1, 11)}


def test_solid_queue_689_a_run_may_be_longer_than_any_time(site: Site) -> None:
    """solid_queue PR#689: the semaphore ended after ``concurrency_duration`` although the job was still running, and
    let another one in.

    A task runs for a day while its supervisor extends its lease: nothing else starts.
    """
    queue = site.program(lease=30_000)
    render = render_of(queue, [])
    render(1, 0)
    render(1, 1)
    held = site.hold(queue)

    for _ in range(60):
        site.advance(24)
        assert queue.stores.backend.extend([Extension(held[0].receipt)]) == [LeaseStatus.HELD]
        assert site.hold(queue, 10, "other") == []

    assert gates(queue) == {"render/": (1, 1)}


@pytest.mark.parametrize("how", ["released", "lease"])
def test_solid_queue_546_a_place_does_not_stay_with_the_dead(site: Site, how: str) -> None:
    """solid_queue#546, Sidekiq#3323 and #4105: a worker was killed with the limit's place in its hands, and everything
    behind it waited until somebody deleted the key. And solid_queue#735: after a kill, several started at once.

    The worker is killed, or its whole machine: one task starts, and only one.
    """
    queue, ran = site.program(lease=30_000), list[Any]()
    render = render_of(queue, ran)
    for page in range(3):
        render(1, page)
    held = site.hold(queue)
    if how == "released":
        site.kill(queue, held)
    else:
        site.advance(31)

    again = site.hold(queue, 10, "other")

    assert len(again) == 1
    assert gates(queue) == {"render/": (1, 2)}
    site.end(queue, again)
    site.work(queue)
    assert len(ran) == 2
    assert gates(queue) == {}


def test_bullmq_2582_delayed_ones_do_not_pass_the_limit(site: Site) -> None:
    """bullmq#2582, #2697 and #3561: jobs that became due, or were retried, were moved past the limit, so more of them
    ran at once than it allowed.

    Ten tasks become due at the same moment, half of them after a failure: two are ready.
    """
    queue = site.program()
    render = render_of(queue, [], Concurrency(2))
    render.with_options(delay=60).map([(1, page) for page in range(5)])
    plain = render.map([(2, page) for page in range(5)])
    for _ in plain:
        site.end(queue, site.hold(queue), Retry(60_000))
    assert gates(queue) == {}

    site.advance(61)
    for _ in range(2):
        queue.stores.backend.maintain(100)

    assert waiting(queue) == (2, 8, 0)
    assert len(site.hold(queue, 10)) == 2


def test_hatchet_3089_two_limits_of_one_task_do_not_mix(site: Site) -> None:
    """hatchet#3089 and #4329: of two strategies of one workflow, the first filled the slots of the second as well, so
    the second one limited nothing.

    One limit for each customer and one for all: each has its own count, also where a key looks like the other's name.
    """
    queue, ran = site.program(), list[Any]()
    limits = [Concurrency(1, by="customer", name="api"), Concurrency(3, name="all")]

    @queue.task(name="call", limits=limits)
    def call(customer: str) -> None:
        ran.append(customer)

    call.map([("a",), ("a",), ("all",), ("all",), ("",), ("b",)])

    found = gates(queue)
    assert {name: found.pop(name) for name in ("all/", "api/a", "api/all")} == {
        "all/": (3, 1),
        "api/a": (1, 1),
        "api/all": (1, 1),
    }
    assert list(found.values()) == [(1, 0)]
    held = site.hold(queue, 10)
    assert len(held) == 3
    assert len({str(one.message.gates) for one in held}) == 3  # type: ignore[union-attr] # they can be read
    site.end(queue, held)
    site.work(queue)
    assert len(ran) == 3
    assert gates(queue) == {}


def test_hatchet_1834_a_number_is_not_reset(site: Site) -> None:
    """hatchet#1834 (PR#2714): a limit that was put into the store became 0 as soon as a task used it, since the
    definition of the task has no number. Sidekiq#4857, and rq (rate_limit.py): jobs that were enqueued before, or each
    enqueue, wrote their own idea of the limit over that of the operator.

    An operator sets a number and a pace; programs of two releases call, and start workers: his count until he takes
    them back, and then those of the release that started last.
    """
    old, new, without = site.program(), site.program(), site.program()
    render = render_of(old, [], Concurrency(2), Rate(500, per=60, burst=20))
    newer = render_of(new, [], Concurrency(3), Rate(600, per=60, burst=30))
    without.task(name="render")(lambda *_: None)
    render(1, 0)
    old.limits.set("render", concurrency=1)
    old.limits.set("render", rate=400, per=60, burst=10)

    for queue in (old, new, without):
        site.start_worker(queue)
        newer(1, 1)
        render(1, 2)
        assert [(one.name, one.number) for one in queue.limits.list()] == [("render", 1)]
        assert [(one.name, str(one.pace)) for one in queue.limits.rates()] == [("render", "400 per 60 s, 10 at once")]

    assert waiting(old)[0] == 1
    old.limits.set("render", concurrency=None)
    old.limits.set("render", rate=None)
    assert [(one.name, one.number) for one in old.limits.list()] == [("render", 3)]
    assert [str(one.pace) for one in old.limits.rates()] == ["600 per 60 s, 30 at once"]
    assert waiting(old)[0] == 3


def test_hatchet_4258_nothing_is_left_of_a_key(site: Site) -> None:
    """hatchet#4258, conductor#1446: something was kept for each key that was ever used, and was never removed.

    Forty customers with a limit, a rate and a share each, in every way to end: the store is as large as before.
    """
    queue, ran = site.program(fair_by="customer", statistics=False), list[Any]()  # those have slots for three days
    limits = [Concurrency(1, by="customer"), Rate(1, per=60, by="customer", name="api")]
    render = render_of(queue, ran, *limits, result_ttl=1)
    render(0, 0)
    site.work(queue)
    site.advance(2 * 86_400)
    site.work(queue)
    before = site.harness.footprint()

    handles = render.map([(customer, page) for customer in range(40) for page in range(3)])
    for number, handle in enumerate(handles):
        if number % 3 == 1:
            (queue.admin.cancel if number % 2 else queue.admin.delete)(handle.task_id)
    site.work(queue)
    site.advance(61)
    site.work(queue)
    assert len(ran) == 81
    site.advance(2 * 86_400)
    site.work(queue)

    assert gates(queue) == {}
    assert site.harness.footprint() <= before


# Rates


def starts(site: Site, queue: TaskQueue, seconds: float, step: float) -> list[float]:
    """When tasks start, while a worker looks at each step."""
    begin, found = site.clock(), list[float]()
    passed = 0.0
    while passed < seconds:
        ran = site.work(queue)
        found += [(site.clock() - begin) / 1000] * ran
        site.advance(step)
        passed += step
    return found


def test_sidekiq_2704_no_window_has_twice_its_number(site: Site) -> None:
    """Sidekiq#2704, #2897, #6531 and #6641: a window that begins at fixed times lets twice its number through where two
    of them meet; and docket (_ratelimit.py) lost count of those that came within one millisecond.

    Ten at once are allowed, then one in six seconds. Ten start at the end of a minute, and many more wait: no minute
    has more than the burst and one in six seconds.
    """
    queue, ran = site.program(), list[Any]()
    render = render_of(queue, ran, Rate(10, per=60, burst=10))
    site.advance(59)
    render.map([(1, page) for page in range(40)])

    found = starts(site, queue, 75, 3)

    assert found.count(found[0]) == 10
    for begin in found:
        for number in range(1, 12):  # a start is noted up to a second late
            within = [moment for moment in found if begin <= moment < begin + 6 * number - 1]
            assert len(within) <= 10 + number


def test_docket_two_in_one_millisecond_are_two(site: Site) -> None:
    """docket, _ratelimit.py: starts were members of a set by their time, so two in the same millisecond were one.

    Three are claimed at once where two may start: two start.
    """
    queue = site.program()
    render_of(queue, [], Rate(2, per=3_600, burst=2)).map([(1, page) for page in range(3)])

    held = site.hold(queue, 3)

    assert len(held) == 2
    assert site.hold(queue, 3, "other") == []


def test_bullmq_3289_a_spent_rate_stops_nothing_else(site: Site) -> None:
    """bullmq#3289, #3297, #2403 and #1553: a key of the limiter was left without an end, so the whole queue stood
    still, also jobs that had no limit.

    A rate is spent, its task is deleted while it waits, and time passes: others run all the time, and the next one of
    the rate starts when it may.
    """
    queue, ran = site.program(), list[Any]()
    render = render_of(queue, ran, Rate(1, per=60))
    plain = queue.task(name="plain")(ran.append)
    render(1, 0)
    waits = render(1, 1)
    plain("a")
    site.work(queue)
    assert ran == [(1, 0), "a"]
    queue.admin.delete(waits.task_id)
    render(1, 2)
    plain("b")
    site.work(queue)
    assert ran[2:] == ["b"]

    site.advance(61)
    site.work(queue)
    site.advance(3_600)
    site.work(queue)

    assert ran[3:] == [(1, 2)]
    assert gates(queue) == {}


def test_sidekiq_2619_a_task_that_is_turned_away_stays_the_same(site: Site) -> None:
    """Sidekiq#2619 and #3368: a job over the limit was enqueued again as a new one, so it had another id and its unique
    lock was lost. #6010: it used up its retries.

    A task waits for its turn, and is turned away at its start: it is one task with its id, in its first attempt, and no
    other is made.
    """
    queue, ran = site.program(), list[Any]()
    render = render_of(queue, ran, Rate(1, per=600))
    render(1, 0)
    site.work(queue)
    waits = render(1, 1)

    for _ in range(20):
        site.work(queue)
        site.advance(25)
    site.advance(101)
    backend = queue.stores.backend
    backend.maintain(100)
    (claimed,) = backend.claim("worker", 1, 0)
    queue.admin.pause(limit="render")
    assert isinstance(backend, Beginning)
    assert list(backend.begin([claimed.receipt])) == [StartStatus.LATER]
    message = queue.admin.task(waits.task_id).info.readable

    assert message is not None
    assert (message.attempt, message.crashes, message.deferrals, message.redelivered) == (1, 0, 0, False)
    assert [one.id for one in queue.admin.tasks().tasks if not one.status.ended] == [waits.task_id]
    queue.admin.resume(limit="render")
    site.work(queue)
    assert waits.state is TaskStatus.SUCCESS


def test_sidekiq_4809_an_outage_saves_nothing_up(site: Site) -> None:
    """Sidekiq#4809: the busy loop of those over the limit, and all of them at once after it.

    No worker is there for an hour while calls come in: then the burst starts at once, and the others at the pace.
    """
    queue, ran = site.program(), list[Any]()
    render_of(queue, ran, Rate(1, per=60, burst=2)).map([(1, page) for page in range(10)])
    site.advance(3_600)

    found = starts(site, queue, 150, 10)

    assert found[:2] == [found[0]] * 2
    assert len(found) == 4


# Lines


def test_a_task_that_moves_to_another_line_is_no_end_of_the_look(site: Site) -> None:
    """Of the kind of docket#188: the first in the line of a gate is moved to the line of its other gate. A look that
    takes that for "nothing left to do" leaves those behind it waiting, although there is room.

    The first in line has another gate without room; the one behind it has not.
    """
    queue, ran = site.program(), list[Any]()

    @queue.task(name="both", limits=[Concurrency(1, name="a"), Concurrency(1, name="b", by="key")])
    def both(key: int) -> None:
        ran.append(key)

    both(1)
    first = site.hold(queue)
    only_b = queue.task(name="only_b", limits=[Concurrency(1, name="b", by="key")])(lambda key: None)
    only_b(2)
    second = site.hold(queue, 1, "second")
    both(2)
    behind = both(3)
    assert waiting(queue) == (0, 2, 0)

    site.end(queue, first)
    queue.stores.backend.maintain(100)

    assert ids(site.hold(queue, 10, "third")) == [behind.task_id]
    site.end(queue, second)


def test_nobody_overtakes_those_who_wait(site: Site) -> None:
    """Of the kind of jobs that starve behind retries: what comes back, or is called later, takes the place that has
    just become free, again and again, and those in line never get one.

    The task that runs is retried at once, five times, and new calls come in: each time the first in line is next.
    """
    queue = site.program()
    render = render_of(queue, [])
    handles = [render(1, page) for page in range(5)]
    served = []

    for round_ in range(5):
        held = site.hold(queue)
        served += ids(held)
        render(2, round_)
        site.end(queue, held, Retry())

    assert served == [handle.task_id for handle in handles]


# Fairness


def test_pgbus_426_a_flood_starves_nobody_and_nothing_idles(site: Site) -> None:
    """pgbus#426 (PR#429), postel#126, uwazi#8062, gradient#111: turns that were taken over a fixed list of groups let
    one with a flood take them all, or left workers idle at the turn of an empty one.

    A flood of one tenant, then two tasks of each of three others: they are among the next ones, and no claim is empty
    while there is work.
    """
    queue = site.program(fair_by="customer")
    render = queue.task(name="render")(lambda customer, page: None)
    flood = render.map([(0, page) for page in range(60)])
    others = render.map([(customer, page) for page in range(2) for customer in (1, 2, 3)])
    worker = site.program(fair_by="customer")

    served = [one for _ in range(len(flood) + len(others)) for one in ids(site.hold(worker))]

    assert len(served) == len(flood) + len(others)
    position = {task_id: number for number, task_id in enumerate(served)}
    assert max(position[handle.task_id] for handle in others) < 12


def test_hatchet_a_blocked_key_holds_up_no_other(site: Site) -> None:
    """hatchet (strategy.go), kafkaflow-contrib#24: what is blocked stood at the head of the one queue, and what could
    have run waited behind it.

    A hundred tasks of a customer at his limit come first: those of others run at once, in order.
    """
    queue, ran = site.program(), list[Any]()
    render = render_of(queue, ran, Concurrency(1, by="customer"))
    render.map([(1, page) for page in range(100)])
    held = site.hold(queue)
    render.map([(customer, 0) for customer in (2, 3, 4)])

    site.work(queue)

    assert ran == [(2, 0), (3, 0), (4, 0)]
    assert site.end(queue, held, Done()) == [True]
