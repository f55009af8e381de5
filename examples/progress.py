"""See how far a task is while it runs.

In one terminal ``python progress.py worker``, in another ``python progress.py test``.
Both find the queue in the file ./.pyxqueue/queue.db; with PYXQUEUE_URL=redis://HOST they may be on two machines.
"""

import time

import pyxqueue
from pyxqueue import TaskQueue

queue = TaskQueue("progress")


@queue.task
def long_work() -> None:
    for percent in range(100):
        queue.update_task_progress(percent)
        time.sleep(0.01)


@queue.task
def import_rows(rows: list[str]) -> int:
    return sum(len(row) for row in pyxqueue.track(rows, message="rows"))


if __name__ == "__main__":
    import sys

    match sys.argv[1:]:
        case ["worker"]:
            queue.run()
        case ["test"]:
            long_work().get(timeout=60, show_progress=True)  # a bar, in a terminal
            handle = import_rows(["one", "two", "three"])
            for step in handle.watch(timeout=60):
                print(f"{step.done} of {step.total} {step.message}")
            print(f"characters: {handle.get()}")
        case _:
            sys.exit("Usage: python progress.py (worker | test)")
