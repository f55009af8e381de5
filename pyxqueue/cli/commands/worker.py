"""``pyxqueue worker``: run tasks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import Any

import click

from ...client.several import run_workers
from ...options import DEFAULT_GRACE
from ..logs import FORMATS, LEVELS, inherit_logging, set_up_logging
from ..output import Decorated
from ..reloading import Watcher, reloading_command
from ..target import Target, app_options, modules_argument, pass_target


def _numbers(context: click.Context, parameter: click.Parameter, value: str | None) -> Sequence[float] | None:
    """Return the numbers in a text such as ``3,1``."""
    try:
        return None if value is None else [float(word) for word in value.split(",")]
    except ValueError:
        raise click.BadParameter("give one number for each queue, such as 3,1", context, parameter) from None


def worker_options(command: Decorated) -> Decorated:
    """Add the options for processes, threads, coroutines and logging."""
    count = click.IntRange(min=1)
    for option in (
        click.option("--weights", callback=_numbers, metavar="N,N,...", envvar="PYXQUEUE_WEIGHTS", show_envvar=True,
            help="With several queues, the part of the tasks that each gets, in their order.  [default: equal parts]"),
        click.option("--strict", is_flag=True, envvar="PYXQUEUE_STRICT", show_envvar=True,
            help="With several queues, the first one that has work wins."),
        click.option("--log-format", type=click.Choice(FORMATS), default="text", envvar="PYXQUEUE_LOG_FORMAT",
            show_envvar=True, show_default=True, help="Plain text, or one JSON object per line."),
        click.option("--log-tasks", is_flag=True, envvar="PYXQUEUE_LOG_TASKS", show_envvar=True,
            help="Log each success at level info. Failures and retries are logged in any case."),
        click.option("--log-level", type=click.Choice(LEVELS), envvar="PYXQUEUE_LOG_LEVEL", show_envvar=True,
            help="The lowest level that is logged, unless the module configures logging.  [default: info]"),
        click.option("--grace", type=click.FloatRange(min=0), default=DEFAULT_GRACE, envvar="PYXQUEUE_GRACE",
            show_envvar=True, show_default=True, metavar="SECONDS",
            help="How long running tasks may continue after a signal to stop."),
        click.option("--max-memory-per-child", type=click.FloatRange(min=0, min_open=True), metavar="MIB",
            envvar="PYXQUEUE_MAX_MEMORY_PER_CHILD", show_envvar=True,
            help="Replace a process that uses more memory, once what it runs has ended.  [default: never]"),
        click.option("--max-tasks-per-child", type=count, envvar="PYXQUEUE_MAX_TASKS_PER_CHILD", show_envvar=True,
            help="Replace a process after so many tasks.  [default: never]"),
        click.option("-c", "--concurrency", type=count, envvar="PYXQUEUE_CONCURRENCY", show_envvar=True,
            help="async def tasks that each process runs at once.  [default: 100]"),
        click.option("-t", "--threads", type=count, envvar="PYXQUEUE_THREADS", show_envvar=True,
            help="Threads, and so tasks at once, in each process.  [default: one task, without a thread]"),
        click.option("-p", "--processes", type=count, envvar="PYXQUEUE_PROCESSES", show_envvar=True,
            help="Worker processes.  [default: one per CPU]"),
    ):  # fmt: skip
        command = option(command)
    return command


@click.command()
@modules_argument
@worker_options
@click.option(
    "--reload",
    is_flag=True,
    envvar="PYXQUEUE_RELOAD",
    show_envvar=True,
    help="Restart the workers when a Python file changes (needs watchfiles).",
)
@click.option(
    "--heartbeat",
    metavar="FILE",
    envvar="PYXQUEUE_HEARTBEAT",
    show_envvar=True,
    help="Touch this file every second, for a liveness probe: `pyxqueue health --heartbeat FILE`.",
)
@click.option("--parent-fd", type=int, hidden=True)
@app_options
@pass_target
def worker(
    target: Target,
    /,
    *,
    processes: int | None,
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
    reload: bool,
    heartbeat: str | None,
    parent_fd: int | None,
) -> None:
    """Run the tasks of the queue in MODULE, which is pkg.mod, pkg.mod:queue or pkg/mod.py.

    Without :queue, MODULE must have exactly one TaskQueue. Several MODULE:QUEUE are served by the same processes, in
    fair turns. After SIGTERM or ^C running tasks may end; a second signal gives them back to the queue at once.
    """
    if heartbeat:
        os.environ["PYXQUEUE_HEARTBEAT"] = heartbeat  # read by the supervisor, which may be in another process
    app, *others = target.apps()
    if reload and parent_fd is None:
        set_up_logging(log_level, log_format, tasks=log_tasks)
        flags = _flags(processes=processes, threads=threads, concurrency=concurrency, grace=grace,
            max_tasks_per_child=max_tasks_per_child, max_memory_per_child=max_memory_per_child,
            log_level=log_level, log_format=log_format,
            weights=weights and ",".join(map(str, weights)))  # fmt: skip
        target.set_default_store()
        flags += ["--strict"] * strict + ["--log-tasks"] * log_tasks
        command = reloading_command(str(app), app.folder, target.imports, flags, list(map(str, others)))
        Watcher(command, app.folder).run()
        return
    queues = [target.load(one) for one in (app, *others)]
    set_up_logging(log_level, log_format, tasks=log_tasks)
    inherit_logging(log_format, tasks=log_tasks)
    run = queues[0].run
    if others or strict or weights is not None:
        run = partial(run_workers, queues, order="strict" if strict else "fair", weights=weights)
    run(processes, threads=threads, concurrency=concurrency, grace=grace, max_tasks_per_child=max_tasks_per_child,
        max_memory_per_child=max_memory_per_child, parent=parent_fd)  # fmt: skip


def _flags(**values: Any) -> list[str]:
    """Return the options as words of a command line."""
    return [
        word
        for name, value in values.items()
        if value is not None
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]
