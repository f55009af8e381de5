"""Retries, giving up, and time limits.

In one terminal ``python retries.py worker``, in another ``python retries.py test``.
Both find the queue in the file ./.pyxqueue/queue.db; with PYXQUEUE_URL=redis://HOST they may be on two machines.
"""

import time

import pyxqueue
from pyxqueue import Reject, RetryLater, TaskError, TaskQueue

queue = TaskQueue("retries")


@queue.task(retries=5, backoff=0.05, retry_on=ConnectionError)
def flaky() -> int:
    """Fails with something that passes, twice."""
    attempt = pyxqueue.current_task().attempt
    if attempt <= 2:
        raise ConnectionError(f"run {attempt} did not get through")
    return attempt


@queue.task(retries=1)
def polite() -> str:
    """Asks for the moment of its retry itself."""
    if pyxqueue.current_task().attempt == 1:
        raise RetryLater(0.1, "busy")
    return "done"


@queue.task(retries=5)
def hopeless() -> None:
    raise Reject("no retry will help")


@queue.task(timeout=0.2)
def slow() -> None:
    time.sleep(60)


if __name__ == "__main__":
    import sys

    match sys.argv[1:]:
        case ["worker"]:
            queue.run()
        case ["test"]:
            print(f"flaky needed {flaky().get(timeout=60)} runs; polite is {polite().get(timeout=60)}")
            for task in hopeless, slow:
                try:
                    task().get(timeout=60)
                except TaskError as error:
                    print(f"{error.type}: {error.message}")
        case _:
            sys.exit("Usage: python retries.py (worker | test)")
