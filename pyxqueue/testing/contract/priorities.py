"""The priority classes: B2, of which class the ready messages are that are claimed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...model.priorities import class_of
from ...model.turns import BY_AGE
from .prelude import Backend, Contract, Harness, law, m, s

B2, B11 = law("B2"), law("B11")
I1, I3, I4, I5 = law("I1"), law("I3"), law("I4"), law("I5")

PRIORITIES = (100, 50, 49, 1, 0, -1, -49, -50, -100)
"""Both ends of each class, the highest first."""


def waiting(backend: Backend, *priorities: int, prefix: str = "p") -> None:
    """Enqueue a task for each of these priorities, named after it, in one batch."""
    __tracebackhide__ = True
    backend.enqueue([s.job(f"{prefix}{priority}", priority=priority, body=b"") for priority in priorities])


def in_sizes(backend: Backend, sizes: Sequence[int]) -> list[str]:
    """The ids that claims of these sizes return."""
    return [task_id for size in sizes for task_id in s.ids_of(s.take(backend, size))]


Way = Callable[[Backend, m.Delivery], object]


class PriorityLaws(Contract):
    """B2."""

    def test_b2_the_highest_class_is_claimed_first(self, harness: Harness) -> None:
        """Whatever the order in which they became ready, and however they are enqueued."""
        backend = harness.open()
        waiting(backend, -50, 0, 1, 50)
        waiting(backend, -1)
        backend.enqueue([s.job("alone", priority=-49)])
        wanted = ["p50", "p1", "p0", "p-1", "alone", "p-50"]
        B2.same(in_sizes(backend, [2, 1, 10]), wanted, "the order of six tasks in five classes")

    def test_b2_within_a_class_the_first_is_first(self, harness: Harness) -> None:
        """The priority decides the class, and nothing within it."""
        for first, second in ((50, 100), (1, 49), (-49, -1), (-100, -50)):
            B2.same(class_of(first), class_of(second), "the class")
            for order in ((first, second), (second, first)):
                name = "-then-".join(str(priority).replace("-", "m") for priority in order)
                backend = harness.open(name)
                waiting(backend, *order, prefix=f"{name}.")
                wanted = [f"{name}.{priority}" for priority in order]
                B2.same(s.ids_of(s.take(backend)), wanted, "the order within a class")
                backend.remove_group(name)

    def test_b2_a_class_ends_where_the_law_says(self, harness: Harness) -> None:
        """The two priorities on both sides of a border are of different classes."""
        for lower, higher in ((49, 50), (0, 1), (-1, 0), (-50, -49)):
            name = f"{lower}.{higher}".replace("-", "m")
            backend = harness.open(name)
            waiting(backend, lower, higher, prefix=f"{name}.")
            wanted = [f"{name}.{higher}", f"{name}.{lower}"]
            B2.same(in_sizes(backend, [1, 1]), wanted, "the order of two classes")
            backend.remove_group(name)

    def test_b2_a_task_keeps_its_class(self, harness: Harness) -> None:
        """However it comes back, it is before all of a lower class and behind all of a higher one."""

        def due(backend: Backend, delivery: m.Delivery, verdict: Callable[[m.Delivery, int], m.Settlement]) -> None:
            s.settled(backend, B2, verdict(delivery, 10_000))
            harness.advance(10_001)
            backend.maintain(256)

        def moved(backend: Backend, delivery: m.Delivery) -> None:
            s.settled(backend, B2, s.retry(delivery))
            left = s.info(backend, delivery.message.id, B2)
            backend.delete([delivery.message.id])
            backend.adopt([left])

        def ended(verdict: Callable[[m.Delivery], m.Settlement]) -> Way:
            def requeued(backend: Backend, delivery: m.Delivery) -> None:
                s.settled(backend, B2, verdict(delivery))
                backend.requeue([delivery.message.id])

            return requeued

        ways: dict[str, Way] = {
            "retried": lambda backend, delivery: s.settled(backend, B2, s.retry(delivery)),
            "deferred": lambda backend, delivery: s.settled(backend, B2, s.defer(delivery)),
            "retried-later": lambda backend, delivery: due(backend, delivery, s.retry),
            "deferred-later": lambda backend, delivery: due(backend, delivery, s.defer),
            "released": lambda backend, _: backend.release("one", []),
            "crashed": lambda backend, delivery: backend.release("one", [delivery.receipt]),
            "reclaimed": lambda *_: harness.advance(harness.lease + 1),
            "failed": ended(s.fail),
            "done": ended(s.done),
            "moved": moved,
        }
        for priority in (77, 7, 0, -7, -77):
            for name, way in ways.items():
                group = f"{name}.{priority}".replace("-", "m")
                backend = harness.open(group)
                delivery = s.claimed(backend, B2, group, priority=priority)
                waiting(backend, *PRIORITIES, prefix=f"{group}.")
                way(backend, delivery)
                classes = [class_of(each) for each in PRIORITIES]
                seen = s.ids_of(s.take(backend, len(PRIORITIES) + 1, "two"))
                before = classes.index(class_of(priority))
                behind = before + classes.count(class_of(priority))
                B2.holds(
                    group in seen[before : behind + 1], f"a task of {priority} was {name}, and the order is {seen}"
                )
                backend.remove_group(group)

    def test_b2_a_delayed_task_has_its_class_when_it_is_due(self, harness: Harness) -> None:
        """Also if it was delayed when it was enqueued or adopted, or is a follow-up."""
        backend = harness.open()
        first = s.claimed(backend, B2, "first")
        late = [s.job(f"late{priority}", priority=priority, delay_ms=5_000) for priority in (-60, 0, 60)]
        backend.enqueue(late[:1])
        s.settled(backend, B2, s.done(first, then=[late[2], s.job("last", priority=-1), s.job("next", priority=1)]))
        backend.enqueue(late[1:2])
        left = [s.info(backend, message.id, B2) for message in late]
        backend.delete([message.id for message in late])
        backend.adopt(left)
        harness.advance(5_001)
        backend.maintain(256)
        wanted = ["late60", "next", "late0", "last", "late-60"]
        B2.same(s.ids_of(s.take(backend)), wanted, "the order when all were due")

    def test_b2_the_lines_of_a_class_take_turns(self, harness: Harness) -> None:
        """Whose turn it is in one class does not depend on what was claimed from another."""
        backend = harness.open()
        back = [s.job(f"{priority}b{number}", priority=priority) for priority in (9, -9) for number in range(2)]
        backend.enqueue(back)
        s.settled(backend, B2, *(s.retry(delivery) for delivery in s.take_exactly(backend, 4, B2)))
        backend.enqueue([s.job(f"-9n{number}", priority=-9) for number in range(2)])
        seen = in_sizes(backend, [3])
        backend.enqueue([s.job(f"9n{number}", priority=9) for number in range(2)])
        seen += in_sizes(backend, [1, 1, 10])
        wanted = ["9b0", "9b1", "-9b0", "9n0", "9n1", "-9n0", "-9b1", "-9n1"]
        B2.same(seen, wanted, "the order of two classes, each with two lines")

    def test_b2_every_sixteenth_delivery_is_by_age(self, harness: Harness) -> None:
        """Whatever the sizes of the claims, the sixteenth delivery of a handle, the thirty-second and so on are of the
        class that has waited longest."""
        ways = [(-50, sizes) for sizes in ([40], [1] * 40, [7] * 6, [15, 1, 16, 8], [16] * 3)]
        for priority, sizes in [*ways, (0, [7] * 6), (0, [16] * 3)]:
            name = "-".join(map(str, [-priority, *sizes[:4]]))
            backend = harness.open(name)
            backend.enqueue([*s.jobs(4, f"{name}.low", priority=priority), *s.jobs(36, f"{name}.high", priority=1)])
            seen = [task_id.removeprefix(f"{name}.") for task_id in in_sizes(backend, sizes)]
            high = [message.id for message in s.jobs(36, "high")]
            wanted = [*high[:15], "low000", *high[15:30], "low001", *high[30:], "low002", "low003"]
            B2.same(seen, wanted, f"the order in claims of {sizes}")
            backend.remove_group(name)

    def test_b2_the_class_that_has_waited_longest(self, harness: Harness) -> None:
        """It is that of the message that became ready first, in either line: not the lowest class, nor that of the
        message that was enqueued first."""
        backend = harness.open()
        waiting(backend, -60, prefix="came-back")
        delivery = s.take_one(backend, B2)  # the first one of the handle
        waiting(backend, -1)
        s.settled(backend, B2, s.retry(delivery))
        backend.enqueue(s.jobs(40))
        seen = in_sizes(backend, [14, 1, 15, 1])
        wanted = [*s.NAMES[:14], "p-1", *s.NAMES[14:29], "came-back-60"]
        B2.same(seen, wanted, "the order of three classes")

    def test_b2_the_sixteenth_delivery_takes_turns(self, harness: Harness) -> None:
        """A class that has waited longest hands out what its lines would hand out otherwise."""
        backend = harness.open()
        backend.enqueue([s.job("b0", priority=-1), s.job("b1", priority=-1)])
        back = s.take_exactly(backend, 2, B2)
        backend.enqueue([s.job("n0", priority=-1), s.job("n1", priority=-1)])
        s.settled(backend, B2, *(s.retry(delivery) for delivery in back))
        backend.enqueue(s.jobs(60))
        seen = [task_id for task_id in in_sizes(backend, [62]) if task_id[0] in "bn"]
        B2.same(seen, ["b0", "n0", "b1", "n1"], "the order of the low class, one of sixteen deliveries each")

    def test_b2_each_handle_counts_its_own(self, harness: Harness) -> None:
        """The sixteenth delivery is that of a handle, whoever claims through it, and whatever others claimed."""
        backend, other = harness.open(), harness.open()
        waiting(backend, -60, -61)
        backend.enqueue(s.jobs(40))
        seen = s.ids_of(s.take(backend, 15)) + s.ids_of(s.take(other, 15, "two"))
        B2.same(seen, s.NAMES[:30], "what two handles claimed first")
        seen = s.ids_of(s.take(other, 1, "three")) + s.ids_of(s.take(backend, 1, "four"))
        B2.same(seen, ["p-60", "p-61"], "the sixteenth delivery of each")

    def test_b2_a_low_class_does_not_starve(self, harness: Harness) -> None:
        """While tasks of a high class are retried again and again, and others come in, the first of the lowest class is
        one of the next sixteen deliveries of a handle, and the others follow."""
        for limit in (1, 5, 16, 30):
            name = f"of-{limit}"
            backend = harness.open(name)
            backend.enqueue([*s.jobs(3, f"{name}.low", priority=-100), *s.jobs(50, f"{name}.high", priority=100)])
            seen: list[str] = []
            while len(seen) < 3 * BY_AGE:
                deliveries = s.take(backend, limit)
                B2.holds(deliveries, "nothing was claimed although tasks were ready")
                seen += s.ids_of(deliveries)
                low = [".low" in delivery.message.id for delivery in deliveries]
                s.settled(
                    backend, B2, *(s.done(d) if ends else s.retry(d) for d, ends in zip(deliveries, low, strict=True))
                )
            found = [number for number, task_id in enumerate(seen[: 3 * BY_AGE], 1) if ".low" in task_id]
            B2.same(found, [BY_AGE, 2 * BY_AGE, 3 * BY_AGE], f"the deliveries of the low class, in claims of {limit}")
            backend.remove_group(name)

    def test_b2_every_class_wakes_a_claim(self, harness: Harness) -> None:
        """A claim that waits gets a message of any class, the first one of its class too, new or retried."""
        backend, other = harness.open(), harness.open()
        waiting(other, 77, 7, -7, prefix="before")  # a class that is not in use yet may be noticed late
        s.settled(backend, B2, *map(s.done, s.take_exactly(backend, 3, B2)))
        for priority in (0, -77, 77, 7, -7):
            call = s.waiting(B2, lambda: s.patiently(backend))
            waiting(other, priority)
            (first,) = call.result(self.patience, B2, f"a new task of priority {priority} did not wake a claim")
            call = s.waiting(B2, lambda: s.patiently(backend))
            s.settled(other, B2, s.retry(first))
            (second,) = call.result(self.patience, B2, f"a retry of priority {priority} did not wake a claim")
            B2.same(second.message.id, f"p{priority}", "what was claimed")
            s.settled(other, B2, s.done(second))

    def test_b2_the_fencing_tokens_grow_from_class_to_class(self, harness: Harness) -> None:
        """An id that is deleted and enqueued again in another class has a larger fencing token with each claim."""
        backend = harness.open()
        fences: list[int] = []
        for priority in (0, 60, -60, 60, 5, -5, 0):
            waiting(backend, *PRIORITIES, prefix=f"{len(fences)}.")
            backend.enqueue([s.job("a", priority=priority)])
            for _ in range(2):
                deliveries = {delivery.message.id: delivery for delivery in s.take(backend)}
                fences.append(deliveries["a"].fence)
                others = [delivery for task_id, delivery in deliveries.items() if task_id != "a"]
                s.settled(backend, B2, *(s.done(d) for d in others), s.retry(deliveries["a"]))
            backend.delete(["a"])
        B2.same(fences, sorted(set(fences)), "the fencing tokens of an id, one claim after the other")

    def test_b2_what_cannot_be_read_keeps_its_class(self, harness: Harness) -> None:
        """A message of a newer version that a worker gives back, and an entry that is no message."""
        backend = harness.open()
        s.take(backend)
        backend.enqueue([s.job("newer", priority=60, v=99), s.job("later", priority=60, v=99)])
        newer, later = s.take_exactly(backend, 2, B2)
        junk = harness.inject({b"x": b"junk", b"priority": b"high"})
        waiting(backend, 1, -1)
        s.settled(backend, B2, s.defer(newer), s.defer(later, 1_000))
        harness.advance(1_001)
        backend.maintain(256)
        B2.same(s.ids_of(s.take(backend)), ["newer", "later", "p1", junk, "p-1"], "the order after they were deferred")

    def test_b2_a_stale_receipt_of_any_class_is_refused(self, harness: Harness) -> None:
        """Also after the task came back in its class, a settlement with an earlier receipt changes nothing."""
        backend = harness.open()
        for priority in PRIORITIES:
            first = s.claimed(backend, B2, f"t{priority}", priority=priority)
            backend.release("one", [])
            second = s.take_one(backend, B2, "two")
            B2.same(list(backend.settle([s.done(first)])), [False], "the settlement of an earlier holder")
            B2.same(s.extended(backend, first), m.LeaseStatus.LOST, "the extension of an earlier holder")
            B2.same(s.extended(backend, second), m.LeaseStatus.HELD, "the extension of the holder")
            B2.same(list(backend.settle([s.done(second)])), [True], "the settlement of the holder")

    def test_b2_a_batch_may_be_of_all_classes(self, harness: Harness) -> None:
        """What is claimed from different classes is extended, settled and reclaimed together."""
        backend = harness.open()
        for verdict in (s.done, s.retry, s.fail):
            waiting(backend, *PRIORITIES, prefix=f"{verdict.__name__}.")
            deliveries = s.take_exactly(backend, len(PRIORITIES), B2)
            held = list(backend.extend([m.Extension(delivery.receipt) for delivery in deliveries]))
            B2.same(held, [m.LeaseStatus.HELD] * len(deliveries), "the extensions of a batch")
            s.settled(backend, B2, *(verdict(delivery) for delivery in reversed(deliveries)))
            if verdict is s.retry:
                s.take_exactly(backend, len(PRIORITIES), B2)
                harness.advance(harness.lease + 1)
                s.take_exactly(backend, len(PRIORITIES), B2, "two")
                B2.same(backend.release("two", []), len(PRIORITIES), "how many were released")
                s.settled(backend, B2, *map(s.done, s.take_exactly(backend, len(PRIORITIES), B2)))

    def test_b11_a_release_takes_back_all_classes(self, harness: Harness) -> None:
        """Also by a handle that was open before the first task with a priority, as that of a supervisor."""
        supervisor, backend = harness.open(), harness.open()
        supervisor.depth()
        waiting(backend, *PRIORITIES)
        held = s.take_exactly(backend, len(PRIORITIES), B11)
        B11.same(supervisor.release("one", [held[0].receipt]), len(held), "how many of all classes a release took back")
        s.places(backend, B11, "after the release", ready=len(held))
        B11.same(list(backend.consumers()), [], "the consumers after it")

    def test_i4_tasks_of_all_classes_are_listed_and_counted(self, harness: Harness) -> None:
        """Ready or in flight, newest first, in pages of any size; and each is shown with its priority."""
        backend = harness.open()
        waiting(backend, *PRIORITIES)
        names = [f"p{priority}" for priority in PRIORITIES][::-1]
        for _ in range(2):
            for size in (1, 3, 100):
                I4.same([task.id for task in s.all_tasks(backend, count=size)], names, f"the tasks in pages of {size}")
            I4.same([task.id for task in s.all_tasks(backend, m.TaskStatus.PENDING, 2)], names, "the waiting tasks")
            s.places(backend, I4, "in all classes", ready=len(names))
            deliveries = s.take_exactly(backend, len(names), I4)
            I4.same([task.id for task in s.all_tasks(backend, m.TaskStatus.STARTED, 2)], names, "what is in flight")
            s.places(backend, I4, "in all classes", in_flight=len(names))
            held = {name: set(each.in_flight) for each in backend.consumers() if (name := each.name)}
            I4.same(held, {"one": set(names)}, "what the consumer holds")
            for priority in PRIORITIES:
                shown = s.info(backend, f"p{priority}", I1).readable
                I1.same(shown and shown.priority, priority, "the priority that is shown")
            order = sorted(deliveries, key=lambda delivery: names.index(delivery.message.id), reverse=True)
            s.settled(backend, I4, *(s.defer(delivery) for delivery in order))

    def test_i3_tasks_of_all_classes_are_cancelled(self, harness: Harness) -> None:
        """Waiting ones end at once; the holders of others are told, and what comes back cancelled ends."""
        backend = harness.open()
        waiting(backend, *PRIORITIES)
        held = s.take_exactly(backend, len(PRIORITIES), I3)
        waiting(backend, *PRIORITIES, prefix="w")
        names = [f"{kind}{priority}" for kind in "pw" for priority in PRIORITIES]
        I3.same(list(backend.cancel(names)), [True] * len(names), "what cancel returns")
        statuses = list(backend.extend([m.Extension(delivery.receipt) for delivery in held]))
        I3.same(statuses, [m.LeaseStatus.CANCEL] * len(held), "what the holders are told")
        s.settled(backend, I3, *(s.retry(delivery) for delivery in held))
        s.claims(backend, I3, [], "what is claimed after all were cancelled")
        for name in names:
            I3.same(s.info(backend, name, I3).status, m.TaskStatus.CANCELLED, f"the status of {name}")

    def test_i5_tasks_of_all_classes_are_deleted(self, harness: Harness) -> None:
        """Unless they are in flight."""
        backend = harness.open()
        waiting(backend, *PRIORITIES)
        s.take(backend, 3)
        names = [f"p{priority}" for priority in PRIORITIES]
        I5.same(list(backend.delete(names)), [False] * 3 + [True] * (len(names) - 3), "what delete returns")
        I5.same(list(backend.show(names[3:])), [None] * (len(names) - 3), "what is shown of deleted tasks")
        s.claims(backend, I5, [], "what is claimed after that")

    def test_b9_groups_have_classes_of_their_own(self, harness: Harness) -> None:
        """A group that has never seen a priority gets copies in their classes, and one that is registered later too."""
        one, other = s.groups(harness, "one", "other")
        waiting(one, -1, 0, 60)
        late = harness.open("late")
        late.lease_ms()
        waiting(one, 1)
        law("B9").same(s.ids_of(s.take(other)), ["p60", "p1", "p0", "p-1"], "the order in another group")
        law("B9").same(s.ids_of(s.take(late)), ["p1"], "what a later group gets")
        s.claims(one, law("B9"), ["p60", "p1", "p0", "p-1"], "the order in the first group")

    def test_b13_priorities_leave_nothing_behind(self, harness: Harness) -> None:
        """When the tasks have ended, what is kept does not grow with their number."""
        backend = harness.open(history=5)
        sizes = []
        for round_ in range(3):
            for number in range(20):
                waiting(backend, *PRIORITIES, prefix=f"{round_}.{number}.")
            for delivery in s.drain(backend, 50):
                s.settled(backend, law("B13"), s.done(delivery, ttl_ms=1))
            harness.advance(m.DEDUPE_MS + 1)
            s.take(backend)
            sizes.append(harness.footprint())
        limit = sizes[1] + self.footprint_slack
        law("B13").holds(sizes[2] <= limit, f"the size after 180 tasks more grew: {sizes}")
