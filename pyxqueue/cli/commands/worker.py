"""``pyxqueue worker``: run tasks."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ...worker.options import DEFAULT_GRACE
from ..logs import FORMATS, LEVELS, set_up_logging
from ..reloading import Watcher, reloading_command
from ..target import Target, app_options, module_argument, pass_target

Decorated = TypeVar("Decorated", bound=Callable[..., Any])


def worker_options(command: Decorated) -> Decorated:
    """Add the options for processes, threads, coroutines and logging."""
    count = click.IntRange(min=1)
    for option in (
        click.option("--log-format", type=click.Choice(FORMATS), default="text", envvar="PYXQUEUE_LOG_FORMAT",
            show_envvar=True, show_default=True, help="Plain text, or one JSON object per line."),
        click.option("--log-level", type=click.Choice(LEVELS), envvar="PYXQUEUE_LOG_LEVEL", show_envvar=True,
            help="The lowest level that is logged, unless the module configures logging.  [default: info]"),
        click.option("--grace", type=click.FloatRange(min=0), default=DEFAULT_GRACE, envvar="PYXQUEUE_GRACE",
            show_envvar=True, show_default=True, metavar="SECONDS",
            help="How long running tasks may continue after a signal to stop."),
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
@module_argument
@worker_options
@click.option(
    "--reload",
    is_flag=True,
    envvar="PYXQUEUE_RELOAD",
    show_envvar=True,
    help="Restart the workers when a Python file changes (needs watchfiles).",
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
    log_level: str | None,
    log_format: str,
    reload: bool,
    parent_fd: int | None,
) -> None:
    """Run the tasks of the queue in MODULE, which is pkg.mod, pkg.mod:queue or pkg/mod.py.

    Without :queue, MODULE must have exactly one TaskQueue. After SIGTERM or ^C running tasks may end; a second signal
    gives them back to the queue at once.
    """
    app = target.app()
    if reload and parent_fd is None:
        set_up_logging(log_level, log_format)
        flags = _flags(processes=processes, threads=threads, concurrency=concurrency, grace=grace,
            log_level=log_level, log_format=log_format)  # fmt: skip
        target.set_default_store()
        Watcher(reloading_command(str(app), app.folder, target.imports, flags), app.folder).run()
        return
    queue = target.load(app)
    set_up_logging(log_level, log_format)
    os.environ["PYXQUEUE_LOG_FORMAT"] = log_format  # for worker processes that are started as new interpreters
    queue.run(processes, threads=threads, concurrency=concurrency, grace=grace, parent=parent_fd)


def _flags(**values: Any) -> list[str]:
    """Return the options as words of a command line."""
    return [
        word
        for name, value in values.items()
        if value is not None
        for word in (f"--{name.replace('_', '-')}", str(value))
    ]
