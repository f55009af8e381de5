"""Many tasks, and one bar for all of them.

In one terminal ``python many.py worker``, in another ``python many.py test``.
Both find the queue in the file ./.pyxqueue/queue.db; with PYXQUEUE_URL=redis://HOST they may be on two machines.
"""

import hashlib

from pyxqueue import TaskQueue, as_completed, gather

queue = TaskQueue("many")


@queue.task
def digest(number: int, rounds: int = 1) -> str:
    data = str(number).encode()
    for _ in range(rounds):
        data = hashlib.sha256(data).digest()
    return data.hex()


if __name__ == "__main__":
    import sys

    match sys.argv[1:]:
        case ["worker"]:
            queue.run()
        case ["test"]:
            # Each item has the arguments of one call; `rounds` is for all of them. A few round trips enqueue them all.
            handles = digest.map(((number,) for number in range(500)), rounds=100)
            digests = gather(handles, timeout=60, show_progress=True)  # a bar, in a terminal
            print(f"{len(set(digests))} digests, the first {digests[0][:8]}")
            # Or each as soon as it has ended, in whatever order that is.
            for handle in as_completed(digest.map([(1,), (2,)]), timeout=60):
                print(f"one of two: {len(handle.get())} digits")
        case _:
            sys.exit("Usage: python many.py (worker | test)")
