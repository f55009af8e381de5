"""Workers beside the program that needs them: start, call, stop. ``python fib.py``

The queue is on the default store: the URL in PYXQUEUE_URL, else a file in ./.pyxqueue.
"""

from pyxqueue import TaskQueue

queue = TaskQueue("my-queue")


@queue.task
def fib(n: int) -> int:
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a


if __name__ == "__main__":
    queue.start(2)
    try:
        # Calculate the 100,000th Fibonacci number in a worker process.
        fib100k = fib(100_000)
        # Calling the handle waits for the result.
        print(f"100,000th fibonacci ends with: {(fib100k() or 0) % 1_000_000}")
    finally:
        queue.shutdown()
