"""Two releases of one program take turns: a storm's own process forks their workers and stops them with SIGTERM.

Release 1 has the tasks `old` and `both`, release 2 has `new` and `both`, and `changed` has other arguments in each. The
process prints, for each tree that it stopped, its exit code, and the seconds that it took to start and to stop. It
forks, so it must not have threads.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field

from pyxqueue import TaskQueue
from pyxqueue.client.task import Task
from pyxqueue.ids import new_id
from tests.processes.app import Site, append_lines, now_ms, say, site_of_environment
from tests.support.seeds import SEED
from tests.support.until import until

from .storm import Log

ROUNDS = "TEST_ROUNDS"
"""A variable that says how many trees are started."""
GRACE = "TEST_GRACE"
"""A variable with their grace in seconds."""
LONG = "TEST_LONG"
"""A variable with the seconds that a long task takes; 0 for none. It may be longer than the grace."""
LONGEST = 0.05
PROCESSES, THREADS = 2, 2
PATIENCE = 120.0


def run(seconds: float, kind: str) -> str:
    """What each task does: say that it begins and ends, and which release it is."""
    say("start", now_ms(), kind)
    time.sleep(seconds)
    say("end", now_ms())
    return kind


def both(seconds: float) -> str:
    return run(seconds, "both")


def old(seconds: float) -> str:
    return run(seconds, "old")


def new(seconds: float) -> str:
    return run(seconds, "new")


def changed(seconds: float) -> str:
    return run(seconds, "changed-1")


def changed_in_2(seconds: float, *, unit: str) -> str:
    return run(seconds, "changed-2")


def slow(seconds: float) -> str:
    return run(seconds, "slow")


TASKS: Mapping[int, Mapping[str, Callable[..., str]]] = {
    1: {"both": both, "slow": slow, "old": old, "changed": changed},
    2: {"both": both, "slow": slow, "new": new, "changed": changed_in_2},
}


@define
class Release:
    """One of the two, as its producers and its workers use it."""

    number: int
    queue: TaskQueue
    tasks: Mapping[str, Task[..., str]]

    @classmethod
    def of(cls, site: Site, number: int) -> Release:
        about: dict[str, Any] = {"stream_key": site.stream, "consumer_group": site.group, "lease": site.lease}
        queue = TaskQueue(site.url, observer=site.observe, **about)
        return cls(number, queue, {name: queue.task(name=name)(task) for name, task in TASKS[number].items()})

    def call(self, site: Site, name: str, seconds: float) -> tuple[str, str]:
        """Enqueue one task, and note of which kind it is. Returns its id and its kind."""
        task_id, unit = new_id(), {"unit": "s"} if self.number == 2 and name == "changed" else {}
        kind = f"{name}-{self.number}" if name == "changed" else name
        append_lines(site.log, [("calling", task_id, 0, os.getpid(), now_ms(), kind)])
        self.tasks[name].with_options(task_id=task_id)(seconds, **unit)
        append_lines(site.log, [("enqueued", task_id, 0, os.getpid())])
        return task_id, kind

    def runs(self, kind: str) -> bool:
        name, _, release = kind.partition("-")
        return name in self.tasks and release in ("", str(self.number))


@define
class Deploys:
    """Trees of both releases, that take turns."""

    site: Site
    chance: random.Random
    releases: Mapping[int, Release]
    long: float = field(factory=lambda: float(os.environ[LONG]))
    grace: float = field(factory=lambda: float(os.environ[GRACE]))
    log: Log = field(init=False)
    called: dict[str, str] = field(factory=dict)
    """The kind of each task."""

    def __attrs_post_init__(self) -> None:
        self.log = Log(self.site.log)

    def consumers(self) -> int:
        return len(self.releases[1].queue.stores.backend.consumers())

    def start(self, number: int) -> tuple[int, float]:
        """Fork a tree. Returns its pid, and the seconds until all of it was there."""
        begun, there = time.monotonic(), self.consumers()
        pid = os.fork()
        if pid == 0:
            self.releases[number].queue.run(PROCESSES, threads=THREADS, grace=self.grace)
            os._exit(0)
        until(lambda: self.consumers() >= there + PROCESSES, "the new release is there", PATIENCE)
        return pid, time.monotonic() - begun

    def enqueue(self) -> None:
        """Call some tasks of both releases."""
        for release in self.releases.values():
            for name in release.tasks:
                seconds = self.long if name == "slow" else self.chance.uniform(0, LONGEST)
                for _ in range(self.chance.choice((0, 1, 2)) if seconds else 0):
                    task_id, kind = release.call(self.site, name, seconds)
                    self.called[task_id] = kind

    def wait_for(self, number: int) -> None:
        """Wait until everything is done that this release can do."""
        release = self.releases[number]
        mine = [task_id for task_id, kind in self.called.items() if release.runs(kind)]

        def done() -> bool:  # by the store: a process that is killed at the end of its grace may have settled unnoted
            return all(info is not None and info.status.ended for info in release.queue.stores.backend.show(mine))

        until(done, f"release {number} has done everything that it knows", PATIENCE)

    def stop(self, pid: int, started: float) -> None:
        begun = time.monotonic()
        os.kill(pid, signal.SIGTERM)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(code, started, time.monotonic() - begun)  # noqa: T201 - read by the test
        sys.stdout.flush()

    def go_on(self, rounds: int) -> None:
        """Start the other release and stop the present one, again and again; in the end each has the queue alone."""
        tree, number = self.start(1), 1
        for _ in range(rounds):
            begun = len(self.log.of("start"))
            self.enqueue()
            other = self.start(3 - number)
            until(
                lambda: len(self.log.of("start")) > begun + self.chance.randint(0, 3) or self.idle(),  # noqa: B023 - runs now
                "some have started",
                PATIENCE,
            )
            self.stop(*tree)
            tree, number = other, 3 - number
        self.wait_for(number)
        self.stop(*tree)
        tree = self.start(3 - number)
        self.wait_for(3 - number)
        self.stop(*tree)

    def idle(self) -> bool:
        depth = self.releases[1].queue.stores.backend.depth()
        return depth.ready + depth.in_flight == 0


def main() -> None:
    site = site_of_environment()
    releases = {number: Release.of(site, number) for number in (1, 2)}
    Deploys(site, random.Random(int(os.environ[SEED])), releases).go_on(int(os.environ[ROUNDS]))


if __name__ == "__main__":
    main()
