"""Locks do in every backend what they do in the model, whatever happens; and debounced calls what their times say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Any

import pytest
import redis
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule, run_state_machine_as_test

from pyxqueue.locked import UNDER_WAY
from pyxqueue.model.locks import LockKind, LockTerms, Placement, lock_of, lock_text
from pyxqueue.model.message import Message, evolve
from pyxqueue.testing.contract import Harness
from pyxqueue.testing.contract.steps import done
from pyxqueue.testing.machine import BackendMachine, delays, new_or_old
from pyxqueue.testing.memory import MemoryHarness
from pyxqueue.testing.servers import ServerKind
from tests.contract.wrong import PLANTED, Wrong

from ..conftest import Servers, kinds_to_test
from ..support.redis_harness import RedisHarness, fake_client
from ..support.sqlite_harness import SQLiteHarness
from .test_memory_machine import THOROUGH

MakeHarness = Callable[[], AbstractContextManager[Harness]]
LOCKS = (b"one", b"two")
"""What a lock is on: few, so that most calls meet a holder."""


class LockMachine(BackendMachine):
    """The state machine of all operations, with those of locks; `begin` is there already."""

    backend: Any

    @rule(
        kind=st.sampled_from(LockKind),
        tasks=st.lists(st.tuples(new_or_old, delays, st.sampled_from(LOCKS)), min_size=1, max_size=4),
        keep_first=st.booleans(),
        lost=st.booleans(),
    )
    def enqueue_unique(
        self, kind: LockKind, tasks: list[tuple[tuple[str, bool], int, bytes]], keep_first: bool, lost: bool
    ) -> None:
        """Calls with equal locks; if the reply to the first try was lost, the same calls come again."""
        least = 1 if kind is LockKind.DEBOUNCE else 0
        if least and self.clock_goes_on:  # of two calls with one lock, the second is stored a moment later
            tasks = list({what: (slot, delay, what) for slot, delay, what in tasks}.values())
        batch = [
            evolve(self.message(slot, new, self.ms(max(least, delay))), lock=lock_text(kind, what))
            for (slot, new), delay, what in tasks
        ]
        # The longest wait is not reached here: where the clock goes on by itself, the order of what is due within a few
        # ms would be another one.
        terms = LockTerms(self.ms(1), 20 * self.step, keep_first)
        for again in range(1 + lost):
            if again:  # a ms later in both: a debounced call moves its task, which a clock by itself does at times only
                self.harness.advance(1)
                self.model_harness.advance(1)
            seen, wanted = (list(side.enqueue_unique(batch, terms)) for side in (self.backend, self.model))
            self.same(seen, wanted, f"what was returned by enqueue_unique for {kind.name}")

    @invariant()
    def same_locks(self) -> None:
        """The holders are the same; the holder of a lock that lasts is a task that has not ended, and has that lock."""
        texts = [lock_text(kind, what) for kind in LockKind if kind is not LockKind.STARTED for what in LOCKS]
        names = [text[1:] for text in texts]
        found = list(self.backend.lock_holders(names))
        self.same(found, list(self.model.lock_holders(names)), "the holders of the locks")
        for text, holder in zip(texts, found, strict=True):
            if holder and text[0] == LockKind.FINISHED.value:
                entry = self.group.tasks[holder]
                assert entry.place in UNDER_WAY, f"{holder!r} holds a lock and has ended"
                lock = lock_of(entry.message)
                self.same(lock and lock.name, text[1:], f"the lock of {holder!r}, which holds another")


def machine_of(make: MakeHarness, *, reclaims: bool = False) -> type[LockMachine]:
    class Machine(LockMachine):
        maintain_reclaims = reclaims

        @classmethod
        def make_harness(cls) -> AbstractContextManager[Harness]:
            return make()

    Machine.clock_goes_on = reclaims  # so it is on Redis
    return Machine


def run(make: MakeHarness, *, examples: int, steps: int = 40, reclaims: bool = False) -> None:
    phases = [Phase.explicit, Phase.reuse, Phase.generate]
    run_state_machine_as_test(
        machine_of(make, reclaims=reclaims),
        settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None, phases=phases),
    )


def on_fakeredis() -> AbstractContextManager[Harness]:
    return closing(RedisHarness(fake_client()))


def on_server(url: str) -> MakeHarness:
    return lambda: closing(RedisHarness(redis.Redis.from_url(url)))


def test_the_model_keeps_its_own_rules() -> None:
    """The holder of a lock has not ended, in the model itself."""
    run(lambda: nullcontext(MemoryHarness()), examples=25)


def test_sqlite_follows_the_model() -> None:
    """Locks in a file."""
    run(lambda: closing(SQLiteHarness()), examples=10)


def test_fakeredis_follows_the_model() -> None:
    """Locks on fakeredis."""
    run(on_fakeredis, examples=6, steps=30, reclaims=True)


@pytest.mark.parametrize("kind", kinds_to_test())
def test_a_server_follows_the_model(kind: ServerKind, servers: Servers) -> None:
    """Locks on a real server."""
    run(on_server(servers(kind).url), examples=6, reclaims=True)


@pytest.mark.soak
def test_sqlite_follows_the_model_for_long() -> None:
    """The same with many more and longer sequences."""
    run(lambda: closing(SQLiteHarness()), examples=1000, steps=80)


@pytest.mark.soak
@pytest.mark.parametrize("kind", kinds_to_test())
def test_a_server_follows_the_model_for_long(kind: ServerKind, servers: Servers) -> None:
    """The same with many more and longer sequences."""
    run(on_server(servers(kind).url), examples=1000, steps=80, reclaims=True)


FOUND = [
    "AFailureKeepsTheLock",
    "ARetryGivesTheLockBack",
    "ARequeueTakesNothing",
    "ARequeueStealsTheLock",
    "AWindowEndsWithItsTask",
    "ReplacesWhatIsDue",
]
FOUND_LATE = ["AStartKeepsTheLock"]
"""Found after more than a thousand sequences; the kit finds it at once."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    "wrong",
    [
        *(wrong for wrong in PLANTED if wrong.name in FOUND),
        *(pytest.param(wrong, marks=pytest.mark.soak) for wrong in PLANTED if wrong.name in FOUND_LATE),
    ],
    ids=lambda wrong: wrong.name,
)
def test_a_wrong_backend_is_found(wrong: Wrong) -> None:
    """Random sequences lead a backend that breaks L7 into a step in which it differs from the model."""
    with pytest.raises(AssertionError):
        run_state_machine_as_test(machine_of(lambda: nullcontext(wrong.harness())), settings=THOROUGH)


def test_the_wrong_backends_are_there() -> None:
    """A wrong backend that is renamed does not drop out unseen."""
    assert {*FOUND, *FOUND_LATE} <= {wrong.name for wrong in PLANTED}


SECOND = 1_000
PERIOD, MAX_WAIT = 2_500, 6_400
"""They end between two seconds, at which the calls come, so that a clock that goes on by itself changes nothing."""


def rounds(gaps: Sequence[int]) -> list[bytes]:
    """What runs, by the times of the calls alone: the number of the last call of each round."""
    now, first, due, found = 0, 0, -1, list[bytes]()
    for number, gap in enumerate(gaps):
        now += gap * SECOND
        if now >= due:
            first = now
            found.append(b"")
        due = min(now + PERIOD, first + MAX_WAIT)
        found[-1] = b"%d" % number
    return found


def debounced(harness: Harness, gaps: Sequence[int], maintained: Sequence[bool]) -> list[bytes]:
    """Make the calls as a producer does, and return what ran."""
    backend: Any = harness.open()
    lock, terms, ran = lock_text(LockKind.DEBOUNCE, b"one"), LockTerms(max_wait_ms=MAX_WAIT), list[bytes]()

    def call(task_id: str, number: int) -> tuple[Placement, str]:
        message = Message(task_id, "job", b"%d" % number, lock=lock, delay_ms=PERIOD)
        placement, holder = backend.enqueue_unique([message], terms)[0]
        return placement, holder

    def work() -> None:
        backend.maintain(256)
        for delivery in backend.claim("one", 100, 0):
            ran.append(delivery.message.body)
            assert backend.settle([done(delivery)]) == [True]

    for number, (gap, look) in enumerate(zip(gaps, maintained, strict=True)):
        harness.advance(gap * SECOND)
        if look:
            work()
        placement, holder = call(f"t{number}", number)
        if placement is Placement.HELD:
            assert call(holder, number) == (Placement.REPLACED, holder)
    harness.advance(10 * SECOND)
    work()
    return ran


calls_and_looks = st.lists(st.tuples(st.sampled_from((1, 1, 1, 2, 3, 7)), st.booleans()), min_size=1, max_size=12)
HARNESSES: dict[str, MakeHarness] = {
    "memory": lambda: nullcontext(MemoryHarness()),
    "sqlite": lambda: closing(SQLiteHarness()),
    "fakeredis": on_fakeredis,
}


@pytest.mark.parametrize("make", HARNESSES.values(), ids=HARNESSES)
@settings(max_examples=20, deadline=None)
@given(calls=calls_and_looks)
def test_debounced_calls_are_a_function_of_their_times(make: MakeHarness, calls: list[tuple[int, bool]]) -> None:
    """Which calls become one task depends on when they come, not on when the queue is maintained or served."""
    with make() as harness:
        gaps, looks = [gap for gap, _ in calls], [look for _, look in calls]
        assert debounced(harness, gaps, looks) == rounds(gaps)
