"""``pyxqueue stop``: stop workers as SIGTERM does."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ..orders import give, order_options
from ..target import Target, pass_target


@click.command()
@order_options
@pass_target
def stop(target: Target, words: Sequence[str], wait: bool, as_json: bool) -> None:
    """Stop workers as SIGTERM does: running tasks have the grace period to end.

    WORKER is a name, or HOST:PID of a worker or a supervisor. A supervisor stops with all its workers.
    """
    give(target, words, lambda queue, whom: queue.admin.stop(whom), wait=wait, as_json=as_json)
