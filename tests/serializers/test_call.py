"""A call's arguments as one body."""

from __future__ import annotations

import pytest

from pyxqueue.errors import SerializationError
from pyxqueue.serializers import JSONSerializer, PickleSerializer, dumps_call, loads_call


def test_a_call_is_two_elements() -> None:
    """The smallest body that can be written by hand."""
    assert dumps_call(JSONSerializer(), (10,), {}) == b"[[10],{}]"
    assert loads_call(JSONSerializer(), b"[[10],{}]") == ([10], {})


def test_arguments_keep_their_types() -> None:
    """The list of arguments is ours, what is in it is the caller's."""
    body = dumps_call(JSONSerializer(), ((1, 2), [3]), {"key": {4}})

    assert loads_call(JSONSerializer(), body) == ([(1, 2), [3]], {"key": {4}})


@pytest.mark.parametrize(
    ("args", "kwargs", "path"),
    [
        (([{"when": 1j}],), {}, "args[0][0]['when']: "),
        ((0, 1j), {}, "args[1]: "),
        ((), {"when": (1j,)}, "kwargs['when'][0]: "),
    ],
    ids=["nested", "second", "keyword"],
)
def test_paths_start_at_the_arguments(args: tuple[object, ...], kwargs: dict[str, object], path: str) -> None:
    """The caller wrote arguments, and does not know of the two elements."""
    with pytest.raises(SerializationError) as caught:
        dumps_call(JSONSerializer(), args, kwargs)

    assert str(caught.value).startswith(path)


def test_serializers_without_paths_will_do() -> None:
    """Their own error comes through."""
    with pytest.raises(SerializationError, match="cannot be pickled"):
        dumps_call(PickleSerializer(), (lambda: None,), {})


@pytest.mark.parametrize(
    "body",
    [
        b"10",
        b"[]",
        b"[[10]]",
        b"[10,{}]",
        b"[[],[]]",
        b"[[],{},1]",
        b'[[],{"!dict":[[1,2]]}]',
        b'{"a":1}',
        b'"ab"',
        b"",
    ],
)
def test_other_bodies_are_no_calls(body: bytes) -> None:
    """A body written by hand is easily wrong."""
    with pytest.raises(SerializationError):
        loads_call(JSONSerializer(), body)
