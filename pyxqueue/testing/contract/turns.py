"""The two lines of ready messages: B2, in which order they are claimed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from .prelude import Backend, Contract, Harness, law, m, s

B2 = law("B2")


def come_back(backend: Backend, ids: Sequence[str]) -> None:
    """Enqueue these tasks into an empty queue and retry them, so that they have come back in this order."""
    __tracebackhide__ = True
    backend.enqueue([s.job(task_id, body=b"") for task_id in ids])
    s.settled(backend, B2, *(s.retry(delivery) for delivery in s.drain(backend, 100)))


def lined_up(backend: Backend, came_back: int, new: int) -> None:
    """Let as many tasks be ready in both lines: b000, b001, … came back, n000, n001, … are new."""
    __tracebackhide__ = True
    come_back(backend, [message.id for message in s.jobs(came_back, "b")])
    backend.enqueue(s.jobs(new, "n"))


Way = Callable[[Backend, m.Delivery, m.Delivery], object]


class TurnLaws(Contract):
    """B2."""

    def _orders(self, harness: Harness, ways: dict[str, Way], wanted: Sequence[str]) -> None:
        """Two tasks come back in each of these ways, to two new ones that are ready already; what is claimed then?"""
        __tracebackhide__ = True
        for name, way in ways.items():
            backend = harness.open(name)
            first = s.claimed(backend, B2, f"{name}-b0")
            second = s.claimed(backend, B2, f"{name}-b1", "two")
            backend.enqueue([s.job(f"{name}-n0"), s.job(f"{name}-n1")])
            way(backend, first, second)
            seen = s.ids_of(s.take(backend))
            B2.same(seen, [f"{name}-{task_id}" for task_id in wanted], f"the order after two came back: {name}")
            backend.remove_group(name)

    def test_b2_what_comes_back_is_claimed_first(self, harness: Harness) -> None:
        """Deferred, retried, released and requeued messages come before new ones that were ready already, in turns with
        them, in the order in which they came back."""
        ways: dict[str, Way] = {
            "defer": lambda backend, a, b: [backend.settle([s.defer(delivery)]) for delivery in (a, b)],
            "retry": lambda backend, a, b: [backend.settle([s.retry(delivery)]) for delivery in (a, b)],
            "batch": lambda backend, a, b: backend.settle([s.retry(a), s.defer(b)]),
            "release": lambda backend, *_: [backend.release(consumer, []) for consumer in ("one", "two")],
            "crash": lambda backend, a, b: [
                backend.release(*each) for each in (("one", [a.receipt]), ("two", [b.receipt]))
            ],
            "requeue": lambda backend, a, b: [
                backend.settle([s.fail(a), s.done(b)]),
                backend.requeue([a.message.id, b.message.id]),
            ],
        }
        self._orders(harness, ways, ["b0", "n0", "b1", "n1"])

    def test_b2_what_came_back_later_is_claimed_later(self, harness: Harness) -> None:
        """The order in which messages come back counts, not that in which they were enqueued or claimed."""
        ways: dict[str, Way] = {
            "defer": lambda backend, a, b: [backend.settle([s.defer(delivery)]) for delivery in (b, a)],
            "batch": lambda backend, a, b: backend.settle([s.defer(b), s.retry(a)]),
            "release": lambda backend, a, _: [backend.release("two", []), backend.settle([s.retry(a)])],
            "requeue": lambda backend, a, b: [
                backend.settle([s.done(a), s.fail(b)]),
                backend.requeue([b.message.id]),
                backend.requeue([a.message.id]),
            ],
        }
        self._orders(harness, ways, ["b1", "n0", "b0", "n1"])

    def test_b2_what_was_delayed_comes_back_when_it_is_due(self, harness: Harness) -> None:
        """Also a message that was delayed when it was enqueued or adopted comes before new ones, in the order in which
        they are due."""

        def due(backend: Backend) -> int:
            harness.advance(10_001)
            return backend.maintain(256)

        def enqueued(backend: Backend, *deliveries: m.Delivery) -> None:
            self._again(backend, deliveries, delay_ms=(10_000, 5_000))
            due(backend)

        def adopted(backend: Backend, *deliveries: m.Delivery) -> None:
            self._again(backend, deliveries, delay_ms=(10_000, 5_000))
            left = [s.info(backend, delivery.message.id, B2) for delivery in deliveries]
            backend.delete([task.id for task in left])
            backend.adopt(left)
            due(backend)

        ways: dict[str, Way] = {
            "retried": lambda backend, a, b: [backend.settle([s.retry(a, 10_000), s.retry(b, 5_000)]), due(backend)],
            "deferred": lambda backend, a, b: [backend.settle([s.defer(a, 10_000), s.retry(b, 5_000)]), due(backend)],
            "enqueued": enqueued,
            "adopted": adopted,
        }
        self._orders(harness, ways, ["b1", "n0", "b0", "n1"])

    @staticmethod
    def _again(backend: Backend, deliveries: Sequence[m.Delivery], delay_ms: Sequence[int]) -> None:
        """End and delete the tasks, and enqueue them again with these delays."""
        __tracebackhide__ = True
        s.settled(backend, B2, *(s.done(delivery) for delivery in deliveries))
        ids = s.ids_of(deliveries)
        backend.delete(ids)
        backend.enqueue([s.job(task_id, delay_ms=delay) for task_id, delay in zip(ids, delay_ms, strict=True)])

    def test_b2_all_that_comes_back_is_one_line(self, harness: Harness) -> None:
        """However messages came back, they are claimed in the order in which they did."""
        backend = harness.open()
        ids = ["reclaimed", "retried", "due", "released", "requeued"]
        backend.enqueue([s.job(task_id) for task_id in ids[:2]])
        _, retried = s.take_exactly(backend, 2, B2)
        released = s.claimed(backend, B2, "released", "two")
        s.settled(backend, B2, s.done(s.claimed(backend, B2, "requeued")))
        backend.enqueue([s.job("due", delay_ms=harness.lease // 2), *s.jobs(5, "n")])
        s.settled(backend, B2, s.retry(retried))
        harness.advance(harness.lease // 2 + 1)
        backend.maintain(256)
        backend.release("two", [released.receipt])
        backend.requeue(["requeued"])
        harness.advance(harness.lease // 2)
        seen = [task_id for task_id in s.ids_of(s.take(backend)) if task_id in ids]
        B2.same(seen, ["retried", "due", "released", "requeued", "reclaimed"], "the order of those that came back")

    def test_b2_what_is_reclaimed_is_claimed_first(self, harness: Harness) -> None:
        """A message whose lease has ended comes before a thousand new ones."""
        backend, other = harness.open(), harness.open()
        s.claimed(backend, B2)
        s.many(backend, B2)
        harness.advance(harness.lease + 1)
        seen = s.ids_of(s.take(other, 3, "two"))
        B2.same(seen, ["a", *s.NAMES[:2]], "what was claimed after a lease had ended")

    def test_b2_the_lines_take_turns(self, harness: Harness) -> None:
        """One that came back, a new one, and so on, whatever the sizes of the claims of a handle."""
        wanted = [f"{line}{number:03}" for number in range(6) for line in "bn"]
        for sizes in ([12], [1] * 12, [2] * 6, [3] * 4, [5, 1, 4, 2]):
            name = "-".join(map(str, sizes))
            backend = harness.open(name)
            lined_up(backend, 6, 6)
            seen = [task_id for size in sizes for task_id in s.ids_of(s.take(backend, size))]
            B2.same(seen, wanted, f"the order in claims of {sizes}")
            backend.remove_group(name)

    def test_b2_the_other_line_goes_on(self, harness: Harness) -> None:
        """When a line is empty, the other one fills the places of a claim."""
        wanted = {
            (1, 4): "b000 n000 n001 n002 n003",
            (4, 1): "b000 n000 b001 b002 b003",
            (0, 3): "n000 n001 n002",
            (3, 0): "b000 b001 b002",
        }
        for (came_back, new), order in wanted.items():
            for limit in (8, came_back + new, 3, 1):
                name = f"{came_back}-{new}-{limit}"
                backend = harness.open(name)
                lined_up(backend, came_back, new)
                batches = [" ".join(s.ids_of(s.take(backend, limit))) for _ in range(6)]
                ids = order.split()
                whole = [" ".join(ids[start : start + limit]) for start in range(0, 6 * limit, limit)]
                B2.same(batches, whole, f"what claims of {limit} return")
                backend.remove_group(name)

    def test_b2_a_handle_goes_on_after_what_came_back(self, harness: Harness) -> None:
        """After a delivery that came back, the handle's next one is new, also if no new message was ready at that time,
        and if claims without a delivery lie between."""
        backend = harness.open()
        come_back(backend, ["a", "b"])
        first, second = s.take_exactly(backend, 2, B2)
        s.claims(backend, B2, [], "claimed from an empty queue")
        s.settled(backend, B2, s.retry(first), s.retry(second))
        backend.enqueue(s.jobs(2))
        seen = [task_id for _ in range(4) for task_id in s.ids_of(s.take(backend, 1))]
        B2.same(seen, ["t000", "a", "t001", "b"], "the order after two deliveries that came back")

    def test_b2_each_handle_begins_with_what_came_back(self, harness: Harness) -> None:
        """The first delivery of a handle is one that came back, whatever other handles had before."""
        backend, other = harness.open(), harness.open()
        lined_up(backend, 3, 3)
        seen = [task_id for handle in (backend, other, other, backend) for task_id in s.ids_of(s.take(handle, 1))]
        B2.same(seen, ["b000", "b001", "n000", "n001"], "what two handles claimed, each in turns of its own")

    def test_b2_a_retry_does_not_wait_for_the_new(self, harness: Harness) -> None:
        """With a thousand new messages ready, a retry that is due is in the next claim, however small it is."""
        for delay in (0, 10_000):
            backend = harness.open(f"after-{delay}")
            delivery = s.claimed(backend, B2)
            s.many(backend, B2)
            s.settled(backend, B2, s.retry(delivery, delay))
            harness.advance(delay)
            B2.same(s.ids_of(s.take(backend, 1)), ["a"], f"what was claimed when a retry after {delay} ms was due")
            backend.remove_group(f"after-{delay}")

    def test_b2_a_storm_of_retries_starves_nobody(self, harness: Harness) -> None:
        """While every task that came back is retried again at once, every second delivery is a new one."""
        for limit in (1, 2, 5):
            name = f"of-{limit}"
            backend = harness.open(name)
            lined_up(backend, 7, 20)
            seen: list[str] = []
            while len(seen) < 40:
                deliveries = s.take(backend, limit)
                seen += s.ids_of(deliveries)
                again = [delivery.message.id.startswith("b") for delivery in deliveries]
                s.settled(
                    backend,
                    B2,
                    *(s.retry(d) if back else s.done(d) for d, back in zip(deliveries, again, strict=True)),
                )
            wanted = [f"{'bn'[i % 2]}{(i // 2) % (20 if i % 2 else 7):03}" for i in range(40)]
            B2.same(seen[:40], wanted, f"the order in claims of {limit} while seven tasks are retried again and again")
            backend.remove_group(name)

    def test_b2_what_is_adopted_and_what_follows_is_new(self, harness: Harness) -> None:
        """A ready task is new in the group that adopts it, also a retry, and so is a follow-up."""
        backend = harness.open()
        come_back(backend, ["adopted"])
        left = s.info(backend, "adopted", B2)
        backend.delete(["adopted"])
        come_back(backend, ["a", "b"])
        backend.enqueue([s.job("new")])
        backend.adopt([left])
        backend.enqueue([s.job("newer")])
        first = s.take(backend, 1)[0]
        s.settled(backend, B2, s.done(first, then=[s.job("next")]))
        s.claims(backend, B2, ["new", "b", "adopted", "newer", "next"], "the order after one that came back")

    def test_b2_what_cannot_be_read_comes_back_too(self, harness: Harness) -> None:
        """An entry that is no message is deferred as any other, and comes before new ones."""
        backend = harness.open()
        s.take(backend)
        junk = harness.inject({b"x": b"junk"})
        delivery = s.take_one(backend, B2)
        backend.enqueue(s.jobs(2))
        s.settled(backend, B2, s.defer(delivery))
        s.claims(backend, B2, [junk, "t000", "t001"], "the order after it was deferred")

    def test_b2_the_fencing_tokens_grow_from_line_to_line(self, harness: Harness) -> None:
        """However much went through the other line, the next claim of an id has a larger fencing token."""
        backend = harness.open()
        backend.enqueue([s.job(task_id, body=b"") for task_id in (*s.NAMES[:60], "a")])
        fences = []
        for turn in range(20):
            deliveries = {delivery.message.id: delivery for delivery in s.take(backend)}
            fences.append(deliveries["a"].fence)
            others = [delivery for task_id, delivery in deliveries.items() if task_id != "a"]
            s.settled(backend, B2, *(s.done(d) for d in others), s.retry(deliveries["a"]))
            if turn % 4 == 3:  # once more as a new task
                backend.delete(["a"])
                backend.enqueue([s.job("a", body=b"")])
        B2.same(fences, sorted(set(fences)), "the fencing tokens of an id, one claim after the other")

    def test_b2_each_group_has_lines_of_its_own(self, harness: Harness) -> None:
        """A message that came back in one group is new in another."""
        one, other = s.groups(harness, "one", "other")
        one.enqueue([s.job("a"), s.job("b")])
        delivery = s.take_exactly(one, 2, B2)[1]
        one.enqueue([s.job("c")])
        s.settled(one, B2, s.retry(delivery))
        B2.same(s.ids_of(s.take(other)), ["a", "b", "c"], "the order in the other group")
        s.claims(one, B2, ["b", "c"], "the order in the group of the retry")
