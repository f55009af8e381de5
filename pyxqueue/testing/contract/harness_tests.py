"""The harness itself: each thing that it does reaches the store. These tests run first, since all others rely on it."""

from __future__ import annotations

from .prelude import Contract, Harness, m, s

CALLS = ("open", "advance", "inject", "footprint")


def check(condition: object, seen: str, change: str) -> None:
    __tracebackhide__ = True
    if not condition:
        raise AssertionError(f"the harness is wrong: {seen}\nWhat to change: {change}")


class HarnessTests(Contract):
    """The harness, before any law."""

    def test_harness_has_what_the_kit_uses(self, harness: Harness) -> None:
        """It has a lease in whole milliseconds, and four methods."""
        lease = getattr(harness, "lease", None)
        check(
            type(lease) is int and lease > 0,
            f"its attribute `lease` is {lease!r}",
            "set `lease` to the ms that `open` gives the group when its argument `lease` is None",
        )
        missing = [name for name in CALLS if not callable(getattr(harness, name, None))]
        check(not missing, f"it has no method {', '.join(missing)}", "write it; `Harness` says what it does")
        for name in ("show", "enqueue"):
            check(
                callable(getattr(harness.open(), name, None)),
                f"what `open` returns has no `{name}`",
                "return a backend: one object that is broker, results and inspector",
            )

    def test_harness_opens_one_queue_twice(self, harness: Harness) -> None:
        """Two handles of `open` share one queue."""
        producer, worker = harness.open(), harness.open()
        producer.enqueue([s.job("a")])
        seen = s.ids_of(s.take(worker))
        check(
            seen == ["a"],
            f"one handle of `open` enqueued a task, and a claim on a second handle returned {seen}",
            "`open` must open the same store and the same `stream_key` each time, with `group` as the group",
        )

    def test_harness_opens_the_group_that_it_is_given(self, harness: Harness) -> None:
        """Two names are two groups of one queue."""
        one, other = s.groups(harness, "one", "other")
        seen = sorted(one.groups())
        check(
            seen == ["one", "other"],
            f"after `open('one')`, `open('other')` and a claim on each, the groups are {seen}",
            "`open` must pass `group` on as `StoreOptions.group`, and the queue must be the same for all groups",
        )
        one.enqueue([s.job("a")])
        seen = s.ids_of(s.take(other))
        check(
            seen == ["a"],
            f"a task that was enqueued in one group could not be claimed in the other: {seen}",
            "`open` must open the same store for all groups",
        )

    def test_harness_passes_the_lease_on(self, harness: Harness) -> None:
        """The lease is the harness's own, or the one that `open` is given."""
        for lease, wanted in ((None, harness.lease), (harness.lease * 3, harness.lease * 3)):
            seen = harness.open(lease=lease).lease_ms()
            check(
                seen == wanted,
                f"the store's lease is {seen} ms after `open(lease={lease})`, not {wanted}",
                "`open` must pass `StoreOptions.lease_ms` on: `lease`, or `self.lease` where it is None",
            )

    def test_harness_passes_the_history_on(self, harness: Harness) -> None:
        """The history keeps as many tasks as `open` was told."""
        for history in (3, 1):
            backend = harness.open(history=history)
            messages = s.jobs(5, f"h{history}-")
            backend.enqueue(messages)
            backend.settle([s.done(delivery) for delivery in s.take(backend)])
            seen = backend.depth().history
            check(
                seen == history,
                f"five tasks ended after `open(history={history})`, and the history has {seen}",
                "`open` must pass `history` on as `StoreOptions.history`",
            )

    def test_harness_moves_a_lease(self, harness: Harness) -> None:
        """`advance` ends a lease, and nothing else does."""
        backend = harness.open()
        backend.enqueue([s.job("a")])
        s.take(backend)
        harness.advance(harness.lease // 2)
        check(
            not s.take(backend, consumer="two"),
            "a lease had ended after `advance` of half of it",
            "`advance(ms)` must move the time by exactly `ms`; with a server's own clock, `lease` must be longer than "
            "a test takes",
        )
        harness.advance(harness.lease // 2 + 2)
        seen = s.ids_of(s.take(backend, consumer="two"))
        check(
            seen == ["a"],
            f"a lease had not ended after `advance` of all of it: another consumer claimed {seen}",
            "`open` must give the backend the clock that `advance` moves, or `advance` must move the leases in the "
            "store; a safety margin before ended leases are reclaimed must be off",
        )

    def test_harness_moves_a_delay(self, harness: Harness) -> None:
        """`advance` makes a delayed message due, and nothing else does."""
        backend = harness.open()
        backend.enqueue([s.job("a", delay_ms=s.MINUTE)])
        check(
            not s.take(backend),
            "a message with a delay of a minute was claimed at once",
            "let no time pass but by `advance`",
        )
        harness.advance(s.MINUTE + 1)
        seen = s.ids_of(s.take(backend))
        check(
            seen == ["a"],
            f"a message with a delay of a minute was not due after `advance` of a minute: claimed {seen}",
            "`open` must give the backend the clock that `advance` moves, or `advance` must move the due times in the "
            "store",
        )

    def test_harness_moves_the_end_of_a_record(self, harness: Harness) -> None:
        """`advance` ends the time to live of a record."""
        backend = harness.open()
        backend.enqueue([s.job("a")])
        backend.settle([s.done(delivery, ttl_ms=s.MINUTE) for delivery in s.take(backend)])
        check(
            backend.wait(["a"], 0)[0],
            "a record with a ttl of a minute could not be read at once",
            "let no time pass but by `advance`",
        )
        harness.advance(s.MINUTE + 1)
        check(
            backend.wait(["a"], 0)[0] is None,
            "a record with a ttl of a minute could be read after `advance` of a minute",
            "`open` must give the backend the clock that `advance` moves, or `advance` must move the times of records "
            "in the store",
        )

    def test_harness_injects_an_entry(self, harness: Harness) -> None:
        """`inject` returns the id by which the store knows what it put there, as it was."""
        backend = harness.open()
        s.take(backend)
        entry = {b"no": b"message"}
        task_id = harness.inject(entry)
        check(
            isinstance(task_id, str) and backend.show([task_id])[0] is not None,
            f"`inject` returned {task_id!r}, which `show` does not know",
            "`inject` must write the fields into the store, and return the id that the store gave the entry",
        )
        seen = [delivery.message for delivery in s.take(backend)]
        check(
            len(seen) == 1 and isinstance(seen[0], m.Unreadable) and dict(seen[0].fields) == entry,
            f"`inject` put {entry} into a registered group, and a claim returned {seen}",
            "`inject` must put the fields, unchanged, on the ready line of `group`; what `message_from_fields` cannot "
            "read is delivered as `Unreadable`",
        )

    def test_harness_counts_what_is_stored(self, harness: Harness) -> None:
        """`footprint` grows with the tasks that wait."""
        backend = harness.open()
        s.take(backend)
        before = harness.footprint()
        backend.enqueue(s.jobs(10))
        seen = harness.footprint()
        check(
            seen >= before + 10,
            f"`footprint` went from {before} to {seen} when ten tasks were enqueued",
            "`footprint` must count all that the store keeps, but the list of groups, the history and the failed tasks",
        )

    def test_harness_begins_with_an_empty_queue(self, harness: Harness) -> None:
        """No task or group of an earlier test is left."""
        backend = harness.open("first-look")
        seen = (s.counts(backend), sorted({*backend.groups()} - {"first-look"}))
        check(
            seen == ((0, 0, 0, 0, 0), []),
            f"a new harness has tasks or groups already: {seen}",
            "the fixture must make a new store, or a new `stream_key`, for every test",
        )
