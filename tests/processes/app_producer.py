"""A program that enqueues tasks until it is killed, and notes each one that the store has accepted. Its argument: a
seed."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Sequence

from pyxqueue import StoreFullError
from pyxqueue.ids import new_id

from .app import App, Site, append, append_lines, now_ms, site_of_environment

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
        enqueue(site, app, calls, ids)
        append_lines(site.log, [("enqueued", one, 0, os.getpid()) for one in ids])
        while inspector.depth().ready > MOST_WAITING:
            time.sleep(0.05)
        time.sleep(chance.uniform(0, 0.1))


def enqueue(site: Site, app: App, calls: Sequence[tuple[float, int]], ids: Sequence[str]) -> None:
    """Call again with the same ids until there is room for all; note each time that there is none."""
    while True:
        try:
            app["timed"].map(calls, task_ids=ids)
        except StoreFullError as error:
            append(site.log, "refused", ids[0], 0, os.getpid(), type(error).__name__)
            time.sleep(0.02)
        else:
            return


if __name__ == "__main__":
    main()
