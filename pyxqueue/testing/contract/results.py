"""The laws about records: R1 never backwards, R2 wakes, R3 ends, R4 forgets exactly, R5 order."""

from __future__ import annotations

from collections.abc import Sequence

from ...message import Failure, Progress, Record, TaskStatus
from ...protocols import Backend
from .harness import EVERY_BYTE, MINUTE, Call, Contract, Harness, counts, done, held, job, settled
from .laws import law

R1, R2, R3, R4, R5 = law("R1"), law("R2"), law("R3"), law("R4"), law("R5")


def result(task_id: str, value: bytes = EVERY_BYTE, fence: int = 5, **fields: object) -> Record:
    return Record(task_id, TaskStatus.SUCCESS, value, fence=fence, **fields)  # type: ignore[arg-type]


def values(records: Sequence[Record | None]) -> list[bytes | None]:
    return [None if record is None else record.value for record in records]


class RecordLaws(Contract):
    """R1 to R5, for every store of results."""

    is_broker = True
    """The store knows which ids are under way, so `wait` gives up early for the others."""

    def expect(self, store: Backend, *ids: str) -> None:
        """Make the store expect records for these ids."""
        if self.is_broker:
            store.enqueue([job(task_id) for task_id in ids])

    # R1

    def test_r1_a_later_fencing_token_wins(self, harness: Harness) -> None:
        """Of the records of two holders the one with the higher fencing token stays, whichever comes first."""
        store = harness.open()
        self.expect(store, "a", "b")
        store.put([result("a", b"new", 7), result("b", b"old", 3)])
        store.put([result("a", b"old", 3), result("b", b"new", 7)])
        R1.same(
            values(store.get(["a", "b"])),
            [b"new", b"new"],
            "the records after one of fencing token 3 and one of fencing token 7",
        )

    def test_r1_fencing_token_are_numbers(self, harness: Harness) -> None:
        """Ranks are compared as whole numbers, however many digits they have."""
        store = harness.open()
        self.expect(store, "a", "b")
        big = 1_700_000_000_000_000_000
        store.put([result("a", b"new", 10), result("b", b"new", big + 1)])
        store.put([result("a", b"old", 9), result("b", b"old", big)])
        R1.same(
            values(store.get(["a", "b"])),
            [b"new", b"new"],
            "the records of fencing tokens 10 and 9, and of two huge fencing tokens",
        )

    def test_r1_a_fencing_token_has_up_to_128_bits(self, harness: Harness) -> None:
        """The highest, and those on both sides of 64 bits."""
        fences = [(2**128 - 1, 2**128 - 2), (2**64, 2**64 - 1), (2**63, 2**63 - 1), (2**64, 2**63 - 1)]
        ids = [str(number) for number in range(len(fences))]
        store = harness.open()
        self.expect(store, *ids)
        for value, which in ((b"new", 0), (b"old", 1)):
            store.put([result(task_id, value, pair[which]) for task_id, pair in zip(ids, fences, strict=True)])
        found = store.get(ids)
        R1.same(values(found), [b"new"] * len(ids), f"the records after fencing tokens {fences}")
        R1.same([record.fence for record in found if record], [high for high, _ in fences], "their ranks")

    def test_r1_the_same_fencing_token_writes_again(self, harness: Harness) -> None:
        """A repeat after a lost reply is stored, not refused."""
        store = harness.open()
        self.expect(store, "a")
        store.put([result("a", b"first")])
        store.put([result("a", b"again")])
        R1.same(values(store.get(["a"])), [b"again"], "the record after two of the same fencing token")

    def test_r1_it_holds_within_a_batch(self, harness: Harness) -> None:
        """Of two records of one id in one batch the one with the higher fencing token stays."""
        store = harness.open()
        self.expect(store, "a", "b")
        store.put([result("a", b"new", 7), result("a", b"old", 3), result("b", b"old", 3), result("b", b"new", 7)])
        R1.same(
            values(store.get(["a", "b"])),
            [b"new", b"new"],
            "the records after fencing tokens 7, 3 and 3, 7 in one batch",
        )

    # R2

    def test_r2_nothing_is_there_at_once(self, harness: Harness) -> None:
        """`wait` for no ids answers, without a limit of time."""
        store = harness.open()
        got = Call(lambda: store.wait([], None)).answer(self.patience, R2, "wait hangs on no ids")
        R2.same(list(got), [], "what wait answered for no ids")

    def test_r2_records_that_are_there_are_answered(self, harness: Harness) -> None:
        """`wait` for what is there answers it without a limit of time."""
        store = harness.open()
        self.expect(store, "a", "b")
        store.put([result("a", b"1"), result("b", b"2")])
        got = Call(lambda: store.wait(["b", "a"], None)).answer(
            self.patience, R2, "wait hangs on records that are there"
        )
        R2.same(values(got), [b"2", b"1"], "what wait answered")

    def test_r2_waits_for_the_last_and_is_woken(self, harness: Harness) -> None:
        """`wait` answers when the last of its records comes, not with the first, and from any thread."""
        store, writer = harness.open(), harness.open()
        self.expect(store, "a", "b")
        call = Call(lambda: store.wait(["a", "b"], None))
        R2.holds(call.waits(), "wait answered while no record was there")
        writer.put([result("a", b"1")])
        R2.holds(call.waits(), "wait answered while one of two records was missing")
        writer.put([result("b", b"2")])
        got = call.answer(self.patience, R2, "wait was not woken by the last record")
        R2.same(values(got), [b"1", b"2"], "what wait answered")

    def test_r2_the_least_is_enough(self, harness: Harness) -> None:
        """`wait` with `least` answers as soon as so many records are there, whichever they are; never more are asked
        for than there are ids."""
        store, writer = harness.open(), harness.open()
        self.expect(store, "a", "b", "c")
        call = Call(lambda: store.wait(["a", "b", "c"], None, 2))
        writer.put([result("c", b"3")])
        R2.holds(call.waits(), "wait for 2 of 3 records answered when one was there")
        writer.put([result("a", b"1")])
        got = call.answer(self.patience, R2, "wait for 2 of 3 records was not woken by the second")
        R2.same(values(got), [b"1", None, b"3"], "what wait for 2 of 3 records answered")
        got = Call(lambda: store.wait(["a", "b"], None, 1)).answer(
            self.patience, R2, "wait for 1 record hangs although one is there"
        )
        R2.same(values(got), [b"1", None], "what wait for 1 of 2 records answered")

    def test_r2_every_waiter_is_woken(self, harness: Harness) -> None:
        """Several threads that wait for the same record, and for others, all get theirs."""
        store, other, writer = harness.open(), harness.open(), harness.open()
        self.expect(store, "a", "b")
        calls = [
            Call(lambda handle=handle, task_id=task_id: handle.wait([task_id], None))  # type: ignore[misc]
            for handle in (store, other)
            for task_id in ("a", "a", "b")
        ]
        for call in calls:
            R2.holds(call.waits(), "wait answered while no record was there")
        writer.put([result("a", b"1"), result("b", b"2")])
        got = [values(call.answer(self.patience, R2, "one of several waiters was not woken")) for call in calls]
        R2.same(got, [[b"1"], [b"1"], [b"2"]] * 2, "what the waiters got")

    def test_r2_no_record_is_missed(self, harness: Harness) -> None:
        """Records written while a waiter looks, goes to wait and wakes are all seen."""
        store, writer = harness.open(), harness.open()
        ids = [f"t{number}" for number in range(40)]
        self.expect(store, *ids)
        call = Call(lambda: [values(store.wait([task_id], None)) for task_id in ids])
        for task_id in ids:
            writer.put([result(task_id, task_id.encode())])
        got = call.answer(self.patience, R2, "wait missed a record that came while it was about to wait")
        R2.same(got, [[task_id.encode()] for task_id in ids], "what a waiter for one after the other got")

    def test_r2_gives_up_at_its_timeout(self, harness: Harness) -> None:
        """At its timeout `wait` answers what there is."""
        store = harness.open()
        self.expect(store, "a", "b")
        store.put([result("b", b"2")])
        got = Call(lambda: store.wait(["a", "b"], 30)).answer(self.patience, R2, "wait went on after its timeout")
        R2.same(values(got), [None, b"2"], "what wait answered at its timeout")

    # R3

    def test_r3_a_record_can_be_read_for_its_ttl(self, harness: Harness) -> None:
        """Each record ends by its own ttl, and not before."""
        store = harness.open()
        self.expect(store, "short", "long")
        store.put([result("short", ttl_ms=10_000), result("long", ttl_ms=100_000)])
        seen = [values(store.get(["short", "long"]))]
        for ms in (5_000, 5_001, 90_000):
            harness.advance(ms)
            seen.append(values(store.get(["short", "long"])))
        both, one, none = [EVERY_BYTE, EVERY_BYTE], [None, EVERY_BYTE], [None, None]
        R3.same(seen, [both, both, one, none], "two records with lives of 10 s and 100 s at 0, 5, 10 and 100 s")

    def test_r3_wait_answers_no_ended_record(self, harness: Harness) -> None:
        """A record that has ended is as good as none for who waits."""
        store = harness.open()
        self.expect(store, "a")
        store.put([result("a", ttl_ms=10_000)])
        harness.advance(10_001)
        got = Call(lambda: store.wait(["a"], 30)).answer(self.patience, R3, "wait went on after its timeout")
        R3.same(values(got), [None], "what wait answered for a record that has ended")

    def test_r3_the_latest_ttl_counts(self, harness: Harness) -> None:
        """A record that is written again lives by its new ttl."""
        store = harness.open()
        self.expect(store, "a")
        store.put([result("a", ttl_ms=10_000)])
        store.put([result("a", ttl_ms=100_000)])
        harness.advance(20_000)
        store.put([result("other")])
        R3.same(values(store.get(["a"])), [EVERY_BYTE], "a record after 20 s, whose ttl was 10 s and then 100 s")

    def test_r3_an_ended_record_leaves_room_for_any(self, harness: Harness) -> None:
        """The fencing token of a record that has ended bars no other from being stored."""
        store = harness.open()
        self.expect(store, "a")
        store.put([result("a", b"old", 9, ttl_ms=10_000)])
        harness.advance(3 * 60 * MINUTE)
        store.put([result("a", b"new", 1)])
        R3.same(values(store.get(["a"])), [b"new"], "a record stored after one of a higher fencing token had ended")

    # R4

    def test_r4_only_those_are_forgotten(self, harness: Harness) -> None:
        """`forget` removes the records it is given, is silent about unknown ids, and touches no other."""
        store = harness.open()
        ids = ["a", "b", "c", "ab"]
        self.expect(store, *ids)
        store.put([result(task_id) for task_id in ids])
        store.forget(["a", "c", "unknown"])
        R4.same(values(store.get(ids)), [None, EVERY_BYTE, None, EVERY_BYTE], "the records after two were forgotten")

    def test_r4_nothing_is_a_fine_thing_to_forget(self, harness: Harness) -> None:
        """An empty `forget` removes nothing."""
        store = harness.open()
        self.expect(store, "a")
        store.put([result("a")])
        store.forget([])
        R4.same(values(store.get(["a"])), [EVERY_BYTE], "the record after nothing was forgotten")

    # R5

    def test_r5_answers_are_in_the_order_of_the_ids(self, harness: Harness) -> None:
        """`get` and `wait` answer for each id at its place, also for unknown ones and for repeats."""
        store = harness.open()
        self.expect(store, "a", "b", "c")
        store.put([result("b", b"2"), result("a", b"1"), result("c", b"3")])
        R5.same(values(store.get(["c", "nobody", "a", "c", "b"])), [b"3", None, b"1", b"3", b"2"], "what get answered")
        R5.same(values(store.wait(["c", "a", "c", "b"], 0)), [b"3", b"1", b"3", b"2"], "what wait answered")
        R5.same(list(store.get([])), [], "what get answered for no ids")

    def test_r5_a_record_comes_back_whole(self, harness: Harness) -> None:
        """Every part of a record is read as it was stored."""
        store = harness.open()
        self.expect(store, "a")
        whole = result(
            "a", serializer="other", seal="00ff", attempt=3, worker="größe", progress=Progress(1, 2, "x"), ttl_ms=77_000
        )
        store.put([whole])
        stored = R5.there(store.get(["a"])[0], "there is no record")
        seen = (
            stored.serializer,
            stored.seal,
            stored.attempt,
            stored.worker,
            stored.progress,
            stored.ttl_ms,
            stored.status,
        )
        wanted = ("other", "00ff", 3, "größe", Progress(1, 2, "x"), 77_000, TaskStatus.SUCCESS)
        R5.same(seen, wanted, "the parts of a stored record")
        R5.holds(stored.ended_ms > 0, "the store did not stamp the time at which it stored the record")

    def test_r5_a_failure_comes_back_whole(self, harness: Harness) -> None:
        """Type, text and traceback are read as they were stored, whatever the text."""
        store = harness.open()
        self.expect(store, "a", "b")
        failures = [Failure("mod.größe", "\u2028 \x00 'no'", "Traceback:\n" + "  line\n" * 5_000), Failure("E", "")]
        records = [Record(i, TaskStatus.FAILURE, error=error) for i, error in zip("ab", failures, strict=True)]
        store.put(records)
        R5.same([record and record.error for record in store.get(["a", "b"])], failures, "the stored failures")


class SettledResultLaws(Contract):
    """What R2 and R4 ask of a store that also is the broker."""

    def test_r2_a_settlement_wakes(self, harness: Harness) -> None:
        """Who waits for a task is woken by the settlement that ends it."""
        store, worker = harness.open(), harness.open()
        delivery = held(worker, R2)
        call = Call(lambda: store.wait(["a"], None))
        R2.holds(call.waits(), "wait answered while no record was there")
        settled(worker, R2, done(delivery))
        got = call.answer(self.patience, R2, "wait was not woken by a settlement")
        R2.same(values(got), [EVERY_BYTE], "what wait answered")

    def test_r2_a_cancellation_wakes(self, harness: Harness) -> None:
        """Who waits for a task is woken when it is cancelled."""
        store, admin = harness.open(), harness.open()
        store.enqueue([job("a")])
        call = Call(lambda: store.wait(["a"], None))
        R2.holds(call.waits(), "wait answered while no record was there")
        admin.cancel(["a"])
        got = call.answer(self.patience, R2, "wait was not woken by a cancellation")
        R2.same([record and record.status for record in got], [TaskStatus.CANCELLED], "what wait answered")

    def test_r2_an_unknown_id_is_not_waited_for(self, harness: Harness) -> None:
        """Where nothing would ever come `wait` answers None at once, also without a limit of time."""
        store = harness.open()
        held(store, R2)
        for ids in (["unknown"], ["a", "unknown"]):
            call = Call(lambda ids=ids: store.wait(ids, None))  # type: ignore[misc]
            got = call.answer(self.patience, R2, f"wait hangs on {ids}, one of which is not known")
            R2.same(list(got), [None] * len(ids), f"what wait answered for {ids}")

    def test_r2_a_deleted_task_is_not_waited_for(self, harness: Harness) -> None:
        """Who waits for a task is woken when it is deleted, since nothing will come."""
        store, admin = harness.open(), harness.open()
        store.enqueue([job("a")])
        call = Call(lambda: store.wait(["a"], None))
        R2.holds(call.waits(), "wait answered while no record was there")
        admin.delete(["a"])
        R2.same(
            list(call.answer(self.patience, R2, "wait was not woken by the deletion")), [None], "what wait answered"
        )

    def test_r4_the_task_is_not_forgotten(self, harness: Harness) -> None:
        """`forget` leaves the task in the history and its id known."""
        store = harness.open()
        settled(store, R4, done(held(store, R4)))
        store.forget(["a"])
        R4.same(counts(store), (0, 0, 0, 0, 1), "ready, held, delayed, failed, finished after the record was forgotten")
        R4.same(list(store.enqueue([job("a")])), [False], "a repeat after the record was forgotten")
        R4.same([task.id for task in store.tasks()[0]], ["a"], "the tasks after the record was forgotten")
