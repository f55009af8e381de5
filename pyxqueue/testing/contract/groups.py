"""Groups: B9 they are separate queues."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ...errors import ConfigurationError
from .prelude import Backend, Contract, Harness, law, m, s

B9 = law("B9")

GROUPS = ("a", "ab", "a.", "A", "a-b")


class GroupLaws(Contract):
    """B9."""

    def test_b9_every_group_gets_a_copy(self, harness: Harness) -> None:
        """One enqueue puts the whole message into each registered group."""
        groups = [harness.open(name) for name in ("one", "two", "three")]
        for backend in groups:
            s.take(backend)
        groups[0].enqueue([s.job("a"), s.job("late", delay_ms=10_000)])
        for backend in groups:
            s.places(backend, B9, "in a group", ready=1, delayed=1)
            B9.same(s.readable(s.take_one(backend, B9), B9).body, s.EVERY_BYTE, "the body of a group's copy")

    def test_b9_nothing_shows_in_another_group(self, harness: Harness) -> None:
        """Whatever happens to a task in one group, the other group's copy stays as it is."""
        one, other = s.groups(harness, "one", "other")
        one.enqueue(s.jobs(6))
        kept = s.take(other, 1)
        B9.same(s.ids_of(kept), ["t000"], "what the other group could claim first")
        s.extended(other, kept[0], m.Progress(7))
        before = s.photo(other)
        for step in self._steps(one):
            B9.same(s.photo(other), before, f"the other group after {step} in this one")
        s.claims(other, B9, [message.id for message in s.jobs(6)[1:]], "what the other group could claim")

    def test_b9_records_belong_to_the_group(self, harness: Harness) -> None:
        """Two groups run the same task to two ends of their own."""
        one, other = s.groups(harness, "one", "other")
        s.settled(one, B9, s.done(s.claimed(one, B9)))
        B9.same(other.wait(["a"], 0)[0], None, "the other group's record after the end in one")
        s.settled(other, B9, s.fail(s.take_one(other, B9)))
        ends = [record and record.status for backend in (one, other) for record in backend.wait(["a"], 0)]
        B9.same(ends, [m.TaskStatus.SUCCESS, m.TaskStatus.FAILURE], "the records of the two groups")

    def test_b9_follow_ups_stay_in_their_group(self, harness: Harness) -> None:
        """Each group enqueues the follow-ups of its own run, also when their ids are the same."""
        one, other = s.groups(harness, "one", "other")
        s.settled(one, B9, s.done(s.claimed(one, B9), then=[s.job("next")]))
        B9.same(s.ids_of(s.take(other, limit=100, consumer="two")), ["a"], "what the other group could claim")
        other.release("two", [])
        s.settled(other, B9, s.done(s.take_one(other, B9), then=[s.job("next")]))
        B9.same([s.ids_of(s.take(backend)) for backend in (one, other)], [["next"], ["next"]], "the groups' follow-ups")

    def test_b9_a_slow_group_stops_no_other(self, harness: Harness) -> None:
        """A group whose tasks are all in flight or wait does not keep another from its own."""
        slow, quick = s.groups(harness, "slow", "quick")
        for number in range(3):
            quick.enqueue([s.job(f"a{number}")])
            s.take(slow, 1)
            s.settled(quick, B9, s.done(s.take_one(quick, B9)))
        s.places(quick, B9, "in the quick group", history=3)

    def test_b9_a_removed_group_gets_nothing(self, harness: Harness) -> None:
        """Removing a group leaves the others as they are, and nothing is copied into it from then on."""
        one, _ = s.groups(harness, "one", "other")
        one.enqueue([s.job("a")])
        before = s.photo(one)
        B9.same(sorted(one.groups()), ["one", "other"], "the groups")
        one.remove_group("other")
        B9.same(list(one.groups()), ["one"], "the groups after one was removed")
        B9.same(s.photo(one), before, "the group that stayed")
        B9.same(list(one.enqueue([s.job("b")])), [True], "an enqueue after a group was removed")
        late = harness.open("other")
        s.claims(late, B9, [], "what a group that was removed and made again could claim")

    def test_b9_names_are_compared_whole(self, harness: Harness) -> None:
        """Groups whose names are alike are different ones: each has its copy, and only the one that is meant goes."""
        groups = {name: harness.open(name) for name in GROUPS}
        for backend in groups.values():
            s.take(backend)
        groups["a"].enqueue([s.job("x")])
        B9.same(sorted(groups["a"].groups()), sorted(GROUPS), "the groups")
        groups["ab"].remove_group("a")
        B9.same(sorted(groups["ab"].groups()), sorted({*GROUPS} - {"a"}), "the groups after one was removed")
        for name in GROUPS[1:]:
            s.claims(groups[name], B9, ["x"], f"what could be claimed in {name!r}")

    def test_b9_an_unknown_group_is_not_removed(self, harness: Harness) -> None:
        """`remove_group` raises `ConfigurationError` for an unknown name."""
        backend = harness.open()
        s.take(backend)
        try:
            backend.remove_group("no such group")
        except ConfigurationError:
            return
        raise B9.broken("the removal of a group that is not there was taken for done")

    def test_b9_each_group_has_its_lease(self, harness: Harness) -> None:
        """Replacing the lease of one group does not change the other's."""
        one, other = harness.open("one"), harness.open("other", lease=harness.lease * 4)
        B9.same(
            [one.lease_ms(), other.lease_ms(), one.lease_ms()], [harness.lease * n for n in (1, 4, 1)], "the leases"
        )

    def test_b9_a_group_counts_from_its_registration(self, harness: Harness) -> None:
        """A producer that was there before copies into it too, from its next call on, and not what went before."""
        one = harness.open("one")
        one.enqueue([s.job("before")])
        late = harness.open("late")
        s.take(late)
        one.enqueue([s.job("after")])
        s.claims(late, B9, ["after"], "what a group could claim that was registered between two calls")

    def test_b9_working_registers_a_group(self, harness: Harness) -> None:
        """`enqueue`, `claim`, `lease_ms` and `adopt` register the group of their handle; `groups` and `interrupt` do
        not."""
        one = harness.open("one")
        one.enqueue([s.job("a")])
        task = s.info(one, "a", B9)
        ways: dict[str, Callable[[Backend], object]] = {
            "enqueue": lambda backend: backend.enqueue([s.job("b")]),
            "claim": lambda backend: backend.claim("one", 1, 0),
            "lease_ms": lambda backend: backend.lease_ms(),
            "adopt": lambda backend: backend.adopt([task]),
        }
        for name, way in ways.items():
            backend = harness.open(name)
            for look in (backend.groups, backend.interrupt):
                look()
                B9.holds(name not in one.groups(), f"{look.__name__} registered a group")
            way(backend)
            B9.holds(name in one.groups(), f"{name} did not register a group")

    def test_b9_the_removal_wakes_who_waits_for_its_tasks(self, harness: Harness) -> None:
        """`wait` and `watch` return None for the tasks of a group that is removed: nothing can come."""
        one, other = s.groups(harness, "one", "other")
        one.enqueue([s.job("a")])
        seen = s.info(other, "a", B9)
        waiter = s.waiting(B9, lambda: other.wait(["a"], None))
        watcher = s.waiting(B9, lambda: other.watch("a", seen, None))
        one.remove_group("other")
        got = list(waiter.result(self.patience, B9, "wait was not woken by the removal of the group"))
        B9.same(got, [None], "what wait returned")
        found = watcher.result(self.patience, B9, "watch was not woken by the removal of the group")
        B9.same(found, None, "what watch returned")

    def _steps(self, backend: Backend) -> Iterator[str]:
        """Take six tasks through the operations; yield the name of each step."""
        a, b, c, d, e, f = s.take_exactly(backend, 6, B9)
        s.extended(backend, a, m.Progress(1, 2))
        yield "progress"
        s.settled(backend, B9, s.done(a, then=[s.job("follow-up")]), s.fail(b))
        yield "an end and a failure"
        s.settled(backend, B9, s.retry(c, 10_000), s.defer(d))
        yield "a retry and a deferral"
        backend.cancel([d.message.id, e.message.id])
        yield "a cancellation"
        backend.requeue([b.message.id])
        backend.delete([c.message.id])
        yield "a requeue and a deletion"
        backend.release("one", [f.receipt])
        yield "a release"
        backend.forget([a.message.id])
        yield "a record that was forgotten"
