"""What a backend's author overlooks: what stays behind, what shows in between, and what a fork does to a handle."""

from __future__ import annotations

import os
import select
import signal
import sys
from contextlib import suppress

from ...message import DEDUPE_MS, Defer, Extension, Fail, Progress, Retry, Settlement, TaskInfo, TaskStatus
from ...protocols import Backend, in_one_process
from ...supervisor.processes import fork
from .harness import (
    Contract,
    Harness,
    done,
    extended,
    fail,
    held,
    info,
    job,
    jobs,
    readable,
    settled,
    take,
    take_one,
)
from .laws import law

B1, B2, B10, B11, B13 = law("B1"), law("B2"), law("B10"), law("B11"), law("B13")
I1, I2, I5, I7 = law("I1"), law("I2"), law("I5"), law("I7")

DAY = 86_400_000
_FORKS = hasattr(os, "fork") and sys.platform != "darwin"  # where workers are forked, too


def ids_a_fork_claims(backend: Backend, patience: float) -> str:
    """What a child claims with the handle that it inherited, ids with spaces between; empty if it cannot."""
    reading, writing = os.pipe()
    child = fork()
    if child == 0:
        try:
            os.write(writing, " ".join(delivery.message.id for delivery in take(backend, 1, "child")).encode())
        finally:
            os._exit(0)
    os.close(writing)
    try:
        answered, _, _ = select.select([reading], [], [], patience)
        return os.read(reading, 1_000).decode() if answered else ""
    finally:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reading)


class BrokerOverlooked(Contract):
    """B1 to B13, where they are easily overlooked."""

    crosses_forks: bool = True
    """False for a backend whose server lives in the process of the test, as a fake one does."""

    def test_b1_the_failed_stay_known(self, harness: Harness) -> None:
        """A failed task is never replaced by another of its id, however long ago it failed."""
        backend = harness.open()
        settled(backend, B1, fail(held(backend, B1), ttl_ms=1_000))
        harness.advance(DAY + DEDUPE_MS)
        B1.same(list(backend.enqueue([job("a", body=b"other")])), [False], "the enqueue of an id with the failed tasks")
        B1.same(info(backend, "a", B1).status, TaskStatus.FAILURE, "the state of the failed task")

    def test_b2_a_fork_shares_the_queue(self, harness: Harness) -> None:
        """A handle that was used before a fork works in both processes, and they do not hold the same task."""
        backend = harness.open()
        if not (_FORKS and self.crosses_forks) or in_one_process(backend):
            return
        backend.enqueue(jobs(3))
        first = take(backend, 1)[0].message.id
        seen = [first, ids_a_fork_claims(backend, self.patience), *(d.message.id for d in take(backend, 1))]
        B2.same(seen, ["t000", "t001", "t002"], "what parent, child and parent claimed, one after the other")

    def test_b10_nothing_old_shows_while_it_waits(self, harness: Harness) -> None:
        """Progress is gone as soon as the task waits again, not only when it is claimed again."""
        backend = harness.open()
        extended(backend, held(backend, B10), Progress(1, 2))
        backend.release("one", [])
        B10.same(info(backend, "a", B10).progress, None, "the progress of a released task that waits")
        delivery = take_one(backend, B10)
        extended(backend, delivery, Progress(1, 2))
        settled(backend, B10, Settlement(delivery.receipt, Retry(5_000)))
        B10.same(info(backend, "a", B10).progress, None, "the progress of a task that waits for its retry")

    def test_b11_a_retry_keeps_what_was_counted(self, harness: Harness) -> None:
        """Crashes and returns are counted over all attempts."""
        backend = harness.open()
        backend.release("one", [held(backend, B11).receipt])
        settled(backend, B11, Settlement(take_one(backend, B11).receipt, Defer(1_000)))
        harness.advance(1_001)
        settled(backend, B11, Settlement(take_one(backend, B11).receipt, Retry()))
        message = readable(take_one(backend, B11), B11)
        seen = (message.attempt, message.crashes, message.deferrals)
        B11.same(seen, (2, 1, 1), "attempt, crashes and deferrals after a crash, a delayed return and a retry")

    def test_b13_a_removed_group_leaves_nothing(self, harness: Harness) -> None:
        """With a group goes all that was in it, wherever it stood."""
        backend = harness.open()
        take(backend)
        before = harness.footprint()
        other = harness.open("other")
        take(other)
        messages = [*jobs(10), *jobs(10, "d", delay_ms=60_000)]
        backend.enqueue(messages)
        one, two, three, *_ = take(other)
        settled(other, B13, done(one), fail(two), Settlement(three.receipt, Retry(60_000)))
        backend.remove_group("other")
        backend.delete([message.id for message in messages])
        harness.advance(60_001)
        take(backend)
        B13.same(harness.footprint() - before, 0, "what a removed group left behind")


class InspectorOverlooked(Contract):
    """I1, I2, I5 and I7, where they are easily overlooked."""

    def test_i1_a_silent_holder_is_listed(self, harness: Harness) -> None:
        """Who holds something is shown as long as it does, also if nothing was heard of it for most of a lease."""
        backend = harness.open()
        held(backend, I1)
        harness.advance(harness.lease // 2)
        backend.enqueue([job("b")])
        take(backend, 1, "two")
        holders = {consumer.name: tuple(consumer.in_flight) for consumer in backend.consumers() if consumer.in_flight}
        I1.same(holders, {"one": ("a",), "two": ("b",)}, "who holds what after half a lease")

    def test_i1_every_state_says_since_when(self, harness: Harness) -> None:
        """Whatever the state, `updated` says when the task was last heard of."""
        backend = harness.open()
        backend.enqueue([job("a")])
        seen = {"waiting": info(backend, "a", I1).updated_ms > 0}
        delivery = take_one(backend, I1)
        seen["held"] = info(backend, "a", I1).updated_ms > 0
        settled(backend, I1, done(delivery))
        seen["ended"] = info(backend, "a", I1).updated_ms > 0
        I1.same(seen, dict.fromkeys(seen, True), "whether `updated` is set")

    def test_i1_an_extension_is_no_start(self, harness: Harness) -> None:
        """Since when a task is held does not change with extensions of its lease; a store may not keep it at all."""
        backend = harness.open()
        delivery = held(backend, I1)
        harness.advance(1_000)
        first = info(backend, "a", I1).started_ms
        backend.extend([Extension(delivery.receipt)])
        second = info(backend, "a", I1).started_ms
        settled(backend, I1, done(delivery))
        I1.same(info(backend, "a", I1).started_ms, 0, "`started` of a task that has ended")
        # Two clocks of one server may differ by what they round.
        I1.same(abs(second - first) < 100, True, "whether `started` stays where it was when the lease is extended")

    def test_i2_a_requeue_clears_the_returns(self, harness: Harness) -> None:
        """A requeued task can be deferred as often as a new one."""
        backend = harness.open()
        settled(backend, I2, Settlement(held(backend, I2).receipt, Defer(1_000)))
        harness.advance(1_001)
        settled(backend, I2, Settlement(take_one(backend, I2).receipt, Fail("no use")))
        backend.requeue(["a"])
        I2.same(readable(take_one(backend, I2), I2).deferrals, 0, "the returns of a requeued task")

    def test_i5_a_remembered_id_can_be_freed(self, harness: Harness) -> None:
        """Where of an ended task only the id is left, `delete` removes that as well."""
        backend = harness.open(history=0)
        settled(backend, I5, done(held(backend, I5), ttl_ms=1_000))
        harness.advance(2_000)
        I5.same(backend.show(["a"])[0], None, "what is shown of a task without message and record")
        I5.same(list(backend.delete(["a"])), [True], "the deletion of a remembered id")
        I5.same(list(backend.enqueue([job("a")])), [True], "the enqueue of an id that was freed")

    def test_i7_a_failed_task_has_a_record(self, harness: Harness) -> None:
        """An adopted failure whose record was too old to come along gets one, as a failure without a record does."""
        backend = harness.open()
        backend.adopt([TaskInfo("a", TaskStatus.FAILURE, job("a"), reason="no use")])
        stored = I7.there(backend.get(["a"])[0], "there is no record of an adopted failure")
        I7.same(stored.error and stored.error.message, "no use", "the reason in the record that was made")
