"""`SharedClaims`: Q1 as from each queue, Q2 in order, Q3 one wait, Q4 quiet. A backend without `HasSharedClaims`
passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from attrs import frozen

from ...model.limits import task_gate
from ...model.schedules import Schedule
from ...model.ticks import Timing
from ...protocols import (
    HasSharedClaims,
    Pausing,
    ScheduleChange,
    SharedClaims,
    limit_pausing_of,
    limits_of,
    schedules_of,
)
from .base import needs
from .prelude import Contract, Harness, law, m, s

_SLACK = 20_000
"""As for the claims of one queue."""
Q1, Q2, Q3, Q4 = law("Q1"), law("Q2"), law("Q3"), law("Q4")
_ALL = (0, 1, 2)
_NEVER = float("inf")


@frozen
class _Queues:
    """Three queues of one store, and what claims from all of them."""

    harnesses: Sequence[Any]
    each: Sequence[Any]
    shared: SharedClaims

    def claim(self, limit: int, order: Sequence[int] = _ALL, wait_ms: int = 0, consumer: str = "one") -> Any:
        return self.shared.claim(consumer, limit, wait_ms, order)

    def ids(self, limit: int, order: Sequence[int] = _ALL) -> list[list[str]]:
        return [s.ids_of(found) for found in self.claim(limit, order)]

    def put(self, queue: int, *ids: str, **header: object) -> None:
        self.each[queue].enqueue([s.job(task_id, **header) for task_id in ids])

    def advance(self, ms: int) -> None:
        for harness in self.harnesses:
            harness.advance(ms)

    def quiet(self) -> list[float]:
        """As `quiet_ms` returns it; infinite where it is -1."""
        return [ms if ms >= 0 else _NEVER for ms in self.shared.quiet_ms()]


@contextmanager
def _three(harness: Any) -> Iterator[_Queues]:
    harnesses = [harness, harness.another(), harness.another()]
    each = [one.open() for one in harnesses]
    for backend in each:
        backend.lease_ms()
    shared = each[0].shared_claims(each)
    try:
        yield _Queues(harnesses, each, shared)
    finally:
        shared.close()


def _flat(found: Sequence[Sequence[m.Delivery]]) -> list[m.Delivery]:
    return [one for deliveries in found for one in deliveries]


class SharedLaws(Contract):
    """Q1 to Q4."""

    @needs(HasSharedClaims)
    def test_q1_each_delivery_is_of_its_queue(self, harness: Harness) -> None:
        """It comes in the place of its queue in the order, as it was enqueued, and its receipt is current there."""
        with _three(harness) as queues:
            for number in _ALL:
                queues.put(number, f"t{number}", headers={"of": str(number)})
            found = queues.claim(10, [2, 0, 1])
            Q1.same([s.ids_of(one) for one in found], [["t2"], ["t0"], ["t1"]], "what was claimed in the order 2, 0, 1")
            for number, (delivery,) in zip((2, 0, 1), found, strict=True):
                message = s.readable(delivery, Q1)
                Q1.same((message.body, message.headers), (s.EVERY_BYTE, {"of": str(number)}), "the message")
                Q1.same(s.extended(queues.each[number], delivery), m.LeaseStatus.HELD, "what extend returned")
                Q1.same(s.info(queues.each[number], message.id, Q1).worker, "one", "the holder")
                s.settled(queues.each[number], Q1, s.done(delivery))

    @needs(HasSharedClaims)
    def test_q1_a_delivery_says_when_it_was_claimed(self, harness: Harness) -> None:
        """`claimed_ms` is as in a claim from one queue."""
        with _three(harness) as queues:
            queues.put(0, "a")
            queues.put(1, "b")
            queues.advance(s.MINUTE)
            for delivery in _flat(queues.claim(9)):
                waited = delivery.claimed_ms - s.readable(delivery, Q1).enqueued_ms
                said = f"claimed a minute after the enqueue, said to be after {waited} ms"
                Q1.holds(delivery.claimed_ms == 0 or abs(waited - s.MINUTE) <= _SLACK, said)

    @needs(HasSharedClaims)
    def test_q1_the_lines_of_a_queue_take_turns(self, harness: Harness) -> None:
        """From claim to claim, whether its queue is claimed from alone or with others."""
        with _three(harness) as queues:
            queues.put(0, "a0", "a1")
            s.settled(queues.each[0], Q1, *map(s.retry, s.take(queues.each[0])))
            queues.put(0, "n0", "n1")
            found = [*queues.ids(1), *queues.ids(1, [0]), *queues.ids(2)]
            Q1.same(
                [task_id for ids in found for task_id in ids],
                ["a0", "n0", "a1", "n1"],
                "what was claimed, one after the other",
            )

    @needs(HasSharedClaims)
    def test_q1_higher_classes_come_first(self, harness: Harness) -> None:
        """In each queue, whatever the order in which its tasks came."""
        with _three(harness) as queues:
            queues.put(1, "low", priority=-60)
            queues.put(1, "usual")
            queues.put(1, "high", priority=60)
            queues.put(0, "first", "second")
            Q1.same(queues.ids(1, [1, 0]), [["high"], []], "the first claim")
            Q1.same(queues.ids(3, [1, 0]), [["usual", "low"], ["first"]], "the second claim")

    @needs(HasSharedClaims)
    def test_q1_what_may_not_be_claimed(self, harness: Harness) -> None:
        """Neither what is delayed, nor what waits for a limit, nor what is in a paused queue."""
        with _three(harness) as queues:
            queues.put(0, "delayed", delay_ms=s.MINUTE)
            if (limits := limits_of(queues.each[1])) is not None:
                limits.set("none", 0)
                queues.each[1].enqueue([s.gated("blocked", "none/")])
            if isinstance(queues.each[2], Pausing):
                queues.each[2].pause()
                queues.put(2, "paused")
            Q1.same(queues.ids(9), [[], [], []], "what could be claimed")

    @needs(HasSharedClaims)
    def test_q1_the_broker_is_asked_where_it_must_be(self, harness: Harness) -> None:
        """A task that expires has `must_begin`, and does not start after its expiry."""
        with _three(harness) as queues:
            queues.put(1, "late", lifetime_ms=s.MINUTE)
            (delivery,) = _flat(queues.claim(9))
            Q1.holds(delivery.must_begin, "a delivery that expires has no `must_begin`")
            queues.advance(s.MINUTE + 1)
            Q1.same(list(queues.each[1].begin([delivery.receipt])), [m.StartStatus.EXPIRED], "what begin returned")

    @needs(HasSharedClaims)
    def test_q1_the_broker_is_asked_in_a_pause_of_a_task_name(self, harness: Harness) -> None:
        """In the queue of the pause all deliveries have `must_begin`, and in the others none."""
        with _three(harness) as queues:
            if (pauses := limit_pausing_of(queues.each[1])) is None:
                return
            pauses.pause(task_gate("kit.job"))
            for number in _ALL:
                queues.put(number, f"t{number}")
            found = _flat(queues.claim(9))
            must = {one.message.id: one.must_begin for one in found}
            Q1.same(must, {"t0": False, "t1": True, "t2": False}, "what must begin")
            Q1.same(list(queues.each[1].begin([found[1].receipt])), [m.StartStatus.LATER], "what begin returned")

    @needs(HasSharedClaims)
    def test_q1_a_receipt_is_current_once(self, harness: Harness) -> None:
        """After the end of the lease the task is claimed again, with another receipt and a larger fencing token."""
        with _three(harness) as queues:
            queues.put(2, "a")
            (old,) = _flat(queues.claim(9))
            queues.advance(harness.lease + 1)
            (new,) = s.take(queues.each[2], consumer="two")
            Q1.holds(new.fence > old.fence, "a later claim has no larger fencing token")
            s.settled(queues.each[2], Q1, s.retry(new))
            Q1.same(
                list(queues.each[2].settle([s.done(old)])), [False], "a settlement with a receipt that is not current"
            )
            (last,) = _flat(queues.claim(9))
            Q1.holds(last.fence > new.fence, "a shared claim has no larger fencing token than the claim before")
            s.settled(queues.each[2], Q1, s.done(last))

    @needs(HasSharedClaims)
    def test_q1_what_cannot_be_read_is_delivered(self, harness: Harness) -> None:
        """An entry of another program is delivered as `Unreadable`, and holds up nothing."""
        with _three(harness) as queues:
            queues.harnesses[1].inject({b"v": b"1", b"id": b"x", b"attempt": b"many"})
            queues.put(1, "a")
            found = queues.claim(9)
            kinds = [type(one.message) for one in found[1]]
            Q1.same(kinds, [m.Unreadable, m.Message], "what was delivered")

    @needs(HasSharedClaims)
    def test_q1_the_consumer_is_shown_in_each(self, harness: Harness) -> None:
        """Also in a queue that had nothing for it."""
        with _three(harness) as queues:
            queues.put(1, "a")
            queues.claim(9)
            shown = [[one.name for one in backend.consumers()] for backend in queues.each]
            Q1.same(shown, [["one"]] * 3, "the consumers of each queue")

    @needs(HasSharedClaims)
    def test_q1_a_group_that_was_removed(self, harness: Harness) -> None:
        """A claim registers it again, and the other queues are claimed from."""
        with _three(harness) as queues:
            queues.claim(9)
            queues.each[1].remove_group("cg")
            queues.put(0, "a")
            Q1.same(queues.ids(9), [["a"], [], []], "what could be claimed after a group was removed")
            queues.put(1, "b")
            Q1.same(queues.ids(9), [[], ["b"], []], "what could be claimed in that group after that")

    @needs(HasSharedClaims)
    def test_q2_in_the_order_of_the_queues(self, harness: Harness) -> None:
        """At most `limit`, those of the first queue of the order first; queues outside the order are left alone."""
        with _three(harness) as queues:
            for number in _ALL:
                queues.put(number, *(f"{number}{letter}" for letter in "abc"))
            Q2.same(queues.ids(2, [1, 0]), [["1a", "1b"], []], "two of the queues 1 and 0")
            Q2.same(queues.ids(2, [1, 0]), [["1c"], ["0a"]], "two more of the queues 1 and 0")
            Q2.same(queues.ids(9), [["0b", "0c"], [], ["2a", "2b", "2c"]], "the rest of all queues")

    @needs(HasSharedClaims)
    def test_q2_what_is_beyond_the_limit(self, harness: Harness) -> None:
        """It stays ready in its place, and is not charged; that of the queue that was cut short too."""
        with _three(harness) as queues:
            for number in _ALL:
                queues.put(number, *(f"{number}{letter}" for letter in "abc"))
            Q2.same(queues.ids(4), [["0a", "0b", "0c"], ["1a"], []], "the first four")
            for number, (ready, held) in enumerate([(0, 3), (2, 1), (3, 0)]):
                s.places(queues.each[number], Q2, f"of queue {number}", ready=ready, in_flight=held)
            for number, wanted in ((1, ["1b", "1c"]), (2, ["2a", "2b", "2c"])):
                rest = s.take(queues.each[number])
                Q2.same(s.ids_of(rest), wanted, f"what is claimed from queue {number} alone after that")
                messages = [s.readable(one, Q2) for one in rest]
                counts = {(one.attempt, one.crashes, one.redelivered) for one in messages}
                Q2.same(counts, {(1, 0, False)}, "attempt, crashes and redelivered of what was beyond the limit")

    @needs(HasSharedClaims)
    def test_q2_what_came_back_stays_in_its_place(self, harness: Harness) -> None:
        """Beyond the limit, what came back is still first, before what is new."""
        with _three(harness) as queues:
            queues.put(1, "b0", "b1")
            s.settled(queues.each[1], Q2, *map(s.retry, s.take(queues.each[1])))
            queues.put(1, "n0", "n1")
            queues.put(0, "a")
            Q2.same(queues.ids(1), [["a"], [], []], "the first one")
            Q2.same(s.ids_of(s.take(queues.each[1])), ["b0", "n0", "b1", "n1"], "what is claimed after that")

    @needs(HasSharedClaims)
    def test_q2_each_once(self, harness: Harness) -> None:
        """However small the claims are, and whoever claims, each task is handed out once."""
        with _three(harness) as queues:
            wanted = [f"{number}{place:02}" for number in _ALL for place in range(12)]
            for number in _ALL:
                queues.put(number, *(one for one in wanted if one.startswith(str(number))))
            found: list[str] = []
            for turn in range(len(wanted)):
                order = [(turn + step) % 3 for step in range(3)]
                found += s.ids_of(_flat(queues.claim(1 + turn % 3, order, consumer=f"c{turn % 2}")))
            Q2.same(sorted(found), wanted, "what was claimed")
            Q2.same([backend.depth().in_flight for backend in queues.each], [12, 12, 12], "what is in flight")

    @needs(HasSharedClaims)
    def test_q3_it_does_not_wait_for_what_is_there(self, harness: Harness) -> None:
        """A message that is ready in the last queue of the order is returned at once."""
        with _three(harness) as queues:
            queues.put(2, "a")
            call = s.Call(lambda: queues.claim(9, wait_ms=s.MINUTE))
            found = call.result(self.patience, Q3, "a claim waits although a message is ready")
            Q3.same([s.ids_of(one) for one in found], [[], [], ["a"]], "what it returned")

    @needs(HasSharedClaims)
    def test_q3_one_wait_for_all(self, harness: Harness) -> None:
        """A message in any of the queues ends the wait, time after time."""
        with _three(harness) as queues:

            def wait(turn: int) -> None:
                found: list[m.Delivery] = []
                while not found:
                    found = _flat(queues.claim(1, wait_ms=s.MINUTE))
                s.settled(queues.each[turn % 3], Q3, s.done(found[0]))

            s.relay(
                Q3,
                self.patience,
                "a claim that waits for several queues is not woken by a message of one of them",
                wait,
                lambda turn: queues.put(turn % 3, f"t{turn}"),
            )

    @needs(HasSharedClaims)
    def test_q3_what_comes_back_ends_the_wait(self, harness: Harness) -> None:
        """A retry in the last queue of the order, while another consumer waits."""
        with _three(harness) as queues:
            held = s.claimed(queues.each[2], Q3)

            def wait() -> list[m.Delivery]:
                found: list[m.Delivery] = []
                while not found:
                    found = _flat(queues.claim(1, wait_ms=s.MINUTE, consumer="two"))
                return found

            call = s.waiting(Q3, wait)
            s.settled(queues.each[2], Q3, s.retry(held))
            found = call.result(self.patience, Q3, "a claim that waits is not woken by what comes back")
            Q3.same(s.ids_of(found), ["a"], "what it returned")

    @needs(HasSharedClaims)
    def test_q4_what_is_ready_or_in_flight(self, harness: Harness) -> None:
        """It may need maintenance now: what is new, what came back, what is in flight."""
        with _three(harness) as queues:
            queues.put(0, "new")
            queues.put(1, "held")
            queues.put(2, "back", priority=60)
            s.take(queues.each[1])
            s.settled(queues.each[2], Q4, *map(s.retry, s.take(queues.each[2])))
            Q4.same(queues.quiet(), [0, 0, 0], "the ms until maintenance of queues with tasks")

    @needs(HasSharedClaims)
    def test_q4_what_is_delayed_or_expires(self, harness: Harness) -> None:
        """Not longer than until the first task is due or expires, and 0 from then on."""
        with _three(harness) as queues:
            queues.put(0, "later", delay_ms=3 * s.MINUTE)
            queues.put(0, "soon", delay_ms=s.MINUTE)
            queues.put(1, "expires", delay_ms=3 * s.MINUTE, lifetime_ms=s.MINUTE)
            for left in (s.MINUTE + 1, s.MINUTE // 2 + 1, 0):
                for number in (0, 1):
                    self._at_most(left, queues.quiet()[number])
                queues.advance(s.MINUTE // 2)
            queues.each[0].maintain(256)
            Q4.same(queues.quiet()[0], 0, "the ms until maintenance after a delay has ended")

    @needs(HasSharedClaims)
    def test_q4_in_a_paused_queue(self, harness: Harness) -> None:
        """What is delayed there becomes ready all the same."""
        with _three(harness) as queues:
            if isinstance(queues.each[1], Pausing):
                queues.each[1].pause()
                queues.put(1, "soon", delay_ms=s.MINUTE)
                self._at_most(s.MINUTE + 1, queues.quiet()[1])

    @needs(HasSharedClaims)
    def test_q4_a_schedule_is_due(self, harness: Harness) -> None:
        """Not longer than until the next tick."""
        with _three(harness) as queues:
            if (store := schedules_of(queues.each[2])) is not None:
                now = store.due(1).now
                call = m.Message("s", "kit.job", s.EVERY_BYTE)
                new = Schedule("s", Timing("30 2 * * *", "Europe/Berlin"), call, mark="s-0", next_ms=now + s.MINUTE)
                store.change(ScheduleChange("s", "", new))
                self._at_most(s.MINUTE, queues.quiet()[2])

    def _at_most(self, most: int, seen: float) -> None:
        __tracebackhide__ = True
        Q4.holds(seen <= most, f"it is quiet for {seen} ms, although something is due in {most} ms")
