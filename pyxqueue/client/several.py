"""Workers that serve several queues."""

# ruff: noqa: PLC0415 - most programs only enqueue, and do not need the supervisor
from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

from attrs import evolve

from ..clock import Seconds
from ..errors import ConfigurationError
from ..options import DEFAULT_GRACE
from ..printable import quoted
from ..worker.options import WorkerOptions
from ..worker.turns import EQUAL, Turns
from .local_workers import LocalWorkers, configure_logging, parts_of
from .queue import TaskQueue, store_of, workers_of

Order: TypeAlias = Literal["fair", "strict"]


def run_workers(
    queues: Iterable[TaskQueue],
    nworkers: int | None = None,
    *,
    order: Order = "fair",
    weights: Sequence[float] | None = None,
    threads: int | None = None,
    concurrency: int | None = None,
    grace: Seconds = DEFAULT_GRACE,
    max_tasks_per_child: int | None = None,
    max_memory_per_child: float | None = None,
    parent: int | None = None,
) -> None:
    """Start worker processes that serve several queues, and block until SIGTERM or SIGINT. Call it in the main thread.

    Each process runs the tasks of all the queues. The queues may be on different stores; one whose store is down holds
    up no other. Each keeps its own serializers, seal, options and lease.

    `order`: ``"fair"``, in which all queues that have work get equal parts of the tasks, or parts as `weights` has it,
    one number for each queue; ``"strict"``, in which the first queue with work wins. A later queue then still gets one
    claim after 16 claims in a row that passed it over. The other parameters are those of `TaskQueue.run`.

    Raises `ConfigurationError` for queues that cannot be served together, `AlreadyRunningError` if this program already
    has workers of one of them.
    """
    from ..supervisor.launch import run_workers as run

    found = list(queues)
    check_queues(found)
    turns = turns_of(order, weights, len(found))
    workers = [workers_of(queue) for queue in found]
    lifetime = max_tasks_per_child, max_memory_per_child
    options = [one.options(nworkers, threads, concurrency, grace, lifetime) for one in workers]
    for one in workers:
        one.check_shareable()
    configure_logging()
    for one in workers:
        one.running = True
    try:
        run(parts_of(workers, turns), _together(options), parent)
    finally:
        for one in workers:
            one.running = False


def serve_child(
    queues: Sequence[TaskQueue],
    turns: Turns,
    options: WorkerOptions,
    *,
    consumer: str,
    table_fd: int,
    supervisor: int,
) -> int:
    """Run as a worker process that the supervisor started as a new interpreter. Returns the exit code."""
    from functools import partial

    from ..inflight import InFlightTable
    from ..supervisor.child import serve

    workers: list[LocalWorkers] = [workers_of(queue) for queue in queues]
    options = evolve(options, wait_ms=min(one.wait for one in workers))
    parts, table = parts_of(workers, turns), InFlightTable(table_fd)
    return serve(partial(parts.make_worker, options), consumer, table, supervisor)


def check_queues(queues: Sequence[TaskQueue]) -> None:
    """Raise `ConfigurationError` if one set of workers cannot serve these queues."""
    if not queues:
        raise ConfigurationError("no queue was given: run_workers([queue, ...]) needs at least one")
    for number, queue in enumerate(queues):
        if not isinstance(queue, TaskQueue):
            raise ConfigurationError(f"{quoted(queue)} is not a TaskQueue: give run_workers the queues themselves")
        for other in queues[:number]:
            if queue is other:
                raise ConfigurationError(f"{queue} was given twice: name each queue once; weights= gives it more turns")
            if _place(queue) == _place(other):
                raise ConfigurationError(
                    f"{queue} and {other} are the same queue in the same store with the same group, so their workers "
                    "would take each other's tasks: define all tasks on one TaskQueue, or give one of them another "
                    "stream_key or consumer_group"
                )


def turns_of(order: str, weights: Sequence[float] | None, queues: int) -> Turns:
    """Return the turns. Raises `ConfigurationError` for an order or weights that are not valid."""
    if order not in ("fair", "strict"):
        raise ConfigurationError(f'order={quoted(order)} is not known: use "fair" or "strict"')
    if weights is None:
        return Turns(strict=True) if order == "strict" else EQUAL
    if order == "strict":
        raise ConfigurationError('weights do not apply in strict order: leave them out, or use order="fair"')
    numbers = list(weights)
    if len(numbers) != queues:
        raise ConfigurationError(f"there are {len(numbers)} weights for {queues} queues: give one for each queue")
    for number in numbers:
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 < number < math.inf:
            raise ConfigurationError(f"the weight {quoted(number)} is not a number above 0")
    return Turns(weights=tuple(numbers))


def _place(queue: TaskQueue) -> tuple[object, str, str]:
    store = store_of(queue).given
    return store if isinstance(store, str | None) else id(store), queue.stream_key, queue.consumer_group


def _together(options: Sequence[WorkerOptions]) -> WorkerOptions:
    """Return the options of the first queue, with the shortest wait of all."""
    return evolve(options[0], wait_ms=min(one.wait_ms for one in options))
