"""`enqueue_within`: B15 never longer. A backend without `HasMaxLength` passes."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from ...model.locks import LockKind, LockTerms, Placement, lock_text
from ...protocols import HasLimits, HasLocks, HasMaxLength, HasSteps
from .base import needs
from .prelude import Backend, Contract, Harness, law, m, s

B15 = law("B15")
PLAIN = LockTerms()
PERIOD = 5_000
Answer = tuple[list[tuple[Placement, str]], bool]


def within(backend: Backend, max_length: int, messages: Sequence[m.Message], terms: LockTerms = PLAIN) -> Answer:
    """What was done with the messages, and whether one had no room."""
    assert isinstance(backend, HasMaxLength)
    found = backend.enqueue_within(messages, terms, max_length)
    if len(found.placed) < len(messages):
        B15.holds(found.length >= max_length, f"a message had no room at the length {found.length}")
    return [(placed.placement, placed.id) for placed in found.placed], len(found.placed) < len(messages)


def new(*ids: str) -> list[tuple[Placement, str]]:
    return [(Placement.NEW, task_id) for task_id in ids]


def length(backend: Backend) -> int:
    depth = backend.depth()
    return depth.waiting + depth.in_flight


class LengthLaws(Contract):
    """B15."""

    def _full(self, backend: Backend, max_length: int, when: str) -> None:
        """There is no room for one more, which changes nothing; and there is with a larger bound."""
        __tracebackhide__ = True
        before = s.photo(backend, "more")
        B15.same(within(backend, max_length, [s.job("more")]), ([], True), f"the answer to one more {when}")
        B15.same(s.photo(backend, "more"), before, f"a refused message changed something {when}")
        B15.same(length(backend), max_length, f"how many tasks have not ended {when}")
        seen = within(backend, max_length + 1, [s.job("more")])
        B15.same(seen, (new("more"), False), f"the answer with room for one {when}")
        backend.delete(["more"])

    @needs(HasMaxLength)
    def test_b15_the_first_that_fit_are_accepted(self, harness: Harness) -> None:
        """Of a batch, the messages up to the first without room are accepted; the others leave no trace."""
        backend = harness.open()
        seen = within(backend, 3, [s.job(task_id) for task_id in "abcde"])
        B15.same(seen, (new("a", "b", "c"), True), "the answer to five where three fit")
        B15.same(backend.show(["d", "e"]), [None, None], "what is shown of those without room")
        self._full(backend, 3, "after a batch")
        seen = within(backend, 5, [s.job(task_id, delay_ms=PERIOD) for task_id in "fgh"])
        B15.same(seen, (new("f", "g"), True), "the answer to three delayed ones where two fit")
        self._full(backend, 5, "after a batch of delayed ones")
        s.claims(backend, B15, ["a", "b", "c"], "what could be claimed")

    @needs(HasMaxLength)
    def test_b15_the_message_is_stored_as_by_enqueue(self, harness: Harness) -> None:
        """A task that was accepted within a bound is delivered as it was enqueued, at its time and by its class."""
        backend = harness.open()
        later = s.job("later", delay_ms=PERIOD, priority=60, headers={"k": "v"})
        within(backend, 3, [s.job("a"), later, s.job("urgent", priority=60)])
        s.claims(backend, B15, ["urgent", "a"], "what could be claimed at once")
        harness.advance(PERIOD + 1)
        found = s.readable(s.take_one(backend, B15), B15)
        stored = m.evolve(later, delay_ms=0, due_ms=found.due_ms, enqueued_ms=found.enqueued_ms)
        B15.same(found, stored, "the delayed message")

    @needs(HasMaxLength)
    def test_b15_what_has_not_ended_counts(self, harness: Harness) -> None:
        """Ready, delayed and in flight, in each class, in both lines, and after a retry; the ends make room."""
        backend = harness.open()
        within(backend, 9, [s.job("fly"), s.job("retried"), s.job("put-off")])
        fly, retried, put_off = s.take(backend)
        s.settled(backend, B15, s.retry(retried), s.retry(put_off, PERIOD))
        within(backend, 9, [s.job(f"class{number}", priority=number) for number in (60, 10, -10, -60)])
        within(backend, 9, [s.job("ready"), s.job("delayed", delay_ms=PERIOD)])
        self._full(backend, 9, "with one in each place")
        s.settled(backend, B15, s.done(fly))
        self._full(backend, 8, "after one has succeeded")
        backend.cancel(["put-off"])
        self._full(backend, 7, "after one was cancelled")
        backend.delete(["delayed"])
        self._full(backend, 6, "after one was deleted")
        (urgent,) = s.take(backend, 1)
        s.settled(backend, B15, s.fail(urgent))
        self._full(backend, 5, "after one has failed")
        backend.requeue([urgent.message.id])
        self._full(backend, 6, "after it was requeued")

    @needs(HasLimits)
    @needs(HasMaxLength)
    def test_b15_blocked_tasks_count(self, harness: Harness) -> None:
        """A task that waits for a token of a limit has not ended."""
        backend = harness.open()
        assert isinstance(backend, HasLimits)
        if (limits := backend.limits()) is None:
            return
        limits.set("api", 1)
        within(backend, 3, [s.job(task_id, gates=("api/",)) for task_id in "abc"])
        B15.same(backend.depth().blocked, 2, "how many wait for a token")
        self._full(backend, 3, "with two that are blocked")

    @needs(HasSteps)
    @needs(HasMaxLength)
    def test_b15_suspended_tasks_count(self, harness: Harness) -> None:
        """A task that is suspended until an event comes has not ended."""
        backend = harness.open()
        within(backend, 1, [s.job("a")])
        s.settled(backend, B15, m.Settlement(s.take_one(backend, B15).receipt, m.Suspend(event="e")))
        B15.same(backend.depth().dependent, 1, "how many wait for something else")
        self._full(backend, 1, "with one that is suspended")

    @needs(HasMaxLength)
    def test_b15_a_known_id_needs_no_room(self, harness: Harness) -> None:
        """A repeat is answered as ever where the queue is full, also between new ones and of a task that has ended."""
        backend = harness.open()
        within(backend, 2, [s.job("ended"), s.job("a")])
        s.settled(backend, B15, s.done(s.take(backend, 1)[0]))
        within(backend, 2, [s.job("b")])
        known = [(Placement.KNOWN, task_id) for task_id in ("a", "ended", "b")]
        seen = within(backend, 2, [s.job("a"), s.job("ended"), s.job("b")])
        B15.same(seen, (known, False), "the answer to a repeat")
        seen = within(backend, 2, [s.job("a"), s.job("more"), s.job("b")])
        B15.same(seen, (known[:1], True), "the answer to a repeat before one without room")
        seen = within(backend, 3, [s.job("c"), s.job("c"), s.job("more")])
        B15.same(seen, ([*new("c"), (Placement.KNOWN, "c")], True), "the answer to the same id twice")

    @needs(HasLocks)
    @needs(HasMaxLength)
    def test_b15_a_held_lock_needs_no_room(self, harness: Harness) -> None:
        """A call that joins a unique or a debounced task is answered as ever where the queue is full."""
        backend = harness.open()
        one = lock_text(LockKind.FINISHED, b"one")
        two = lock_text(LockKind.DEBOUNCE, b"two")
        within(backend, 2, [s.job("a", lock=one), s.job("b", lock=two, delay_ms=PERIOD)])
        seen = within(backend, 2, [s.job("c", lock=one), s.job("b", lock=two, delay_ms=2 * PERIOD), s.job("d")])
        B15.same(seen, ([(Placement.HELD, "a"), (Placement.REPLACED, "b")], True), "the answer to calls that join")
        other = lock_text(LockKind.FINISHED, b"other")
        B15.same(within(backend, 2, [s.job("e", lock=other)]), ([], True), "the answer to one with a free lock")
        assert isinstance(backend, HasLocks)
        B15.same(list(backend.lock_holders([other[1:]])), [""], "the holder of the lock of one without room")
        self._full(backend, 2, "with two that hold locks")

    @needs(HasMaxLength)
    def test_b15_the_fullest_group_counts(self, harness: Harness) -> None:
        """A message goes into all groups, so it needs room in each, whichever is the fullest; it is in none, or in
        all."""
        groups = [harness.open(name) for name in ("one", "two", "three")]
        for group in groups:
            group.lease_ms()
        within(groups[0], 2, [s.job("a"), s.job("b")])
        for number, fullest in enumerate(groups):
            for other in groups:
                s.settled(other, B15, *(s.done(one) for one in (s.take(other) if other is not fullest else ())))
            more = s.job(f"more{number}"), s.job(f"other{number}")
            B15.same(within(groups[0], 2, more), ([], True), f"the answer where group {number} alone is full")
            shown = [group.show([more[0].id])[0] for group in groups]
            B15.same(shown, [None] * 3, "what is shown of the one without room")
            s.settled(fullest, B15, *(s.done(one) for one in s.take(fullest)))
            B15.same(within(groups[0], 2, more)[1], False, "whether one of two had no room in empty groups")
            shown = [group.show([more[1].id])[0] for group in groups]
            B15.holds(all(shown), "a group did not get what was accepted")

    @needs(HasMaxLength)
    def test_b15_another_handle_counts_all(self, harness: Harness) -> None:
        """A priority class that came into use elsewhere, after this handle had looked, counts too."""
        handles = harness.open(), harness.open()
        for handle in handles:
            within(handle, 9, [s.job("a")])
        harness.open().enqueue([s.job("urgent", priority=60), s.job("late", priority=-60)])
        messages = s.job("b"), s.job("c", delay_ms=PERIOD)
        for number, (handle, more) in enumerate(zip(handles, messages, strict=True), 3):
            B15.same(within(handle, number, [more]), ([], True), "the answer with two of other classes")
            B15.same(within(handle, number + 1, [more]), (new(more.id), False), "the answer with room for one")

    @needs(HasMaxLength)
    def test_b15_nothing_else_is_refused_or_removed(self, harness: Harness) -> None:
        """What comes in another way is accepted and stays, beyond any bound: plain, as a follow-up, by a requeue."""
        backend = harness.open()
        within(backend, 1, [s.job("a")])
        backend.enqueue([s.job("plain")])
        s.settled(backend, B15, s.done(s.take(backend, 1)[0], then=(s.job("next"), s.job("third"))))
        B15.same(list(backend.requeue(["a"])), [True], "whether it was requeued")
        B15.same(within(backend, 1, [s.job("more")]), ([], True), "the answer to one more")
        B15.same(length(backend), 4, "how many tasks there are")

    @needs(HasMaxLength)
    def test_b15_producers_at_the_same_time(self, harness: Harness) -> None:
        """Several producers together never make the queue longer than the bound, and fill it."""
        ids = [[f"{producer}-{number}" for number in range(8)] for producer in range(4)]
        backend, accepted = harness.open(), list[str]()
        gate = threading.Barrier(len(ids))

        def produce(mine: Sequence[str]) -> None:
            handle = harness.open()
            assert isinstance(handle, HasMaxLength)
            gate.wait()
            for task_id in mine:
                accepted.extend(one.id for one in handle.enqueue_within([s.job(task_id)], PLAIN, 10).placed)

        threads = [threading.Thread(target=produce, args=(mine,)) for mine in ids]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        B15.same(len(accepted), 10, "how many were accepted")
        B15.same(sorted(one.id for one in s.all_tasks(backend)), sorted(accepted), "the tasks that are there")
