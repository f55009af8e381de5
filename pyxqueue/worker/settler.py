"""How settlements reach the store: one step where broker and result store are one object, two where they are not."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from attrs import evolve

from ..errors import BrokerError, BrokerUnavailableError
from ..message import Settlement
from ..protocols import Broker, ResultStore, same_store
from .events import log

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


def insist(
    settle: Settler, settlements: Sequence[Settlement], consumer: str, backoff: Callable[[int, float], float]
) -> Sequence[bool]:
    """Settle, for as long as it takes the store to come back: the receipts decide whether it still counts.

    `backoff` answers the seconds to wait after so many failures in a row, and at the most.
    """
    failures = 0
    while True:
        try:
            answers = settle(settlements)
            if failures:
                log.warning("%s: the store is back, and has taken %d results", consumer, sum(answers))
            return answers
        except BrokerUnavailableError as error:
            failures += 1
            if failures == 1:
                log.warning("%s keeps %d results for later: %s", consumer, len(settlements), error)
            time.sleep(backoff(failures, 1.0))
        except BrokerError:
            if len(settlements) == 1:
                log.exception("the store refuses to settle %s; its lease will end", settlements[0].receipt)
                return [False]
            return [answer for one in settlements for answer in insist(settle, [one], consumer, backoff)]
