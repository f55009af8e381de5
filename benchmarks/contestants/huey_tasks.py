"""The tasks of huey, for both of its stores."""

from __future__ import annotations

from typing import Any

from huey import Huey

from .base import TYPES, FirstAttemptFails, echo, nap


def tasks_of(huey: Huey) -> dict[str, Any]:
    @huey.task(name="fail", retries=1, context=True)
    def fail(value: Any, task: Any = None) -> Any:
        if task.retries:  # so many are left
            raise FirstAttemptFails
        return value

    return {
        "echo": huey.task(name="echo")(echo),
        "nap": huey.task(name="nap")(nap),
        "fail": fail,
        **{f"type{number}": huey.task(name=f"type{number}")(echo) for number in range(TYPES)},
    }
