"""Turns what a task raised into an outcome. It never raises, whatever the code of an exception does."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from ..clock import milliseconds
from ..context import is_number, without_surrogates
from ..errors import CancelRequested, Reject, RetryLater, SerializationError, TaskSuspended, TimeLimitExceeded
from ..model.message import Aborted, Failure, Outcome, Raised, Rejected, Suspended
from ..options import TaskOptions
from ..printable import class_of, traceback_of

MAX_MESSAGE = 2_048
_PACKAGE = str(Path(__file__).parents[1]) + os.sep
_TRACEBACK, _CAUSE, _CONTEXT = (
    vars(BaseException)[name].__get__ for name in ("__traceback__", "__cause__", "__context__")
)
"""Read the attributes of an exception without the code of its class."""


def outcome_of(error: BaseException, options: TaskOptions, ours: str = "") -> Outcome:
    """Return the outcome of a run that raised `error`. In a group, the first `Reject`, `RetryLater`,
    `CancelRequested` or `TaskSuspended` decides. The traceback begins below the frames of the file `ours`."""
    try:
        return _outcome(error, options, ours)
    except BaseException as broken:  # noqa: BLE001 - the code of a user's exception class ran, and may do anything
        text = f"<cannot be shown: {class_of(broken)} in its own code>"
        kind = type.__getattribute__(type(error), "__qualname__")  # not the code of its metaclass
        return Raised(Failure(kind[:MAX_MESSAGE], text), exception=error)


def _outcome(error: BaseException, options: TaskOptions, ours: str) -> Outcome:
    failure = failure_of(error, ours)
    signals = Reject | CancelRequested | RetryLater | TaskSuspended
    signal = next((leaf for leaf in _leaves(error) if isinstance(leaf, signals)), None)
    match signal:
        case TaskSuspended(outcome=Suspended() as outcome):
            return outcome
        case Reject():
            return Rejected(Failure("Rejected", _text(signal)))
        case CancelRequested():
            return Aborted()
        case RetryLater(delay=delay) if delay is None or is_number(delay):
            return Raised(
                failure_of(signal, ours), delay_ms=None if delay is None else milliseconds(delay), exception=error
            )
        case RetryLater(delay=delay):
            text = f"its delay must be a finite number of seconds, but it is a {class_of(delay)}"
            broken = Failure("RetryLater", text, failure.traceback)
            return Raised(broken, retryable=False, exception=error)
    if isinstance(error, SerializationError):
        return Raised(failure, retryable=False, exception=error)  # the next run would return the same
    retryable = _matches(error, options.retry_on) and not _matches(error, options.give_up_on)
    return Raised(failure, retryable=retryable, exception=error)


def _matches(error: BaseException, types: tuple[type[BaseException], ...]) -> bool:
    """Return whether an error is of one of the types. A group is if all its errors are, or by its own type.

    `TimeLimitExceeded` counts as an `Exception`, although it is not one.
    """
    if isinstance(error, BaseExceptionGroup):
        groups = tuple(kind for kind in types if issubclass(kind, BaseExceptionGroup))
        return isinstance(error, groups) or all(_matches(part, types) for part in error.exceptions)
    return isinstance(error, types) or (isinstance(error, TimeLimitExceeded) and Exception in types)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """Return the errors in a group and in its subgroups; of an error that is not a group, the error itself."""
    if isinstance(error, BaseExceptionGroup):
        for part in error.exceptions:
            yield from _leaves(part)
    else:
        yield error


def let_go(error: BaseException) -> None:
    """Clear the variables of pyxqueue's own frames in the tracebacks of an error. An interrupt may have come just
    before or behind a transaction of a store: the frame then still has it, with a lock that the settlement needs."""
    seen, left = set[int](), [error]
    while left:
        one = left.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        for frame, _ in traceback.walk_tb(_TRACEBACK(one)):
            if frame.f_code.co_filename.startswith(_PACKAGE):
                with suppress(RuntimeError):  # it is still running
                    frame.clear()
        left += [other for other in (_CAUSE(one), _CONTEXT(one)) if other is not None]


def failure_of(error: BaseException, ours: str = "") -> Failure:
    """Return an exception as data, with a text of limited length. The text of a group names its errors."""
    text = _text(error)
    if isinstance(error, BaseExceptionGroup):
        text = f"{text}: {'; '.join(_line(leaf) for leaf in _leaves(error))}"[:MAX_MESSAGE]
    return Failure(_name(error), text, _traceback(error, ours))


def _name(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return without_surrogates(name[:MAX_MESSAGE])


def _line(error: BaseException) -> str:
    text = _text(error)
    return f"{_name(error)}: {text}" if text else _name(error)


def _text(error: BaseException) -> str:
    if isinstance(error, BaseExceptionGroup):
        return without_surrogates(str(error.message)[:MAX_MESSAGE])
    try:
        text = str(error)
    except BaseException as broken:  # noqa: BLE001 - a __str__ may do anything
        text = f"<its text cannot be read: {class_of(broken)}>"
    return without_surrogates(text[:MAX_MESSAGE])


def _traceback(error: BaseException, ours: str) -> str:
    """Return the frames of the task and of what it called, without those of pyxqueue."""
    frames: TracebackType | None = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == ours:
        frames = frames.tb_next
    return without_surrogates(traceback_of(error, frames or ...))
