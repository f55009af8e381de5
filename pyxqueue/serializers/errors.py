"""The error for a value that cannot travel: it knows where in the whole the value is."""

from __future__ import annotations

from ..errors import SerializationError
from ..printable import LONGEST_LINE, printable

_SHOWN = 8


class OutsideDomainError(SerializationError):
    """A value that a serializer cannot bring back as what it was.

    `problem` says what is wrong with it and what to do. The containers around it add the way to it to `steps`, the
    innermost first, while the error passes them; `root` is what the whole is called.
    """

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem
        self.steps: list[str] = []
        self.root = "value"

    @property
    def path(self) -> str:
        """Where the value is, for example ``args[0]['when']``; a very long way is cut in the middle."""
        steps = self.steps[::-1]
        if len(steps) > 2 * _SHOWN:
            steps[_SHOWN:-_SHOWN] = ["..."]
        return self.root + "".join(steps)

    def __str__(self) -> str:
        return printable(f"{self.path}: {self.problem}", LONGEST_LINE)
