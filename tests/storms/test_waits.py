"""Two thousand callers wait for results while their connections are cut: each of them returns."""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing

import pytest
from attrs import evolve

from pyxqueue import AsyncResult, BrokerUnavailableError, TaskQueue
from pyxqueue.ids import new_id
from pyxqueue.testing.servers import Server, ServerKind
from tests.conftest import kinds_to_test
from tests.processes.app import Site
from tests.processes.conftest import StartTree
from tests.support.proxy import Proxy
from tests.support.seeds import chance_of

LIMIT = 60
"""Seconds after which a wait counts as one that never returns."""


async def patiently(handle: AsyncResult[object]) -> object:
    """Await a result; if the store cannot be reached, again."""
    while True:
        try:
            return await handle.aget(LIMIT)
        except BrokerUnavailableError:
            continue


async def gather(queue: TaskQueue, ids: list[str]) -> list[object]:
    return await asyncio.gather(*(patiently(queue.result(task_id)) for task_id in ids))


def wait_in_threads(queue: TaskQueue, ids: list[str], found: dict[str, object]) -> list[threading.Thread]:
    """Start a thread for each of these tasks that waits for its result."""

    def wait(task_id: str) -> None:
        while task_id not in found:
            try:
                found[task_id] = queue.result(task_id).get(LIMIT)
            except BrokerUnavailableError:
                continue

    threads = [threading.Thread(target=wait, args=(task_id,)) for task_id in ids]
    for one in threads:
        one.start()
    return threads


def waits(site: Site, start_tree: StartTree, kind: ServerKind, tasks: int, seconds: float) -> int:
    """Wait for tasks, a tenth of them in threads, while all connections are cut again and again. Returns how many
    connections were cut."""
    chance, over, cuts = chance_of(1), threading.Event(), 0

    def cut(proxy: Proxy) -> None:
        nonlocal cuts
        while not over.wait(chance.uniform(0.02, 0.2)):
            cuts += proxy.cut_all()

    with Server(kind) as server, Proxy(server.port) as proxy:
        direct, bad = evolve(site, url=server.url), evolve(site, url=proxy.url)
        app, waiter = direct.app(), bad.app()
        with closing(app.queue), closing(waiter.queue):
            ids = [new_id() for _ in range(tasks)]
            app["work"].map([(seconds, number) for number in range(tasks)], task_ids=ids)
            vandal = threading.Thread(target=cut, args=(proxy,))
            vandal.start()
            try:
                found: dict[str, object] = {}
                threads = wait_in_threads(waiter.queue, ids[::10], found)
                start_tree("-p", "2", "-t", "8", url=server.url, ready=False)
                others = [task_id for number, task_id in enumerate(ids) if number % 10]
                found |= dict(zip(others, asyncio.run(gather(waiter.queue, others)), strict=True))
                for one in threads:
                    one.join()
            finally:
                over.set()
                vandal.join()
    assert [found[task_id] for task_id in ids] == list(range(tasks))
    return cuts


def test_waits(site: Site, start_tree: StartTree) -> None:
    """Three hundred."""
    assert waits(site, start_tree, "valkey", tasks=300, seconds=0.1) > 10


@pytest.mark.soak
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", kinds_to_test())
def test_two_thousand_waits(site: Site, start_tree: StartTree, kind: ServerKind) -> None:
    """The same for longer."""
    print(waits(site, start_tree, kind, tasks=2_000, seconds=0.1), "connections cut")  # noqa: T201 - for the docs
