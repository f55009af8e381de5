"""Task ids."""

from __future__ import annotations

import re

from pyxqueue.ids import new_id
from pyxqueue.model.message import ID_PATTERN

DAY = 86_400 * 10**9
NOW = 1_795_700_000 * 10**9


def test_ids_sort_by_time() -> None:
    """Whatever their random bits are; a millisecond makes a difference."""
    moments = [NOW, NOW + 10**6, NOW + 64 * 10**6, NOW + DAY, NOW + 4_000 * DAY, NOW + 180_000 * DAY]

    ids = [new_id(moment, bytes([255 - number]) * 8) for number, moment in enumerate(moments)]

    assert ids == sorted(ids)


def test_ids_of_one_millisecond_sort_in_the_order_in_which_they_were_made() -> None:
    """A store that orders tasks of the same time by their ids keeps the order of the calls."""
    ids = [new_id(NOW) for _ in range(10_000)]

    assert ids == sorted(set(ids))


def test_ids_of_one_moment_differ_in_every_random_bit() -> None:
    one_bit = [(1 << bit).to_bytes(8) for bit in range(64)]

    assert len({new_id(NOW, random) for random in [bytes(8), *one_bit]}) == 65


def test_an_id_is_short_and_valid() -> None:
    """It begins with a digit until the year 2065, so that a command line does not take it for an option."""
    made = [new_id(), new_id(random=bytes(8)), new_id(random=b"\xff" * 8), new_id(NOW + 14_000 * DAY)]

    assert all(re.fullmatch(r"[0-9][\w-]{17}", one, re.ASCII) and ID_PATTERN.fullmatch(one) for one in made)
