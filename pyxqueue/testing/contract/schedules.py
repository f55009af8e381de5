"""`ScheduleStore`: L1 once, L2 never early."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ...model.message import evolve
from ...model.schedules import MissedTicks, Schedule, tick_id
from ...model.ticks import Timing
from ...protocols import Changed, ScheduleChange, ScheduleStore, schedules_of
from .harness_tests import HarnessTests
from .prelude import Backend, Contract, Harness, Law, law, m, s

L1, L2 = law("L1"), law("L2")
_HOUR = 3_600_000
_MARKS = 12


def _store(backend: Backend, found: Law) -> ScheduleStore:
    return found.there(schedules_of(backend), "the backend does not keep schedules")


def _schedule(name: str = "s", **state: object) -> Schedule:
    call = m.Message(name, "kit.job", s.EVERY_BYTE)
    return Schedule(name, Timing("30 2 * * *", "Europe/Berlin"), call, mark=f"{name}-0", **state)  # type: ignore[arg-type]


def _kept(store: ScheduleStore, found: Law, *schedules: Schedule) -> None:
    for one in schedules:
        made = store.change(ScheduleChange(one.id, "", one))
        found.same(made, Changed.DONE, f"the creation of the schedule {one.id}")


def _tick(old: Schedule, number: int = 1, **more: object) -> ScheduleChange:
    new = evolve(old, mark=f"{old.id}-{number}", runs=old.runs + 1, task_id=tick_id(old.id, number))
    message = m.evolve(old.call, id=new.task_id)
    return ScheduleChange(old.id, old.mark, new, message, **more)  # type: ignore[arg-type]


def _overlap(old: Schedule, task_id: str = "a") -> ScheduleChange:
    """A tick unless the task has not ended."""
    return evolve(_tick(old), unless=task_id, otherwise=evolve(old, mark=f"{old.id}-o", skipped=1))


class ScheduleLaws(Contract):
    """L1 and L2."""

    def test_l1_of_two_that_have_seen_the_same_one_ticks(self, harness: Harness) -> None:
        """The second change from the same mark is refused: one task is ready, and the schedule is that of the first."""
        backend, other = harness.open(), harness.open()
        store, old = _store(backend, L1), _schedule()
        _kept(store, L1, old)
        first, second = _tick(old), _tick(old, 2)

        L1.same(store.change(first), Changed.DONE, "the first tick")
        L1.same(_store(other, L1).change(second), Changed.REFUSED, "the second tick from the same mark")

        L1.same(list(store.get(["s"])), [first.new], "the schedule after two ticks from the same mark")
        s.claims(backend, L1, ["s.1"], "the tasks that were enqueued")

    def test_l1_once_at_the_same_time(self, harness: Harness) -> None:
        """Of several programs that tick at the same moment, one does, time after time."""
        handles = [harness.open() for _ in range(3)]
        old = _schedule()
        _kept(_store(handles[0], L1), L1, old)
        ticks = [evolve(_tick(old, number), mark=f"s-{number - 1}") for number in range(1, _MARKS + 1)]

        s.once_each(
            L1,
            self.patience,
            handles,
            lambda backend, change: _store(backend, L1).change(change) is Changed.DONE,
            ticks,
        )

        s.claims(handles[0], L1, [tick_id("s", n) for n in range(1, _MARKS + 1)], "the tasks of all ticks")

    def test_l1_a_refused_change_changes_nothing(self, harness: Harness) -> None:
        """A change from another mark neither replaces nor deletes the schedule, and enqueues nothing."""
        backend = harness.open()
        store, old = _store(backend, L1), _schedule()
        _kept(store, L1, old)
        before = s.photo(backend)
        wrong = evolve(_tick(old), mark="other")

        for change in (wrong, evolve(wrong, new=None), evolve(wrong, mark=""), evolve(_overlap(old), mark="other")):
            L1.same(store.change(change), Changed.REFUSED, f"the change of {change.id} from the mark {change.mark!r}")

        L1.same(list(store.get(["s"])), [old], "the schedule after refused changes")
        L1.same(s.photo(backend), before, "a refused change enqueued something")

    def test_l1_a_change_of_what_is_not_there_is_refused(self, harness: Harness) -> None:
        """A schedule that was deleted is not changed, and does not tick."""
        backend = harness.open()
        store, old = _store(backend, L1), _schedule()
        _kept(store, L1, old)
        L1.same(store.change(ScheduleChange("s", old.mark, None)), Changed.DONE, "the deletion")

        L1.same(store.change(_tick(old)), Changed.REFUSED, "a tick of a schedule that was deleted")

        L1.same((list(store.get(["s"])), list(store.ids())), ([None], []), "the schedules after it")
        s.places(backend, L1, "after a tick of a schedule that was deleted")

    def test_l1_a_repeat_is_refused(self, harness: Harness) -> None:
        """A change whose reply was lost is refused the second time, also after its task has ended and is forgotten."""
        backend = harness.open()
        store, old = _store(backend, L1), _schedule()
        _kept(store, L1, old)
        change = _tick(old)
        store.change(change)
        s.settled(backend, L1, s.done(s.take_one(backend, L1)))
        backend.delete(["s.1"])

        L1.same(store.change(change), Changed.REFUSED, "the repeat of a tick")
        s.places(backend, L1, "after the repeat of a tick")

    def test_l1_into_every_group(self, harness: Harness) -> None:
        """A tick goes into every registered group; the schedule is that of the queue, whichever group changes it."""
        one, other = s.groups(harness, "a", "b")
        store, old = _store(one, L1), _schedule()
        _kept(store, L1, old)

        L1.same(_store(other, L1).change(_tick(old)), Changed.DONE, "a tick by the handle of another group")

        for backend in (one, other):
            s.claims(backend, L1, ["s.1"], "the tasks of a group after a tick")
            L1.same(list(_store(backend, L1).get(["s"])), [_tick(old).new], "the schedule, read by a group")

    def test_l1_the_message_is_enqueued_as_it_is(self, harness: Harness) -> None:
        """The task of a tick has the bytes and the header of the message."""
        backend = harness.open()
        store, old = _store(backend, L1), _schedule()
        _kept(store, L1, old)
        store.change(evolve(_tick(old), message=s.RICH))
        message = s.readable(s.take_one(backend, L1), L1)
        L1.same(m.evolve(message, enqueued_ms=0), s.RICH, "the message of a tick")
        L1.holds(message.enqueued_ms > 0, "the message of a tick has no time at which it was enqueued")

    def test_l1_a_known_task_does_not_hold_up(self, harness: Harness) -> None:
        """If the id of the tick's task is known, nothing is enqueued, and the schedule goes on."""
        backend = harness.open()
        store, old = _store(backend, L1), _schedule()
        _kept(store, L1, old)
        change = _tick(old)
        backend.enqueue([s.job(old.id + ".1")])
        s.settled(backend, L1, s.done(s.take_one(backend, L1)))

        L1.same(store.change(change), Changed.DONE, "a tick whose task is known")
        L1.same(list(store.get(["s"])), [change.new], "the schedule after it")
        s.places(backend, L1, "after a tick whose task is known", history=1)

    def test_l1_a_task_that_has_not_ended(self, harness: Harness) -> None:
        """While the task `unless` is ready, in flight or delayed, `otherwise` is stored and nothing is enqueued."""
        backend = harness.open()
        store = _store(backend, L1)
        backend.enqueue([s.job("a")])
        held = None
        for name in ("ready", "claimed", "delayed"):
            if name == "claimed":
                held = s.take_one(backend, L1)
            elif held is not None:
                s.settled(backend, L1, s.retry(held, 60_000))
            old = _schedule(name)
            _kept(store, L1, old)
            change = _overlap(old)
            L1.same(store.change(change), Changed.OTHERWISE, f"a tick while the task before is {name}")
            L1.same(list(store.get([name])), [change.otherwise], f"the schedule while the task before is {name}")
            L1.same(store.change(change), Changed.REFUSED, "the repeat of it")
            L1.same(backend.show([f"{name}.1"])[0], None, f"the task of a tick while the task before is {name}")

    def test_l1_a_task_that_has_not_ended_in_another_group(self, harness: Harness) -> None:
        """The task `unless` must have ended in every group."""
        one, other = s.groups(harness, "a", "b")
        store, old = _store(one, L1), _schedule()
        _kept(store, L1, old)
        one.enqueue([s.job("a")])
        for backend in (one, other):
            L1.same(store.change(_overlap(old)), Changed.OTHERWISE, "a tick while a group has the task before")
            old = evolve(old, mark="s-o")
            store.change(ScheduleChange("s", "s-o", evolve(old, mark="s-0")))
            old = evolve(old, mark="s-0")
            s.settled(backend, L1, s.done(s.take_one(backend, L1)))
        L1.same(store.change(_overlap(old)), Changed.DONE, "a tick after the task before has ended in all groups")

    def test_l1_a_task_that_has_ended(self, harness: Harness) -> None:
        """A task that succeeded, failed, was cancelled, was deleted or is not known does not hold up a tick."""
        backend = harness.open()
        store = _store(backend, L1)
        s.settled(backend, L1, s.done(s.claimed(backend, L1, "done")))
        s.settled(backend, L1, s.fail(s.claimed(backend, L1, "failed")))
        backend.enqueue([s.job("cancelled"), s.job("deleted")])
        backend.cancel(["cancelled"])
        backend.delete(["deleted"])
        for name in ("done", "failed", "cancelled", "deleted", "never"):
            old = _schedule(f"s-{name}")
            _kept(store, L1, old)
            change = _overlap(old, name)
            L1.same(store.change(change), Changed.DONE, f"a tick where the task before is {name}")
            L1.same(list(store.get([old.id])), [change.new], f"the schedule where the task before is {name}")
            L1.there(backend.show([f"s-{name}.1"])[0], f"there is no task of a tick where the task before is {name}")

    def test_l1_made_once(self, harness: Harness) -> None:
        """A schedule is made only where there is none; after its deletion it can be made again."""
        store, old = _store(harness.open(), L1), _schedule()
        other = evolve(old, mark="other", skipped=5)
        _kept(store, L1, old)
        L1.same(store.change(ScheduleChange("s", "", other)), Changed.REFUSED, "the creation of what is there")
        L1.same(list(store.get(["s"])), [old], "the schedule after it")
        L1.same(store.change(ScheduleChange("s", old.mark, None)), Changed.DONE, "the deletion")
        L1.same(list(store.get(["s"])), [None], "a schedule that was deleted")
        _kept(store, L1, other)
        L1.same(list(store.get(["s"])), [other], "a schedule that was made again")

    def test_l1_what_is_stored_comes_back(self, harness: Harness) -> None:
        """A schedule comes back with every field, also after a change, to every handle of the queue."""
        store, other = _store(harness.open(), L1), _store(harness.open("other"), L1)
        plain = Schedule("plain", Timing(every_ms=1_000), m.Message("plain", "kit.job"), mark="1")
        state = {name: 2**40 + n for n, name in enumerate(("declared_ms", "seen_ms", "cursor", "last_ms", "next_ms"))}
        counts = {name: 3 + n for n, name in enumerate(("runs", "skipped", "missed_ticks", "passed", "errors"))}
        rich = Schedule(
            "rich", Timing("*/5 1-3 * jan mon", "Australia/Lord_Howe"), s.RICH, MissedTicks("all", 5, 7, 9), "queue",
            "code", "mark", paused=True, orphaned=True, task_id="rich.1", error="größe\u2028 \x00 ü", **state, **counts,
        )  # fmt: skip
        skip = evolve(rich, id="skip", call=m.evolve(s.RICH, id="skip"), missed=MissedTicks("skip", 60_000))
        _kept(store, L1, plain, rich, skip)
        L1.same(list(other.get(["rich", "none", "plain", "skip"])), [rich, None, plain, skip], "the stored schedules")
        L1.same(list(store.get([])), [], "no schedules")

        small = evolve(rich, mark="2", paused=False, orphaned=False, error="", task_id="", next_ms=0, runs=0)
        store.change(ScheduleChange("rich", "mark", small))

        L1.same(list(other.get(["rich"])), [small], "a schedule some of whose fields were taken back")

    def test_l1_all_are_listed(self, harness: Harness) -> None:
        """`ids` has each schedule once in alphabetical order, whether it is due or not."""
        store, other = _store(harness.open(), L1), _store(harness.open("other"), L1)
        now = store.due(0).now
        schedules = [_schedule(name, next_ms=now + n * 50 if n % 3 else 0) for n, name in enumerate(s.ALIKE)]
        _kept(store, L1, *schedules)
        L1.same(list(other.ids()), sorted(s.ALIKE), "the ids of all schedules")
        for one in schedules[::2]:
            store.change(ScheduleChange(one.id, one.mark, None))
        left = sorted(one.id for one in schedules[1::2])
        L1.same(list(other.ids()), left, "the ids after some were deleted")
        L1.same([one and one.id for one in other.get(left)], left, "the schedules that were left")

    def test_l2_no_tick_before_its_time(self, harness: Harness) -> None:
        """A change before its time is refused and changes nothing; at its time it is made."""
        backend = harness.open()
        store, old = _store(backend, L2), _schedule()
        _kept(store, L2, old)
        now = store.due(0).now

        for early in (now + 60_000, now + s.LONG):
            L2.same(store.change(_tick(old, not_before=early)), Changed.REFUSED, "a tick before its time")
            overlap = evolve(_overlap(old, "none"), not_before=early)
            L2.same(store.change(overlap), Changed.REFUSED, "a tick before its time")
        L2.same(list(store.get(["s"])), [old], "the schedule after ticks before their time")
        s.places(backend, L2, "after ticks before their time")

        L2.same(store.change(_tick(old, not_before=now)), Changed.DONE, "a tick at its time")
        s.claims(backend, L2, ["s.1"], "the tasks after a tick at its time")

    def test_l2_what_is_due_comes_in_order(self, harness: Harness) -> None:
        """`due` returns what is due, the longest due first, at most as many as its limit; `left` is about the rest."""
        store = _store(harness.open(), L2)
        now = store.due(0).now
        ages = {"b": 5_000, "a": 3_000, "c": 1_000, "later": -_HOUR, "much-later": -s.LONG}
        _kept(store, L2, *(_schedule(name, next_ms=now - age) for name, age in ages.items()))

        found = store.due(10)

        self._are(found.schedules, ["b", "a", "c"], "what is due")
        L2.same(found.schedules[0], _schedule("b", next_ms=now - 5_000), "a schedule that is due")
        L2.holds(0 <= found.now - now < _HOUR, f"the time is {found.now} after {now}")
        L2.holds(_HOUR - 600_000 < found.left <= _HOUR, f"the ms until the next look are {found.left}")
        for limit in (0, 2):
            some = store.due(limit)
            self._are(some.schedules, ["b", "a"][:limit], f"what is due, with the limit {limit}")
            L2.same(some.left, 0, f"the ms until the next look when more is due than the limit {limit}")

    def _are(self, schedules: Sequence[Schedule], names: Sequence[str], what: str) -> None:
        L2.same([one.id for one in schedules], list(names), what)

    def test_l2_what_is_changed_is_due_at_its_new_time(self, harness: Harness) -> None:
        """A schedule without a next time is never due, nor one that was deleted; a change sets the time."""
        store = _store(harness.open(), L2)
        now = store.due(0).now
        old = _schedule(next_ms=0)
        _kept(store, L2, old)
        L2.same((list(store.due(10).schedules), store.due(10).left), ([], -1), "what is due of what has no next time")
        due = evolve(old, mark="due", next_ms=now)
        store.change(ScheduleChange("s", old.mark, due))
        self._are(store.due(10).schedules, ["s"], "what is due after a change")
        later = evolve(old, mark="later", next_ms=now + s.LONG)
        store.change(ScheduleChange("s", "due", later))
        L2.same(list(store.due(10).schedules), [], "what is due after its time was moved")
        L2.holds(s.LONG - _HOUR < store.due(10).left <= s.LONG, f"the next look is in {store.due(10).left} ms")
        store.change(ScheduleChange("s", "later", due))
        store.change(ScheduleChange("s", "due", None))
        L2.same((list(store.due(10).schedules), store.due(10).left), ([], -1), "what is due of what was deleted")

    def test_l2_maintain_notes_when_to_look(self, harness: Harness) -> None:
        """`maintain` sets `next_look`: soon for what is due, later for what is not, never without schedules."""
        backend = harness.open()
        store = _store(backend, L2)
        backend.maintain(10)
        L2.same(store.next_look, float("inf"), "the next look without schedules")
        now = store.due(0).now
        old = _schedule(next_ms=now + _HOUR)
        _kept(store, L2, old)
        started = time.monotonic()
        backend.maintain(10)
        in_seconds = store.next_look - started
        L2.holds(3_000 < in_seconds <= 3_660, f"the next look is in {in_seconds} s")
        store.change(ScheduleChange("s", old.mark, evolve(old, mark="due", next_ms=now)))
        backend.maintain(10)
        L2.holds(store.next_look <= time.monotonic(), "the next look is later, although a schedule is due")


class ScheduleContract(ScheduleLaws, HarnessTests):
    """L1 and L2, for a backend that keeps schedules."""
