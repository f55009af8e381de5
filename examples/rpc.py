"""Call a function on another machine and wait for what it returns.

In one terminal ``python rpc.py worker`` or ``pyxqueue worker rpc``, in another ``python rpc.py test``.
Both find the queue in the file ./.pyxqueue/queue.db; with PYXQUEUE_URL=redis://HOST they may be on two machines.
"""

from pyxqueue import TaskQueue

queue = TaskQueue("rpc")


@queue.task
def fib(n: int) -> int:
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a


if __name__ == "__main__":
    import sys

    match sys.argv[1:]:
        case ["worker"]:
            queue.run()
        case ["test"]:
            # Arithmetic, because CPython turns no int of 20,899 digits into text unless told to.
            print(f"100kth fib number ends with: {fib(100_000).get(timeout=60) % 1_000_000}")
        case _:
            sys.exit("Usage: python rpc.py (worker | test)")
