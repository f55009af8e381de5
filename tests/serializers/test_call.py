"""The arguments of a call as the body of a message."""

from __future__ import annotations

import pytest

from pyxqueue.codec import dumps_call, loads_call
from pyxqueue.errors import SerializationError
from pyxqueue.serializers import JSONSerializer, PickleSerializer


def test_a_body_has_two_elements() -> None:
    """The list of positional arguments and the dict of keyword arguments."""
    assert dumps_call(JSONSerializer(), (10,), {}) == b"[[10],{}]"
    assert loads_call(JSONSerializer(), b"[[10],{}]") == ([10], {})


def test_arguments_keep_their_types() -> None:
    """The arguments within the body come back with their types."""
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
    """The caller passed arguments, and does not know the two elements of the body."""
    with pytest.raises(SerializationError) as caught:
        dumps_call(JSONSerializer(), args, kwargs)

    assert str(caught.value).startswith(path)


def test_an_error_without_a_path_is_passed_on() -> None:
    """Not every serializer knows the path."""
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
def test_other_bodies_are_refused(body: bytes) -> None:
    """A body that was written by hand can have any form."""
    with pytest.raises(SerializationError):
        loads_call(JSONSerializer(), body)
