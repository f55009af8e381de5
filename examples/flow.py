"""A flow: each page is fetched and then counted, the counts are added up, and what was fetched is removed at the end.

In one terminal ``python flow.py worker``, in another ``python flow.py test``.
Both find the queue in the file ./.pyxqueue/queue.db; with PYXQUEUE_URL=redis://HOST they may be on two machines.
"""

from collections.abc import Iterable

from pyxqueue import TaskQueue

queue = TaskQueue("flow")


@queue.task(retries=3)
def fetch(page: int) -> str:
    return f"this is page {page}: " + "and so on, " * page


@queue.task
def count(text: str) -> int:
    return len(text.split())


@queue.task
def add_up(counts: Iterable[int]) -> int:
    return sum(counts)


@queue.task
def clean_up(pages: int) -> str:
    return f"{pages} pages removed"


if __name__ == "__main__":
    import sys

    match sys.argv[1:]:
        case ["worker"]:
            queue.run(2)
        case ["test"]:
            with queue.flow() as flow:
                counts = [flow.add(count, flow.add(fetch, page)) for page in range(10)]
                total = flow.add(add_up, counts)
                removed = flow.add(clean_up, len(counts), after=[total], on_failure="continue")
            for progress in flow.result().watch(timeout=60):
                print(f"{progress.done} of {progress.total} tasks")
            print(f"{total.get()} words, {removed.get()}")
        case _:
            sys.exit("Usage: python flow.py (worker | test)")
