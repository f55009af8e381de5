"""The laws about intervening: I2 requeue, I3 cancel, I5 delete, I7 adopt."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import evolve

from ...errors import ConfigurationError
from ...message import (
    ADOPTABLE,
    Cancelled,
    Defer,
    Delivery,
    Done,
    Fail,
    LeaseStatus,
    Message,
    Record,
    Retry,
    Settlement,
    TaskInfo,
    TaskStatus,
    Unreadable,
)
from ...protocols import Backend
from .harness import (
    EVERY_BYTE,
    Call,
    Contract,
    Harness,
    counts,
    decided,
    done,
    extended,
    fail,
    held,
    ids_of,
    info,
    job,
    photo,
    readable,
    settled,
    take,
    take_one,
)
from .laws import law

I2, I3, I5, I7 = law("I2"), law("I3"), law("I5"), law("I7")


class AdministerLaws(Contract):
    """I2, I3, I5 and I7."""

    # I2

    def test_i2_what_ended_runs_again_from_the_start(self, harness: Harness) -> None:
        """A requeued task has its id and bytes, attempt 1, no crashes, and no record."""
        backend = harness.open()
        for task_id, verdict in (("a", Done()), ("b", Fail("no use")), ("c", Cancelled())):
            settled(backend, I2, Settlement(held(backend, I2, task_id, headers={"k": task_id}).receipt, Retry()))
            settled(backend, I2, Settlement(take_one(backend, I2).receipt, Defer()))
            delivery = take_one(backend, I2)
            backend.release("one", [delivery.receipt])
            settled(backend, I2, decided(take_one(backend, I2), verdict))
            I2.same(list(backend.requeue([task_id])), [True], f"the requeue of a task after {verdict}")
            found = info(backend, task_id, I2)
            seen = (found.status, found.record, found.reason, backend.get([task_id])[0])
            I2.same(seen, (TaskStatus.PENDING, None, "", None), "state, record, reason and record of a requeued task")
            message = readable(take_one(backend, I2), I2)
            wanted = (task_id, EVERY_BYTE, {"k": task_id}, 1, 0, False, 0)
            header = (message.attempt, message.crashes, message.redelivered, message.deferrals)
            I2.same((message.id, message.body, dict(message.headers), *header), wanted, "the requeued message")
            backend.release("one", [])
            backend.delete([task_id])

    def test_i2_a_requeued_task_ends_anew(self, harness: Harness) -> None:
        """Who waits after a requeue gets the new result, not the old one."""
        backend = harness.open()
        settled(backend, I2, done(held(backend, I2), value=b"old"))
        backend.requeue(["a"])
        call = Call(lambda: backend.wait(["a"], None))
        I2.holds(call.waits(), "wait answered after a requeue, before the new end")
        settled(backend, I2, done(take_one(backend, I2), value=b"new"))
        got = call.answer(self.patience, I2, "wait was not woken by the new end")
        I2.same([record and record.value for record in got], [b"new"], "the result after a requeue")

    def test_i2_refused_while_under_way(self, harness: Harness) -> None:
        """Nothing that is ready, held, delayed, requeued already or unknown is requeued."""
        backend = harness.open()
        held(backend, I2, "held")
        settled(backend, I2, done(held(backend, I2, "twice")))
        backend.enqueue([job("ready"), job("delayed", delay_ms=10_000)])
        ids = ["held", "ready", "delayed", "unknown", "twice", "twice"]
        I2.same(list(backend.requeue(ids)), [False, False, False, False, True, False], f"the requeue of {ids}")
        I2.same(counts(backend), (2, 1, 1, 0, 0), "ready, held, delayed, failed, finished after it")

    # I3

    def test_i3_a_waiting_task_ends_at_once(self, harness: Harness) -> None:
        """A ready and a delayed task are cancelled with a record, and never run."""
        backend = harness.open()
        backend.enqueue([job("a"), job("b", delay_ms=10_000), job("c")])
        I3.same(list(backend.cancel(["b", "a"])), [True, True], "the cancellation of two waiting tasks")
        ends = [record and record.status for record in backend.get(["a", "b"])]
        I3.same(ends, [TaskStatus.CANCELLED] * 2, "their records")
        I3.same(counts(backend), (1, 0, 0, 0, 2), "ready, held, delayed, failed, finished after it")
        harness.advance(10_001)
        I3.same(ids_of(take(backend)), ["c"], "what could be claimed after two of three were cancelled")

    def test_i3_the_holder_learns_it(self, harness: Harness) -> None:
        """The holder of a cancelled task is told with each extension, keeps it until it settles, and may finish."""
        backend = harness.open()
        delivery = held(backend, I3)
        I3.same(extended(backend, delivery), LeaseStatus.HELD, "an extension before the cancellation")
        I3.same(list(backend.cancel(["a"])), [True], "the cancellation of a held task")
        I3.same([extended(backend, delivery) for _ in range(2)], [LeaseStatus.CANCEL] * 2, "the extensions after it")
        I3.same(info(backend, "a", I3).status, TaskStatus.STARTED, "the state of a held task that is cancelled")
        settled(backend, I3, done(delivery))
        I3.same(info(backend, "a", I3).status, TaskStatus.SUCCESS, "the state of a task that was done all the same")

    def test_i3_the_holder_learns_how_it_was_asked(self, harness: Harness) -> None:
        """A second request is another answer, a forced one too; what was asked is never taken back."""
        backend = harness.open()
        delivery = held(backend, I3)
        answers = []
        for force in (False, False, False, True, False):
            I3.same(list(backend.cancel(["a"], force)), [True], "the cancellation of a held task")
            answers.append(extended(backend, delivery))
        wanted = [
            LeaseStatus.CANCEL,
            LeaseStatus.CANCEL_AGAIN,
            LeaseStatus.CANCEL_AGAIN,
            LeaseStatus.KILL,
            LeaseStatus.KILL,
        ]
        I3.same(answers, wanted, "the extensions after a request, two more, a forced one and another")
        settled(backend, I3, decided(delivery, Retry()))
        I3.same(info(backend, "a", I3).status, TaskStatus.CANCELLED, "the state of a task that would wait again")
        backend.requeue(["a"])
        (again,) = take(backend)
        I3.same(extended(backend, again), LeaseStatus.HELD, "an extension after it was made ready again")

    def test_i3_a_forced_cancellation_of_a_held_task_comes_first(self, harness: Harness) -> None:
        """It need not have been asked for before."""
        backend = harness.open()
        delivery = held(backend, I3)
        I3.same(list(backend.cancel(["a"], force=True)), [True], "the forced cancellation of a held task")
        I3.same(extended(backend, delivery), LeaseStatus.KILL, "the extension after it")

    def test_i3_the_holder_stops(self, harness: Harness) -> None:
        """A holder that obeys ends the task as cancelled."""
        backend = harness.open()
        delivery = held(backend, I3)
        backend.cancel(["a"])
        settled(backend, I3, decided(delivery, Cancelled()))
        stored = I3.there(backend.get(["a"])[0], "there is no record")
        I3.same((stored.status, counts(backend)), (TaskStatus.CANCELLED, (0, 0, 0, 0, 1)), "its end and its place")

    def test_i3_nothing_cancelled_runs_again(self, harness: Harness) -> None:
        """A cancelled task that is retried, returned, released or left by its holder ends instead."""
        backend = harness.open()
        ways: dict[str, Callable[[Delivery], object]] = {
            "retry": lambda held_: settled(backend, I3, Settlement(held_.receipt, Retry())),
            "late-retry": lambda held_: settled(backend, I3, Settlement(held_.receipt, Retry(10_000))),
            "return": lambda held_: settled(backend, I3, Settlement(held_.receipt, Defer())),
            "release": lambda _: backend.release("one", []),
            "lease": lambda _: harness.advance(harness.lease + 1),
        }
        for name, way in ways.items():
            delivery = held(backend, I3, name)
            backend.cancel([name])
            way(delivery)
            I3.same(ids_of(take(backend)), [], f"what could be claimed of a cancelled task ({name})")
            I3.same(info(backend, name, I3).status, TaskStatus.CANCELLED, f"its state ({name})")
        I3.same(counts(backend), (0, 0, 0, 0, 5), "ready, held, delayed, failed, finished after all of it")

    def test_i3_what_ended_is_not_cancelled(self, harness: Harness) -> None:
        """A cancellation that comes too late, or for an unknown id, is answered with False and changes nothing."""
        backend = harness.open()
        settled(backend, I3, done(held(backend, I3, "done")))
        settled(backend, I3, fail(held(backend, I3, "buried")))
        before = photo(backend)
        answers = list(backend.cancel(["done", "buried", "unknown"]))
        I3.same(answers, [False, False, False], "the cancellation of a done, a failed and an unknown task")
        I3.same(photo(backend), before, "a refused cancellation changed something")

    def test_i3_a_requeue_is_a_new_start(self, harness: Harness) -> None:
        """A cancelled task that somebody requeues runs, and its holder is not told to stop."""
        backend = harness.open()
        delivery = held(backend, I3)
        backend.cancel(["a"])
        settled(backend, I3, decided(delivery, Cancelled()))
        backend.requeue(["a"])
        I3.same(extended(backend, take_one(backend, I3)), LeaseStatus.HELD, "an extension after a requeue")

    # I5

    def test_i5_what_nobody_holds_is_deleted(self, harness: Harness) -> None:
        """A ready, delayed, failed or finished task goes with its record, and never runs."""
        backend = harness.open()
        settled(backend, I5, done(held(backend, I5, "done")))
        settled(backend, I5, fail(held(backend, I5, "buried")))
        backend.enqueue([job("ready"), job("delayed", delay_ms=10_000), job("kept")])
        ids = ["ready", "delayed", "buried", "done"]
        I5.same(list(backend.delete(ids)), [True] * 4, f"the deletion of {ids}")
        I5.same(
            [list(backend.show(ids)), list(backend.get(ids))], [[None] * 4] * 2, "what is known and stored after it"
        )
        I5.same(counts(backend), (1, 0, 0, 0, 0), "ready, held, delayed, failed, finished after it")
        harness.advance(10_001)
        I5.same(ids_of(take(backend)), ["kept"], "what could be claimed after it")

    def test_i5_a_held_task_is_not_deleted(self, harness: Harness) -> None:
        """The deletion of a held or unknown task is answered with False and changes nothing."""
        backend = harness.open()
        delivery = held(backend, I5)
        before = photo(backend)
        I5.same(list(backend.delete(["a", "unknown"])), [False, False], "the deletion of a held and an unknown task")
        I5.same(photo(backend), before, "a refused deletion changed something")
        I5.same(list(backend.settle([done(delivery)])), [True], "the holder's settlement after it")

    # I7

    def test_i7_what_left_comes_back_as_it_was(self, harness: Harness) -> None:
        """Tasks that were shown, deleted and adopted stand where they stood, with header, bytes, reason and record."""
        backend = harness.open()
        settled(backend, I7, fail(held(backend, I7, "failed", headers={"k": "v"}), "no use", ttl_ms=50_000))
        settled(backend, I7, Settlement(held(backend, I7, "bare").receipt, Fail("no record")))
        injected = harness.inject({b"body": EVERY_BYTE, b"odd": b"\xff"})
        settled(backend, I7, fail(take_one(backend, I7), "no message"))
        settled(backend, I7, Settlement(held(backend, I7, "retry", headers={"k": "v"}).receipt, Retry()))
        crashed = take_one(backend, I7)
        backend.release("one", [crashed.receipt])
        settled(backend, I7, Settlement(take_one(backend, I7).receipt, Defer(delay_ms=20_000)))
        backend.enqueue([job("ready"), job("delayed", delay_ms=10_000)])
        ids = ["bare", injected, "failed", "retry", "delayed", "ready"]
        before, tasks = _state(backend, ids), list(backend.show(ids))
        I7.same(list(backend.delete(ids)), [True] * len(ids), "the deletion that makes room")

        taken = list(backend.adopt([task for task in tasks if task is not None]))

        I7.same(taken, [True] * len(ids), "the adoption of what is not known")
        I7.same(_state(backend, ids), before, "the adopted tasks, against what they were")
        I7.same(counts(backend), (1, 0, 2, 3, 0), "ready, held, delayed, failed, finished after it")
        settled(backend, I7, done(take_one(backend, I7)))
        harness.advance(10_001)
        delayed = take_one(backend, I7)
        I7.same(delayed.message.id, "delayed", "what could be claimed when the first delay was over")
        settled(backend, I7, done(delayed))
        harness.advance(10_001)
        message = readable(take_one(backend, I7), I7)
        header = (message.id, message.attempt, message.crashes, message.redelivered, message.deferrals)
        I7.same(header, ("retry", 2, 1, True, 1), "id, attempt, crashes, redelivered and returns of what was retried")
        I7.same((message.body, dict(message.headers)), (EVERY_BYTE, {"k": "v"}), "its body and headers")

    def test_i7_in_order(self, harness: Harness) -> None:
        """Adopted tasks are claimed in the order in which they were given, behind what was there."""
        backend = harness.open()
        backend.enqueue([job("b"), job("a"), job("c")])
        tasks = [info(backend, task_id, I7) for task_id in ("c", "a", "b")]
        backend.delete(["a", "b", "c"])
        backend.enqueue([job("first")])
        backend.adopt(tasks)
        I7.same(ids_of(take(backend)), ["first", "c", "a", "b"], "the order in which adopted tasks were claimed")

    def test_i7_adopted_failures_can_be_requeued(self, harness: Harness) -> None:
        """What was adopted as failed runs again from the start, as any failed task does."""
        backend = harness.open()
        settled(backend, I7, fail(held(backend, I7)))
        task = info(backend, "a", I7)
        backend.delete(["a"])
        backend.adopt([task])
        I7.same(list(backend.requeue(["a"])), [True], "the requeue of a failed task that was adopted")
        message = readable(take_one(backend, I7), I7)
        I7.same((message.id, message.attempt, message.body), ("a", 1, EVERY_BYTE), "the requeued message")

    def test_i7_into_one_group_only(self, harness: Harness) -> None:
        """No other group gets a copy."""
        backend, other = harness.open("a"), harness.open("b")
        other.lease_ms()
        backend.enqueue([job("x")])
        task = info(backend, "x", I7)
        for side in (backend, other):
            side.delete(["x"])
        I7.same(list(backend.adopt([task])), [True], "the adoption")
        I7.same([counts(backend)[0], counts(other)[0]], [1, 0], "how much is ready in the group that adopted, and not")

    def test_i7_what_is_known_is_refused(self, harness: Harness) -> None:
        """An id that waits, is held, or has ended not long ago stays what it is, and twice in a batch counts once."""
        backend = harness.open()
        backend.enqueue([job("new")])
        new = info(backend, "new", I7)
        backend.delete(["new"])
        settled(backend, I7, done(held(backend, I7, "done")))
        settled(backend, I7, fail(held(backend, I7, "buried")))
        held(backend, I7, "held")
        backend.enqueue([job("ready"), job("delayed", delay_ms=10_000)])
        known = ["ready", "delayed", "held", "done", "buried"]
        before = photo(backend)

        answers = list(backend.adopt([evolve(new, id=name, message=job(name, body=b"other")) for name in known]))

        I7.same(answers, [False] * len(known), f"the adoption of {known}")
        I7.same(photo(backend), before, "a refused adoption changed something")
        I7.same(list(backend.adopt([new, new])), [True, False], "the adoption of one task twice")
        I7.same(counts(backend)[0], 2, "how much is ready after it")

    def test_i7_only_what_waits_or_failed(self, harness: Harness) -> None:
        """A held or finished task among them, or one without its message, and nothing of the batch is taken in."""
        backend = harness.open()
        backend.enqueue([job("a")])
        task = info(backend, "a", I7)
        backend.delete(["a"])
        before = photo(backend)
        wrong = [evolve(task, id="b", status=status) for status in TaskStatus if status not in ADOPTABLE]
        for other in (*wrong, evolve(task, id="b", message=None)):
            try:
                backend.adopt([task, other])
            except ConfigurationError:
                pass
            else:
                raise I7.broken(f"a task was adopted that is {other.status.name} with the message {other.message}")
            I7.same(photo(backend), before, "a refused adoption changed something")
        I7.same(list(backend.adopt([])), [], "the adoption of nothing")


def _state(backend: Backend, ids: Sequence[str]) -> list[TaskInfo | None]:
    """What is shown of the tasks, without the times that every store stamps itself."""
    return [
        task and evolve(task, updated_ms=0, message=_unstamped(task), record=_undated(task))
        for task in backend.show(ids)
    ]


def _unstamped(task: TaskInfo) -> Message | Unreadable | None:
    return evolve(task.message, enqueued_ms=0) if isinstance(task.message, Message) else task.message


def _undated(task: TaskInfo) -> Record | None:
    return task.record and evolve(task.record, ended_ms=0)
