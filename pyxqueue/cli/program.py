"""The ``pyxqueue`` program: its commands, and how it reports errors."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

from .. import __version__
from ..errors import BrokerUnavailableError, ConfigurationError, PyxqueueError
from ..printable import class_of, printable_lines, text_of, traceback_of
from ..urls import shown
from .target import target_options

_SECTIONS: Mapping[str, Mapping[str, str]] = {
    "Run": {
        "worker": "Run the tasks of a module",
        "dashboard": "Serve pages about queues for a browser",
        "metrics": "Serve numbers for Prometheus",
        "health": "Exit with 0 if the store and the workers are there",
    },
    "Inspect": {
        "info": "Show how much waits, what runs, what is wrong",
        "top": "Watch rates, slow tasks, and what runs",
        "tasks": "List tasks by state, place, name, age, text",
        "task": "Show one task",
        "timeline": "Show when what happened to one task",
        "flow": "Show a flow as a tree",
        "failed": "List failed tasks, or count them by kind",
        "groups": "List the consumer groups",
        "doctor": "Say what is wrong with the store and the setup",
    },
    "Control": {
        "pause": "Let no worker start a task",
        "resume": "End a pause",
        "limits": "Show or change how much may run at once",
        "schedule": "List, pause, trigger or delete schedules",
        "drain": "Let workers end their tasks, then exit",
        "stop": "Stop workers as SIGTERM does",
    },
    "Repair": {
        "retry": "Run failed tasks again",
        "cancel": "Cancel tasks that wait or run",
        "delete": "Delete tasks with their results",
        "purge": "Delete all waiting, failed or ended tasks",
        "remove-group": "Delete a group with all its tasks",
        "move": "Move waiting and failed tasks to another store",
    },
}
"""The commands as the help shows them."""
COMMANDS = ("child", *(name for section in _SECTIONS.values() for name in section))
"""Each has a module of its name in `commands`, which is imported when the command is used: a program has one, and
starting workers must not wait for the others."""

_EPILOG = """
\b
Examples:
  pyxqueue worker rpc                     run the tasks in rpc.py, one process per CPU
  pyxqueue worker rpc.py -p 2 --reload    two processes, restarted when a file changes
  pyxqueue info rpc                       how much waits, what runs, what is wrong
  pyxqueue --url redis://db/0 info        the queues of a store
  pyxqueue --url redis://db/0 --queue mail info
  pyxqueue failed rpc --by kind           what failed, in groups
  pyxqueue retry rpc --name rpc.fib --error TimeoutError
  pyxqueue drain rpc web1                 the workers of a host end what they run, then exit

All commands except `worker` accept --url, --queue and --group instead of a module.
`pyxqueue COMMAND --help` says more about one.

\b
Exit codes:
  0  success; also a worker that was stopped by a signal
  1  refused or not found, for example an unknown task
  2  the command line, the configuration or the module is wrong
  3  the store cannot be reached
"""
_EXIT_CODES = {ConfigurationError: 2, BrokerUnavailableError: 3}


class _Program(click.Group):
    """Finds the commands, and reports errors as a message on stderr and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - as click calls it
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - as click calls it
        if cmd_name not in COMMANDS:
            return None
        name = cmd_name.replace("-", "_")
        command: click.Command = getattr(import_module(f"{__package__}.commands.{name}"), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - as click calls it
        """Show the commands in sections, each with a summary that fits its line."""
        for title, commands in _SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(f"{name:12}", summary) for name, summary in commands.items()])

    def make_context(self, info_name: str | None, args: list[str], *rest: Any, **extra: Any) -> click.Context:
        words = list(args)
        with _without_passwords(words):
            context = super().make_context(info_name, args, *rest, **extra)
        context.meta[__name__] = words
        return context

    def invoke(self, ctx: click.Context) -> Any:
        with _without_passwords(ctx.meta[__name__]):
            try:
                return super().invoke(ctx)
            except PyxqueueError as error:
                failure = click.ClickException(text_of(error))
                failure.exit_code = next((code for kind, code in _EXIT_CODES.items() if isinstance(error, kind)), 1)  # type: ignore[misc]
                raise failure from error
            except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
                raise  # click ends the program quietly after a BrokenPipeError
            except (Exception, SystemExit) as error:
                what = f"{ctx.invoked_subcommand} failed with {class_of(error)}"
                raise click.ClickException(f"{what}\n{traceback_of(error).rstrip()}") from error


@contextmanager
def _without_passwords(words: Sequence[str]) -> Iterator[None]:
    """Remove passwords from the message of an error. It may repeat a part of the command line or of the environment,
    and that may be a URL."""
    try:
        yield
    except click.ClickException as error:
        text = error.message
        variables = [value for name, value in os.environ.items() if name.startswith("PYXQUEUE_")]
        given = {*words, *(word.partition("=")[2] for word in words), *variables}
        for one in sorted((one for one in given if "://" in one or "@" in one), key=len, reverse=True):
            text = text.replace(repr(one)[1:-1], shown(one)).replace(one, shown(one))
        error.message = printable_lines(text)  # type: ignore[misc]
        raise


@click.group(cls=_Program, epilog=_EPILOG)
@target_options
@click.version_option(__version__, prog_name="pyxqueue")
def main() -> None:
    """A task queue on Redis Streams or a file: run workers, inspect and manage tasks."""
