"""The fair line: in which order the ready messages of several tenants are drawn (F1 to F4).

A message of a fair queue names its tenant and has a share: what its start costs the tenant, `SHARE` for one with the
weight 1. A message that becomes ready gets a tag, and the one with the lowest tag is drawn first. The tag is the cost
more than the last tag of its flow, or than the last tag that was drawn if that is larger: so a flow that was away has
saved up nothing, and one that floods the line comes behind its own messages only. This is self-clocked fair queueing.

The functions here have no side effects outside of a `FairLine`.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from msgspec import Struct

SHARE = 1_000
"""The share of a message whose tenant has the weight 1."""
MAX_SHARE = 1_000_000
MIN_WEIGHT, MAX_WEIGHT = SHARE / MAX_SHARE, SHARE
"""The range of weights."""


def share_of(weight: float) -> int:
    """Return what the start of a message costs a tenant of this weight."""
    return max(1, round(SHARE / weight))


class Flow(NamedTuple):
    """What is first in, first out in a fair line: the new messages of a tenant, or those that came back."""

    tenant: str
    came_back: bool


class Standing(NamedTuple):
    """The place of a message in a fair line; the lowest is the first."""

    tag: int
    order: int
    """A number that grows with each message that joins a line."""
    id: str


class TenantInfo(Struct, frozen=True):
    """A tenant that has messages in the fair lines of a group."""

    tenant: str
    waiting: int
    """How many messages."""


class FairLine(Struct):
    """The fair line of one priority class of a group."""

    drawn: int = 0
    """The last tag that was drawn; 0 when the line is empty."""
    tags: dict[Flow, int] = {}
    """The last tag of each flow that waits."""
    waiting: dict[Flow, int] = {}
    """How many messages of each flow wait."""
    line: list[Standing] = []

    def join(self, flow: Flow, share: int, order: int, task_id: str) -> Standing:
        tag = max(self.drawn, self.tags.get(flow, 0)) + share
        standing = Standing(tag, order, task_id)
        self.tags[flow] = tag
        self.waiting[flow] = self.waiting.get(flow, 0) + 1
        insort(self.line, standing)
        return standing

    def leave(self, flow: Flow, standing: Standing, *, drawn: bool) -> None:
        """Remove a message. `drawn`: it is handed out; otherwise it was cancelled, deleted or has expired."""
        del self.line[self.number(standing) - 1]
        self.waiting[flow] -= 1
        if not self.waiting[flow]:
            del self.waiting[flow], self.tags[flow]
        if drawn:
            self.drawn = max(self.drawn, standing.tag)
        if not self.line:
            self.drawn = 0

    def number(self, standing: Standing) -> int:
        """Return which one it is in the line; the first is 1."""
        return bisect_left(self.line, standing) + 1

    def first(self, count: int) -> Iterator[str]:
        """Return the ids of the first messages."""
        return (standing.id for standing in islice(self.line, count))
