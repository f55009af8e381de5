"""Start workers and stop them with a signal, again and again, and print their exit codes.

It forks them, which is faster than starting twenty interpreters. So it must not have threads, and cannot wait for a
result.
"""

from __future__ import annotations

import os
import signal
import sys

from tests.support.until import until

from .app import site_of_environment

ROUNDS = "TEST_ROUNDS"
"""A variable that says how often."""
PLACES = 4
"""Tasks that run at once: two processes with two threads."""


def main() -> None:
    site = site_of_environment()
    app = site.app()
    queue = app.queue
    asked = 0
    for number in range(int(os.environ[ROUNDS])):
        pid = os.fork()
        if pid == 0:
            queue.run(2, threads=2)
            os._exit(0)
        busy = PLACES * (number % 3) // 2
        app["work"].map([(0.1,)] * busy)
        asked += busy
        if busy:
            until(lambda: len(site.of("start")) > asked - busy, "they run")  # noqa: B023
        else:
            until(queue.stores.backend.consumers, "they are there")
        os.kill(pid, signal.SIGTERM)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), len(queue.stores.backend.consumers()))  # noqa: T201 - read by the test
        sys.stdout.flush()


if __name__ == "__main__":
    main()
