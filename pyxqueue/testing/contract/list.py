"""`tasks`: I4 list."""

from __future__ import annotations

from collections.abc import Callable

from ...errors import ConfigurationError
from .prelude import Backend, Contract, Harness, law, m, s

I4 = law("I4")


class ListLaws(Contract):
    """I4."""

    def test_i4_each_task_is_listed_once(self, harness: Harness) -> None:
        """However small the pages, the list has each task once, the last put in its place first."""
        backend = harness.open()
        wanted: list[str] = []
        for batch in range(4):
            messages = s.jobs(6, f"b{batch}-")
            backend.enqueue(messages)
            wanted += [message.id for message in messages]
            harness.advance(10)
        wanted.reverse()
        for count in (100, 24, 7, 1):
            seen = [task.id for task in s.all_tasks(backend, count=count)]
            I4.same(seen, wanted, f"the tasks in pages of {count}")

    def test_i4_a_page_has_at_most_the_asked_size(self, harness: Harness) -> None:
        """A page has at most `count` tasks, and the cursor after the last page is empty."""
        backend = harness.open()
        backend.enqueue(s.jobs(5))
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
            m.TaskStatus.PENDING: {"ready", "delayed"},
            m.TaskStatus.RETRY: {"retried"},
            m.TaskStatus.STARTED: {"in-flight"},
            m.TaskStatus.FAILURE: {"failed"},
            m.TaskStatus.SUCCESS: {"done"},
            m.TaskStatus.CANCELLED: {"cancelled"},
        }
        for count in (100, 2, 1):
            listed = {state: [task.id for task in s.all_tasks(backend, state, count)] for state in wanted}
            I4.same({state: set(ids) for state, ids in listed.items()}, wanted, "the tasks in each state")
            I4.same(sum(map(len, listed.values())), 7, "how many tasks the states have together")
        s.places(backend, I4, ready=2, in_flight=1, delayed=1, failed=1, history=2)
        I4.same(len(s.all_tasks(backend)), sum(s.counts(backend)), "how many tasks are listed without a state")

    def test_i4_depth_says_what_is_due(self, harness: Harness) -> None:
        """Delayed tasks whose time has come, until a claim or `maintain` makes them ready."""
        backend = harness.open()
        backend.enqueue([s.job("soon", delay_ms=10_000), s.job("later", delay_ms=90_000)])
        I4.same(backend.depth().due, 0, "what is due before its time")
        harness.advance(10_001)
        depth = backend.depth()
        I4.same((depth.due + depth.ready, depth.delayed - depth.due), (1, 1), f"what is due of two tasks, in {depth}")
        backend.maintain(256)
        I4.same(backend.depth().due, 0, "what is due once it is ready")

    def test_i4_the_list_says_what_show_says(self, harness: Harness) -> None:
        """`tasks` and `show` return the same for a task."""
        backend = harness.open()
        self._one_of_each(backend)
        for task in s.all_tasks(backend):
            I4.same(task, s.info(backend, task.id, I4), "a task in the list and on its own")

    def test_i4_the_history_stays_after_the_records(self, harness: Harness) -> None:
        """An ended task is listed while it is in the history, also without its record."""
        backend = harness.open()
        s.settled(backend, I4, s.done(s.claimed(backend, I4), ttl_ms=10_000))
        harness.advance(10_001)
        s.places(backend, I4, "after the record has ended", history=1)
        seen = [(task.id, task.status, task.record) for task in s.all_tasks(backend)]
        I4.same(seen, [("a", m.TaskStatus.SUCCESS, None)], "the tasks after the record has ended")

    def test_i4_a_made_up_cursor_is_refused(self, harness: Harness) -> None:
        """A cursor that no page returned raises `ConfigurationError`."""
        backend = harness.open()
        s.take(backend)
        places = ('{"live": "x"}', '{"live": "(0-0"}', '{"live": "(99999999999999999999-0"}', '{"x": "(1-1"}')
        for cursor in (*places, "no cursor", "-1", "\x00", "\udcff", "9" * 5_000, "[" * 100_000):
            try:
                backend.tasks(None, cursor, 10)
            except ConfigurationError:
                continue
            except Exception as error:
                raise I4.broken(f"the made-up cursor {cursor[:50]!r} raised a {type(error).__name__}") from error
            raise I4.broken(f"the made-up cursor {cursor[:50]!r} was accepted")

    def test_i4_pages_are_complete_while_tasks_come_and_go(self, harness: Harness) -> None:
        """Tasks that come, end or are deleted between two pages hide no other task and show none twice."""
        backend = harness.open()
        backend.enqueue(s.jobs(8))
        first, cursor = backend.tasks(None, "", 3)
        backend.enqueue(s.jobs(2, "new"))
        backend.delete([first[-1].id, "t000"])
        seen, turns = [task.id for task in first], 0
        while cursor and turns < 100:
            page, cursor = backend.tasks(None, cursor, 2)
            seen += [task.id for task in page]
            turns += 1
        wanted = [f"t{number:03}" for number in range(7, 0, -1)]
        I4.same([i for i in seen if not i.startswith("new")], wanted, "the tasks that were there all the time")
        I4.same(len(set(seen)), len(seen), f"how many of {seen} are listed once")

    def test_i4_every_page_is_in_one_order(self, harness: Harness) -> None:
        """Newest first holds over places: what was put back last comes before what was enqueued after it."""
        backend = harness.open()
        backend.enqueue(s.jobs(3))
        deliveries = s.take(backend)
        harness.advance(10)
        for delivery in (deliveries[2], deliveries[0]):
            s.settled(backend, I4, s.done(delivery))
            harness.advance(10)
        backend.enqueue([s.job("late")])
        wanted = ["late", "t000", "t002"]
        seen = [task.id for task in s.all_tasks(backend, count=1) if task.id != "t001"]
        I4.same(seen, wanted, "the ready task, then the ended ones, the last first")

    def test_i4_ready_tasks_are_in_one_order(self, harness: Harness) -> None:
        """Those that came back and new ones are listed together, the last that became ready first."""
        backend = harness.open()
        first, second = s.claimed(backend, I4, "a"), s.claimed(backend, I4, "b")
        steps: tuple[Callable[[], object], ...] = (
            lambda: backend.enqueue([s.job("x")]),
            lambda: backend.settle([s.retry(first)]),
            lambda: backend.enqueue([s.job("y")]),
            lambda: backend.settle([s.defer(second)]),
        )
        for step in steps:
            step()
            harness.advance(10)
        for count in (100, 3, 2, 1):
            I4.same([task.id for task in s.all_tasks(backend, count=count)], ["b", "y", "a", "x"], "the ready tasks")

    def test_i4_a_thousand_listed(self, harness: Harness) -> None:
        """The list goes on until it has shown every task."""
        backend = harness.open()
        s.many(backend, I4)
        I4.same([task.id for task in s.all_tasks(backend)], s.NAMES[::-1], f"the tasks of {s.MANY}, in pages of 100")

    def test_i4_every_id_is_listed(self, harness: Harness) -> None:
        """Ids are listed whatever they begin or end with, in the order of the enqueue, not of the ids."""
        backend = s.alike(harness)
        I4.same([task.id for task in s.all_tasks(backend)], s.ALIKE[::-1], "the tasks")

    def _one_of_each(self, backend: Backend) -> None:
        s.settled(backend, I4, s.done(s.claimed(backend, I4, "done")))
        s.settled(backend, I4, s.fail(s.claimed(backend, I4, "failed")))
        backend.enqueue([s.job("cancelled")])
        backend.cancel(["cancelled"])
        retried = s.claimed(backend, I4, "retried")
        s.claimed(backend, I4, "in-flight")
        s.settled(backend, I4, s.retry(retried))
        backend.enqueue([s.job("ready"), s.job("delayed", delay_ms=10_000)])
