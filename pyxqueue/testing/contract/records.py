"""The laws about records at their corners: no life and a long one, ids that look alike, and ends of every kind."""

from __future__ import annotations

from collections.abc import Callable

from ...message import (
    DEDUPE_MS,
    Cancelled,
    Delivery,
    Done,
    Fail,
    Failure,
    Progress,
    Record,
    Retry,
    Settlement,
    TaskStatus,
    Verdict,
)
from .harness import EVERY_BYTE, MINUTE, Call, Contract, Harness, done, extended, held, info, job, settled
from .laws import law
from .results import RecordLaws, result, values

R1, R2, R3, R4, R5 = law("R1"), law("R2"), law("R3"), law("R4"), law("R5")

LONG = 60 * 24 * 60 * MINUTE
"""Two months; it has more ms than 32 bits can count."""
ALIKE = ["abc", "a.c", "aXc", "A_C", "a_c", "ab", "a", "007", "7"]
"""Ids that a pattern, a prefix or a comparison without case takes for one another; `MEANT` are the ones to hit."""
MEANT = ["a_c", "a.c", "a", "7"]
NAMES = [f"t{number}" for number in range(1_100)]
"""More than a page of most engines."""


class RecordCorners(RecordLaws):
    """R1 to R5."""

    def test_r1_no_fencing_token_is_the_lowest(self, harness: Harness) -> None:
        """A record of fencing token 0 is compared like any other."""
        store = harness.open()
        self.expect(store, "a", "b")
        store.put([result("a", b"new", 5), result("b", b"old", 0)])
        store.put([result("a", b"old", 0), result("b", b"new", 5)])
        R1.same(values(store.get(["a", "b"])), [b"new", b"new"], "the records after fencing tokens 5, 0 and 0, 5")

    def test_r1_a_lower_fencing_token_changes_no_ttl(self, harness: Harness) -> None:
        """Nothing of a refused record is stored, its longer life included."""
        store = harness.open()
        self.expect(store, "a")
        store.put([result("a", fence=5, ttl_ms=10_000)])
        store.put([result("a", fence=4, ttl_ms=LONG)])
        harness.advance(10_001)
        R1.same(
            values(store.get(["a"])),
            [None],
            "a record whose life was over, after one of lower fencing token with a longer",
        )

    def test_r1_what_was_forgotten_bars_nothing(self, harness: Harness) -> None:
        """Where no record is stored, any fencing token is stored."""
        store = harness.open()
        self.expect(store, "a")
        store.put([result("a", b"old", 9)])
        store.forget(["a"])
        store.put([result("a", b"new", 1)])
        R1.same(values(store.get(["a"])), [b"new"], "a record stored after one of a higher fencing token was forgotten")

    def test_r2_no_time_is_no_time(self, harness: Harness) -> None:
        """A timeout of 0 is one look, not none at all."""
        store = harness.open()
        self.expect(store, "a")
        call = Call(lambda: store.wait(["a"], 0))
        got = call.answer(self.patience, R2, "wait waits although it was given no time")
        R2.same(values(got), [None], "what wait answered")

    def test_r2_an_id_twice_is_waited_for_once(self, harness: Harness) -> None:
        """`wait` counts the ids that have a record, not the records."""
        store, writer = harness.open(), harness.open()
        self.expect(store, "a")
        call = Call(lambda: store.wait(["a", "a"], None))
        R2.holds(call.waits(), "wait answered while no record was there")
        writer.put([result("a", b"1")])
        got = call.answer(self.patience, R2, "wait for the same id twice was not woken by its record")
        R2.same(values(got), [b"1", b"1"], "what wait answered")

    def test_r3_no_life_is_no_life(self, harness: Harness) -> None:
        """A ttl of 0 is not for ever."""
        store = harness.open()
        self.expect(store, "a")
        store.put([result("a", ttl_ms=0)])
        harness.advance(1)
        R3.same(values(store.get(["a"])), [None], "a record with a ttl of 0, a millisecond later")

    def test_r3_a_long_life_is_one(self, harness: Harness) -> None:
        """Two months are neither capped nor taken for a date or a negative number."""
        store = harness.open()
        self.expect(store, "a")
        store.put([result("a", ttl_ms=LONG)])
        seen = [values(store.get(["a"]))]
        for ms in (LONG - MINUTE, MINUTE + 1):
            harness.advance(ms)
            seen.append(values(store.get(["a"])))
        R3.same(
            seen, [[EVERY_BYTE], [EVERY_BYTE], [None]], "a record of two months at once, a minute before, and after"
        )

    def test_r4_ids_are_compared_whole(self, harness: Harness) -> None:
        """`forget` does not take one id for another."""
        store = harness.open()
        self.expect(store, *ALIKE)
        store.put([result(task_id) for task_id in ALIKE])
        store.forget(MEANT)
        left = [task_id for task_id, value in zip(ALIKE, values(store.get(ALIKE)), strict=True) if value is not None]
        R4.same(
            left, [task_id for task_id in ALIKE if task_id not in MEANT], f"the records after {MEANT} were forgotten"
        )

    def test_r4_a_thousand_forgotten_at_once(self, harness: Harness) -> None:
        """A batch larger than a page goes whole."""
        store = harness.open()
        self.expect(store, *NAMES)
        store.put([result(task_id, b"") for task_id in NAMES])
        store.forget(NAMES)
        R4.same(values(store.get(NAMES)).count(None), len(NAMES), f"how many of {len(NAMES)} records were forgotten")

    def test_r5_ids_are_compared_whole(self, harness: Harness) -> None:
        """`get` does not answer one record for another."""
        store = harness.open()
        self.expect(store, *ALIKE)
        store.put([result(task_id, task_id.encode()) for task_id in ALIKE if task_id not in MEANT])
        R5.same(values(store.get(MEANT)), [None] * len(MEANT), f"what get answered for {MEANT}")
        store.put([result(task_id, task_id.encode()) for task_id in MEANT])
        R5.same(values(store.get(ALIKE)), [i.encode() for i in ALIKE], "what get answered when all were there")

    def test_r5_a_thousand_at_once(self, harness: Harness) -> None:
        """Each of many ids has its own answer, at its place."""
        store = harness.open()
        self.expect(store, *NAMES)
        store.put([result(task_id, task_id.encode()) for task_id in NAMES])
        ids, wanted = NAMES[::-1], [task_id.encode() for task_id in NAMES[::-1]]
        R5.same(values(store.get(ids)), wanted, f"what get answered for {len(ids)} ids")
        R5.same(values(store.wait(ids, 0)), wanted, f"what wait answered for {len(ids)} ids")

    def test_r5_what_is_nothing_comes_back(self, harness: Harness) -> None:
        """No value, no text and no progress are values; a long name is a name."""
        store = harness.open()
        self.expect(store, "a", "b")
        whole = Record("a", TaskStatus.SUCCESS, b"", worker="host." * 60, progress=Progress(0, 0), fence=5)
        store.put([whole, Record("b", TaskStatus.FAILURE, error=Failure("", ""), fence=5)])
        a, b = (R5.there(record, "there is no record") for record in store.get(["a", "b"]))
        R5.same((a.value, a.worker, a.progress), (b"", whole.worker, Progress(0, 0)), "value, worker and progress")
        R5.same(b.error, Failure("", ""), "a failure without any text")


class SettledRecordCorners(Contract):
    """What R1 to R5 ask of a store that also is the broker."""

    def test_r1_a_settled_record_has_its_fencing_token(self, harness: Harness) -> None:
        """What an earlier holder puts cannot win over the record of a settlement."""
        store = harness.open()
        first = held(store, R1)
        settled(store, R1, Settlement(first.receipt, Retry()))
        second = store.claim("two", 1, 0)[0]
        settled(store, R1, done(second, value=b"new"))
        store.put([result("a", b"old", first.fence)])
        R1.same(values(store.get(["a"])), [b"new"], "the record of a settlement after one of an earlier claim was put")

    def test_r1_a_record_that_was_made_has_its_fencing_token(self, harness: Harness) -> None:
        """Also where nobody described the end: what an earlier holder puts cannot win over it."""
        store = harness.open()
        verdicts: list[Verdict] = [Done(), Fail("no use"), Cancelled()]
        for number, verdict in enumerate(verdicts):
            delivery = held(store, R1, f"a{number}")
            settled(store, R1, Settlement(delivery.receipt, verdict))
            stored = R1.there(store.get([f"a{number}"])[0], "there is no record")
            R1.same(stored.fence, delivery.fence, f"the fencing token of the record that was made for {verdict}")

    def test_r1_a_bare_end_replaces_no_record(self, harness: Harness) -> None:
        """Whoever keeps the results apart puts the record first, and settles without one: also into the same store."""
        store = harness.open()
        verdicts: list[Verdict] = [Done(), Fail("no use"), Cancelled()]
        for number, verdict in enumerate(verdicts):
            delivery = held(store, R1, f"a{number}")
            store.put([result(f"a{number}", b"put", delivery.fence)])
            settled(store, R1, Settlement(delivery.receipt, verdict))
            R1.same(values(store.get([f"a{number}"])), [b"put"], f"the record that was put before a bare {verdict}")

    def test_r1_a_bare_end_is_later_than_an_earlier_claim(self, harness: Harness) -> None:
        """What an earlier holder has put is replaced by the end that counts."""
        store = harness.open()
        first = held(store, R1)
        settled(store, R1, Settlement(first.receipt, Retry()))
        second = store.claim("two", 1, 0)[0]
        store.put([result("a", b"old", first.fence)])
        settled(store, R1, Settlement(second.receipt, Done()))
        stored = R1.there(store.get(["a"])[0], "there is no record")
        R1.same(
            (stored.fence, stored.value),
            (second.fence, b""),
            "fencing token and value after a bare end of a later claim",
        )

    def test_r2_each_end_wakes(self, harness: Harness) -> None:
        """A failure, an obeyed cancellation, and one that ends with a retry or a release wake who waits."""
        store, worker = harness.open(), harness.open()
        ways: dict[str, Callable[[Delivery], object]] = {
            "burial": lambda delivery: worker.settle([Settlement(delivery.receipt, Fail("no use"))]),
            "obeyed": lambda delivery: worker.settle([Settlement(delivery.receipt, Cancelled())]),
            "retry": lambda delivery: worker.settle([Settlement(delivery.receipt, Retry())]),
            "release": lambda _: worker.release("one", []),
        }
        for name, way in ways.items():
            delivery = held(worker, R2, name)
            if name != "burial":
                worker.cancel([name])
            call = Call(lambda name=name: store.wait([name], None))  # type: ignore[misc]
            R2.holds(call.waits(), "wait answered while no record was there")
            way(delivery)
            got = call.answer(self.patience, R2, f"wait was not woken by the end of a task ({name})")
            wanted = TaskStatus.FAILURE if name == "burial" else TaskStatus.CANCELLED
            R2.same([record and record.status for record in got], [wanted], f"what wait answered ({name})")

    def test_r2_what_has_ended_and_was_forgotten_is_not_waited_for(self, harness: Harness) -> None:
        """Nothing will come for a task whose record has come and gone."""
        store = harness.open()
        settled(store, R2, done(held(store, R2)))
        store.forget(["a"])
        got = Call(lambda: store.wait(["a"], None)).answer(
            self.patience, R2, "wait hangs on a record that was forgotten"
        )
        R2.same(list(got), [None], "what wait answered")

    def test_r3_settled_records_live_as_long_as_they_say(self, harness: Harness) -> None:
        """No life, and one of two months, of records that come with settlements."""
        store = harness.open()
        settled(store, R3, done(held(store, R3, "none"), ttl_ms=0), done(held(store, R3, "long"), ttl_ms=LONG))
        harness.advance(1)
        R3.same(values(store.get(["none", "long"])), [None, EVERY_BYTE], "records without a life, and with a long one")
        harness.advance(LONG - MINUTE)
        R3.same(values(store.get(["long"])), [EVERY_BYTE], "the one with the long life, a minute before its end")

    def test_r4_the_progress_is_not_forgotten(self, harness: Harness) -> None:
        """`forget` of a task that still runs takes nothing of what its holder has told."""
        store = harness.open()
        delivery = held(store, R4)
        extended(store, delivery, Progress(3))
        store.forget(["a"])
        R4.same(info(store, "a", R4).progress, Progress(3), "the progress after the record was forgotten")
        settled(store, R4, done(delivery))

    def test_r4_the_id_is_not_forgotten_without_its_history(self, harness: Harness) -> None:
        """A repeat is refused for its hour also where neither message nor record is left."""
        store = harness.open(history=0)
        settled(store, R4, done(held(store, R4)))
        store.forget(["a"])
        harness.advance(DEDUPE_MS // 2)
        R4.same(list(store.enqueue([job("a")])), [False], "a repeat after record and history were forgotten")

    def test_r5_a_settled_failure_comes_back_whole(self, harness: Harness) -> None:
        """Whatever its text, also when it comes with a settlement."""
        store = harness.open()
        failure = Failure("mod.größe", "\x00 'no' \u2028\r\n", "Traceback:\n" + "  line\n" * 20_000)
        delivery = held(store, R5)
        record = Record("a", TaskStatus.FAILURE, error=failure, fence=delivery.fence)
        settled(store, R5, Settlement(delivery.receipt, Fail("no use"), record))
        stored = R5.there(store.get(["a"])[0], "there is no record")
        R5.same(stored.error, failure, "the stored failure")
