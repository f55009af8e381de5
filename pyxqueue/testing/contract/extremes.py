"""The laws at their extremes: more than a page of an engine, longer than a month, less than a second, nothing."""

from __future__ import annotations

from attrs import evolve

from ...message import DEDUPE_MS, Defer, Extension, LeaseStatus, Message, Progress, Retry, Settlement
from ...protocols import Backend
from .harness import (
    MINUTE,
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
    info,
    job,
    jobs,
    readable,
    settled,
    take,
    take_one,
)
from .keeping import charges
from .laws import Law, law

B1, B3, B5, B6, B7 = law("B1"), law("B3"), law("B5"), law("B6"), law("B7")
B8, B10, B11, B12, B13 = law("B8"), law("B10"), law("B11"), law("B12"), law("B13")
I1, I2, I3, I4, I5, I7 = law("I1"), law("I2"), law("I3"), law("I4"), law("I5"), law("I7")

MANY = 1_100
"""More than the items that an engine takes, answers or binds in one call; 1,000 is the usual limit."""
DAY = 24 * 60 * MINUTE
LONG = 60 * DAY
"""It has more ms than 32 bits can count."""
NAMES = [message.id for message in jobs(MANY)]


def many(backend: Backend, law_: Law) -> list[str]:
    """Enqueue more than a page; answers the ids."""
    __tracebackhide__ = True
    accepted = list(backend.enqueue(jobs(MANY, body=b"")))
    law_.same(accepted.count(True), MANY, f"how many of {MANY} messages were accepted in one batch")
    return NAMES


class BrokerExtremes(Contract):
    """B1 to B13."""

    def test_b1_a_thousand_at_once(self, harness: Harness) -> None:
        """A batch larger than a page is accepted whole, and known whole."""
        backend = harness.open()
        many(backend, B1)
        B1.same(list(backend.enqueue(jobs(MANY))).count(True), 0, f"how many of {MANY} repeats counted as new")
        B1.same(ids_of(drain(backend, 400)), NAMES, f"what could be claimed of {MANY}")

    def test_b1_an_id_is_known_however_long_its_task_waits(self, harness: Harness) -> None:
        """A task that waits, or runs again, long after the hour is no new one, and its hour begins with its end."""
        backend = harness.open(history=0)
        backend.enqueue([job("a", delay_ms=3 * DEDUPE_MS)])
        harness.advance(2 * DEDUPE_MS)
        B1.same(list(backend.enqueue([job("a")])), [False], "a repeat while the task was delayed, after two hours")
        harness.advance(2 * DEDUPE_MS)
        settled(backend, B1, fail(take_one(backend, B1), ttl_ms=1_000))
        harness.advance(2 * DEDUPE_MS)
        B1.same(list(backend.requeue(["a"])), [True], "the requeue of a failed task")
        B1.same(list(backend.enqueue([job("a")])), [False], "a repeat while it was ready once more")
        settled(backend, B1, done(take_one(backend, B1), ttl_ms=1_000))
        harness.advance(DEDUPE_MS // 2)
        B1.same(list(backend.enqueue([job("a")])), [False], "a repeat half an hour after its end")

    def test_b1_the_cancelled_stay_known_without_their_history(self, harness: Harness) -> None:
        """A task that was cancelled while it waited is known as long as one that ran."""
        backend = harness.open(history=0)
        backend.enqueue([job("a")])
        backend.cancel(["a"])
        take(backend)
        B1.same(list(backend.enqueue([job("a")])), [False], "a repeat after a cancellation, without a history")

    def test_b1_a_delay_hides_no_repeat_in_a_batch(self, harness: Harness) -> None:
        """The same id twice in one batch is one task, also if one of the two is delayed."""
        backend = harness.open()
        batch = [job("a", delay_ms=10_000), job("a"), job("b"), job("b", delay_ms=10_000)]
        B1.same(list(backend.enqueue(batch)), [True, False, True, False], "the answers for a batch with repeats in it")
        B1.same(counts(backend)[:3], (1, 0, 1), "ready, held and delayed after it")

    def test_b3_a_long_lease_is_kept(self, harness: Harness) -> None:
        """A lease of two months is neither capped nor taken for one that has ended."""
        backend = harness.open(lease=LONG)
        delivery = held(backend, B3)
        B3.same(backend.lease_ms(), LONG, "the lease")
        harness.advance(LONG - MINUTE)
        B3.same(ids_of(take(backend, consumer="two")), [], "claimed before the lease had ended")
        extended(backend, delivery)
        harness.advance(LONG - MINUTE)
        B3.same(ids_of(take(backend, consumer="two")), [], "claimed before the extended lease had ended")

    def test_b5_a_thousand_settled_at_once(self, harness: Harness) -> None:
        """A batch larger than a page is settled whole, each with its record, and so is one task's thousand."""
        backend = harness.open(history=2 * MANY)
        many(backend, B5)
        answers = backend.settle([done(delivery, value=b"v") for delivery in drain(backend, 400)])
        B5.same(list(answers), [True] * MANY, f"{MANY} answers")
        B5.same(backend.get(NAMES).count(None), 0, f"how many of {MANY} records are missing")
        settled(backend, B5, done(held(backend, B5, "last"), then=jobs(MANY, "then", body=b"")))
        B5.same(counts(backend), (MANY, 0, 0, 0, MANY + 1), "ready, held, delayed, failed, finished after all of it")

    def test_b6_a_thousand_extended_at_once(self, harness: Harness) -> None:
        """A batch larger than a page is extended whole."""
        backend = harness.open()
        many(backend, B6)
        deliveries = drain(backend, 400)
        harness.advance(harness.lease * 2 // 3)
        answers = list(backend.extend([Extension(delivery.receipt) for delivery in deliveries]))
        B6.same(answers, [LeaseStatus.HELD] * MANY, f"{MANY} answers")
        harness.advance(harness.lease * 2 // 3)
        B6.same(ids_of(take(backend, consumer="two")), [], f"claimed although all {MANY} were extended")

    def test_b7_a_reason_is_kept_whole(self, harness: Harness) -> None:
        """However long it is, and whatever is in it."""
        backend = harness.open()
        for number, reason in enumerate(("\x00 größe \u2028\n'%s' ", "why? " * 10_000, "")):
            settled(backend, B7, fail(held(backend, B7, f"a{number}"), reason))
            B7.same(info(backend, f"a{number}", B7).reason, reason, "the reason of a failure")

    def test_b7_what_expired_is_delivered(self, harness: Harness) -> None:
        """`expires` is read by the worker, who says why it does not run the task; a broker drops nothing for it."""
        backend = harness.open()
        backend.enqueue([job("a", expires_ms=1), job("late", expires_ms=2, delay_ms=5_000)])
        harness.advance(5_001)
        B7.same(sorted(ids_of(take(backend))), ["a", "late"], "what could be claimed of two expired messages")

    def test_b8_a_long_delay_is_kept(self, harness: Harness) -> None:
        """A delay of two months is neither capped nor taken for none, of a message as of a verdict."""
        backend = harness.open()
        backend.enqueue([job("a", delay_ms=LONG)])
        settled(backend, B8, Settlement(held(backend, B8, "b").receipt, Retry(LONG)))
        settled(backend, B8, Settlement(held(backend, B8, "c").receipt, Defer(LONG)))
        harness.advance(LONG - MINUTE)
        B8.same(ids_of(take(backend)), [], "claimed a minute before a delay of two months was over")
        B8.holds(0 < backend.promote(256) <= MINUTE, "promote did not answer the ms that were left")
        harness.advance(MINUTE + 1)
        B8.same(sorted(ids_of(take(backend))), ["a", "b", "c"], "claimed when it was over")

    def test_b8_promote_counts_long_delays(self, harness: Harness) -> None:
        """The time until the next is due is told in ms, also if that is two months."""
        backend = harness.open()
        backend.enqueue([job("a", delay_ms=LONG)])
        B8.holds(LONG - MINUTE < backend.promote(256) <= LONG, "promote did not answer the ms of two months")

    def test_b8_a_delay_counts_to_the_millisecond(self, harness: Harness) -> None:
        """It is not cut to whole seconds: the message would come early."""
        backend = harness.open()
        backend.enqueue([job("a", delay_ms=10_999)])
        message = info(backend, "a", B8).message
        due = message.due_ms - message.enqueued_ms if isinstance(message, Message) else message
        B8.same(due, 10_999, "the ms from the enqueue until it is due")

    def test_b10_numbers_are_kept_exactly(self, harness: Harness) -> None:
        """Nothing done of nothing is a progress too; a third and a large number are what they were."""
        backend = harness.open()
        delivery = held(backend, B10)
        for progress in (Progress(), Progress(0, 0), Progress(1 / 3, 0.1), Progress(16_777_217, 2**53 - 1)):
            extended(backend, delivery, progress)
            B10.same(info(backend, "a", B10).progress, progress, "the progress that was written last")
        settled(backend, B10, done(delivery, progress=Progress(0, 0)))
        B10.same(info(backend, "a", B10).progress, Progress(0, 0), "the progress after the end")

    def test_b11_a_thousand_released(self, harness: Harness) -> None:
        """All that a consumer held comes back, however much it was."""
        backend = harness.open()
        many(backend, B11)
        started = [delivery.receipt for delivery in drain(backend, 400)]
        B11.same(backend.release("one", started), MANY, f"how many of {MANY} a release took back")
        crashed = sum(charges(delivery) == (1, 1, True) for delivery in drain(backend, 400, "two"))
        B11.same(crashed, MANY, "how many of them were charged a crash")

    def test_b11_a_short_delay_counts_as_well(self, harness: Harness) -> None:
        """What is deferred for a millisecond is deferred."""
        backend = harness.open()
        settled(backend, B11, Settlement(held(backend, B11).receipt, Defer(1)))
        harness.advance(2)
        B11.same(readable(take_one(backend, B11), B11).deferrals, 1, "how often it was deferred")

    def test_b12_nothing_is_taken_for_a_number(self, harness: Harness) -> None:
        """What looks like a number, a blank or a marker of another format is text; names differ by case and dots."""
        backend = harness.open()
        texts = ("007", "1e5", "1.10", "null", "", " ", "\x00", "a\x00b", "'\"", "%s", "\\n", "$x", "x" * 70_000)
        headers = {**{text[:300]: text for text in texts}, "k": "1", "K": "2", "k.l": "3", "k/l": "4"}
        whole = job("1", serializer="0", headers=headers, parent="007", reply="1e5", seal="00", priority=-(2**40))
        whole = evolve(whole, name="1.10")
        backend.enqueue([whole])
        message = readable(take_one(backend, B12), B12)
        B12.same(
            evolve(message, enqueued_ms=0, due_ms=0), whole, "a message full of texts that look like something else"
        )

    def test_b12_no_byte_is_cut_off(self, harness: Harness) -> None:
        """Neither blanks nor marks at the ends of a body are trimmed, nor is anything in it escaped."""
        backend = harness.open()
        bodies = (b" ", b" x \r\n", b"\n", b"x\x00\x00", b"\xef\xbb\xbf{}\n", b"\\\\ '' %% \"\" \\u0041", b"007")
        backend.enqueue([job(f"a{number}", body=body) for number, body in enumerate(bodies)])
        seen = tuple(readable(delivery, B12).body for delivery in take(backend))
        B12.same(seen, bodies, "the bodies")

    def test_b13_a_thousand_trimmed_at_once(self, harness: Harness) -> None:
        """`trim` drops all that is too much, and says how much that was."""
        backend = harness.open(history=2 * MANY)
        many(backend, B13)
        backend.cancel(NAMES)
        B13.same((backend.trim(1), counts(backend)[4]), (MANY - 1, 1), f"how many of {MANY} were dropped, and are left")

    def test_b13_a_history_of_nothing(self, harness: Harness) -> None:
        """A limit of 0 is one."""
        backend = harness.open(history=0)
        settled(backend, B13, done(held(backend, B13)))
        B13.same(counts(backend), (0, 0, 0, 0, 0), "ready, held, delayed, failed, finished without a history")


class InspectorExtremes(Contract):
    """I1 to I7."""

    def test_i1_a_thousand_shown_at_once(self, harness: Harness) -> None:
        """Each of many ids has its own answer."""
        backend = harness.open()
        many(backend, I1)
        I1.same([task and task.id for task in backend.show([*NAMES, "nobody"])], [*NAMES, None], "what show answered")

    def test_i3_a_thousand_cancelled_at_once(self, harness: Harness) -> None:
        """A batch larger than a page ends whole."""
        backend = harness.open(history=2 * MANY)
        many(backend, I3)
        I3.same(list(backend.cancel(NAMES)), [True] * MANY, f"the cancellation of {MANY}")
        I3.same(counts(backend), (0, 0, 0, 0, MANY), "ready, held, delayed, failed, finished after it")

    def test_i2_a_thousand_requeued_at_once(self, harness: Harness) -> None:
        """A batch larger than a page runs again, all of it."""
        backend = harness.open(history=2 * MANY)
        many(backend, I2)
        backend.cancel(NAMES)
        I2.same(list(backend.requeue(NAMES)), [True] * MANY, f"the requeue of {MANY}")
        I2.same(counts(backend), (MANY, 0, 0, 0, 0), "ready, held, delayed, failed, finished after it")

    def test_i4_a_thousand_listed(self, harness: Harness) -> None:
        """The list goes on until it has shown every task."""
        backend = harness.open()
        many(backend, I4)
        I4.same([task.id for task in all_tasks(backend)], NAMES[::-1], f"the tasks of {MANY}, in pages of 100")

    def test_i5_a_thousand_deleted_at_once(self, harness: Harness) -> None:
        """A batch larger than a page goes whole."""
        backend = harness.open()
        many(backend, I5)
        I5.same(list(backend.delete(NAMES)), [True] * MANY, f"the deletion of {MANY}")
        I5.same(counts(backend), (0, 0, 0, 0, 0), "ready, held, delayed, failed, finished after it")

    def test_i7_a_thousand_adopted_at_once(self, harness: Harness) -> None:
        """A batch larger than a page is taken in whole."""
        backend = harness.open()
        backend.enqueue([job("a")])
        task = info(backend, "a", I7)
        answers = backend.adopt([evolve(task, id=name, message=job(name, body=b"")) for name in NAMES])
        I7.same(list(answers), [True] * MANY, f"the adoption of {MANY}")
        I7.same(counts(backend), (MANY + 1, 0, 0, 0, 0), "ready, held, delayed, failed, finished after it")

    def test_i7_large_numbers_stay(self, harness: Harness) -> None:
        """A task that was run very often was run so often here too."""
        backend = harness.open()
        backend.enqueue([job("a")])
        task = info(backend, "a", I7)
        backend.delete(["a"])
        often = job("a", attempt=70_000, crashes=300, deferrals=70_001, redelivered=True)
        backend.adopt([evolve(task, message=often)])
        message = readable(take_one(backend, I7), I7)
        seen = (message.attempt, message.crashes, message.deferrals, message.redelivered)
        I7.same(seen, (70_000, 300, 70_001, True), "attempt, crashes, returns and redelivered of an adopted task")
