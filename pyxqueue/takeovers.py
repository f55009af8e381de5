"""Logs which messages were reclaimed: one line for each consumer that is gone, with its host."""

from __future__ import annotations

from collections.abc import Iterable

from .log import get_logger
from .printable import counted

log = get_logger("pyxqueue.worker")
_SHOWN = 5
"""How many ids a line has."""


def log_takeovers(taken: Iterable[tuple[str, str, str]]) -> None:
    """Log messages that were reclaimed together. `taken`: for each, its consumer, the host of that or an empty text,
    and the id of the task."""
    by_holder: dict[tuple[str, str], list[str]] = {}
    for consumer, host, task_id in taken:
        by_holder.setdefault((consumer, host), []).append(task_id)
    for (consumer, host), ids in by_holder.items():
        names = ", ".join(ids[:_SHOWN]) + (f" and {len(ids) - _SHOWN:,} more" if len(ids) > _SHOWN else "")
        where = f"{consumer} on host {host}" if host else consumer
        log.warning(
            "took over %s from %s, of which there was no sign of life: %s", counted(len(ids), "task"), where, names
        )
