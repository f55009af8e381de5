"""Reports failed tasks to Sentry, and their runs as transactions: ``pip install 'pyxqueue[sentry]'``."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from ..context import TaskContext
from ..errors import CancelRequested, RetryLater, TaskSuspended
from ..model.message import Fail, Raised, Retry
from ..plugin import Outgoing, Plugin
from ..worker.events import Event, TaskSettled, log
from .held import Held

try:
    import sentry_sdk
    from sentry_sdk.scope import (
        Scope,
        add_global_event_processor,
        should_send_default_pii,
        use_isolation_scope,
        use_scope,
    )
    from sentry_sdk.tracing import Transaction
    from sentry_sdk.utils import event_from_exception
except ImportError as error:
    raise ImportError("pyxqueue.plugins.sentry needs sentry-sdk: pip install 'pyxqueue[sentry]'") from error

if TYPE_CHECKING:
    from sentry_sdk.types import Event as SentryEvent
    from sentry_sdk.types import Hint

ORIGIN = "auto.queue.pyxqueue"
_OURS = str(Path(__file__).parent.parent)
_STATUSES: Mapping[type[BaseException], str] = {
    RetryLater: "aborted",
    CancelRequested: "cancelled",
    TaskSuspended: "ok",
}


class _Scopes(Struct, frozen=True):
    """The scopes of a run that has ended and is not settled yet."""

    isolation: Scope
    current: Scope


class Sentry(Plugin):
    """Gives each run of a task a scope and a transaction of its own, and reports the exception with which a task
    finally fails.

    Call ``sentry_sdk.init`` yourself. `report_retries`: also report exceptions that are retried. `propagate`: continue
    the trace of the caller in the first attempt of a task. Arguments are sent only if ``send_default_pii`` is set, or
    ``data_collection`` with its ``queues``.
    """

    def __init__(self, *, report_retries: bool = False, propagate: bool = True) -> None:
        self._report_retries, self._propagate = report_retries, propagate
        self._held: Held[_Scopes] = Held()
        add_global_event_processor(self._without_our_line)

    def headers(self, call: Outgoing) -> Mapping[str, str]:
        if not self._propagate or not sentry_sdk.get_client().is_active():
            return {}
        with ExitStack() as stack:
            if sentry_sdk.get_current_span() is not None:  # a span of no transaction would not be sent
                span = stack.enter_context(sentry_sdk.start_span(op="queue.publish", name=call.task, origin=ORIGIN))
                for key, value in _data(call.id, call.queue).items():
                    span.set_data(key, value)
            return dict(sentry_sdk.get_current_scope().iter_trace_propagation_headers())

    def around(self, context: TaskContext) -> AbstractContextManager[object]:
        return _Running(context, self._held, self._propagate)

    def observe(self, event: Event) -> None:
        """Report a failure, in the scopes of its run: only its verdict says whether the task has failed."""
        if not isinstance(event, TaskSettled):
            return
        scopes = self._held.take(event)
        match event:
            case TaskSettled(outcome=Raised(exception=BaseException() as error), verdict=verdict, accepted=True):
                asked = isinstance(error, RetryLater)
                if isinstance(verdict, Fail) or (isinstance(verdict, Retry) and self._report_retries and not asked):
                    _report(error, scopes)

    def stopping(self, seconds: float) -> None:
        sentry_sdk.flush(timeout=seconds)

    def _without_our_line(self, event: SentryEvent, hint: Hint) -> SentryEvent | None:
        """Drop the line that a worker logs about a failure: this plugin decides whether the failure is reported."""
        record = hint.get("log_record")
        if record is None or record.name != log.name:
            return event
        key = tuple(vars(record).get(name) for name in ("queue", "task_id", "attempt"))
        return None if self._held.has(key) else event


class _Running(AbstractContextManager[None]):
    """The scopes and the transaction around a run."""

    def __init__(self, context: TaskContext, held: Held[_Scopes], propagate: bool) -> None:
        self._context, self._held = context, held
        self._continues = propagate and context.attempt == 1

    def __enter__(self) -> None:
        context = self._context
        with ExitStack() as stack:
            self._isolation = stack.enter_context(sentry_sdk.isolation_scope())
            self._isolation.clear_breadcrumbs()
            self._isolation.set_context("pyxqueue", _facts(context))
            self._transaction = stack.enter_context(sentry_sdk.start_transaction(self._started()))
            data = _data(context.id, context.queue) | {"messaging.message.retry.count": context.attempt - 1}
            if context.waited is not None:
                data["messaging.message.receive.latency"] = context.waited * 1000
            for key, value in data.items():
                self._transaction.set_data(key, value)
            self._stack = stack.pop_all()

    def _started(self) -> Transaction:
        """Return the transaction of the run, which goes on with the trace of the call or begins one."""
        headers = dict(self._context.headers) if self._continues else {}
        return sentry_sdk.continue_trace(headers, "queue.process", self._context.name, "task", ORIGIN)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._stack:  # it is left without the error: not all that a task raises is one
            self._held.put(self._context, _Scopes(self._isolation, sentry_sdk.get_current_scope().fork()))
            self._transaction.set_status(_status(kind))


def _status(kind: type[BaseException] | None) -> str:
    return (
        "ok" if kind is None else next((_STATUSES[one] for one in kind.__mro__ if one in _STATUSES), "internal_error")
    )


def _data(task_id: str, queue: str) -> dict[str, Any]:
    return {
        "messaging.system": "pyxqueue",
        "messaging.message.id": task_id,
        "messaging.destination.name": queue,
    }


def _facts(context: TaskContext) -> dict[str, Any]:
    """Return what events of the run say about it."""
    facts: dict[str, Any] = {**context.log_fields, "group": context.group}
    if _sends_arguments():
        facts |= {"args": list(context.args), "kwargs": dict(context.kwargs)}
    return facts


def _sends_arguments() -> bool:
    """Return what the client's option ``data_collection`` says of queues, or in older releases ``send_default_pii``."""
    collected = sentry_sdk.get_client().options.get("data_collection")
    return bool(collected["queues"]) if collected else should_send_default_pii()


def _report(error: BaseException, scopes: _Scopes | None) -> None:
    """Report what a run raised, in its scopes, without the frames of pyxqueue, which call the function."""
    mechanism = {"type": "pyxqueue", "handled": False}
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename.startswith(_OURS):
        frames = frames.tb_next
    shown = type(error), error, frames or error.__traceback__
    event, hint = event_from_exception(shown, sentry_sdk.get_client().options, mechanism)
    with ExitStack() as stack:
        if scopes is not None:
            stack.enter_context(use_isolation_scope(scopes.isolation))
            stack.enter_context(use_scope(scopes.current))
        sentry_sdk.capture_event(event, hint)
