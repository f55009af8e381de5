"""Programs that enqueue all the time, one after the other, each of which is killed at some moment.

They are forked from this one, so that none has to import anything. Each notes what it is about to enqueue, and what the
store has accepted.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Sequence
from contextlib import closing
from itertools import count
from typing import Any

from pyxqueue import TaskQueue
from pyxqueue.ids import new_id

from .app import append
from .produced import KEYS, LOG, SCHEDULES, STREAM, UNIQUE, URL, make_tasks

SEED, LIVES = "TEST_SEED", "TEST_LIVES"
"""Variables that say what happens, and how many producers are killed."""
LONGEST = 0.06
"""Seconds for which one lives at most, after its first call."""
CALLS = 1_000_000
"""More than one of them makes: a number says which process has made the call."""
GUARDED = (*UNIQUE, "throttled", "debounced")
BATCHES = *[1] * 8, *[3] * 6, *[20] * 3, 300
"""Of these the last is more than goes into one request."""


class Producer:
    """Makes calls of all kinds, in an order that its seed says."""

    def __init__(self, queue: TaskQueue, seed: str) -> None:
        self.queue = queue
        self.tasks = make_tasks(queue)
        self.chance = random.Random(seed)
        self.numbers = count(os.getpid() * CALLS)

    def note(self, kind: str, task_id: str, *words: object) -> None:
        append(os.environ[LOG], kind, task_id, 1, os.getpid(), *words)

    def call(self) -> None:
        which = self.chance.random()
        if which < 0.15:
            self.upsert(self.chance.choice(SCHEDULES))
        elif which < 0.6:
            self.call_guarded(self.chance.choice(GUARDED))
        else:
            self.call_many(self.chance.choice(("plain", "one_by_one", "paced")))

    def call_many(self, name: str) -> None:
        """Several calls in one batch, with ids that are known before."""
        calls: list[Sequence[Any]] = [(self.key(), next(self.numbers)) for _ in range(self.chance.choice(BATCHES))]
        ids = [new_id() for _ in calls]
        task = self.tasks[name].with_options(priority=self.chance.choice((0, 0, 60, -60)))
        for task_id, (key, number) in zip(ids, calls, strict=True):
            self.note("calling", task_id, name, key, number, calls[0][1])
        for handle in task.map(calls, task_ids=ids):
            self.note("accepted", handle.task_id, name)

    def call_guarded(self, name: str) -> None:
        """A call that may meet an equal task; or one with a key of its own, so that it takes the lock."""
        number = next(self.numbers)
        key = self.chance.choice((self.key(), f"own-{number}"))
        self.note("calling", "-", name, key, number)
        handle = self.tasks[name](key, number)
        self.note("accepted", handle.task_id, name, key, number, int(handle.created))

    def upsert(self, name: str) -> None:
        """Make or change a schedule: one that ticks each second, or one that does not tick here."""
        number = next(self.numbers)
        every = 1 if name == "beat" else 3_600 * self.chance.randint(1, 5)
        self.note("calling", "-", name, every, number)
        self.queue.schedules.upsert(name, self.tasks["plain"], str(every), number, every=every, overlap="allow")
        self.note("accepted", "-", name, every, number)

    def key(self) -> str:
        return str(self.chance.randrange(KEYS))


def live(seed: str, born: int) -> None:
    """Make calls until this process is killed; tell the parent when the first one is over."""
    with closing(TaskQueue(os.environ[URL], stream_key=os.environ[STREAM])) as queue:
        producer = Producer(queue, seed)
        producer.call()
        os.write(born, b"1")
        while True:
            producer.call()


def let_one_live(seed: str, seconds: float) -> None:
    """Fork a producer, and kill it."""
    reader, born = os.pipe()
    if (pid := os.fork()) == 0:
        try:
            live(seed, born)
        finally:
            os._exit(1)
    os.close(born)
    assert os.read(reader, 1), "it ended by itself"
    os.close(reader)
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    assert os.WIFSIGNALED(status), "it ended by itself"


def main() -> None:
    seed, lives = os.environ[SEED], int(os.environ[LIVES])
    with closing(TaskQueue(os.environ[URL], stream_key=os.environ[STREAM])) as queue:
        first = Producer(queue, seed)  # imports all that the others need
        for name in GUARDED:
            first.call_guarded(name)
        first.call_many("paced")
        for name in SCHEDULES:
            first.upsert(name)
    chance = random.Random(seed)
    for number in range(lives):
        let_one_live(f"{seed}-{number}", chance.uniform(0.0, LONGEST))


if __name__ == "__main__":
    main()
