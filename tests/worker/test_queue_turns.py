"""From which of several queues a worker claims next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyxqueue.worker.turns import PASSED_OVER, ByWeight, Order, Strict, Turns


def serve(order: Order, waiting: list[float], claims: int, limit: int = 1) -> list[int]:
    """Claim from queues with so many messages; return the queue of each claim, and take away what was claimed."""
    served = []
    for _ in range(claims):
        for queue in order.next():
            messages = int(min(limit, waiting[queue]))
            waiting[queue] -= messages
            order.claimed(queue, messages)
            if messages:
                served.append(queue)
                break
    return served


ENDLESS = float(10**9)


def test_queues_with_work_take_turns() -> None:
    """None is served twice while another one waits."""
    assert serve(Turns().order(3), [ENDLESS] * 3, 6) == [0, 1, 2, 0, 1, 2]


def test_parts_by_weight() -> None:
    """Of four tasks, three are from the queue with weight 3."""
    served = Counter(serve(Turns(weights=(3, 1)).order(2), [ENDLESS] * 2, 400))

    assert served == {0: 300, 1: 100}


def test_a_queue_without_work_leaves_its_part_to_the_others() -> None:
    """Its turns are not lost."""
    assert serve(ByWeight([1, 1]), [0, ENDLESS], 5) == [1] * 5


def test_a_queue_that_was_idle_has_nothing_to_catch_up() -> None:
    """It is next when work comes, and then takes turns with the other."""
    order, waiting = ByWeight([1, 1]), [ENDLESS, 0.0]
    serve(order, waiting, 1_000)
    waiting[1] = ENDLESS

    assert serve(order, waiting, 6) == [1, 0, 1, 0, 1, 0]


@given(
    weights=st.lists(st.integers(1, 9), min_size=2, max_size=5),
    limits=st.lists(st.integers(1, 64), min_size=20, max_size=60),
)
def test_shares_of_messages_by_weight(weights: Sequence[int], limits: Sequence[int]) -> None:
    """However large the batches, no queue is behind another one by more than a batch of each."""
    order, messages = ByWeight(weights), Counter[int]()
    for limit in limits:
        queue = order.next()[0]
        order.claimed(queue, limit)
        messages[queue] += limit

    largest = max(limits)
    marks = [messages[queue] / weight for queue, weight in enumerate(weights)]
    assert max(marks) - min(marks) <= 2 * largest / min(weights)


def test_strict_order() -> None:
    """The first queue with work wins, and a later one gets one claim after many that passed it over."""
    served = serve(Strict(2), [ENDLESS, ENDLESS], 2 * (PASSED_OVER + 1))

    assert served == ([0] * PASSED_OVER + [1]) * 2


def test_no_queue_starves_in_strict_order() -> None:
    """Each of the later queues has its turn."""
    served = serve(Strict(4), [ENDLESS] * 4, 200)

    assert all(later in served for later in range(4))


def test_an_empty_queue_is_not_waited_for_in_strict_order() -> None:
    """Those behind it are served at once."""
    assert serve(Strict(3), [0, 2, ENDLESS], 4) == [1, 1, 2, 2]


@pytest.mark.parametrize("turns", [Turns(), Turns(weights=(2, 1)), Turns(strict=True)])
def test_all_queues_are_in_the_order(turns: Turns) -> None:
    """Whatever was claimed."""
    order = turns.order(2)
    order.claimed(1, 5)

    assert sorted(order.next()) == [0, 1]
