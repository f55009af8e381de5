"""The command `flow`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pyxqueue import FlowResult, TaskQueue, group
from pyxqueue.model.message import Delivery, Done, Fail, Message, Settlement

from .conftest import Command


@pytest.fixture
def flow(queue: TaskQueue) -> FlowResult:
    """A diamond, a chord of three, and a task that waits for both."""

    @queue.task(name="jobs.total")
    def total(numbers: Any) -> int:
        return sum(numbers)

    @queue.task(name="jobs.one")
    def one(number: int = 1) -> int:
        return number

    with queue.flow() as built:
        first = built.add(one.with_options(task_id="first"), 1)
        both = [built.add(one.with_options(task_id="left"), first), built.add(one.with_options(task_id="right"), first)]
        chord = built.chord([one.of(number) for number in range(3)], total.with_options(task_id="sum"))
        built.add(total.with_options(task_id="last"), [*both, chord])
    return built.result()


def test_flow_draws_a_tree(flow: FlowResult, command: Command) -> None:
    """Below each task are those that it waits for; what was shown is not shown again."""
    shown = command("flow", "right").stdout

    assert shown.splitlines() == [
        f"flow {flow.id}: tasks 8, ended 0",
        "jobs.total last  PENDING, waits for 3",
        "├─ jobs.one left  PENDING, waits for 1",
        "│  └─ jobs.one first  PENDING",
        "├─ jobs.one right  PENDING, waits for 1",
        "│  └─ jobs.one first  PENDING",
        "└─ jobs.total sum  PENDING, waits for 3",
        "   └─ sum.*3  3 PENDING",
    ]


def test_flow_says_what_will_fail(queue: TaskQueue, flow: FlowResult, command: Command) -> None:
    """Until a worker has let it fail; `explain` says why."""
    queue.admin.cancel("left")

    shown = command("flow", "left").stdout.splitlines()

    assert shown[:2] == [f"flow {flow.id}: tasks 8, ended 1", "jobs.total last  PENDING, fails without being run"]
    assert queue.admin.explain("last").reasons[0] == (
        "it fails without being run: task left, which comes before it in its flow, did not end as a success"
    )


def test_flow_as_json(queue: TaskQueue, flow: FlowResult, command: Command) -> None:
    """Each task with its state and what it waits for."""
    queue.admin.cancel("left")

    found = json.loads(command("flow", "last", "--json").stdout)

    assert (found["id"], found["complete"]) == (flow.id, True)
    tasks = {one["id"]: one for one in found["tasks"]}
    assert tasks["left"] == {"id": "left", "task": "jobs.one", "state": "CANCELLED", "waits_for": 0, "after": ["first"]}
    assert tasks["sum"]["after"] == ["sum.*3"]
    assert tasks["last"]["waits_for"] == 0


def test_flow_takes_the_id_of_the_flow(queue: TaskQueue, command: Command) -> None:
    """The ids of its tasks begin with it, unless they were given."""

    @queue.task(name="jobs.some")
    def some() -> None: ...

    with queue.flow() as flow:
        first = flow.add(some)
        flow.add(some, after=[first])

    assert command("flow", flow.id).stdout.splitlines() == [
        f"flow {flow.id}: tasks 2, ended 0",
        f"jobs.some {flow.id}.1  PENDING, waits for 1",
        f"└─ jobs.some {flow.id}.0  PENDING",
    ]


def test_a_group_is_one_line(queue: TaskQueue, command: Command) -> None:
    """Its tasks are found by the id of the flow, and by that of one of them."""

    @queue.task(name="jobs.some")
    def some(*_: object) -> None: ...

    with queue.flow() as flow:
        flow.chord([some.of()], some)
        flow.group([some.of()] * 3)
        flow.group([some.of()] * 300)
    queue.admin.cancel(f"{flow.id}.group0.1")

    for task_id in (flow.id, f"{flow.id}.0"):
        assert command("flow", task_id).stdout.splitlines() == [
            f"flow {flow.id}: tasks 305, ended 1",
            f"jobs.some {flow.id}.0  PENDING, waits for 1",
            f"└─ {flow.id}.0.*1  1 PENDING",
            f"{flow.id}.group0.*3  2 PENDING, 1 CANCELLED",
            f"{flow.id}.group1.*300  300 PENDING",
        ]
    only = group(some.of(), some.of())()
    found = json.loads(command("flow", only.id, "--json").stdout)
    assert found["many"] == {f"{only.id}.group0.*2": {"PENDING": 2}}


def test_a_long_chain_goes_on_below(queue: TaskQueue, command: Command) -> None:
    """What is too deep follows as a tree of its own, so that no line gets too wide and no task is left out."""

    @queue.task(name="jobs.some")
    def some(*_: object) -> None: ...

    with queue.flow("long") as flow:
        last = flow.add(some)
        for _ in range(1_999):
            last = flow.add(some, last)
        flow.add(some, after=[last, "long.1500"])

    result = command("flow", "long")
    lines = result.stdout.splitlines()
    assert (result.exit_code, lines[0]) == (0, "flow long: tasks 2,001, ended 0")
    assert max(map(len, lines)) < 120
    names = [line.partition("jobs.some ")[2].split()[0] for line in lines[1:]]
    assert set(names) == {f"long.{number}" for number in range(2_001)}
    twice = [name for name, line in zip(names, lines[1:], strict=True) if line.endswith("goes on below")]
    assert len(names) == 2_001 + len(twice) + 1
    for name in twice:
        assert f"jobs.some {name}  PENDING, waits for 1" in lines
    assert [name for name, line in zip(names, lines[1:], strict=True) if line.endswith("as above")] == ["long.1500"]


def test_a_task_without_a_flow(queue: TaskQueue, command: Command) -> None:
    """It is shown alone; an id that is not known is an error."""

    @queue.task(name="jobs.plain")
    def plain() -> None: ...

    handle = plain()

    assert command("flow", handle.task_id).stdout.splitlines() == [
        "flow -: tasks 1, ended 0",
        f"jobs.plain {handle.task_id}  PENDING",
    ]
    result = command("flow", "nobody")
    assert (result.exit_code, result.stderr[:30]) == (1, "Error: no task has the id 'nob")


def test_flow_retries(queue: TaskQueue, flow: FlowResult, command: Command) -> None:
    """What has failed runs again, and what failed because of it waits again; what has succeeded stays so."""
    backend = queue._producer.stores().backend
    for _ in range(3):
        held = backend.claim("w", 9, 0)
        backend.settle(
            [
                Settlement(one.receipt, Fail("broken") if "first" in one.receipt or doomed(one) else Done())
                for one in held
            ]
        )
    assert "jobs.total last  FAILURE" in command("flow", "first").stdout

    shown = command("flow", "first", "--retry").stdout

    assert shown.splitlines()[:6] == [
        "retried 4 tasks",
        f"flow {flow.id}: tasks 8, ended 4",
        "jobs.total last  PENDING, waits for 2",
        "├─ jobs.one left  PENDING, waits for 1",
        "│  └─ jobs.one first  PENDING",
        "├─ jobs.one right  PENDING, waits for 1",
    ]


def doomed(delivery: Delivery) -> bool:
    return isinstance(delivery.message, Message) and delivery.message.doomed != ""
