"""`watch`: I6 watch."""

from __future__ import annotations

from collections.abc import Callable

from .prelude import Backend, Contract, Harness, law, m, s

I6 = law("I6")


def watching(backend: Backend) -> s.Call[m.TaskInfo | None]:
    """Start to watch the task `a` from its present state on: the call must wait."""
    __tracebackhide__ = True
    seen = s.info(backend, "a", I6)
    return s.waiting(I6, lambda: backend.watch("a", seen, None))


class WatchLaws(Contract):
    """I6."""

    def test_i6_a_difference_is_returned_at_once(self, harness: Harness) -> None:
        """`watch` with no state, or an outdated one, returns the current state, None for an unknown task."""
        backend = harness.open()
        backend.enqueue([s.job("a")])
        before = s.info(backend, "a", I6)
        s.take(backend)
        for seen in (None, before):
            call = s.Call(lambda seen=seen: backend.watch("a", seen, None))  # type: ignore[misc]
            found = call.result(self.patience, I6, "watch hangs though something differs")
            I6.same(found and found.status, m.TaskStatus.STARTED, "what watch returned")
        call = s.Call(lambda: backend.watch("unknown", None, None))
        I6.same(call.result(self.patience, I6, "watch hangs on an unknown task"), None, "what watch returned")

    def test_i6_progress_wakes(self, harness: Harness) -> None:
        """`watch` returns when the holder writes a progress."""
        backend, worker = harness.open(), harness.open()
        delivery = s.claimed(worker, I6)
        call = watching(backend)
        s.extended(worker, delivery, m.Progress(1, 2))
        found = call.result(self.patience, I6, "watch was not woken by progress")
        I6.same(found and found.progress, m.Progress(1, 2), "the progress that watch returned")

    def test_i6_watch_is_woken_soon(self, harness: Harness) -> None:
        """Many changes of progress, one after the other, each wake `watch`; a store that is polled is polled often."""
        backend, worker = harness.open(), harness.open()
        delivery = s.claimed(worker, I6)
        seen = [s.info(backend, "a", I6)]

        def follow(_: int) -> None:
            found = backend.watch("a", seen[-1], None)
            seen.append(I6.there(found, "watch returned None for a task in flight"))

        s.relay(
            I6,
            self.patience,
            f"{s.TURNS} calls of `watch` in turn took too long: it must be notified, or look at least every 50 ms",
            follow,
            lambda turn: s.extended(worker, delivery, m.Progress(turn, s.TURNS)),
        )
        done = [task.progress and task.progress.done for task in seen[1:]]
        I6.same(done, list(range(s.TURNS)), "what each call of `watch` saw")

    def test_i6_the_end_wakes(self, harness: Harness) -> None:
        """`watch` returns when the task ends."""
        backend, worker = harness.open(), harness.open()
        delivery = s.claimed(worker, I6)
        call = watching(backend)
        s.settled(worker, I6, s.done(delivery))
        found = call.result(self.patience, I6, "watch was not woken by the end")
        I6.same(found and found.status, m.TaskStatus.SUCCESS, "the status that watch returned")

    def test_i6_a_retry_wakes(self, harness: Harness) -> None:
        """`watch` returns when the task is put back to run again."""
        backend, worker = harness.open(), harness.open()
        delivery = s.claimed(worker, I6)
        call = watching(backend)
        s.settled(worker, I6, s.retry(delivery, 10_000))
        found = call.result(self.patience, I6, "watch was not woken by a retry")
        I6.same(found and found.status, m.TaskStatus.RETRY, "the status that watch returned")

    def test_i6_gives_up_at_its_timeout(self, harness: Harness) -> None:
        """At its timeout `watch` returns what there is, though nothing differs."""
        backend = harness.open()
        s.claimed(backend, I6)
        seen = s.info(backend, "a", I6)
        call = s.Call(lambda: backend.watch("a", seen, 30))
        found = call.result(self.patience, I6, "watch went on after its timeout")
        I6.same(found and found.status, m.TaskStatus.STARTED, "what watch returned at its timeout")

    def test_i6_a_deletion_wakes(self, harness: Harness) -> None:
        """`watch` returns None when its task is deleted."""
        backend, admin = harness.open(), harness.open()
        backend.enqueue([s.job("a")])
        call = watching(backend)
        admin.delete(["a"])
        I6.same(call.result(self.patience, I6, "watch was not woken by the deletion"), None, "what watch returned")

    def test_i6_a_timeout_of_zero_returns_at_once(self, harness: Harness) -> None:
        """A timeout of 0 is one look, not none at all."""
        backend = harness.open()
        s.claimed(backend, I6)
        seen = s.info(backend, "a", I6)
        call = s.Call(lambda: backend.watch("a", seen, 0))
        I6.there(call.result(self.patience, I6, "watch waits although it was given no time"), "watch returned nothing")

    def test_i6_the_state_at_the_timeout_is_returned(self, harness: Harness) -> None:
        """A change that wakes no call is returned at the timeout, not the earlier state."""
        backend, admin = harness.open(), harness.open()
        s.settled(backend, I6, s.done(s.claimed(backend, I6)))
        seen = s.info(backend, "a", I6)
        call = s.Call(lambda: backend.watch("a", seen, 300))
        call.waits()
        admin.delete(["a"])
        in_time = call.waits(0)
        found = call.result(self.patience, I6, "watch went on after its timeout")
        I6.holds(found is None or not in_time, "watch returned an old state of a task that had been deleted meanwhile")

    def test_i6_any_change_of_progress_wakes(self, harness: Harness) -> None:
        """Another text or total is news, also if no more is done."""
        backend, worker = harness.open(), harness.open()
        delivery = s.claimed(worker, I6)
        s.extended(worker, delivery, m.Progress(1, 2, "one"))
        for progress in (m.Progress(1, 2, "two"), m.Progress(1, 3, "two")):
            call = watching(backend)
            s.extended(worker, delivery, progress)
            found = call.result(self.patience, I6, "watch was not woken by another text or total")
            I6.same(found and found.progress, progress, "the progress that watch returned")

    def test_i6_each_end_wakes(self, harness: Harness) -> None:
        """`watch` returns when a task fails, and when it is cancelled while it waits."""
        backend, admin = harness.open(), harness.open()
        delivery = s.claimed(admin, I6, "a")
        steps: list[tuple[m.TaskStatus, Callable[[], object]]] = [
            (m.TaskStatus.FAILURE, lambda: admin.settle([s.fail(delivery)])),
            (m.TaskStatus.CANCELLED, lambda: admin.cancel(["a"])),
        ]
        for status, step in steps:
            backend.requeue(["a"])
            call = watching(backend)
            step()
            found = call.result(self.patience, I6, f"watch was not woken when the task became {status.name}")
            I6.same(found and found.status, status, "the status that watch returned")

    def test_i6_what_waits_again_wakes(self, harness: Harness) -> None:
        """`watch` returns when a task in flight is deferred or released."""
        backend, worker = harness.open(), harness.open()
        delivery = s.claimed(worker, I6)
        ways: dict[str, Callable[[m.Delivery], object]] = {
            "deferred": lambda delivery: worker.settle([s.defer(delivery)]),
            "released": lambda _: worker.release("one", []),
        }
        for name, way in ways.items():
            call = watching(backend)
            way(delivery)
            found = call.result(self.patience, I6, f"watch was not woken when its task was {name}")
            I6.same(found and found.status, m.TaskStatus.PENDING, f"the status of a task that was {name}")
            delivery = s.take_one(worker, I6)
