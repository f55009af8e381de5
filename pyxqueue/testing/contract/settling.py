"""The laws about giving work back: B4 fenced, B5 atomic, B6 extend never steals."""

from __future__ import annotations

from collections.abc import Callable

from ...message import (
    Cancelled,
    Defer,
    Delivery,
    Done,
    Extension,
    Fail,
    LeaseStatus,
    Progress,
    Record,
    Retry,
    Settlement,
    TaskStatus,
    Verdict,
)
from ...protocols import Backend
from .harness import (
    EVERY_BYTE,
    VERDICTS,
    Contract,
    Harness,
    counts,
    decided,
    done,
    drain,
    extended,
    held,
    ids_of,
    job,
    jobs,
    photo,
    readable,
    record,
    settled,
    take,
    take_exactly,
    take_one,
)
from .laws import Law, law

B4, B5, B6 = law("B4"), law("B5"), law("B6")


def refuses(backend: Backend, delivery: Delivery, when: str) -> None:
    """B4: no settlement of this delivery, whatever its verdict, is accepted or leaves a trace."""
    __tracebackhide__ = True
    before = photo(backend, "a", "follow-up")
    for verdict in VERDICTS:
        answer = list(backend.settle([decided(delivery, verdict, then=[job("follow-up")])]))
        B4.same(answer, [False], f"{verdict} was accepted {when}")
        B4.same(photo(backend, "a", "follow-up"), before, f"{verdict} was refused {when}, and still changed something")


def stale(backend: Backend, harness: Harness, law_: Law, consumer: str) -> tuple[Delivery, Delivery]:
    """A delivery whose lease ended, and the later one of the same task to `consumer`."""
    __tracebackhide__ = True
    old = held(backend, law_)
    harness.advance(harness.lease + 1)
    return old, take_one(backend, law_, consumer)


class SettleLaws(Contract):
    """B4 to B6."""

    # B4

    def test_b4_refused_after_a_takeover(self, harness: Harness) -> None:
        """Once another consumer holds the message, the first one's settlement leaves no trace."""
        backend = harness.open()
        old, _ = stale(backend, harness, B4, "two")
        refuses(backend, old, "after another consumer had taken over")

    def test_b4_refused_after_the_same_consumer_claimed_again(self, harness: Harness) -> None:
        """The fence is the claim, not the consumer's name."""
        backend = harness.open()
        old, new = stale(backend, harness, B4, "one")
        refuses(backend, old, "after the same consumer had claimed it again")
        B4.same(list(backend.settle([done(new)])), [True], "the current holder's settlement")

    def test_b4_refused_after_it_was_settled(self, harness: Harness) -> None:
        """A task ends, or goes back, once; each later settlement is refused."""
        for number, verdict in enumerate(VERDICTS):
            backend = harness.open(f"g{number}")
            delivery = held(backend, B4, f"a{number}")
            settled(backend, B4, decided(delivery, verdict))
            refuses(backend, delivery, f"after {verdict}")

    def test_b4_refused_after_a_release(self, harness: Harness) -> None:
        """What was taken back from a consumer that seemed dead is not its own any more."""
        backend = harness.open()
        delivery = held(backend, B4)
        backend.release("one", [delivery.receipt])
        refuses(backend, delivery, "after a release")

    def test_b4_refused_after_a_requeue(self, harness: Harness) -> None:
        """The holder of an earlier life of the task has no say in the next one."""
        backend = harness.open()
        delivery = held(backend, B4)
        settled(backend, B4, done(delivery))
        backend.requeue(["a"])
        refuses(backend, delivery, "after a requeue")
        take_one(backend, B4)
        refuses(backend, delivery, "after a requeue and another claim")

    def test_b4_refused_in_another_group(self, harness: Harness) -> None:
        """A receipt is worth nothing in a group that did not issue it."""
        one, other = harness.open("one"), harness.open("other")
        for backend in (one, other):
            take(backend)
        delivery = held(one, B4)
        take_one(other, B4, "two")
        refuses(other, delivery, "with the receipt of another group")

    def test_b4_refused_without_a_receipt(self, harness: Harness) -> None:
        """What was never issued as a receipt is answered with False like an old one."""
        backend = harness.open()
        held(backend, B4)
        for receipt in ("", "a", "no receipt at all"):
            refuses(backend, Delivery(job("a"), receipt, 1), f"with the receipt {receipt!r}")

    # B5

    def test_b5_done_takes_effect(self, harness: Harness) -> None:
        """After Done the record can be read, the message is in the history and the follow-up is ready."""
        backend = harness.open()
        delivery = held(backend, B5)
        settled(backend, B5, done(delivery, then=[job("next")]))
        B5.same(counts(backend), (1, 0, 0, 0, 1), "ready, held, delayed, failed, finished after Done with a follow-up")
        stored = B5.there(backend.get(["a"])[0], "there is no record after Done")
        wanted = record(delivery)
        seen = Record(stored.id, stored.status, stored.value, fence=stored.fence, worker=stored.worker)
        B5.same(seen, wanted, "the stored record")
        B5.same(ids_of(take(backend)), ["next"], "what is ready after Done with a follow-up")

    def test_b5_each_verdict_takes_effect(self, harness: Harness) -> None:
        """Each verdict puts the task into its place, and into no other."""
        places: list[tuple[Verdict, tuple[int, ...]]] = [
            (Done(), (0, 0, 0, 0, 1)),
            (Cancelled(), (0, 0, 0, 0, 1)),
            (Fail("no use"), (0, 0, 0, 1, 0)),
            (Retry(), (1, 0, 0, 0, 0)),
            (Defer(), (1, 0, 0, 0, 0)),
            (Retry(5_000), (0, 0, 1, 0, 0)),
            (Defer(5_000), (0, 0, 1, 0, 0)),
        ]
        backend = harness.open("g")
        for number, (verdict, place) in enumerate(places):
            delivery = held(backend, B5, f"a{number}")
            settled(backend, B5, decided(delivery, verdict))
            B5.same(counts(backend), place, f"ready, held, delayed, failed, finished after {verdict}")
            take(backend)
            backend.release("one", [])
            backend.delete([f"a{number}"])

    def test_b5_a_record_is_made_where_none_is_given(self, harness: Harness) -> None:
        """A task that ended has a record, also if nobody described its end."""
        backend = harness.open()
        ends: list[tuple[Verdict, TaskStatus]] = [
            (Done(), TaskStatus.SUCCESS),
            (Fail("no use"), TaskStatus.FAILURE),
            (Cancelled(), TaskStatus.CANCELLED),
        ]
        for verdict, status in ends:
            task_id = status.name
            settled(backend, B5, Settlement(held(backend, B5, task_id).receipt, verdict))
            stored = B5.there(backend.get([task_id])[0], f"there is no record after {verdict}")
            B5.same(stored.status, status, f"the status in the record that was made for {verdict}")
        failure = B5.there(backend.get(["FAILURE"])[0], "there is no record")
        B5.same(
            failure.error and failure.error.message, "no use", "the reason in the record that was made for a failure"
        )

    def test_b5_items_are_independent(self, harness: Harness) -> None:
        """In a batch the good ones are applied, the others refused, and the answers keep the order."""
        backend = harness.open()
        backend.enqueue(jobs(5))
        a, b, c, d, e = take_exactly(backend, 5, B5)
        settled(backend, B5, done(b), done(d))
        batch = [decided(a, Retry()), done(b), done(c), decided(d, Fail("late")), decided(e, Fail("no use"))]
        B5.same(list(backend.settle(batch)), [True, False, True, False, True], "the answers for a mixed batch")
        B5.same(counts(backend), (1, 0, 0, 1, 3), "ready, held, delayed, failed, finished after a mixed batch")

    def test_b5_a_repeat_within_a_batch_is_refused(self, harness: Harness) -> None:
        """Of two settlements of one delivery in one batch the first counts."""
        backend = harness.open()
        delivery = held(backend, B5)
        batch = [done(delivery), decided(delivery, Retry())]
        B5.same(list(backend.settle(batch)), [True, False], "two settlements of one delivery in one batch")
        B5.same(counts(backend), (0, 0, 0, 0, 1), "ready, held, delayed, failed, finished after them")

    def test_b5_a_large_batch_is_applied_whole(self, harness: Harness) -> None:
        """A batch larger than any inner limit is answered item by item, all of it."""
        backend = harness.open(history=1_000)
        backend.enqueue(jobs(300))
        deliveries = drain(backend, 100)
        B5.same(list(backend.settle([done(delivery) for delivery in deliveries])), [True] * 300, "300 answers")
        B5.same(counts(backend), (0, 0, 0, 0, 300), "ready, held, delayed, failed, finished after 300 were done")

    def test_b5_follow_ups_are_idempotent(self, harness: Harness) -> None:
        """A follow-up that two tasks ask for, or that is known already, is enqueued once."""
        backend = harness.open()
        a, b = held(backend, B5, "a"), held(backend, B5, "b")
        known = held(backend, B5, "known")
        settled(backend, B5, done(a, then=[job("next"), job("known")]), done(b, then=[job("next")]))
        B5.same(counts(backend), (1, 1, 0, 0, 2), "ready, held, delayed, failed, finished after equal follow-ups")
        settled(backend, B5, done(known, then=[job("known")]))
        B5.same(ids_of(take(backend)), ["next"], "the follow-ups that could be claimed")

    def test_b5_follow_ups_are_whole_messages(self, harness: Harness) -> None:
        """Follow-ups come out as they went in, in their order and not before they are due."""
        backend = harness.open()
        then = [job("x", headers={"k": "v"}), job("y"), job("z", delay_ms=5_000)]
        settled(backend, B5, done(held(backend, B5), then=then))
        first, second = take_exactly(backend, 2, B5)
        seen = [
            (message.id, message.body, dict(message.headers)) for message in (readable(first, B5), readable(second, B5))
        ]
        B5.same(seen, [("x", EVERY_BYTE, {"k": "v"}), ("y", EVERY_BYTE, {})], "the follow-ups that are not delayed")
        harness.advance(5_001)
        B5.same(ids_of(take(backend)), ["z"], "the delayed follow-up once it was due")

    def test_b5_a_refused_item_spoils_no_follow_up(self, harness: Harness) -> None:
        """Follow-ups go with their own settlement: those of a refused neighbour are not enqueued."""
        backend = harness.open()
        old, new = stale(backend, harness, B5, "two")
        batch = [done(old, then=[job("of-old")]), done(new, then=[job("of-new")])]
        B5.same(list(backend.settle(batch)), [False, True], "the old holder's settlement and the new one's")
        B5.same(ids_of(take(backend)), ["of-new"], "the follow-ups of the two")

    # B6

    def test_b6_an_old_holder_is_told_that_it_lost(self, harness: Harness) -> None:
        """A woken worker that extends what somebody else holds gets LOST and takes nothing."""
        backend = harness.open()
        old, new = stale(backend, harness, B6, "two")
        before = photo(backend)
        B6.same(extended(backend, old, Progress(1)), LeaseStatus.LOST, "the old holder's extension")
        B6.same(photo(backend), before, "the old holder's extension changed something")
        B6.same(list(backend.settle([done(new)])), [True], "the new holder's settlement after that")

    def test_b6_the_same_consumer_has_lost_its_old_receipt(self, harness: Harness) -> None:
        """Not the name of the consumer decides, but the claim."""
        backend = harness.open()
        old, new = stale(backend, harness, B6, "one")
        B6.same(extended(backend, old), LeaseStatus.LOST, "an extension with the receipt of an earlier claim")
        B6.same(extended(backend, new), LeaseStatus.HELD, "an extension with the current receipt")

    def test_b6_an_old_holder_does_not_prolong(self, harness: Harness) -> None:
        """The extension of an old holder does not keep alive what its new holder is silent about."""
        backend = harness.open()
        old, _ = stale(backend, harness, B6, "two")
        harness.advance(harness.lease // 2)
        extended(backend, old)
        harness.advance(harness.lease // 2 + 1)
        B6.same(ids_of(take(backend, consumer="three")), ["a"], "claimed after the new holder's lease had ended")

    def test_b6_nothing_settled_is_revived(self, harness: Harness) -> None:
        """After any settlement, a release included, an extension is LOST and changes nothing."""

        def settle(verdict: Verdict) -> Callable[[Backend, Delivery], object]:
            return lambda backend, delivery: backend.settle([decided(delivery, verdict)])

        ends = {str(verdict): settle(verdict) for verdict in VERDICTS}
        ends["a release"] = lambda backend, _: backend.release("one", [])
        for number, (name, end) in enumerate(ends.items()):
            backend = harness.open(f"g{number}")
            delivery = held(backend, B6, f"a{number}")
            end(backend, delivery)
            before = photo(backend)
            B6.same(extended(backend, delivery, Progress(1)), LeaseStatus.LOST, f"an extension after {name}")
            B6.same(photo(backend), before, f"an extension after {name} changed something")

    def test_b6_the_receipt_stays(self, harness: Harness) -> None:
        """An extension changes neither the holder nor the receipt nor the message."""
        backend = harness.open()
        delivery = held(backend, B6)
        before = photo(backend)
        B6.same(extended(backend, delivery), LeaseStatus.HELD, "the holder's extension")
        B6.same(photo(backend), before, "an extension changed more than the end of the lease")
        B6.same(list(backend.settle([done(delivery)])), [True], "a settlement with the receipt that was extended")

    def test_b6_answers_keep_the_order(self, harness: Harness) -> None:
        """In a batch every extension gets its own answer, at its own place."""
        backend = harness.open()
        backend.enqueue(jobs(4))
        a, b, c, d = take_exactly(backend, 4, B6)
        settled(backend, B6, done(b))
        backend.cancel([c.message.id])
        answers = backend.extend([Extension(delivery.receipt) for delivery in (a, b, c, d)])
        B6.same(
            list(answers),
            [LeaseStatus.HELD, LeaseStatus.LOST, LeaseStatus.CANCEL, LeaseStatus.HELD],
            "the answers for a mixed batch",
        )

    def test_b6_lost_in_another_group(self, harness: Harness) -> None:
        """A receipt extends nothing in a group that did not issue it."""
        one, other = harness.open("one"), harness.open("other")
        for backend in (one, other):
            take(backend)
        delivery = held(one, B6)
        take_one(other, B6, "two")
        B6.same(extended(other, delivery), LeaseStatus.LOST, "an extension with the receipt of another group")
