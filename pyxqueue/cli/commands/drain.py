"""``pyxqueue drain``: let workers end their running tasks, then exit."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ..orders import give, order_options
from ..target import Target, pass_target


@click.command()
@order_options
@pass_target
def drain(target: Target, words: Sequence[str], wait: bool, as_json: bool) -> None:
    """Let workers claim no more, end what they run however long it takes, then exit.

    WORKER is a name, or HOST:PID of a worker or a supervisor. A supervisor drains with all its workers. A second order
    stops them as SIGTERM does.
    """
    give(target, words, lambda queue, whom: queue.admin.drain(whom), wait=wait, as_json=as_json)
