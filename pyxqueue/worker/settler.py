"""How settlements reach a store that may be away for a while."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from ..errors import BrokerError, BrokerUnavailableError
from ..message import Settlement
from .events import log

Settler = Callable[[Sequence[Settlement]], Sequence[bool]]


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
