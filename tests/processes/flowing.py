"""Random flows, what must become of them, and their tasks, which write down that they run. Variables say where the log
is, and which file says that what fails until it is mended succeeds from now on."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Literal

from attrs import frozen

from pyxqueue import AsyncResult, DependencyFailedError, Task, TaskError, TaskQueue, current_task
from pyxqueue.client.flows import Flow, Policy
from pyxqueue.client.task import TaskCall

from .app import append

URL, STREAM, LOG, MENDED = "TEST_URL", "TEST_STREAM", "TEST_LOG", "TEST_MENDED"
LONGEST = "TEST_LONGEST"
"""Variable: how many seconds a task takes at most."""
LEASE = 30
"""Seconds: longer than a busy machine may keep a process from running, which would hold its task no longer."""
Fails = Literal["", "always", "until mended"]


@frozen
class Node:
    """A task of a random flow."""

    number: int
    fails: Fails
    before: tuple[int, ...]
    policy: Policy

    @property
    def runs(self) -> int:
        """How often it runs in each of its lives, if no process dies: a task that fails is retried once."""
        return 2 if self.fails else 1


def nodes_of(chance: random.Random, most: int) -> list[Node]:
    """A random graph; each node waits for some of those before it.

    Those that wait for none fail until they are mended, and only for them others wait with the policy "wait": so what
    an operator has to do is known beforehand.
    """
    found: list[Node] = []
    for number in range(chance.randint(2, most)):
        policy: Policy = chance.choice(("fail", "fail", "continue", "wait"))
        possible = [one.number for one in found if policy != "wait" or not one.before]
        before = tuple(sorted(chance.sample(possible, min(len(possible), chance.randint(0, 3)))))
        fails: Fails = ("always" if before else "until mended") if chance.random() < 0.15 else ""
        found.append(Node(number, fails, before, policy))
    return found


End = int | Literal["failed", "doomed", "waits"]
"""How a task ends: its result, or another end."""


def ends_of(nodes: Sequence[Node], stored: Collection[int] | None = None, *, mended: bool) -> list[End]:
    """How each node ends, or that it waits for an operator. `stored`: the nodes that the store has got, if not all.

    A task returns its number plus the results of those before it; what did not succeed counts as 0, and so does what
    has been mended: nobody knows whether a task that continues reads its result before or after that.
    """
    first: list[End] = []
    """What the tasks behind each learn from its end, in its first life."""
    for node in nodes:
        inputs = [first[one] for one in node.before]
        waits = "waits" in inputs or (node.policy == "wait" and "failed" in inputs and not mended)
        absent = stored is not None and not {node.number, *node.before} <= {*stored}
        if absent or (node.policy == "fail" and ("failed" in inputs or "doomed" in inputs)):
            first.append("doomed")
        elif waits:
            first.append("waits")
        else:
            first.append("failed" if node.fails else node.number + sum(one for one in inputs if isinstance(one, int)))
    mends = [mended and one.fails == "until mended" and end == "failed" for one, end in zip(nodes, first, strict=True)]
    return [0 if mend else end for mend, end in zip(mends, first, strict=True)]


def outcome(handle: AsyncResult[Any]) -> End | str:
    """How a task has ended."""
    try:
        value: int = handle.get(timeout=0)
    except DependencyFailedError:
        return "doomed"
    except TaskError:
        return "failed"
    except TimeoutError:
        return "waits"
    return value


def built(queue: TaskQueue, nodes: Iterable[Node], flow_id: str | None = None) -> tuple[Flow, list[AsyncResult[Any]]]:
    """A flow of these nodes, to be enqueued, and their handles."""
    task = make_tasks(queue)["node"]
    flow = queue.flow(flow_id)
    handles: list[AsyncResult[Any]] = []
    for one in nodes:
        inputs = [handles[number] for number in one.before]
        handles.append(flow.add(task, one.number, one.fails, inputs, on_failure=one.policy))
    return flow, handles


def note(kind: str) -> None:
    task = current_task()
    append(os.environ[LOG], kind, task.id, task.attempt, os.getpid())


def node(number: int, fails: Fails, inputs: Sequence[object]) -> int:
    """Return its number plus the results of those before it; an error counts as 0."""
    note("start")
    time.sleep(random.Random(number).uniform(0, float(os.environ.get(LONGEST, "0.03"))))  # the work itself
    note("end")
    if fails == "always" or (fails and not os.path.exists(os.environ[MENDED])):  # noqa: PTH110 - a str
        raise ValueError(number)
    return 0 if fails else number + total_of(inputs)


def child(number: int, fails: bool) -> int:
    note("start")
    note("end")
    if fails:
        raise ValueError(number)
    return number


def total(results: Iterable[object]) -> int:
    note("start")
    found = total_of(results)
    note("end")
    return found


def total_of(results: Iterable[object]) -> int:
    return sum(one for one in results if isinstance(one, int))


def make_tasks(queue: TaskQueue) -> dict[str, Task[..., Any]]:
    """Return the tasks by their names."""
    functions: dict[str, Any] = {"node": node, "child": child, "total": total}
    return {
        name: queue.task(name=name, max_crashes=50, retries=int(name == "node"), backoff=0.01)(function)
        for name, function in functions.items()
    }


FAILS_EACH = 97
"""Of so many children of a chord, one fails."""


def children_of(queue: TaskQueue, count: int) -> Iterator[TaskCall[Any]]:
    """The calls of a chord, of which some fail."""
    task = make_tasks(queue)["child"]
    return (task.of(number, number % FAILS_EACH == 5) for number in range(count))


def sum_of(count: int) -> int:
    """The result of a chord of so many, of which some fail."""
    return sum(number for number in range(count) if number % FAILS_EACH != 5)
