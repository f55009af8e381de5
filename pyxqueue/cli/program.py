"""The program: its commands, and what becomes of errors."""

from __future__ import annotations

from typing import Any

import click

from .. import __version__
from ..errors import BrokerUnavailableError, ConfigurationError, PyxqueueError
from ..printable import printable_lines
from .commands.cancel import cancel
from .commands.child import child
from .commands.delete import delete
from .commands.failed import failed
from .commands.groups import groups
from .commands.info import info
from .commands.move import move
from .commands.purge import purge
from .commands.remove_group import remove_group
from .commands.retry import retry
from .commands.task import task
from .commands.tasks import tasks
from .commands.worker import worker
from .target import target_options

COMMANDS = (
    worker, child, info, tasks, task, failed, retry, cancel, delete, purge, groups, remove_group, move,
)  # fmt: skip

_EPILOG = """
\b
Examples:
  pyxqueue worker rpc                     run the tasks in rpc.py, one process per CPU
  pyxqueue worker rpc.py -p 2 --reload    the same, again with every change
  pyxqueue info rpc                       how much waits, and who works on what
  pyxqueue --url redis://db/0 info        which queues there are
  pyxqueue --url redis://db/0 --queue mail info
  pyxqueue tasks rpc --state started
  pyxqueue task rpc 1795301736461-92a8ee178b24d61c
  pyxqueue failed rpc
  pyxqueue retry rpc --all-failed

  pyxqueue move redis://old/0 redis://new/0

Every command but `worker` can do without a module: it is then about --queue and --group in the store at --url.

\b
Exit codes:
  0  done; also a worker that was told to stop
  1  refused or not found, for example a task that is not known
  2  the command line, the configuration or the app's module is wrong
  3  the store cannot be reached
"""


class _Misconfigured(click.ClickException):
    exit_code = 2


class _Unreachable(click.ClickException):
    exit_code = 3


def shown(error: PyxqueueError) -> str:
    """The words of an error, which may hold what another program wrote."""
    return printable_lines(str(error), 2_000)


class _Program(click.Group):
    """Turns the errors of the library into a line on stderr and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            raise _Misconfigured(shown(error)) from error
        except BrokerUnavailableError as error:
            raise _Unreachable(shown(error)) from error
        except PyxqueueError as error:
            raise click.ClickException(shown(error)) from error


@click.group(cls=_Program, epilog=_EPILOG)
@target_options
@click.version_option(__version__, prog_name="pyxqueue")
def main() -> None:
    """A task queue on Redis Streams or a file: run its workers, look at it, and tend it."""


for command in COMMANDS:
    main.add_command(command)
