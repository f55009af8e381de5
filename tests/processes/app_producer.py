"""A program that enqueues tasks until it is killed, and notes each one that the store has accepted."""

from __future__ import annotations

import os
import random
import sys
import time

from pyxqueue.ids import new_id

from .app import append_lines, now_ms, site_of_environment

MOST_WAITING = 300


def main() -> None:
    site = site_of_environment()
    app = site.app()
    inspector = app.queue.stores.backend
    chance = random.Random(sys.argv[1])
    while True:
        calls = [(chance.uniform(0.02, 0.1), number) for number in range(chance.choice((1, 1, 1, 20)))]
        ids = [new_id() for _ in calls]
        append_lines(site.log, [("calling", one, 0, os.getpid(), now_ms()) for one in ids])
        app["timed"].map(calls, task_ids=ids)
        append_lines(site.log, [("enqueued", one, 0, os.getpid()) for one in ids])
        while inspector.depth().ready > MOST_WAITING:
            time.sleep(0.05)
        time.sleep(chance.uniform(0, 0.1))


if __name__ == "__main__":
    main()
