"""Running one task: from a delivery to its outcome. It never raises, whatever the task does."""

from __future__ import annotations

import asyncio
import contextvars
import decimal
import logging
import os
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from types import CoroutineType
from typing import Any, NoReturn, TypeAlias, cast

from attrs import define, field

from ..calls import Call
from ..codec import Codec
from ..context import TaskContext, enter
from ..errors import (
    ArgumentError,
    BrokerError,
    DependencyFailedError,
    PayloadTooLargeError,
    SealError,
    SerializationError,
    TaskSuspended,
    TimeLimitExceeded,
)
from ..model.flows import DEPENDENCY_FAILED, doom_text
from ..model.message import Delivery, Failure, Message, Outcome, Progress, Rejected, Suspended, Unreadable, Unsupported
from ..policy import UNKNOWN_TASK, admit
from ..printable import LONGEST_LINE, complain, printable, quoted, text_of
from ..registry import TaskSpec
from .failures import MAX_MESSAGE, failure_of, let_go, outcome_of
from .interrupts import over_time
from .loop_interrupts import AsyncLimit
from .steps import JobSteps, StepKeeper

Leave: TypeAlias = Callable[[BaseException | None], None]
Enter: TypeAlias = Callable[[TaskContext], Leave]


@define
class Execution:
    """One delivery that is ready to run: its task was found and its arguments decoded."""

    task: TaskSpec
    message: Message
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    codec: Codec
    report: Callable[[Progress], None]
    keeper: StepKeeper | None = None
    receipt: str = ""
    worker: str = ""
    waited: Callable[[], float | None] | None = None
    """Returns for how many seconds it had been due when this run started."""
    around: Enter | None = field(default=None, init=False)
    """Enters what plugins have around the function."""
    steps: JobSteps | None = field(default=None, init=False)
    """The steps of this run, once it has used some."""

    def open_steps(self) -> JobSteps:
        """Return the steps of this run."""
        if self.steps is None:
            assert self.keeper is not None
            self.steps = self.keeper.of(self.message, self.receipt)
        return self.steps

    def run(
        self,
        limit: AbstractContextManager[object],
        run_coroutine: Callable[[Coroutine[Any, Any, Any]], Any],
        context: contextvars.Context | None = None,
    ) -> Outcome:
        """Run the task to its end, in a context of its own, with `limit` as its soft time limit. If the function
        returns a coroutine, `run_coroutine` runs it. `context`: the context, if not a copy of the current one."""
        if context is None:
            context = contextvars.copy_context()
        return context.run(self._run, limit, run_coroutine)

    def _run(
        self, limit: AbstractContextManager[object], run_coroutine: Callable[[Coroutine[Any, Any, Any]], Any]
    ) -> Outcome:
        process, leave = os.getpid(), self._enter()
        try:
            with limit:
                value = self.task.function(*self.args, **self.kwargs)
                if isinstance(value, CoroutineType):
                    value = run_coroutine(value)
            if os.getpid() != process:
                end_fork(None)
            if self.steps is not None:
                self.steps.check_left()
            outcome: Outcome = self.codec.dump_result(self.message, value)
        except BaseException as error:  # noqa: BLE001 - whatever a task raises is its outcome
            limit.__exit__(None, None, None)  # again: it may have been interrupted while it was left
            return self._raised(error, process, leave)
        if leave is not None:
            leave(None)
        return outcome

    async def run_on_loop(self, limit: AsyncLimit) -> Outcome:
        """Run the task, and the coroutine it returns, on the running loop, in the context of its `asyncio.Task`."""
        process, leave = os.getpid(), self._enter()
        try:
            with limit:
                value = self.task.function(*self.args, **self.kwargs)
                if isinstance(value, CoroutineType):
                    value = await value
            if os.getpid() != process:
                end_fork(None)
            if self.steps is not None:
                self.steps.check_left()
            outcome: Outcome = self.codec.dump_result(self.message, value)
        except BaseException as error:  # noqa: BLE001 - whatever a task raises is its outcome
            return self._raised(error, process, leave, expired=limit.expired)
        if leave is not None:
            leave(None)
        return outcome

    def _raised(self, error: BaseException, process: int, leave: Leave | None, *, expired: bool = False) -> Outcome:
        """Return the outcome of a run that raised, and `leave` with the error. `expired`: the loop cancelled it because
        its time was up."""
        if os.getpid() != process:
            end_fork(error)
        let_go(error)
        options, kind = self.task.options, type(error)  # `isinstance` may run the user's code
        if expired and issubclass(kind, (asyncio.CancelledError, TimeoutError)):
            error = over_time(options.timeout).with_traceback(error.__traceback__)
        elif kind is TimeLimitExceeded and not error.args and options.timeout is not None:
            error.args = over_time(options.timeout).args  # a thread can only be sent the bare class
        outcome = outcome_of(error, options, __file__)
        if leave is not None:
            leave(error)
        return outcome

    def _enter(self) -> Leave | None:
        """Make the context of the task, and enter what plugins have around it. Returns what leaves that."""
        message, keeper = self.message, self.keeper
        context = TaskContext(
            message.id,
            message.name,
            message.attempt,
            self.codec.queue,
            message.headers,
            self.report,
            served=() if keeper is None else keeper.served,
            open_steps=None if keeper is None else self.open_steps,
            group=self.codec.group,
            worker=self.worker,
            args=self.args,
            kwargs=self.kwargs,
            message=message,
            since=self.waited,
        )
        enter(context)
        decimal.setcontext(decimal.getcontext().copy())  # a copied context shares this object, which tasks change
        return None if self.around is None else self.around(context)


def end_fork(error: BaseException | None) -> NoReturn:
    """End a process that a task has forked and that has returned from the task's function, as Python ends any other.

    It is not a worker: the connections, leases and the table of what is in flight belong to the process that forked it.
    """
    status = 0 if error is None else 1
    with suppress(BaseException):  # the code of an exception may do anything
        if issubclass(type(error), SystemExit):
            code = getattr(error, "code", 1)
            if code is None or isinstance(code, int):
                status = int(code or 0) & 0xFF
            else:
                print(printable(text_of(code), LONGEST_LINE), file=sys.stderr)  # noqa: T201 - as Python does
        elif error is not None:
            complain(error)
    with suppress(BaseException):
        logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(BaseException):
            stream.flush()
    os._exit(status)


def prepare(
    delivery: Delivery,
    task: TaskSpec | None,
    codec: Codec,
    report: Callable[[Progress], None],
    fill: Callable[[Call], Call] | None = None,
    *,
    keeper: StepKeeper | None = None,
    worker: str = "",
    waited: Callable[[], float | None] | None = None,
) -> Execution | Outcome:
    """Decode the arguments of a delivery. Returns its outcome if it cannot run. `task` is None if no task of its name
    is registered here; `fill` puts the results of other tasks into the arguments."""
    message = delivery.message
    if isinstance(message, Unreadable):
        failure = Failure("Unreadable", message.reason)
        return Unsupported(failure) if message.newer else Rejected(failure)
    if message.doomed:
        return Rejected(Failure(DEPENDENCY_FAILED, doom_text(message.doomed)))
    if task is None:
        return Unsupported(Failure(UNKNOWN_TASK, f"no task {quoted(message.name)} is registered here"))
    if (verdict := admit(message, task.options)) is not None:
        return Rejected(Failure("WorkerLost", verdict.reason))
    if message.serializer not in codec.serializers:
        known = ", ".join(codec.serializers)
        return Unsupported(
            Failure("UnknownSerializer", f"written by {quoted(message.serializer)}, this worker reads {known}")
        )
    try:
        args, kwargs = codec.open_call(message)
        task.signature.check(args, kwargs)
        if fill is not None and message.after:
            args, kwargs = fill((args, kwargs))
    except TaskSuspended as error:
        return cast(Suspended, error.outcome)
    except DependencyFailedError as error:
        return Rejected(Failure(DEPENDENCY_FAILED, error.message))
    except BrokerError as error:
        return Unsupported(Failure("BrokerError", f"the results that are its arguments cannot be read: {error}"))
    except ArgumentError as error:  # a worker of another release may have a function that takes them
        return Unsupported(Failure("ArgumentError", str(error)[:MAX_MESSAGE]))
    except SerializationError as error:
        kinds = (SealError, PayloadTooLargeError)
        kind = next((one.__name__ for one in kinds if isinstance(error, one)), "SerializationError")
        return Rejected(Failure(kind, str(error)[:MAX_MESSAGE]))
    except BaseException as error:  # noqa: BLE001 - a serializer's hooks are the user's code
        failure = failure_of(error)
        return Rejected(Failure("SerializationError", f"decoding raised {failure.type}: {failure.message}"))
    return Execution(task, message, args, kwargs, codec, report, keeper, delivery.receipt, worker, waited)
