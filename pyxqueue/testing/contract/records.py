"""`wait` for what is there, and `forget`: R3 ends, R4 forgets exactly, R5 order."""

from __future__ import annotations

from .prelude import Contract, Harness, law, m, s

R3, R4, R5 = law("R3"), law("R4"), law("R5")


class RecordLaws(Contract):
    """R3, R4, R5, of a backend and of a `ResultStore`."""

    def test_r3_a_record_can_be_read_for_its_ttl(self, harness: Harness) -> None:
        """Each record ends by its own ttl, and not before."""
        store = harness.open()
        self.expect(store, "short", "long")
        self.keep(store, [s.result("short", ttl_ms=10_000), s.result("long", ttl_ms=100_000)])
        seen = [s.values(store.wait(["short", "long"], 0))]
        for ms in (5_000, 5_001, 90_000):
            harness.advance(ms)
            seen.append(s.values(store.wait(["short", "long"], 0)))
        both, one, none = [s.EVERY_BYTE, s.EVERY_BYTE], [None, s.EVERY_BYTE], [None, None]
        R3.same(seen, [both, both, one, none], "two records with ttls of 10 s and 100 s, read after 0, 5, 10 and 100 s")

    def test_r3_wait_returns_no_expired_record(self, harness: Harness) -> None:
        """`wait` treats an expired record like one that does not exist."""
        store = harness.open()
        self.expect(store, "a")
        self.keep(store, [s.result("a", ttl_ms=10_000)])
        harness.advance(10_001)
        got = s.Call(lambda: store.wait(["a"], 30)).result(self.patience, R3, "wait went on after its timeout")
        R3.same(s.values(got), [None], "what wait returned for a record that has ended")

    def test_r3_a_record_has_ended_when_its_ttl_is_over(self, harness: Harness) -> None:
        """Not a millisecond later."""
        store = harness.open()
        self.expect(store, "a")
        self.keep(store, [s.result("a", ttl_ms=10_000)])
        harness.advance(10_000)
        R3.same(s.values(store.wait(["a"], 0)), [None], "a record with a ttl of 10 s when they were just over")

    def test_r3_a_ttl_of_zero_is_not_forever(self, harness: Harness) -> None:
        """A ttl of 0 does not mean forever."""
        store = harness.open()
        self.expect(store, "a")
        self.keep(store, [s.result("a", ttl_ms=0)])
        harness.advance(1)
        R3.same(s.values(store.wait(["a"], 0)), [None], "a record with a ttl of 0, a millisecond later")

    def test_r3_a_long_ttl_is_kept(self, harness: Harness) -> None:
        """Two months are neither capped nor taken for a date or a negative number."""
        store = harness.open()
        self.expect(store, "a")
        self.keep(store, [s.result("a", ttl_ms=s.LONG)])
        seen = [s.values(store.wait(["a"], 0))]
        for ms in (s.LONG - s.MINUTE, s.MINUTE + 1):
            harness.advance(ms)
            seen.append(s.values(store.wait(["a"], 0)))
        R3.same(
            seen, [[s.EVERY_BYTE], [s.EVERY_BYTE], [None]], "a record of two months at once, a minute before, and after"
        )

    def test_r4_only_the_given_records_are_forgotten(self, harness: Harness) -> None:
        """`forget` removes the records it is given, ignores unknown ids, and touches no other."""
        store = harness.open()
        ids = ["a", "b", "c", "ab"]
        self.expect(store, *ids)
        self.keep(store, [s.result(task_id) for task_id in ids])
        store.forget(["a", "c", "unknown"])
        R4.same(
            s.values(store.wait(ids, 0)),
            [None, s.EVERY_BYTE, None, s.EVERY_BYTE],
            "the records after two were forgotten",
        )

    def test_r4_forget_accepts_no_ids(self, harness: Harness) -> None:
        """An empty `forget` removes nothing."""
        store = harness.open()
        self.expect(store, "a")
        self.keep(store, [s.result("a")])
        store.forget([])
        R4.same(s.values(store.wait(["a"], 0)), [s.EVERY_BYTE], "the record after nothing was forgotten")

    def test_r4_ids_are_compared_whole(self, harness: Harness) -> None:
        """`forget` does not take one id for another."""
        store = harness.open()
        self.expect(store, *s.ALIKE)
        self.keep(store, [s.result(task_id) for task_id in s.ALIKE])
        store.forget(s.MEANT)
        left = [
            task_id
            for task_id, value in zip(s.ALIKE, s.values(store.wait(s.ALIKE, 0)), strict=True)
            if value is not None
        ]
        R4.same(
            left,
            [task_id for task_id in s.ALIKE if task_id not in s.MEANT],
            f"the records after {s.MEANT} were forgotten",
        )

    def test_r4_a_thousand_forgotten_at_once(self, harness: Harness) -> None:
        """A batch larger than a page is forgotten whole."""
        store = harness.open()
        self.expect(store, *s.NAMES)
        self.keep(store, [s.result(task_id, b"") for task_id in s.NAMES])
        store.forget(s.NAMES)
        R4.same(
            s.values(store.wait(s.NAMES, 0)).count(None),
            len(s.NAMES),
            f"how many of {len(s.NAMES)} records were forgotten",
        )

    def test_r5_records_are_in_the_order_of_the_ids(self, harness: Harness) -> None:
        """`wait` returns one entry per id, in order, also for unknown and repeated ids, with any timeout."""
        store = harness.open()
        self.expect(store, "a", "b", "c")
        self.keep(store, [s.result("b", b"2"), s.result("a", b"1"), s.result("c", b"3")])
        R5.same(
            s.values(store.wait(["c", "nobody", "a", "c", "b"], 0)),
            [b"3", None, b"1", b"3", b"2"],
            "what wait without a time returned",
        )
        R5.same(s.values(store.wait(["c", "a", "c", "b"], None)), [b"3", b"1", b"3", b"2"], "what wait returned")
        R5.same(list(store.wait([], 0)), [], "what wait returned for no ids")

    def test_r5_a_record_comes_back_whole(self, harness: Harness) -> None:
        """Every part of a record is read as it was stored."""
        store = harness.open()
        self.expect(store, "a")
        whole = s.result(
            "a",
            serializer="other",
            seal="00ff",
            attempt=3,
            worker="größe",
            progress=m.Progress(1, 2, "x"),
            ran_ms=4_100,
            ttl_ms=77_000,
        )
        self.keep(store, [whole])
        stored = R5.there(store.wait(["a"], 0)[0], "the record is missing")
        seen = (
            stored.serializer,
            stored.seal,
            stored.attempt,
            stored.worker,
            stored.progress,
            stored.ran_ms,
            stored.ttl_ms,
            stored.status,
        )
        wanted = ("other", "00ff", 3, "größe", m.Progress(1, 2, "x"), 4_100, 77_000, m.TaskStatus.SUCCESS)
        R5.same(seen, wanted, "the parts of a stored record")
        R5.holds(stored.ended_ms > 0, "the store did not stamp the time at which it stored the record")

    def test_r5_a_failure_comes_back_whole(self, harness: Harness) -> None:
        """Type, text and traceback are read as they were stored, whatever the text."""
        store = harness.open()
        self.expect(store, "a", "b")
        failures = [m.Failure("mod.größe", "\u2028 \x00 'no'", "Traceback:\n" + "  line\n" * 5_000), m.Failure("E", "")]
        records = [m.Record(i, m.TaskStatus.FAILURE, error=error) for i, error in zip("ab", failures, strict=True)]
        self.keep(store, records)
        R5.same([record and record.error for record in store.wait(["a", "b"], 0)], failures, "the stored failures")

    def test_r5_ids_are_compared_whole(self, harness: Harness) -> None:
        """`wait` does not return one record for another."""
        store = harness.open()
        self.expect(store, *s.ALIKE)
        self.keep(store, [s.result(task_id, task_id.encode()) for task_id in s.ALIKE if task_id not in s.MEANT])
        R5.same(
            s.values(store.wait(s.MEANT, 0)), [None] * len(s.MEANT), f"what wait without a time returned for {s.MEANT}"
        )
        self.keep(store, [s.result(task_id, task_id.encode()) for task_id in s.MEANT])
        R5.same(
            s.values(store.wait(s.ALIKE, 0)), [i.encode() for i in s.ALIKE], "what wait returned when all were there"
        )

    def test_r5_a_thousand_records_at_once(self, harness: Harness) -> None:
        """Each of many ids has its own result, at its place."""
        store = harness.open()
        self.expect(store, *s.NAMES)
        self.keep(store, [s.result(task_id, task_id.encode()) for task_id in s.NAMES])
        ids, wanted = s.NAMES[::-1], [task_id.encode() for task_id in s.NAMES[::-1]]
        R5.same(s.values(store.wait(ids, 0)), wanted, f"what wait without a time returned for {len(ids)} ids")
        R5.same(s.values(store.wait(ids, None)), wanted, f"what wait returned for {len(ids)} ids")

    def test_r5_empty_values_come_back(self, harness: Harness) -> None:
        """No value, no text and no progress are values; a long name is a name."""
        store = harness.open()
        self.expect(store, "a", "b")
        whole = m.Record("a", m.TaskStatus.SUCCESS, b"", worker="host." * 60, progress=m.Progress(0, 0), fence=5)
        self.keep(store, [whole, m.Record("b", m.TaskStatus.FAILURE, error=m.Failure("", ""), fence=5)])
        a, b = (R5.there(record, "the record is missing") for record in store.wait(["a", "b"], 0))
        R5.same((a.value, a.worker, a.progress), (b"", whole.worker, m.Progress(0, 0)), "value, worker and progress")
        R5.same(b.error, m.Failure("", ""), "a failure without any text")


class SettledRecordLaws(Contract):
    """R3, R4, R5, of a backend."""

    def test_r3_settled_records_live_as_long_as_they_say(self, harness: Harness) -> None:
        """A ttl of 0 and one of two months, in records of settlements."""
        store = harness.open()
        s.settled(
            store,
            R3,
            s.done(s.claimed(store, R3, "none"), ttl_ms=0),
            s.done(s.claimed(store, R3, "long"), ttl_ms=s.LONG),
        )
        harness.advance(1)
        R3.same(
            s.values(store.wait(["none", "long"], 0)),
            [None, s.EVERY_BYTE],
            "records with a ttl of 0 and with a long one",
        )
        harness.advance(s.LONG - s.MINUTE)
        R3.same(s.values(store.wait(["long"], 0)), [s.EVERY_BYTE], "the one with the long ttl, a minute before its end")

    def test_r4_the_task_is_not_forgotten(self, harness: Harness) -> None:
        """`forget` leaves the task in the history and its id known."""
        store = harness.open()
        s.settled(store, R4, s.done(s.claimed(store, R4)))
        store.forget(["a"])
        s.places(store, R4, "after the record was forgotten", history=1)
        R4.same(list(store.enqueue([s.job("a")])), [False], "a repeat after the record was forgotten")
        R4.same([task.id for task in store.tasks()[0]], ["a"], "the tasks after the record was forgotten")

    def test_r4_the_progress_is_not_forgotten(self, harness: Harness) -> None:
        """`forget` of a task that still runs leaves the progress that its holder has written."""
        store = harness.open()
        delivery = s.claimed(store, R4)
        s.extended(store, delivery, m.Progress(3))
        store.forget(["a"])
        R4.same(s.info(store, "a", R4).progress, m.Progress(3), "the progress after the record was forgotten")
        s.settled(store, R4, s.done(delivery))

    def test_r4_the_id_is_not_forgotten_without_its_history(self, harness: Harness) -> None:
        """A repeat is refused for its hour also where neither message nor record is left."""
        store = harness.open(history=0)
        s.settled(store, R4, s.done(s.claimed(store, R4)))
        store.forget(["a"])
        harness.advance(m.DEDUPE_MS // 2)
        R4.same(list(store.enqueue([s.job("a")])), [False], "a repeat after record and history were forgotten")

    def test_r5_a_settled_failure_comes_back_whole(self, harness: Harness) -> None:
        """Whatever its text, also when it comes with a settlement."""
        store = harness.open()
        failure = m.Failure("mod.größe", "\x00 'no' \u2028\r\n", "Traceback:\n" + "  line\n" * 20_000)
        delivery = s.claimed(store, R5)
        record = m.Record("a", m.TaskStatus.FAILURE, error=failure, fence=delivery.fence)
        s.settled(store, R5, m.Settlement(delivery.receipt, m.Fail("no use"), record))
        stored = R5.there(store.wait(["a"], 0)[0], "the record is missing")
        R5.same(stored.error, failure, "the stored failure")
