"""Progress: B10 it is fenced."""

from __future__ import annotations

from collections.abc import Callable

from .prelude import Contract, Harness, law, m, s

B10 = law("B10")


class ProgressLaws(Contract):
    """B10."""

    def test_b10_the_last_progress_can_be_read(self, harness: Harness) -> None:
        """Progress is seen as it was written last; an extension without leaves it as it is."""
        backend = harness.open()
        delivery = s.claimed(backend, B10)
        B10.same(s.info(backend, "a", B10).progress, None, "progress before any was written")
        for progress in (m.Progress(1, 10, "one"), m.Progress(0.5, None, "größer \u2028")):
            s.extended(backend, delivery, progress)
            B10.same(s.info(backend, "a", B10).progress, progress, "the progress that was written last")
        s.extended(backend, delivery)
        B10.same(s.info(backend, "a", B10).progress, progress, "the progress after an extension without one")

    def test_b10_an_old_holder_writes_no_progress(self, harness: Harness) -> None:
        """After another claim only the new holder's progress is stored."""
        backend = harness.open()
        old = s.claimed(backend, B10)
        harness.advance(harness.lease + 1)
        new = s.take_one(backend, B10, "two")
        s.extended(backend, old, m.Progress(9))
        B10.same(s.info(backend, "a", B10).progress, None, "the progress after an old holder wrote one")
        s.extended(backend, new, m.Progress(1))
        s.extended(backend, old, m.Progress(9))
        B10.same(s.info(backend, "a", B10).progress, m.Progress(1), "the new holder's progress")

    def test_b10_no_progress_is_written_after_the_end(self, harness: Harness) -> None:
        """A progress that arrives after the settlement changes nothing."""
        backend = harness.open()
        delivery = s.claimed(backend, B10)
        s.settled(backend, B10, s.done(delivery, progress=m.Progress(10, 10)))
        s.extended(backend, delivery, m.Progress(3, 10))
        B10.same(s.info(backend, "a", B10).progress, m.Progress(10, 10), "the progress after the end")

    def test_b10_progress_starts_again_with_every_run(self, harness: Harness) -> None:
        """A retry, a deferral, a release, the end of a lease and a requeue start without progress."""
        backend = harness.open()
        ways: dict[str, Callable[[m.Delivery], object]] = {
            "a retry": lambda delivery: backend.settle([s.retry(delivery)]),
            "a deferral": lambda delivery: backend.settle([s.defer(delivery)]),
            "a release": lambda delivery: backend.release("one", [delivery.receipt]),
            "the end of a lease": lambda _: harness.advance(harness.lease + 1),
            "a requeue": lambda delivery: (backend.settle([s.done(delivery)]), backend.requeue(["a"])),
        }
        backend.enqueue([s.job("a")])
        for name, way in ways.items():
            delivery = s.take_one(backend, B10)
            s.extended(backend, delivery, m.Progress(5, 10))
            way(delivery)
            s.take_one(backend, B10)
            B10.same(s.info(backend, "a", B10).progress, None, f"the progress of the run after {name}")
            backend.release("one", [])

    def test_b10_the_last_value_rides_in_the_record(self, harness: Harness) -> None:
        """The progress in the record stays readable for as long as the record does."""
        backend = harness.open()
        delivery = s.claimed(backend, B10)
        s.extended(backend, delivery, m.Progress(3, 10))
        s.settled(backend, B10, s.done(delivery, progress=m.Progress(10, 10, "all")))
        stored = B10.there(backend.wait(["a"], 0)[0], "the record is missing")
        B10.same(stored.progress, m.Progress(10, 10, "all"), "the progress in the record")
        B10.same(s.info(backend, "a", B10).progress, m.Progress(10, 10, "all"), "the progress that is shown with it")

    def test_b10_numbers_are_kept_exactly(self, harness: Harness) -> None:
        """0 of 0 is a valid progress; a third and a large number are kept exactly."""
        backend = harness.open()
        delivery = s.claimed(backend, B10)
        for progress in (m.Progress(), m.Progress(0, 0), m.Progress(1 / 3, 0.1), m.Progress(16_777_217, 2**53 - 1)):
            s.extended(backend, delivery, progress)
            B10.same(s.info(backend, "a", B10).progress, progress, "the progress that was written last")
        s.settled(backend, B10, s.done(delivery, progress=m.Progress(0, 0)))
        B10.same(s.info(backend, "a", B10).progress, m.Progress(0, 0), "the progress after the end")

    def test_b10_the_last_of_a_batch_wins(self, harness: Harness) -> None:
        """Of two progresses of one task in one batch the second is the last."""
        backend = harness.open()
        receipt = s.claimed(backend, B10).receipt
        backend.extend([m.Extension(receipt, m.Progress(1)), m.Extension(receipt, m.Progress(2)), m.Extension(receipt)])
        B10.same(s.info(backend, "a", B10).progress, m.Progress(2), "the progress after a batch of three extensions")

    def test_b10_an_old_receipt_of_the_same_consumer_writes_no_progress(self, harness: Harness) -> None:
        """The receipt counts, not the consumer's name."""
        backend = harness.open()
        old = s.claimed(backend, B10)
        harness.advance(harness.lease + 1)
        s.take_one(backend, B10)
        s.extended(backend, old, m.Progress(9))
        B10.same(s.info(backend, "a", B10).progress, None, "the progress after an earlier receipt wrote one")

    def test_b10_a_cancelled_task_still_writes_progress(self, harness: Harness) -> None:
        """The progress that the holder of a cancelled task writes is stored."""
        backend = harness.open()
        delivery = s.claimed(backend, B10)
        backend.cancel(["a"])
        s.extended(backend, delivery, m.Progress(3))
        B10.same(
            s.info(backend, "a", B10).progress,
            m.Progress(3),
            "the progress of a cancelled task that is still in flight",
        )

    def test_b10_nothing_old_shows_while_it_waits(self, harness: Harness) -> None:
        """Progress is gone as soon as the task waits again, not only when it is claimed again."""
        backend = harness.open()
        s.extended(backend, s.claimed(backend, B10), m.Progress(1, 2))
        backend.release("one", [])
        B10.same(s.info(backend, "a", B10).progress, None, "the progress of a released task that waits")
        delivery = s.take_one(backend, B10)
        s.extended(backend, delivery, m.Progress(1, 2))
        s.settled(backend, B10, s.retry(delivery, 5_000))
        B10.same(s.info(backend, "a", B10).progress, None, "the progress of a task that waits for its retry")

    def test_b10_what_ends_instead_of_waiting_keeps_it(self, harness: Harness) -> None:
        """The record of a cancelled task that is retried, released or reclaimed has the last progress."""
        backend = harness.open()
        ways: dict[str, Callable[[m.Delivery], object]] = {
            "retry": lambda delivery: backend.settle([s.retry(delivery)]),
            "release": lambda delivery: backend.release("one", [delivery.receipt]),
            "reclaimed": lambda _: s.after_a_lease(backend, harness),
        }
        for name, way in ways.items():
            delivery = s.claimed(backend, B10, name)
            s.extended(backend, delivery, m.Progress(5, 10))
            backend.cancel([name])
            way(delivery)
            stored = B10.there(backend.wait([name], 0)[0], f"the record is missing ({name})")
            B10.same(stored.progress, m.Progress(5, 10), f"the progress in the record of a cancelled task ({name})")

    def test_b10_numbers_that_json_does_not_have_come_back(self, harness: Harness) -> None:
        """An infinite number, and one that is none, come back from a task in flight and from a record."""
        backend = harness.open()
        delivery = s.claimed(backend, B10)
        for number in ("inf", "-inf", "nan"):
            progress = m.Progress(float(number), float(number), number)
            s.extended(backend, delivery, progress)
            B10.same(str(s.info(backend, "a", B10).progress), str(progress), f"a progress of {number}")
        s.settled(backend, B10, s.done(delivery, progress=progress))
        stored = B10.there(backend.wait(["a"], 0)[0], "the record is missing")
        B10.same(str(stored.progress), str(progress), "a progress of nan in a record")
