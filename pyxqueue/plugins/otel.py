"""Traces and metrics by OpenTelemetry, after its conventions for messaging: ``pip install 'pyxqueue[otel]'``."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, get_args

from msgspec import Struct

from ..context import TaskContext
from ..errors import ConfigurationError, RetryLater
from ..model.message import Cancelled, Defer, Done, Fail, Failure, Raised, Rejected, Retry, Suspend
from ..plugin import Outgoing, Plugin
from ..printable import quoted
from ..worker.events import Event, TaskSettled
from .held import Held

try:
    from opentelemetry import context as contexts
    from opentelemetry import metrics, trace
    from opentelemetry.baggage.propagation import W3CBaggagePropagator
    from opentelemetry.context import Context, attach, detach
    from opentelemetry.propagators.composite import CompositePropagator
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError as error:
    raise ImportError("pyxqueue.plugins.otel needs opentelemetry-api: pip install 'pyxqueue[otel]'") from error

SpanNaming = Literal["task", "queue"]
Propagation = Literal["auto", "link", "parent"]

BATCH_HEADER = "trace-batch"
"""Marks a message that was enqueued together with others: its run does not become a child of the call."""
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""The buckets of durations that the conventions ask for."""
_SUPPRESS = ("suppress_instrumentation", getattr(contexts, "_SUPPRESS_INSTRUMENTATION_KEY", ""))
"""The context keys by which instrumented libraries make no spans. The first one is older, and all of them still know
it."""
_OUTCOMES = {
    Done: "success", Fail: "failure", Retry: "retry", Cancelled: "cancelled", Suspend: "suspended", Defer: "returned",
}  # fmt: skip
_RETRY_LATER = f"{RetryLater.__module__}.{RetryLater.__qualname__}"

Attributes = dict[str, str | int | float]


class _Ended(Struct, frozen=True):
    """A run that has ended and is not settled yet."""

    span: trace.Span
    at: int
    """In nanoseconds since the epoch."""
    seconds: float
    measured: Attributes
    """The attributes of its metrics."""


class OpenTelemetry(Plugin):
    """Makes a span for each message that is enqueued and one for each run of a task, and counts and measures both.

    `tracer_provider`, `meter_provider`: the global ones by default. `span_naming`: whether spans are named after the
    ``"task"`` or the ``"queue"``. `propagation`: the span of a run always has a link to that of the call. It is also
    its child with ``"parent"``, and with ``"auto"`` if it is the first attempt of a call without a delay that was not
    one of many. `baggage`: whether baggage travels with messages; it can be read in the store. `settle_spans`: whether
    each run also has a span from its end until the store has accepted how it ended.
    """

    def __init__(
        self,
        *,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        span_naming: SpanNaming = "task",
        propagation: Propagation = "auto",
        baggage: bool = False,
        settle_spans: bool = False,
    ) -> None:
        _check("span_naming", span_naming, get_args(SpanNaming))
        _check("propagation", propagation, get_args(Propagation))
        self._providers = tracer_provider, meter_provider
        self._by_task, self._propagation = span_naming == "task", propagation
        self._settle_spans = settle_spans
        carried = [TraceContextTextMapPropagator(), *([W3CBaggagePropagator()] if baggage else [])]
        self._propagator = CompositePropagator(carried)
        self._held: Held[_Ended] = Held()
        self._tracer = trace.get_tracer("pyxqueue", tracer_provider=tracer_provider)
        meter = metrics.get_meter("pyxqueue", meter_provider=meter_provider)
        self._sent = meter.create_counter("messaging.client.sent.messages", "{message}", "Messages to be enqueued.")
        self._consumed = meter.create_counter("messaging.client.consumed.messages", "{message}", "Runs that began.")
        self._duration = meter.create_histogram(
            "messaging.process.duration", "s", "How long runs took.", explicit_bucket_boundaries_advisory=SECONDS
        )

    def headers(self, call: Outgoing) -> Mapping[str, str]:
        measured = _attributes("create", call.queue, call.task)
        about: Attributes = {**measured, "messaging.message.id": call.id, "messaging.operation.type": "create"}
        name = f"create {call.task if self._by_task else call.queue}"
        span = self._tracer.start_span(name, kind=trace.SpanKind.PRODUCER, attributes=about)
        headers: dict[str, str] = {}
        self._propagator.inject(headers, trace.set_span_in_context(span))
        span.end()
        self._sent.add(1, measured)
        if headers and call.count > 1:
            headers[BATCH_HEADER] = str(call.count)
        return headers

    @contextmanager
    def around(self, context: TaskContext) -> Iterator[None]:
        sent = self._propagator.extract(self._readable(context.headers), Context())
        origin = trace.get_current_span(sent).get_span_context()
        measured = _attributes("process", context.queue, context.name)
        measured["messaging.consumer.group.name"] = context.group
        span = self._tracer.start_span(
            f"process {context.name if self._by_task else context.queue}",
            sent if self._is_child(context) else Context(),
            trace.SpanKind.CONSUMER,
            {**measured, **_facts(context)},
            [trace.Link(origin)] if origin.is_valid else (),
        )
        self._consumed.add(1, measured)
        began = time.perf_counter()
        token = attach(trace.set_span_in_context(span, sent))  # without what suppresses spans in our own threads
        try:
            yield
        finally:
            detach(token)
            self._held.put(context, _Ended(span, time.time_ns(), time.perf_counter() - began, measured))

    def observe(self, event: Event) -> None:
        """End the span of a run: its verdict says whether what the task raised is an error."""
        if not isinstance(event, TaskSettled) or (ended := self._held.take(event)) is None:
            return
        span, measured = ended.span, ended.measured
        span.set_attribute("pyxqueue.outcome", _OUTCOMES[type(event.verdict)] if event.accepted else "lost")
        if (failure := _failure(event)) is not None:
            measured = {**measured, "error.type": failure.type}
            span.set_attribute("error.type", failure.type)
            span.set_status(trace.StatusCode.ERROR, failure.message)
            span.add_event("exception", _exception(failure), ended.at)
        span.end(ended.at)
        self._duration.record(ended.seconds, measured)
        if self._settle_spans:
            self._settled(event, ended)

    def _settled(self, event: TaskSettled, ended: _Ended) -> None:
        """Make a span of the time from the end of a run until the store has answered: it includes the time in which the
        settlement waited for others, to be sent together."""
        about = _attributes("settle", event.queue, event.task_name) | {
            "messaging.operation.type": "settle",
            "messaging.message.id": event.task_id,
            "messaging.client.id": event.worker,
            "messaging.consumer.group.name": ended.measured["messaging.consumer.group.name"],
            "pyxqueue.accepted": event.accepted,
        }
        name = f"settle {event.task_name if self._by_task else event.queue}"
        parent = trace.set_span_in_context(ended.span, Context())
        self._tracer.start_span(name, parent, trace.SpanKind.CLIENT, about, start_time=ended.at).end()

    @contextmanager
    def inside(self, role: str) -> Iterator[None]:  # noqa: ARG002 - the same in all threads
        """Make no spans of our own calls of the store: an idle worker claims all the time."""
        context = contexts.get_current()
        for key in filter(None, _SUPPRESS):
            context = contexts.set_value(key, True, context)
        token = attach(context)
        try:
            yield
        finally:
            detach(token)

    def stopping(self, seconds: float) -> None:
        """Export what has not been exported: the process may end without the exit handlers of the exporters."""
        for ended in self._held.take_all():
            ended.span.end(ended.at)
        traces, measures = self._providers
        for provider in (traces or trace.get_tracer_provider(), measures or metrics.get_meter_provider()):
            if (flush := getattr(provider, "force_flush", None)) is not None:  # that of the SDK; the API has none
                flush(round(seconds * 1000))

    def _readable(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return the headers for the propagator. Malformed ones are left out, because it would log them as they are."""
        found = {name: headers[name] for name in self._propagator.fields if name in headers}
        return {name: text for name, text in found.items() if text.isascii() and text.isprintable()}

    def _is_child(self, context: TaskContext) -> bool:
        """Whether the span of the run is a child of the span of the call."""
        if self._propagation != "auto":
            return self._propagation == "parent"
        delayed = context.due is not None and context.enqueued is not None and context.due > context.enqueued
        return context.attempt == 1 and not delayed and BATCH_HEADER not in context.headers


def _check(option: str, value: object, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ConfigurationError(f"{option}={quoted(value)} must be one of: {', '.join(allowed)}")


def _attributes(operation: str, queue: str, task: str) -> Attributes:
    return {
        "messaging.system": "pyxqueue",
        "messaging.operation.name": operation,
        "messaging.destination.name": queue,
        "pyxqueue.task.name": task,
    }


def _facts(context: TaskContext) -> Attributes:
    """Return the attributes of the span of a run that its metrics do not have."""
    facts: Attributes = {
        "messaging.operation.type": "process",
        "messaging.message.id": context.id,
        "messaging.client.id": context.worker,
        "pyxqueue.task.attempt": context.attempt,
    }
    if context.waited is not None:
        facts["pyxqueue.waited"] = context.waited
    return facts


def _exception(failure: Failure) -> Attributes:
    """Return an exception as the conventions have it: from its text, since the exception may be of any class."""
    return {
        "exception.type": failure.type,
        "exception.message": failure.message,
        "exception.stacktrace": failure.traceback,
    }


def _failure(event: TaskSettled) -> Failure | None:
    """Return the failure of a run; None if it did not fail. A task that asks to run later has not failed if it has a
    retry left."""
    match event.outcome, event.verdict:
        case Raised(failure=failure), Retry() if failure.type == _RETRY_LATER:
            return None
        case Raised(failure=failure) | Rejected(failure=failure), Fail() | Retry():
            return failure
        case _, Fail(reason):
            return Failure("Failed", reason)
    return None
