"""A program that enqueues the tasks of a storm, a few at once, some of them delayed."""

from __future__ import annotations

import os
import sys

from tests.processes.app import site_of_environment

from .storm import storm

TASKS = "TEST_TASKS"
"""A variable that says how many tasks."""
DELAY = "TEST_DELAY"
"""A variable with the longest delay, in seconds."""
AT_ONCE = 10


def main() -> None:
    with storm(site_of_environment(), seed=int(sys.argv[1])) as one:
        for _ in range(int(os.environ[TASKS]) // AT_ONCE):
            delay = one.chance.choice((0, one.chance.uniform(0, float(os.environ[DELAY]))))
            one.enqueue(AT_ONCE, 0.005, 0.05, delay=delay)


if __name__ == "__main__":
    main()
