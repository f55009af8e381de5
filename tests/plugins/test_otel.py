"""The spans and metrics of tasks, collected in memory."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import baggage, trace
from opentelemetry.context import attach, detach, get_value
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import HistogramDataPoint, InMemoryMetricReader, NumberDataPoint
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from pyxqueue import (
    ConfigurationError,
    EagerSession,
    Reject,
    RetryLater,
    Seal,
    TaskQueue,
    TaskSettled,
    current_task,
    eager_mode,
)
from pyxqueue.context import TaskContext
from pyxqueue.model.message import Cancelled, Failure, Rejected
from pyxqueue.plugins.otel import BATCH_HEADER, OpenTelemetry
from pyxqueue.plugins.otel_gauges import QueueGauges

Point = NumberDataPoint | HistogramDataPoint


@define
class Telemetry:
    """Providers of a test's own, and what they have collected."""

    spans: InMemorySpanExporter = field(factory=InMemorySpanExporter)
    reader: InMemoryMetricReader = field(factory=InMemoryMetricReader)
    tracers: TracerProvider = field(factory=TracerProvider)
    meters: MeterProvider = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.tracers.add_span_processor(SimpleSpanProcessor(self.spans))
        self.meters = MeterProvider([self.reader])

    def plugin(self, **options: Any) -> OpenTelemetry:
        return OpenTelemetry(tracer_provider=self.tracers, meter_provider=self.meters, **options)

    def queue(self, **options: Any) -> TaskQueue:
        return TaskQueue("shop", plugins=[self.plugin(**options)])

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans.get_finished_spans() if span.name == name]

    def points(self, name: str) -> list[Point]:
        data = self.reader.get_metrics_data()
        assert data is not None
        return [
            point
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
            if isinstance(point, Point)
        ]


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    made = Telemetry()
    yield made
    made.tracers.shutdown()
    made.meters.shutdown()


@pytest.fixture
def eager() -> Iterator[EagerSession]:
    with eager_mode() as session:
        yield session


def said(span: ReadableSpan) -> dict[str, object]:
    return dict(span.attributes or {})


def context_with(headers: Mapping[str, str]) -> TaskContext:
    """The context of a run, as a worker makes it."""
    return TaskContext("id", "sell", 1, "shop", headers, lambda _: None, group="g", worker="w")


@pytest.mark.usefixtures("eager")
def test_a_call_makes_a_producer_span_and_its_run_a_consumer_span(telemetry: Telemetry) -> None:
    """They have the names, kinds and attributes of the conventions for messaging."""
    queue = telemetry.queue()

    @queue.task(name="sell")
    def sell() -> None:
        """A task."""

    handle = sell()

    (created,), (process,) = telemetry.named("create sell"), telemetry.named("process sell")
    assert (created.kind, process.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    common = {
        "messaging.system": "pyxqueue",
        "messaging.destination.name": "shop",
        "messaging.message.id": handle.task_id,
        "pyxqueue.task.name": "sell",
    }
    assert said(created) == common | {"messaging.operation.name": "create", "messaging.operation.type": "create"}
    rest = {name: value for name, value in said(process).items() if common.get(name) != value}
    assert isinstance(rest.pop("pyxqueue.waited"), float)
    assert rest.pop("messaging.client.id")
    assert rest == {
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.consumer.group.name": queue.consumer_group,
        "pyxqueue.task.attempt": 1,
        "pyxqueue.outcome": "success",
    }
    assert process.status.status_code is StatusCode.UNSET


@pytest.mark.usefixtures("eager")
def test_spans_can_be_named_after_the_queue(telemetry: Telemetry) -> None:
    """The task is an attribute of them in any case."""
    queue = telemetry.queue(span_naming="queue")
    queue.task(name="sell")(print)()

    assert [span.name for span in telemetry.spans.get_finished_spans()] == ["create shop", "process shop"]


@pytest.mark.usefixtures("eager")
def test_a_run_is_a_child_of_its_call_and_has_a_link_to_it(telemetry: Telemetry) -> None:
    """The span of the run is current while the function runs."""
    queue = telemetry.queue()
    inside = list[int]()

    @queue.task(name="sell")
    def sell() -> None:
        inside.append(trace.get_current_span().get_span_context().span_id)

    with telemetry.tracers.get_tracer("test").start_as_current_span("request") as request:
        sell()

    (created,), (process,) = telemetry.named("create sell"), telemetry.named("process sell")
    assert created.parent is not None
    assert created.parent.span_id == request.get_span_context().span_id
    assert process.parent is not None
    assert process.parent.span_id == created.context.span_id
    assert [link.context.span_id for link in process.links] == [created.context.span_id]
    assert process.context.trace_id == request.get_span_context().trace_id
    assert inside == [process.context.span_id]


def test_a_delayed_task_and_a_retry_begin_a_trace_of_their_own(telemetry: Telemetry, eager: EagerSession) -> None:
    """Each has a link to the span of the call."""
    queue = telemetry.queue()

    @queue.task(name="later", retries=1, backoff=0)
    def later(fail: bool) -> None:
        if fail and current_task().attempt == 1:
            raise ValueError("again")

    later.with_options(delay=60)(False)
    later(True)
    eager.advance(120)

    first, second = telemetry.named("create later")
    origins = [
        (
            span.links[0].context.span_id == second.context.span_id,
            said(span)["pyxqueue.task.attempt"],
            bool(span.parent),
        )
        for span in telemetry.named("process later")
    ]
    assert origins == [(True, 1, True), (True, 2, False), (False, 1, False)]
    assert len({span.context.trace_id for span in telemetry.named("process later")} | {first.context.trace_id}) == 4


@pytest.mark.usefixtures("eager")
def test_the_tasks_of_a_map_begin_traces_of_their_own(telemetry: Telemetry) -> None:
    """A trace of ten thousand runs can be read by nobody."""
    queue = telemetry.queue()
    queue.task(name="count")(str).map([(1,), (2,)])

    created, runs = telemetry.named("create count"), telemetry.named("process count")
    assert [span.parent for span in runs] == [None, None]
    assert [span.links[0].context.span_id for span in runs] == [span.context.span_id for span in created]


@pytest.mark.parametrize(("propagation", "child"), [("link", False), ("parent", True)])
def test_the_propagation_can_be_chosen(
    telemetry: Telemetry, eager: EagerSession, propagation: str, child: bool
) -> None:
    """Always by a link alone, or always as a child too."""
    queue = telemetry.queue(propagation=propagation)
    task = queue.task(name="sell")(print)
    task()
    task.with_options(delay=5)()
    eager.advance(10)

    assert [span.parent is not None for span in telemetry.named("process sell")] == [child, child]
    assert all(span.links for span in telemetry.named("process sell"))


def test_an_option_that_does_not_exist_is_refused() -> None:
    """The error names what can be given."""
    with pytest.raises(ConfigurationError, match="span_naming='job' must be one of: task, queue"):
        OpenTelemetry(span_naming="job")  # type: ignore[arg-type]  # what is tested
    with pytest.raises(ConfigurationError, match="propagation='none' must be one of: auto, link, parent"):
        OpenTelemetry(propagation="none")  # type: ignore[arg-type]  # what is tested


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("carried", [False, True])
def test_baggage_travels_only_if_that_was_asked_for(telemetry: Telemetry, carried: bool) -> None:
    """It can be read in the store."""
    found = list[object]()
    task = telemetry.queue(baggage=carried).task(name="look")(lambda: found.append(baggage.get_baggage("customer")))

    token = attach(baggage.set_baggage("customer", "acme"))
    try:
        task()
    finally:
        detach(token)

    assert found == ["acme" if carried else None]


@pytest.mark.usefixtures("eager")
def test_what_a_task_raises_is_an_event_and_the_status_of_its_span(telemetry: Telemetry) -> None:
    """With its type, text and traceback; the metric has the type alone."""
    queue = telemetry.queue()

    @queue.task(name="fail")
    def fail() -> None:
        raise ValueError("no such user")

    fail()

    (process,) = telemetry.named("process fail")
    (event,) = process.events
    about = dict(event.attributes or {})
    assert (event.name, about["exception.type"], about["exception.message"]) == (
        "exception",
        "ValueError",
        "no such user",
    )
    assert 'raise ValueError("no such user")' in str(about["exception.stacktrace"])
    assert (process.status.status_code, process.status.description) == (StatusCode.ERROR, "no such user")
    assert said(process)["error.type"] == "ValueError"
    assert said(process)["pyxqueue.outcome"] == "failure"
    (point,) = telemetry.points("messaging.process.duration")
    assert (point.attributes or {})["error.type"] == "ValueError"


def test_control_flow_is_an_error_only_if_the_task_fails(telemetry: Telemetry, eager: EagerSession) -> None:
    """`RetryLater` is none while a retry is left, and `Reject` is one."""
    queue = telemetry.queue()

    @queue.task(name="later", retries=1)
    def later() -> None:
        raise RetryLater(1)

    @queue.task(name="reject")
    def reject() -> None:
        raise Reject("not ours")

    @queue.task(name="sleep")
    def sleep() -> None:
        current_task().sleep("a while", 5)

    later(), reject(), sleep()
    eager.advance(10)

    def results(name: str) -> list[tuple[object, object]]:
        spans = sorted(telemetry.named(f"process {name}"), key=lambda span: span.end_time or 0)
        return [(said(span)["pyxqueue.outcome"], said(span).get("error.type")) for span in spans]

    assert results("later") == [("retry", None), ("failure", "pyxqueue.errors.RetryLater")]
    assert results("reject") == [("failure", "Rejected")]
    assert results("sleep") == [("suspended", None), ("success", None)]


@pytest.mark.usefixtures("eager")
def test_metrics_have_bounded_attributes(telemetry: Telemetry) -> None:
    """No id, no worker and no text of an error, and the buckets of the conventions."""
    queue = telemetry.queue()
    queue.task(name="count")(str).map([(1,), (2,), (3,)])

    base = {"messaging.system": "pyxqueue", "messaging.destination.name": "shop", "pyxqueue.task.name": "count"}
    (sent,) = telemetry.points("messaging.client.sent.messages")
    assert isinstance(sent, NumberDataPoint)
    assert (sent.value, sent.attributes) == (3, base | {"messaging.operation.name": "create"})
    processed = base | {"messaging.operation.name": "process", "messaging.consumer.group.name": queue.consumer_group}
    (consumed,) = telemetry.points("messaging.client.consumed.messages")
    assert isinstance(consumed, NumberDataPoint)
    assert (consumed.value, consumed.attributes) == (3, processed)
    (took,) = telemetry.points("messaging.process.duration")
    assert isinstance(took, HistogramDataPoint)
    assert (took.count, took.attributes, took.explicit_bounds[0]) == (3, processed, 0.005)


TEXTS = st.text(max_size=200) | st.from_regex(
    r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}(-.*)?", fullmatch=True
)


@given(st.dictionaries(st.sampled_from(["traceparent", "tracestate", "baggage", BATCH_HEADER]), TEXTS))
def test_no_header_makes_a_run_fail(headers: dict[str, str]) -> None:
    """Whoever can write to a store that has no seal can write any header."""
    telemetry = Telemetry()

    with telemetry.plugin(baggage=True, propagation="parent").around(context_with(headers)):
        assert trace.get_current_span().get_span_context().is_valid


def test_a_header_forges_no_line_of_the_log(telemetry: Telemetry, caplog: pytest.LogCaptureFixture) -> None:
    """The propagators log what they cannot read as it is."""
    headers = {"traceparent": f"00-{1:032x}-{2:016x}-01", "tracestate": "no\nERROR forged", "baggage": "no\nERROR too"}

    with telemetry.plugin(baggage=True).around(context_with(headers)):
        pass

    assert "ERROR" not in caplog.text


def test_a_run_whose_lease_was_lost_has_lost(telemetry: Telemetry) -> None:
    """What it came to does not count."""
    plugin = telemetry.plugin()
    with plugin.around(context_with({})):
        pass
    outcome, verdict = Rejected(Failure("Rejected", "no")), Cancelled()

    plugin.observe(TaskSettled("id", "sell", 1, "w", outcome, verdict, accepted=False, seconds=1.0, queue="shop"))

    (process,) = telemetry.named("process sell")
    assert (said(process)["pyxqueue.outcome"], said(process).get("error.type")) == ("lost", None)


def test_our_own_threads_make_no_spans(telemetry: Telemetry) -> None:
    """The key with which instrumented libraries are told so is set there, and not while a task runs."""
    plugin = telemetry.plugin()

    with plugin.inside("claim"):
        assert get_value("suppress_instrumentation")
        with plugin.around(context_with({})):
            assert not get_value("suppress_instrumentation")
        assert get_value("suppress_instrumentation")
    assert not get_value("suppress_instrumentation")
    assert telemetry.spans.get_finished_spans() == ()


def test_what_was_not_settled_is_exported_at_the_end(telemetry: Telemetry) -> None:
    """A process that stops may have no more time to settle."""
    plugin = telemetry.plugin()
    with plugin.around(context_with({})):
        pass
    assert telemetry.named("process sell") == []

    plugin.stopping(5)

    assert len(telemetry.named("process sell")) == 1


@pytest.mark.usefixtures("eager")
def test_the_trace_is_part_of_what_is_sealed(telemetry: Telemetry) -> None:
    """A seal covers all headers."""
    queue = TaskQueue("shop", plugins=[telemetry.plugin()], seal=Seal("0f7c0a6be1a14f10b7a3b6f5e3c1d2a9"))
    seen = list[str]()
    queue.task(name="look")(lambda: seen.extend(current_task().headers))()

    assert seen == ["traceparent"]
    assert telemetry.named("process look")[0].links


def test_headers_that_the_caller_gives_are_kept(eager: EagerSession, telemetry: Telemetry) -> None:
    """A trace that the caller has put into the message goes on."""
    queue = telemetry.queue()
    parent = f"00-{1:032x}-{2:016x}-01"
    queue.task(name="sell")(print).with_options(headers={"traceparent": parent})()

    (process,) = telemetry.named("process sell")
    assert (process.context.trace_id, process.links[0].context.span_id) == (1, 2)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("wanted", [False, True])
def test_a_settlement_is_a_span_if_that_was_asked_for(telemetry: Telemetry, wanted: bool) -> None:
    """It begins when the run ends, is a child of it, and says what the store answered."""
    queue = telemetry.queue(settle_spans=wanted)
    handle = queue.task(name="sell")(print)()

    found, (process,) = telemetry.named("settle sell"), telemetry.named("process sell")

    assert len(found) == wanted
    for settle in found:
        assert settle.parent is not None
        assert (settle.kind, settle.parent.span_id) == (SpanKind.CLIENT, process.context.span_id)
        assert settle.start_time == process.end_time
        assert (settle.end_time or 0) >= (settle.start_time or 0)
        assert said(settle)["messaging.message.id"] == handle.task_id
        assert said(settle)["pyxqueue.accepted"] is True


def test_a_refused_settlement_says_so(telemetry: Telemetry) -> None:
    """Its worker had lost the task."""
    plugin = telemetry.plugin(settle_spans=True)
    with plugin.around(context_with({})):
        pass
    outcome = Rejected(Failure("Rejected", "no"))

    plugin.observe(TaskSettled("id", "sell", 1, "w", outcome, Cancelled(), accepted=False, seconds=1.0, queue="shop"))

    (settle,) = telemetry.named("settle sell")
    assert said(settle)["pyxqueue.accepted"] is False


def test_gauges_measure_whole_queues(telemetry: Telemetry) -> None:
    """Each place has a number, also 0, and the oldest ready task its age; a group that is not there is not made."""
    queue = TaskQueue(f"memory://{uuid.uuid4().hex}", "shop")
    other = TaskQueue(f"memory://{uuid.uuid4().hex}", "mail")
    queue.task(name="sell")(print).map([(1,), (2,)])

    QueueGauges([queue, other], meter_provider=telemetry.meters)
    data = measured(telemetry)

    assert {place: count for (name, place), count in data["pyxqueue.queue.tasks"].items() if name == "shop"} == {
        "ready": 2, "in_flight": 0, "delayed": 0, "blocked": 0, "dependent": 0, "failed": 0, "history": 0,
    }  # fmt: skip
    assert data["pyxqueue.queue.oldest"]["shop", None] >= 0
    assert data["pyxqueue.queue.tasks"]["mail", "ready"] == 0
    assert other.admin.groups() == []


def test_gauges_read_a_queue_once(telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each time that the metrics are collected, and then anew."""
    queue = TaskQueue(f"memory://{uuid.uuid4().hex}", "shop")
    task = queue.task(name="shop.pay")(lambda: None)
    backend, reads = queue.stores.backend, list[None]()
    depth = backend.depth
    monkeypatch.setattr(backend, "depth", lambda: reads.append(None) or depth())  # type: ignore[func-returns-value] # append returns None
    QueueGauges([queue], meter_provider=telemetry.meters)

    task()
    first = measured(telemetry)["pyxqueue.queue.tasks"]["shop", "ready"]
    task()
    second = measured(telemetry)["pyxqueue.queue.tasks"]["shop", "ready"]

    assert (first, second) == (1, 2)
    assert len(reads) == 2


def measured(telemetry: Telemetry) -> dict[str, dict[tuple[object, object], float]]:
    """What was collected at one time, by the names of metric, queue and place."""
    data = telemetry.reader.get_metrics_data()
    assert data is not None
    return {
        metric.name: {
            ((point.attributes or {})["messaging.destination.name"], (point.attributes or {}).get("pyxqueue.place")):
            point.value
            for point in metric.data.data_points
            if isinstance(point, NumberDataPoint)
        }
        for resource in data.resource_metrics for scope in resource.scope_metrics for metric in scope.metrics
    }  # fmt: skip


def test_gauges_of_a_store_that_is_down_are_left_out(telemetry: Telemetry, caplog: pytest.LogCaptureFixture) -> None:
    """The others are there, and the log says which are not."""
    queue, down = TaskQueue(f"memory://{uuid.uuid4().hex}", "shop"), TaskQueue("redis://127.0.0.1:1", "mail")

    QueueGauges([down, queue], meter_provider=telemetry.meters)
    data = measured(telemetry)

    assert {name for name, _ in data["pyxqueue.queue.tasks"]} == {"shop"}
    assert "mail" in caplog.text
