"""Start workers and stop them with a signal, again and again, and print their exit codes.

It forks them, which is faster than starting twenty interpreters. So it must not have threads, and cannot wait for a
result.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import partial
from pathlib import Path

from pyxqueue import TaskQueue
from tests.support.until import until

from .app import Site, site_of_environment

ROUNDS = "TEST_ROUNDS"
"""A variable that says how often."""
PLACES = 4
"""Tasks that run at once: two processes with two threads."""
BUSY = (0, PLACES // 2, PLACES)
"""How many tasks run when the signal comes, round by round; in a fourth round some have been claimed, and wait."""


def calls(number: int) -> int:
    """How many tasks are enqueued in a round."""
    return (*BUSY, 2 * PLACES)[number % 4]


def is_running(site: Site, count: int) -> bool:
    return len(site.of("start")) - len(site.of("end")) == count


def is_over(queue: TaskQueue) -> bool:
    depth = queue.stores.backend.depth()
    return depth.ready + depth.in_flight == 0


def main() -> None:
    site = site_of_environment()
    app = site.app()
    queue = app.queue
    for number in range(int(os.environ[ROUNDS])):
        pid = os.fork()
        if pid == 0:
            queue.run(2, threads=2)
            os._exit(0)
        before, gate = len(site.of("start")), Path(f"{site.log}.gate-{number}")
        if number % 4 < 3:
            until(queue.stores.backend.consumers, "they are there")
            until(partial(is_over, queue), "what an earlier round has left is done")
            app["gate"].map([(str(gate),)] * calls(number))
            until(partial(is_running, site, calls(number)), "so many run")
        else:
            app["work"].map([(0.1,)] * calls(number))
            until(lambda: len(site.of("start")) > before, "they run")  # noqa: B023 - runs now
        os.kill(pid, signal.SIGTERM)
        gate.touch()
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), len(queue.stores.backend.consumers()))  # noqa: T201 - read by the test
        sys.stdout.flush()


if __name__ == "__main__":
    main()
