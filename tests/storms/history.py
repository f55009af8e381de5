"""A history of a store with all that can happen to a task, and the audit of a store that has kept a part of it."""

from __future__ import annotations

import random
from collections.abc import Callable

from attrs import define, field, frozen

from pyxqueue.model import message as m
from pyxqueue.model.transitions import ENDS
from pyxqueue.protocols import Backend, limits_of
from pyxqueue.testing.contract.steps import VERDICTS, decided, done, gated, job, limited, take, tokens

LEASE = 20_000
GATE = "gate"


@frozen
class Promise:
    """What a caller was told about a task."""

    mark: int
    """How far the file of the store had come then."""
    task_id: str
    ended: bool


@define
class History:
    """What was done with a store. `mark`: how far its file has come."""

    backend: Backend
    mark: Callable[[], int]
    chance: random.Random
    ids: list[str] = field(factory=list)
    promises: list[Promise] = field(factory=list)
    undone: set[str] = field(factory=set)
    """Tasks that an operator has requeued or deleted: what was promised about their end no longer holds."""

    def play(self, rounds: int) -> None:
        limited(self.backend, **{GATE: 2})
        for number in range(rounds):
            self._enqueue(number)
            self._work()
            self._operate(number)

    def _promise(self, task_id: str, *, ended: bool = False) -> None:
        self.promises.append(Promise(self.mark(), task_id, ended))

    def _enqueue(self, number: int) -> None:
        messages = [
            job(f"plain-{number}"),
            job(f"delayed-{number}", delay_ms=self.chance.choice((1, 60_000))),
            job(f"urgent-{number}", priority=60),
            *(gated(f"gated-{number}-{one}", f"{GATE}/a") for one in range(2)),
        ]
        assert all(self.backend.enqueue(messages))
        for message in messages:
            self.ids.append(message.id)
            self._promise(message.id)

    def _work(self) -> None:
        deliveries = take(self.backend, self.chance.randint(1, 6))
        self.backend.extend([m.Extension(one.receipt, m.Progress(1, 2)) for one in deliveries])
        for delivery in deliveries:
            verdict = self.chance.choice((*VERDICTS, None, m.Done()))
            if verdict is None:
                continue  # it stays in flight
            task_id = delivery.message.id
            then = [job(f"then-{task_id}-{len(self.ids)}")] if isinstance(verdict, m.Done) else []
            assert self.backend.settle([decided(delivery, verdict, then)]) == [True]
            if type(verdict) in ENDS:
                self._promise(task_id, ended=True)
            for message in then:
                self.ids.append(message.id)
                self._promise(message.id)

    def _operate(self, number: int) -> None:
        if number % 3 == 0 and self.backend.cancel([f"plain-{number}"]) == [True]:
            self.undone.add(f"plain-{number}")  # a running one is only asked to end
        if number % 4 == 0:
            failed, _ = self.backend.tasks(m.TaskStatus.FAILURE, "", 100)
            self.undone.update(one.id for one in failed)
            self.backend.requeue([one.id for one in failed])


def audit(history: History, mark: int, backend: Backend, advance: Callable[[int], None]) -> int:
    """Look whether a store that has kept its file up to `mark` has kept every promise until then, and whether its
    tasks come to an end. Returns how many it knows."""
    known = {info.id: info for info in backend.show(history.ids) if info is not None}
    for one in history.promises:
        if one.mark <= mark:
            assert one.task_id in known, f"{one} is lost at {mark}"
            assert not one.ended or one.task_id in history.undone or known[one.task_id].status.ended, f"{one} at {mark}"
    depth = backend.depth()
    assert depth.waiting + depth.in_flight + depth.failed + depth.history == len(known), f"{depth} at {mark}"

    for _ in range(3):
        advance(70_000)
        while deliveries := take(backend, 100, "healer"):  # each end may free a token for another one
            assert all(backend.settle([done(delivery) for delivery in deliveries]))
    for info in backend.show(list(known)):
        assert info is not None
        assert info.status.ended, f"{info} never ends at {mark}"
    limits = limits_of(backend)
    assert limits is not None
    assert tokens(limits) == {}, f"at {mark}"
    limits.set(GATE, None)  # a number that was set is no left-over
    return len(known)
