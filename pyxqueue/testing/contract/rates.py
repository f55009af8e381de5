"""Rates: L6 no time has more starts than its rate allows. A backend without `RateStore` passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...model.locks import LockTerms
from ...model.rates import Pace
from ...protocols import HasLocks, Pausing
from .prelude import Backend, Contract, Harness, law, m, s

L6, L13 = law("L6"), law("L13")
RUN, LATER, LOST = m.StartStatus.RUN, m.StartStatus.LATER, m.StartStatus.LOST
T = 600_000
"""The interval of the paces, in ms. It is much longer than a test takes, since the clock of a server goes on."""
SLACK = 60_000
ROUNDS = 100
"""More claims than it takes in any test until nothing is ready."""


def pace(burst: int = 1, interval: int = T) -> Pace:
    return Pace(1, 1_000 * interval, burst)


def rated(*ids: str, gates: Sequence[str] = ("rate:api/k",), **header: Any) -> list[m.Message]:
    return [s.gated(task_id, *gates, **header) for task_id in ids]


def begun(backend: Any, deliveries: Sequence[m.Delivery]) -> dict[str, m.StartStatus]:
    statuses = backend.begin([delivery.receipt for delivery in deliveries])
    return dict(zip(s.ids_of(deliveries), statuses, strict=True))


def started(backend: Backend) -> list[str]:
    """Claim what is ready, settle what may start, until nothing is ready any more, and return the ids of that."""
    ids: list[str] = []
    for _ in range(ROUNDS):
        found = s.take(backend)
        if not found:
            return ids
        statuses = begun(backend, found)
        run = [one for one in found if statuses[one.message.id] is RUN]
        s.settled(backend, L6, *map(s.done, run))
        ids += s.ids_of(run)
    raise L6.broken(f"tasks are handed out again and again at the same time; these have started: {ids}")


class RateLaws(Contract):
    """L6."""

    def test_l6_what_has_a_rate_must_begin(self, harness: Harness) -> None:
        """A task with a rate is asked about, also without a pace; one with another limit is not."""
        backend = harness.open()
        if s.paced(backend) is None:
            return
        backend.enqueue([*rated("a"), s.gated("b", "api/k")])
        found = s.take(backend)
        L6.same({one.message.id: one.must_begin for one in found}, {"a": True, "b": False}, "which must begin")
        L6.same(begun(backend, found[:1]), {"a": RUN}, "a rate without a pace")

    def test_l6_a_burst_and_then_one_by_one(self, harness: Harness) -> None:
        """Of five tasks with a burst of two, two start at once, and one after each interval; the others wait."""
        backend = harness.open()
        if (rates := s.paced(backend, api=pace(2))) is None:
            return
        backend.enqueue(rated("a", "b", "c", "d", "e"))
        L6.same(started(backend), ["a", "b"], "what started at once")
        L6.same(s.tokens(rates), {"rate:api/k": (0, 3)}, "what waits")
        L6.same(s.info(backend, "c", L6).gate, "rate:api/k", "the gate at which the third waits")
        for task_id in "cde":
            harness.advance(T - SLACK)
            L6.same(started(backend), [], "what started before the interval was over")
            harness.advance(SLACK)
            L6.same(started(backend), [task_id], "what started after one more interval")

    def test_l6_a_burst_comes_again_after_a_pause(self, harness: Harness) -> None:
        """When nothing has started for long, a burst may start at once, and no more."""
        backend = harness.open()
        if s.paced(backend, api=pace(2)) is None:
            return
        for number in range(2):
            backend.enqueue(rated(*(f"{number}{one}" for one in "abc")))
            L6.same(started(backend), [f"{number}a", f"{number}b"], "what started at once")
            harness.advance(9 * T)
            L6.same(started(backend), [f"{number}c"], "what started later")
            harness.advance(9 * T)

    def test_l6_an_outage_makes_no_burst(self, harness: Harness) -> None:
        """While nobody works, tasks are admitted; when somebody does, they do not start together."""
        backend = harness.open()
        if s.paced(backend, api=pace(1)) is None:
            return
        backend.enqueue(rated("a", "b", "c", "d"))
        for _ in range(4):
            harness.advance(T)
            backend.maintain(256)
        order = []
        for _ in range(4):
            found = started(backend)
            L6.holds(len(found) <= 1, f"{found} started together after an outage")
            order += found
            harness.advance(T)
        L6.same(sorted(order), ["a", "b", "c", "d"], "what started in four intervals")

    def test_l6_a_repeat_counts_once(self, harness: Harness) -> None:
        """The same hold, asked about again because the reply was lost, may start and counts no second start."""
        backend = harness.open()
        if (rates := s.paced(backend)) is None:
            return
        backend.enqueue(rated("a", "b", "c"))
        found = s.take(backend)
        rates.set_rate("api", pace(2))
        for _ in range(3):
            L6.same(begun(backend, found[:1]), {"a": RUN}, "the same hold, asked about again")
        L6.same(begun(backend, found), {"a": RUN, "b": RUN, "c": LATER}, "the others after that")

    def test_l6_another_hold_counts_again(self, harness: Harness) -> None:
        """A task that began and came back counts again when it begins again."""
        backend = harness.open()
        if (rates := s.paced(backend)) is None:
            return
        backend.enqueue(rated("a", "b"))
        found = s.take(backend, consumer="one")
        rates.set_rate("api", pace(2))
        begun(backend, found[:1])
        rates.set_rate("api", None)
        backend.release("one", [])
        again = s.take(backend, consumer="two")
        rates.set_rate("api", pace(2))
        L6.same(sorted(begun(backend, again).values(), key=str), [LATER, RUN], "the second and the third start")

    def test_l6_who_is_turned_away_pays_nothing(self, harness: Harness) -> None:
        """It is the same message, waits at its gate, and its receipt is not current any more."""
        backend = harness.open()
        if (rates := s.paced(backend)) is None:
            return
        backend.enqueue(rated("a", "b"))
        first, second = s.take_exactly(backend, 2, L6)
        rates.set_rate("api", pace(1))
        L6.same(begun(backend, [first, second]), {"a": RUN, "b": LATER}, "what began")
        shown = s.info(backend, "b", L6)
        L6.same((shown.status, shown.gate), (m.TaskStatus.PENDING, "rate:api/k"), "who was turned away")
        L6.same(shown.message, second.message, "its message")
        L6.same(begun(backend, [second]), {"b": LOST}, "its receipt")
        L6.same(list(backend.settle([s.done(second)])), [False], "a settlement with its receipt")
        harness.advance(T)
        L6.same(s.take_one(backend, L6, "two").message, second.message, "the message that was delivered again")

    def test_l6_who_is_turned_away_keeps_the_order(self, harness: Harness) -> None:
        """Those that could not start come before those that asked later, in the order in which they came."""
        backend = harness.open()
        if (rates := s.paced(backend)) is None:
            return
        backend.enqueue(rated("a", "b", "c"))
        found = s.take_exactly(backend, 3, L6)
        rates.set_rate("api", pace(1))
        backend.enqueue(rated("x", "y"))
        L6.same(s.info(backend, "y", L6).gate, "rate:api/k", "where the last one waits before the others begin")
        L6.same(begun(backend, found)["a"], RUN, "the first")
        s.settled(backend, L6, s.done(found[0]))
        order: list[str] = []
        for _ in range(12):
            harness.advance(T)
            order += started(backend)
        L6.same(sorted(order), ["b", "c", "x", "y"], "what started")
        L6.holds(order.index("b") < order.index("c") < order.index("y"), f"they started in the order {order}")

    def test_l6_all_rates_or_none(self, harness: Harness) -> None:
        """A task that one of its rates turns away counts for none of the others."""
        backend = harness.open()
        if (rates := s.paced(backend)) is None:
            return
        backend.enqueue(rated("both", gates=("rate:api/", "rate:mail/")))
        backend.enqueue([*rated("m", gates=("rate:mail/",)), *rated("a", gates=("rate:api/",))])
        found = {one.message.id: one for one in s.take_exactly(backend, 3, L6)}
        rates.set_rate("api", pace(1))
        rates.set_rate("mail", pace(1))
        seen = begun(backend, [found["m"], found["both"], found["a"]])
        L6.same(seen, {"m": RUN, "both": LATER, "a": RUN}, "what began")

    def test_l6_each_key_has_its_own(self, harness: Harness) -> None:
        """What one key has used leaves the others free; a pace of one key counts more than that of the rate."""
        backend = harness.open()
        if (rates := s.paced(backend, api=pace(1))) is None:
            return
        rates.set_rate("api/big", pace(3))
        for key in ("big", "small"):
            backend.enqueue(rated(*(f"{key}{number}" for number in range(4)), gates=(f"rate:api/{key}",)))
        L6.same(started(backend), ["big0", "big1", "big2", "small0"], "what started at once")

    def test_l6_declared_and_set(self, harness: Harness) -> None:
        """What is set counts more than what is declared; a declaration replaces another only if it is told to."""
        backend = harness.open()
        if (rates := s.paced(backend)) is None:
            return
        one, two, three = pace(1), pace(2), Pace(100, 60_000_000, 10)
        rates.declare_rates({"api": one}, replace=False)
        rates.declare_rates({"api": two, "mail": two}, replace=False)
        seen = {rate.name: (rate.pace, rate.declared) for rate in rates.rates()}
        L6.same(seen, {"api": (one, one), "mail": (two, two)}, "the paces after two declarations")
        rates.set_rate("api", three)
        rates.declare_rates({"api": two}, replace=True)
        seen = {rate.name: (rate.pace, rate.declared) for rate in rates.rates()}
        L6.same(seen["api"], (three, two), "the pace after one was set")
        rates.set_rate("api", None)
        L6.same([rate.pace for rate in rates.rates()], [two, two], "the paces after it was taken back")

    def test_l6_a_faster_pace_counts_soon(self, harness: Harness) -> None:
        """What a slow pace has made wait goes on after one interval of the new one."""
        backend = harness.open()
        if (rates := s.paced(backend, api=pace(1, s.DAY))) is None:
            return
        backend.enqueue(rated("a", "b"))
        L6.same(started(backend), ["a"], "what started at once")
        rates.set_rate("api", pace(1))
        harness.advance(T + SLACK)
        L6.same(started(backend), ["b"], "what started after one interval of the new pace")

    def test_l6_a_count_of_zero(self, harness: Harness) -> None:
        """Nothing starts, and nothing is due, until there is another pace."""
        backend = harness.open()
        if (rates := s.paced(backend)) is None:
            return
        backend.enqueue(rated("a"))
        found = s.take(backend)
        rates.set_rate("api", Pace(0, 1_000_000))
        L6.same(begun(backend, found), {"a": LATER}, "what began")
        harness.advance(2 * s.DAY)
        L6.same(backend.maintain(256), -1, "when `maintain` has to be called again")
        L6.same(s.ids_of(s.take(backend)), [], "what was handed out")
        rates.set_rate("api", pace(1))
        L6.same(started(backend), ["a"], "what started once there was a pace")

    def test_l6_maintain_says_when(self, harness: Harness) -> None:
        """It returns the ms until the next waiting task is admitted."""
        backend = harness.open()
        if s.paced(backend, api=pace(1)) is None:
            return
        backend.enqueue(rated("a", "b"))
        started(backend)
        left = backend.maintain(256)
        L6.holds(T - SLACK < left <= T, f"{left} ms, not about {T}, until the next task is admitted")

    def test_l6_what_was_cancelled_ends(self, harness: Harness) -> None:
        """A task that was cancelled while it was held ends instead of waiting (I3)."""
        backend = harness.open()
        if (rates := s.paced(backend)) is None:
            return
        backend.enqueue(rated("a"))
        found = s.take(backend)
        rates.set_rate("api", Pace(0, 1_000_000))
        backend.cancel(["a"])
        L6.same(begun(backend, found), {"a": LATER}, "what began")
        L6.same(s.info(backend, "a", L6).status, m.TaskStatus.CANCELLED, "the status of a cancelled task")

    def test_l6_what_waits_expires(self, harness: Harness) -> None:
        """A task that its rate turned away ends when it expires (L8)."""
        backend = harness.open()
        if (rates := s.paced(backend)) is None:
            return
        backend.enqueue(rated("a", lifetime_ms=T))
        found = s.take(backend)
        rates.set_rate("api", Pace(0, 1_000_000))
        L6.same(begun(backend, found), {"a": LATER}, "what began")
        harness.advance(T)
        backend.maintain(256)
        L6.same(s.info(backend, "a", L6).status, m.TaskStatus.CANCELLED, "the status of an expired task")

    def test_l6_a_clock_that_is_set_back(self, harness: Harness) -> None:
        """What had to wait starts one interval later at the latest, however far the clock was set back."""
        backend = harness.open()
        if s.paced(backend, api=pace(1)) is None:
            return
        backend.enqueue(rated("a", "b"))
        L6.same(started(backend), ["a"], "what started at once")
        harness.advance(-s.DAY)
        L6.same(started(backend), [], "what started when the clock was set back")
        harness.advance(T + SLACK)
        L6.same(started(backend), ["b"], "what started one interval later")

    def test_l6_a_lock_until_the_start_is_kept(self, harness: Harness) -> None:
        """A task that is turned away has not started, so it keeps its lock (L7); it gives it back when it starts."""
        backend = harness.open()
        if (rates := s.paced(backend)) is None or not isinstance(backend, HasLocks):
            return
        lock = f"s{'0' * 32}"
        backend.enqueue_unique(rated("a", lock=lock), LockTerms())
        found = s.take(backend)
        rates.set_rate("api", Pace(0, 1_000_000))
        L6.same(begun(backend, found), {"a": LATER}, "what began")
        L6.same(list(backend.lock_holders([lock[1:]])), ["a"], "who has the lock after that")
        rates.set_rate("api", pace(1))
        L6.same(started(backend), ["a"], "what started later")
        L6.same(list(backend.lock_holders([lock[1:]])), [""], "who has the lock after the start")

    def test_l6_a_paused_group_starts_nothing(self, harness: Harness) -> None:
        """What its rate admits during a pause waits for the end of it (L9), and starts at the pace then."""
        backend = harness.open()
        if s.paced(backend, api=pace(1)) is None or not isinstance(backend, Pausing):
            return
        backend.enqueue(rated("a", "b", "c"))
        backend.pause()
        for _ in range(3):
            harness.advance(T)
            L6.same(started(backend), [], "what started during a pause")
        backend.resume()
        order = started(backend)
        L6.same(len(order), 1, "how many started when it was over")
        for _ in range(2):
            harness.advance(T)
            order += started(backend)
        L6.same(sorted(order), ["a", "b", "c"], "what started after two more intervals")

    def test_l6_what_waits_has_its_class(self, harness: Harness) -> None:
        """A task that was turned away is ready in its class of priority again (B2)."""
        backend = harness.open()
        if (rates := s.paced(backend)) is None:
            return
        backend.enqueue([*rated("high", priority=50), s.job("lower", priority=20)])
        (found,) = s.take(backend, 1)
        L6.same(found.message.id, "high", "what is handed out first")
        rates.set_rate("api", Pace(0, 1_000_000))
        L6.same(begun(backend, [found]), {"high": LATER}, "what began")
        rates.set_rate("api", pace(1))
        L6.same(s.ids_of(s.take(backend)), ["high", "lower"], "what is handed out when there is a pace")

    def test_l6_administration_of_what_waits(self, harness: Harness) -> None:
        """A task that waits for its rate is shown, deleted, cancelled and requeued as any other that waits."""
        backend = harness.open()
        if (rates := s.paced(backend, api=pace(1))) is None:
            return
        backend.enqueue(rated("a", "b", "c", "d"))
        L6.same(started(backend), ["a"], "what started at once")
        L6.same(backend.depth().blocked, 3, "how many are blocked")
        L6.same(list(backend.delete(["b"])), [True], "whether one that waits can be deleted")
        L6.same(list(backend.cancel(["c"])), [True], "whether one that waits can be cancelled")
        L6.same(s.tokens(rates), {"rate:api/k": (0, 1)}, "what waits")
        L6.same(list(backend.requeue(["c"])), [True], "whether a cancelled one can be requeued")
        order = []
        for _ in range(2):
            harness.advance(T)
            order += started(backend)
        L6.same(order, ["d", "c"], "what started")

    def test_l13_nothing_of_rates_is_left(self, harness: Harness) -> None:
        """When the last starts do not matter any more, many keys leave no more than few."""
        backend = harness.open(history=0)
        if (rates := s.paced(backend, api=pace(1))) is None:
            return

        def round_of(count: int) -> int:
            for part in range(2):
                ids = [f"r{count}-{part}-{number}" for number in range(count)]
                for number, task_id in enumerate(ids):
                    backend.enqueue(rated(task_id, gates=(f"rate:api/{number}",)))
            for _ in range(2):
                started(backend)
                harness.advance(2 * T)
            L13.same(s.tokens(rates), {}, f"tokens and lines after {2 * count} tasks")
            harness.advance(2 * s.DAY)
            s.take(backend, 1)
            return harness.footprint()

        few = round_of(3)
        many = round_of(40)
        L13.holds(many <= few + self.footprint_slack, f"after 6 tasks it had {few} parts, after 80 more {many}")
