"""`enqueue_unique`: L7 one holder of a lock. A backend without `HasLocks` passes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...model.locks import LockKind, LockTerms, Placement, lock_text
from ...protocols import Beginning, HasLocks
from .base import needs
from .prelude import Backend, Contract, Harness, law, m, s

L7 = law("L7")
LASTING = (LockKind.FINISHED, LockKind.STARTED)
PERIOD = 5_000
WINDOW = LockTerms(window_ms=PERIOD)
DEBOUNCE = LockTerms(max_wait_ms=3 * PERIOD)
PLAIN = LockTerms()


def locked(task_id: str, kind: LockKind = LockKind.FINISHED, what: str = "one", **header: object) -> m.Message:
    """A message with a lock of that kind on `what`."""
    if kind is LockKind.DEBOUNCE:
        header.setdefault("delay_ms", PERIOD)
    return s.job(task_id, lock=lock_text(kind, what.encode()), **header)


def enqueue(backend: Backend, *messages: m.Message, terms: LockTerms = PLAIN) -> list[tuple[Placement, str]]:
    assert isinstance(backend, HasLocks)
    return [(placed.placement, placed.id) for placed in backend.enqueue_unique(messages, terms)]


def new(task_id: str) -> tuple[Placement, str]:
    return Placement.NEW, task_id


def held(task_id: str) -> tuple[Placement, str]:
    return Placement.HELD, task_id


def holders(backend: Backend, *kinds: LockKind, what: str = "one") -> list[str]:
    assert isinstance(backend, HasLocks)
    return list(backend.lock_holders([lock_text(kind, what.encode())[1:] for kind in kinds or (LockKind.FINISHED,)]))


class UniqueLaws(Contract):
    """L7."""

    def _held(self, backend: Backend, task_id: str, when: str, kind: LockKind = LockKind.FINISHED) -> None:
        """While `task_id` holds the lock, another task is not accepted, and changes nothing."""
        __tracebackhide__ = True
        before = s.photo(backend, "other")
        L7.same(enqueue(backend, locked("other", kind)), [held(task_id)], f"the answer to another {when}")
        L7.same(s.photo(backend, "other"), before, f"a refused task changed something {when}")
        L7.same(holders(backend, kind), [task_id], f"the holder {when}")

    def _free(self, backend: Backend, when: str, kind: LockKind = LockKind.FINISHED) -> None:
        """The lock is free: another task is accepted, and deleted again."""
        __tracebackhide__ = True
        L7.same(holders(backend, kind), [""], f"the holder {when}")
        L7.same(enqueue(backend, locked("next", kind)), [new("next")], f"the answer to the next {when}")
        backend.delete(["next"])

    @needs(HasLocks)
    def test_l7_a_second_call_returns_the_holder(self, harness: Harness) -> None:
        """The first task of a batch holds the lock; equal ones are not stored; others are."""
        backend = harness.open()
        seen = enqueue(backend, locked("a"), locked("b"), locked("c", what="other"), locked("d"))
        L7.same(seen, [new("a"), held("a"), new("c"), held("a")], "what was returned for a batch")
        self._held(backend, "a", "while it is ready")
        s.claims(backend, L7, ["a", "c"], "what could be claimed")

    @needs(HasLocks)
    def test_l7_the_id_comes_before_the_lock(self, harness: Harness) -> None:
        """A known id is known, whoever holds the lock: a repeat of an accepted call, and the id of an ended task."""
        backend = harness.open()
        enqueue(backend, locked("a"))
        L7.same(enqueue(backend, locked("a")), [(Placement.KNOWN, "a")], "a repeat of the holder")
        s.settled(backend, L7, s.done(s.take_one(backend, L7)))
        enqueue(backend, locked("b"))
        L7.same(enqueue(backend, locked("a")), [(Placement.KNOWN, "a")], "a repeat of an ended task")
        L7.same(holders(backend), ["b"], "the holder after a repeat of an ended task")

    @needs(HasLocks)
    def test_l7_the_message_is_kept(self, harness: Harness) -> None:
        """A task with a lock is delivered as it was enqueued."""
        backend = harness.open()
        message = locked("a", headers={"k": "v"}, v=m.FLOW_VERSION)
        enqueue(backend, message)
        found = s.readable(s.take_one(backend, L7), L7)
        wanted = m.evolve(message, enqueued_ms=found.enqueued_ms)
        L7.same(found, wanted, "the message that was claimed")

    @needs(HasLocks)
    def test_l7_a_lock_outlives_what_does_not_end_a_task(self, harness: Harness) -> None:
        """A retry, a deferral, a release, the end of a lease and the end of a delay keep it."""
        backend = harness.open()
        for kind in LASTING:
            enqueue(backend, locked("a", kind, delay_ms=PERIOD))
            self._held(backend, "a", "while it is delayed", kind)
            harness.advance(PERIOD + 1)
            delivery = s.take_one(backend, L7)
            self._held(backend, "a", "while it is in flight", kind)
            for settle in (s.retry, s.defer, lambda one: s.retry(one, PERIOD), lambda one: s.defer(one, PERIOD)):
                s.settled(backend, L7, settle(delivery))
                self._held(backend, "a", "after a Retry or a Defer", kind)
                harness.advance(PERIOD + 1)
                delivery = s.take_one(backend, L7)
            backend.release("one", [delivery.receipt])
            self._held(backend, "a", "after a release", kind)
            s.take_one(backend, L7)
            (again,) = s.after_a_lease(backend, harness)
            self._held(backend, "a", "after the end of a lease", kind)
            s.settled(backend, L7, s.done(again))
            self._free(backend, "after all of it", kind)
            backend.delete(["a"])

    @needs(HasLocks)
    def test_l7_every_end_gives_the_lock_back(self, harness: Harness) -> None:
        """Done, Fail, Cancelled, a short result, no record, progress, a cancellation in each place, a deletion."""
        backend = harness.open()
        for number, (what, end) in enumerate(_ENDS):
            task_id = f"t{number}"
            enqueue(backend, locked(task_id))
            end(backend, task_id)
            self._free(backend, f"after {what}")
            enqueue(backend, locked("keeper"))
            backend.delete([task_id])
            L7.same(holders(backend), ["keeper"], f"the holder after the deletion of what ended by {what}")
            backend.delete(["keeper"])

    @needs(HasLocks)
    def test_l7_a_batch_of_ends_gives_all_locks_back(self, harness: Harness) -> None:
        """Tasks with and without a lock are settled together."""
        backend = harness.open()
        for number in range(6):
            if number % 2:
                enqueue(backend, locked(f"t{number}", what=str(number)))
            else:
                backend.enqueue([s.job(f"t{number}")])
        s.settled(backend, L7, *(s.done(delivery) for delivery in s.take_exactly(backend, 6, L7)))
        for number in (1, 3, 5):
            L7.same(holders(backend, what=str(number)), [""], "the holder after a batch of ends")

    @needs(HasLocks)
    def test_l7_a_refused_settlement_keeps_the_lock(self, harness: Harness) -> None:
        """Neither a stale holder nor a repeat changes a lock."""
        backend = harness.open()
        enqueue(backend, locked("a"))
        old = s.take_one(backend, L7)
        (delivery,) = s.after_a_lease(backend, harness)
        L7.same(list(backend.settle([s.done(old)])), [False], "the settlement of a stale holder")
        self._held(backend, "a", "after a settlement that was refused")
        s.settled(backend, L7, s.done(delivery))
        enqueue(backend, locked("b"))
        L7.same(list(backend.settle([s.done(delivery)])), [False], "a repeat of a settlement")
        L7.same(holders(backend), ["b"], "the holder after a repeat of the settlement of another")

    @needs(HasLocks)
    def test_l7_only_the_holder_gives_it_back(self, harness: Harness) -> None:
        """A task that has the lock in its message and does not hold it ends without touching it."""
        backend = harness.open()
        backend.enqueue([locked("plain")])
        L7.same(holders(backend), [""], "the holder after a plain enqueue")
        enqueue(backend, locked("a"))
        backend.enqueue([locked("second")])
        backend.cancel(["plain"])
        backend.delete(["plain", "second"])
        backend.enqueue([locked("third")])
        found = {one.message.id: one for one in s.take_exactly(backend, 2, L7)}
        s.settled(backend, L7, s.done(found["third"], [locked("follow-up")]))
        L7.same(holders(backend), ["a"], "the holder after others with its lock have ended")
        backend.delete(["follow-up"])
        s.settled(backend, L7, s.fail(found["a"]))
        self._free(backend, "after its holder has ended")

    @needs(HasLocks)
    @needs(Beginning)
    def test_l7_a_start_gives_the_lock_back(self, harness: Harness) -> None:
        """A task that holds its lock until it starts must begin; then the lock is free, and stays so after a retry. The
        next holder keeps it when the first one begins again and ends."""
        backend = harness.open()
        kind = LockKind.STARTED
        enqueue(backend, locked("a", kind))
        delivery = s.take_one(backend, L7)
        L7.same(delivery.must_begin, True, "whether it must begin")
        self._held(backend, "a", "before it begins", kind)
        assert isinstance(backend, Beginning)
        for _ in range(2):
            L7.same(list(backend.begin([delivery.receipt])), [m.StartStatus.RUN], "what begin returned")
            self._free(backend, "after its begin", kind)
        s.settled(backend, L7, s.retry(delivery))
        enqueue(backend, locked("b", kind))
        again = {one.message.id: one for one in s.take_exactly(backend, 2, L7)}["a"]
        L7.same(
            list(backend.begin([again.receipt, delivery.receipt])), [m.StartStatus.RUN, m.StartStatus.LOST], "begin"
        )
        s.settled(backend, L7, s.done(again))
        self._held(backend, "b", "after another with its lock has begun and ended", kind)

    @needs(HasLocks)
    @needs(Beginning)
    def test_l7_a_start_keeps_other_locks(self, harness: Harness) -> None:
        """A task that holds its lock until it has ended need not begin, and keeps it if it does."""
        backend = harness.open()
        enqueue(backend, locked("a"))
        delivery = s.take_one(backend, L7)
        L7.same(delivery.must_begin, False, "whether it must begin")
        assert isinstance(backend, Beginning)
        backend.begin([delivery.receipt])
        self._held(backend, "a", "after its begin")

    @needs(HasLocks)
    def test_l7_a_requeue_takes_the_lock_again(self, harness: Harness) -> None:
        """A requeued task holds the lock as before, and gives it back when it ends."""
        backend = harness.open()
        for kind in LASTING:
            enqueue(backend, locked("a", kind))
            s.settled(backend, L7, s.fail(s.take_one(backend, L7)))
            L7.same(list(backend.requeue(["a"])), [True], "the requeue of a task whose lock is free")
            self._held(backend, "a", "after a requeue", kind)
            s.settled(backend, L7, s.done(s.take_one(backend, L7)))
            self._free(backend, "after its second end", kind)
            backend.delete(["a"])

    @needs(HasLocks)
    def test_l7_a_requeue_is_refused_while_another_holds_it(self, harness: Harness) -> None:
        """It changes nothing then; when the other has ended, it is accepted. Of two with one lock, one is requeued."""
        backend = harness.open()
        enqueue(backend, locked("a"))
        s.settled(backend, L7, s.fail(s.take_one(backend, L7)))
        enqueue(backend, locked("b"))
        before = s.photo(backend)
        L7.same(list(backend.requeue(["a"])), [False], "the requeue of a task whose lock another holds")
        L7.same(s.photo(backend), before, "a refused requeue changed something")
        s.settled(backend, L7, s.fail(s.take_one(backend, L7)))
        L7.same(list(backend.requeue(["a", "b"])), [True, False], "the requeue of two tasks with one lock")
        self._held(backend, "a", "after the requeue of two")

    @needs(HasLocks)
    def test_l7_a_requeue_takes_no_lock_that_ends_by_time(self, harness: Harness) -> None:
        """A debounced task that is requeued runs at once: a call after that begins another."""
        backend = harness.open()
        for kind, terms in ((LockKind.DEBOUNCE, DEBOUNCE), (LockKind.WINDOW, WINDOW)):
            enqueue(backend, locked("a", kind), terms=terms)
            backend.cancel(["a"])
            harness.advance(1 if kind is LockKind.DEBOUNCE else PERIOD + 1)
            L7.same(list(backend.requeue(["a"])), [True], f"the requeue of a task with a lock of {kind.name}")
            L7.same(enqueue(backend, locked("b", kind), terms=terms), [new("b")], f"a call after it, {kind.name}")
            backend.delete(["a", "b"])

    @needs(HasLocks)
    def test_l7_groups_have_their_own_locks(self, harness: Harness) -> None:
        """The lock must be free in all groups; then each group gives back its own."""
        backend, other = s.groups(harness, "cg", "other")
        L7.same(enqueue(backend, locked("a")), [new("a")], "a task for two groups")
        s.settled(backend, L7, s.done(s.take_one(backend, L7)))
        L7.same((holders(backend), holders(other)), ([""], ["a"]), "the holders after an end in one group")
        L7.same(enqueue(backend, locked("b")), [held("a")], "a task whose lock is held in the other group")
        L7.same(backend.show(["b"]), [None], "a task that was refused because of another group")
        s.settled(other, L7, s.done(s.take_one(other, L7)))
        L7.same(enqueue(backend, locked("b")), [new("b")], "a task whose lock is free in both groups")
        L7.same(other.show(["b"])[0] is not None, True, "whether it is in the other group")

    @needs(HasLocks)
    def test_l7_a_removed_group_holds_nothing(self, harness: Harness) -> None:
        """The locks of a group go with it, also if it is there again."""
        backend, other = s.groups(harness, "cg", "other")
        enqueue(backend, locked("a"))
        s.settled(backend, L7, s.done(s.take_one(backend, L7)))
        backend.remove_group("other")
        L7.same(enqueue(backend, locked("b")), [new("b")], "a task after the group of the holder was removed")
        s.take(other)
        L7.same(holders(other), [""], "the holder in a group that was removed")

    @needs(HasLocks)
    def test_l7_a_window_ends_by_time_alone(self, harness: Harness) -> None:
        """It is not given back when its task ends or is deleted, and is free when its time is over."""
        backend = harness.open()
        for number, (what, end) in enumerate(_ENDS):
            task_id = f"t{number}"
            enqueue(backend, locked(task_id, LockKind.WINDOW), terms=WINDOW)
            end(backend, task_id)
            seen = enqueue(backend, locked("x", LockKind.WINDOW), terms=WINDOW)
            L7.same(seen, [held(task_id)], f"a call within the window, after {what}")
            harness.advance(PERIOD + 1)
            seen = enqueue(backend, locked(f"x{number}", LockKind.WINDOW, what="one"), terms=WINDOW)
            L7.same(seen, [new(f"x{number}")], f"a call after the window, after {what}")
            backend.delete([f"x{number}"])
            harness.advance(PERIOD + 1)

    @needs(HasLocks)
    def test_l7_a_debounced_call_replaces_the_message(self, harness: Harness) -> None:
        """A further call under the holder's id gives it its message and moves the due time; the time of the first call
        stays."""
        backend = harness.open()
        enqueue(backend, locked("a", LockKind.DEBOUNCE, body=b"1"), terms=DEBOUNCE)
        first = s.info(backend, "a", L7).readable
        harness.advance(PERIOD - 1_000)
        L7.same(enqueue(backend, locked("b", LockKind.DEBOUNCE), terms=DEBOUNCE), [held("a")], "a further call")
        again = locked("a", LockKind.DEBOUNCE, body=b"2", headers={"k": "2"}, serializer="other", seal="5", priority=60)
        L7.same(enqueue(backend, again, terms=DEBOUNCE), [(Placement.REPLACED, "a")], "its call under that id")
        harness.advance(2_000)
        s.places(backend, L7, "before the silence is over", delayed=1)
        L7.same(s.ids_of(s.take(backend)), [], "what could be claimed before the silence is over")
        harness.advance(PERIOD)
        found = s.readable(s.take_one(backend, L7), L7)
        seen = (found.body, dict(found.headers), found.serializer, found.seal, found.lock, found.attempt)
        L7.same(seen, (b"2", {"k": "2"}, "other", "5", again.lock, 1), "what runs after the silence")
        L7.same(found.priority, 60, "its priority")
        L7.same(first and found.enqueued_ms == first.enqueued_ms, True, "whether `enqueued_ms` stayed")

    @needs(HasLocks)
    def test_l7_a_debounced_task_does_not_wait_for_ever(self, harness: Harness) -> None:
        """Calls that do not end move the due time no further than `max_wait_ms` after the first."""
        backend = harness.open()
        enqueue(backend, locked("a", LockKind.DEBOUNCE), terms=DEBOUNCE)
        for _ in range(3):
            harness.advance(PERIOD - 1_000)
            message = locked("a", LockKind.DEBOUNCE)
            L7.same(enqueue(backend, message, terms=DEBOUNCE), [(Placement.REPLACED, "a")], "a call in time")
        L7.same(s.ids_of(s.take(backend)), [], "what could be claimed before the longest wait is over")
        harness.advance(3_001)
        s.claims(backend, L7, ["a"], "what could be claimed when the longest wait is over")

    @needs(HasLocks)
    def test_l7_a_debounced_task_may_keep_its_first_message(self, harness: Harness) -> None:
        """With `keep_first`, a call under any id moves the due time only."""
        terms = LockTerms(keep_first=True)
        backend = harness.open()
        enqueue(backend, locked("a", LockKind.DEBOUNCE, body=b"1"), terms=terms)
        harness.advance(PERIOD - 1_000)
        L7.same(enqueue(backend, locked("b", LockKind.DEBOUNCE), terms=terms), [held("a")], "a further call")
        harness.advance(2_000)
        L7.same(s.ids_of(s.take(backend)), [], "what could be claimed before the silence is over")
        harness.advance(PERIOD)
        L7.same(s.readable(s.take_one(backend, L7), L7).body, b"1", "what runs after the silence")

    @needs(HasLocks)
    def test_l7_a_call_when_it_is_due_begins_another(self, harness: Harness) -> None:
        """By the store's clock: also if `maintain` was not called since. What was due is not replaced."""
        backend = harness.open()
        enqueue(backend, locked("a", LockKind.DEBOUNCE, body=b"1"), terms=DEBOUNCE)
        harness.advance(PERIOD + 1)
        seen = enqueue(backend, locked("a", LockKind.DEBOUNCE, body=b"2"), terms=DEBOUNCE)
        L7.same(seen, [(Placement.KNOWN, "a")], "a call under the id of a task that is due")
        seen = enqueue(backend, locked("b", LockKind.DEBOUNCE, body=b"3"), terms=DEBOUNCE)
        L7.same(seen, [new("b")], "a call after the holder was due")
        delivery = s.take_one(backend, L7)
        L7.same((delivery.message.id, s.readable(delivery, L7).body), ("a", b"1"), "what was due")
        s.settled(backend, L7, s.done(delivery))
        seen = enqueue(backend, locked("b", LockKind.DEBOUNCE, body=b"4"), terms=DEBOUNCE)
        L7.same(seen, [(Placement.REPLACED, "b")], "a call while the second waits and the first has ended")

    @needs(HasLocks)
    def test_l7_a_debounced_task_expires_as_its_last_call_says(self, harness: Harness) -> None:
        """A lifetime counts from the call that has it. A call without one does not expire, and one that keeps the
        first message keeps its expiry."""
        backend = harness.open()
        if not isinstance(backend, Beginning):
            return
        short, long = {"lifetime_ms": PERIOD // 2}, {"lifetime_ms": 10 * PERIOD}
        ways = {"shorter": (long, short), "longer": (short, long), "never": (short, {}), "now": ({}, short)}
        for call in range(2):
            for name, lifetimes in ways.items():
                enqueue(backend, locked(name, LockKind.DEBOUNCE, name, **lifetimes[call]), terms=DEBOUNCE)
            kept = locked("first", LockKind.DEBOUNCE, "first", **(short, long)[call])
            enqueue(backend, kept, terms=LockTerms(keep_first=True))
            harness.advance(PERIOD // 4)
        harness.advance(PERIOD // 4 + 1)
        backend.maintain(256)
        ended = [name for name in (*ways, "first") if s.info(backend, name, L7).status.ended]
        L7.same(ended, ["shorter", "now", "first"], "which of the debounced tasks have expired")
        harness.advance(PERIOD)
        found = s.take(backend)
        L7.same(sorted(s.ids_of(found)), ["longer", "never"], "which of them run")
        statuses = list(backend.begin([one.receipt for one in found if one.must_begin]))
        L7.same(statuses, [m.StartStatus.RUN], "what begin returned")

    @needs(HasLocks)
    def test_l7_a_retry_of_a_debounced_task_is_not_replaced(self, harness: Harness) -> None:
        """What waits for its next attempt has run: a further call begins another task."""
        backend = harness.open()
        enqueue(backend, locked("a", LockKind.DEBOUNCE), terms=DEBOUNCE)
        harness.advance(PERIOD + 1)
        s.settled(backend, L7, s.retry(s.take_one(backend, L7), PERIOD))
        seen = enqueue(backend, locked("a", LockKind.DEBOUNCE), locked("b", LockKind.DEBOUNCE), terms=DEBOUNCE)
        L7.same(seen, [(Placement.KNOWN, "a"), new("b")], "calls while the first waits for its retry")

    @needs(HasLocks)
    def test_l7_a_cancelled_debounce_is_free(self, harness: Harness) -> None:
        """A call after the cancellation or the deletion of the task that waits begins another."""
        backend = harness.open()
        for end in (backend.cancel, backend.delete):
            enqueue(backend, locked("a", LockKind.DEBOUNCE), terms=DEBOUNCE)
            end(["a"])
            seen = enqueue(backend, locked("b", LockKind.DEBOUNCE), terms=DEBOUNCE)
            L7.same(seen, [new("b")], "a call after the task that waited was cancelled or deleted")
            backend.delete(["a", "b"])

    @needs(HasLocks)
    def test_l7_an_adopted_task_takes_a_free_lock(self, harness: Harness) -> None:
        """It is adopted in any case, and holds the lock if nobody did; a failed one does not."""
        backend = harness.open()
        tasks = []
        for task_id in ("a", "b", "failed"):
            enqueue(backend, locked(task_id))
            if task_id == "failed":
                s.settled(backend, L7, s.fail(s.take_one(backend, L7)))
            tasks.append(s.info(backend, task_id, L7))
            backend.delete([task_id])
        L7.same(list(backend.adopt([tasks[2], *tasks[:2]])), [True] * 3, "what was adopted")
        self._held(backend, "a", "after two tasks with the lock were adopted")
        backend.delete(["b", "failed"])
        self._held(backend, "a", "after the others were deleted")
        backend.delete(["a"])
        self._free(backend, "after its deletion")

    @needs(HasLocks)
    def test_l7_two_call_at_once(self, harness: Harness) -> None:
        """Of two that enqueue with the same lock at the same time, one is accepted; the other gets its id."""
        backend = harness.open()
        handles = [(backend, "x"), (harness.open(), "y")]
        answers: dict[str, set[str]] = {}

        def act(side: tuple[Backend, str], what: str) -> bool:
            (placed,) = enqueue(side[0], locked(f"{side[1]}{what}", what=what))
            answers.setdefault(what, set()).add(placed[1])
            return placed[0] is Placement.NEW

        things = [f"{number:02}" for number in range(20)]
        _once_each(self.patience, handles, act, things)
        L7.same({len(found) for found in answers.values()}, {1}, "how many ids were returned for one lock")
        s.places(backend, L7, "after it", ready=20)

    @needs(HasLocks)
    def test_l7_nothing_is_left(self, harness: Harness) -> None:
        """When all tasks have ended and all windows are over, nothing is left of any lock."""
        backend = harness.open()
        s.settled(backend, L7, s.done(s.claimed(backend, L7, "first")))
        harness.advance(2 * 86_400_000)
        s.take(backend)
        before = harness.footprint()
        enqueue(backend, *(locked(f"f{n}", what=str(n)) for n in range(9)))
        enqueue(backend, *(locked(f"w{n}", LockKind.WINDOW, str(n)) for n in range(9)), terms=WINDOW)
        enqueue(backend, *(locked(f"d{n}", LockKind.DEBOUNCE, str(n)) for n in range(9)), terms=DEBOUNCE)
        enqueue(backend, *(locked(f"d{n}", LockKind.DEBOUNCE, str(n)) for n in range(9)), terms=DEBOUNCE)
        harness.advance(PERIOD + 1)
        s.settled(backend, L7, *(s.done(delivery) for delivery in s.take_exactly(backend, 27, L7)))
        harness.advance(2 * 86_400_000)
        s.take(backend)
        s.take(backend)
        L7.same(harness.footprint(), before, "what is left of all locks")


def _once_each(
    patience: float,
    handles: Sequence[tuple[Backend, str]],
    act: Callable[[tuple[Backend, str], str], bool],
    things: Sequence[str],
) -> None:
    __tracebackhide__ = True
    sides = dict(enumerate(handles))

    def both(number: int) -> s.Call[list[bool]]:
        return s.Call(lambda: [act(sides[number], what) for what in things])

    results = [call.result(patience, L7, "one of two calls at once does not return") for call in map(both, sides)]
    counted = [sum(each) for each in zip(*results, strict=True)]
    L7.same(counted, [1] * len(things), "how many of two calls at once were accepted")


def _settle(make: Callable[[m.Delivery], m.Settlement]) -> Callable[[Backend, str], object]:
    def end(backend: Backend, task_id: str) -> None:
        (delivery,) = [one for one in s.take(backend) if one.message.id == task_id]
        s.settled(backend, L7, make(delivery))

    return end


def _with_progress(backend: Backend, task_id: str) -> None:
    (delivery,) = [one for one in s.take(backend) if one.message.id == task_id]
    s.extended(backend, delivery, m.Progress(1))
    s.settled(backend, L7, s.done(delivery))


def _cancelled_in_flight(backend: Backend, task_id: str) -> None:
    (delivery,) = [one for one in s.take(backend) if one.message.id == task_id]
    backend.cancel([task_id])
    s.settled(backend, L7, s.retry(delivery))


def _cancelled_and_released(backend: Backend, task_id: str) -> None:
    s.take(backend)
    backend.cancel([task_id])
    backend.release("one", [])


def _cancelled_while_delayed(backend: Backend, task_id: str) -> None:
    (delivery,) = [one for one in s.take(backend) if one.message.id == task_id]
    s.settled(backend, L7, s.retry(delivery, PERIOD))
    backend.cancel([task_id])


def _after_a_wait(backend: Backend, task_id: str) -> None:
    backend.watch(task_id, None, 0)
    backend.wait([task_id], 0)
    _settle(s.done)(backend, task_id)


_ENDS: Sequence[tuple[str, Callable[[Backend, str], object]]] = (
    ("Done", _settle(s.done)),
    ("Done with a short result", _settle(lambda one: s.done(one, ttl_ms=5_000))),
    ("Done without a record", _settle(lambda one: m.Settlement(one.receipt, m.Done()))),
    ("Done with a follow-up", _settle(lambda one: s.done(one, [s.job("follow-up", delay_ms=s.DAY)]))),
    ("Done after progress", _with_progress),
    ("Done while a client waits", _after_a_wait),
    ("Fail", _settle(s.fail)),
    ("Cancelled", _settle(lambda one: s.decided(one, m.Cancelled()))),
    ("a Retry of a cancelled task", _cancelled_in_flight),
    ("a release of a cancelled task", _cancelled_and_released),
    ("a cancellation while it is ready", lambda backend, task_id: backend.cancel([task_id])),
    ("a cancellation while it is delayed", _cancelled_while_delayed),
    ("a deletion", lambda backend, task_id: backend.delete([task_id])),
)
