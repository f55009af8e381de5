"""Prints how many milliseconds pass from `queue.start()` to the first line of the first task.

    BENCH_URL=redis://127.0.0.1:6379 python benchmarks/start.py [--threads]

With `--threads` this program has another thread, so that it cannot fork: its workers are new interpreters.
"""

from __future__ import annotations

import os
import sys
import threading
import time

from pyxqueue import TaskQueue

queue = TaskQueue(os.environ["BENCH_URL"], stream_key="start")


@queue.task
def first() -> float:
    return time.monotonic()


def main() -> None:
    if "--threads" in sys.argv:
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    start = time.monotonic()
    queue.start(1)
    print((first().get(timeout=60) - start) * 1000)
    queue.shutdown()


if __name__ == "__main__":
    main()
