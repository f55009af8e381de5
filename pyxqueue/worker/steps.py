"""The steps of a running task: loads what earlier runs have stored, stores what this one does, and suspends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Never, TypeVar, cast

from attrs import define, field, frozen

from ..codec import Codec
from ..errors import (
    BrokerError,
    BrokerUnavailableError,
    CancelRequested,
    ConfigurationError,
    EventTimeoutError,
    PayloadTooLargeError,
    PyxqueueError,
    SerializationError,
    TaskSuspended,
    UnknownTaskError,
)
from ..ids import new_id
from ..model.flows import OnFailure, edge_text
from ..model.message import (
    FLOW_VERSION,
    LeaseStatus,
    Message,
    Outcome,
    Raised,
    Record,
    Rejected,
    Suspend,
    Suspended,
    TaskStatus,
    evolve,
)
from ..model.steps import MAX_NAME, MAX_SIZE, MAX_STEPS, Steps
from ..printable import counted, quoted
from ..protocols import Backend, Broker, HasFlows, HasSteps
from ..steps import CallOf, Child, Stored
from .events import log

T = TypeVar("T")
FLUSH_EVERY = 5.0
"""Seconds between two cursors that are stored."""
MANY = 256
"""How many tasks are gathered at once."""
_MANY_BYTES = 1 << 20
"""How large their arguments may be together, if there is more than one."""
LOOK_AGAIN = 5_000
"""After how many ms a task looks again for one of its own that was retried after its end."""
_CURSOR = "cursor"
_NO_STEPS: Mapping[str, bytes] = {}


@frozen(eq=False)
class StepKeeper:
    """Makes the steps of the runs of one queue."""

    broker: Broker
    codec: Codec
    stopping: Callable[[], bool]
    """Returns whether the worker was told to stop."""
    backoff: Callable[[int, float], float]
    """Returns how many seconds to wait for the store, from the number of failures in a row and the longest pause."""
    served: Sequence[str] = ()
    """The queues of the worker; none where tasks may wait for others."""

    def insist(self, call: Callable[[], T], give_back: Callable[[], Never]) -> T:
        """Call the store, and repeat that until it can be reached. If the worker must stop meanwhile, the task is given
        back."""
        failures = 0
        while True:
            try:
                return call()
            except BrokerUnavailableError:
                failures += 1
                if self.stopping():
                    give_back()
                time.sleep(self.backoff(failures, 1.0))

    def of(self, message: Message, receipt: str) -> JobSteps:
        """Return the steps of one run. Raises `ConfigurationError` if the store does not keep any."""
        if not isinstance(self.broker, HasSteps):
            raise ConfigurationError(
                f"{type(self.broker).__name__} does not keep the steps of tasks: use another store for this queue"
            )
        return JobSteps(self, self.broker, message, receipt)


@define(eq=False)
class JobSteps:
    """The steps of one run. Any thread of the task may use it. It implements `pyxqueue.steps.RunSteps`."""

    keeper: StepKeeper
    store: HasSteps
    message: Message
    receipt: str
    _lock: threading.RLock = field(factory=threading.RLock, init=False)
    _loaded: Steps | None = field(default=None, init=False)
    _sizes: dict[str, int] = field(factory=dict, init=False)
    """How many bytes each stored step needs."""
    _used: set[str] = field(factory=set, init=False)
    """The names that this run has used."""
    _known: set[str] = field(factory=set, init=False)
    """The stored steps that this run has used."""
    _unsaved: dict[str, bytes] = field(factory=dict, init=False)
    """The cursor that is not stored yet."""
    _saved_at: float = field(factory=time.monotonic, init=False)

    def begin(self, name: str) -> Stored | None:
        self._enter(name)
        if (stored := self._stored("step", name)) is None:
            self._check_number(f"step:{name}")
        return stored

    def finish(self, name: str, value: object) -> None:
        self._save({f"step:{name}": self._value("step", name, value)})

    def sleep(self, name: str, ms: int) -> None:
        self._enter(name)
        stored = self._stored("sleep", name)
        due = self._now() + ms if stored is None else int(stored.value)
        if stored is None:
            self._suspend(due_ms=due, steps={f"sleep:{name}": self._value("sleep", name, due)})
        elif due > self._look().now_ms and due > self._now():
            self._suspend(due_ms=due)

    def wait_event(self, name: str, ms: int | None) -> Any:
        self._enter(name)
        stored = self._stored("wait", name)
        if stored is not None and not stored.value:
            raise _too_late(name)
        if (found := self._event(name)) is not None:
            return found.value
        if ms is None:
            self._suspend(event=name)
        now = self._now()
        if stored is None:
            self._suspend(event=name, due_ms=now + ms, steps={f"wait:{name}": self._value("wait", name, now + ms)})
        if now < stored.value:
            self._suspend(event=name, due_ms=int(stored.value))
        self._save({f"wait:{name}": self._value("wait", name, 0)})  # from now on an event that comes is too late
        raise _too_late(name)

    def gather(self, name: str, calls: Sequence[CallOf[Any]], *, errors_too: bool) -> list[Any]:
        self._enter(name)
        if (results := self._stored("results", name)) is not None:
            self._known.add(f"gather:{name}")
            return cast("list[Any]", results.value)
        plan = self._stored("gather", name)
        if not calls and plan is None:
            return []
        flow, count, begun = (new_id(), len(calls), 0) if plan is None else plan.value
        if count != len(calls):
            raise ConfigurationError(
                f"gather({quoted(name)}) has {counted(len(calls), 'call')}, and had {count} when the task came here "
                f"first: keep the calls, or give it another name"
            )
        if begun < count:
            self._start(name, flow, count, calls[begun : begun + MANY], begun)
        values = [self._result(end) for end in self._ends([f"{flow}.{number}" for number in range(count)])]
        failed = next((one for one in values if isinstance(one, PyxqueueError)), None)
        if failed is None:
            self._keep_results(name, values)
        elif not errors_too:
            raise failed
        return values

    def cursor(self) -> Stored | None:
        return self._stored(_CURSOR, "")

    def save(self, cursor: object) -> None:
        data = self._value(_CURSOR, "", cursor)
        with self._lock:
            self._unsaved = {f"{_CURSOR}:": data}
        self._stop_if_told()
        if time.monotonic() - self._saved_at >= FLUSH_EVERY:
            self.flush()

    def flush(self) -> None:
        """Store the cursor if it is not stored yet."""
        if self._unsaved:
            self._save({})

    def keep_cursor(self, outcome: Outcome) -> None:
        """The run is over: store the cursor if a later run may need it. It never raises."""
        if self._unsaved and isinstance(outcome, Raised | Rejected):
            try:
                self.store.save_steps(self.receipt, self._unsaved)
            except BrokerError as error:
                log.warning("the cursor of %s cannot be stored: %s", self.message.id, error)

    def check_left(self) -> None:
        """The task has returned: log the steps that it had stored and did not come to."""
        steps = () if self._loaded is None else self._loaded.steps
        if left := sorted(key for key in steps if key not in self._known and not key.startswith(_CURSOR)):
            text = "%s %s has stored steps that it did not come to in this run, so they were ignored: %s"
            names = ", ".join(quoted(key.partition(":")[2]) for key in left)
            log.warning(text, self.message.name, self.message.id, names)

    # What is stored

    def _enter(self, name: str) -> None:
        """Begin a step: check its name, and that the task may go on here."""
        if not isinstance(name, str) or not 1 <= len(name) <= MAX_NAME or not name.isprintable():
            raise ConfigurationError(
                f"{quoted(name)} is not the name of a step: use 1 to {MAX_NAME} printable characters"
            )
        with self._lock:
            if name in self._used:
                raise ConfigurationError(
                    f"the name {quoted(name)} is used twice in this run of {self.message.name}: give each step, wait "
                    f"and gather a name of its own, such as f'{name} {{number}}' in a loop"
                )
            self._used.add(name)
        self._look()
        self._stop_if_told()

    def _look(self) -> Steps:
        """Load what is stored, once in a run."""
        with self._lock:
            if self._loaded is None:
                loaded = self._insist(lambda: self.store.load_steps(self.message.id))
                if not loaded.steps:  # also if another worker has ended the task, and its steps are gone with that
                    self._save({})
                self._loaded = loaded
                self._sizes = {key: len(key) + len(value) for key, value in self._loaded.steps.items()}
            return self._loaded

    def _now(self) -> int:
        """The time of the store's clock now."""
        return self._insist(lambda: self.store.load_steps(self.message.id)).now_ms

    def _stored(self, kind: str, name: str) -> Stored | None:
        key = f"{kind}:{name}"
        if (data := self._look().steps.get(key)) is None:
            return None
        self._known.add(key)
        return Stored(self.keeper.codec.open_step(self.message.id, kind, name, data))

    def _event(self, name: str) -> Stored | None:
        data = self._look().events.get(name)
        return None if data is None else Stored(self.keeper.codec.open_step(self.message.id, "event", name, data))

    def _value(self, kind: str, name: str, value: object) -> bytes:
        """Return the bytes of a step. Raises `PayloadTooLargeError` if they, or all steps together, are too large."""
        data = self.keeper.codec.step_value(self.message.id, kind, name, value)
        key = f"{kind}:{name}"
        with self._lock:
            self._look()
            self._check_number(key)
            sizes = {**self._sizes, key: len(key) + len(data)}
            if sum(sizes.values()) > MAX_SIZE:
                raise PayloadTooLargeError(
                    f"the steps of {self.message.name} need more than {MAX_SIZE:,} bytes with the {kind} "
                    f"{quoted(name)}: let them return references (a path, a key)"
                )
            self._sizes = sizes
        return data

    def _check_number(self, key: str) -> None:
        """Raise `ConfigurationError` if a step would be one too many."""
        if key not in self._sizes and len(self._sizes) >= MAX_STEPS:
            raise ConfigurationError(
                f"{self.message.name} has more than {MAX_STEPS} steps: put several into one, save a cursor in a loop, "
                f"or let tasks of its own do them (gather)"
            )

    def _save(self, steps: Mapping[str, bytes]) -> None:
        """Store steps, and with them the cursor. Raises `CancelRequested` if the task must not go on."""
        with self._lock:
            unsaved, self._unsaved = self._unsaved, {}
            self._known.update(steps)
            self._saved_at = time.monotonic()
        saved = {**unsaved, **steps}
        status = self._insist(lambda: self.store.save_steps(self.receipt, saved), saved)
        if status is LeaseStatus.LOST:
            raise CancelRequested("another worker has taken over the task")
        if status is not LeaseStatus.HELD:
            raise CancelRequested("the task was cancelled")

    def _insist(self, call: Callable[[], T], steps: Mapping[str, bytes] = _NO_STEPS) -> T:
        """Call the store until it can be reached. If the task is given back meanwhile, these steps are stored."""
        return self.keeper.insist(call, lambda: self._suspend(steps=steps))

    def _stop_if_told(self) -> None:
        if self.keeper.stopping():
            self._suspend()

    def _suspend(self, then: Sequence[Message] = (), *, steps: Mapping[str, bytes] | None = None, **wait: Any) -> Never:
        with self._lock:
            verdict = Suspend(steps={**self._unsaved, **(steps or {})}, **wait)
        raise TaskSuspended(Suspended(verdict, then))

    # Tasks of its own

    def _start(self, name: str, flow: str, count: int, calls: Sequence[CallOf[Any]], begun: int) -> Never:
        """Suspend the task until the next of its own tasks have ended."""
        if not isinstance(self.store, HasFlows):
            raise ConfigurationError(f"{type(self.store).__name__} does not keep flows, which gather needs")
        then = [self._child(one, flow, begun + number) for number, one in enumerate(calls)]
        size = 0
        for number, message in enumerate(then):
            size += len(message.body)
            if number and size > _MANY_BYTES:
                del then[number:]
                break
        plan = self._value("gather", name, [flow, count, begun + len(then)])
        self._suspend(then, flow=flow, steps={f"gather:{name}": plan})

    def _child(self, call: CallOf[Any], flow: str, number: int) -> Message:
        make = getattr(call, "child", None)
        child = None if make is None else self._insist(partial(make, f"{flow}.{number}"))
        if not isinstance(child, Child):
            raise ConfigurationError(f"gather takes calls that are not enqueued, task.of(...), not {quoted(call)}")
        if child.queue != self.keeper.codec.queue:
            raise ConfigurationError(
                f"gather takes tasks of the queue {quoted(self.keeper.codec.queue)}, and {child.message.name} is one "
                f"of {quoted(child.queue)}"
            )
        edge = edge_text(OnFailure.CONTINUE, self.message.id)
        return evolve(child.message, flow=flow, successors=(edge,), v=FLOW_VERSION)

    def _ends(self, ids: Sequence[str]) -> Iterator[Record | UnknownTaskError]:
        """Return the records of its tasks, with an error for one that is gone. If one of them has been retried and runs
        again, the task waits."""
        backend = cast("Backend", self.store)
        for start in range(0, len(ids), MANY):
            page = ids[start : start + MANY]
            records = self._insist(partial(records_of, backend, page))
            if records is None:
                self._suspend(due_ms=self._now() + LOOK_AGAIN)
            yield from (records[task_id] or _gone(task_id) for task_id in page)

    def _result(self, end: Record | UnknownTaskError) -> Any:
        if isinstance(end, UnknownTaskError):
            return end
        codec = self.keeper.codec
        return codec.open_result(end) if end.status is TaskStatus.SUCCESS else codec.end_error(end)

    def _keep_results(self, name: str, values: list[Any]) -> None:
        """Store the results, so that they outlive the records; not if they are too large, or of another serializer."""
        try:
            data = self._value("results", name, values)
        except (SerializationError, ConfigurationError):
            return
        self._save({f"results:{name}": data})


def records_of(store: Backend, ids: Sequence[str]) -> dict[str, Record | None] | None:
    """Return the records of tasks that have ended by their ids, None for one that is gone. Returns None if one of the
    tasks was retried, and has not ended again."""
    records = dict(zip(ids, store.wait(ids, 0), strict=True))
    missing = [task_id for task_id in ids if records[task_id] is None]
    infos = store.show(missing) if missing else ()
    if any(info is not None and not info.status.ended for info in infos):
        return None
    if ended := [info.id for info in infos if info is not None]:  # perhaps since the first look
        records |= zip(ended, store.wait(ended, 0), strict=True)
    return records


def _gone(task_id: str) -> UnknownTaskError:
    text = f"the result of task {task_id}, which it gathers, is gone: it has expired or was deleted"
    return UnknownTaskError(text)


def _too_late(name: str) -> EventTimeoutError:
    return EventTimeoutError(f"the event {quoted(name)} has not come in time")
