"""The laws about the queue as a whole: B8 nothing early, B9 groups, B13 bounded."""

from __future__ import annotations

from collections.abc import Iterator

from ...message import DEDUPE_MS, Defer, Progress, Record, Retry, Settlement, TaskStatus
from ...protocols import Backend
from .claiming import patiently
from .harness import (
    EVERY_BYTE,
    MINUTE,
    Call,
    Contract,
    Harness,
    all_tasks,
    counts,
    done,
    drain,
    extended,
    fail,
    held,
    ids_of,
    job,
    jobs,
    photo,
    readable,
    settled,
    take,
    take_exactly,
    take_one,
)
from .laws import law

B8, B9, B13 = law("B8"), law("B9"), law("B13")


class QueueLaws(Contract):
    """B8, B9 and B13."""

    footprint_slack = 0
    """How much larger the footprint of a queue may be after many tasks than after few."""

    # B8

    def test_b8_a_delayed_message_waits(self, harness: Harness) -> None:
        """A delayed message is not claimable before it is due, and is afterwards."""
        backend = harness.open()
        backend.enqueue([job("a", delay_ms=10_000)])
        B8.same(ids_of(take(backend)), [], "claimed at once in spite of a delay")
        harness.advance(5_000)
        B8.same(ids_of(take(backend)), [], "claimed after half of its delay")
        harness.advance(5_001)
        B8.same(ids_of(take(backend)), ["a"], "claimed after its delay")

    def test_b8_a_delayed_verdict_waits(self, harness: Harness) -> None:
        """A retry and a return with a delay are not claimable before it is over."""
        backend = harness.open()
        for verdict in (Retry(10_000), Defer(10_000)):
            task_id = type(verdict).__name__
            settled(backend, B8, Settlement(held(backend, B8, task_id).receipt, verdict))
            harness.advance(5_000)
            B8.same(ids_of(take(backend)), [], f"claimed after half of the delay of {verdict}")
            harness.advance(5_001)
            B8.same(ids_of(take(backend)), [task_id], f"claimed after the delay of {verdict}")

    def test_b8_a_new_delay_counts_from_anew(self, harness: Harness) -> None:
        """A task that was delayed before is due when its latest delay says so."""
        backend = harness.open()
        backend.enqueue([job("first", delay_ms=5_000), job("a", delay_ms=10_000)])
        backend.cancel(["a"])
        backend.requeue(["a"])
        settled(backend, B8, Settlement(take_one(backend, B8).receipt, Retry(30_000)))
        harness.advance(20_000)
        B8.same(ids_of(take(backend)), ["first"], "claimed when an earlier delay of the task would have been over")
        harness.advance(10_001)
        B8.same(ids_of(take(backend)), ["a"], "claimed when its latest delay was over")

    def test_b8_the_earlier_one_does_not_wait_for_the_later(self, harness: Harness) -> None:
        """Each delayed message has a due time of its own, whatever was enqueued before it."""
        backend = harness.open()
        backend.enqueue([job("late", delay_ms=20_000), job("soon", delay_ms=10_000)])
        harness.advance(10_001)
        B8.same(ids_of(take(backend)), ["soon"], "claimed when only the second message was due")

    def test_b8_promote_says_when_the_next_is_due(self, harness: Harness) -> None:
        """`promote` answers the time until the next message is due, and -1 if none is delayed."""
        backend = harness.open()
        take(backend)
        B8.same(backend.promote(256), -1, "the answer with nothing delayed")
        backend.enqueue([job("a", delay_ms=10_000), job("b", delay_ms=90_000)])
        B8.holds(0 < backend.promote(256) <= 10_000, "promote did not answer the ms until the first one is due")
        harness.advance(10_001)
        B8.holds(10_000 < backend.promote(256) <= 80_000, "promote did not answer the ms until the second one is due")
        harness.advance(80_000)
        backend.promote(256)
        B8.same(backend.promote(256), -1, "the answer once nothing is delayed any more")

    def test_b8_promote_keeps_to_its_limit(self, harness: Harness) -> None:
        """Of 300 due messages each call makes no more ready than it was told."""
        backend = harness.open()
        backend.enqueue(jobs(300, delay_ms=10_000))
        harness.advance(10_001)
        seen = []
        for _ in range(3):
            backend.promote(100)
            seen.append((backend.depth().ready, backend.depth().delayed))
        B8.same(seen, [(100, 200), (200, 100), (300, 0)], "ready and delayed after each promotion of 100")

    def test_b8_each_is_promoted_once(self, harness: Harness) -> None:
        """Of 300 messages due at the same time, promoted by two handles, none is lost and none doubled."""
        backend, other = harness.open(), harness.open()
        backend.enqueue(jobs(300, delay_ms=10_000))
        harness.advance(10_001)
        calls = [Call(lambda handle=handle: [handle.promote(50) for _ in range(6)]) for handle in (backend, other)]  # type: ignore[misc]
        for call in calls:
            call.answer(self.patience, B8, "promote does not answer")
        B8.same(
            sorted(ids_of(drain(backend, 200))),
            [message.id for message in jobs(300)],
            "what could be claimed of 300 delayed messages",
        )

    def test_b8_a_delay_is_over_for_a_waiting_claim(self, harness: Harness) -> None:
        """What becomes due while a worker waits reaches it with the next `promote`."""
        backend, other = harness.open(), harness.open()
        backend.enqueue([job("a", delay_ms=10_000)])
        call = Call(lambda: patiently(backend))
        B8.holds(call.waits(), "claim answered before the message was due")
        harness.advance(10_001)
        other.promote(256)
        got = call.answer(self.patience, B8, "a waiting claim was not woken by a message that became due")
        B8.same(ids_of(got), ["a"], "what the woken claim answered")

    # B9

    def test_b9_every_group_gets_a_copy(self, harness: Harness) -> None:
        """One enqueue puts the whole message into each registered group."""
        groups = [harness.open(name) for name in ("one", "two", "three")]
        for backend in groups:
            take(backend)
        groups[0].enqueue([job("a"), job("late", delay_ms=10_000)])
        for backend in groups:
            B9.same(counts(backend), (1, 0, 1, 0, 0), "ready, held, delayed, failed, finished in a group")
            B9.same(readable(take_one(backend, B9), B9).body, EVERY_BYTE, "the body of a group's copy")

    def test_b9_nothing_shows_in_another_group(self, harness: Harness) -> None:
        """Whatever happens to a task in one group, the other group's copy stays as it is."""
        one, other = harness.open("one"), harness.open("other")
        for backend in (one, other):
            take(backend)
        one.enqueue(jobs(6))
        kept = take(other, 1)
        B9.same(ids_of(kept), ["t000"], "what the other group could claim first")
        extended(other, kept[0], Progress(7))
        before = photo(other)
        for step in self._life(one):
            B9.same(photo(other), before, f"the other group after {step} in this one")
        B9.same(ids_of(take(other)), [message.id for message in jobs(6)[1:]], "what the other group could claim")

    def _life(self, backend: Backend) -> Iterator[str]:
        """Let things happen to six tasks, and say what has happened."""
        a, b, c, d, e, f = take_exactly(backend, 6, B9)
        extended(backend, a, Progress(1, 2))
        yield "progress"
        settled(backend, B9, done(a, then=[job("follow-up")]), fail(b))
        yield "an end and a failure"
        settled(backend, B9, Settlement(c.receipt, Retry(10_000)), Settlement(d.receipt, Defer()))
        yield "a retry and a return"
        backend.cancel([d.message.id, e.message.id])
        yield "a cancellation"
        backend.requeue([b.message.id])
        backend.delete([c.message.id])
        yield "a requeue and a deletion"
        backend.release("one", [f.receipt])
        yield "a release"
        backend.forget([a.message.id])
        backend.trim(0)
        yield "a trim"

    def test_b9_records_belong_to_the_group(self, harness: Harness) -> None:
        """Two groups run the same task to two ends of their own."""
        one, other = harness.open("one"), harness.open("other")
        for backend in (one, other):
            take(backend)
        settled(one, B9, done(held(one, B9)))
        B9.same(other.get(["a"])[0], None, "the other group's record after the end in one")
        settled(other, B9, fail(take_one(other, B9)))
        ends = [record and record.status for backend in (one, other) for record in backend.get(["a"])]
        B9.same(ends, [TaskStatus.SUCCESS, TaskStatus.FAILURE], "the records of the two groups")

    def test_b9_follow_ups_stay_in_their_group(self, harness: Harness) -> None:
        """Each group enqueues the follow-ups of its own run, also when their ids are the same."""
        one, other = harness.open("one"), harness.open("other")
        for backend in (one, other):
            take(backend)
        settled(one, B9, done(held(one, B9), then=[job("next")]))
        B9.same(ids_of(take(other, limit=100, consumer="two")), ["a"], "what the other group could claim")
        other.release("two", [])
        settled(other, B9, done(take_one(other, B9), then=[job("next")]))
        B9.same([ids_of(take(backend)) for backend in (one, other)], [["next"], ["next"]], "the groups' follow-ups")

    def test_b9_a_slow_group_stops_no_other(self, harness: Harness) -> None:
        """A group whose work is all held or left lying does not keep another from its own."""
        slow, quick = harness.open("slow"), harness.open("quick")
        for backend in (slow, quick):
            take(backend)
        for number in range(3):
            quick.enqueue([job(f"a{number}")])
            take(slow, 1)
            settled(quick, B9, done(take_one(quick, B9)))
        B9.same(counts(quick), (0, 0, 0, 0, 3), "ready, held, delayed, failed, finished in the quick group")

    def test_b9_a_removed_group_gets_nothing(self, harness: Harness) -> None:
        """Removing a group leaves the others as they are, and nothing is copied into it from then on."""
        one, other = harness.open("one"), harness.open("other")
        for backend in (one, other):
            take(backend)
        one.enqueue([job("a")])
        before = photo(one)
        B9.same(sorted(one.groups()), ["one", "other"], "the groups")
        one.remove_group("other")
        B9.same(list(one.groups()), ["one"], "the groups after one was removed")
        B9.same(photo(one), before, "the group that stayed")
        B9.same(list(one.enqueue([job("b")])), [True], "an enqueue after a group was removed")
        late = harness.open("other")
        B9.same(ids_of(take(late)), [], "what a group that was removed and made again could claim")

    # B13

    def test_b13_the_history_is_capped(self, harness: Harness) -> None:
        """Of the finished tasks the newest stay visible, and a record outlives its place in the history."""
        backend = harness.open(history=5)
        messages = jobs(12)
        backend.enqueue(messages)
        for delivery in take(backend):
            settled(backend, B13, done(delivery))
        B13.same(counts(backend), (0, 0, 0, 0, 5), "ready, held, delayed, failed, finished with a history of 5")
        wanted = sorted(message.id for message in messages[-5:])
        B13.same(sorted(task.id for task in all_tasks(backend)), wanted, "the tasks in the history")
        B13.holds(backend.get([messages[0].id])[0], "the record went with the history")

    def test_b13_the_history_is_capped_for_the_cancelled_too(self, harness: Harness) -> None:
        """Tasks that were cancelled, waiting or held, count against the same limit."""
        backend = harness.open(history=2)
        messages = jobs(10)
        backend.enqueue(messages)
        take(backend, 5)
        backend.cancel([message.id for message in messages])
        B13.same(counts(backend), (0, 5, 0, 0, 2), "ready, held, delayed, failed, finished after ten cancellations")
        backend.release("one", [])
        B13.same(counts(backend), (0, 0, 0, 0, 2), "ready, held, delayed, failed, finished after their release")

    def test_b13_trim_keeps_the_newest(self, harness: Harness) -> None:
        """`trim` drops the oldest finished tasks, answers how many, and leaves the records."""
        backend = harness.open()
        messages = jobs(6)
        backend.enqueue(messages)
        for delivery in take(backend):
            settled(backend, B13, done(delivery))
        B13.same([backend.trim(4), backend.trim(4)], [2, 0], "how many two trims to 4 dropped of 6")
        B13.same(
            sorted(task.id for task in all_tasks(backend)), [m.id for m in messages[2:]], "the tasks after the trim"
        )
        B13.holds(backend.get([messages[0].id])[0], "the record went with the history")

    def test_b13_nothing_is_left(self, harness: Harness) -> None:
        """Many tasks leave no more behind than few, whichever way each of them went."""
        backend = harness.open(history=3)
        self._rounds(backend, harness, "few", 1)
        few = harness.footprint()
        self._rounds(backend, harness, "many", 6)
        B13.holds(
            harness.footprint() <= few + self.footprint_slack,
            f"{harness.footprint()} things are left after many tasks, {few} after few",
        )

    def _rounds(self, backend: Backend, harness: Harness, name: str, rounds: int) -> None:
        """Tasks that end in every way; then time until nothing needs to be known about them."""
        for number in range(rounds):
            a, b, c, d, e, f, g = (f"{name}-{number}-{way}" for way in "abcdefg")
            self._detours(backend, harness, g)
            settled(backend, B13, done(held(backend, B13, a), ttl_ms=2_000))
            settled(backend, B13, done(held(backend, B13, b), ttl_ms=2 * DEDUPE_MS))
            settled(backend, B13, fail(held(backend, B13, c)))
            backend.enqueue([job(d), job(e, delay_ms=5_000), job(f, delay_ms=5_000), job(a)])
            backend.cancel([d, e])
            backend.delete([f])
            backend.forget([b])
        backend.delete([task.id for task in all_tasks(backend, TaskStatus.FAILURE)])
        backend.trim(0)
        harness.advance(3 * 24 * 60 * MINUTE)
        take(backend)

    def _detours(self, backend: Backend, harness: Harness, task_id: str) -> None:
        """One task to which happens whatever can happen before an end, and what it leads to."""
        first = held(backend, B13, task_id)
        extended(backend, first, Progress(1, 2))
        settled(backend, B13, Settlement(first.receipt, Retry()))
        backend.settle([done(first)])
        settled(backend, B13, Settlement(take_one(backend, B13).receipt, Defer(1_000)))
        harness.advance(1_001)
        backend.release("one", [take_one(backend, B13).receipt])
        take_one(backend, B13)
        harness.advance(harness.lease + 1)
        settled(backend, B13, done(take_one(backend, B13), then=[job(f"{task_id}-next")]))
        backend.requeue([task_id])
        settled(backend, B13, *(done(delivery) for delivery in take_exactly(backend, 2, B13)))
        backend.enqueue([job(f"{task_id}-moved")])
        moved = [task for task in backend.show([f"{task_id}-moved"]) if task is not None]
        backend.delete([f"{task_id}-moved"])
        backend.adopt(moved)
        backend.cancel([f"{task_id}-moved"])
        backend.put([Record(f"{task_id}-foreign", TaskStatus.SUCCESS, ttl_ms=2_000)])

    def test_b13_ids_are_forgotten_in_the_end(self, harness: Harness) -> None:
        """Long after its end, an id may be used again."""
        backend = harness.open()
        settled(backend, B13, done(held(backend, B13), ttl_ms=1_000))
        backend.trim(0)
        harness.advance(DEDUPE_MS + MINUTE)
        B13.same(list(backend.enqueue([job("a")])), [True], "an enqueue after everything about the id was over")
