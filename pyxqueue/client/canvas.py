"""Chain, group and chord: shorthands for flows of these forms."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Never, TypeAlias

from ..errors import ConfigurationError
from ..printable import counted, quoted
from .flows import Flow, FlowResult
from .habits import CANVAS_HABITS, no_attribute
from .result import AsyncResult
from .task import TaskCall, producer_of

Step: TypeAlias = "TaskCall[Any] | Canvas"


class Canvas:
    """A flow that is not enqueued yet. Calling it enqueues it and returns its handle. It may be called several times,
    and it can be a step of another canvas."""

    def __call__(self) -> FlowResult:
        flow = Flow(producer_of(first_call(self).task))
        self.build(flow, [])
        flow.lists = is_many(self)
        return flow.enqueue()

    enqueue = __call__

    async def aenqueue(self) -> FlowResult:
        """`enqueue` for asyncio. It does not block the event loop."""
        return await asyncio.to_thread(self.__call__)

    def build(self, flow: Flow, first: Sequence[Any]) -> list[AsyncResult[Any]]:
        """Add the calls to a flow, with these arguments before their own, and return the handles of the last ones."""
        raise NotImplementedError

    @property
    def steps(self) -> Sequence[Step]:
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {counted(len(self.steps), 'step')}>"

    if not TYPE_CHECKING:  # a type checker must not think that there are more attributes

        def __getattr__(self, name: str) -> Never:
            raise no_attribute(self, name, CANVAS_HABITS, type(self).__name__)


class chain(Canvas):  # noqa: N801 - the name that users know
    """Calls one after the other. Each gets the result of the one before as its first argument; after a group, it gets a
    list of the results."""

    def __init__(self, *steps: Step) -> None:
        self._steps = checked("chain", steps)

    @property
    def steps(self) -> Sequence[Step]:
        return self._steps

    def build(self, flow: Flow, first: Sequence[Any]) -> list[AsyncResult[Any]]:
        last: list[AsyncResult[Any]] = []
        for number, step in enumerate(self._steps):
            following = self._steps[number + 1] if number + 1 < len(self._steps) else None
            before = first if not number else [last if is_many(self._steps[number - 1]) else last[0]]
            if not number and not first and isinstance(step, group) and isinstance(following, TaskCall):
                return chain(chord(step, following), *self._steps[2:]).build(flow, first)
            last = build(step, flow, before)
        return last


class group(Canvas):  # noqa: N801 - as above
    """Calls that do not wait for each other. The result is a list of their results."""

    def __init__(self, *steps: Step | Iterable[Step]) -> None:
        alone = steps[0] if len(steps) == 1 else None
        self._steps = checked("group", alone if isinstance(alone, Iterable) else steps)

    @property
    def steps(self) -> Sequence[Step]:
        return self._steps

    def build(self, flow: Flow, first: Sequence[Any]) -> list[AsyncResult[Any]]:
        return [handle for step in self._steps for handle in build(step, flow, first)]

    def __call__(self) -> FlowResult:
        calls = [step for step in self._steps if isinstance(step, TaskCall)]
        if len(calls) < len(self._steps) or any(one.task.call_options.task_id for one in calls):
            return super().__call__()
        flow = Flow(producer_of(first_call(self).task))
        flow.group(calls)
        return flow.enqueue()

    enqueue = __call__


class chord(Canvas):  # noqa: N801 - as above
    """A group, which may be empty, and a call that gets the results of all its tasks as its first argument."""

    def __init__(self, header: group | Iterable[Step], body: TaskCall[Any]) -> None:
        calls = list(header) if isinstance(header, Iterable) else [header]
        self._header = header.steps if isinstance(header, group) else checked("chord", calls) if calls else []
        (self._body,) = checked("chord", [body])
        if not isinstance(body, TaskCall):
            raise ConfigurationError("the second argument of chord() is one call, task.of(...)")

    @property
    def steps(self) -> Sequence[Step]:
        return [*self._header, self._body]

    def build(self, flow: Flow, first: Sequence[Any]) -> list[AsyncResult[Any]]:
        calls = [step for step in self._header if isinstance(step, TaskCall)]
        assert isinstance(self._body, TaskCall)
        if not first and len(calls) == len(self._header):
            return [flow.chord(calls, self._body)]
        handles = [handle for step in self._header for handle in build(step, flow, first)]
        before = [] if handles else [one for given in first for one in (given if isinstance(given, list) else [given])]
        return [flow.add(self._body.after_first([handles]), after=before)]


def build(step: Step, flow: Flow, first: Sequence[Any]) -> list[AsyncResult[Any]]:
    """Add a step to a flow, and return the handles of its last tasks."""
    return [flow.add(step.after_first(first))] if isinstance(step, TaskCall) else step.build(flow, first)


def is_many(step: Step) -> bool:
    """Return whether the result of a step is a list: that of a group, also of one task, or of a chain that ends with
    a group."""
    while isinstance(step, chain):
        step = step.steps[-1]
    return isinstance(step, group)


def checked(name: str, steps: Iterable[object]) -> list[Step]:
    """Return the steps. Raises `ConfigurationError` if there are none, or something else is among them."""
    listed = list(steps)
    for one in listed:
        if not isinstance(one, TaskCall | Canvas):
            raise ConfigurationError(f"{name}() takes calls that are not enqueued, task.of(...), not {quoted(one)}")
    if not listed:
        raise ConfigurationError(f"{name}() needs at least one call, task.of(...)")
    return listed  # type: ignore[return-value] # all of them were looked at


def first_call(step: Step) -> TaskCall[Any]:
    """Return the first call of a canvas: its queue is that of all."""
    while isinstance(step, Canvas):
        step = step.steps[0]
    return step
