"""What a function takes, as another program is told: whether it takes a call is known without the function."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyxqueue.calls import Signature, takes
from pyxqueue.errors import ArgumentError

FUNCTIONS: list[Callable[..., Any]] = [
    lambda: None,
    lambda a: None,
    lambda a, b=1: None,
    lambda a, /, b: None,
    lambda a, /, *, b: None,
    lambda *, a=1, b: None,
    lambda a, *b: None,
    lambda a=1, **b: None,
    lambda *a, **b: None,
    lambda a, /, b=2, *c, d, e=3, **f: None,
    eval("lambda größe: None"),
    print,
    dict,
]


@given(
    st.sampled_from(FUNCTIONS),
    st.lists(st.just(1), max_size=4),
    st.dictionaries(st.sampled_from(["a", "b", "d", "f", "größe", "sep"]), st.just(1), max_size=3),
)
def test_a_text_takes_what_its_function_takes(
    function: Callable[..., Any], args: list[int], kwargs: dict[str, int]
) -> None:
    """Whatever kinds of parameters it has."""
    signature, fits = Signature("job", function), False
    with suppress(ArgumentError):
        signature.check(args, kwargs)
        fits = True

    assert takes(signature.text, args, kwargs) is fits


@pytest.mark.parametrize(
    "text", ["", "(", "()()", "a1", "(a)", "(a9)", "(a1", "(a1,a1)", "(a1=,b1)", "(a1,)", "(1a1)", "(a-1)"]
)
def test_a_text_of_another_kind(text: str) -> None:
    """It takes nothing, and raises nothing."""
    assert not takes(text, [1], {})
