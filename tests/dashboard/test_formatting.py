"""How values are written on pages."""

from __future__ import annotations

import pytest

from pyxqueue.dashboard.formatting import FILTERS, NONE

MINUTE = 60_000


@pytest.mark.parametrize(
    ("name", "args", "text"),
    [
        ("number", (None,), NONE),
        ("number", (0,), "0"),
        ("number", (1_253_000,), "1,253,000"),
        ("seconds", (None,), NONE),
        ("seconds", (0,), "0 s"),
        ("seconds", (-3,), "0 s"),
        ("seconds", (0.0002,), "< 1 ms"),
        ("seconds", (0.0854,), "85 ms"),
        ("seconds", (1,), "1 s"),
        ("seconds", (3.24,), "3.2 s"),
        ("seconds", (45.4,), "45 s"),
        ("seconds", (90,), "1.5 min"),
        ("seconds", (7_200,), "2 h"),
        ("seconds", (86_400 * 40,), "40 d"),
        ("ms", (None,), NONE),
        ("ms", (1_500,), "1.5 s"),
        ("ago", (0, 5), NONE),
        ("ago", (10 * MINUTE, 10 * MINUTE + 400), "now"),
        ("ago", (10 * MINUTE, 12 * MINUTE), "2 min ago"),
        ("ago", (12 * MINUTE, 10 * MINUTE), "in 2 min"),
        ("moment", (1_700_000_000_123,), "2023-11-14T22:13:20.123Z"),
        ("moment", (10**18,), ""),
        ("size", (None,), NONE),
        ("size", (512,), "512 bytes"),
        ("size", (1_572_864,), "1.5 MB"),
        ("size", (3 * 1024**4,), "3,072.0 GB"),
        ("share", (1, 0), NONE),
        ("share", (0, 7), "0 %"),
        ("rate", (0,), "0/s"),
        ("rate", (1_234.5,), "1,234/s"),
        ("rate", (2.55,), "2.5/s"),
        ("rate", (0.05,), "3.0/min"),
        ("middle", ("shop.orders.charge",), "shop.orders.charge"),
        ("middle", ("a" * 20 + "b" * 20, 10), "aaa…bbbbbb"),
        ("without", ("KeyError: 'ada'", "KeyError"), "'ada'"),
        ("without", ("KeyErrors: x", "KeyError"), "KeyErrors: x"),
        ("counted", (1, "task"), "1 task"),
        ("counted", (1_200, "task"), "1,200 tasks"),
    ],
)
def test_a_value_is_written_so(name: str, args: tuple[object, ...], text: str) -> None:
    """In the unit that fits, with a dash for what is not known."""
    assert FILTERS[name](*args) == text


@pytest.mark.parametrize(("part", "whole"), [(1, 10_000), (9_999, 10_000)])
def test_a_share_is_not_rounded_to_none_or_all(part: int, whole: int) -> None:
    """One failure of many is not 0 %, and one success not 100 %."""
    assert FILTERS["share"](part, whole) not in ("0 %", "100 %")
