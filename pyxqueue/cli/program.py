"""The ``pyxqueue`` program: its commands, and how it reports errors."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

from .. import __version__
from ..errors import BrokerUnavailableError, ConfigurationError, PyxqueueError
from ..printable import class_of, printable_lines, text_of, traceback_of
from ..urls import shown
from .target import target_options

COMMANDS = (
    "worker", "child", "info", "top", "tasks", "task", "flow", "failed", "retry", "cancel", "delete", "purge", "pause",
    "resume", "limits", "groups", "remove-group", "move", "schedule", "health", "doctor", "dashboard",
    "drain", "stop", "metrics",
)  # fmt: skip
"""Each has a module of its name in `commands`, which is imported when the command is used: a program has one, and
starting workers must not wait for the others."""

_EPILOG = """
\b
Examples:
  pyxqueue worker rpc                     run the tasks in rpc.py, one process per CPU
  pyxqueue worker rpc.py -p 2 --reload    two processes, restarted when a file changes
  pyxqueue worker shop:mail shop:images   one set of workers for two queues
  pyxqueue info rpc                       how many tasks wait, what the workers run
  pyxqueue --url redis://db/0 info        the queues of a store
  pyxqueue --url redis://db/0 --queue mail info
  pyxqueue tasks rpc --state started
  pyxqueue task rpc 5X50t04rUxU2ZpeOBc
  pyxqueue flow rpc 5X50t04rUxU2ZpeOBc    a flow, and what each of its tasks waits for
  pyxqueue failed rpc
  pyxqueue retry rpc --all-failed
  pyxqueue limits rpc                     how many tasks may run at once, and what waits
  pyxqueue pause rpc                      no worker starts a task until `resume`
  pyxqueue drain rpc web1                 the workers of a host end what they run, then exit
  pyxqueue schedule list rpc              the tasks that run by themselves, and when
  pyxqueue schedule pause rpc rpc.nightly
  pyxqueue move redis://old/0 redis://new/0
  pyxqueue doctor rpc                     what is wrong with the queue and its store

All commands except `worker` accept --url, --queue and --group instead of a module.

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
