"""Programs that tick: policies, deploys, clocks, seals, faults."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from math import inf
from typing import Any

import pytest
from attrs import evolve

from pyxqueue.errors import BrokerError, BrokerUnavailableError, StoreFullError
from pyxqueue.model.message import Done, Fail, Retry, Settlement, Verdict
from pyxqueue.model.message import evolve as evolve_message
from pyxqueue.model.schedules import Schedule, paused, resumed, upserted
from pyxqueue.model.ticks import Timing
from pyxqueue.protocols import Changed, ScheduleChange
from pyxqueue.serializers import Seal
from pyxqueue.testing import Fault, FaultySchedules
from pyxqueue.ticking import Ticker

from .conftest import DAY, HOUR, MINUTE, World, at, schedule

KEY = "0123456789abcdef"


def test_one_of_several_programs_ticks(world: World) -> None:
    """Three programs that tick at the same moments enqueue each tick once."""
    world.upsert(schedule())
    tickers = [world.ticker() for _ in range(3)]

    world.pass_time(20 * MINUTE, tickers, act=world.run)

    assert [task for task, _ in world.ticked] == [
        f"s.{at(f'2026-06-01T10:{minute:02}:00')}" for minute in (5, 10, 15, 20)
    ]
    assert (world.get().runs, world.get().missed_ticks, world.get().skipped) == (4, 0, 0)


def test_the_first_declaration_makes_up_for_nothing(world: World) -> None:
    """A new schedule does not tick for times before it was made."""
    world.ticker().declare([schedule(timing=Timing("0 10 * * *"), origin="code")])
    world.ticker().tick()

    assert world.run() == []
    assert world.get().next_ms == at("2026-06-02T10:00:00")


def test_the_pause_until_the_next_look(world: World) -> None:
    """A look returns the seconds until the next tick of any schedule; infinite without schedules."""
    ticker = world.ticker()
    assert ticker.tick() == inf
    world.upsert(schedule())
    world.upsert(schedule("other", Timing(every_ms=7 * MINUTE)))
    assert ticker.tick() == 150  # 10:03, since 7 minutes are counted from the epoch
    world.clock.advance(150_000)
    assert ticker.tick() == 120


@pytest.mark.parametrize(
    ("missed", "rule", "overlap", "wanted", "header"),
    [
        ("once", {}, "skip", [25], "4"),
        ("skip", {}, "skip", [25], "4"),
        ("skip", {"grace_ms": 10_000}, "skip", [], None),
        ("all", {}, "allow", [5, 10, 15, 20, 25], None),
        ("all", {"limit": 2}, "allow", [20, 25], "3"),
        ("all", {"within_ms": 12 * MINUTE}, "allow", [15, 20, 25], "2"),
    ],
)
def test_what_was_missed(  # noqa: PLR0917
    world: World,
    missed: str,
    rule: dict[str, int],
    overlap: Any,
    wanted: list[int],
    header: str | None,
) -> None:
    """After 25 minutes without any program, the policy decides which of the five ticks run."""
    world.upsert(schedule(missed=missed, rule=rule, overlap=overlap))
    world.clock.advance(25 * MINUTE)
    ticker = world.ticker()
    ticker.tick()

    assert world.run() == [f"s.{at(f'2026-06-01T10:{minute:02}:00')}" for minute in wanted]
    if wanted:
        assert world.ticked[0][1].get("pyxqueue-missed") == header
        assert world.ticked[0][1]["pyxqueue-tick"] == str(at(f"2026-06-01T10:{wanted[0]:02}:00"))
    assert world.get().missed_ticks == 5 - len(wanted)
    assert world.get().next_ms == at("2026-06-01T10:30:00")
    ticker.tick()
    assert world.run() == []


def test_the_task_knows_what_was_passed_over(world: World) -> None:
    """The next run says how many ticks were missed or skipped before it."""
    world.upsert(schedule(missed="skip", rule={"grace_ms": 1_000}))
    world.clock.advance(11 * MINUTE)
    ticker = world.ticker()
    ticker.tick()
    world.clock.advance(at("2026-06-01T10:15:00") - world.clock())
    ticker.tick()

    world.run()

    assert world.ticked[0][1]["pyxqueue-missed"] == "2"
    assert [(one.reason, one.number) for one in world.skipped] == [("missed", 2)]


@pytest.mark.parametrize("overlap", ["skip", "allow", "queue"])
def test_a_run_that_takes_longer_than_a_period(world: World, overlap: Any) -> None:
    """While the first run goes on for 12 minutes, ticks are skipped, enqueued or kept waiting; at most one waits."""
    world.upsert(schedule(overlap=overlap))
    ticker = world.ticker()
    world.pass_time(5 * MINUTE, [ticker])
    assert len(world.run(hold=True)) == 1
    world.pass_time(12 * MINUTE, [ticker])
    ready = world.backend.depth().ready
    world.backend.release("w", [])
    world.backend.cancel([world.ticked[0][0]])
    world.pass_time(MINUTE, [ticker], step=1_000)

    ran = world.run()

    if overlap == "skip":
        assert (ready, ran, world.get().skipped) == (0, [], 2)
        assert [one.reason for one in world.skipped] == ["overlap"] * 2
    elif overlap == "allow":
        assert (ready, len(ran), world.get().skipped) == (2, 2, 0)
    else:
        assert (ready, ran, world.get().missed_ticks) == (0, [f"s.{at('2026-06-01T10:15:00')}"], 1)


def test_a_failure_does_not_block_a_schedule(world: World) -> None:
    """A tick whose task failed lets the next one run; one that waits for its retry does not, until it is deleted."""
    world.upsert(schedule())
    ticker = world.ticker()

    def settle(verdict: Verdict) -> str:
        world.pass_time(5 * MINUTE, [ticker])
        (delivery,) = world.backend.claim("w", 9, 0)
        world.backend.settle([Settlement(delivery.receipt, verdict)])
        return delivery.message.id

    settle(Fail("no"))
    waits = settle(Retry(HOUR))
    world.pass_time(5 * MINUTE, [ticker])
    assert (world.get().runs, world.get().skipped) == (2, 1)
    world.backend.delete([waits])
    settle(Done())
    assert (world.get().runs, world.get().skipped) == (3, 1)


def test_a_lost_reply_does_no_harm(world: World) -> None:
    """A tick whose reply was lost is not repeated; one that never arrived is made later."""
    world.upsert(schedule())
    for fault, wanted in ((Fault.LOSE_REPLY, []), (Fault.LOSE_CALL, [f"s.{at('2026-06-01T10:10:00')}"])):
        world.clock.advance(5 * MINUTE)
        faulty = FaultySchedules(world.schedules, [fault], operations={"change"})
        with pytest.raises(BrokerUnavailableError):
            world.ticker(faulty).tick()
        before = world.run()
        world.ticker().tick()
        assert world.run() == wanted
        assert len(before) == (fault is Fault.LOSE_REPLY)
    repeating = FaultySchedules(world.schedules, [Fault.REPEAT], operations={"change"})
    world.clock.advance(5 * MINUTE)
    world.ticker(repeating).tick()
    assert len(world.run()) == 1


def test_an_upsert_whose_reply_was_lost_is_done(world: World) -> None:
    """A change is recognized by its mark."""
    faulty = FaultySchedules(world.schedules, [Fault.LOSE_REPLY], operations={"change"})
    made = world.ticker(faulty).alter("s", lambda old: upserted(old, schedule(), world.clock()))

    assert made == world.get()


def test_one_schedule_that_cannot_tick_stops_no_other(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A zone that this machine does not have is an error of that schedule, shown, and tried again."""
    world.upsert(schedule("good"))
    bad = world.upsert(schedule("bad", Timing("*/5 * * * *", "Europe/Berlin")))
    broken = evolve(bad, mark="broken", timing=Timing("*/5 * * * *", "Mars/Base"))
    assert world.schedules.change(ScheduleChange("bad", bad.mark, broken)) is Changed.DONE
    world.clock.advance(5 * MINUTE)
    ticker = world.ticker()

    with caplog.at_level(logging.WARNING):
        assert ticker.tick() == 60
        world.clock.advance(MINUTE)
        ticker.tick()

    assert world.run() == [f"good.{at('2026-06-01T10:05:00')}"]
    assert (world.get("bad").errors, world.get("good").errors) == (2, 0)
    assert "Mars/Base" in world.get("bad").error
    assert caplog.text.count("the schedule bad cannot tick") == 1
    mended = evolve(world.get("bad"), mark="mended", timing=bad.timing)
    world.schedules.change(ScheduleChange("bad", world.get("bad").mark, mended))
    world.clock.advance(MINUTE)
    ticker.tick()
    assert world.run() == [f"bad.{at('2026-06-01T10:05:00')}"]
    assert world.get("bad").error == ""


def test_a_full_store_is_tried_again(world: World) -> None:
    """A tick that the store does not take is not recorded; the others and the next look go on."""

    class Full(FaultySchedules):
        full = True

        def change(self, change: ScheduleChange) -> Changed:
            if self.full and change.id == "s":
                raise StoreFullError("no room")
            return super().change(change)

    world.upsert(schedule())
    world.upsert(schedule("t"))
    world.clock.advance(5 * MINUTE)
    full = Full(world.schedules)
    ticker = world.ticker(full)

    assert ticker.tick() == 1
    assert world.run() == [f"t.{at('2026-06-01T10:05:00')}"]
    full.full = False
    ticker.tick()
    assert world.run() == [f"s.{at('2026-06-01T10:05:00')}"]


def declare(ticker: Ticker, one: Schedule) -> None:
    ticker.declare([evolve(one, origin="code")])


def test_a_deploy(world: World) -> None:
    """The definition of the process that was started last counts, although the old release goes on declaring."""
    old, new = schedule(), schedule(timing=Timing("*/7 * * * *"))
    before = world.ticker()
    declare(before, old)
    world.pass_time(5 * MINUTE, [before])
    after = world.ticker()
    declare(after, new)
    for _ in range(3):
        world.clock.advance(MINUTE)
        declare(before, old)
        declare(after, new)

    assert world.get().timing == new.timing
    assert world.get().last_ms == at("2026-06-01T10:05:00")
    world.run()
    world.pass_time(10 * MINUTE, [before, after], act=world.run)
    assert [task for task, _ in world.ticked] == [
        f"s.{at(f'2026-06-01T10:{minute}:00')}" for minute in ("05", "07", "14")
    ]


def test_a_changed_definition_neither_repeats_nor_leaves_a_hole(world: World) -> None:
    """A tick that was due when the definition changed runs by the new one, and none runs twice."""
    world.upsert(schedule())
    world.clock.advance(4 * MINUTE + 30_000)  # 10:05:00, and nobody has ticked
    world.upsert(schedule(timing=Timing("*/5 * * * *")))
    world.ticker().tick()
    assert world.run() == [f"s.{at('2026-06-01T10:05:00')}"]
    world.upsert(schedule(timing=Timing(every_ms=MINUTE)))
    world.ticker().tick()
    assert world.run() == []
    assert world.get().next_ms == at("2026-06-01T10:06:00")


def test_an_equal_upsert_changes_nothing_that_counts(world: World) -> None:
    """Whoever upserts at each start does not move the next tick."""
    world.upsert(schedule())
    ticker = world.ticker()
    world.pass_time(9 * MINUTE, [ticker], act=lambda: world.upsert(schedule()))

    assert (world.get().runs, world.get().next_ms) == (1, at("2026-06-01T10:10:00"))


def test_pause_and_resume(world: World) -> None:
    """A paused schedule does not tick, stays paused over a deploy, and makes up for nothing when it is resumed."""
    ticker = world.ticker()
    declare(ticker, schedule())
    ticker.alter("s", lambda old: paused(old, world.clock()) if old else None)
    world.clock.advance(1)
    declare(world.ticker(), schedule(timing=Timing("* * * * *")))
    world.pass_time(20 * MINUTE, [ticker])
    assert world.run() == []
    assert (world.get().paused, world.get().timing) == (True, Timing("* * * * *"))

    ticker.alter("s", lambda old: resumed(old, world.clock()) if old else None)
    ticker.tick()
    assert (world.run(), world.get().next_ms) == ([], at("2026-06-01T10:21:00"))


def test_a_schedule_that_the_code_no_longer_has(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """It ticks for ten minutes more, then it is an orphan; it is deleted after a week; a runtime one is neither."""
    declare(world.ticker(), schedule(missed="skip"))
    world.upsert(schedule("runtime"))
    other = world.ticker()
    other.begin()

    with caplog.at_level(logging.WARNING):
        world.pass_time(30 * MINUTE, [other], act=world.run)

    assert world.get().orphaned
    assert (world.get().runs, world.get("runtime").runs) == (2, 6)
    assert caplog.text.count("the schedule s does not tick any more") == 1
    world.pass_time(7 * DAY + HOUR, [other], step=HOUR)
    assert world.schedules.ids() == ["runtime"]


@pytest.mark.parametrize("resumes", [False, True])
def test_a_paused_schedule_that_the_code_no_longer_has(world: World, resumes: bool) -> None:
    """It becomes an orphan within an hour and is deleted a week later; resumed in between, it does not tick."""
    ticker, other = world.ticker(), world.ticker()
    declare(ticker, schedule())
    world.upsert(schedule("runtime"))
    for name in ("s", "runtime"):
        ticker.alter(name, lambda old: paused(old, world.clock()) if old else None)
    other.begin()
    world.pass_time(2 * HOUR, [other], act=lambda: declare(ticker, schedule()))
    assert (world.get().orphaned, world.get().paused) == (False, True)

    world.pass_time(HOUR + 10 * MINUTE, [other])
    assert (world.get().orphaned, world.get().paused) == (True, True)
    if resumes:
        ticker.alter("s", lambda old: resumed(old, world.clock()) if old else None)
    world.pass_time(6 * DAY, [other], step=HOUR)
    assert set(world.schedules.ids()) == {"s", "runtime"}
    world.pass_time(DAY + HOUR, [other], step=HOUR)

    assert world.run() == []
    assert world.schedules.ids() == ["runtime"]


def test_a_paused_schedule_that_is_declared_again(world: World) -> None:
    """It is no orphan any more, and is still paused."""
    ticker, other = world.ticker(), world.ticker()
    declare(ticker, schedule())
    ticker.alter("s", lambda old: paused(old, world.clock()) if old else None)
    other.begin()
    world.pass_time(2 * HOUR, [other])
    assert world.get().orphaned

    declare(ticker, schedule())
    world.pass_time(2 * HOUR, [other], act=lambda: declare(ticker, schedule()))

    assert (world.run(), world.get().orphaned, world.get().paused) == ([], False, True)


@pytest.mark.parametrize("resumes", [False, True])
def test_an_orphan_that_is_paused(world: World, resumes: bool) -> None:
    """It is deleted after a week all the same, resumed or not."""
    declare(world.ticker(), schedule())
    other = world.ticker()
    other.begin()
    world.pass_time(30 * MINUTE, [other], act=world.run)

    other.alter("s", lambda old: paused(old, world.clock()) if old else None)
    if resumes:
        other.alter("s", lambda old: resumed(old, world.clock()) if old else None)
    world.pass_time(6 * DAY, [other], step=HOUR)
    assert world.schedules.ids() == ["s"]
    world.pass_time(DAY + HOUR, [other], step=HOUR)

    assert world.schedules.ids() == []


def test_an_orphan_that_is_declared_again(world: World) -> None:
    """It ticks again, and makes up for nothing."""
    declare(world.ticker(), schedule())
    other = world.ticker()
    other.begin()
    world.pass_time(30 * MINUTE, [other], act=world.run)

    declare(other, schedule())
    other.tick()

    assert (world.run(), world.get().orphaned, world.get().next_ms) == ([], False, at("2026-06-01T10:35:00"))


def test_nobody_worked(world: World) -> None:
    """After a night without any program, a schedule of the code is no orphan: nobody was there to declare it."""
    declare(world.ticker(), schedule(timing=Timing("0 3 * * *")))
    world.clock.advance(20 * HOUR)
    other, its_own = world.ticker(), world.ticker()
    other.begin()
    world.pass_time(2 * MINUTE, [other])
    declare(its_own, schedule(timing=Timing("0 3 * * *")))

    assert not world.get().orphaned
    assert world.run() == [f"s.{at('2026-06-02T03:00:00')}"]


@pytest.mark.parametrize("how", ["asleep", "cut off"])
def test_a_machine_that_was_asleep(world: World, how: str) -> None:
    """A program that has slept, or could not reach the store, calls nothing an orphan at once."""
    slept = 0
    sleeper = world.ticker(monotonic=lambda: world.clock() / 1000 - slept)
    sleeper.begin()
    world.pass_time(30 * MINUTE, [sleeper])
    declare(world.ticker(), schedule())
    world.clock.advance(3 * HOUR)
    if how == "asleep":
        slept = 3 * 3600
    else:
        sleeper.interrupted()

    sleeper.tick()

    assert not world.get().orphaned
    world.pass_time(20 * MINUTE, [sleeper], act=world.run)
    assert world.get().orphaned


def test_a_store_whose_clock_is_wrong(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """While the clocks of the store and of this machine differ by more than an hour, this program does not tick."""
    world.upsert(schedule())
    wrong = 2 * HOUR
    ticker = world.ticker(clock=lambda: world.clock() + wrong)
    world.clock.advance(5 * MINUTE)
    with caplog.at_level(logging.WARNING):
        assert ticker.tick() == 60
        ticker.tick()
        assert world.run() == []
        wrong = 0
        ticker.tick()
    assert len(world.run()) == 1
    assert caplog.text.count("differ by 2.0 h") == 1


def test_a_clock_that_is_set_back(world: World) -> None:
    """No tick runs twice; the schedule goes on when the clock has caught up."""
    world.upsert(schedule())
    ticker = world.ticker()
    world.pass_time(10 * MINUTE, [ticker], act=world.run)
    world.clock.advance(-HOUR)
    world.pass_time(59 * MINUTE, [ticker], act=world.run)
    assert len(world.ticked) == 2
    world.pass_time(6 * MINUTE, [ticker], act=world.run)
    assert [task for task, _ in world.ticked] == [
        f"s.{at(f'2026-06-01T10:{minute}:00')}" for minute in ("05", "10", "15")
    ]


def test_a_clock_that_was_ahead_once(world: World) -> None:
    """If the store's clock was days ahead, and is right again, a schedule of the code does not wait for these days."""
    declare(world.ticker(), schedule())
    world.clock.advance(30 * DAY)
    late = world.ticker()
    declare(late, schedule())
    late.tick()
    world.clock.advance(-30 * DAY)
    right = world.ticker()
    world.clock.advance(1)
    right.declare([evolve(schedule(timing=Timing(every_ms=MINUTE)), origin="code", declared_ms=0)])
    assert world.get().cursor > world.clock()  # a process that was started earlier by that clock does not count

    made = upserted(world.get(), evolve(schedule(timing=Timing(every_ms=MINUTE)), origin="runtime"), world.clock())
    assert made.next_ms == at("2026-06-01T10:01:00")


def test_a_sealed_schedule(world: World) -> None:
    """The task of a tick has a seal of its own; a program without the key, or with another, enqueues nothing."""
    seal = Seal(KEY)
    ticker = world.ticker(seal=seal)
    body, serializer, signature = ticker.codec.seal_call("kit.job", "schedule:s", [1], {}, {"a": "b"})
    call = evolve_message(schedule().call, body=body, serializer=serializer, seal=signature, headers={"a": "b"})
    world.upsert(evolve(schedule(), call=call))
    world.clock.advance(5 * MINUTE)
    for other in (world.ticker(), world.ticker(seal=Seal("another key of 16"))):
        other.tick()
        assert world.run() == []
        assert "SealError" in world.get().error
        world.clock.advance(MINUTE)

    ticker.tick()

    (delivery,) = world.backend.claim("w", 9, 0)
    assert ticker.codec.open_call(delivery.message) == ([1], {})  # type: ignore[arg-type]
    assert dict(delivery.message.headers)["a"] == "b"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "change", [{"name": "kit.other"}, {"body": b"[[2],{}]"}, {"seal": ""}, {"headers": {"x": "y"}}]
)
def test_a_sealed_schedule_that_was_altered(world: World, change: dict[str, Any]) -> None:
    """What another program has written into the store is not called."""
    ticker = world.ticker(seal=Seal(KEY))
    body, serializer, signature = ticker.codec.seal_call("kit.job", "schedule:s", [1], {})
    call = evolve_message(schedule().call, body=body, serializer=serializer, seal=signature)
    world.upsert(evolve(schedule(), call=evolve_message(call, **change)))
    world.clock.advance(5 * MINUTE)

    ticker.tick()

    assert (world.run(), world.get().errors) == ([], 1)


def test_the_seal_of_a_task_is_not_that_of_a_schedule(world: World) -> None:
    """The body and the seal of a task with the id of the schedule are not accepted as a schedule."""
    ticker = world.ticker(seal=Seal(KEY))
    body, _, signature = ticker.codec.seal_call("kit.job", "s", [1], {})
    world.upsert(evolve(schedule(), call=evolve_message(schedule().call, body=body, seal=signature)))
    world.clock.advance(5 * MINUTE)

    ticker.tick()

    assert world.run() == []


def test_a_thousand_at_the_same_moment(world: World) -> None:
    """All schedules tick that are due at the same time, in several looks."""
    for number in range(600):
        world.upsert(schedule(f"s{number}"))
    world.clock.advance(5 * MINUTE)
    ticker = world.ticker()
    while ticker.tick() == 0:
        pass
    assert len(world.run()) == 600


def test_a_long_outage_is_made_up_for_in_portions(world: World) -> None:
    """One look enqueues a limited number of tasks, so that a supervisor gets to its other duties."""
    rule = {"limit": 1_000, "within_ms": DAY}
    world.upsert(schedule(timing=Timing(every_ms=MINUTE), missed="all", rule=rule, overlap="allow"))
    world.upsert(schedule("other"))
    world.clock.advance(700 * MINUTE)
    ticker, portions = world.ticker(), []
    while True:
        pause = ticker.tick()
        portions.append(len(world.run()))
        if pause:
            break

    assert max(portions) <= 256
    assert len(world.ticked) == len({task for task, _ in world.ticked}) == 701
    assert (world.get().runs, world.get().missed_ticks) == (700, 0)


def test_a_schedule_that_cannot_be_read(world: World) -> None:
    """It is not replaced by what the code declares, and the others are declared."""

    class Newer(FaultySchedules):
        def get(self, ids: Sequence[str]) -> Sequence[Schedule | None]:
            return [None if one and one.id == "s" else one for one in super().get(ids)]

    world.upsert(schedule())
    ticker = world.ticker(Newer(world.schedules))

    with pytest.raises(BrokerError, match="the schedule s is damaged, or of a newer pyxqueue"):
        ticker.declare([schedule(), schedule("t")])

    assert world.schedules.ids() == ["s", "t"]


def test_a_schedule_that_another_program_makes_meanwhile(world: World) -> None:
    """It is changed as any other: it is not damaged."""

    class Busy(FaultySchedules):
        def get(self, ids: Sequence[str]) -> Sequence[Schedule | None]:
            found = super().get(ids)
            if found == [None]:
                world.upsert(schedule())
            return found

    ticker = world.ticker(Busy(world.schedules))

    seen = list[Schedule | None]()

    assert ticker.alter("s", seen.append) == world.get()
    assert seen == [world.get()]
