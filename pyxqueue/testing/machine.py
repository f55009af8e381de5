"""Random sequences of everything that can happen to a backend, compared step by step with the in-memory one.

::

    TestMyBackend = backend_machine(lambda: contextlib.closing(MyHarness())).TestCase

Time moves in steps of two fifths of a lease, and every deadline lies in the middle of a step, so a server whose clock
goes on by itself may be half a step ahead, or the model follows it (`clock_goes_on`). What the laws leave open is not
compared: the order in which released and reclaimed messages come back or, if they were cancelled, end; whether one that
is due comes back before another that was handed back; and the place of a message between the end of its lease or delay
and the next claim. The model then follows the backend.

It needs the package `hypothesis`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, TypeAlias

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from ..locked import READY, WAITING, Entry, Place
from ..model.message import (
    ADOPTABLE,
    DEDUPE_MS,
    Cancelled,
    Defer,
    Done,
    Extension,
    Fail,
    Failure,
    Message,
    Progress,
    Record,
    Retry,
    Settlement,
    StartStatus,
    TaskInfo,
    TaskStatus,
    Verdict,
    evolve,
)
from ..model.priorities import CLASSES
from ..model.transitions import too_late
from ..model.turns import BY_AGE, Lines, Turn, take_first
from ..model.wire import message_from_fields
from ..protocols import Backend, Beginning, Pausing
from .comparing import FINAL, Claim, bare, essence, view
from .contract import Harness
from .contract.steps import MINUTE, all_tasks, counts
from .memory import MemoryHarness

HISTORY = 5
SLOTS = tuple("abcde")
CONSUMERS = ("one", "two", "three")
PRIORITIES = (0, 0, 60, 0, -60, 0)
"""Of the tasks in turn: most of them have none."""

consumers = st.sampled_from(CONSUMERS)
slots = st.sampled_from(SLOTS)
"""Each slot has one task at a time, so that most operations find a task."""
new_or_old = st.tuples(slots, st.booleans())
"""A task in this slot: a new one in its place, or the one that is there again."""
picks = st.sampled_from((0, 0, 0, 1, 1, 2, 3, 5, 8, 13))
"""Which claim, counted back from the latest: receipts that are not current are as common as current ones."""
delays = st.sampled_from((0, 0, 1, 2))
"""In steps of time; `ms` adds half a step."""
verdicts = st.sampled_from((Done, Done, Retry, Retry, Defer, Fail, Cancelled))
Item: TypeAlias = tuple[type[Any], int, bool, list[tuple[str, bool]]]
lifetimes = st.sampled_from((0, 0, 0, 1, 2, 4))
"""In steps of time, as the delays."""
items: st.SearchStrategy[Item] = st.tuples(verdicts, delays, st.booleans(), st.lists(new_or_old, max_size=1))
"""A verdict, its delay, whether there is a record, follow-ups."""
progresses = st.none() | st.builds(Progress, st.integers(0, 9), st.none() | st.just(9))
junk = st.dictionaries(
    st.binary(min_size=1, max_size=3).map(b"x-".__add__), st.binary(max_size=5), min_size=1, max_size=3
)


class BackendMachine(RuleBasedStateMachine):
    """Does the same to a backend and to the model. Use `backend_machine` to name the backend."""

    maintain_reclaims: ClassVar[bool] = False
    """True for a backend whose `maintain` also reclaims messages: B3 allows it there, and requires it of `claim`."""
    clock_goes_on: ClassVar[bool] = False
    """True for a store whose clock goes on by itself: that of the model follows it."""

    @classmethod
    def make_harness(cls) -> AbstractContextManager[Harness]:
        """A harness on a fresh queue, as a context manager that ends with the run."""
        raise NotImplementedError

    def __init__(self) -> None:
        super().__init__()
        self.context = self.make_harness()
        self.harness = self.context.__enter__()
        self.model_harness = MemoryHarness()
        self.model_harness.lease = self.harness.lease
        self.backend = self.harness.open(history=HISTORY)
        self.model = self.model_harness.open(history=HISTORY)
        self.backend.claim("one", 1, 0)
        self.model.claim("one", 1, 0)
        self.lock = self.model_harness.store.changed
        self.group = self.model_harness.store.group(self.model_harness.stream_key, "cg")
        self.step = self.harness.lease * 2 // 5
        self.elapsed = 0
        self.begun = time.monotonic()
        self.caught_up = 0
        """By how many ms the model has followed a clock that goes on by itself."""
        self.tick = 0
        self.claims: list[Claim] = []
        self.turn = Turn()
        self.taken_back: set[str] = set()
        """What was released or reclaimed since its last claim: its order among the others is left open."""
        self.beside_others: set[str] = set()
        """What came back in the step that enqueued its follow-ups: which of them was ready first is left open."""
        self.known: set[str] = set()
        self.generation: Counter[str] = Counter()
        self.retries: Counter[str] = Counter()
        self.ends: Counter[str] = Counter()

    def teardown(self) -> None:
        self.backend.close()
        self.context.__exit__(None, None, None)

    # -- what both are given

    @property
    def now(self) -> int:
        return self.model_harness.clock()

    def ms(self, steps: int) -> int:
        """A delay that ends between two steps, at a time of its own."""
        self.tick += 1
        return steps * self.step + self.step // 2 + self.tick if steps else 0

    def name(self, slot: str) -> str:
        return f"{slot}{self.generation[slot]}"

    def message(self, slot: str, new: bool, delay: int, lifetime: int = 0) -> Message:
        self.generation[slot] += new
        task_id = self.name(slot)
        self.known.add(task_id)
        priority = PRIORITIES[len(self.known) % len(PRIORITIES)]
        message = Message(
            task_id, "kit.job", b"\xff" + task_id.encode(), headers={"k": slot}, delay_ms=delay, priority=priority
        )
        return evolve(message, lifetime_ms=lifetime) if isinstance(self.backend, Beginning) else message

    def picked(self, pick: int) -> Claim:
        return self.claims[-1 - pick % len(self.claims)]

    def settlement(self, claim: Claim, item: Item) -> Settlement:
        kind, delay, described, then = item
        verdict = kind(self.ms(delay)) if kind in (Retry, Defer) else kind("no use") if kind is Fail else kind()
        messages = [self.message(slot, new, self.ms(delay)) for slot, new in then]
        return Settlement(claim.receipt, verdict, self.record(claim, verdict) if described else None, messages)

    def record(self, claim: Claim, verdict: Verdict) -> Record | None:
        ttl = 2 * self.step + self.step // 2 if claim.fence % 3 == 0 else 86_400_000
        match verdict:
            case Done():
                status, error = TaskStatus.SUCCESS, None
            case Fail():
                status, error = TaskStatus.FAILURE, Failure("ValueError", "no", "Traceback …")
            case Cancelled():
                status, error = TaskStatus.CANCELLED, None
            case _:
                return None
        value = b"\xff\x00" if error is None else b""
        return Record(claim.task_id, status, value, error=error, progress=FINAL, ttl_ms=ttl, fence=claim.fence)

    def same(self, seen: object, wanted: object, what: str) -> None:
        assert seen == wanted, f"{what}\n  the backend: {seen!r}\n  the model:   {wanted!r}"

    # -- rules

    @rule(tasks=st.lists(st.tuples(new_or_old, delays, lifetimes), min_size=1, max_size=4))
    def enqueue(self, tasks: list[tuple[tuple[str, bool], int, int]]) -> None:
        batch = [self.message(slot, new, self.ms(delay), self.ms(life)) for (slot, new), delay, life in tasks]
        self.same(list(self.backend.enqueue(batch)), list(self.model.enqueue(batch)), "what was returned by enqueue")

    @rule(on=st.sampled_from((True, False, False)))
    def pause(self, on: bool) -> None:
        """A pause, or its end; claims return nothing meanwhile, and then what they would have without it."""
        if isinstance(self.backend, Pausing):
            seen, wanted = (side.pause() if on else side.resume() for side in (self.backend, self.model))
            self.same(seen, wanted, f"what was returned by {'pause' if on else 'resume'}")
            self.same(self.backend.is_paused(), on, "whether the group is paused")

    @rule(consumer=consumers, limit=st.integers(1, 4), lost=st.booleans())
    def claim(self, consumer: str, limit: int, lost: bool) -> None:
        """A worker claims, and may never see the reply."""
        self.claims += [] if lost else self.claimed(consumer, limit)

    @rule(consumer=consumers, limit=st.integers(1, 3), decisions=st.lists(items, min_size=1, max_size=3))
    def work(self, consumer: str, limit: int, decisions: list[Item]) -> None:
        """A worker claims and settles at once: the usual case, which the other rules alone would make rare."""
        claims = self.claimed(consumer, limit)
        self.claims += claims
        self.settled(list(zip(claims, decisions, strict=False)))

    @rule(consumer=consumers, other=consumers)
    def take_over(self, consumer: str, other: str) -> None:
        """A holder is silent for more than a lease, and another claims; both receipts are used from then on."""
        self.claims += self.claimed(consumer, 2)
        self.advance(3)
        self.claims += self.claimed(other, 1)

    @rule(consumer=consumers, slot=slots)
    def run_again(self, consumer: str, slot: str) -> None:
        """A failed task is requeued beside a new one, and both are claimed."""
        claims = self.claimed(consumer, 1)
        self.settled([(claim, (Fail, 0, False, [(slot, True)])) for claim in claims])
        self.administer_tasks([claim.task_id for claim in claims], "requeue")
        self.claims += claims + self.claimed(consumer, 2)

    def claimed(self, consumer: str, limit: int) -> list[Claim]:
        """Claim from the backend; if the laws allow what it returned, make the model deliver the same."""
        self.backend.maintain(256)
        if not self.maintain_reclaims:  # then what has expired ends before what is reclaimed
            self.maintain_model(None)
        deliveries = self.backend.claim(consumer, limit, 0)
        self.reclaim()
        self.maintain_model(None)
        self.model.claim(consumer, 0, 0)
        self.same_turns([delivery.message.id for delivery in deliveries], limit)
        claims = []
        for delivery in deliveries:
            entry = self.group.tasks[delivery.message.id]
            self.same(bare(delivery.message), bare(entry.message), "a claimed message")
            self.count(entry, delivery.fence)
            with self.lock:
                lent = self.group.lend(entry, consumer, self.now)
            assert all(delivery.receipt != old.receipt for old in self.claims), f"{delivery.receipt!r} was issued twice"
            claims.append(Claim(entry.id, delivery.receipt, lent.receipt, delivery.fence))
        return claims

    def same_turns(self, found: list[str], limit: int) -> None:
        """What was claimed must come from the lines that the rule says, and from each in its order, as far as the laws
        say."""
        lines = {place: self.group.ready(place, len(self.group.tasks)) for place in READY}
        self.same(len(found), min(limit, len(self.group.first_ready(limit, self.turn)[0])), f"how many of {lines}")
        assert len(set(found)) == len(found), f"claimed twice at once: {found}"
        rest = dict.fromkeys(entry.id for place in READY for line in lines[place].values() for entry in line)
        for task_id in found:
            entry = self.group.tasks[task_id]
            self.same((entry.priority_class, entry.place), self.whose_turn(entry, rest), f"whose turn it was: {lines}")
            self.turn = self.turn.after({entry.priority_class: entry.place is Place.CAME_BACK})
            del rest[task_id]
        for line in lines[Place.NEW].values():
            self.same_order(found, line)
        for line in lines[Place.CAME_BACK].values():
            self.same_order(found, [entry for entry in line if entry.due])
            self.same_order(found, [entry for entry in line if not entry.due and entry.id not in self.taken_back])
        self.taken_back.difference_update(found)
        self.beside_others.difference_update(found)

    def whose_turn(self, entry: Entry, rest: Collection[str]) -> tuple[int, Place]:
        """The class and the line of the next delivery out of the `rest`. The order in which messages were taken back is
        open, and that of one that came back and its follow-ups; where it decides which class has waited longest, that
        of the `entry` is as good as any."""
        ready = [self.group.tasks[task_id] for task_id in rest]
        if self.turn.since == BY_AGE - 1 and not (self.taken_back | self.beside_others).isdisjoint(rest):
            ready = [one for one in ready if one.priority_class == entry.priority_class]
        classes = {
            number: Lines(
                *([one for one in ready if one.priority_class == number and one.place is place] for place in READY)
            )
            for number in CLASSES
        }
        (first,) = take_first(classes, 1, self.turn, lambda one: one.order).messages
        return first.priority_class, first.place

    def same_order(self, found: list[str], line: Sequence[Entry]) -> None:
        order = [entry.id for entry in line]
        claimed = [task_id for task_id in found if task_id in order]
        self.same(claimed, order[: len(claimed)], "the order within a line")

    def count(self, entry: Entry, fence: int) -> None:
        """What must hold whatever the model says: fencing tokens grow, and only a retry is an attempt."""
        fences = [claim.fence for claim in self.claims if claim.task_id == entry.id]
        assert all(old < fence for old in fences), f"fencing token {fence} of {entry.id!r} after {fences}"
        if isinstance(entry.message, Message):
            self.same(entry.message.attempt, 1 + self.retries[entry.id], f"the attempt of {entry.id!r}")
        self.same(self.ends[entry.id], 0, f"how often {entry.id!r} had ended when it was claimed")

    @precondition(lambda self: self.claims)
    @rule(batch=st.lists(st.tuples(picks, items), min_size=1, max_size=3))
    def settle(self, batch: list[tuple[int, Item]]) -> None:
        """Current, outdated and repeated receipts, with every verdict."""
        self.settled([(self.picked(pick), item) for pick, item in batch])

    def settled(self, batch: Sequence[tuple[Claim, Item]]) -> None:
        claims = [claim for claim, _ in batch]
        ours = [self.settlement(claim, item) for claim, item in batch]
        models = [
            evolve(settlement, receipt=claim.model_receipt) for claim, settlement in zip(claims, ours, strict=True)
        ]
        wanted = list(self.model.settle(models))
        self.same(list(self.backend.settle(ours)), wanted, f"what was returned by settle for {ours}")
        for claim, settlement, accepted in zip(claims, ours, wanted, strict=True):
            if accepted and self.group.tasks[claim.task_id].ended is not None:
                self.ends[claim.task_id] += 1
            elif accepted:
                self.retries[claim.task_id] += isinstance(settlement.verdict, Retry)
                self.beside_others.update([claim.task_id] if settlement.then else ())

    @precondition(lambda self: self.claims and isinstance(self.backend, Beginning))
    @rule(chosen=st.lists(picks, min_size=1, max_size=3))
    def begin(self, chosen: list[int]) -> None:
        """Holders ask whether they may start, some of them again, and some that hold nothing."""
        claims = [self.picked(pick) for pick in chosen]
        wanted = self.model.begin([claim.model_receipt for claim in claims])
        assert isinstance(self.backend, Beginning)
        seen = self.backend.begin([claim.receipt for claim in claims])
        self.same(list(seen), list(wanted), f"what was returned by begin for {claims}")
        self.ends.update(
            claim.task_id for claim, status in zip(claims, wanted, strict=True) if status is StartStatus.EXPIRED
        )

    @precondition(lambda self: self.claims)
    @rule(batch=st.lists(st.tuples(picks, progresses), min_size=1, max_size=3))
    def extend(self, batch: list[tuple[int, Progress | None]]) -> None:
        claims = [(self.picked(pick), progress) for pick, progress in batch]
        seen = self.backend.extend([Extension(claim.receipt, progress) for claim, progress in claims])
        wanted = self.model.extend([Extension(claim.model_receipt, progress) for claim, progress in claims])
        self.same(list(seen), list(wanted), f"what was returned by extend for {claims}")

    @rule(consumer=consumers, started=st.lists(picks, max_size=3))
    def release(self, consumer: str, started: list[int]) -> None:
        running = [self.picked(pick) for pick in started if self.claims]
        held = [entry for entry in self.group.lines[Place.IN_FLIGHT].values() if entry.consumer == consumer]
        self.taken_back.update(entry.id for entry in held)
        seen = self.backend.release(consumer, [claim.receipt for claim in running])
        with self.lock:
            wanted = self.group.release(consumer, [claim.model_receipt for claim in running], self.now)
            self.trim(held)
        if not any(entry.cancelled for entry in held):  # whether these count as taken back is left open
            self.same(seen, wanted, f"how many were released from {consumer!r}")

    @rule(steps=st.integers(1, 3))
    def advance(self, steps: int) -> None:
        self.elapsed += steps * self.step
        if self.elapsed > DEDUPE_MS - MINUTE:  # what is known about an id after that is left open
            return
        self.harness.advance(steps * self.step)
        self.model_harness.advance(steps * self.step)

    @rule(limit=st.integers(1, 3))
    def maintain(self, limit: int) -> None:
        self.backend.maintain(limit)
        if self.maintain_reclaims:
            self.reclaim()
        self.maintain_model(limit)

    def reclaim(self) -> None:
        """Have the model reclaim what the backend has reclaimed."""
        self.taken_back |= self.lapsed()
        lapsed = [self.group.tasks[task_id] for task_id in self.lapsed()]
        with self.lock:
            self.group.reclaim(self.now)
            self.trim(lapsed)

    def expired(self) -> list[Entry]:
        """The tasks that wait and have expired."""
        waiting = [entry for place in WAITING for entry in self.group.lines[place].values()]
        return [entry for entry in waiting if too_late(entry.expires, self.now)]

    def maintain_model(self, limit: int | None) -> None:
        expired = self.expired()
        with self.lock:
            self.group.maintain(limit, self.now)
            self.trim(expired)

    def trim(self, taken_back: Sequence[Entry]) -> None:
        """Cut the model's history, after one step has ended those of these that were cancelled or had expired: in which
        order they ended is left open, so the model takes the order of the backend."""
        ended = {entry.id: entry for entry in taken_back if entry.place is Place.HISTORY}
        if len(ended) > 1:
            listed = [task.id for task in reversed(all_tasks(self.backend)) if task.id in ended]
            for task_id in [*(ended.keys() - listed), *listed]:  # its history may have dropped the oldest
                self.group.move(ended[task_id], Place.HISTORY, self.now)
        self.group.trim(HISTORY, self.now)

    @rule(
        chosen=st.lists(slots, min_size=1, max_size=3, unique=True),
        action=st.sampled_from(("cancel", "cancel", "requeue", "requeue", "delete", "forget", "move")),
    )
    def administer(self, chosen: list[str], action: str) -> None:
        self.administer_tasks([self.name(slot) for slot in chosen], action)

    def administer_tasks(self, tasks: list[str], action: str) -> None:
        waiting = {task_id for place in WAITING for task_id in self.group.lines[place]}
        seen, wanted = (self.act(side, action, tasks) for side in (self.backend, self.model))
        self.same(seen, wanted, f"what was returned by {action} for {tasks}")
        agreed = [task_id for task_id, changed in zip(tasks, wanted, strict=False) if changed]
        if action == "cancel":
            self.ends.update(waiting.intersection(agreed))
        elif action == "requeue":
            for task_id in agreed:
                self.ends[task_id] = self.retries[task_id] = 0
            self.taken_back.difference_update(agreed)
        elif action == "delete":  # whether its id is still known is left open
            self.generation.update(slot for slot in SLOTS if self.name(slot) in agreed)

    def act(self, side: Backend, action: str, tasks: list[str]) -> list[bool]:
        match action:
            case "cancel":
                return list(side.cancel(tasks))
            case "requeue":
                return list(side.requeue(tasks))
            case "delete":
                return list(side.delete(tasks))
            case "forget":
                side.forget(tasks)
                return []
            case _:  # a move: out of the store and in again
                left_out = self.lapsed().union(self.group.lines[Place.DELAYED])
                shown = [task for task in side.show(tasks) if task is not None and task.id not in left_out]
                left = [undelayed(task) for task in shown if task.status in ADOPTABLE and task.message is not None]
                side.delete([task.id for task in left])
                return list(side.adopt(left))

    @rule(fields=junk)
    def inject(self, fields: dict[bytes, bytes]) -> None:
        task_id = self.harness.inject(fields)
        with self.lock:
            self.group.insert(Entry(task_id, message_from_fields(fields, task_id)), 0, self.now)
        self.known.add(task_id)

    # -- what must be the same after every step

    @invariant()
    def catch_up(self) -> None:
        """Let the model follow a clock that goes on by itself: a deadline may be passed there alone, else. The store's
        is not moved by less instead: of two delays, the one that began later would end first."""
        if self.clock_goes_on:
            gone = int((time.monotonic() - self.begun) * 1000)
            self.model_harness.advance(gone - self.caught_up)
            self.caught_up = gone

    @invariant()
    def end_expired(self) -> None:
        """Before the others, since when a task ends that waits and has expired is left open until `maintain`."""
        if self.expired():
            self.backend.maintain(256)
            if self.maintain_reclaims:
                self.reclaim()
            self.maintain_model(256)

    @invariant()
    def same_records(self) -> None:
        known = sorted(self.known)
        seen, wanted = self.backend.wait(known, 0), self.model.wait(known, 0)
        self.same(
            [essence(record) for record in seen], [essence(record) for record in wanted], f"the records of {known}"
        )

    @invariant()
    def same_tasks(self) -> None:
        """What is shown of each task, unless its record or lease has ended: its place is then left open."""
        lapsed = self.lapsed()
        known = sorted(self.known - lapsed)
        for task_id, ours, models in zip(known, self.backend.show(known), self.model.show(known), strict=True):
            if models is None or not models.status.ended or models.record is not None:
                self.same(view(ours), view(models), f"what is shown of {task_id!r}")
        listed = all_tasks(self.backend, count=3)
        names = [task.id for task in listed]
        assert len(set(names)) == len(names), f"a task is listed twice: {names}"
        seen = {task.id: task.status for task in listed if task.id not in lapsed}
        wanted = {task.id: task.status for task in all_tasks(self.model) if task.id not in lapsed}
        self.same(seen, wanted, "the tasks and their states")
        self.same(sum(counts(self.backend)), len(names), "how many tasks depth counts and tasks lists")

    @invariant()
    def same_depth(self) -> None:
        seen, wanted = counts(self.backend), counts(self.model)
        overdue = any(entry.due <= self.now for entry in self.group.lines[Place.DELAYED].values())
        if overdue or self.lapsed():
            seen, wanted = (sum(seen[:3]), *seen[3:]), (sum(wanted[:3]), *wanted[3:])  # type: ignore[assignment]
        self.same(seen, wanted, "ready, in flight, delayed, failed, history")

    @invariant()
    def same_holders(self) -> None:
        lapsed = self.lapsed()
        seen, wanted = (
            {consumer.name: names for consumer in side.consumers() if (names := sorted({*consumer.in_flight} - lapsed))}
            for side in (self.backend, self.model)
        )
        self.same(seen, wanted, "the holders")

    def lapsed(self) -> set[str]:
        """The tasks whose lease has ended and that have not been claimed since."""
        return {entry.id for entry in self.group.lines[Place.IN_FLIGHT].values() if entry.lease_end <= self.now}


def undelayed(task: TaskInfo) -> TaskInfo:
    """Without the times in its header, which a harness may leave as they are when it moves the store's deadlines."""
    if not isinstance(task.message, Message):
        return task
    return evolve(task, message=evolve(task.message, due_ms=0, expires_ms=0))


def backend_machine(
    make_harness: Callable[[], AbstractContextManager[Harness]],
    *,
    maintain_reclaims: bool = False,
    clock_goes_on: bool = False,
) -> type[BackendMachine]:
    """The machine for one backend; its `TestCase` is what pytest runs.

    `make_harness` returns a context manager with a harness on a fresh queue: `contextlib.closing` for one that has a
    `close`, `contextlib.nullcontext` for one that has not. `maintain_reclaims` and `clock_goes_on`: see
    `BackendMachine`.
    """

    class Machine(BackendMachine):
        @classmethod
        def make_harness(cls) -> AbstractContextManager[Harness]:
            return make_harness()

    Machine.maintain_reclaims = maintain_reclaims
    Machine.clock_goes_on = clock_goes_on
    return Machine
