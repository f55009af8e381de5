"""The command that adds a batch to the statistics of a group."""

from __future__ import annotations

from ...model.statistics import Row, StatisticsBatch, add_row, line_name, line_numbers
from .commands import Arg, Command
from .keys import GroupKeys


def added(keys: GroupKeys, batch: StatisticsBatch) -> Command[bool]:
    """Return the command; its result says whether the batch was accepted (M1)."""
    rows: dict[str, Row] = {}
    for one in batch.tasks:
        add_row(rows, one.name, one.row())
    args: list[Arg] = [keys.group, batch.sender, batch.number]
    for name, row in rows.items():
        args += (line_name(name), line_numbers(row))
    return Command("add_statistics", [keys.meta, *keys.statistics], args, bool)
