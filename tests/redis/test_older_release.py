"""A worker of a release that knows wire version 1 only, beside this one.

It runs plain tasks, and leaves alone what uses features that it does not know.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen

from pyxqueue import Concurrency, TaskQueue, TaskStatus, Unique
from pyxqueue.backends.redis import RedisBackend
from pyxqueue.model.message import Done, Message, Record, Settlement
from pyxqueue.testing.contract.steps import tokens
from tests.support.until import until

SCRIPTS = Path(__file__).parent.parent / "data" / "before_flow"
READS = 1
"""The wire version up to which the older worker reads messages."""
AGAIN_MS = 10
"""After how many ms what it does not read is due again; the older worker took ten seconds."""
RESULT_TTL_MS = 86_400_000
RECORD = b"5 5:value4:null6:worker5:older"


@frozen
class Older:
    """A worker and a supervisor of the older release, as far as the server sees them."""

    client: Any
    stream: str
    scripts: dict[str, Any] = field(init=False)
    ran: list[str] = field(factory=list)
    left: list[str] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        texts = {path.stem: path.read_text() for path in SCRIPTS.glob("*.lua")}
        object.__setattr__(self, "scripts", {name: self.client.register_script(text) for name, text in texts.items()})

    @property
    def keys(self) -> list[str]:
        own = ("again", "delayed", "parked", "history", "failed", "notes")
        return [self.stream, *(self.key(name) for name in own)]

    def key(self, name: str) -> str:
        return f"{{{self.stream}}}:cg:{name}"

    def promote(self) -> None:
        _, *ids = self.scripts["due"](self.keys, ["cg", 256])
        tasks = [self.key(f"task:{task_id.decode()}") for task_id in ids]
        self.scripts["promote"]([*self.keys, *tasks], ["cg", *ids])

    def work(self) -> int:
        """Claim what there is; end what it reads, and give the rest back. Returns how many were claimed."""
        streams = {"n": self.stream, "a": self.key("again")}
        found = self.client.xreadgroup("cg", "older", dict.fromkeys(streams.values(), ">"), 256)
        places = {stream.encode(): place for place, stream in streams.items()}
        claimed = [(places[stream], *entry) for stream, entries in found for entry in entries]
        for place, entry, fields in claimed:
            task_id = fields[b"id"].decode()
            if int(fields.get(b"v", b"1")) <= READS:
                self.ran.append(task_id)
                self.settle(place, entry.decode(), task_id, "", "done", "", RECORD)
            else:
                self.left.append(task_id)
                self.settle(place, entry.decode(), task_id, "1", "defer", AGAIN_MS, b"")
        return len(claimed)

    def settle(self, place: str, entry: str, task_id: str, *what: object) -> None:
        """`what`: whether it is to be put back as it is, the verdict, its detail, the record."""
        ms, number = entry.split("-")
        own, none = (entry, entry, f"{ms}-{int(number) + 1}"), ("", "", "")
        ranges = (*own, *none) if place == "n" else (*none, *own)
        item = (place, entry, "older", task_id, *what, RESULT_TTL_MS, "", 0)
        keys = [*self.keys, f"{{{self.stream}}}:meta", self.key(f"task:{task_id}")]
        assert self.scripts["settle"](keys, ["cg", 100, 1, "older", *ranges, *item]) == [1]


@pytest.fixture
def queue(redis_url: str, stream_key: str) -> Iterator[TaskQueue]:
    with closing(TaskQueue(redis_url, stream_key=stream_key)) as queue:
        yield queue


def nothing(key: str) -> None: ...


class Calls:
    """Calls of plain tasks, also delayed ones, and of tasks that use what an older worker must not ignore."""

    def __init__(self, queue: TaskQueue) -> None:
        keys = [(key,) for key in "aabbc"]
        plain = queue.task(name="plain")(nothing)
        limited = queue.task(name="limited", limits=[Concurrency(1, by="key"), Concurrency(3, name="all")])(nothing)
        expiring = queue.task(name="expiring", expires=3600)(nothing)
        self.unique = queue.task(name="unique", unique=Unique())(nothing)
        started = queue.task(name="started", unique=Unique(until="started"), limits=[Concurrency(1)])(nothing)
        self.plain = [*plain.map(keys), *plain.with_options(delay=0.01).map(keys)]
        self.flow = [*limited.map(keys), *limited.with_options(delay=0.01).map(keys), *expiring.map(keys)]
        self.locked = self.unique("a")
        self.flow += [self.locked, *(started(key) for key in "abc"), plain.with_options(priority=60)("a")]


def work(backend: RedisBackend) -> int:
    """Do what a worker and a supervisor of this release do. Returns how many tasks have not ended."""
    backend.maintain(256)
    settlements = [
        Settlement(one.receipt, Done(), Record(one.message.id, TaskStatus.SUCCESS, b"null", fence=one.fence))
        for one in backend.claim("new", 256, 0)
    ]
    assert all(backend.settle(settlements))
    depth = backend.depth()
    return depth.ready + depth.in_flight + depth.delayed + depth.blocked


def test_an_older_worker_leaves_flow_control_alone(queue: TaskQueue, client: Any, stream_key: str) -> None:
    """It runs plain tasks. The others it claims and gives back, again and again, uncharged and with their tokens and
    locks; other classes of priority it never sees. Workers of this release then run all that is left.
    """
    backend = queue.stores.backend
    assert isinstance(backend, RedisBackend)
    calls, older = Calls(queue), Older(client, stream_key)

    def rounds() -> bool:
        older.promote()
        older.work()
        return len(older.ran) == len(calls.plain) and min(Counter(older.left).values(), default=0) >= 3

    until(rounds, "it has claimed what it does not read three times")

    assert sorted(older.ran) == sorted(handle.task_id for handle in calls.plain)
    assert [handle.get(5) for handle in calls.plain] == [None] * len(calls.plain)
    for info in backend.show([handle.task_id for handle in calls.flow]):
        assert info is not None
        assert info.status is TaskStatus.PENDING
        message = info.message
        assert isinstance(message, Message)
        assert (message.attempt, message.crashes, message.deferrals, message.redelivered) == (1, 0, 0, False)
    one_each = {"limited/a": 1, "limited/b": 1, "limited/c": 1, "started/": 1}
    assert {gate: used for gate, (used, _) in tokens(backend.limits()).items()} == {"all/": 3, **one_each}
    assert calls.unique("a") == calls.locked

    until(lambda: work(backend) == 0, "workers of this release run the rest")

    assert {handle.state for handle in calls.flow} == {TaskStatus.SUCCESS}
    assert tokens(backend.limits()) == {}
    assert calls.unique("a").created
