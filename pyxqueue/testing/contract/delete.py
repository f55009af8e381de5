"""`delete`: I5 delete."""

from __future__ import annotations

from .prelude import Contract, Harness, law, s

I5 = law("I5")


class DeleteLaws(Contract):
    """I5."""

    def test_i5_a_task_without_a_holder_is_deleted(self, harness: Harness) -> None:
        """A new, retried, delayed, failed or ended task is deleted with its record, and never runs."""
        backend = harness.open()
        s.settled(backend, I5, s.done(s.claimed(backend, I5, "done")))
        s.settled(backend, I5, s.fail(s.claimed(backend, I5, "failed")))
        retried, deferred = s.claimed(backend, I5, "retried"), s.claimed(backend, I5, "deferred")
        s.settled(backend, I5, s.retry(retried), s.defer(deferred))
        backend.enqueue([s.job("ready"), s.job("delayed", delay_ms=10_000), s.job("kept")])
        ids = ["ready", "retried", "delayed", "failed", "done"]
        I5.same(list(backend.delete(ids)), [True] * 5, f"the deletion of {ids}")
        I5.same(
            [list(backend.show(ids)), list(backend.wait(ids, 0))], [[None] * 5] * 2, "what is known and stored after it"
        )
        s.places(backend, I5, "after it", ready=2)
        harness.advance(10_001)
        s.claims(backend, I5, ["deferred", "kept"], "what could be claimed after it")

    def test_i5_a_task_in_flight_is_not_deleted(self, harness: Harness) -> None:
        """The deletion of a task in flight or of an unknown one returns False and changes nothing."""
        backend = harness.open()
        delivery = s.claimed(backend, I5)
        before = s.photo(backend)
        I5.same(
            list(backend.delete(["a", "unknown"])),
            [False, False],
            "the deletion of a task in flight and of an unknown one",
        )
        I5.same(s.photo(backend), before, "a refused deletion changed something")
        I5.same(list(backend.settle([s.done(delivery)])), [True], "the holder's settlement after it")

    def test_i5_results_keep_the_order(self, harness: Harness) -> None:
        """Of several ids each has its own result, at its own place."""
        backend = harness.open()
        s.claimed(backend, I5, "in-flight")
        backend.enqueue([s.job("a"), s.job("b")])
        ids = ["in-flight", "a", "unknown", "b", "a"]
        I5.same(list(backend.delete(ids)), [False, True, False, True, False], f"the deletion of {ids}")

    def test_i5_delete_accepts_no_ids(self, harness: Harness) -> None:
        """Every operation of administration accepts an empty list and changes nothing."""
        backend = harness.open()
        s.settled(backend, I5, s.done(s.claimed(backend, I5)))
        before = s.photo(backend)
        operations = (backend.show, backend.requeue, backend.cancel, backend.delete)
        I5.same([list(operation([])) for operation in operations], [[]] * 4, "the results for no ids")
        I5.same(s.photo(backend), before, "an operation on no ids changed something")

    def test_i5_a_thousand_deleted_at_once(self, harness: Harness) -> None:
        """A batch larger than a page is deleted whole."""
        backend = harness.open()
        s.many(backend, I5)
        I5.same(list(backend.delete(s.NAMES)), [True] * s.MANY, f"the deletion of {s.MANY}")
        s.places(backend, I5, "after it")

    def test_i5_ids_are_compared_whole(self, harness: Harness) -> None:
        """`delete` removes those it is given and no other."""
        backend = s.alike(harness)
        I5.same(list(backend.delete(s.MEANT)), [True] * len(s.MEANT), f"the deletion of {s.MEANT}")
        s.claims(backend, I5, s.SPARED, "what could be claimed after it")

    def test_i5_a_remembered_id_can_be_freed(self, harness: Harness) -> None:
        """Where of an ended task only the id is left, `delete` removes that as well."""
        backend = harness.open(history=0)
        s.settled(backend, I5, s.done(s.claimed(backend, I5), ttl_ms=1_000))
        harness.advance(2_000)
        I5.same(backend.show(["a"])[0], None, "what is shown of a task without message and record")
        I5.same(list(backend.delete(["a"])), [True], "the deletion of a remembered id")
        I5.same(list(backend.enqueue([s.job("a")])), [True], "the enqueue of an id that was freed")
