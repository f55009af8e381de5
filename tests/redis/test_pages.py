"""A page costs what is on it, however much else is stored."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from redis import Redis

from pyxqueue.backends.redis import ConnectionConfig, RedisBackend
from pyxqueue.model.message import Done, Fail, Failure, Message, Record, Retry, Settlement, TaskStatus
from pyxqueue.protocols import StoreOptions

MANY = 2_000


class Meter:
    """A backend on a full queue, and its round trips."""

    def __init__(self, backend: RedisBackend, client: Redis) -> None:
        self.backend = backend
        self.client = client
        self.ids = iter(range(10**9))
        self.calls = 0
        self.execute = backend._session.execute
        backend._session.execute = self.count  # type: ignore[method-assign]

    def count(self, *args: Any, seconds: float | None = None) -> Any:
        self.calls += args[0] != "EVAL"  # which comes after an EVALSHA, the first time
        return self.execute(*args, seconds=seconds)

    def fill(self, count: int) -> list[str]:
        ids = [f"t{next(self.ids)}" for _ in range(count)]
        self.backend.enqueue([Message(task_id, "job", b"x" * 400) for task_id in ids])
        return ids

    def hold(self, count: int, consumer: str = "one") -> list[str]:
        """Enqueue and claim `count` tasks; returns their receipts."""
        self.fill(count)
        return [delivery.receipt for delivery in self.backend.claim(consumer, count, 0)]

    def state(self) -> tuple[int, int]:
        """Round trips, and bytes that the server has sent."""
        return self.calls, self.client.info("stats")["total_net_output_bytes"]

    def check_cost(self, before: tuple[int, int], calls: int) -> None:
        """There were at most `calls` round trips since `before`, and no more bytes than fit on a page."""
        after = self.state()
        assert after[0] - before[0] <= calls
        assert after[1] - before[1] < 60_000


@pytest.fixture
def meter(redis_url: str, stream_key: str) -> Iterator[Meter]:
    backend = RedisBackend(ConnectionConfig.from_url(redis_url), StoreOptions(stream_key), reclaim_after=0)
    with Redis.from_url(redis_url, protocol=2) as client:
        yield Meter(backend, client)
    backend.close()


def test_tasks_in_flight_beside_many_that_are_ready(meter: Meter) -> None:
    """They are found without a look at those that are ready."""
    meter.hold(4)
    meter.fill(MANY)
    before = meter.state()

    page, cursor = meter.backend.tasks(TaskStatus.STARTED, "", 50)

    meter.check_cost(before, 4)
    assert ([task.id for task in page], cursor) == (["t3", "t2", "t1", "t0"], "")


def test_pages_of_tasks_in_flight(meter: Meter) -> None:
    """The second page starts where the first ended."""
    meter.hold(5)
    meter.fill(5)
    seen, cursor = [], ""
    for _ in range(3):
        page, cursor = meter.backend.tasks(TaskStatus.STARTED, cursor, 2)
        seen.append([task.id for task in page])

    assert seen == [["t4", "t3"], ["t2", "t1"], ["t0"]]
    assert cursor == ""


def test_failed_tasks_beside_a_long_history(meter: Meter) -> None:
    """The history is not searched for failures if it has none."""
    while meter.backend.depth().history < MANY:
        meter.backend.settle([Settlement(receipt, Done()) for receipt in meter.hold(250)])
    meter.backend.settle([Settlement(receipt, Fail("no use")) for receipt in meter.hold(3)])
    before = meter.state()

    page, cursor = meter.backend.tasks(TaskStatus.FAILURE, "", 50)

    meter.check_cost(before, 4)
    assert ([task.reason for task in page], cursor) == (["no use"] * 3, "")


def test_a_failure_in_the_history_is_listed(meter: Meter) -> None:
    """It is, among others, as long as it is kept; a planted note of one changes nothing."""
    (kept,) = meter.hold(1)
    record = Record("t0", TaskStatus.FAILURE, error=Failure("ValueError", "no"))
    meter.backend.settle([Settlement(kept, Done(), record)])
    meter.backend.settle([Settlement(receipt, Done()) for receipt in meter.hold(10)])

    (listed,) = meter.backend.tasks(TaskStatus.FAILURE)[0]

    assert listed.id == "t0"
    (key,) = meter.client.scan_iter("*:meta")
    for planted in (b"99999999999999999999-0", b"\xff", b"-"):
        meter.client.hset(key, "failure:cg", planted)
        assert meter.backend.tasks(TaskStatus.FAILURE) == ([], "")


@pytest.mark.parametrize("state", [None, TaskStatus.PENDING])
def test_a_small_page_of_many_ready_tasks(meter: Meter, state: TaskStatus | None) -> None:
    """No more entries are read than it shows; one call for each of the five places, and one that shows."""
    meter.fill(MANY)
    before = meter.state()

    page, _ = meter.backend.tasks(state, "", 3)

    meter.check_cost(before, 6)
    assert [task.id for task in page] == [f"t{MANY - 1}", f"t{MANY - 2}", f"t{MANY - 3}"]


def test_a_state_that_few_have(meter: Meter) -> None:
    """What an entry says alone is not looked up; entries are read in large pieces."""
    meter.backend.settle([Settlement(receipt, Retry()) for receipt in meter.hold(2)])
    meter.fill(MANY)
    before = meter.state()[0]

    page, cursor = meter.backend.tasks(TaskStatus.RETRY, "", 1)
    assert meter.state()[0] - before <= MANY / 256 + 12
    rest, _ = meter.backend.tasks(TaskStatus.RETRY, cursor, 5)

    assert [task.id for task in (*page, *rest)] == ["t1", "t0"]


def test_consumers_that_hold_much(meter: Meter) -> None:
    """Their tasks are found without a call for each."""
    meter.hold(200)
    meter.hold(50, "two")
    meter.fill(MANY)
    before = meter.state()

    found = {consumer.name: consumer.in_flight for consumer in meter.backend.consumers()}

    assert meter.state()[0] - before[0] <= 4
    assert {name: len(held) for name, held in found.items()} == {"one": 200, "two": 50}
    assert found["two"][0] == "t200"
