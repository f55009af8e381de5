"""The laws about getting work in and out: B1 idempotent, B2 one holder, B3 leases end."""

from __future__ import annotations

from ...message import DEDUPE_MS, Defer, Delivery, LeaseStatus, Message, Retry, Settlement, TaskStatus
from ...protocols import Backend
from .harness import (
    MINUTE,
    Call,
    Contract,
    Harness,
    all_tasks,
    counts,
    decided,
    done,
    drain,
    extended,
    fail,
    held,
    ids_of,
    info,
    job,
    jobs,
    photo,
    readable,
    settled,
    take,
    take_one,
)
from .laws import law

B1, B2, B3 = law("B1"), law("B2"), law("B3")


def refuses_repeat(backend: Backend, when: str, message: Message | None = None) -> None:
    """B1: enqueueing the task again changes nothing."""
    __tracebackhide__ = True
    message = message or job("a")
    before = photo(backend, message.id)
    B1.same(list(backend.enqueue([message])), [False], f"a repeat counted as new {when}")
    B1.same(photo(backend, message.id), before, f"a repeat changed something {when}")


class ClaimLaws(Contract):
    """B1 to B3."""

    # B1

    def test_b1_a_new_message_is_accepted(self, harness: Harness) -> None:
        """Every new id is answered with True and can be claimed once."""
        backend = harness.open()
        B1.same(list(backend.enqueue(jobs(3))), [True, True, True], "new messages were refused")
        B1.same(ids_of(take(backend)), ["t000", "t001", "t002"], "not every message could be claimed once")

    def test_b1_a_repeat_is_refused_while_the_task_waits(self, harness: Harness) -> None:
        """A repeat is refused for a ready, a delayed and a retried task."""
        backend = harness.open()
        backend.enqueue([job("a")])
        refuses_repeat(backend, "while it was ready")
        refuses_repeat(backend, "while it was ready, with a delay", job("a", delay_ms=5_000))
        backend.enqueue([job("late", delay_ms=5_000)])
        refuses_repeat(backend, "while it was delayed", job("late"))
        settled(backend, B1, Settlement(take_one(backend, B1).receipt, Retry(5_000)))
        refuses_repeat(backend, "after a retry")

    def test_b1_a_repeat_is_refused_while_the_task_is_held(self, harness: Harness) -> None:
        """A repeat while a worker runs the task makes no second copy."""
        backend = harness.open()
        held(backend, B1)
        refuses_repeat(backend, "while it was held")

    def test_b1_a_repeat_is_refused_after_each_end(self, harness: Harness) -> None:
        """A task that is done, failed or cancelled is not run again by a repeat."""
        backend = harness.open()
        settled(backend, B1, done(held(backend, B1, "a")))
        settled(backend, B1, fail(held(backend, B1, "b")))
        backend.enqueue([job("c")])
        backend.cancel(["c"])
        for task_id, end in (("a", "done"), ("b", "buried"), ("c", "cancelled")):
            refuses_repeat(backend, f"after it was {end}", job(task_id))

    def test_b1_an_id_stays_known_for_an_hour(self, harness: Harness) -> None:
        """A short life of the record does not shorten the time in which repeats are recognised."""
        backend = harness.open(history=0)
        settled(backend, B1, done(held(backend, B1), ttl_ms=1_000))
        harness.advance(DEDUPE_MS - MINUTE)
        B1.same(list(backend.enqueue([job("a")])), [False], "the id was forgotten within the hour")
        B1.same(ids_of(take(backend)), [], "the repeat could be claimed")

    def test_b1_an_id_stays_known_as_long_as_its_record(self, harness: Harness) -> None:
        """A record that lives longer than an hour keeps its id known for as long."""
        backend = harness.open(history=0)
        settled(backend, B1, done(held(backend, B1), ttl_ms=3 * DEDUPE_MS))
        harness.advance(3 * DEDUPE_MS - MINUTE)
        B1.same(list(backend.enqueue([job("a")])), [False], "the id was forgotten before its record")

    def test_b1_an_id_stays_known_without_its_history(self, harness: Harness) -> None:
        """That the history forgets a message does not make its id new."""
        backend = harness.open(history=0)
        settled(backend, B1, done(held(backend, B1)))
        B1.same(list(backend.enqueue([job("a")])), [False], "the id was forgotten with the history")

    def test_b1_an_id_is_free_when_its_time_is_over(self, harness: Harness) -> None:
        """After the hour, or the life of the record, the id stands for another task, whatever the history shows."""
        backend = harness.open()
        first = held(backend, B1, body=b"first")
        settled(backend, B1, done(first, ttl_ms=3 * DEDUPE_MS))
        harness.advance(3 * DEDUPE_MS + MINUTE)
        self._begins_anew(backend, first)
        settled(backend, B1, done(take_one(backend, B1), ttl_ms=1_000))
        B1.same(backend.depth().ready + backend.depth().in_flight, 0, "what is left of the second task after its end")
        harness.advance(DEDUPE_MS + MINUTE)
        self._begins_anew(backend, first)
        backend.cancel(["a"])
        harness.advance(25 * DEDUPE_MS)
        self._begins_anew(backend, first)

    def _begins_anew(self, backend: Backend, first: Delivery) -> None:
        __tracebackhide__ = True
        B1.same(list(backend.enqueue([job("a", body=b"again")])), [True], "an enqueue when the time of the id was over")
        B1.same(list(backend.enqueue([job("a")])), [False], "a repeat of that enqueue")
        B1.same(list(backend.get(["a"])), [None], "the record of the new task, which nobody has begun")
        shown = info(backend, "a", B1)
        B1.same((shown.status, shown.record), (TaskStatus.PENDING, None), "what is shown of the new task")
        waiting = [task.id for task in all_tasks(backend, TaskStatus.PENDING)]
        B1.same(waiting, ["a"], "the tasks that wait")
        B1.same(list(backend.settle([done(first)])), [False], "the first task's receipt, used for the new one")
        B1.same(backend.depth().ready, 1, "how many tasks are ready")
        seen = info(backend, "a", B1).message
        B1.same(getattr(seen, "body", None), b"again", "the body of the new task")

    def test_b1_a_batch_is_checked_against_itself(self, harness: Harness) -> None:
        """The same id twice in one batch is one task, the first."""
        backend = harness.open()
        answers = backend.enqueue([job("a", body=b"first"), job("b"), job("a", body=b"second")])
        B1.same(list(answers), [True, True, False], "the answers for a batch with a repeat in it")
        bodies = [readable(delivery, B1).body for delivery in take(backend)]
        B1.same(bodies[:1], [b"first"], "the repeat replaced the first")
        B1.same(len(bodies), 2, "the repeat made another copy")

    def test_b1_an_id_known_in_one_group_is_known(self, harness: Harness) -> None:
        """A repeat is refused everywhere also when only one group still has the task."""
        one, other = harness.open("one"), harness.open("other")
        for backend in (one, other):
            take(backend)
        one.enqueue([job("a")])
        settled(one, B1, done(take_one(one, B1)))
        other.delete(["a"])
        B1.same(list(one.enqueue([job("a")])), [False], "an id that one group knows counted as new")
        B1.same(ids_of(take(other)), [], "a refused repeat was copied into a group")

    # B2

    def test_b2_what_is_held_is_not_handed_out(self, harness: Harness) -> None:
        """Neither another consumer nor the same one gets a message whose lease lasts."""
        backend, other = harness.open(), harness.open()
        held(backend, B2)
        harness.advance(harness.lease // 2)
        B2.same(ids_of(take(other, consumer="two")), [], "another consumer got a held message")
        B2.same(ids_of(take(backend)), [], "its holder got a held message once more")

    def test_b2_never_more_than_the_limit(self, harness: Harness) -> None:
        """`claim` answers at most `limit` messages, none for a limit of 0."""
        backend = harness.open()
        backend.enqueue(jobs(5))
        sizes = [len(take(backend, limit)) for limit in (0, 1, 3, 3)]
        B2.same(sizes, [0, 1, 3, 1], "messages answered for limits of 0, 1, 3, 3")

    def test_b2_first_deliveries_in_the_order_of_enqueue(self, harness: Harness) -> None:
        """Whatever the sizes of batches and claims, the first delivery of each message follows the enqueue."""
        backend = harness.open()
        messages = jobs(30)
        for start, end in ((0, 1), (1, 12), (12, 30)):
            backend.enqueue(messages[start:end])
        seen = [task_id for limit in (7, 1, 20, 5) for task_id in ids_of(take(backend, limit))]
        B2.same(seen, [message.id for message in messages], "the order of first deliveries")

    def test_b2_every_claim_has_a_new_receipt_and_a_larger_fencing_token(self, harness: Harness) -> None:
        """A return, a retry, the end of a lease, a release and a requeue all lead to a new receipt and fencing
        token."""
        backend = harness.open()
        deliveries = [held(backend, B2)]
        settled(backend, B2, Settlement(deliveries[-1].receipt, Defer()))
        deliveries.append(take_one(backend, B2))
        settled(backend, B2, Settlement(deliveries[-1].receipt, Retry()))
        deliveries.append(take_one(backend, B2))
        harness.advance(harness.lease + 1)
        deliveries.append(take_one(backend, B2))
        backend.release("one", [])
        deliveries.append(take_one(backend, B2))
        settled(backend, B2, done(deliveries[-1]))
        backend.requeue(["a"])
        deliveries.append(take_one(backend, B2))
        fences = [delivery.fence for delivery in deliveries]
        B2.same(len({delivery.receipt for delivery in deliveries}), 6, "a receipt was issued twice")
        B2.same(fences, sorted(set(fences)), "the fencing tokens of six claims, one after the other")

    def test_b2_two_workers_share_the_work(self, harness: Harness) -> None:
        """Two handles that claim at the same time get every message exactly once."""
        backend, other = harness.open(), harness.open()
        backend.enqueue(jobs(60))
        take(other, limit=1, consumer="two")
        calls = [Call(lambda: drain(backend, 3)), Call(lambda: drain(other, 3, "two"))]
        seen = [
            task_id for call in calls for task_id in ids_of(call.answer(self.patience, B2, "claim does not answer"))
        ]
        B2.same(sorted(seen), [message.id for message in jobs(60)][1:], "what two workers got together")

    def test_b2_claim_waits_no_longer_than_told(self, harness: Harness) -> None:
        """On an empty queue `claim` answers nothing once `wait` is over."""
        backend = harness.open()
        call = Call(lambda: backend.claim("one", 1, 30))
        B2.same(list(call.answer(self.patience, B2, "claim waited longer than told")), [], "claim on an empty queue")

    def test_b2_a_waiting_claim_is_woken(self, harness: Harness) -> None:
        """A message that is enqueued while a worker waits is handed to it at once."""
        backend, producer = harness.open(), harness.open()
        take(backend)
        call = Call(lambda: patiently(backend))
        call.waits()
        producer.enqueue([job("a")])
        got = call.answer(self.patience, B2, "a waiting claim was not woken by the message it waited for")
        B2.same(ids_of(got), ["a"], "what the woken claim answered")

    def test_b2_an_interrupted_claim_answers(self, harness: Harness) -> None:
        """`interrupt` ends a claim that waits in another thread."""
        backend = harness.open()
        take(backend)
        call = Call(lambda: backend.claim("one", 1, 60 * MINUTE))
        call.waits()
        backend.interrupt()
        B2.same(list(call.answer(self.patience, B2, "an interrupted claim went on waiting")), [], "its answer")

    # B3

    def test_b3_another_consumer_gets_it_after_the_lease(self, harness: Harness) -> None:
        """What its holder is silent about for a lease is handed to the next who asks."""
        backend, other = harness.open(), harness.open()
        held(backend, B3)
        harness.advance(harness.lease + 1)
        B3.same(ids_of(take(other, consumer="two")), ["a"], "another consumer claimed after the lease had ended")

    def test_b3_its_holder_gets_it_after_the_lease(self, harness: Harness) -> None:
        """A consumer that never saw the reply to its claim gets the message like anybody else."""
        backend = harness.open()
        held(backend, B3)
        harness.advance(harness.lease + 1)
        B3.same(ids_of(take(backend)), ["a"], "the consumer that held it claimed after the lease had ended")

    def test_b3_what_nobody_renews_comes_back(self, harness: Harness) -> None:
        """Renewing one message of a consumer keeps alive no other that it was handed."""
        backend = harness.open()
        seen = held(backend, B3, "seen")
        held(backend, B3, "lost-reply")
        for _ in range(2):
            harness.advance(harness.lease * 2 // 3)
            B3.same(extended(backend, seen), LeaseStatus.HELD, "the extension by the holder")
        B3.same(ids_of(take(backend)), ["lost-reply"], "what came back although its consumer renewed something else")

    def test_b3_an_ended_lease_still_settles(self, harness: Harness) -> None:
        """Until somebody else has claimed it, a late worker's result counts."""
        backend = harness.open()
        delivery = held(backend, B3)
        harness.advance(harness.lease + 1)
        B3.same(list(backend.settle([done(delivery)])), [True], "a settlement after the lease, before another claim")

    def test_b3_an_ended_lease_still_extends(self, harness: Harness) -> None:
        """Until somebody else has claimed it, a late holder can start its lease again."""
        backend, other = harness.open(), harness.open()
        delivery = held(backend, B3)
        harness.advance(harness.lease + 1)
        B3.same(extended(backend, delivery), LeaseStatus.HELD, "an extension after the lease, before another claim")
        B3.same(
            ids_of(take(other, consumer="two")), [], "a message whose lease had just been started again was claimed"
        )

    def test_b3_extensions_keep_it(self, harness: Harness) -> None:
        """A message that is extended in time is held for longer than any one lease."""
        backend, other = harness.open(), harness.open()
        delivery = held(backend, B3)
        for _ in range(4):
            harness.advance(harness.lease // 2)
            B3.same(extended(backend, delivery), LeaseStatus.HELD, "an extension in time")
            B3.same(ids_of(take(other, consumer="two")), [], "a message was claimed although it was extended in time")

    def test_b3_all_come_back(self, harness: Harness) -> None:
        """However many a vanished worker held, each comes back exactly once."""
        backend, other = harness.open(), harness.open()
        backend.enqueue(jobs(300))
        drain(backend, 150)
        harness.advance(harness.lease + 1)
        B3.same(
            sorted(ids_of(drain(other, 150, "two"))), [message.id for message in jobs(300)], "what came back of 300"
        )
        B3.same(counts(other), (0, 300, 0, 0, 0), "ready, held, delayed, failed, finished after that")

    def test_b3_a_lease_given_on_opening_holds(self, harness: Harness) -> None:
        """A handle that is opened with a lease of its own replaces the group's."""
        take(harness.open())
        backend = harness.open(lease=harness.lease * 4)
        held(backend, B3)
        harness.advance(harness.lease * 2)
        B3.same(ids_of(take(backend, consumer="two")), [], "claimed before the longer lease had ended")
        harness.advance(harness.lease * 2 + 1)
        B3.same(ids_of(take(backend, consumer="two")), ["a"], "claimed after the longer lease had ended")

    def test_b3_each_ended_lease_counts_once(self, harness: Harness) -> None:
        """Two workers that look for ended leases hand a message to one of them only."""
        backend, other = harness.open(), harness.open()
        delivery = held(backend, B3)
        harness.advance(harness.lease + 1)
        got = ids_of(take(other, consumer="two")) + ids_of(take(backend, consumer="three"))
        B3.same(got, ["a"], "what two consumers claimed after one lease had ended")
        B3.same(list(backend.settle([decided(delivery, Retry())])), [False], "the first holder's settlement after that")


def patiently(backend: Backend) -> list[Delivery]:
    """Claim until something comes; a backend may cut a long wait into shorter ones, but wait it must."""
    for _ in range(1_000):
        if found := backend.claim("one", 1, 60 * MINUTE):
            return list(found)
    return []
