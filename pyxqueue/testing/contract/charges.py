"""`release`, retries and ended leases: B11 counters."""

from __future__ import annotations

from ...model.message import evolve
from ...model.transitions import Counts, Event, after, counts_of
from ...protocols import HasSteps
from .prelude import Backend, Contract, Harness, law, m, s

B11 = law("B11")


def charges(delivery: m.Delivery) -> tuple[int, int, bool]:
    """Attempt, crashes and redelivered."""
    message = s.readable(delivery, B11)
    return message.attempt, message.crashes, message.redelivered


SPACED = ("a", "a b", "a c", "größe", "A")
"""Each is a name of its own, however alike they are."""


CONSUMERS = ("a", "a ", "ab", "a_", "a%", "A", "a\n", "a/b", "a'b")


def cause(backend: Backend, harness: Harness, delivery: m.Delivery, event: Event) -> None:
    """Make the event happen to a delivery that the consumer `one` holds."""
    match event:
        case Event.RETRY:
            s.settled(backend, B11, s.retry(delivery))
        case Event.DEFER:
            s.settled(backend, B11, s.defer(delivery))
        case Event.DEFER_LATER:
            s.settled(backend, B11, s.defer(delivery, 5_000))
            harness.advance(5_001)
        case Event.SUSPEND:
            s.settled(backend, B11, m.Settlement(delivery.receipt, m.Suspend()))
        case Event.RELEASE:
            backend.release("one", [])
        case Event.RELEASE_STARTED:
            backend.release("one", [delivery.receipt])
        case Event.LEASE_END | Event.LEASE_END_AGAIN:
            harness.advance(harness.lease + 1)


class ChargeLaws(Contract):
    """B11."""

    def test_b11_the_table_holds_for_every_event(self, harness: Harness) -> None:
        """Whatever a task has behind it, each event charges what the table says."""
        backend = harness.open()
        backend.enqueue([s.job("a")])
        empty = s.info(backend, "a", B11)
        backend.delete(["a"])
        for counts in (Counts(), Counts(3, 2, 1), Counts(3, 2, 1, redelivered=True)):
            for event in (one for one in Event if one is not Event.SUSPEND or isinstance(backend, HasSteps)):
                before = Counts(*counts[:3], redelivered=True) if event is Event.LEASE_END_AGAIN else counts
                backend.adopt([evolve(empty, message=s.job("a", **before._asdict()))])
                cause(backend, harness, s.take_one(backend, B11), event)
                again = counts_of(s.readable(s.take_one(backend, B11), B11))
                B11.same(again, after(before, event), f"the counts of a task with {before} after: {event.value}")
                backend.release("one", [])
                backend.delete(["a"])

    def test_b11_a_retry_is_one_attempt(self, harness: Harness) -> None:
        """A retry counts as an attempt and not as a crash."""
        backend = harness.open()
        delivery = s.claimed(backend, B11)
        B11.same(charges(delivery), (1, 0, False), "attempt, crashes, redelivered of the first delivery")
        s.settled(backend, B11, s.retry(delivery))
        again = s.take_one(backend, B11)
        B11.same(charges(again), (2, 0, False), "attempt, crashes, redelivered after a retry")
        s.settled(backend, B11, s.retry(again, 5_000))
        harness.advance(5_001)
        B11.same(
            charges(s.take_one(backend, B11)), (3, 0, False), "attempt, crashes, redelivered after a delayed retry"
        )

    def test_b11_a_deferral_at_once_costs_nothing(self, harness: Harness) -> None:
        """A deferral costs neither an attempt nor a crash; only one with a delay counts as a deferral."""
        backend = harness.open()
        s.settled(backend, B11, s.defer(s.claimed(backend, B11)))
        again = s.take_one(backend, B11)
        B11.same(charges(again), (1, 0, False), "attempt, crashes, redelivered after a deferral at once")
        B11.same(s.readable(again, B11).deferrals, 0, "the deferrals after a deferral at once")
        s.settled(backend, B11, s.defer(again, 5_000))
        harness.advance(5_001)
        again = s.take_one(backend, B11)
        B11.same(charges(again), (1, 0, False), "attempt, crashes, redelivered after a deferral with a delay")
        B11.same(s.readable(again, B11).deferrals, 1, "the deferrals after one with a delay")

    def test_b11_a_release_charges_what_was_started(self, harness: Harness) -> None:
        """Only what the dead process was running is charged; all that it held is ready at once."""
        backend = harness.open()
        backend.enqueue(s.jobs(4))
        deliveries = s.take_exactly(backend, 4, B11)
        B11.same(backend.release("one", [deliveries[1].receipt]), 4, "how many a release took back")
        seen = {delivery.message.id: charges(delivery) for delivery in s.take(backend, consumer="two")}
        calm, guilty = (1, 0, False), (1, 1, True)
        wanted = {"t000": calm, "t001": guilty, "t002": calm, "t003": calm}
        B11.same(seen, wanted, "attempt, crashes, redelivered after a release")

    def test_b11_a_release_touches_no_other_consumer(self, harness: Harness) -> None:
        """A release takes from the one consumer only, and forgets it."""
        backend = harness.open()
        s.claimed(backend, B11, "a", "one")
        kept = s.claimed(backend, B11, "b", "two")
        B11.same(backend.release("one", [kept.receipt]), 1, "how many a release took back")
        s.places(backend, B11, "after the release of one consumer of two", ready=1, in_flight=1)
        B11.same([consumer.name for consumer in backend.consumers()], ["two"], "the consumers after it")
        B11.same(list(backend.settle([s.done(kept)])), [True], "the other consumer's settlement")

    def test_b11_a_release_charges_only_what_is_held(self, harness: Harness) -> None:
        """Receipts that the consumer does not hold any more are charged nothing."""
        backend = harness.open()
        old = s.claimed(backend, B11)
        s.settled(backend, B11, s.defer(old))
        B11.same(backend.release("one", [old.receipt]), 0, "how many a release of a consumer without work took back")
        B11.same(charges(s.take_one(backend, B11)), (1, 0, False), "attempt, crashes, redelivered after it")

    def test_b11_an_ended_lease_makes_a_redelivered_task_first(self, harness: Harness) -> None:
        """The first end of a lease sets `redelivered`; each further one is a crash."""
        backend = harness.open()
        s.claimed(backend, B11)
        seen = []
        for _ in range(3):
            harness.advance(harness.lease + 1)
            seen.append(charges(s.take_one(backend, B11)))
        wanted = [(1, 0, True), (1, 1, True), (1, 2, True)]
        B11.same(seen, wanted, "attempt, crashes, redelivered after one, two, three ended leases")

    def test_b11_a_retry_clears_redelivered(self, harness: Harness) -> None:
        """A retry clears `redelivered` and keeps the crashes."""
        backend = harness.open()
        s.claimed(backend, B11)
        backend.release("one", [])
        delivery = s.take_one(backend, B11)
        backend.release("one", [delivery.receipt])
        s.settled(backend, B11, s.retry(s.take_one(backend, B11)))
        B11.same(
            charges(s.take_one(backend, B11)), (2, 1, False), "attempt, crashes, redelivered after a crash and a retry"
        )

    def test_b11_consumers_are_distinguished(self, harness: Harness) -> None:
        """Spaces and other letters are part of a consumer's name, in listings and in releases."""
        backend = harness.open()
        backend.enqueue(s.jobs(len(SPACED)))
        held_by = {name: s.ids_of(s.take(backend, 1, name)) for name in SPACED}
        seen = {consumer.name: list(consumer.in_flight) for consumer in backend.consumers()}
        B11.same(seen, held_by, "the holders")
        B11.same(backend.release("a b", []), 1, "how many were released from one of five")
        s.places(backend, B11, "after it", ready=1, in_flight=4)

    def test_b11_what_was_started_is_charged_once(self, harness: Harness) -> None:
        """A receipt that is given twice is one crash; one of an earlier claim is none."""
        backend = harness.open()
        delivery = s.claimed(backend, B11)
        backend.release("one", [delivery.receipt, delivery.receipt])
        again = s.take_one(backend, B11)
        B11.same(s.readable(again, B11).crashes, 1, "the crashes after a release that named the receipt twice")
        backend.release("one", [delivery.receipt])
        last = s.readable(s.take_one(backend, B11), B11)
        B11.same(last.crashes, 1, "the crashes after a release that named the receipt of an earlier claim")

    def test_b11_a_deferral_keeps_redelivered(self, harness: Harness) -> None:
        """A deferral does not change `redelivered`."""
        backend = harness.open()
        s.claimed(backend, B11)
        harness.advance(harness.lease + 1)
        redelivered = s.take_one(backend, B11)
        s.settled(backend, B11, s.defer(redelivered))
        again = s.readable(s.take_one(backend, B11), B11)
        B11.same(
            (again.redelivered, again.crashes),
            (True, 0),
            "redelivered and crashes after a redelivered task was deferred",
        )

    def test_b11_a_retry_is_the_same_message(self, harness: Harness) -> None:
        """A retry changes the attempt and no other field."""
        backend = harness.open()
        first = s.claimed(backend, B11)
        harness.advance(10_000)
        s.settled(backend, B11, s.retry(first))
        again = s.readable(s.take_one(backend, B11), B11)
        wanted = evolve(s.readable(first, B11), attempt=2)
        B11.same(again, wanted, "the message after a retry")

    def test_b11_a_thousand_released(self, harness: Harness) -> None:
        """A release takes back however many messages the consumer held."""
        backend = harness.open()
        s.many(backend, B11)
        started = [delivery.receipt for delivery in s.drain(backend, 400)]
        B11.same(backend.release("one", started), s.MANY, f"how many of {s.MANY} a release took back")
        crashed = sum(charges(delivery) == (1, 1, True) for delivery in s.drain(backend, 400, "two"))
        B11.same(crashed, s.MANY, "how many of them were charged a crash")

    def test_b11_a_short_delay_counts_as_well(self, harness: Harness) -> None:
        """A deferral for a millisecond counts."""
        backend = harness.open()
        s.settled(backend, B11, s.defer(s.claimed(backend, B11), 1))
        harness.advance(2)
        B11.same(s.readable(s.take_one(backend, B11), B11).deferrals, 1, "the deferrals")

    def test_b11_a_release_includes_ended_leases(self, harness: Harness) -> None:
        """A message whose lease ended and that was not claimed since still belongs to its consumer and is charged."""
        backend = harness.open()
        delivery = s.claimed(backend, B11)
        harness.advance(harness.lease + 1)
        B11.same(
            backend.release("one", [delivery.receipt]), 1, "how many a release took back after the lease had ended"
        )
        B11.same(charges(s.take_one(backend, B11)), (1, 1, True), "attempt, crashes, redelivered after it")

    def test_b11_a_release_keeps_redelivered(self, harness: Harness) -> None:
        """A redelivered task that its consumer had only claimed is not charged, and stays redelivered."""
        backend = harness.open()
        s.claimed(backend, B11)
        harness.advance(harness.lease + 1)
        s.take_one(backend, B11)
        backend.release("one", [])
        B11.same(
            charges(s.take_one(backend, B11)),
            (1, 0, True),
            "attempt, crashes, redelivered of a redelivered task not started",
        )

    def test_b11_names_are_compared_whole(self, harness: Harness) -> None:
        """A release takes from the one that is named, however alike another's name is."""
        backend = harness.open()
        backend.enqueue(s.jobs(len(CONSUMERS)))
        for name in CONSUMERS:
            s.take(backend, 1, name)
        B11.same([backend.release(name, []) for name in CONSUMERS], [1] * len(CONSUMERS), f"released from {CONSUMERS}")
        B11.same(backend.release("nobody", []), 0, "how many were released from an unknown consumer")

    def test_b11_a_release_charges_no_other_consumer(self, harness: Harness) -> None:
        """`release` ignores receipts that another consumer holds."""
        backend = harness.open()
        kept = s.claimed(backend, B11, "a", "two")
        backend.release("one", [kept.receipt])
        s.settled(backend, B11, s.defer(kept))
        B11.same(
            charges(s.take_one(backend, B11)), (1, 0, False), "attempt, crashes, redelivered of another consumer's task"
        )

    def test_b11_a_retry_keeps_what_was_counted(self, harness: Harness) -> None:
        """Crashes and deferrals are counted over all attempts."""
        backend = harness.open()
        backend.release("one", [s.claimed(backend, B11).receipt])
        s.settled(backend, B11, s.defer(s.take_one(backend, B11), 1_000))
        harness.advance(1_001)
        s.settled(backend, B11, s.retry(s.take_one(backend, B11)))
        message = s.readable(s.take_one(backend, B11), B11)
        seen = (message.attempt, message.crashes, message.deferrals)
        B11.same(seen, (2, 1, 1), "attempt, crashes and deferrals after a crash, a deferral with a delay and a retry")
