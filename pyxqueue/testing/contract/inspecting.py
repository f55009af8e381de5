"""The laws about looking: I1 states, I4 list, I6 watch."""

from __future__ import annotations

from ...errors import ConfigurationError
from ...message import Defer, Done, Progress, Retry, Settlement, TaskInfo, TaskStatus
from ...protocols import Backend
from .harness import (
    EVERY_BYTE,
    Call,
    Contract,
    Harness,
    all_tasks,
    counts,
    done,
    extended,
    fail,
    held,
    info,
    job,
    jobs,
    settled,
    take,
    take_one,
)
from .laws import law

I1, I4, I6 = law("I1"), law("I4"), law("I6")


class LookLaws(Contract):
    """I1, I4 and I6."""

    # I1

    def test_i1_a_task_goes_through_its_states(self, harness: Harness) -> None:
        """From the enqueue over a delayed retry to success the state is always what is going on."""
        backend = harness.open()
        seen = []

        def look() -> None:
            found = info(backend, "a", I1)
            seen.append((found.status, found.worker, counts(backend)))

        backend.enqueue([job("a", delay_ms=10_000)])
        look()
        harness.advance(10_001)
        delivery = take_one(backend, I1, "two")
        look()
        settled(backend, I1, Settlement(delivery.receipt, Retry(10_000)))
        look()
        harness.advance(10_001)
        backend.promote(256)
        look()
        settled(backend, I1, done(take_one(backend, I1)))
        look()
        wanted = [
            (TaskStatus.PENDING, "", (0, 0, 1, 0, 0)),
            (TaskStatus.STARTED, "two", (0, 1, 0, 0, 0)),
            (TaskStatus.RETRY, "", (0, 0, 1, 0, 0)),
            (TaskStatus.RETRY, "", (1, 0, 0, 0, 0)),
            (TaskStatus.SUCCESS, "one", (0, 0, 0, 0, 1)),
        ]
        I1.same(seen, wanted, "state, worker and place of a task that is delayed, retried and done")

    def test_i1_a_first_attempt_that_is_handed_back_is_pending(self, harness: Harness) -> None:
        """Being handed back or redelivered is no retry."""
        backend = harness.open()
        delivery = held(backend, I1)
        settled(backend, I1, Settlement(delivery.receipt, Defer(5_000)))
        I1.same(info(backend, "a", I1).status, TaskStatus.PENDING, "the state after a return")
        harness.advance(5_001)
        take_one(backend, I1)
        backend.release("one", [])
        I1.same(info(backend, "a", I1).status, TaskStatus.PENDING, "the state after a release")

    def test_i1_the_end_is_what_the_record_says(self, harness: Harness) -> None:
        """A failure that is not kept with the failed tasks is a failure all the same."""
        backend = harness.open()
        delivery = held(backend, I1)
        settled(backend, I1, Settlement(delivery.receipt, Done(), fail(delivery).record))
        I1.same(info(backend, "a", I1).status, TaskStatus.FAILURE, "the state of a task whose record is a failure")
        I1.same(counts(backend), (0, 0, 0, 0, 1), "ready, held, delayed, failed, finished")

    def test_i1_the_end_is_shown_with_its_record(self, harness: Harness) -> None:
        """Who looks at a finished task sees the message and what became of it."""
        backend = harness.open()
        settled(backend, I1, done(held(backend, I1)))
        found = info(backend, "a", I1)
        I1.same(found.record and found.record.value, EVERY_BYTE, "the value that is shown")
        I1.holds(found.message, "the message is not shown although it is in the history")

    def test_i1_a_task_is_shown_as_long_as_its_record(self, harness: Harness) -> None:
        """Without a place in the history a task is shown with its record only, and then not at all."""
        backend = harness.open(history=0)
        settled(backend, I1, done(held(backend, I1), ttl_ms=10_000))
        found = info(backend, "a", I1)
        I1.same(
            (found.status, found.message), (TaskStatus.SUCCESS, None), "state and message of a task without history"
        )
        harness.advance(10_001)
        I1.same(list(backend.show(["a"])), [None], "what is shown when neither message nor record is left")

    def test_i1_unknown_tasks_are_none(self, harness: Harness) -> None:
        """`show` answers in the order of the ids, None for those that are not known."""
        backend = harness.open()
        backend.enqueue(jobs(2))
        seen = [task and task.id for task in backend.show(["t001", "nobody", "t000"])]
        I1.same(seen, ["t001", None, "t000"], "what show answered")

    def test_i1_consumers_hold_what_they_claimed(self, harness: Harness) -> None:
        """Each consumer is listed with the tasks that it holds now."""
        backend = harness.open()
        backend.enqueue(jobs(3))
        first = take(backend, 2, "one")
        take(backend, 1, "two")
        settled(backend, I1, done(first[0]))
        held_by = {consumer.name: sorted(consumer.in_flight) for consumer in backend.consumers()}
        I1.same(held_by, {"one": ["t001"], "two": ["t002"]}, "who holds what")

    def test_i1_depth_knows_the_oldest(self, harness: Harness) -> None:
        """The age of the longest waiting message is told in ms, 0 if none waits."""
        backend = harness.open()
        take(backend)
        I1.same(backend.depth().oldest_ms, 0, "the age of the longest waiting message when there is none")
        backend.enqueue([job("a")])
        harness.advance(10_000)
        backend.enqueue([job("b")])
        I1.holds(10_000 <= backend.depth().oldest_ms < 20_000, "the longest waiting message has waited for 10 s")

    # I4

    def test_i4_each_task_is_listed_once(self, harness: Harness) -> None:
        """However small the pages, the list has each task once, the last put in its place first."""
        backend = harness.open()
        wanted: list[str] = []
        for batch in range(4):
            messages = jobs(6, f"b{batch}-")
            backend.enqueue(messages)
            wanted += [message.id for message in messages]
            harness.advance(10)
        wanted.reverse()
        for count in (100, 24, 7, 1):
            seen = [task.id for task in all_tasks(backend, count=count)]
            I4.same(seen, wanted, f"the tasks in pages of {count}")

    def test_i4_a_page_is_no_larger_than_asked(self, harness: Harness) -> None:
        """A page has at most `count` tasks, and the cursor after the last page is empty."""
        backend = harness.open()
        backend.enqueue(jobs(5))
        sizes, cursor = [], ""
        for _ in range(4):
            page, cursor = backend.tasks(None, cursor, 2)
            sizes.append(len(page))
            if not cursor:
                break
        I4.same([size for size in sizes if size], [2, 2, 1], "the sizes of pages of 2 of 5 tasks")
        I4.same(cursor, "", "the cursor after the last page")

    def test_i4_depth_counts_the_same(self, harness: Harness) -> None:
        """For every state the list has as many tasks as there are in its places, also in small pages."""
        backend = harness.open()
        self._one_of_each(backend)
        wanted = {
            TaskStatus.PENDING: {"ready", "delayed"},
            TaskStatus.RETRY: {"retried"},
            TaskStatus.STARTED: {"held"},
            TaskStatus.FAILURE: {"buried"},
            TaskStatus.SUCCESS: {"done"},
            TaskStatus.CANCELLED: {"cancelled"},
        }
        for count in (100, 2, 1):
            listed = {state: [task.id for task in all_tasks(backend, state, count)] for state in wanted}
            I4.same({state: set(ids) for state, ids in listed.items()}, wanted, "the tasks in each state")
            I4.same(sum(map(len, listed.values())), 7, "how many tasks the states have together")
        I4.same(counts(backend), (2, 1, 1, 1, 2), "ready, held, delayed, failed, finished")
        I4.same(len(all_tasks(backend)), sum(counts(backend)), "how many tasks are listed without a state")

    def test_i4_the_list_says_what_show_says(self, harness: Harness) -> None:
        """A task is the same in the list and on its own."""
        backend = harness.open()
        self._one_of_each(backend)
        for task in all_tasks(backend):
            I4.same(task, info(backend, task.id, I4), "a task in the list and on its own")

    def test_i4_the_history_outlives_the_records(self, harness: Harness) -> None:
        """A finished task is listed for as long as it is in the history, also without its record."""
        backend = harness.open()
        settled(backend, I4, done(held(backend, I4), ttl_ms=10_000))
        harness.advance(10_001)
        I4.same(counts(backend), (0, 0, 0, 0, 1), "ready, held, delayed, failed, finished after the record has ended")
        seen = [(task.id, task.status, task.record) for task in all_tasks(backend)]
        I4.same(seen, [("a", TaskStatus.SUCCESS, None)], "the tasks after the record has ended")

    def test_i4_a_made_up_cursor_is_refused(self, harness: Harness) -> None:
        """A cursor that no page answered raises `ConfigurationError`."""
        backend = harness.open()
        take(backend)
        for cursor in ("no cursor", "-1", '{"live": "x"}', "\x00"):
            try:
                backend.tasks(None, cursor, 10)
            except ConfigurationError:
                continue
            raise I4.broken(f"the made-up cursor {cursor!r} was taken for one")

    def _one_of_each(self, backend: Backend) -> None:
        settled(backend, I4, done(held(backend, I4, "done")))
        settled(backend, I4, fail(held(backend, I4, "buried")))
        backend.enqueue([job("cancelled")])
        backend.cancel(["cancelled"])
        retried = held(backend, I4, "retried")
        held(backend, I4, "held")
        settled(backend, I4, Settlement(retried.receipt, Retry()))
        backend.enqueue([job("ready"), job("delayed", delay_ms=10_000)])

    # I6

    def test_i6_what_differs_is_answered_at_once(self, harness: Harness) -> None:
        """`watch` without, or with an outdated look answers what there is, None for an unknown task."""
        backend = harness.open()
        backend.enqueue([job("a")])
        before = info(backend, "a", I6)
        take(backend)
        for seen in (None, before):
            found = self._watch(backend, seen).answer(self.patience, I6, "watch hangs though something differs")
            I6.same(found and found.status, TaskStatus.STARTED, "what watch answered")
        call = Call(lambda: backend.watch("unknown", None, None))
        I6.same(call.answer(self.patience, I6, "watch hangs on an unknown task"), None, "what watch answered")

    def test_i6_progress_wakes(self, harness: Harness) -> None:
        """`watch` answers when the holder writes a progress."""
        backend, worker = harness.open(), harness.open()
        delivery = held(worker, I6)
        call = self._watch(backend, info(backend, "a", I6))
        I6.holds(call.waits(), "watch answered though nothing differs")
        extended(worker, delivery, Progress(1, 2))
        found = call.answer(self.patience, I6, "watch was not woken by progress")
        I6.same(found and found.progress, Progress(1, 2), "the progress that watch answered")

    def test_i6_the_end_wakes(self, harness: Harness) -> None:
        """`watch` answers when the task ends."""
        backend, worker = harness.open(), harness.open()
        delivery = held(worker, I6)
        call = self._watch(backend, info(backend, "a", I6))
        I6.holds(call.waits(), "watch answered though nothing differs")
        settled(worker, I6, done(delivery))
        found = call.answer(self.patience, I6, "watch was not woken by the end")
        I6.same(found and found.status, TaskStatus.SUCCESS, "the state that watch answered")

    def test_i6_a_retry_wakes(self, harness: Harness) -> None:
        """`watch` answers when the task is put back to run again."""
        backend, worker = harness.open(), harness.open()
        delivery = held(worker, I6)
        call = self._watch(backend, info(backend, "a", I6))
        I6.holds(call.waits(), "watch answered though nothing differs")
        settled(worker, I6, Settlement(delivery.receipt, Retry(10_000)))
        found = call.answer(self.patience, I6, "watch was not woken by a retry")
        I6.same(found and found.status, TaskStatus.RETRY, "the state that watch answered")

    def test_i6_gives_up_at_its_timeout(self, harness: Harness) -> None:
        """At its timeout `watch` answers what there is, though nothing differs."""
        backend = harness.open()
        held(backend, I6)
        seen = info(backend, "a", I6)
        found = self._watch(backend, seen, 30).answer(self.patience, I6, "watch went on after its timeout")
        I6.same(found and found.status, TaskStatus.STARTED, "what watch answered at its timeout")

    @staticmethod
    def _watch(backend: Backend, seen: TaskInfo | None, timeout: int | None = None) -> Call[TaskInfo | None]:
        return Call(lambda: backend.watch("a", seen, timeout))
