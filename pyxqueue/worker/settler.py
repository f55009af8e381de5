"""How settlements reach the store: one step where broker and result store are one object, two where they are not."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from attrs import evolve

from ..message import Settlement
from ..protocols import Broker, ResultStore, same_store

Settler = Callable[[Sequence[Settlement]], Sequence[bool]]


def settler(broker: Broker, results: ResultStore) -> Settler:
    """Identity is the whole rule: one object means one atomic step.

    With two objects the record goes first, so that an acknowledged message always has one; a stale holder's record is
    refused by its rank. The weaker guarantee: a record may be visible a moment before the message is settled, also
    when that settlement is then refused.
    """
    if same_store(broker, results):
        return broker.settle

    def in_two_steps(settlements: Sequence[Settlement]) -> Sequence[bool]:
        results.put([one.record for one in settlements if one.record is not None])
        return broker.settle([evolve(one, record=None) for one in settlements])

    return in_two_steps
