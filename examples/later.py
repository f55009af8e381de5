"""Tasks that start later, and ids of your own, which make a second call of the same thing harmless.

In one terminal ``python later.py worker``, in another ``python later.py test``.
Both find the queue in the file ./.pyxqueue/queue.db; with PYXQUEUE_URL=redis://HOST they may be on two machines.
"""

import time
from datetime import UTC, datetime, timedelta

from pyxqueue import TaskQueue

queue = TaskQueue("later")


@queue.task
def remind(whom: str) -> float:
    print(f"reminded {whom}", flush=True)
    return time.time()


if __name__ == "__main__":
    import sys

    match sys.argv[1:]:
        case ["worker"]:
            queue.run()
        case ["test"]:
            called = time.time()
            handle = remind.with_options(delay=1)("Ada")
            print(f"not before its time: {handle.get(timeout=60) >= called + 0.99}")

            tomorrow = remind.with_options(eta=datetime.now(UTC) + timedelta(days=1))("Grace")
            print(f"{tomorrow.state.name}, then {tomorrow.cancel().name}")

            # Cron may run this on several machines: the id is the same, so the task runs once a day.
            daily = remind.with_options(task_id=f"daily-{datetime.now(UTC):%Y-%m-%d}")
            print(f"one run: {daily('all').get(timeout=60) == daily('all').get(timeout=60)}")
        case _:
            sys.exit("Usage: python later.py (worker | test)")
