"""The error for a value that a serializer refuses."""

from __future__ import annotations

from ..errors import SerializationError
from ..printable import LONGEST_LINE, printable

_SHOWN = 8
"""How many steps of a long path are shown at each end."""


class OutsideDomainError(SerializationError):
    """A value that a serializer could not return as it was.

    `problem` says what is wrong with it and what to do. While the error passes through the containers around the value,
    each adds its step of the path to `steps`, the innermost first. `root` is the name of the outermost container.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.steps: list[str] = []
        self.root = "value"

    @property
    def path(self) -> str:
        """Where the value is, for example ``args[0]['when']``. A very long path is cut in the middle."""
        steps = self.steps[::-1]
        if len(steps) > 2 * _SHOWN:
            steps[_SHOWN:-_SHOWN] = ["..."]
        return self.root + "".join(steps)

    def __str__(self) -> str:
        return printable(f"{self.path}: {self.problem}", LONGEST_LINE)
