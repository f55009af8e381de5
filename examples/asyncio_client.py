"""A producer in asyncio, and a task that is ``async def``.

In one terminal ``python asyncio_client.py worker``, in another ``python asyncio_client.py test``.
Both find the queue in the file ./.pyxqueue/queue.db; with PYXQUEUE_URL=redis://HOST they may be on two machines.
"""

import asyncio

from pyxqueue import TaskQueue, track

queue = TaskQueue("asyncio-client")


@queue.task
async def crawl(pages: int) -> list[int]:
    found = []
    for page in track(range(pages)):
        await asyncio.sleep(0.01)
        found.append(page * page)
    return found


async def main() -> None:
    first, second = await asyncio.gather(crawl.aenqueue(3), crawl.aenqueue(30))
    print(await first)
    async for progress in second.watch(timeout=60):
        last = progress
    print(f"{last.done} of {last.total} pages, the last {(await second)[-1]}")


if __name__ == "__main__":
    import sys

    match sys.argv[1:]:
        case ["worker"]:
            queue.run()
        case ["test"]:
            asyncio.run(main())
        case _:
            sys.exit("Usage: python asyncio_client.py (worker | test)")
