"""The outcome of a task that raised."""

from __future__ import annotations

from typing import Any

import pytest

from pyxqueue.errors import CancelRequested, Reject, RetryLater, TimeLimitExceeded
from pyxqueue.model.message import Aborted, Raised, Rejected, TaskStatus
from pyxqueue.options import TaskOptions
from pyxqueue.printable import MAX_TRACEBACK
from pyxqueue.worker.failures import failure_of, outcome_of

from .harness import Bench, closed_error


class Hostile(Exception):  # noqa: N818
    """Its own code tries to end the process."""

    def __str__(self) -> str:
        raise SystemExit(3)

    __repr__ = __str__


class HostileMeta(type):
    def __instancecheck__(cls, _: object) -> bool:
        raise SystemExit(3)


class HostileType(Exception, metaclass=HostileMeta):  # noqa: N818
    pass


def retryable(error: BaseException, **options: Any) -> bool:
    outcome = outcome_of(error, TaskOptions(**options))
    assert isinstance(outcome, Raised)
    return outcome.retryable


def test_an_exception_whose_str_raises() -> None:
    """The failure says so, also for `SystemExit`."""
    failure = failure_of(Hostile())

    assert failure.type.endswith("Hostile")
    assert failure.message == "<its text cannot be read: SystemExit>"


def test_a_hostile_exception_in_a_group() -> None:
    """The text of the group names its errors, which runs their code."""
    assert "its text cannot be read" in failure_of(ExceptionGroup("two", [Hostile(), ValueError("x")])).message


def test_a_type_that_cannot_be_compared() -> None:
    """The task fails, and says why."""
    outcome = outcome_of(ValueError("x"), TaskOptions(retry_on=(HostileType,)))

    assert isinstance(outcome, Raised)
    assert outcome.failure.message == "<cannot be shown: SystemExit in its own code>"


def test_an_exception_without_a_readable_attribute() -> None:
    """The task fails with it, and its worker goes on."""
    bench = Bench()

    def closed() -> None:
        raise closed_error()

    bench.task(closed)
    bench.put("closed")
    bench.worker().drain()

    record = bench.broker.wait(["t1"], 0)[0]
    assert record is not None
    assert record.error is not None
    assert record.error.type.endswith("ClosedError")
    assert "SystemExit in its own code" in record.error.message


@pytest.mark.parametrize(
    ("signal", "kind"), [(Reject("no"), Rejected), (RetryLater(7, "busy"), Raised), (CancelRequested("stop"), Aborted)]
)
def test_a_signal_in_a_group_counts(signal: BaseException, kind: type) -> None:
    """A `TaskGroup` wraps what its children raise; the first signal in the group decides."""
    group = BaseExceptionGroup("unhandled", [ValueError("x"), BaseExceptionGroup("inner", [signal, RetryLater(99)])])

    outcome = outcome_of(group, TaskOptions())

    assert type(outcome) is kind
    if isinstance(outcome, Raised):
        assert outcome.delay_ms == 7000
        assert outcome.failure.message == "busy"
    if isinstance(outcome, Rejected):
        assert outcome.failure.message == "no"


@pytest.mark.parametrize(
    ("errors", "wanted"),
    [
        ([ConnectionError("a"), ConnectionResetError("b")], True),
        ([ConnectionError("a"), ExceptionGroup("inner", [ConnectionError("b")])], True),
        ([ConnectionError("a"), ValueError("b")], False),
    ],
)
def test_a_group_is_of_a_type_if_all_in_it_are(errors: list[Exception], wanted: bool) -> None:
    """Groups inside the group count too."""
    group = ExceptionGroup("some", errors)

    assert retryable(group, retry_on=(ConnectionError,)) is wanted
    assert retryable(group, give_up_on=(ConnectionError,)) is not wanted
    assert retryable(group, retry_on=(ExceptionGroup,))


def test_the_text_of_a_group_names_what_is_in_it() -> None:
    """Its own text only says that there are some."""
    group = ExceptionGroup("unhandled errors", [ValueError("bad"), ExceptionGroup("inner", [KeyError("k")])])

    assert failure_of(group).message == "unhandled errors: ValueError: bad; KeyError: 'k'"


def test_a_time_limit_is_retried_as_an_exception_is() -> None:
    """`TimeLimitExceeded` is not an `Exception`, so that tasks do not swallow it by accident."""
    late = TimeLimitExceeded("late")

    assert not isinstance(late, Exception)
    assert not isinstance(CancelRequested(), Exception)
    assert retryable(late)
    assert retryable(late, retry_on=(TimeLimitExceeded,))
    assert not retryable(late, retry_on=(ValueError,))
    assert not retryable(late, give_up_on=(TimeLimitExceeded,))


def test_a_long_traceback_keeps_its_head_and_its_end() -> None:
    """The first cause is at its head, the error itself at its end."""

    def fail(depth: int) -> None:
        try:
            if depth:
                fail(depth - 1)
            else:
                raise KeyError("the first cause")
        except LookupError as error:
            raise LookupError(f"at {depth}") from error

    with pytest.raises(LookupError) as caught:
        fail(60)
    text = failure_of(caught.value).traceback

    assert "the first cause" in text
    assert "characters are left out here" in text
    assert text.endswith("LookupError: at 60\n")
    assert len(text) < MAX_TRACEBACK + 100


LONG = "x\x1b\n" * 100_000


def _later(delay: Any) -> RetryLater:
    made = RetryLater()
    made.delay = delay
    return made


def _raises(error: BaseException) -> Any:
    def raises() -> None:
        raise error

    return raises


def _of(kind: str, code: Any = None) -> Exception:
    """An exception of a class of that name; `code` is its `__str__`."""
    made = type(kind, (Exception,), {"__str__": code} if code else {})("text")
    assert isinstance(made, Exception)
    return made


def _str_raises(_: object) -> str:
    raise _of(LONG)


@pytest.mark.parametrize(
    "error",
    [
        _of(LONG), ValueError(LONG), Reject(LONG), _of("Long", lambda _: LONG), _of("Silent", _str_raises),
        RetryLater(reason=LONG), _later(type(LONG, (), {})()), ExceptionGroup(LONG, [_of(LONG)] * 100),
    ],
    ids=range(8),
)  # fmt: skip
def test_what_is_kept_of_a_failure_is_bounded(error: BaseException) -> None:
    """Its type, its text, its traceback and the reason, whatever was raised."""
    bench = Bench()
    bench.task(_raises(error))
    bench.put("raises")
    bench.worker().drain()

    (info,) = bench.broker.show(["t1"])
    assert info is not None
    assert info.status is TaskStatus.FAILURE
    assert info.record is not None
    assert info.record.error is not None
    assert max(len(info.record.error.type), len(info.record.error.message)) <= 2_100
    assert len(info.record.error.traceback) < MAX_TRACEBACK + 1_000
    assert len(info.reason) < 5_000
