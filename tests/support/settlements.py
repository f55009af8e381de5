"""Settlements that many tests need."""

from __future__ import annotations

from pyxqueue.model.message import Done, Record, Settlement, TaskStatus


def done(receipt: str, task_id: str) -> Settlement:
    """The task has succeeded and returned None."""
    return Settlement(receipt, Done(), Record(task_id, TaskStatus.SUCCESS, b"null"))
