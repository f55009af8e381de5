"""`enqueue`: B1 idempotent."""

from __future__ import annotations

from ...model.message import evolve
from .prelude import Backend, Contract, Harness, law, m, s

B1 = law("B1")


def refuses_repeat(backend: Backend, when: str, message: m.Message | None = None) -> None:
    """B1: enqueueing the task again changes nothing."""
    __tracebackhide__ = True
    message = message or s.job("a")
    before = s.photo(backend, message.id)
    B1.same(list(backend.enqueue([message])), [False], f"a repeat counted as new {when}")
    B1.same(s.photo(backend, message.id), before, f"a repeat changed something {when}")


def _run_copies(harness: Harness, backend: Backend, task_id: str, end: str) -> list[m.Delivery]:
    """Inject a copy under a known id and run all there is; returns what was claimed beside the copy."""
    harness.inject({b"id": task_id.encode(), b"name": b"kit.job", b"body": b"copy"})
    others: list[m.Delivery] = []
    for turn in range(4):
        for delivery in s.take(backend, 1, f"consumer {turn}"):
            if s.readable(delivery, B1).body != b"copy":
                others.append(delivery)
            elif end == "released":
                backend.release(f"consumer {turn}", [delivery.receipt])
            elif end == "lease ended" and not others:
                harness.advance(harness.lease + 1)
            else:
                settlement = s.retry(delivery) if end == "retried" else s.done(delivery)
                statuses = backend.extend([m.Extension(delivery.receipt, m.Progress(1, None, "copy"))])
                B1.same(statuses, [m.LeaseStatus.LOST], "what `extend` returns for a copy")
                B1.same(list(backend.settle([settlement])), [False], "whether the settlement of a copy was accepted")
    return others


def _end(backend: Backend, task_id: str) -> m.Record | None:
    """A task's record, without the time, which the harness may move."""
    (record,) = backend.wait([task_id], 0)
    return record and evolve(record, ended_ms=0)


class EnqueueLaws(Contract):
    """B1."""

    def test_b1_a_new_message_is_accepted(self, harness: Harness) -> None:
        """Every new id returns True and can be claimed once."""
        backend = harness.open()
        B1.same(list(backend.enqueue(s.jobs(3))), [True, True, True], "new messages were refused")
        s.claims(backend, B1, ["t000", "t001", "t002"], "not every message could be claimed once")

    def test_b1_a_repeat_is_refused_while_the_task_waits(self, harness: Harness) -> None:
        """A repeat is refused for a ready, a delayed and a retried task."""
        backend = harness.open()
        backend.enqueue([s.job("a")])
        refuses_repeat(backend, "while it was ready")
        refuses_repeat(backend, "while it was ready, with a delay", s.job("a", delay_ms=5_000))
        backend.enqueue([s.job("late", delay_ms=5_000)])
        refuses_repeat(backend, "while it was delayed", s.job("late"))
        s.settled(backend, B1, s.retry(s.take_one(backend, B1), 5_000))
        refuses_repeat(backend, "after a retry")

    def test_b1_a_repeat_is_refused_while_the_task_is_in_flight(self, harness: Harness) -> None:
        """A repeat while a worker runs the task makes no second copy."""
        backend = harness.open()
        s.claimed(backend, B1)
        refuses_repeat(backend, "while it was in flight")

    def test_b1_a_repeat_is_refused_after_each_end(self, harness: Harness) -> None:
        """A task that is done, failed or cancelled is not run again by a repeat."""
        backend = harness.open()
        s.settled(backend, B1, s.done(s.claimed(backend, B1, "a")))
        s.settled(backend, B1, s.fail(s.claimed(backend, B1, "b")))
        backend.enqueue([s.job("c")])
        backend.cancel(["c"])
        for task_id, end in (("a", "done"), ("b", "failed"), ("c", "cancelled")):
            refuses_repeat(backend, f"after it was {end}", s.job(task_id))

    def test_b1_an_id_stays_known_for_an_hour(self, harness: Harness) -> None:
        """A short ttl of the record does not shorten the time in which repeats are recognised."""
        backend = harness.open(history=0)
        s.settled(backend, B1, s.done(s.claimed(backend, B1), ttl_ms=1_000))
        harness.advance(m.DEDUPE_MS - s.MINUTE)
        B1.same(list(backend.enqueue([s.job("a")])), [False], "the id was forgotten within the hour")
        s.claims(backend, B1, [], "the repeat could be claimed")

    def test_b1_an_id_is_free_when_its_time_is_over(self, harness: Harness) -> None:
        """Not a millisecond later: an hour after the end, or when the record can no longer be read."""
        for task_id, ttl_ms in (("short", 1_000), ("long", 2 * m.DEDUPE_MS)):
            backend = harness.open()
            s.settled(backend, B1, s.done(s.claimed(backend, B1, task_id), ttl_ms=ttl_ms))
            harness.advance(max(m.DEDUPE_MS, ttl_ms))
            B1.same(list(backend.enqueue([s.job(task_id)])), [True], "an enqueue when the time of the id was just over")
            s.settled(backend, B1, s.done(s.take_one(backend, B1)))

    def test_b1_an_id_stays_known_as_long_as_its_record(self, harness: Harness) -> None:
        """With a ttl longer than an hour, the id stays known for as long as the record."""
        backend = harness.open(history=0)
        s.settled(backend, B1, s.done(s.claimed(backend, B1), ttl_ms=3 * m.DEDUPE_MS))
        harness.advance(3 * m.DEDUPE_MS - s.MINUTE)
        B1.same(list(backend.enqueue([s.job("a")])), [False], "the id was forgotten before its record")

    def test_b1_an_id_stays_known_without_its_history(self, harness: Harness) -> None:
        """That the history forgets a message does not make its id new."""
        backend = harness.open(history=0)
        s.settled(backend, B1, s.done(s.claimed(backend, B1)))
        B1.same(list(backend.enqueue([s.job("a")])), [False], "the id was forgotten with the history")

    def test_b1_an_id_is_free_after_its_time(self, harness: Harness) -> None:
        """After the hour, or the ttl of the record, the id can be enqueued again, whatever the history shows."""
        backend = harness.open()
        first = s.claimed(backend, B1, body=b"first")
        s.settled(backend, B1, s.done(first, ttl_ms=3 * m.DEDUPE_MS))
        harness.advance(3 * m.DEDUPE_MS + s.MINUTE)
        self._starts_again(backend, first)
        s.settled(backend, B1, s.done(s.take_one(backend, B1), ttl_ms=1_000))
        B1.same(
            backend.depth().ready + backend.depth().in_flight,
            0,
            "how many are ready or in flight after the end of the second task",
        )
        harness.advance(m.DEDUPE_MS + s.MINUTE)
        self._starts_again(backend, first)
        backend.cancel(["a"])
        harness.advance(25 * m.DEDUPE_MS)
        self._starts_again(backend, first)

    def test_b1_a_batch_is_checked_against_itself(self, harness: Harness) -> None:
        """The same id twice in one batch is one task, the first."""
        backend = harness.open()
        accepted = backend.enqueue([s.job("a", body=b"first"), s.job("b"), s.job("a", body=b"second")])
        B1.same(list(accepted), [True, True, False], "the results for a batch with a repeat in it")
        bodies = [s.readable(delivery, B1).body for delivery in s.take(backend)]
        B1.same(bodies[:1], [b"first"], "the repeat replaced the first")
        B1.same(len(bodies), 2, "the repeat made another copy")

    def test_b1_an_id_known_in_one_group_is_known(self, harness: Harness) -> None:
        """A repeat is refused everywhere also when only one group still has the task."""
        one, other = s.groups(harness, "one", "other")
        one.enqueue([s.job("a")])
        s.settled(one, B1, s.done(s.take_one(one, B1)))
        other.delete(["a"])
        B1.same(list(one.enqueue([s.job("a")])), [False], "an id that one group knows counted as new")
        s.claims(other, B1, [], "a refused repeat was copied into a group")

    def test_b1_an_id_that_only_another_group_knows_is_known(self, harness: Harness) -> None:
        """A repeat is refused over a group that has deleted the task, and over one that never had it."""
        one, other = s.groups(harness, "one", "other")
        other.enqueue([s.job("a"), s.job("b")])
        s.settled(other, B1, s.done(s.take(other, 1)[0]))
        one.delete(["a", "b"])
        late = harness.open("late")
        for backend in (one, late):
            refused = list(backend.enqueue([s.job("a"), s.job("b")]))
            B1.same(refused, [False, False], "ids that only another group knows counted as new")
        for backend in (one, late):
            s.claims(backend, B1, [], "a refused repeat was copied into a group")

    def test_b1_ids_are_compared_whole(self, harness: Harness) -> None:
        """Two ids are one only if every character is the same."""
        backend = harness.open()
        ids = ["a", "A", "a.", "-a", ".a", "a.tmp", "x" * 63 + "1", "x" * 63 + "2", "..", "1", "01", "1000", "1e3"]
        B1.same(list(backend.enqueue([s.job(task_id) for task_id in ids])), [True] * len(ids), f"the enqueue of {ids}")
        s.claims(backend, B1, ids, "what could be claimed of them")

    def test_b1_a_repeat_does_not_affect_the_rest_of_the_batch(self, harness: Harness) -> None:
        """What is new in a batch is accepted, whatever else is in it."""
        backend = harness.open()
        backend.enqueue([s.job("b")])
        accepted = list(backend.enqueue([s.job("b"), s.job("a"), s.job("b"), s.job("c")]))
        B1.same(accepted, [False, True, False, True], "the results for a batch with repeats in it")

    def test_b1_a_foreign_copy_of_what_waits_changes_nothing(self, harness: Harness) -> None:
        """An entry that another program wrote under a known id: whatever becomes of it, the task runs once, as it was
        accepted."""
        backend = harness.open()
        s.take(backend)
        for number, end in enumerate(("settled", "retried", "released", "lease ended")):
            for place in ("ready", "delayed", "in-flight"):
                task_id = f"{place}{number}"
                delay = s.MINUTE if place == "delayed" else 0
                backend.enqueue([s.job(task_id, body=b"accepted", delay_ms=delay)])
                own = s.take(backend) if place == "in-flight" else []
                runs = [*own, *_run_copies(harness, backend, task_id, end if place != "in-flight" else "settled")]
                harness.advance(delay + 1)
                runs += [] if runs else s.take(backend)
                B1.same([s.readable(run, B1).body for run in runs], [b"accepted"], f"what ran of a {place} task")
                s.settled(backend, B1, s.done(runs[0]))

    def test_b1_a_foreign_copy_of_what_ended_changes_nothing(self, harness: Harness) -> None:
        """An entry that another program wrote under the id of a task that ended not long ago: its end stays."""
        backend = harness.open()
        for number, end in enumerate(("settled", "retried", "released", "lease ended")):
            for place in ("history", "failed"):
                own = s.claimed(backend, B1, f"{place}{number}")
                s.settled(backend, B1, s.done(own) if place == "history" else s.fail(own))
                ended = [_end(backend, own.message.id), s.counts(backend)]
                B1.same(_run_copies(harness, backend, own.message.id, end), [], "what ran beside a copy")
                B1.same([_end(backend, own.message.id), s.counts(backend)], ended, f"the end of a {place} task")

    def test_b1_a_repeat_with_other_contents_is_refused(self, harness: Harness) -> None:
        """The id decides: another body or name under it replaces nothing."""
        backend = harness.open()
        backend.enqueue([s.job("a"), s.job("late", delay_ms=10_000)])
        before = s.photo(backend)
        repeats = [m.Message(task_id, "kit.other", b"other", headers={"k": "v"}) for task_id in ("a", "late")]
        B1.same(list(backend.enqueue(repeats)), [False, False], "repeats with other contents counted as new")
        B1.same(s.photo(backend), before, "repeats with other contents changed something")

    def test_b1_a_thousand_enqueued_at_once(self, harness: Harness) -> None:
        """A batch larger than a page is accepted whole, and known whole."""
        backend = harness.open()
        s.many(backend, B1)
        B1.same(list(backend.enqueue(s.jobs(s.MANY))).count(True), 0, f"how many of {s.MANY} repeats counted as new")
        B1.same(s.ids_of(s.drain(backend, 400)), s.NAMES, f"what could be claimed of {s.MANY}")

    def test_b1_an_id_is_known_however_long_its_task_waits(self, harness: Harness) -> None:
        """A task that waits or runs long after the hour keeps its id known; its hour begins with its end."""
        backend = harness.open(history=0)
        backend.enqueue([s.job("a", delay_ms=3 * m.DEDUPE_MS)])
        harness.advance(2 * m.DEDUPE_MS)
        B1.same(list(backend.enqueue([s.job("a")])), [False], "a repeat while the task was delayed, after two hours")
        harness.advance(2 * m.DEDUPE_MS)
        s.settled(backend, B1, s.fail(s.take_one(backend, B1), ttl_ms=1_000))
        harness.advance(2 * m.DEDUPE_MS)
        B1.same(list(backend.requeue(["a"])), [True], "the requeue of a failed task")
        B1.same(list(backend.enqueue([s.job("a")])), [False], "a repeat while it was ready again")
        s.settled(backend, B1, s.done(s.take_one(backend, B1), ttl_ms=1_000))
        harness.advance(m.DEDUPE_MS // 2)
        B1.same(list(backend.enqueue([s.job("a")])), [False], "a repeat half an hour after its end")

    def test_b1_the_cancelled_stay_known_without_their_history(self, harness: Harness) -> None:
        """A task that was cancelled while it waited is known as long as one that ran."""
        backend = harness.open(history=0)
        backend.enqueue([s.job("a")])
        backend.cancel(["a"])
        s.take(backend)
        B1.same(list(backend.enqueue([s.job("a")])), [False], "a repeat after a cancellation, without a history")

    def test_b1_a_repeat_in_a_batch_is_refused_with_a_delay(self, harness: Harness) -> None:
        """The same id twice in one batch is one task, also if one of the two is delayed."""
        backend = harness.open()
        batch = [s.job("a", delay_ms=10_000), s.job("a"), s.job("b"), s.job("b", delay_ms=10_000)]
        B1.same(list(backend.enqueue(batch)), [True, False, True, False], "the results for a batch with repeats in it")
        s.places(backend, B1, "after it", ready=1, delayed=1)

    def test_b1_two_producers_at_once(self, harness: Harness) -> None:
        """Of two that enqueue the same ids at the same time, each gets True for the ids with which it was first."""
        backend, other = harness.open(), harness.open()
        s.take(other)
        messages = s.jobs(40)
        s.once_each(B1, self.patience, (backend, other), lambda handle, one: handle.enqueue([one])[0], messages)
        B1.same(sorted(s.ids_of(s.drain(backend, 40))), [one.id for one in messages], "what could be claimed after it")

    def test_b1_the_failed_stay_known(self, harness: Harness) -> None:
        """A failed task is never replaced by another of its id, however long ago it failed."""
        backend = harness.open()
        s.settled(backend, B1, s.fail(s.claimed(backend, B1), ttl_ms=1_000))
        harness.advance(s.DAY + m.DEDUPE_MS)
        B1.same(
            list(backend.enqueue([s.job("a", body=b"other")])), [False], "the enqueue of an id with the failed tasks"
        )
        B1.same(s.info(backend, "a", B1).status, m.TaskStatus.FAILURE, "the status of the failed task")

    def _starts_again(self, backend: Backend, first: m.Delivery) -> None:
        __tracebackhide__ = True
        B1.same(
            list(backend.enqueue([s.job("a", body=b"again")])), [True], "an enqueue when the time of the id was over"
        )
        B1.same(list(backend.enqueue([s.job("a")])), [False], "a repeat of that enqueue")
        B1.same(list(backend.wait(["a"], 0)), [None], "the record of the new task, which no worker has claimed")
        shown = s.info(backend, "a", B1)
        B1.same((shown.status, shown.record), (m.TaskStatus.PENDING, None), "what is shown of the new task")
        waiting = [task.id for task in s.all_tasks(backend, m.TaskStatus.PENDING)]
        B1.same(waiting, ["a"], "the tasks that wait")
        B1.same(list(backend.settle([s.done(first)])), [False], "the first task's receipt, used for the new one")
        B1.same(backend.depth().ready, 1, "how many tasks are ready")
        seen = s.info(backend, "a", B1).message
        B1.same(getattr(seen, "body", None), b"again", "the body of the new task")
