"""Delays and `maintain`: B8 nothing early."""

from __future__ import annotations

from ...protocols import HasWakeups
from .prelude import Contract, Harness, law, m, s

B8 = law("B8")


class DelayLaws(Contract):
    """B8."""

    def test_b8_a_delayed_message_waits(self, harness: Harness) -> None:
        """A delayed message is not claimable before it is due, and is afterwards."""
        backend = harness.open()
        backend.enqueue([s.job("a", delay_ms=10_000)])
        s.claims(backend, B8, [], "claimed at once in spite of a delay")
        harness.advance(5_000)
        s.claims(backend, B8, [], "claimed after half of its delay")
        harness.advance(5_001)
        s.claims(backend, B8, ["a"], "claimed after its delay")

    def test_b8_a_delayed_verdict_waits(self, harness: Harness) -> None:
        """A retry and a deferral with a delay are not claimable before it is over."""
        backend = harness.open()
        for verdict in (m.Retry(10_000), m.Defer(10_000)):
            task_id = type(verdict).__name__
            s.settled(backend, B8, m.Settlement(s.claimed(backend, B8, task_id).receipt, verdict))
            harness.advance(5_000)
            s.claims(backend, B8, [], f"claimed after half of the delay of {verdict}")
            harness.advance(5_001)
            s.claims(backend, B8, [task_id], f"claimed after the delay of {verdict}")

    def test_b8_the_latest_delay_counts(self, harness: Harness) -> None:
        """A task that was delayed before is due when its latest delay says so."""
        backend = harness.open()
        backend.enqueue([s.job("first", delay_ms=5_000), s.job("a", delay_ms=10_000)])
        backend.cancel(["a"])
        backend.requeue(["a"])
        s.settled(backend, B8, s.retry(s.take_one(backend, B8), 30_000))
        harness.advance(20_000)
        s.claims(backend, B8, ["first"], "claimed when an earlier delay of the task would have been over")
        harness.advance(10_001)
        s.claims(backend, B8, ["a"], "claimed when its latest delay was over")

    def test_b8_the_earlier_one_does_not_wait_for_the_later(self, harness: Harness) -> None:
        """Each delayed message has a due time of its own, whatever was enqueued before it."""
        backend = harness.open()
        backend.enqueue([s.job("late", delay_ms=20_000), s.job("soon", delay_ms=10_000)])
        harness.advance(10_001)
        s.claims(backend, B8, ["soon"], "claimed when only the second message was due")

    def test_b8_maintain_says_when_the_next_is_due(self, harness: Harness) -> None:
        """`maintain` returns the time until the next message is due, and -1 if none is delayed."""
        backend = harness.open()
        s.take(backend)
        B8.same(backend.maintain(256), -1, "the result with nothing delayed")
        backend.enqueue([s.job("a", delay_ms=10_000), s.job("b", delay_ms=90_000)])
        B8.holds(0 < backend.maintain(256) <= 10_000, "maintain did not return the ms until the first one is due")
        harness.advance(10_001)
        B8.holds(10_000 < backend.maintain(256) <= 80_000, "maintain did not return the ms until the second one is due")
        harness.advance(80_000)
        backend.maintain(256)
        B8.same(backend.maintain(256), -1, "the result once nothing is delayed any more")

    def test_b8_maintain_keeps_to_its_limit(self, harness: Harness) -> None:
        """Of 300 due messages each call makes at most `limit` ready."""
        backend = harness.open()
        backend.enqueue(s.jobs(300, delay_ms=10_000))
        harness.advance(10_001)
        seen = []
        for _ in range(3):
            backend.maintain(100)
            seen.append((backend.depth().ready, backend.depth().delayed))
        B8.same(seen, [(100, 200), (200, 100), (300, 0)], "ready and delayed after each call with a limit of 100")

    def test_b8_each_becomes_ready_once(self, harness: Harness) -> None:
        """When two handles call `maintain` for 300 messages that are due, none is lost and none doubled."""
        backend, other = harness.open(), harness.open()
        backend.enqueue(s.jobs(300, delay_ms=10_000))
        harness.advance(10_001)
        calls = [s.Call(lambda handle=handle: [handle.maintain(50) for _ in range(6)]) for handle in (backend, other)]  # type: ignore[misc]
        for call in calls:
            call.result(self.patience, B8, "maintain does not return")
        B8.same(
            sorted(s.ids_of(s.drain(backend, 200))),
            [message.id for message in s.jobs(300)],
            "what could be claimed of 300 delayed messages",
        )

    def test_b8_the_end_of_a_delay_wakes_a_claim(self, harness: Harness) -> None:
        """What becomes due while a worker waits reaches it with the next `maintain`."""
        backend, other = harness.open(), harness.open()
        backend.enqueue([s.job("a", delay_ms=10_000)])
        call = s.waiting(B8, lambda: s.patiently(backend))
        harness.advance(10_001)
        other.maintain(256)
        got = call.result(self.patience, B8, "a waiting claim was not woken by a message that became due")
        B8.same(s.ids_of(got), ["a"], "what the woken claim returned")

    def test_b8_what_is_due_first_is_a_wake_up(self, harness: Harness) -> None:
        """A backend with wake-ups sends one for each message that is delayed and due before all others."""
        backend, other = harness.open(), harness.open()
        backend.maintain(256)
        wakeups = backend.wakeups() if isinstance(backend, HasWakeups) else None
        if wakeups is None or not wakeups.listen():
            return  # its supervisors look by themselves
        B8.same(s.heard(wakeups, self.patience, B8, "the begin of listening is no wake-up"), 0, "the first wake-up")
        for delay in (90_000, 60_000):
            other.enqueue([s.job(f"after-{delay}", delay_ms=delay)])
            left = s.heard(wakeups, self.patience, B8, f"no wake-up for a delay of {delay} ms")
            B8.holds(0 <= left <= delay, f"the wake-up for a delay of {delay} ms says {left} ms")
        for delay, verdict in ((30_000, m.Retry(30_000)), (10_000, m.Defer(10_000))):
            s.settled(other, B8, m.Settlement(s.claimed(other, B8, f"{verdict}").receipt, verdict))
            left = s.heard(wakeups, self.patience, B8, f"no wake-up for {verdict}")
            B8.holds(0 <= left <= delay, f"the wake-up for {verdict} says {left} ms")

    def test_b8_a_task_is_visible_while_it_becomes_ready(self, harness: Harness) -> None:
        """While delayed messages become ready, each can be seen all the time."""
        backend, watcher = harness.open(), harness.open()
        ids = [message.id for message in s.jobs(40)]
        backend.enqueue(s.jobs(40, delay_ms=10_000))
        harness.advance(10_001)
        call = s.Call(lambda: [backend.maintain(1) for _ in ids])
        for _ in range(1_000):
            missing = [task_id for task_id, task in zip(ids, watcher.show(ids), strict=True) if task is None]
            B8.same(missing, [], "what could not be seen while it became ready")
            if not call.waits(0.001):
                break
        call.result(self.patience, B8, "maintain does not return")
        s.places(backend, B8, "after it", ready=40)

    def test_b8_a_message_is_due_when_its_delay_is_over(self, harness: Harness) -> None:
        """Not a millisecond later."""
        backend = harness.open()
        backend.enqueue([s.job("a", delay_ms=10_000)])
        harness.advance(10_000)
        s.claims(backend, B8, ["a"], "what could be claimed when its delay was just over")

    def test_b8_due_is_the_latest_delay(self, harness: Harness) -> None:
        """`due_ms` is set by the latest step that made the message ready or delayed, and stays when it is claimed."""
        backend = harness.open()
        backend.enqueue([s.job("a", delay_ms=10_000), s.job("b", due_ms=s.LONG)])
        shown = [s.info(backend, task_id, B8).readable for task_id in "ab"]
        due = [message and message.due_ms - message.enqueued_ms for message in shown[:1]]
        B8.same(due, [10_000], "the ms from the enqueue until a delayed message is due")
        B8.same(shown[1] and shown[1].due_ms, 0, "the `due_ms` of a message that is enqueued with one and no delay")
        s.settled(backend, B8, s.done(s.take_one(backend, B8)))
        harness.advance(10_000)
        delivery = s.take_one(backend, B8)
        message = s.readable(delivery, B8)
        B8.holds(message.due_ms, "the message of a task that was delayed was delivered without its `due_ms`")
        B8.same(message.delay_ms, 0, "the `delay_ms` of a message that is delivered")
        s.settled(backend, B8, s.retry(delivery))
        B8.same(s.readable(s.take_one(backend, B8), B8).due_ms, 0, "`due_ms` after a retry without a delay")

    def test_b8_a_limit_of_zero_moves_none(self, harness: Harness) -> None:
        """`maintain` with a limit of 0 moves nothing."""
        backend = harness.open()
        backend.enqueue([s.job("a", delay_ms=10_000)])
        harness.advance(10_001)
        backend.maintain(0)
        s.places(backend, B8, "after a limit of 0", delayed=1)

    def test_b8_a_long_delay_is_kept(self, harness: Harness) -> None:
        """A delay of two months is neither capped nor taken for none, of a message as of a verdict."""
        backend = harness.open()
        backend.enqueue([s.job("a", delay_ms=s.LONG)])
        s.settled(backend, B8, s.retry(s.claimed(backend, B8, "b"), s.LONG))
        s.settled(backend, B8, s.defer(s.claimed(backend, B8, "c"), s.LONG))
        harness.advance(s.LONG - s.MINUTE)
        s.claims(backend, B8, [], "claimed a minute before a delay of two months was over")
        B8.holds(0 < backend.maintain(256) <= s.MINUTE, "maintain did not return the ms that were left")
        harness.advance(s.MINUTE + 1)
        B8.same(sorted(s.ids_of(s.take(backend))), ["a", "b", "c"], "claimed when it was over")

    def test_b8_maintain_counts_long_delays(self, harness: Harness) -> None:
        """`maintain` returns the ms until the next message is due, also if that is two months."""
        backend = harness.open()
        backend.enqueue([s.job("a", delay_ms=s.LONG)])
        B8.holds(s.LONG - s.MINUTE < backend.maintain(256) <= s.LONG, "maintain did not return the ms of two months")

    def test_b8_a_delay_counts_to_the_millisecond(self, harness: Harness) -> None:
        """It is not cut to whole seconds: the message would come early."""
        backend = harness.open()
        backend.enqueue([s.job("a", delay_ms=10_999)])
        message = s.info(backend, "a", B8).message
        due = message.due_ms - message.enqueued_ms if isinstance(message, m.Message) else message
        B8.same(due, 10_999, "the ms from the enqueue until it is due")
