"""The duty that declares the limits of the code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from redis import Redis

from pyxqueue import Concurrency, Rate, TaskQueue
from pyxqueue.options.limits import Declared
from pyxqueue.supervisor.duties.limits import LimitsDuty
from tests.conftest import Servers, kinds_to_test


@pytest.fixture
def url(servers: Servers) -> str:
    return servers(kinds_to_test()[0]).url


@pytest.fixture
def queue(url: str, stream_key: str) -> Iterator[TaskQueue]:
    with closing(TaskQueue(url, stream_key)) as queue:
        yield queue


def numbers(queue: TaskQueue) -> list[tuple[str, int | None]]:
    return [(one.name, one.number) for one in queue.limits.list()]


def keeper(queue: TaskQueue, *limits: Concurrency | Rate) -> Callable[[bool], None]:
    keep = Declared.by([("resize", limits)]).keeper(queue.stores.backend)
    assert keep is not None
    return keep


def test_limits_come_back_when_the_store_has_lost_them(url: str, queue: TaskQueue, stream_key: str) -> None:
    """Nothing has to fail for that: the store may have been emptied between two requests."""
    duty = LimitsDuty(keeper(queue, Concurrency(2), Rate(50, per=1)))
    again = duty.step([], 0.0)
    with Redis.from_url(url) as client:
        client.delete(*client.keys(f"*{stream_key}*:gates"))
    assert numbers(queue) == []

    duty.step([], again)

    assert again <= 10.0
    assert numbers(queue) == [("resize", 2)]
    assert [one.name for one in queue.limits.rates()] == ["resize"]


def test_a_later_deploy_keeps_its_number(queue: TaskQueue) -> None:
    """What workers of an older release declare again does not replace what newer ones have declared."""
    old, new = LimitsDuty(keeper(queue, Concurrency(5))), LimitsDuty(keeper(queue, Concurrency(1)))
    old.step([], 0.0)
    new.step([], 0.0)

    old.step([], 10.0)

    assert numbers(queue) == [("resize", 1)]
