"""`put` of a `ResultStore`: R1 never backwards, and what R2 to R4 ask of records that are put."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .prelude import Contract, Harness, law, m, s

R1, R2, R3, R4 = law("R1"), law("R2"), law("R3"), law("R4")


class PutLaws(Contract):
    """R1, R2, R3, R4. Beside the other laws about records it makes them those of a `ResultStore`."""

    def expect(self, store: Any, *ids: str) -> None:
        """A result store needs no preparation: it does not know the tasks."""

    def keep(self, store: Any, records: Sequence[m.Record]) -> None:
        store.put(records)

    def test_r2_any_record_may_come(self, harness: Harness) -> None:
        """`wait` goes on waiting for an unknown id, also if there are records of others."""
        store: Any = harness.open()
        store.put([s.result("b")])
        call = s.waiting(R2, lambda: store.wait(["b", "a"], None))
        store.put([s.result("a", b"1")])
        got = call.result(self.patience, R2, "wait was not woken by the record")
        R2.same(s.values(got), [s.EVERY_BYTE, b"1"], "what wait returned")

    def test_r4_what_was_forgotten_is_waited_for(self, harness: Harness) -> None:
        """A later run of the task may bring another record."""
        store: Any = harness.open()
        store.put([s.result("a")])
        store.forget(["a"])
        call = s.waiting(R4, lambda: store.wait(["a"], None))
        store.put([s.result("a", b"2", 6)])
        got = call.result(self.patience, R4, "wait was not woken by the record")
        R4.same(s.values(got), [b"2"], "what wait returned")

    def test_r1_a_later_fencing_token_wins(self, harness: Harness) -> None:
        """Of the records of two holders the one with the higher fencing token stays, whichever comes first."""
        store: Any = harness.open()
        store.put([s.result("a", b"new", 7), s.result("b", b"old", 3)])
        store.put([s.result("a", b"old", 3), s.result("b", b"new", 7)])
        R1.same(
            s.values(store.wait(["a", "b"], 0)),
            [b"new", b"new"],
            "the records after one of fencing token 3 and one of fencing token 7",
        )

    def test_r1_fencing_tokens_are_numbers(self, harness: Harness) -> None:
        """Fencing tokens are compared as whole numbers, however many digits they have."""
        store: Any = harness.open()
        big = 1_700_000_000_000_000_000
        store.put([s.result("a", b"new", 10), s.result("b", b"new", big + 1)])
        store.put([s.result("a", b"old", 9), s.result("b", b"old", big)])
        R1.same(
            s.values(store.wait(["a", "b"], 0)),
            [b"new", b"new"],
            "the records of fencing tokens 10 and 9, and of two huge fencing tokens",
        )

    def test_r1_a_fencing_token_has_up_to_128_bits(self, harness: Harness) -> None:
        """The highest, and those on both sides of 64 bits."""
        fences = [(2**128 - 1, 2**128 - 2), (2**64, 2**64 - 1), (2**63, 2**63 - 1), (2**64, 2**63 - 1)]
        ids = [str(number) for number in range(len(fences))]
        store: Any = harness.open()
        for value, which in ((b"new", 0), (b"old", 1)):
            store.put([s.result(task_id, value, pair[which]) for task_id, pair in zip(ids, fences, strict=True)])
        found = store.wait(ids, 0)
        R1.same(s.values(found), [b"new"] * len(ids), f"the records after fencing tokens {fences}")
        R1.same([record.fence for record in found if record], [high for high, _ in fences], "their fencing tokens")

    def test_r1_the_same_fencing_token_writes_again(self, harness: Harness) -> None:
        """A repeat after a lost reply is stored, not refused."""
        store: Any = harness.open()
        store.put([s.result("a", b"first")])
        store.put([s.result("a", b"again")])
        R1.same(s.values(store.wait(["a"], 0)), [b"again"], "the record after two of the same fencing token")

    def test_r1_it_holds_within_a_batch(self, harness: Harness) -> None:
        """Of two records of one id in one batch the one with the higher fencing token stays."""
        store: Any = harness.open()
        store.put(
            [s.result("a", b"new", 7), s.result("a", b"old", 3), s.result("b", b"old", 3), s.result("b", b"new", 7)]
        )
        R1.same(
            s.values(store.wait(["a", "b"], 0)),
            [b"new", b"new"],
            "the records after fencing tokens 7, 3 and 3, 7 in one batch",
        )

    def test_r1_no_fencing_token_is_the_lowest(self, harness: Harness) -> None:
        """A record of fencing token 0 is compared like any other."""
        store: Any = harness.open()
        store.put([s.result("a", b"new", 5), s.result("b", b"old", 0)])
        store.put([s.result("a", b"old", 0), s.result("b", b"new", 5)])
        R1.same(s.values(store.wait(["a", "b"], 0)), [b"new", b"new"], "the records after fencing tokens 5, 0 and 0, 5")

    def test_r1_a_lower_fencing_token_changes_no_ttl(self, harness: Harness) -> None:
        """Nothing of a refused record is stored, its longer ttl included."""
        store: Any = harness.open()
        store.put([s.result("a", fence=5, ttl_ms=10_000)])
        store.put([s.result("a", fence=4, ttl_ms=s.LONG)])
        harness.advance(10_001)
        R1.same(
            s.values(store.wait(["a"], 0)),
            [None],
            "a record whose ttl had passed, after one with a lower fencing token and a longer ttl",
        )

    def test_r1_what_was_forgotten_bars_nothing(self, harness: Harness) -> None:
        """Where no record is stored, any fencing token is stored."""
        store: Any = harness.open()
        store.put([s.result("a", b"old", 9)])
        store.forget(["a"])
        store.put([s.result("a", b"new", 1)])
        R1.same(
            s.values(store.wait(["a"], 0)),
            [b"new"],
            "a record stored after one of a higher fencing token was forgotten",
        )

    def test_r3_the_latest_ttl_counts(self, harness: Harness) -> None:
        """A record that is put again is kept for its new ttl."""
        store: Any = harness.open()
        store.put([s.result("a", ttl_ms=10_000)])
        store.put([s.result("a", ttl_ms=100_000)])
        harness.advance(20_000)
        store.put([s.result("other")])
        R3.same(
            s.values(store.wait(["a"], 0)), [s.EVERY_BYTE], "a record after 20 s, whose ttl was 10 s and then 100 s"
        )

    def test_r3_an_ended_record_leaves_room_for_any(self, harness: Harness) -> None:
        """The fencing token of a record that has ended does not keep another from being stored."""
        store: Any = harness.open()
        store.put([s.result("a", b"old", 9, ttl_ms=10_000)])
        harness.advance(3 * 60 * s.MINUTE)
        store.put([s.result("a", b"new", 1)])
        R3.same(
            s.values(store.wait(["a"], 0)), [b"new"], "a record stored after one of a higher fencing token had ended"
        )
