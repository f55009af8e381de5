"""`claim`: B2 one holder."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Callable
from contextlib import suppress

from ...protocols import in_one_process
from ...supervisor.processes import fork
from .prelude import Backend, Contract, Harness, law, m, s

B2 = law("B2")

_SLACK = 20_000
"""Milliseconds by which a broker may be wrong about the time of a claim, on a machine that hardly gets on."""
_FORKS = hasattr(os, "fork") and sys.platform != "darwin"  # where workers are forked, too


def ids_a_fork_claims(backend: Backend, patience: float) -> str:
    """What a child claims with the handle that it inherited, ids with spaces between; empty if it cannot."""
    reading, writing = os.pipe()
    child = fork()
    if child == 0:
        try:
            os.write(writing, " ".join(delivery.message.id for delivery in s.take(backend, 1, "child")).encode())
        finally:
            os._exit(0)
    os.close(writing)
    try:
        readable, _, _ = select.select([reading], [], [], patience)
        return os.read(reading, 1_000).decode() if readable else ""
    finally:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)


class ClaimLaws(Contract):
    """B2."""

    def test_b2_a_message_in_flight_is_not_claimed(self, harness: Harness) -> None:
        """Neither another consumer nor the same one gets a message whose lease lasts."""
        backend, other = harness.open(), harness.open()
        s.claimed(backend, B2)
        harness.advance(harness.lease // 2)
        s.claims(other, B2, [], "another consumer got a message in flight", consumer="two")
        s.claims(backend, B2, [], "its holder got a message in flight again")

    def test_b2_never_more_than_the_limit(self, harness: Harness) -> None:
        """`claim` returns at most `limit` messages, none for a limit of 0."""
        backend = harness.open()
        backend.enqueue(s.jobs(5))
        sizes = [len(s.take(backend, limit)) for limit in (0, 1, 3, 3)]
        B2.same(sizes, [0, 1, 3, 1], "messages returned for limits of 0, 1, 3, 3")

    def test_b2_first_deliveries_in_the_order_of_enqueue(self, harness: Harness) -> None:
        """Whatever the sizes of batches and claims, the first delivery of each message follows the enqueue."""
        backend = harness.open()
        messages = s.jobs(30)
        for start, end in ((0, 1), (1, 12), (12, 30)):
            backend.enqueue(messages[start:end])
        seen = [task_id for limit in (7, 1, 20, 5) for task_id in s.ids_of(s.take(backend, limit))]
        B2.same(seen, [message.id for message in messages], "the order of first deliveries")

    def test_b2_every_claim_has_a_new_receipt_and_a_larger_fencing_token(self, harness: Harness) -> None:
        """A deferral, a retry, the end of a lease, a release and a requeue all lead to a new receipt and fencing
        token."""
        backend = harness.open()
        deliveries = [s.claimed(backend, B2)]
        s.settled(backend, B2, s.defer(deliveries[-1]))
        deliveries.append(s.take_one(backend, B2))
        s.settled(backend, B2, s.retry(deliveries[-1]))
        deliveries.append(s.take_one(backend, B2))
        harness.advance(harness.lease + 1)
        deliveries.append(s.take_one(backend, B2))
        backend.release("one", [])
        deliveries.append(s.take_one(backend, B2))
        s.settled(backend, B2, s.done(deliveries[-1]))
        backend.requeue(["a"])
        deliveries.append(s.take_one(backend, B2))
        fences = [delivery.fence for delivery in deliveries]
        B2.same(len({delivery.receipt for delivery in deliveries}), 6, "a receipt was issued twice")
        B2.same(fences, sorted(set(fences)), "the fencing tokens of six claims, one after the other")

    def test_b2_two_workers_share_the_work(self, harness: Harness) -> None:
        """Two handles that claim at the same time get every message exactly once."""
        backend, other = harness.open(), harness.open()
        backend.enqueue(s.jobs(60))
        s.take(other, limit=1, consumer="two")
        calls = [s.Call(lambda: s.drain(backend, 3)), s.Call(lambda: s.drain(other, 3, "two"))]
        seen = [
            task_id for call in calls for task_id in s.ids_of(call.result(self.patience, B2, "claim does not return"))
        ]
        B2.same(sorted(seen), [message.id for message in s.jobs(60)][1:], "what two workers got together")

    def test_b2_claim_waits_no_longer_than_wait_ms(self, harness: Harness) -> None:
        """On an empty queue `claim` returns an empty list after `wait_ms`."""
        backend = harness.open()
        call = s.Call(lambda: backend.claim("one", 1, 30))
        B2.same(list(call.result(self.patience, B2, "claim waited longer than wait_ms")), [], "claim on an empty queue")

    def test_b2_a_waiting_claim_is_woken(self, harness: Harness) -> None:
        """A message that is enqueued while a worker waits is handed to it at once."""
        backend, producer = harness.open(), harness.open()
        s.take(backend)
        call = s.Call(lambda: s.patiently(backend))
        call.waits()
        producer.enqueue([s.job("a")])
        got = call.result(self.patience, B2, "a waiting claim was not woken by the message it waited for")
        B2.same(s.ids_of(got), ["a"], "what the woken claim returned")

    def test_b2_an_interrupted_claim_returns(self, harness: Harness) -> None:
        """`interrupt` ends a claim that waits in another thread."""
        backend = harness.open()
        s.take(backend)
        call = s.Call(lambda: backend.claim("one", 1, 60 * s.MINUTE))
        call.waits()
        backend.interrupt()
        B2.same(list(call.result(self.patience, B2, "an interrupted claim went on waiting")), [], "its result")

    def test_b2_threads_may_share_a_handle(self, harness: Harness) -> None:
        """Two threads that claim with one handle get every message exactly once."""
        backend = harness.open()
        backend.enqueue(s.jobs(60))
        calls = [s.Call(lambda name=name: s.drain(backend, 3, name)) for name in ("one", "two")]  # type: ignore[misc]
        seen = [i for call in calls for i in s.ids_of(call.result(self.patience, B2, "claim does not return"))]
        B2.same(sorted(seen), [message.id for message in s.jobs(60)], "what two threads got with one handle")

    def test_b2_an_interrupt_ends_one_wait(self, harness: Harness) -> None:
        """After an interrupted claim the next ones wait as long as those before it."""
        backend = harness.open()
        s.take(backend)
        for turn in ("first", "second"):
            calls = (s.Call(lambda: backend.claim("one", 1, 60 * s.MINUTE)) for _ in range(10))
            call = next((call for call in calls if call.waits()), None)
            if call is None and turn == "first":
                return  # it cuts its waits so short that this cannot be seen
            call = B2.there(call, "no claim waits any more after an interrupt")
            backend.interrupt()
            B2.same(list(call.result(self.patience, B2, "an interrupted claim went on waiting")), [], "its result")

    def test_b2_ids_do_not_change_the_order(self, harness: Harness) -> None:
        """First deliveries follow the enqueue, also within one batch and one millisecond."""
        backend = harness.open()
        backend.enqueue([s.job("z"), s.job("m"), s.job("a")])
        backend.enqueue([s.job("b")])
        s.claims(backend, B2, ["z", "m", "a", "b"], "the order of first deliveries")

    def test_b2_every_way_to_become_ready_wakes_a_claim(self, harness: Harness) -> None:
        """A waiting claim gets what is deferred, retried, released, requeued, followed up or adopted."""
        backend, other = harness.open(), harness.open()
        backend.enqueue([s.job("adopted")])
        left = s.info(backend, "adopted", B2)
        backend.delete(["adopted"])
        ways: dict[str, Callable[[str], object]] = {
            "defer": lambda receipt: other.settle([m.Settlement(receipt, m.Defer())]),
            "retry": lambda receipt: other.settle([m.Settlement(receipt, m.Retry())]),
            "release": lambda _: other.release("two", []),
            "requeue": lambda _: other.requeue(["requeue"]),
            "follow": lambda receipt: other.settle([m.Settlement(receipt, m.Done(), None, [s.job("next")])]),
            "adoption": lambda _: other.adopt([left]),
        }
        wanted = {"follow": "next", "adoption": "adopted"}
        for name, way in ways.items():
            delivery = s.claimed(other, B2, name, "two")
            if name == "requeue":
                s.settled(other, B2, s.fail(delivery))
            call = s.waiting(B2, lambda: s.patiently(backend))
            way(delivery.receipt)
            got = call.result(self.patience, B2, f"a waiting claim was not woken ({name})")
            B2.same(s.ids_of(got), [wanted.get(name, name)], f"what the woken claim returned ({name})")
            s.settled(backend, B2, *(s.done(delivery) for delivery in got))

    def test_b2_a_handle_that_closes_hands_nothing_back(self, harness: Harness) -> None:
        """What it has claimed stays in flight until its lease ends, and what waits still waits."""
        backend, other = harness.open(), harness.open()
        other.enqueue([s.job("a"), s.job("b")])
        delivery = s.take(backend, 1)[0]
        backend.close()
        backend.close()
        s.claims(other, B2, ["b"], "what could be claimed after the holder's handle was closed", consumer="two")
        B2.same(list(other.settle([s.done(delivery)])), [True], "the holder's settlement, over another handle")

    def test_b2_each_claim_starts_a_whole_lease(self, harness: Harness) -> None:
        """A message that was claimed before has a whole lease again."""
        backend, other = harness.open(), harness.open()
        delivery = s.claimed(backend, B2)
        harness.advance(harness.lease * 2 // 3)
        s.settled(backend, B2, s.defer(delivery))
        s.take_one(backend, B2)
        harness.advance(harness.lease * 2 // 3)
        s.claims(other, B2, [], "claimed before the lease of the second claim had ended", consumer="two")

    def test_b2_a_fork_shares_the_queue(self, harness: Harness) -> None:
        """A handle that was used before a fork works in both processes, and they do not hold the same task."""
        backend = harness.open()
        if not (_FORKS and self.crosses_forks) or in_one_process(backend):
            return
        backend.enqueue(s.jobs(3))
        first = s.take(backend, 1)[0].message.id
        seen = [first, ids_a_fork_claims(backend, self.patience), *(d.message.id for d in s.take(backend, 1))]
        B2.same(seen, ["t000", "t001", "t002"], "what parent, child and parent claimed, one after the other")

    def test_b2_the_fencing_tokens_of_an_id_never_go_back(self, harness: Harness) -> None:
        """A task that takes over the id of a deleted one has larger fencing tokens, and receipts of its own."""
        backend = harness.open()
        deliveries = [s.claimed(backend, B2)]
        for end in (s.defer, s.done):
            s.settled(backend, B2, end(deliveries[-1]))
            B2.same(list(backend.delete(["a"])), [True], "the deletion of a task that is not in flight")
            deliveries.append(s.claimed(backend, B2))
        fences = [delivery.fence for delivery in deliveries]
        B2.same(fences, sorted(set(fences)), "the fencing tokens of three tasks of one id, one after the other")
        B2.same(len({delivery.receipt for delivery in deliveries}), 3, "a receipt was issued twice")

    def test_b2_an_interrupt_is_kept_for_the_next_claim(self, harness: Harness) -> None:
        """An interrupt that finds no waiting claim ends the wait of the next one, which may be on its way to wait."""
        backend = harness.open()
        s.take(backend)
        backend.interrupt()
        call = s.Call(lambda: backend.claim("one", 1, 60 * s.MINUTE))
        B2.same(list(call.result(self.patience, B2, "an interrupt before the claim was forgotten")), [], "its result")

    def test_b2_a_delivery_says_when_it_was_claimed(self, harness: Harness) -> None:
        """`claimed_ms` is the time of this claim by the store's clock, not of an earlier one or the enqueue; or 0."""
        backend = harness.open()
        backend.enqueue([s.job("a")])
        waited = []
        for _ in range(2):
            harness.advance(s.MINUTE)
            delivery = s.take_one(backend, B2)
            if delivery.claimed_ms == 0:
                return
            waited.append(delivery.claimed_ms - s.readable(delivery, B2).enqueued_ms)
            s.settled(backend, B2, s.defer(delivery))
        seen = [abs(ms - wanted) <= _SLACK for ms, wanted in zip(waited, (s.MINUTE, 2 * s.MINUTE), strict=True)]
        B2.same(seen, [True, True], f"claims one and two minutes after the enqueue, said to be after {waited} ms")

    def test_b2_a_waiting_claim_says_when_it_was_woken(self, harness: Harness) -> None:
        """`claimed_ms` is not the time at which the claim began to wait."""
        backend, producer = harness.open(), harness.open()
        s.take(backend)
        call = s.waiting(B2, lambda: s.patiently(backend))
        harness.advance(s.MINUTE)
        producer.enqueue([s.job("a")])
        (delivery,) = call.result(self.patience, B2, "a waiting claim was not woken by the message it waited for")
        waited = delivery.claimed_ms - s.readable(delivery, B2).enqueued_ms
        said = f"claimed when it was enqueued, said to be {waited} ms later"
        B2.holds(delivery.claimed_ms == 0 or abs(waited) <= _SLACK, said)
