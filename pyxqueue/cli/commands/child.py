"""``pyxqueue child``: one worker process; a supervisor that cannot fork starts it."""

from __future__ import annotations

import click

from ...client.queue import workers_of
from ...inflight import InFlightTable
from ...supervisor.child import importing
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
    log_level: str | None,
    log_format: str,
    consumer: str,
    table_fd: int,
    supervisor: int,
    **_for_the_supervisor: object,
) -> None:
    """Run as one worker process of a supervisor that cannot fork."""
    app = target.app()
    try:
        with importing(InFlightTable(table_fd), str(app)):
            queue = target.load(app)
    except SystemExit:
        context.exit(2)
    set_up_logging(log_level, log_format)
    context.exit(workers_of(queue).serve_child(consumer, table_fd, supervisor, threads, concurrency))
