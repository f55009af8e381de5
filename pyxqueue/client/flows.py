"""Flows: tasks that wait for others, built in one block and enqueued together.

`Flow` is the block, `FlowResult` the handle of what it has enqueued. `pyxqueue.client.canvas` has chain, group and
chord, which are short for flows of these forms.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Never, Self, TypeAlias, TypeVar, cast

from attrs import frozen

from ..calls import Call
from ..clock import Seconds
from ..errors import ConfigurationError, DependencyFailedError
from ..ids import new_id
from ..inputs import Many, One, check_plain, replaced
from ..model.flows import MAX_AFTER, MAX_SUCCESSORS, OnFailure, edge_text, edges_of, group_prefix, is_unfinished
from ..model.message import FLOW_VERSION, ID_PATTERN, Message, Progress, TaskInfo, evolve, valid_id
from ..names import home_or_error, load
from ..printable import counted, quoted
from ..protocols import Backend, HasFlows, durable
from .flow_view import retry_failed
from .gathering import agather, as_completed, gather
from .habits import FLOW_HABITS, no_attribute
from .producing import Producer
from .result import AsyncResult
from .task import Task, TaskCall, producer_of, spec_of

R = TypeVar("R")
Policy: TypeAlias = Literal["fail", "continue", "wait"]
Part: TypeAlias = One | Many
"""One task of a flow, or many whose ids follow each other."""
_BATCH = 256
_MAX_ID = 62
"""How many characters the id of a flow may have: the ids of its tasks begin with it, and have up to 64."""


@frozen(eq=False)
class _Node:
    """A task of a flow that is not enqueued yet."""

    task: Task[..., Any]
    call: Call
    edges: Mapping[str, OnFailure]
    """What a failure of each predecessor means, by the id of a task, or by the text that stands for many."""


def policy_of(given: str) -> OnFailure:
    """Return what the option `on_failure` says. Raises `ConfigurationError`."""
    try:
        return OnFailure[given.upper()]
    except (KeyError, AttributeError):
        known = ", ".join(quoted(one.name.lower()) for one in OnFailure)
        raise ConfigurationError(f"on_failure={quoted(given)} must be one of {known}") from None


def _valid_flow_id(flow_id: str) -> str:
    """Return the id. Raises `ConfigurationError` if a flow cannot have it."""
    if not isinstance(flow_id, str) or not ID_PATTERN.fullmatch(flow_id) or len(flow_id) > _MAX_ID:
        raise ConfigurationError(
            f"flow id {quoted(flow_id)} is not valid: use 1 to {_MAX_ID} characters of A-Z a-z 0-9 _ . -, as the ids "
            f"of its tasks begin with it"
        )
    return flow_id


def _short_enough(task_id: str) -> str:
    """Return the id that a task gets. Raises `ConfigurationError` if it is too long."""
    if not ID_PATTERN.fullmatch(task_id):
        raise ConfigurationError(
            f"task id {quoted(task_id)} has {len(task_id)} characters, the limit is 64: give the flow a shorter id, or "
            f"the last task of the chord"
        )
    return task_id


def _several(after: Iterable[AsyncResult[Any] | str]) -> Iterable[AsyncResult[Any] | str]:
    """Return what the option `after` names. Raises `ConfigurationError` for a single task."""
    if isinstance(after, AsyncResult | str):
        raise ConfigurationError("after= takes several tasks, not one: give a list, after=[handle]")
    return after


class Flow:
    """A flow that is being built: ``with queue.flow() as flow:``. The end of the block enqueues it; nothing is enqueued
    before, and nothing at all if the block raises.

    `add` returns the handle of a task. As an argument of a later task it stands for the result, and makes that task
    wait for it. All tasks must be of the queue of the flow.
    """

    def __init__(self, producer: Producer, flow_id: str | None = None) -> None:
        self.id = new_id() if flow_id is None else _valid_flow_id(flow_id)
        self._producer = producer
        self._nodes: dict[str, _Node] = {}
        self._groups: dict[str, Sequence[TaskCall[Any]]] = {}
        """Tasks whose ids follow each other, by what their ids begin with, which is the id of the task that waits for
        them, if one does."""
        self._result: FlowResult | None = None
        self.lists = False
        """Whether the result is a list even if no other task waits for one of them only."""

    def add(
        self,
        task: Task[..., R] | TaskCall[R],
        *args: Any,
        after: Iterable[AsyncResult[Any] | str] | Mapping[AsyncResult[Any] | str, Policy] = (),
        on_failure: Policy = "fail",
        **kwargs: Any,
    ) -> AsyncResult[R]:
        """Add a call of a task, and return its handle, which works once the flow is enqueued.

        The task starts when all tasks have ended whose handles are among its arguments or in `after`. `after` may also
        name tasks of this flow by an id of your own.

        `on_failure` says what happens if one of them does not succeed: ``"fail"``, this task fails without being run;
        ``"continue"``, it runs, and gets the error as the argument; ``"wait"``, it waits until the failed task was
        retried. As a mapping, `after` has this for each.

        Raises `ConfigurationError` for a handle that is not of this flow or an id that was added before,
        `ArgumentError` for arguments that the function does not take.
        """
        planned = self._planned(task, args, kwargs)
        policy = policy_of(on_failure)
        edges: dict[str, OnFailure] = {}
        call = replaced((planned.args, planned.kwargs), lambda value: self._input(value, edges, policy))
        for before in _several(after):
            given = policy_of(after[before]) if isinstance(after, Mapping) else policy
            edges[self._known(before) if isinstance(before, AsyncResult) else valid_id(before)] = given
        return self._add(self._id_of(planned), planned, call, edges)

    def chord(
        self,
        calls: Iterable[TaskCall[Any]],
        body: Task[..., R] | TaskCall[R],
        *,
        on_failure: Policy = "fail",
    ) -> AsyncResult[R]:
        """Add any number of calls, and a call of `body` that starts when they have ended. The first argument of `body`
        is their results, in the order of the calls. They are read from the store while `body` iterates over them.

        `on_failure` is that of `add`.
        """
        planned, policy = self._planned(body, (), {}), policy_of(on_failure)
        children = [self._planned(one, (), {}) for one in calls]
        if all(self._is_alone(one) for one in children):
            task_id = self._id_of(planned)
            many = self._group(task_id, children)
            edges = {many.text: policy} if children else {}
            first: Any = many if children else []
        else:
            handles = [self.add(one) for one in children]
            task_id, edges, first = self._id_of(planned), {one.task_id: policy for one in handles}, handles
        call = replaced(
            (planned.after_first([first]).args, planned.kwargs), lambda value: self._input(value, edges, policy)
        )
        return self._add(task_id, planned, call, edges)

    def group(self, calls: Iterable[TaskCall[Any]]) -> None:
        """Add any number of calls that nothing waits for, and that wait for nothing."""
        number = sum(prefix not in self._nodes for prefix in self._groups)
        self._group(group_prefix(self.id, number), [self._planned(one, (), {}) for one in calls])

    def result(self) -> FlowResult:
        """Return the handle of the whole flow. Raises `ConfigurationError` before the end of the block."""
        if self._result is None:
            raise ConfigurationError("the flow is not enqueued yet: that happens at the end of its block")
        return self._result

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if kind is None:
            self.enqueue()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            await self.aenqueue()

    async def aenqueue(self) -> FlowResult:
        """`enqueue` for asyncio, as the end of an ``async with`` block does. It does not block the event loop."""
        return await asyncio.to_thread(self.enqueue)

    def enqueue(self) -> FlowResult:
        """Enqueue the flow, as the end of the block does, and return its handle.

        Raises `ConfigurationError` if a task waits for one that was not added, for itself, or for one that waits for
        it, if the store does not keep flows, or if the flow has more tasks than the queue's `max_length`;
        `QueueFullError` if the queue has no room for all its tasks, of which none is stored then. After a
        `BrokerError`, call it again: it stores what is missing.
        """
        if self._result is not None:
            raise ConfigurationError("the flow is enqueued already: build another one")
        plan = Plan(self._nodes, self._groups)
        lists = self.lists or [type(end) for end in plan.ends] != [One]
        messages = list(self._messages(plan))  # all of them first: one that cannot be made stops the others
        result = FlowResult(self._producer, self.id, plan.order, plan.ends, lists=lists)
        enqueue(self._producer, self.id, messages, self._durability())
        self._result = result
        return result

    def _durability(self) -> str | None:
        """Return the durability of the flow, which is enqueued as a whole: that of its calls, which must agree."""
        tasks = [node.task for node in self._nodes.values()]
        tasks += [one.task for group in self._groups.values() for one in group]
        words = {task.call_options.durability for task in tasks} - {None}
        if len(words) > 1:
            raise ConfigurationError(
                f"calls of a flow have durability= {' and '.join(sorted(map(str, words)))}: a flow is enqueued as a "
                f"whole, give one of them"
            )
        return words.pop() if words else None

    def _messages(self, plan: Plan) -> Iterator[Message]:
        """Return the messages of the flow, each before those that it waits for."""
        for part in plan.order:
            if isinstance(part, One):
                node = self._nodes[part.id]
                yield self._message(node.task, node.call, part.id, plan.after(part.id), plan.edges[part.id])
            else:
                for number, one in enumerate(self._groups[part.prefix]):
                    call = one.args, one.kwargs
                    yield self._message(one.task, call, f"{part.prefix}.{number}", (), plan.edges[part.text])

    def _message(
        self, task: Task[..., Any], call: Call, task_id: str, after: Sequence[str], edges: Sequence[str]
    ) -> Message:
        body = replaced(call, lambda value: (isinstance(value, One | Many), getattr(value, "body", None)))
        message = self._producer.message(spec_of(task), body, task.call_options, task_id)
        return evolve(message, flow=self.id, after=tuple(after), successors=tuple(edges), v=FLOW_VERSION)

    def _add(self, task_id: str, planned: TaskCall[R], call: Call, edges: Mapping[str, OnFailure]) -> AsyncResult[R]:
        if len(edges) > MAX_AFTER:
            raise ConfigurationError(
                f"{planned.task.name} waits for {counted(len(edges), 'task')}, the limit is {MAX_AFTER}: "
                "only a chord of plain calls, task.of(...), may have more; or add up parts of them in tasks between"
            )
        check_node(planned.task, call)
        self._nodes[task_id] = _Node(planned.task, call, edges)
        return cast("AsyncResult[R]", self._producer.handle(task_id, planned.task.name))

    def _planned(
        self, task: Task[..., R] | TaskCall[R], args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> TaskCall[R]:
        """Return a call of a task, or the given one. Raises `ConfigurationError` for one that cannot be in this
        flow."""
        if self._result is not None:
            raise ConfigurationError("the flow is enqueued already: add tasks inside its block, or build another flow")
        if isinstance(task, TaskCall):
            if args or kwargs:
                raise ConfigurationError("a call that task.of() has made has its arguments: give it no others")
            planned = task
        elif isinstance(task, Task):
            planned = TaskCall(task, args, kwargs)
        else:
            raise ConfigurationError(f"{quoted(task)} is not a task: give a task, or a call of one, task.of(...)")
        if producer_of(planned.task) is not self._producer:
            raise ConfigurationError(f"{planned.task.name} is a task of another queue: a flow is of one queue")
        return planned

    def _group(self, prefix: str, children: Sequence[TaskCall[Any]]) -> Many:
        for one in children:
            check_node(one.task, (one.args, one.kwargs))
        _short_enough(f"{prefix}.{len(children)}")
        if children:
            self._groups[prefix] = children
        return Many(prefix, len(children))

    def _id_of(self, planned: TaskCall[Any]) -> str:
        given = planned.task.call_options.task_id
        if given is not None and given in self._nodes:
            raise ConfigurationError(f"two tasks of the flow have the id {quoted(given)}: give each another")
        return given or _short_enough(f"{self.id}.{len(self._nodes)}")

    def _is_alone(self, one: TaskCall[Any]) -> bool:
        """Return whether a call waits for no other, and has no id of its own."""
        edges: dict[str, OnFailure] = {}
        replaced((one.args, one.kwargs), lambda value: self._input(value, edges, OnFailure.FAIL))
        return not edges and one.task.call_options.task_id is None

    def _input(self, value: object, edges: dict[str, OnFailure], policy: OnFailure) -> tuple[bool, Any]:
        """Return what takes the place of an argument that stands for the result of another task."""
        if isinstance(value, AsyncResult):
            edges[self._known(value)] = policy
            return True, One(value.task_id)
        if isinstance(value, One | Many):
            return True, value
        check_plain(value)
        return False, None

    def _known(self, handle: AsyncResult[Any]) -> str:
        if handle.task_id not in self._nodes:
            raise ConfigurationError(
                f"task {quoted(handle.task_id)} is not part of this flow: give a handle that flow.add has returned, or "
                f"the result itself, handle.get()"
            )
        return handle.task_id


class Plan:
    """The order of a flow, and the edges of each of its parts."""

    def __init__(self, nodes: Mapping[str, _Node], groups: Mapping[str, Sequence[TaskCall[Any]]]) -> None:
        self._nodes = nodes
        for task_id in nodes:
            prefix, _, number = task_id.rpartition(".")
            if number in map(str, range(len(groups.get(prefix, ())))):
                raise ConfigurationError(
                    f"two tasks of the flow have the id {quoted(task_id)}, one of them in the chord of task "
                    f"{quoted(prefix)}: give the other another id"
                )
        parts: dict[str, Part] = {task_id: One(task_id) for task_id in nodes}
        parts |= {many.text: many for many in (Many(prefix, len(calls)) for prefix, calls in groups.items())}
        self.edges: dict[str, list[str]] = {part: [] for part in parts}
        """The edges that leave each part, as `Message.successors` has them."""
        for task_id, node in nodes.items():
            for before, policy in node.edges.items():
                if before not in parts:
                    raise ConfigurationError(
                        f"{node.task.name} waits for task {quoted(before)}, which is not part of the flow: add it"
                    )
                self.edges[before].append(edge_text(policy, task_id))
        for name, edges in self.edges.items():
            if len(edges) > MAX_SUCCESSORS:
                raise ConfigurationError(
                    f"too many tasks ({len(edges)}) wait for task {quoted(name)}, the limit is {MAX_SUCCESSORS}: let "
                    f"some of them wait for a task between"
                )
        self.order: Sequence[Part] = [parts[name] for name in self._sorted()]
        """The parts, each before those that it waits for."""
        self.ends: Sequence[Part] = [part for name, part in parts.items() if not self.edges[name]]
        """The parts that nothing waits for, in the order in which they were added."""

    def after(self, task_id: str) -> Sequence[str]:
        return list(self._nodes[task_id].edges)

    def _sorted(self) -> list[str]:
        waiting = {name: len(edges) for name, edges in self.edges.items()}
        ready = [name for name, count in waiting.items() if not count]
        for name in ready:  # it grows meanwhile
            for before in self._nodes[name].edges if name in self._nodes else ():
                waiting[before] -= 1
                if not waiting[before]:
                    ready.append(before)
        if len(ready) < len(waiting):
            circle = sorted({*waiting} - {*ready})
            raise ConfigurationError(f"tasks of the flow wait for each other in a circle: {', '.join(circle)}")
        return ready


def check_node(task: Task[..., Any], call: Call) -> None:
    """Raise `ArgumentError` or `ConfigurationError` if a call cannot be part of a flow."""
    spec = spec_of(task)
    spec.signature.check(*call)
    if task.call_options.guard or task.options.guard:
        raise ConfigurationError(
            f"{task.name} is unique, debounced or throttled, so its call may stand for another task: it cannot be part "
            f"of a flow; call it in a task of the flow instead"
        )
    _check_known(task, call)


def _check_known(task: Task[..., Any], call: Call) -> None:
    """Raise `ConfigurationError` if the gates or the tenant of a call depend on the result of another task."""
    spec, fairness = spec_of(task), producer_of(task).fairness
    ways = [limit.by for limit in spec.options.limits if limit.by is not None]
    if not ways and fairness is None:
        return
    arguments = spec.signature.arguments(*call)
    if fairness is not None and _is_known_later(arguments.get(fairness.parameter, call[1].get(fairness.parameter))):
        raise ConfigurationError(
            f"the queue is fair by {fairness.parameter}, which is the result of another task in a call of {task.name}: "
            f"give the value itself"
        )
    named = {name for by in ways for name in (by if isinstance(by, tuple) else arguments)}  # a function gets all
    if unknown := sorted(name for name in named if _is_known_later(arguments[name])):
        raise ConfigurationError(
            f"the limit of {task.name} is by {', '.join(unknown)}, which is the result of another task here: give "
            f"the value itself"
        )


def _is_known_later(value: object) -> bool:
    """Return whether an argument is the result of another task, or has one inside."""
    found: list[object] = []

    def note(part: object) -> tuple[bool, Any]:
        if isinstance(part, One | Many):
            found.append(part)
        return False, None

    replaced(([value], {}), note)
    return bool(found)


def enqueue(producer: Producer, flow: str, messages: Sequence[Message], durability: str | None = None) -> None:
    """Enqueue the messages of a flow, the first before the others.

    Raises `QueueFullError` if the queue has no room for all of them; `ConfigurationError` if an id that the application
    has given, or that begins with one, is another task's, or if a task waits for one that was stored before it.
    """
    backend = producer.stores().backend
    place = backend if durability is None else durable(backend, durability)
    if not isinstance(backend, HasFlows):
        raise ConfigurationError(f"{type(backend).__name__} does not keep flows: use another store for this queue")
    count, known, new = 0, list[Message](), set[str]()
    try:
        while count < len(messages):
            if count or producer.bound is None:
                accepted = place.enqueue(messages[count : count + _BATCH])
            else:
                accepted = producer.bound.accept_first(place, messages)
            batch = messages[count : count + len(accepted)]
            known += [one for one, is_new in zip(batch, accepted, strict=True) if not is_new]
            new.update(one.id for one, is_new in zip(batch, accepted, strict=True) if is_new)
            count += len(batch)
    except BaseException as error:
        if count:
            stored = f"of the flow {flow}, {counted(count, 'task')} had been stored"
            error.add_note(
                f"{stored}; those that wait for the others will fail unless enqueue() of this flow stores the rest"
            )
        raise
    refused = [one.id for one in known if not one.id.startswith(f"{flow}.")]
    for task_id, info in zip(refused, backend.show(refused), strict=True):
        if info is None or info.readable is None or info.readable.flow != flow:  # else a reply was lost before
            raise ConfigurationError(
                f"the id {quoted(task_id)} belongs to another task already, so what waits for it in the flow {flow} "
                f"will fail: give it another id, or delete the other task in each group"
            )
    _check_order(
        backend, [(one.id, edge.successor) for one in known for edge in edges_of(one) if edge.successor in new]
    )


def _check_order(backend: Backend, pairs: Sequence[tuple[str, str]]) -> None:
    """Raise `ConfigurationError` if the first of a pair was stored before the second, which waits for it. It was stored
    after it if only the reply was lost."""
    for task_id, successor in pairs:
        found = [info.readable for info in backend.show([task_id, successor]) if info is not None and info.readable]
        if len(found) == 2 and found[0].enqueued_ms < found[1].enqueued_ms:
            raise ConfigurationError(
                f"task {quoted(task_id)} was stored before, and {quoted(successor)}, which waits for it, was not, or "
                f"is not known any more, so that it will fail: give the flow another id"
            )


class FlowResult:
    """The handle of a flow. Any thread may use it, and it can be pickled if the queue is in a module."""

    def __init__(
        self, producer: Producer, flow_id: str, parts: Sequence[Part], ends: Sequence[Part], *, lists: bool
    ) -> None:
        self.id = flow_id
        self._producer = producer
        self._parts = tuple(parts)
        self._ends = tuple(ends)
        self._lists = lists

    def __len__(self) -> int:
        """The number of tasks."""
        return sum(part.count if isinstance(part, Many) else 1 for part in self._parts)

    def __iter__(self) -> Iterator[AsyncResult[Any]]:
        """The handles of all tasks, the last ones first."""
        return map(self._producer.handle, _ids(self._parts))

    def get(self, timeout: Seconds | None = None) -> Any:
        """Wait for the end of the flow, and return the result of its last task: of the one that no other waits for. If
        there are several such tasks, return a list of their results.

        Raises what `AsyncResult.get` raises; a `DependencyFailedError` has the error of the task that failed first as
        its ``__cause__``.
        """
        try:
            return self._values(gather(self._last(), timeout=timeout))
        except DependencyFailedError as error:
            raise error from self._first_cause(error)

    async def aget(self, timeout: Seconds | None = None) -> Any:
        """`get` for asyncio."""
        try:
            return self._values(await agather(self._last(), timeout=timeout))
        except DependencyFailedError as error:
            raise error from await asyncio.to_thread(self._first_cause, error)

    def __await__(self) -> Any:
        return self.aget().__await__()

    def watch(self, timeout: Seconds | None = None) -> Iterator[Progress]:
        """Iterate over the progress of the flow until all tasks have ended: how many of them have ended, and how many
        there are."""
        total = len(self)
        yield Progress(0, total)
        for done, _ in enumerate(as_completed(list(self), timeout=timeout), 1):
            yield Progress(done, total)

    @property
    def done(self) -> bool:
        """True if all tasks have ended. It takes a round trip for each 256 of them."""
        return all(info is None or info.status.ended for info in self.infos())

    def infos(self) -> Iterator[TaskInfo | None]:
        """What the store has of each task, the last ones first; None for one that it does not know."""
        for ids in self._pages():
            yield from self._producer.stores().backend.show(ids)

    def cancel(self, force: bool = False) -> int:
        """Cancel all tasks, as `AsyncResult.cancel` does, and return for how many it was not too late."""
        backend = self._producer.stores().backend
        return sum(sum(backend.cancel(ids, force)) for ids in self._pages())

    def retry(self) -> int:
        """Retry the tasks that have failed, and return their number. The flow goes on as if they had not failed yet:
        those that failed without being run wait again, and so do those that wait already."""
        return retry_failed(self._producer.stores().backend, lambda: _ids(reversed(self._parts)))

    def __repr__(self) -> str:
        return f"<FlowResult {self.id}, {counted(len(self), 'task')}>"

    if not TYPE_CHECKING:  # a type checker must not think that there are more attributes

        def __getattr__(self, name: str) -> Never:
            raise no_attribute(self, name, FLOW_HABITS)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the name of the queue and the ids. The process that loads them imports the module of the queue."""
        home = home_or_error(self._producer.queue, "__main__")
        return _found, (*home, self.id, self._parts, self._ends, self._lists)

    def _last(self) -> list[AsyncResult[Any]]:
        return [self._producer.handle(task_id) for task_id in _ids(self._ends)]

    def _values(self, values: list[Any]) -> Any:
        return values if self._lists else values[0]

    def _pages(self) -> Iterator[list[str]]:
        ids = _ids(self._parts)
        while page := list(islice(ids, _BATCH)):
            yield page

    def _first_cause(self, error: DependencyFailedError) -> Exception | None:
        """Return the error of the task that failed first, which made others fail one after the other."""
        backend, found = self._producer.stores().backend, None
        for _ in range(len(self)):
            info = backend.show([error.task_id])[0]
            cause = info.readable.doomed if info is not None and info.readable is not None else ""
            if not cause or is_unfinished(cause):
                break
            (record,) = backend.wait([cause], 0)
            if record is None:
                break
            found = self._producer.codec.end_error(record)
            if not isinstance(found, DependencyFailedError):
                break
            error = found
        return found


def _ids(parts: Iterable[Part]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, One):
            yield part.id
        else:
            yield from (f"{part.prefix}.{number}" for number in range(part.count))


def _found(  # noqa: PLR0917 - what a pickle has
    module: str, queue: str, flow_id: str, parts: Sequence[Part], ends: Sequence[Part], lists: bool
) -> FlowResult:
    """Return the handle that was pickled with these values."""
    producer: Producer = load(module, queue)._producer  # noqa: SLF001 - the queue's own, as the handle had it
    return FlowResult(producer, flow_id, parts, ends, lists=lists)
