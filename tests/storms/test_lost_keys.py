"""Another program deletes a key of a queue, or puts something else there, while tasks wait for all that a task can wait
for: each of them ends, and once."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any, TypeAlias

import pytest
from attrs import define, field
from redis import Redis

from pyxqueue import BrokerError
from pyxqueue.backends.redis import ConnectionConfig, RedisBackend, unnoted
from pyxqueue.model.message import (
    FLOW_VERSION,
    Defer,
    Delivery,
    Done,
    Fail,
    Message,
    Record,
    Retry,
    Settlement,
    StartStatus,
    Suspend,
    TaskStatus,
    Verdict,
)
from pyxqueue.model.rates import Pace
from pyxqueue.protocols import StoreOptions
from pyxqueue.testing.servers import Server, ServerKind
from tests.conftest import kinds_to_test
from tests.support.seeds import seed_of
from tests.support.until import until

from .storm import oldest

Act: TypeAlias = Callable[[], object]
LEASE = 300_000
"""Longer than a test: no lease ends."""
NAMES = (
    *(
        "delayed",
        "delayed",
        "delayed",
        "delayed",
        "lines",
        "lines",
        "dependents",
        "dependents",
    ),  # who waits, and for what
    *("turns", "gates", "expiries", "notes", "parked", "again", "failed", "history", "again:2", "new:2"),
)


@define
class Scene:
    """A queue, what was enqueued there, and what is in flight."""

    backend: RedisBackend
    client: Any
    chance: random.Random
    ids: list[str] = field(factory=list)
    refused: list[Sequence[Message]] = field(factory=list)
    """What could not be enqueued: its call comes again."""
    held: list[Delivery] = field(factory=list)
    ends: Counter[str] = field(factory=Counter)
    """How often the end of each task was accepted."""

    def __attrs_post_init__(self) -> None:
        self.backend.lease_ms()
        self.backend.limits().set("api", self.chance.choice((1, 2)))
        self.backend.limits().set_rate("fast", Pace(200, 1_000, 2))

    def options(self) -> dict[str, Any]:
        """What a task waits for, beside others of its flow."""
        chance, options = self.chance, dict[str, Any]()
        if chance.random() < 0.4:
            options["delay_ms"] = chance.choice((1, 20, 60))
        if chance.random() < 0.4:
            gates = (("api/a",), ("api/b",), ("rate:fast/x",), ("api/a", "rate:fast/x"))
            options["gates"] = chance.choice(gates)
        if chance.random() < 0.2:
            options["priority"] = chance.choice((-60, -10, 10, 60))
        if chance.random() < 0.15:
            options |= {"share": 1, "tenant": chance.choice("ab")}
        if chance.random() < 0.15:
            options["lifetime_ms"] = chance.choice((30, 100_000))
        return options

    def enqueue(self) -> None:
        """One task; or a first one, some that wait for it, and one that waits for these."""
        flow, policy = f"f{len(self.ids)}", self.chance.choice("fc")
        first, last = f"{flow}.first", f"{flow}.last"
        middle = [f"{flow}.{number}" for number in range(self.chance.choice((0, 1, 2, 3)))]
        edges: Mapping[str, tuple[Sequence[str], Sequence[str]]] = {
            last: (middle, ()),
            **dict.fromkeys(middle, ((first,), (f"{policy}:{last}",))),
            first: ((), [f"{policy}:{one}" for one in middle]),
        }
        self.store(
            [
                Message(
                    one,
                    "job",
                    flow=flow,
                    after=tuple(after),
                    successors=tuple(before),
                    v=FLOW_VERSION,
                    **self.options(),
                )
                for one, (after, before) in edges.items()
                if middle or one == first
            ]
        )

    def store(self, messages: Sequence[Message]) -> None:
        """Enqueue messages. If that is refused, it is tried again at the end, as a producer does it."""
        self.ids += [one.id for one in messages]
        self.refused.append(messages)
        self.backend.enqueue(messages)
        self.refused.remove(messages)

    def claim(self) -> None:
        claimed = self.backend.claim("w", self.chance.choice((1, 3, 9)), 0)
        self.held += claimed
        if unsure := [one.receipt for one in claimed if one.must_begin]:
            for receipt, status in zip(unsure, self.backend.begin(unsure), strict=True):
                if status is not StartStatus.RUN:
                    self.held = [one for one in self.held if one.receipt != receipt]

    def settle(self) -> None:
        if self.held:
            pause, due = self.chance.choice((0, 15)), round(time.time() * 1000) + 20
            verdicts: Sequence[Verdict] = (
                Retry(pause),
                Defer(pause),
                Suspend(due_ms=due),
                Fail("no use"),
                Done(),
                Done(),
            )
            self.settle_with(self.chance.choice(self.held), self.chance.choice(verdicts))

    def settle_with(self, one: Delivery, verdict: Verdict) -> None:
        record = Record(one.message.id, TaskStatus.SUCCESS, b"null") if isinstance(verdict, Done) else None
        (accepted,) = self.backend.settle([Settlement(one.receipt, verdict, record)])
        self.held.remove(one)
        self.ends[one.message.id] += accepted and isinstance(verdict, (Done, Fail))

    def maintain(self) -> None:
        self.backend.maintain(256)

    def act(self, most: int) -> None:
        """What programs do, up to so many times. A call may be refused."""
        acts = (*[self.enqueue] * 3, *[self.claim] * 3, *[self.settle] * 4, *[self.maintain] * 2)
        for _ in range(self.chance.randrange(most)):
            with suppress(BrokerError):
                self.chance.choice(acts)()

    def vandalize(self) -> None:
        """Delete a key, or have something else there for a while."""
        stream = self.backend.options.stream_key
        keys = [stream, f"{{{stream}}}:meta", *(f"{{{stream}}}:cg:{name}" for name in NAMES)]
        key = self.chance.choice(keys)
        if self.chance.random() < 0.3:
            self.client.set(key, "not ours")
            self.act(4)
        self.client.delete(key)

    def heal(self) -> None:
        """Enqueue what was refused, and finish everything. What waits for others is looked at each time."""
        while self.refused:
            self.store(self.refused.pop())
        self.maintain()
        self.client.zadd(f"{{{self.backend.options.stream_key}}}:cg:delayed", {":dependents": 0}, xx=True)
        for one in [*self.held]:
            self.settle_with(one, Done())
        self.claim()

    def are_ended(self) -> bool:
        """Whether each task has ended, or is known to be lost, and nothing is left in the queue."""
        self.heal()
        depth = self.backend.depth()
        assert depth is not None
        ended = all(info is None or info.status.ended for info in self.backend.show(self.ids))
        return ended and depth.waiting + depth.in_flight == 0


@contextmanager
def scene(url: str, seed: int) -> Iterator[Scene]:
    options = StoreOptions(f"q{seed}", lease_ms=LEASE)
    backend = RedisBackend(ConnectionConfig.from_url(url), options, reclaim_after=0)
    with closing(backend), Redis.from_url(url, protocol=2) as client:
        yield Scene(backend, client, random.Random(seed))
        client.flushall()


def rage(kind: ServerKind, seeds: range) -> None:
    with Server(kind) as server:
        for seed in seeds:
            with scene(server.url, seed) as one:
                one.act(25)
                one.vandalize()
                one.act(6)
                if one.chance.random() < 0.3:
                    one.vandalize()
                until(one.are_ended, f"all tasks end, with the seed {seed}")
                assert max(one.ends.values(), default=0) <= 1, (seed, one.ends)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With each maintenance it is looked for tasks that are noted nowhere."""
    monkeypatch.setattr(unnoted, "EVERY", 0.0)


def test_keys_are_lost_at_random() -> None:
    """In sixty queues, on the oldest server."""
    first = seed_of(0)
    rage(oldest(), range(first, first + 60))


@pytest.mark.soak
@pytest.mark.parametrize("kind", kinds_to_test())
def test_keys_are_lost_at_random_for_long(kind: ServerKind) -> None:
    """In 2,000 queues."""
    first = seed_of(1_000)
    rage(kind, range(first, first + 2_000))
