"""What Sentry is sent about tasks, collected by a transport of the tests' own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import sentry_sdk
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from sentry_sdk.envelope import Envelope
from sentry_sdk.scope import global_event_processors
from sentry_sdk.transport import Transport

from pyxqueue import EagerSession, Reject, RetryLater, TaskQueue, TaskSettled, current_task, eager_mode
from pyxqueue.context import TaskContext
from pyxqueue.model.message import Fail, Failure, Raised
from pyxqueue.plugins.sentry import Sentry


class Collecting(Transport):
    """Keeps the envelopes, and notes that it was flushed."""

    def __init__(self) -> None:
        super().__init__()
        self.envelopes = list[Envelope]()
        self.flushed = list[float]()

    def capture_envelope(self, envelope: Envelope) -> None:
        self.envelopes.append(envelope)

    def flush(self, timeout: float, callback: Callable[[int, float], None] | None = None) -> None:
        self.flushed.append(timeout)


@define
class Reports:
    """What was sent."""

    transport: Collecting = field(factory=Collecting)

    def _items(self, kind: str) -> list[dict[str, Any]]:
        items = [item for envelope in self.transport.envelopes for item in envelope.items]
        return [item.payload.json or {} for item in items if item.type == kind]

    @property
    def errors(self) -> list[dict[str, Any]]:
        """Events, without the line in which the log sums up what other tests of this process have had refused."""
        events = self._items("event")
        return [one for one in events if "refused and kept" not in str(one.get("logentry", {}).get("message", ""))]

    @property
    def transactions(self) -> list[dict[str, Any]]:
        return self._items("transaction")


def init(reports: Reports, **options: Any) -> None:
    sentry_sdk.init(
        "http://key@127.0.0.1:9/1",
        transport=reports.transport,
        traces_sample_rate=1.0,
        auto_enabling_integrations=False,
        **options,
    )


@pytest.fixture
def reports() -> Iterator[Reports]:
    """A client of the test's own. The others of the process are as before."""
    before, processors = sentry_sdk.get_global_scope().client, global_event_processors[:]
    made = Reports()
    with sentry_sdk.isolation_scope():
        init(made)
        yield made
    sentry_sdk.get_global_scope().set_client(before)
    global_event_processors[:] = processors


@pytest.fixture
def eager() -> Iterator[EagerSession]:
    with eager_mode() as session:
        yield session


def shop(**options: Any) -> TaskQueue:
    return TaskQueue("shop", plugins=[Sentry(**options)])


@pytest.mark.usefixtures("eager")
def test_a_run_is_a_transaction_of_the_name_of_its_task(reports: Reports) -> None:
    """With the data of queues that Sentry shows."""
    task = shop().task(name="sell")(lambda: None)

    handle = task()

    (transaction,) = reports.transactions
    trace = transaction["contexts"]["trace"]
    assert (transaction["transaction"], transaction["transaction_info"]) == ("sell", {"source": "task"})
    assert (trace["op"], trace["status"], trace["origin"]) == ("queue.process", "ok", "auto.queue.pyxqueue")
    data = {name: value for name, value in trace["data"].items() if name.startswith("messaging.")}
    assert data.pop("messaging.message.receive.latency") >= 0
    assert data == {
        "messaging.system": "pyxqueue",
        "messaging.message.id": handle.task_id,
        "messaging.destination.name": "shop",
        "messaging.message.retry.count": 0,
    }


def test_only_the_last_failure_is_reported(reports: Reports, eager: EagerSession) -> None:
    """As the user's own exception, with its stack, in the scope of its run, once."""

    @shop().task(name="fail", retries=2, backoff=1)
    def fail() -> None:
        sentry_sdk.set_tag("customer", "acme")
        raise ValueError(f"attempt {current_task().attempt}")

    handle = fail()
    eager.advance(60)

    (error,) = reports.errors
    (value,) = error["exception"]["values"]
    assert (value["type"], value["value"]) == ("ValueError", "attempt 3")
    assert value["mechanism"] == {"type": "pyxqueue", "handled": False}
    assert [frame["function"] for frame in value["stacktrace"]["frames"]] == ["fail"]
    assert error["tags"]["customer"] == "acme"
    assert error["transaction"] == "fail"
    about = error["contexts"]["pyxqueue"]
    assert (about["task_id"], about["task_name"], about["attempt"]) == (handle.task_id, "fail", 3)
    assert error["contexts"]["trace"]["trace_id"] == reports.transactions[-1]["contexts"]["trace"]["trace_id"]


def test_what_is_retried_is_reported_if_that_was_asked_for(reports: Reports, eager: EagerSession) -> None:
    """One report for each run that failed."""

    @shop(report_retries=True).task(name="fail", retries=2, backoff=1)
    def fail() -> None:
        raise ValueError(f"attempt {current_task().attempt}")

    fail()
    eager.advance(60)

    assert [one["exception"]["values"][0]["value"] for one in reports.errors] == ["attempt 1", "attempt 2", "attempt 3"]


def test_control_flow_is_not_reported(reports: Reports, eager: EagerSession) -> None:
    """A task that rejects itself, asks for a later run or sleeps has raised no error."""
    queue = shop(report_retries=True)

    @queue.task(name="later", retries=1)
    def later() -> None:
        if current_task().attempt == 1:
            raise RetryLater(1)

    @queue.task(name="reject")
    def reject() -> None:
        raise Reject("not ours")

    @queue.task(name="sleep")
    def sleep() -> None:
        current_task().sleep("a while", 5)

    later()
    reject()
    sleep()
    eager.advance(10)

    assert reports.errors == []
    statuses = sorted((one["transaction"], one["contexts"]["trace"]["status"]) for one in reports.transactions)
    assert statuses == [("later", "aborted"), ("later", "ok"), ("reject", "internal_error"), ("sleep", "ok"),
                        ("sleep", "ok")]  # fmt: skip


def test_the_first_attempt_goes_on_with_the_trace_of_the_caller(reports: Reports, eager: EagerSession) -> None:
    """A retry begins a trace; the call is a span of the caller."""

    @shop().task(name="fail", retries=1, backoff=1)
    def fail() -> None:
        raise ValueError("no")

    with sentry_sdk.start_transaction(name="request"):
        fail.with_options()
        fail()
    eager.advance(60)

    request, first, second = (
        next(one for one in reports.transactions if one["transaction"] == "request"),
        *[one for one in reports.transactions if one["transaction"] == "fail"],
    )
    (published,) = [span for span in request["spans"] if span["op"] == "queue.publish"]
    assert first["contexts"]["trace"]["parent_span_id"] == published["span_id"]
    assert first["contexts"]["trace"]["trace_id"] == request["contexts"]["trace"]["trace_id"]
    assert second["contexts"]["trace"]["trace_id"] != request["contexts"]["trace"]["trace_id"]


@pytest.mark.usefixtures("eager")
def test_the_trace_stays_here_if_that_was_asked_for(reports: Reports) -> None:
    """No header is written."""
    seen = list[str]()
    shop(propagate=False).task(name="look")(lambda: seen.extend(current_task().headers))()

    assert seen == []
    assert len(reports.transactions) == 1


@pytest.mark.usefixtures("eager")
@pytest.mark.filterwarnings("ignore:The send_default_pii option is deprecated")
@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({}, False),
        ({"send_default_pii": False}, False),
        ({"send_default_pii": True}, True),
        ({"data_collection": {"queues": False, "stack_frame_variables": False}}, False),
        ({"data_collection": {"queues": True}}, True),
    ],
)
def test_arguments_are_sent_only_if_personal_data_may_be(
    reports: Reports, options: dict[str, Any], allowed: bool
) -> None:
    """As the client's options say."""
    init(reports, include_local_variables=False, **options)

    @shop().task(name="fail")
    def fail(card: str) -> None:
        raise ValueError("no")

    fail("4111" * 3)
    fail(card="4111" * 3)

    first, second = (error["contexts"]["pyxqueue"] for error in reports.errors)
    assert (first.get("args"), second.get("kwargs")) == (
        (["4111" * 3], {"card": "4111" * 3}) if allowed else (None, None)
    )
    assert allowed or "4111" * 3 not in str(reports.errors)


@pytest.mark.usefixtures("eager")
def test_the_scope_of_a_run_is_its_own(reports: Reports) -> None:
    """What a task says to Sentry is not said of the next one."""
    queue = shop()

    @queue.task(name="tag")
    def tag() -> None:
        sentry_sdk.set_tag("customer", "acme")
        sentry_sdk.get_isolation_scope().add_breadcrumb({"message": "sold"})

    @queue.task(name="fail")
    def fail() -> None:
        raise ValueError("no")

    tag()
    fail()

    (error,) = reports.errors
    assert "customer" not in error.get("tags", {})
    assert "sold" not in str(error.get("breadcrumbs", ""))


@pytest.mark.usefixtures("eager")
def test_other_lines_of_a_worker_are_reported(reports: Reports) -> None:
    """Only the line about what this plugin decides on is left out."""
    Sentry()

    logging.getLogger("pyxqueue.worker").error("the thread broke")

    assert [error["logentry"]["message"] for error in reports.errors] == ["the thread broke"]


def test_the_end_of_a_process_sends_what_was_not_sent(reports: Reports) -> None:
    """In the time that it has."""
    Sentry().stopping(2.5)

    assert reports.transport.flushed == [2.5]


def test_a_run_whose_lease_was_lost_is_not_reported(reports: Reports) -> None:
    """Another worker has the task, and it may succeed there."""
    plugin, error = Sentry(report_retries=True), ValueError("no")
    with plugin.around(TaskContext("id", "sell", 1, "shop", {}, lambda _: None, group="g", worker="w")):
        pass
    outcome = Raised(Failure("ValueError", "no"), exception=error)

    plugin.observe(TaskSettled("id", "sell", 1, "w", outcome, Fail("no"), accepted=False, seconds=1.0, queue="shop"))
    plugin.observe(TaskSettled("id", "sell", 1, "w", outcome, Fail("no"), accepted=True, seconds=1.0, queue="shop"))

    assert len(reports.errors) == 1


@pytest.mark.usefixtures("eager")
def test_without_a_client_nothing_happens() -> None:
    """A program that does not call ``sentry_sdk.init`` runs its tasks as ever."""
    seen = list[str]()
    shop().task(name="look")(lambda: seen.extend(current_task().headers))()

    assert seen == []


@given(st.dictionaries(st.sampled_from(["sentry-trace", "baggage"]), st.text(max_size=200)))
def test_no_header_makes_a_run_fail(headers: dict[str, str]) -> None:
    """Whoever can write to a store that has no seal can write any header."""
    context = TaskContext("id", "sell", 1, "shop", headers, lambda _: None, group="g", worker="w")
    ran = []

    with Sentry().around(context):
        ran.append(context)

    assert ran
