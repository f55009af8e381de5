"""A page of a place costs what is on it, however much is there, elsewhere, and in the arguments."""

from __future__ import annotations

import pytest

from pyxqueue.model.message import Done, Fail, Message, Record, Retry, Settlement, TaskStatus
from pyxqueue.model.places import Place

from .test_pages import Meter, meter

__all__ = ["meter"]
MANY = 3_000


def fill(meter: Meter) -> None:
    """Tasks in every place, with many held by many workers."""
    backend = meter.backend
    held = [receipt for number in range(30) for receipt in meter.hold(20, f"worker-{number}")]
    backend.settle([Settlement(receipt, Fail("E: no")) for receipt in held[:100]])
    backend.settle([Settlement(receipt, Retry(60_000)) for receipt in held[100:200]])
    for start in range(200, 400, 50):
        backend.settle([Settlement(receipt, Done()) for receipt in held[start : start + 50]])
    meter.fill(MANY)


@pytest.mark.parametrize("place", list(Place))
def test_a_page(meter: Meter, place: Place) -> None:
    """Two requests: one finds the ids, one says what the tasks are like."""
    fill(meter)
    meter.backend.page(place, "", 50, 64)
    before = meter.state()

    page = meter.backend.page(place, "", 50, 64)

    assert len(page.tasks) == (0 if place in (Place.BLOCKED, Place.DEPENDENT) else 50)
    meter.check_cost(before, 2)


@pytest.mark.parametrize("place", [Place.READY, Place.IN_FLIGHT, Place.HISTORY, Place.FAILED, Place.DELAYED])
def test_large_arguments_and_results(meter: Meter, place: Place) -> None:
    """A page of ten tasks with a MiB each does not send them."""
    backend, body = meter.backend, b"x" * 1_048_576
    ids = [f"t{number}" for number in range(10)]
    delay = 60_000 if place is Place.DELAYED else 0
    backend.enqueue([Message(task_id, "job", body, delay_ms=delay) for task_id in ids])
    if place in (Place.IN_FLIGHT, Place.HISTORY, Place.FAILED):
        held = backend.claim("one", 10, 0)
        if place is Place.HISTORY:
            for one in held:
                record = Record(one.message.id, TaskStatus.SUCCESS, body)
                backend.settle([Settlement(one.receipt, Done(), record)])
        if place is Place.FAILED:
            backend.settle([Settlement(one.receipt, Fail("E: no")) for one in held])
    before = meter.state()

    page = backend.page(place, "", 50, 512)

    assert [one.body_bytes for one in page.tasks] == [len(body)] * 10
    assert {len(one.info.message.body) for one in page.tasks if isinstance(one.info.message, Message)} == {512}
    assert {one.value_bytes for one in page.tasks} == {len(body) if place is Place.HISTORY else 0}
    meter.check_cost(before, 2)


def test_workers_with_many_tasks(meter: Meter) -> None:
    """Their holders and ids are read by few requests, without what is in the messages."""
    backend = meter.backend
    for number in range(60):
        meter.hold(20, f"worker-{number}")
    before = meter.state()

    found = backend.consumers()

    assert sorted(len(one.in_flight) for one in found) == [20] * 60
    assert len({task_id for one in found for task_id in one.in_flight}) == 1_200
    assert meter.state()[0] - before[0] <= 4
    assert meter.state()[1] - before[1] < 160_000
