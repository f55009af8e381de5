"""Inputs: the results of other tasks as arguments of a call.

In the body of a call, each is a mapping that any serializer can write: ``{"$result": ID}`` stands for the result of one
task, ``{"$results": [ID, N]}`` for those of ``ID.0`` to ``ID.(N-1)``. They may be inside lists, tuples and dicts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from attrs import frozen

from .calls import Call
from .errors import ConfigurationError
from .model.flows import many
from .printable import counted, quoted

RESULT = "$result"
RESULTS = "$results"


@frozen
class One:
    """The result of one task."""

    id: str

    @property
    def body(self) -> dict[str, Any]:
        return {RESULT: self.id}


@frozen
class Many:
    """The results of many tasks, whose ids are ``prefix.0`` and so on."""

    prefix: str
    count: int

    @property
    def body(self) -> dict[str, Any]:
        return {RESULTS: [self.prefix, self.count]}

    @property
    def text(self) -> str:
        """The text for them in `Message.after`."""
        return many(self.prefix, self.count)


Input: TypeAlias = One | Many


def input_of(value: object) -> Input | None:
    """Return the input that a part of a decoded body stands for; None if it stands for itself."""
    match value:
        case {"$result": str(task_id), **rest} if not rest:
            return One(task_id)
        case {"$results": [str(prefix), int(count)], **rest} if not rest:
            return Many(prefix, count)
    return None


def check_plain(value: object) -> None:
    """Raise `ConfigurationError` for an argument that would be taken for a result."""
    if type(value) is dict and not {RESULT, RESULTS}.isdisjoint(value):
        raise ConfigurationError(
            f"an argument of a task in a flow cannot be a dict with the key {quoted(RESULT)} or {quoted(RESULTS)}: "
            f"there it stands for the results of other tasks; rename the key"
        )


def replaced(call: Call, replace: Callable[[object], tuple[bool, Any]]) -> Call:
    """Return a call in which parts are replaced, also inside lists, tuples and dicts. `replace` returns whether to
    replace a part, and the replacement."""

    def walk(value: Any) -> Any:
        found, other = replace(value)
        if found:
            return other
        if type(value) is list or type(value) is tuple:
            return type(value)(walk(one) for one in value)
        if type(value) is dict:
            return {key: walk(one) for key, one in value.items()}
        return value

    args, kwargs = call
    return [walk(one) for one in args], {name: walk(one) for name, one in kwargs.items()}


def inputs_of(call: Call) -> Iterator[Input]:
    """Return the inputs among the arguments of a decoded call."""
    found: list[Input] = []

    def note(value: object) -> tuple[bool, Any]:
        if (one := input_of(value)) is not None:
            found.append(one)
        return one is not None, None

    replaced(call, note)
    yield from found


class Results(Sequence[Any]):
    """The results of many tasks of a flow, as the argument of the task that waits for them.

    They are read from the store page by page while one iterates, so that any number fits. In place of the result of a
    task that did not succeed, which only ``on_failure="continue"`` allows, is the error that `AsyncResult.get` raises.
    """

    _to_send_instead = "make a list of it, list(results)"
    """Said by the error for a task that returns its argument."""

    def __init__(self, inputs: Many, read: Callable[[Sequence[str]], Sequence[Any]], page: int = 256) -> None:
        self._inputs = inputs
        self._read = read
        self._page = page

    def __len__(self) -> int:
        return self._inputs.count

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, len(self), self._page):
            yield from self._read(self._ids(range(start, min(start + self._page, len(self)))))

    def __getitem__(self, place: Any) -> Any:
        chosen = range(len(self))[place]
        if isinstance(chosen, range):
            return [one for at in range(0, len(chosen), self._page) for one in self._read_at(chosen, at)]
        return self._read(self._ids([chosen]))[0]

    def __repr__(self) -> str:
        return f"<the results of {counted(len(self), 'task')}>"

    def _read_at(self, chosen: range, at: int) -> Sequence[Any]:
        return self._read(self._ids(chosen[at : at + self._page]))

    def _ids(self, numbers: Sequence[int] | range) -> list[str]:
        return [f"{self._inputs.prefix}.{number}" for number in numbers]


def filled(call: Call, values: Mapping[str, Any], read: Callable[[Sequence[str]], Sequence[Any]]) -> Call:
    """Return a call with results in the places of the inputs. The results of single tasks come from `values`, by id;
    those of many are read with `read` later."""

    def value(part: object) -> tuple[bool, Any]:
        match input_of(part):
            case One(task_id):
                return True, values[task_id]
            case Many() as inputs:
                return True, Results(inputs, read)
        return False, None

    return replaced(call, value)
