"""`settle`: B4 fenced, B5 atomic."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...model.message import evolve
from .prelude import Backend, Contract, Harness, law, m, s

B4, B5 = law("B4"), law("B5")


def refuses(backend: Backend, delivery: m.Delivery, when: str) -> None:
    """B4: no settlement of this delivery, whatever its verdict, is accepted or leaves a trace."""
    __tracebackhide__ = True
    before = s.photo(backend, "a", "follow-up")
    for verdict in s.VERDICTS:
        accepted = list(backend.settle([s.decided(delivery, verdict, then=[s.job("follow-up")])]))
        B4.same(accepted, [False], f"{verdict} was accepted {when}")
        B4.same(
            s.photo(backend, "a", "follow-up"), before, f"{verdict} was refused {when}, and still changed something"
        )


class SettleLaws(Contract):
    """B4 and B5."""

    def test_b4_refused_after_a_takeover(self, harness: Harness) -> None:
        """Once another consumer holds the message, the first one's settlement leaves no trace."""
        backend = harness.open()
        old, _ = s.stale(backend, harness, B4, "two")
        refuses(backend, old, "after another consumer had taken over")

    def test_b4_refused_after_the_same_consumer_claimed_again(self, harness: Harness) -> None:
        """The fence is the claim, not the consumer's name."""
        backend = harness.open()
        old, new = s.stale(backend, harness, B4, "one")
        refuses(backend, old, "after the same consumer had claimed it again")
        B4.same(list(backend.settle([s.done(new)])), [True], "the current holder's settlement")

    def test_b4_refused_after_it_was_settled(self, harness: Harness) -> None:
        """After each verdict, a second settlement of the delivery is refused."""
        for number, verdict in enumerate(s.VERDICTS):
            backend = harness.open(f"g{number}")
            delivery = s.claimed(backend, B4, f"a{number}")
            s.settled(backend, B4, s.decided(delivery, verdict))
            refuses(backend, delivery, f"after {verdict}")

    def test_b4_refused_after_a_release(self, harness: Harness) -> None:
        """After a release, the settlements of the consumer that was released are refused."""
        backend = harness.open()
        delivery = s.claimed(backend, B4)
        backend.release("one", [delivery.receipt])
        refuses(backend, delivery, "after a release")

    def test_b4_refused_after_a_requeue(self, harness: Harness) -> None:
        """A receipt from before a requeue is not valid after it."""
        backend = harness.open()
        delivery = s.claimed(backend, B4)
        s.settled(backend, B4, s.done(delivery))
        backend.requeue(["a"])
        refuses(backend, delivery, "after a requeue")
        s.take_one(backend, B4)
        refuses(backend, delivery, "after a requeue and another claim")

    def test_b4_refused_in_another_group(self, harness: Harness) -> None:
        """A receipt is valid only in the group that issued it."""
        one, other = s.groups(harness, "one", "other")
        delivery = s.claimed(one, B4)
        s.take_one(other, B4, "two")
        refuses(other, delivery, "with the receipt of another group")

    def test_b4_refused_without_a_receipt(self, harness: Harness) -> None:
        """A receipt that was never issued is refused like an old one."""
        backend = harness.open()
        s.claimed(backend, B4)
        for receipt in ("", "a", "no receipt at all"):
            refuses(backend, m.Delivery(s.job("a"), receipt, 1), f"with the receipt {receipt!r}")

    def test_b4_refused_after_the_id_was_enqueued_again(self, harness: Harness) -> None:
        """After its task was deleted and enqueued again, the receipt of the old task is refused."""
        backend = harness.open()
        old = s.claimed(backend, B4)
        backend.release("one", [])
        backend.delete(["a"])
        if not any(backend.enqueue([s.job("a")])):
            return  # whether the id of a deleted task is still known is left open
        s.take_one(backend, B4)
        before = s.photo(backend)
        B4.same(list(backend.settle([s.done(old)])), [False], "the settlement of a holder from before a deletion")
        B4.same(s.photo(backend), before, "a refused settlement changed something")

    def test_b4_two_settle_at_once(self, harness: Harness) -> None:
        """When two handles settle the same deliveries at the same time, each is accepted once."""
        backend, other = harness.open(), harness.open()
        backend.enqueue(s.jobs(40))
        deliveries = s.take(backend)
        s.once_each(
            B4, self.patience, (backend, other), lambda handle, one: handle.settle([s.done(one)])[0], deliveries
        )
        s.places(backend, B4, "after it", history=40)

    def test_b4_any_handle_settles_with_the_receipt(self, harness: Harness) -> None:
        """Any handle on the group may settle with the receipt."""
        backend, other = harness.open(), harness.open()
        delivery = s.claimed(backend, B4)
        B4.same(list(other.settle([s.done(delivery)])), [True], "a settlement over another handle")
        B4.same(list(backend.settle([s.done(delivery)])), [False], "its repeat over the first one")

    def test_b5_done_takes_effect(self, harness: Harness) -> None:
        """After Done the record can be read, the message is in the history and the follow-up is ready."""
        backend = harness.open()
        delivery = s.claimed(backend, B5)
        s.settled(backend, B5, s.done(delivery, then=[s.job("next")]))
        s.places(backend, B5, "after Done with a follow-up", ready=1, history=1)
        stored = B5.there(backend.wait(["a"], 0)[0], "the record is missing after Done")
        wanted = s.record(delivery)
        seen = m.Record(stored.id, stored.status, stored.value, fence=wanted.fence, worker=stored.worker)
        B5.same(seen, wanted, "the stored record")
        s.claims(backend, B5, ["next"], "what is ready after Done with a follow-up")

    def test_b5_each_verdict_takes_effect(self, harness: Harness) -> None:
        """Each verdict puts the task into its place, and into no other."""
        places: list[tuple[m.Verdict, str]] = [
            (m.Done(), "history"),
            (m.Cancelled(), "history"),
            (m.Fail("no use"), "failed"),
            (m.Retry(), "ready"),
            (m.Defer(), "ready"),
            (m.Retry(5_000), "delayed"),
            (m.Defer(5_000), "delayed"),
        ]
        backend = harness.open("g")
        for number, (verdict, place) in enumerate(places):
            delivery = s.claimed(backend, B5, f"a{number}")
            s.settled(backend, B5, s.decided(delivery, verdict))
            s.places(backend, B5, f"after {verdict}", **{place: 1})
            s.take(backend)
            backend.release("one", [])
            backend.delete([f"a{number}"])

    def test_b5_a_settlement_without_a_record_makes_one(self, harness: Harness) -> None:
        """A task that ended has a record, also if its settlement had none."""
        backend = harness.open()
        ends: list[tuple[m.Verdict, m.TaskStatus]] = [
            (m.Done(), m.TaskStatus.SUCCESS),
            (m.Fail("no use"), m.TaskStatus.FAILURE),
            (m.Cancelled(), m.TaskStatus.CANCELLED),
        ]
        for verdict, status in ends:
            task_id = status.name
            s.settled(backend, B5, m.Settlement(s.claimed(backend, B5, task_id).receipt, verdict))
            stored = B5.there(backend.wait([task_id], 0)[0], f"the record is missing after {verdict}")
            B5.same(stored.status, status, f"the status in the record that was made for {verdict}")
        failure = B5.there(backend.wait(["FAILURE"], 0)[0], "the record is missing")
        B5.same(
            failure.error and failure.error.message, "no use", "the reason in the record that was made for a failure"
        )

    def test_b5_a_record_that_the_store_creates_has_the_attempt(self, harness: Harness) -> None:
        """However a task ends without a record, the store's record has its attempt, and the fencing token 0."""
        backend = harness.open()

        def settle(delivery: m.Delivery, verdict: m.Verdict) -> Sequence[bool]:
            return backend.settle([m.Settlement(delivery.receipt, verdict)])

        ends: dict[str, Callable[[m.Delivery], object]] = {
            "done": lambda delivery: settle(delivery, m.Done()),
            "failed": lambda delivery: settle(delivery, m.Fail("no use")),
            "stopped": lambda delivery: settle(delivery, m.Cancelled()),
            "cancelled while ready": lambda _: (backend.release("one", []), backend.cancel(["a"])),
            "cancelled while delayed": lambda delivery: (settle(delivery, m.Defer(5_000)), backend.cancel(["a"])),
            "released after a cancellation": lambda _: (backend.cancel(["a"]), backend.release("one", [])),
            "reclaimed after a cancellation": lambda _: (backend.cancel(["a"]), s.after_a_lease(backend, harness)),
        }
        for end, act in ends.items():
            s.settled(backend, B5, s.retry(s.claimed(backend, B5)))
            act(s.take_one(backend, B5))
            stored = B5.there(backend.wait(["a"], 0)[0], f"the record of a task that was {end} is missing")
            B5.same(stored.attempt, 2, f"the attempt in the record of a task that was {end}")
            B5.same(stored.fence, 0, f"the fencing token in the record that the store made of a task that was {end}")
            backend.delete(["a"])

    def test_b5_a_record_that_the_store_creates_has_the_holder(self, harness: Harness) -> None:
        """The worker in it is the holder whose task ended; a task that ends while it waits has none."""
        backend = harness.open()

        def settle(delivery: m.Delivery, verdict: m.Verdict) -> Sequence[bool]:
            return backend.settle([m.Settlement(delivery.receipt, verdict)])

        ends: dict[str, tuple[str, Callable[[m.Delivery], object]]] = {
            "done": ("two", lambda delivery: settle(delivery, m.Done())),
            "failed": ("two", lambda delivery: settle(delivery, m.Fail("no use"))),
            "stopped": ("two", lambda delivery: settle(delivery, m.Cancelled())),
            "retried-when-cancelled": ("two", lambda delivery: (backend.cancel(["a"]), settle(delivery, m.Retry()))),
            "released-when-cancelled": ("two", lambda _: (backend.cancel(["a"]), backend.release("two", []))),
            "reclaimed-when-cancelled": ("two", lambda _: (backend.cancel(["a"]), s.after_a_lease(backend, harness))),
            "cancelled-while-ready": ("", lambda _: (backend.release("two", []), backend.cancel(["a"]))),
            "cancelled-while-delayed": ("", lambda delivery: (settle(delivery, m.Retry(5_000)), backend.cancel(["a"]))),
        }
        for end, (worker, act) in ends.items():
            act(s.claimed(backend, B5, consumer="two"))
            stored = B5.there(backend.wait(["a"], 0)[0], f"the record of a task that was {end} is missing")
            B5.same(stored.worker, worker, f"the worker in the record of a task that was {end}")
            backend.delete(["a"])

    def test_b5_a_record_is_stored_only_with_an_end(self, harness: Harness) -> None:
        """A record that comes with a retry or a deferral is not stored."""
        backend = harness.open()
        for verdict in (m.Retry(), m.Retry(5_000), m.Defer(), m.Defer(5_000)):
            delivery = s.claimed(backend, B5)
            s.settled(backend, B5, m.Settlement(delivery.receipt, verdict, s.record(delivery)))
            B5.same(list(backend.wait(["a"], 0)), [None], f"the record after {verdict}")
            B5.same(s.info(backend, "a", B5).record, None, f"the record that is shown after {verdict}")
            backend.delete(["a"])

    def test_b5_items_are_independent(self, harness: Harness) -> None:
        """In a batch each settlement is accepted or refused by itself, and the results keep the order."""
        backend = harness.open()
        backend.enqueue(s.jobs(5))
        a, b, c, d, e = s.take_exactly(backend, 5, B5)
        s.settled(backend, B5, s.done(b), s.done(d))
        batch = [
            s.retry(a),
            s.done(b),
            s.done(c),
            s.decided(d, m.Fail("late")),
            s.decided(e, m.Fail("no use")),
        ]
        B5.same(list(backend.settle(batch)), [True, False, True, False, True], "the results for a mixed batch")
        s.places(backend, B5, "after a mixed batch", ready=1, failed=1, history=3)

    def test_b5_a_repeat_within_a_batch_is_refused(self, harness: Harness) -> None:
        """Of two settlements of one delivery in one batch the first counts."""
        backend = harness.open()
        delivery = s.claimed(backend, B5)
        batch = [s.done(delivery), s.retry(delivery)]
        B5.same(list(backend.settle(batch)), [True, False], "two settlements of one delivery in one batch")
        s.places(backend, B5, "after them", history=1)

        other = s.claimed(backend, B5, "other")
        batch = [s.retry(other), s.done(other)]
        B5.same(list(backend.settle(batch)), [True, False], "the same in the other order")
        s.places(backend, B5, "after a retry, with an end behind it", ready=1, history=1)

    def test_b5_a_large_batch_is_applied_whole(self, harness: Harness) -> None:
        """A batch larger than any inner limit returns one value for each item."""
        backend = harness.open(history=1_000)
        backend.enqueue(s.jobs(300))
        deliveries = s.drain(backend, 100)
        B5.same(
            list(backend.settle([s.done(delivery) for delivery in deliveries])),
            [True] * 300,
            "the results for 300 settlements",
        )
        s.places(backend, B5, "after 300 were done", history=300)

    def test_b5_follow_ups_are_idempotent(self, harness: Harness) -> None:
        """A follow-up that two tasks ask for, or that is known already, is enqueued once."""
        backend = harness.open()
        a, b = s.claimed(backend, B5, "a"), s.claimed(backend, B5, "b")
        known = s.claimed(backend, B5, "known")
        s.settled(backend, B5, s.done(a, then=[s.job("next"), s.job("known")]), s.done(b, then=[s.job("next")]))
        s.places(backend, B5, "after equal follow-ups", ready=1, in_flight=1, history=2)
        s.settled(backend, B5, s.done(known, then=[s.job("known")]))
        s.claims(backend, B5, ["next"], "the follow-ups that could be claimed")

    def test_b5_follow_ups_are_whole_messages(self, harness: Harness) -> None:
        """Follow-ups come out as they went in, in their order and not before they are due."""
        backend = harness.open()
        then = [s.job("x", headers={"k": "v"}), s.job("y"), s.job("z", delay_ms=5_000)]
        s.settled(backend, B5, s.done(s.claimed(backend, B5), then=then))
        first, second = s.take_exactly(backend, 2, B5)
        seen = [
            (message.id, message.body, dict(message.headers))
            for message in (s.readable(first, B5), s.readable(second, B5))
        ]
        B5.same(seen, [("x", s.EVERY_BYTE, {"k": "v"}), ("y", s.EVERY_BYTE, {})], "the follow-ups that are not delayed")
        harness.advance(5_001)
        s.claims(backend, B5, ["z"], "the delayed follow-up once it was due")

    def test_b5_a_refused_item_does_not_affect_other_follow_ups(self, harness: Harness) -> None:
        """Follow-ups go with their own settlement: those of a refused neighbour are not enqueued."""
        backend = harness.open()
        old, new = s.stale(backend, harness, B5, "two")
        batch = [s.done(old, then=[s.job("of-old")]), s.done(new, then=[s.job("of-new")])]
        B5.same(list(backend.settle(batch)), [False, True], "the old holder's settlement and the new one's")
        s.claims(backend, B5, ["of-new"], "the follow-ups of the two")

    def test_b5_every_verdict_enqueues_its_follow_ups(self, harness: Harness) -> None:
        """Follow-ups are enqueued with a retry or a failure as with an end, each once."""
        backend = harness.open()
        for number, verdict in enumerate(s.VERDICTS):
            delivery, name = s.claimed(backend, B5, f"a{number}"), f"next{number}"
            then = [s.job(name, body=b"first"), s.job(name, body=b"second")]
            s.settled(backend, B5, s.decided(delivery, verdict, then))
            message = B5.there(backend.show([name])[0], f"the follow-up of {verdict} is not known").message
            body = message.body if isinstance(message, m.Message) else message
            B5.same(body, b"first", f"the body of a follow-up that {verdict} asked for twice")
            s.take(backend)
            backend.release("one", [])
            backend.delete([f"a{number}", name])

    def test_b5_the_store_stamps_the_record(self, harness: Harness) -> None:
        """The store sets `ended_ms`, whatever a worker has written there."""
        backend = harness.open()
        s.settled(backend, B5, s.done(s.claimed(backend, B5, "a")), s.done(s.claimed(backend, B5, "b"), ended_ms=5))
        a, b = (B5.there(record, "the record is missing").ended_ms for record in backend.wait(["a", "b"], 0))
        B5.holds(0 <= b - a < s.MINUTE, f"two tasks that ended together are stamped {a} and {b}")

    def test_b5_accepts_an_empty_batch(self, harness: Harness) -> None:
        """An empty batch returns an empty result and changes nothing."""
        backend = harness.open()
        s.claimed(backend, B5)
        before = s.photo(backend)
        results = [list(backend.enqueue([])), list(backend.settle([])), list(backend.extend([]))]
        B5.same(results, [[], [], []], "the results for empty batches")
        B5.same(s.photo(backend), before, "an empty batch changed something")

    def test_b5_a_visible_record_means_all_is_applied(self, harness: Harness) -> None:
        """A caller woken by the end of a task finds it ended and its follow-up ready."""
        backend, watcher = harness.open(), harness.open()
        delivery = s.claimed(backend, B5)
        call = s.waiting(B5, lambda: (watcher.wait(["a"], None), watcher.depth()))
        s.settled(backend, B5, s.done(delivery, then=[s.job("next")]))
        _, seen = call.result(self.patience, B5, "wait was not woken by a settlement")
        places = (seen.ready, seen.in_flight, seen.history)
        B5.same(places, (1, 0, 1), "how many were ready, in flight and in the history once the record could be read")

    def test_b5_a_thousand_settled_at_once(self, harness: Harness) -> None:
        """A batch larger than a page is settled whole, and so are many follow-ups of one task."""
        backend = harness.open(history=2 * s.MANY)
        s.many(backend, B5)
        accepted = backend.settle([s.done(delivery, value=b"v") for delivery in s.drain(backend, 400)])
        B5.same(list(accepted), [True] * s.MANY, f"the results for {s.MANY} settlements")
        B5.same(backend.wait(s.NAMES, 0).count(None), 0, f"how many of {s.MANY} records are missing")
        s.settled(backend, B5, s.done(s.claimed(backend, B5, "last"), then=s.jobs(s.MANY, "then", body=b"")))
        s.places(backend, B5, "after all of it", ready=s.MANY, history=s.MANY + 1)

    def test_b5_follow_ups_keep_their_header(self, harness: Harness) -> None:
        """Every part of a follow-up comes out as it went in, and the store stamps it like any message."""
        backend = harness.open()
        s.settled(backend, B5, s.done(s.claimed(backend, B5), then=[s.RICH]))
        message = s.readable(s.take_one(backend, B5), B5)
        B5.same(evolve(message, enqueued_ms=0, due_ms=0), s.RICH, "a follow-up")
        B5.holds(message.enqueued_ms > 0, "the store did not stamp the time at which it accepted a follow-up")

    def test_b5_a_cancelled_task_ends_as_its_holder_says(self, harness: Harness) -> None:
        """Its holder's verdict takes effect as any other, follow-ups included."""
        backend = harness.open()
        a, b = s.claimed(backend, B5, "a"), s.claimed(backend, B5, "b")
        backend.cancel(["a", "b"])
        s.settled(backend, B5, s.done(a, then=[s.job("next")]), s.fail(b))
        s.places(backend, B5, ready=1, failed=1, history=1)
        B5.same(s.info(backend, "b", B5).status, m.TaskStatus.FAILURE, "the status of a cancelled task that failed")
