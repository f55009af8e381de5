"""Two groups, and each gets every task: one sends the mail, the other counts it.

In one terminal ``python fanout.py worker`` (workers of both groups), in another ``python fanout.py test``.
Both find the queue in the file ./.pyxqueue/queue.db; with PYXQUEUE_URL=redis://HOST they may be on two machines.
"""

import time

from pyxqueue import TaskQueue

mailers = TaskQueue("signups", consumer_group="mail")
counters = TaskQueue("signups", consumer_group="count")


@mailers.task(name="signup")
def send_mail(address: str) -> str:
    return f"mail to {address}"


@counters.task(name="signup")
def count(address: str) -> int:
    return len(address)


if __name__ == "__main__":
    import sys

    match sys.argv[1:]:
        case ["worker"]:
            counters.start(1)
            mailers.run(1)
            counters.shutdown()
        case ["test"]:
            # A group gets what is enqueued once its first worker has registered it.
            while len(groups := mailers.admin.groups()) < 2:
                time.sleep(0.1)
            print(f"groups: {sorted(groups)}")
            handle = send_mail("ada@example.org")
            print(handle.get(timeout=60))
            print(counters.result(handle.task_id).get(timeout=60))
        case _:
            sys.exit("Usage: python fanout.py (worker | test)")
