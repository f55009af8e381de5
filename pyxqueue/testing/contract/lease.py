"""Leases and `extend`: B3 leases end, B6 extend never steals."""

from __future__ import annotations

from collections.abc import Callable
from threading import Barrier

from .prelude import Backend, Contract, Harness, law, m, s

B3, B6 = law("B3"), law("B6")


class LeaseLaws(Contract):
    """B3 and B6."""

    def test_b3_another_consumer_claims_it_after_the_lease(self, harness: Harness) -> None:
        """A message that its holder does not extend for a lease is handed to the next claim."""
        backend, other = harness.open(), harness.open()
        s.claimed(backend, B3)
        harness.advance(harness.lease + 1)
        s.claims(other, B3, ["a"], "another consumer claimed after the lease had ended", consumer="two")

    def test_b3_a_lease_has_ended_when_its_time_is_over(self, harness: Harness) -> None:
        """Not a millisecond later."""
        backend, other = harness.open(), harness.open()
        s.claimed(backend, B3)
        harness.advance(harness.lease)
        s.claims(other, B3, ["a"], "what could be claimed when the lease was just over", consumer="two")

    def test_b3_its_holder_claims_it_again_after_the_lease(self, harness: Harness) -> None:
        """A consumer that never saw the reply to its claim can claim the message again."""
        backend = harness.open()
        s.claimed(backend, B3)
        harness.advance(harness.lease + 1)
        s.claims(backend, B3, ["a"], "what its last holder claimed after the lease had ended")

    def test_b3_a_message_without_renewals_is_reclaimed(self, harness: Harness) -> None:
        """Renewing one message of a consumer keeps alive no other that it was handed."""
        backend = harness.open()
        seen = s.claimed(backend, B3, "seen")
        s.claimed(backend, B3, "lost-reply")
        for _ in range(2):
            harness.advance(harness.lease * 2 // 3)
            B3.same(s.extended(backend, seen), m.LeaseStatus.HELD, "the extension by the holder")
        s.claims(backend, B3, ["lost-reply"], "what came back although its consumer renewed something else")

    def test_b3_an_ended_lease_still_settles(self, harness: Harness) -> None:
        """A late worker's result counts until another worker has claimed the message."""
        backend = harness.open()
        delivery = s.claimed(backend, B3)
        harness.advance(harness.lease + 1)
        B3.same(list(backend.settle([s.done(delivery)])), [True], "a settlement after the lease, before another claim")

    def test_b3_an_ended_lease_still_extends(self, harness: Harness) -> None:
        """A late holder can extend its lease until another worker has claimed the message."""
        backend, other = harness.open(), harness.open()
        delivery = s.claimed(backend, B3)
        harness.advance(harness.lease + 1)
        B3.same(s.extended(backend, delivery), m.LeaseStatus.HELD, "an extension after the lease, before another claim")
        s.claims(other, B3, [], "a message whose lease had just been started again was claimed", consumer="two")

    def test_b3_extensions_keep_it(self, harness: Harness) -> None:
        """A message that is extended in time stays with its holder for longer than one lease."""
        backend, other = harness.open(), harness.open()
        delivery = s.claimed(backend, B3)
        for _ in range(4):
            harness.advance(harness.lease // 2)
            B3.same(s.extended(backend, delivery), m.LeaseStatus.HELD, "an extension in time")
            s.claims(other, B3, [], "a message was claimed although it was extended in time", consumer="two")

    def test_b3_every_ended_lease_is_reclaimed(self, harness: Harness) -> None:
        """However many messages a vanished worker held, each comes back exactly once."""
        backend, other = harness.open(), harness.open()
        backend.enqueue(s.jobs(300))
        s.drain(backend, 150)
        harness.advance(harness.lease + 1)
        B3.same(
            sorted(s.ids_of(s.drain(other, 150, "two"))),
            [message.id for message in s.jobs(300)],
            "what came back of 300",
        )
        s.places(other, B3, "after that", in_flight=300)

    def test_b3_a_lease_given_on_opening_holds(self, harness: Harness) -> None:
        """A handle that is opened with a lease of its own replaces the group's."""
        s.take(harness.open())
        backend = harness.open(lease=harness.lease * 4)
        s.claimed(backend, B3)
        harness.advance(harness.lease * 2)
        s.claims(backend, B3, [], "claimed before the longer lease had ended", consumer="two")
        harness.advance(harness.lease * 2 + 1)
        s.claims(backend, B3, ["a"], "claimed after the longer lease had ended", consumer="two")

    def test_b3_each_ended_lease_counts_once(self, harness: Harness) -> None:
        """Two workers that look for ended leases hand a message to one of them only."""
        backend, other = harness.open(), harness.open()
        delivery = s.claimed(backend, B3)
        harness.advance(harness.lease + 1)
        got = s.ids_of(s.take(other, consumer="two")) + s.ids_of(s.take(backend, consumer="three"))
        B3.same(got, ["a"], "what two consumers claimed after one lease had ended")
        B3.same(list(backend.settle([s.retry(delivery)])), [False], "the first holder's settlement after that")

    def test_b3_every_handle_uses_the_stored_lease(self, harness: Harness) -> None:
        """A handle that was open before the group's lease was replaced claims with the new one."""
        first, second = harness.open(), harness.open(lease=harness.lease * 4)
        B3.same(first.lease_ms(), harness.lease, "the lease")
        B3.same(second.lease_ms(), harness.lease * 4, "the lease after it was replaced")
        B3.same(first.lease_ms(), harness.lease * 4, "what the handle that was open before says it is then")
        for task_id, holder, other in (("a", first, second), ("b", second, first)):
            delivery = s.claimed(holder, B3, task_id)
            harness.advance(harness.lease * 2)
            s.claims(other, B3, [], "claimed before the stored lease had ended", consumer="two")
            s.settled(holder, B3, s.done(delivery))

    def test_b3_an_extension_is_a_whole_lease(self, harness: Harness) -> None:
        """After an extension, a whole lease passes until the message is reclaimed."""
        backend, other = harness.open(), harness.open()
        delivery = s.claimed(backend, B3)
        harness.advance(harness.lease // 2)
        s.extended(backend, delivery)
        harness.advance(harness.lease * 4 // 5)
        s.claims(other, B3, [], "claimed before a whole lease had gone by since the extension", consumer="two")

    def test_b3_a_long_lease_is_kept(self, harness: Harness) -> None:
        """A lease of two months is neither capped nor taken for one that has ended."""
        backend = harness.open(lease=s.LONG)
        delivery = s.claimed(backend, B3)
        B3.same(backend.lease_ms(), s.LONG, "the lease")
        harness.advance(s.LONG - s.MINUTE)
        s.claims(backend, B3, [], "claimed before the lease had ended", consumer="two")
        s.extended(backend, delivery)
        harness.advance(s.LONG - s.MINUTE)
        s.claims(backend, B3, [], "claimed before the extended lease had ended", consumer="two")

    def test_b3_only_an_extension_renews(self, harness: Harness) -> None:
        """A consumer that claims and settles other work keeps nothing alive that it does not extend."""
        backend, other = harness.open(), harness.open()
        busy = s.claimed(backend, B3, "busy")
        s.claimed(backend, B3, "lost-reply")
        harness.advance(harness.lease * 2 // 3)
        s.settled(backend, B3, s.done(busy))
        s.take(backend)
        harness.advance(harness.lease * 2 // 3)
        s.claims(other, B3, ["lost-reply"], "what came back of a consumer that was busy", consumer="two")

    def test_b3_two_claims_at_once_reclaim_it_once(self, harness: Harness) -> None:
        """Of two claims at the same time, one gets a message whose lease has ended."""
        backend, other = harness.open(), harness.open()
        backend.enqueue(s.jobs(40))
        s.take(backend, consumer="gone")
        harness.advance(harness.lease + 1)
        together = Barrier(2)

        def start(handle: Backend, name: str) -> s.Call[list[m.Delivery]]:
            def take_back() -> list[m.Delivery]:
                together.wait()
                return s.drain(handle, 3, name)

            return s.Call(take_back)

        calls = [start(backend, "one"), start(other, "two")]
        seen = [i for call in calls for i in s.ids_of(call.result(self.patience, B3, "claim does not return"))]
        B3.same(sorted(seen), [message.id for message in s.jobs(40)], "what two workers took back together")

    def test_b6_an_old_holder_gets_lost(self, harness: Harness) -> None:
        """A worker that extends a message that another worker holds gets LOST and changes nothing."""
        backend = harness.open()
        old, new = s.stale(backend, harness, B6, "two")
        before = s.photo(backend)
        B6.same(s.extended(backend, old, m.Progress(1)), m.LeaseStatus.LOST, "the old holder's extension")
        B6.same(s.photo(backend), before, "the old holder's extension changed something")
        B6.same(list(backend.settle([s.done(new)])), [True], "the new holder's settlement after that")

    def test_b6_the_same_consumer_has_lost_its_old_receipt(self, harness: Harness) -> None:
        """The receipt counts, not the consumer's name."""
        backend = harness.open()
        old, new = s.stale(backend, harness, B6, "one")
        B6.same(s.extended(backend, old), m.LeaseStatus.LOST, "an extension with the receipt of an earlier claim")
        B6.same(s.extended(backend, new), m.LeaseStatus.HELD, "an extension with the current receipt")

    def test_b6_an_old_holder_does_not_prolong(self, harness: Harness) -> None:
        """The extension of an old holder does not keep alive what its new holder is silent about."""
        backend = harness.open()
        old, _ = s.stale(backend, harness, B6, "two")
        harness.advance(harness.lease // 2)
        s.extended(backend, old)
        harness.advance(harness.lease // 2 + 1)
        s.claims(backend, B6, ["a"], "claimed after the new holder's lease had ended", consumer="three")

    def test_b6_an_extension_revives_no_settled_task(self, harness: Harness) -> None:
        """After any settlement, a release included, an extension is LOST and changes nothing."""

        def settle(verdict: m.Verdict) -> Callable[[Backend, m.Delivery], object]:
            return lambda backend, delivery: backend.settle([s.decided(delivery, verdict)])

        ends = {str(verdict): settle(verdict) for verdict in s.VERDICTS}
        ends["a release"] = lambda backend, _: backend.release("one", [])
        for number, (name, end) in enumerate(ends.items()):
            backend = harness.open(f"g{number}")
            delivery = s.claimed(backend, B6, f"a{number}")
            end(backend, delivery)
            before = s.photo(backend)
            B6.same(s.extended(backend, delivery, m.Progress(1)), m.LeaseStatus.LOST, f"an extension after {name}")
            B6.same(s.photo(backend), before, f"an extension after {name} changed something")

    def test_b6_the_receipt_stays(self, harness: Harness) -> None:
        """An extension changes neither the holder nor the receipt nor the message."""
        backend = harness.open()
        delivery = s.claimed(backend, B6)
        before = s.photo(backend)
        B6.same(s.extended(backend, delivery), m.LeaseStatus.HELD, "the holder's extension")
        B6.same(s.photo(backend), before, "an extension changed more than the end of the lease")
        B6.same(list(backend.settle([s.done(delivery)])), [True], "a settlement with the receipt that was extended")

    def test_b6_results_keep_the_order(self, harness: Harness) -> None:
        """In a batch every extension gets its own result, at its own place."""
        backend = harness.open()
        backend.enqueue(s.jobs(4))
        a, b, c, d = s.take_exactly(backend, 4, B6)
        s.settled(backend, B6, s.done(b))
        backend.cancel([c.message.id])
        statuses = backend.extend([m.Extension(delivery.receipt) for delivery in (a, b, c, d)])
        B6.same(
            list(statuses),
            [m.LeaseStatus.HELD, m.LeaseStatus.LOST, m.LeaseStatus.CANCEL, m.LeaseStatus.HELD],
            "the results for a mixed batch",
        )

    def test_b6_a_receipt_of_another_group_is_lost(self, harness: Harness) -> None:
        """A receipt extends nothing in a group that did not issue it."""
        one, other = s.groups(harness, "one", "other")
        delivery = s.claimed(one, B6)
        s.take_one(other, B6, "two")
        B6.same(s.extended(other, delivery), m.LeaseStatus.LOST, "an extension with the receipt of another group")

    def test_b6_a_thousand_extended_at_once(self, harness: Harness) -> None:
        """A batch larger than a page is extended whole."""
        backend = harness.open()
        s.many(backend, B6)
        deliveries = s.drain(backend, 400)
        harness.advance(harness.lease * 11 // 20)
        statuses = list(backend.extend([m.Extension(delivery.receipt) for delivery in deliveries]))
        B6.same(statuses, [m.LeaseStatus.HELD] * s.MANY, f"the statuses of {s.MANY} extensions")
        harness.advance(harness.lease * 11 // 20)
        s.claims(backend, B6, [], f"claimed although all {s.MANY} were extended", consumer="two")

    def test_b6_any_handle_extends_with_the_receipt(self, harness: Harness) -> None:
        """Any handle on the group may extend with the receipt: a supervisor does it for its workers."""
        backend, other = harness.open(), harness.open()
        delivery = s.claimed(backend, B6)
        B6.same(s.extended(other, delivery), m.LeaseStatus.HELD, "an extension over another handle")

    def test_b6_a_repeat_in_a_batch_has_its_own_status(self, harness: Harness) -> None:
        """Each extension has its own status, also if two are for one receipt."""
        backend = harness.open()
        backend.enqueue(s.jobs(2))
        a, b = s.take(backend)
        statuses = backend.extend([m.Extension(receipt) for receipt in (a.receipt, "none", a.receipt, b.receipt)])
        B6.same(
            list(statuses),
            [m.LeaseStatus.HELD, m.LeaseStatus.LOST, m.LeaseStatus.HELD, m.LeaseStatus.HELD],
            "the results for a batch with a repeat",
        )

    def test_b6_a_cancelled_task_is_kept_while_it_is_extended(self, harness: Harness) -> None:
        """An extension that returns CANCEL starts the lease again all the same."""
        backend, other = harness.open(), harness.open()
        delivery = s.claimed(backend, B6)
        backend.cancel(["a"])
        for _ in range(2):
            harness.advance(harness.lease * 2 // 3)
            B6.same(s.extended(backend, delivery), m.LeaseStatus.CANCEL, "an extension of a cancelled task")
        s.take(other, consumer="two")
        B6.same(list(backend.settle([s.done(delivery)])), [True], "the settlement of a holder that extended in time")
