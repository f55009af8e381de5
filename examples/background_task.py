"""Enqueue a task and go on; a worker runs it.

In one terminal ``python background_task.py worker``, in another ``python background_task.py test``.
Both find the queue in the file ./.pyxqueue/queue.db; with PYXQUEUE_URL=redis://HOST they may be on two machines.
"""

import time

from pyxqueue import TaskQueue

queue = TaskQueue("background-task")


@queue.task
def sleep(n: float) -> None:
    print(f"going to sleep for {n} seconds", flush=True)
    time.sleep(n)
    print(f"woke up after {n} seconds", flush=True)


if __name__ == "__main__":
    import sys

    match sys.argv[1:]:
        case ["worker"]:
            queue.run()
        case ["test"]:
            print(f"enqueued {sleep(0.5).task_id}; look at the worker")
        case _:
            sys.exit("Usage: python background_task.py (worker | test)")
