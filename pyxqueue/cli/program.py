"""The program: its commands, and what becomes of errors."""

from __future__ import annotations

from typing import Any

import click

from .. import __version__
from ..errors import BrokerUnavailableError, ConfigurationError, PyxqueueError
from .running import child, worker
from .target import target_options


class _Failed(click.ClickException):
    def __init__(self, error: PyxqueueError, exit_code: int) -> None:
        super().__init__(str(error))
        self.exit_code = exit_code


class _Program(click.Group):
    """Turns the errors of the library into a line on stderr and an exit code."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ConfigurationError as error:
            raise _Failed(error, 2) from error
        except BrokerUnavailableError as error:
            raise _Failed(error, 3) from error
        except PyxqueueError as error:
            raise _Failed(error, 1) from error


@click.group(cls=_Program)
@target_options
@click.version_option(__version__, prog_name="pyxqueue")
def main() -> None:
    """A task queue on Redis Streams: run its workers, look at it, and tend it."""


for command in (worker, child):
    main.add_command(command)
