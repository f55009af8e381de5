"""The laws among neighbours: other handles, claims, consumers and groups, and whom they must wake or leave alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from threading import Barrier
from typing import TypeVar

from attrs import evolve

from ...message import (
    Defer,
    Delivery,
    Done,
    Extension,
    LeaseStatus,
    Progress,
    Retry,
    Settlement,
    TaskStatus,
)
from ...protocols import Backend
from .claiming import patiently
from .harness import (
    Call,
    Contract,
    Harness,
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
from .keeping import RICH, charges
from .laws import Law, law

B1, B2, B3, B4, B5, B6 = law("B1"), law("B2"), law("B3"), law("B4"), law("B5"), law("B6")
B9, B10, B11 = law("B9"), law("B10"), law("B11")

T = TypeVar("T")
CONSUMERS = ("a", "a ", "ab", "a_", "a%", "A", "a\n", "a/b", "a'b")


def once_each(
    law_: Law, patience: float, handles: Sequence[Backend], act: Callable[[Backend, T], bool], items: Sequence[T]
) -> None:
    """When several do the same at the same time, each item is granted to one of them."""
    __tracebackhide__ = True
    together = Barrier(len(handles))

    def one(handle: Backend, item: T) -> bool:
        together.wait()
        return act(handle, item)

    def start(handle: Backend) -> Call[list[bool]]:
        return Call(lambda: [one(handle, item) for item in items])

    calls = [start(handle) for handle in handles]
    answers = [call.answer(patience, law_, "one of several calls at the same time does not answer") for call in calls]
    granted = [sum(each) for each in zip(*answers, strict=True)]
    law_.same(granted, [1] * len(items), "how often each was answered with True to two who asked at the same time")


class BrokerNeighbours(Contract):
    """B2 to B11."""

    def test_b1_two_producers_at_once(self, harness: Harness) -> None:
        """Of two that enqueue the same ids at the same time, each is told True for what it was the first with."""
        backend, other = harness.open(), harness.open()
        take(other)
        messages = jobs(40)
        once_each(B1, self.patience, (backend, other), lambda handle, one: handle.enqueue([one])[0], messages)
        B1.same(sorted(ids_of(drain(backend, 40))), [one.id for one in messages], "what could be claimed after it")

    def test_b2_neither_ids_nor_priorities_make_the_order(self, harness: Harness) -> None:
        """First deliveries follow the enqueue, also within one batch and one millisecond."""
        backend = harness.open()
        backend.enqueue([job("z"), job("m", priority=-9), job("a", priority=9)])
        backend.enqueue([job("b", priority=1)])
        B2.same(ids_of(take(backend)), ["z", "m", "a", "b"], "the order of first deliveries")

    def test_b2_whatever_becomes_ready_wakes(self, harness: Harness) -> None:
        """A waiting claim gets what is handed back, retried, released, requeued, followed up or adopted."""
        backend, other = harness.open(), harness.open()
        backend.enqueue([job("adopted")])
        left = info(backend, "adopted", B2)
        backend.delete(["adopted"])
        ways: dict[str, Callable[[str], object]] = {
            "return": lambda receipt: other.settle([Settlement(receipt, Defer())]),
            "retry": lambda receipt: other.settle([Settlement(receipt, Retry())]),
            "release": lambda _: other.release("two", []),
            "requeue": lambda _: other.requeue(["requeue"]),
            "follow": lambda receipt: other.settle([Settlement(receipt, Done(), None, [job("next")])]),
            "adoption": lambda _: other.adopt([left]),
        }
        wanted = {"follow": "next", "adoption": "adopted"}
        for name, way in ways.items():
            delivery = held(other, B2, name, "two")
            if name == "requeue":
                settled(other, B2, fail(delivery))
            call = Call(lambda: patiently(backend))
            B2.holds(call.waits(), "claim answered though nothing was ready")
            way(delivery.receipt)
            got = call.answer(self.patience, B2, f"a waiting claim was not woken ({name})")
            B2.same(ids_of(got), [wanted.get(name, name)], f"what the woken claim answered ({name})")
            settled(backend, B2, *(done(delivery) for delivery in got))

    def test_b2_a_handle_that_closes_hands_nothing_back(self, harness: Harness) -> None:
        """What it had claimed stays held until its lease ends, and what waits stays where it is."""
        backend, other = harness.open(), harness.open()
        other.enqueue([job("a"), job("b")])
        delivery = take(backend, 1)[0]
        backend.close()
        backend.close()
        B2.same(
            ids_of(take(other, consumer="two")), ["b"], "what could be claimed after the holder's handle was closed"
        )
        B2.same(list(other.settle([done(delivery)])), [True], "the holder's settlement, over another handle")

    def test_b2_each_lease_is_a_whole_one(self, harness: Harness) -> None:
        """What was held before is held as long as anything else."""
        backend, other = harness.open(), harness.open()
        delivery = held(backend, B2)
        harness.advance(harness.lease * 2 // 3)
        settled(backend, B2, Settlement(delivery.receipt, Defer()))
        take_one(backend, B2)
        harness.advance(harness.lease * 2 // 3)
        B2.same(ids_of(take(other, consumer="two")), [], "claimed before the lease of the second holding had ended")

    def test_b3_only_an_extension_renews(self, harness: Harness) -> None:
        """A consumer that claims and settles other work keeps nothing alive that it does not extend."""
        backend, other = harness.open(), harness.open()
        busy = held(backend, B3, "busy")
        held(backend, B3, "lost-reply")
        harness.advance(harness.lease * 2 // 3)
        settled(backend, B3, done(busy))
        take(backend)
        harness.advance(harness.lease * 2 // 3)
        B3.same(ids_of(take(other, consumer="two")), ["lost-reply"], "what came back of a consumer that was busy")

    def test_b3_two_workers_take_back_at_once(self, harness: Harness) -> None:
        """What a vanished worker held is handed to one of two who look at the same time."""
        backend, other = harness.open(), harness.open()
        backend.enqueue(jobs(40))
        take(backend, consumer="gone")
        harness.advance(harness.lease + 1)
        together = Barrier(2)

        def start(handle: Backend, name: str) -> Call[list[Delivery]]:
            def take_back() -> list[Delivery]:
                together.wait()
                return drain(handle, 3, name)

            return Call(take_back)

        calls = [start(backend, "one"), start(other, "two")]
        seen = [i for call in calls for i in ids_of(call.answer(self.patience, B3, "claim does not answer"))]
        B3.same(sorted(seen), [message.id for message in jobs(40)], "what two workers took back together")

    def test_b4_two_settle_at_once(self, harness: Harness) -> None:
        """Of two that settle the same deliveries at the same time, one is accepted."""
        backend, other = harness.open(), harness.open()
        backend.enqueue(jobs(40))
        deliveries = take(backend)
        once_each(B4, self.patience, (backend, other), lambda handle, one: handle.settle([done(one)])[0], deliveries)
        B4.same(counts(backend), (0, 0, 0, 0, 40), "ready, held, delayed, failed, finished after it")

    def test_b4_the_receipt_is_all_it_takes(self, harness: Harness) -> None:
        """Whoever has it may settle, over any handle on the group."""
        backend, other = harness.open(), harness.open()
        delivery = held(backend, B4)
        B4.same(list(other.settle([done(delivery)])), [True], "a settlement over another handle")
        B4.same(list(backend.settle([done(delivery)])), [False], "its repeat over the first one")

    def test_b5_follow_ups_keep_their_header(self, harness: Harness) -> None:
        """Every part of a follow-up comes out as it went in, and the store stamps it like any message."""
        backend = harness.open()
        settled(backend, B5, done(held(backend, B5), then=[RICH]))
        message = readable(take_one(backend, B5), B5)
        B5.same(evolve(message, enqueued_ms=0, due_ms=0), RICH, "a follow-up")
        B5.holds(message.enqueued_ms > 0, "the store did not stamp the time at which it accepted a follow-up")

    def test_b5_a_cancelled_task_ends_as_its_holder_says(self, harness: Harness) -> None:
        """Its holder's verdict takes effect as any other, follow-ups included."""
        backend = harness.open()
        a, b = held(backend, B5, "a"), held(backend, B5, "b")
        backend.cancel(["a", "b"])
        settled(backend, B5, done(a, then=[job("next")]), fail(b))
        B5.same(counts(backend), (1, 0, 0, 1, 1), "ready, held, delayed, failed, finished")
        B5.same(info(backend, "b", B5).status, TaskStatus.FAILURE, "the state of a cancelled task that failed")

    def test_b6_the_receipt_is_all_it_takes(self, harness: Harness) -> None:
        """Whoever has it may extend, over any handle on the group: a supervisor does it for its processes."""
        backend, other = harness.open(), harness.open()
        delivery = held(backend, B6)
        B6.same(extended(other, delivery), LeaseStatus.HELD, "an extension over another handle")

    def test_b6_a_repeat_in_a_batch_has_its_own_answer(self, harness: Harness) -> None:
        """Each extension is answered, also if two are for one receipt."""
        backend = harness.open()
        backend.enqueue(jobs(2))
        a, b = take(backend)
        answers = backend.extend([Extension(receipt) for receipt in (a.receipt, "none", a.receipt, b.receipt)])
        B6.same(
            list(answers),
            [LeaseStatus.HELD, LeaseStatus.LOST, LeaseStatus.HELD, LeaseStatus.HELD],
            "the answers for a batch with a repeat",
        )

    def test_b6_a_cancelled_task_is_kept_while_it_is_extended(self, harness: Harness) -> None:
        """CANCEL says that it is still held: its lease starts again all the same."""
        backend, other = harness.open(), harness.open()
        delivery = held(backend, B6)
        backend.cancel(["a"])
        for _ in range(2):
            harness.advance(harness.lease * 2 // 3)
            B6.same(extended(backend, delivery), LeaseStatus.CANCEL, "an extension of a cancelled task")
        take(other, consumer="two")
        B6.same(list(backend.settle([done(delivery)])), [True], "the settlement of a holder that extended in time")

    def test_b9_each_group_has_its_lease(self, harness: Harness) -> None:
        """To replace the lease of one group leaves the other's as it is."""
        one, other = harness.open("one"), harness.open("other", lease=harness.lease * 4)
        B9.same(
            [one.lease_ms(), other.lease_ms(), one.lease_ms()], [harness.lease * n for n in (1, 4, 1)], "the leases"
        )

    def test_b9_a_group_counts_from_its_registration(self, harness: Harness) -> None:
        """A producer that was there before copies into it too, from its next call on, and not what went before."""
        one = harness.open("one")
        one.enqueue([job("before")])
        late = harness.open("late")
        take(late)
        one.enqueue([job("after")])
        B9.same(ids_of(take(late)), ["after"], "what a group could claim that was registered between two calls")

    def test_b10_the_last_of_a_batch_wins(self, harness: Harness) -> None:
        """Of two progresses of one task in one batch the second is the last."""
        backend = harness.open()
        receipt = held(backend, B10).receipt
        backend.extend([Extension(receipt, Progress(1)), Extension(receipt, Progress(2)), Extension(receipt)])
        B10.same(info(backend, "a", B10).progress, Progress(2), "the progress after a batch of three extensions")

    def test_b10_an_old_receipt_of_the_same_consumer_writes_none(self, harness: Harness) -> None:
        """Not the consumer's name decides, but the claim."""
        backend = harness.open()
        old = held(backend, B10)
        harness.advance(harness.lease + 1)
        take_one(backend, B10)
        extended(backend, old, Progress(9))
        B10.same(info(backend, "a", B10).progress, None, "the progress after an earlier receipt wrote one")

    def test_b10_the_cancelled_still_tell(self, harness: Harness) -> None:
        """The holder of a cancelled task holds it, and its progress is stored."""
        backend = harness.open()
        delivery = held(backend, B10)
        backend.cancel(["a"])
        extended(backend, delivery, Progress(3))
        B10.same(info(backend, "a", B10).progress, Progress(3), "the progress of a cancelled task that is still held")

    def test_b11_a_release_takes_what_is_overdue(self, harness: Harness) -> None:
        """What nobody has claimed since its lease ended is still the consumer's, and charged like the rest."""
        backend = harness.open()
        delivery = held(backend, B11)
        harness.advance(harness.lease + 1)
        B11.same(
            backend.release("one", [delivery.receipt]), 1, "how many a release took back after the lease had ended"
        )
        B11.same(charges(take_one(backend, B11)), (1, 1, True), "attempt, crashes, redelivered after it")

    def test_b11_a_release_clears_no_suspicion(self, harness: Harness) -> None:
        """a redelivered task that was merely claimed by a consumer that is gone is charged nothing, and is a
        redelivered task still."""
        backend = harness.open()
        held(backend, B11)
        harness.advance(harness.lease + 1)
        take_one(backend, B11)
        backend.release("one", [])
        B11.same(
            charges(take_one(backend, B11)),
            (1, 0, True),
            "attempt, crashes, redelivered of a redelivered task not started",
        )

    def test_b11_names_are_compared_whole(self, harness: Harness) -> None:
        """A release takes from the one that is named, however alike another's name is."""
        backend = harness.open()
        backend.enqueue(jobs(len(CONSUMERS)))
        for name in CONSUMERS:
            take(backend, 1, name)
        B11.same([backend.release(name, []) for name in CONSUMERS], [1] * len(CONSUMERS), f"released from {CONSUMERS}")
        B11.same(backend.release("nobody", []), 0, "how many were released from a consumer that never was")

    def test_b11_a_release_charges_no_other_consumer(self, harness: Harness) -> None:
        """Of the receipts it is told, those that another consumer holds mean nothing."""
        backend = harness.open()
        kept = held(backend, B11, "a", "two")
        backend.release("one", [kept.receipt])
        settled(backend, B11, Settlement(kept.receipt, Defer()))
        B11.same(
            charges(take_one(backend, B11)), (1, 0, False), "attempt, crashes, redelivered of another consumer's task"
        )
