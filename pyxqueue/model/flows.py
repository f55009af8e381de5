"""Flows: tasks that wait for others, and how that is spelt in their messages.

An *edge* leads from a task to its *successor*, which waits until each edge that leads to it has *fired*. The message
of the task names its edges in `successors`, each as a policy and an id: ``f:ID``. The message of the successor names
its *predecessors* in `after`: each by its id, or many as ``ID.*N``, which stands for ``ID.0`` to ``ID.(N-1)``. Both
have the id of the same flow, which no other flow has: so a task that is stored later under the same id is not taken
for the one that the edge leads to.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from .message import Message

MAX_SUCCESSORS = 32
"""The most edges that leave one task."""
MAX_AFTER = 256
"""The most predecessors that one message names; many with ids in a row count as one."""
DEPENDENCY_FAILED = "DependencyFailed"
"""The type of the error of a task that fails without being run, because of a task before it."""
UNFINISHED_MS = 3_600_000
"""After the last predecessor was stored, how long a successor waits for one that was never stored."""
_AFTER = re.compile(r"([A-Za-z0-9_.-]{1,64})(?:\.\*([1-9]\d{0,6}))?")
_EDGE = re.compile(r"[fcw]:[A-Za-z0-9_.-]{1,64}")


class OnFailure(enum.Enum):
    """What happens to the successor if the task does not succeed."""

    FAIL = "f"
    """It fails without being run."""
    CONTINUE = "c"
    """It runs all the same."""
    WAIT = "w"
    """It waits while the task is kept with the failed tasks: an operator may retry it. If it is deleted or cancelled
    instead, the successor fails."""


class Edge(NamedTuple):
    """An edge that leaves a task."""

    on_failure: OnFailure
    successor: str

    def fires(self, *, kept: bool) -> bool:
        """Return whether the edge fires when its task ends. `kept`: with its message among the failed tasks."""
        return not (kept and self.on_failure is OnFailure.WAIT)

    def dooms(self, *, success: bool) -> bool:
        """Return whether the end of its task means that the successor must not run."""
        return not success and self.on_failure is not OnFailure.CONTINUE


def edge_text(on_failure: OnFailure, successor: str) -> str:
    return f"{on_failure.value}:{successor}"


def is_edge(text: str) -> bool:
    return _EDGE.fullmatch(text) is not None


def is_predecessor(text: str) -> bool:
    return _AFTER.fullmatch(text) is not None


def edges_of(message: object) -> list[Edge]:
    """Return the edges that leave the task of a message."""
    texts = message.successors if isinstance(message, Message) else ()
    return [Edge(OnFailure(text[0]), text[2:]) for text in texts]


def is_child_of(message: Message, task_id: str, flow: str) -> bool:
    """Return whether a task that is suspended until the end of a flow waits for the task of this message (L14)."""
    return message.flow == flow != "" and Edge(OnFailure.CONTINUE, task_id) in edges_of(message)


def many(prefix: str, count: int) -> str:
    """Return the text that stands for ``prefix.0`` to ``prefix.(count-1)`` in `Message.after`."""
    return f"{prefix}.*{count}"


def group_prefix(flow: str, number: int) -> str:
    """Return the beginning of the ids of a group that nothing waits for. The first such group of a flow has the number
    0."""
    return f"{flow}.group{number}"


def number_of(after: Iterable[str]) -> int:
    """Return the number of predecessors that a message names."""
    return sum(_count(text) for text in after)


def expand(after: Iterable[str]) -> Iterator[str]:
    """Return the ids of the predecessors that a message names."""
    for text in after:
        prefix, star, _ = text.partition(".*")
        if star:
            yield from (f"{prefix}.{number}" for number in range(_count(text)))
        else:
            yield text


def _count(text: str) -> int:
    found = _AFTER.fullmatch(text)
    return 0 if found is None else int(found[2] or 1)


def unfinished(stored: int, wanted: int) -> str:
    """Return the text in `Message.doomed` of a successor whose predecessors were not all stored."""
    return f"{stored} of {wanted} predecessors"


def is_unfinished(doomed: str) -> bool:
    """Return whether a text was made by `unfinished`."""
    return " " in doomed


def doom_text(doomed: str) -> str:
    """Return why a successor must not run, for people, from its `Message.doomed`."""
    if is_unfinished(doomed):
        return f"the flow was not stored completely: only {doomed}"
    return f"task {doomed}, which comes before it in its flow, did not end as a success"
