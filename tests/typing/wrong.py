"""Calls that type checkers must refuse. Nothing here runs.

Each line has the error that mypy must report, so that one which is no longer reported is an error by itself
(``warn_unused_ignores``), and pyright likewise (``reportUnnecessaryTypeIgnoreComment``).
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true

from __future__ import annotations

from pyxqueue import TaskQueue, gather, run_workers

queue = TaskQueue("typed")


@queue.task
def fetch(url: str, times: int = 1) -> bytes:
    return url.encode() * times


@queue.task(retries=1)
async def afetch(url: str) -> bytes:
    return url.encode()


def wrong_arguments() -> None:
    fetch()  # type: ignore[call-arg]
    fetch(1)  # type: ignore[arg-type]
    fetch("a", times="b")  # type: ignore[arg-type]
    fetch("a", 1, 2)  # type: ignore[call-arg]
    fetch.enqueue(url=b"a")  # type: ignore[arg-type]
    fetch.call(None)  # type: ignore[arg-type]
    fetch.with_options(delay=1)(2)  # type: ignore[arg-type]
    afetch("a", 2)  # type: ignore[call-arg]


def wrong_options() -> None:
    fetch.with_options(delays=1)  # type: ignore[call-arg]
    fetch.map(["a", 1])  # type: ignore[list-item]
    fetch.with_options(priority="high")  # type: ignore[arg-type]
    queue.task(priority=1.5)  # type: ignore[call-overload]
    queue.enqueue(fetch, "a")  # type: ignore[attr-defined]
    fetch.delay("a")  # type: ignore[attr-defined]
    fetch("a").ready()  # type: ignore[attr-defined]
    gather(fetch("a"))  # type: ignore[call-overload]
    queue.task(retry=1)  # type: ignore[call-overload]
    queue.task(cron="@daily", missed="never")  # type: ignore[call-overload]
    queue.every(5, overlap="kill")  # type: ignore[arg-type]
    queue.every(cron="@daily")  # type: ignore[call-arg]
    TaskQueue("a", strem_key="b")  # type: ignore[arg-type]


def wrong_values() -> None:
    text: str = fetch("a").get()  # type: ignore[assignment]
    number: int = afetch("a").get()  # type: ignore[assignment]
    value: bytes = fetch("a")  # type: ignore[assignment]
    del text, number, value


async def wrong_awaits() -> None:
    await fetch.get()  # type: ignore[attr-defined]
    text: str = await afetch("a")  # type: ignore[assignment]
    del text


def workers_of_what_is_no_queue() -> None:
    run_workers(queue)  # type: ignore[arg-type]
    run_workers([fetch])  # type: ignore[list-item]
    run_workers([queue], order="random")  # type: ignore[arg-type]
    run_workers([queue], weights="1")  # type: ignore[arg-type]
