"""``pyxqueue child``: one worker process; a supervisor that cannot fork starts it."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ...client.several import serve_child, turns_of
from ...inflight import InFlightTable
from ...supervisor.child import importing
from ...worker.options import WorkerOptions
from ..logs import set_up_logging
from ..target import Target, app_options, pass_target
from .worker import worker_options


@click.command(hidden=True)
@worker_options
@click.argument("consumer")
@click.argument("table_fd", type=int)
@click.argument("supervisor", type=int)
@app_options
@pass_target
@click.pass_context
def child(
    context: click.Context,
    target: Target,
    /,
    *,
    threads: int | None,
    concurrency: int | None,
    grace: float,
    max_tasks_per_child: int | None,
    max_memory_per_child: float | None,
    log_level: str | None,
    log_format: str,
    log_tasks: bool,
    strict: bool,
    weights: Sequence[float] | None,
    consumer: str,
    table_fd: int,
    supervisor: int,
    **_for_the_supervisor: object,
) -> None:
    """Run as one worker process of a supervisor that cannot fork."""
    apps = target.apps()
    try:
        with importing(InFlightTable(table_fd), ", ".join(map(str, apps))):
            queues = [target.load(app) for app in apps]
    except SystemExit:
        context.exit(2)
    set_up_logging(log_level, log_format, tasks=log_tasks)
    turns = turns_of("strict" if strict else "fair", weights, len(queues))
    options = WorkerOptions(
        threads=threads,
        concurrency=concurrency,
        grace=grace,
        max_tasks_per_child=max_tasks_per_child,
        max_memory_per_child=max_memory_per_child,
    )
    context.exit(serve_child(queues, turns, options, consumer=consumer, table_fd=table_fd, supervisor=supervisor))
