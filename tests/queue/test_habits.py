"""What other queues have taught people to try: it fails, and the error names our way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from attrs import fields

import pyxqueue.client.habits
from pyxqueue import (
    ArgumentError,
    AsyncResult,
    ConfigurationError,
    FlowResult,
    PyxqueueError,
    SerializationError,
    Task,
    TaskQueue,
    UnknownTaskError,
    chain,
)
from pyxqueue.client.habits import instead
from pyxqueue.options import CallOptions

forms: Any = pyxqueue  # a type checker knows that their objects do not have these names
CALL_OPTIONS = ", ".join(field.name for field in fields(CallOptions))


@pytest.fixture
def add(queue: TaskQueue) -> Task[..., int]:
    return queue.task(name="shop.add")(lambda a, b: a + b)


@pytest.mark.parametrize(
    ("attempt", "way"),
    [
        (lambda add: add.delay(1, 2), r"<Task shop.add> has no attribute 'delay': call the task to enqueue it: add\("),
        (lambda add: add.send(1, 2), r"call the task to enqueue it: add\(\.\.\.\)"),
        (lambda add: add.apply_async((1, 2), countdown=3), r"add\.with_options\(delay=60\)\(\.\.\.\)"),
        (lambda add: add.s(1, 2), r"a call for chain, group and chord: add\.of\("),
        (lambda add: add.then(add), r"pyxqueue\.chain\(add\.of"),
        (lambda add: add.bogus, "<Task shop.add> has no attribute 'bogus'$"),
    ],
)
def test_a_task_has_no_other_ways(add: Any, attempt: Callable[[Any], object], way: str) -> None:
    """The names of other queues raise an `AttributeError` that has the name used here."""
    with pytest.raises(AttributeError, match=way):
        attempt(add)


@pytest.mark.parametrize("name", ["enqueue", "send_task", "submit_task", "actor", "fetch_job", "bogus"])
def test_a_queue_has_no_other_ways(queue: TaskQueue, name: str) -> None:
    """`hasattr` is false for the names of other queues, and reading one raises an error."""
    assert not hasattr(queue, name)
    with pytest.raises(AttributeError, match=f"has no attribute '{name}'"):
        getattr(queue, name)


def test_a_function_is_not_handed_to_the_queue(queue: TaskQueue, add: Any) -> None:
    """The error says to call the task instead."""
    attempt: Any = queue

    with pytest.raises(AttributeError, match=r"call a task to enqueue it: add\(1, 2\)"):
        attempt.enqueue(add, 1, 2)


@pytest.mark.parametrize(("name", "way"), [("id", "handle.task_id"), ("ready", "handle.done"), ("result", "get")])
def test_a_handle_has_no_other_names(add: Any, name: str, way: str) -> None:
    """The names that handles have in other queues raise an error that has the name used here."""
    with pytest.raises(AttributeError, match=way):
        getattr(add(1, 2), name)


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("pause", r"queue\.admin\.pause\(\)"),
        ("rate_limit", r"limits=\[Concurrency\(2, by=\.\.\.\), Rate\(10, per=60\)\]"),
        ("add_periodic_task", r"@queue\.task\(cron="),
    ],
)
def test_a_queue_names_what_controls_its_flow(name: str, way: str, queue: TaskQueue) -> None:
    """Others have it on the queue."""
    with pytest.raises(AttributeError, match=way):
        getattr(queue, name)


@pytest.mark.parametrize(
    ("attempt", "way"),
    [
        (
            lambda add: forms.chain(add.of(1, 2), add.of(3)).delay(),
            r"<chain of 2 steps> has no .* enqueue it: chain\(\.\.\.\)\(",
        ),
        (lambda add: forms.group(add.of(1, 2)).get(), r"<group of 1 step> has no .* group\(\.\.\.\)\(\)\.get\(\)"),
        (lambda add: forms.group(add.of(1, 2))().state, "each task has a state"),
        (lambda add: forms.group(add.of(1, 2))().results, r"list\(handle\)"),
        (lambda add: forms.group(add.of(1, 2))().bogus, "has no attribute 'bogus'$"),
    ],
)
def test_a_flow_has_no_other_names(add: Any, attempt: Callable[[Any], object], way: str) -> None:
    """The names that canvas, pipelines and their results have in other queues raise an error that has ours."""
    with pytest.raises(AttributeError, match=way):
        attempt(add)


def test_a_handle_is_not_an_argument_outside_of_a_flow(add: Any) -> None:
    """The error says how to hand a result on."""
    with pytest.raises(SerializationError, match=r"AsyncResult cannot travel: pass its value, .* or flow\.add"):
        add(add(1, 2), 3)


def test_a_flow_without_its_block(queue: TaskQueue, add: Any) -> None:
    """A handle of a task that is not enqueued yet says so."""
    handle = queue.flow().add(add, 1, 2)

    with pytest.raises(UnknownTaskError, match="in a flow that is enqueued at the end of its `with` block"):
        handle.get(timeout=0)


@pytest.mark.parametrize(
    ("habits", "kind"),
    [
        ("TASK_HABITS", Task),
        ("QUEUE_HABITS", TaskQueue),
        ("RESULT_HABITS", AsyncResult),
        ("CANVAS_HABITS", chain),
        ("FLOW_HABITS", FlowResult),
    ],
)
def test_no_habit_is_about_something_there_is(habits: str, kind: type, queue: TaskQueue, add: Any) -> None:
    """A hint for a name that exists would never be shown, and would be wrong."""
    form = chain(add.of(1, 2))
    have = {Task: add, TaskQueue: queue, AsyncResult: add(1, 2), chain: form, FlowResult: form()}[kind]

    assert [name for name in getattr(pyxqueue.client.habits, habits) if hasattr(have, name)] == []


@pytest.mark.parametrize(
    ("options", "way"),
    [
        (
            {"dealy": 3},
            rf"got an unknown option dealy \(dealy: did you mean delay=\?\); the options are {CALL_OPTIONS}$",
        ),
        (
            {"routing_key": 9},
            r"got an unknown option routing_key \(routing_key: a task stays on its queue: declare it on the other one",
        ),
        ({"countdown": 9}, r"\(countdown: delay=\)"),
        ({"retries": 9}, r"\(retries: it belongs to the task: @queue.task\(retries=\.\.\.\)\)"),
        ({"bogus": 9, "delay": 1}, f"got an unknown option bogus; the options are {CALL_OPTIONS}$"),
    ],
)
def test_an_option_of_a_call_that_there_is_not(add: Any, options: dict[str, Any], way: str) -> None:
    """The error is a `TypeError`, as from any function, and a `PyxqueueError`."""
    with pytest.raises(ArgumentError, match=way) as caught:
        add.with_options(**options)
    assert str(caught.value).startswith("shop.add.with_options got an unknown option ")
    assert isinstance(caught.value, TypeError)
    assert isinstance(caught.value, PyxqueueError)


@pytest.mark.parametrize(
    ("given", "known", "guess"),
    [
        ("other", "note", ""),
        ("kind", "task_id", ""),
        ("dealy", "delay", " (dealy: did you mean delay=?)"),
        ("nme", "name", " (nme: did you mean name=?)"),
        ("crashes_max", "max_crashes", " (crashes_max: did you mean max_crashes=?)"),
    ],
)
def test_a_guess_resembles_what_was_given(given: str, known: str, guess: str) -> None:
    """A short name needs to be nearly the same, since two letters in common make any two short names alike."""
    assert instead([given], [known], {}) == guess


def test_options_of_a_call_have_names(add: Any) -> None:
    """Options are given by name, because a delay and a moment could not be told apart."""
    with pytest.raises(
        ArgumentError, match=f"with_options takes options by name, not 3; the options are {CALL_OPTIONS}$"
    ):
        add.with_options(3)


@pytest.mark.parametrize("five", [300, 300.0, timedelta(minutes=5)])
def test_a_length_of_time_may_be_a_timedelta(queue: TaskQueue, five: Any) -> None:
    """Every parameter in seconds also takes a `timedelta`."""
    task = queue.task(name="one", timeout=five, hard_timeout=five, result_ttl=five, backoff=five, backoff_max=five)(
        lambda: 1
    )
    options = task.options

    assert task.with_options(delay=five).call_options.delay == 300
    assert (options.timeout, options.hard_timeout, options.result_ttl) == (300, 300, 300)
    assert (options.backoff, options.backoff_max) == (300, 300)
    assert TaskQueue("memory://", lease=five).stores.backend.lease_ms() == 300_000
    assert pyxqueue.RetryLater(five).delay == 300


def test_time_in_eager_mode_may_be_a_timedelta() -> None:
    """The pause of a retry, the step of the clock and a timeout may be a `timedelta`."""
    queue = TaskQueue("q", eager=True)

    @queue.task(retries=1, backoff=timedelta(minutes=1))
    def once() -> int:
        if pyxqueue.current_task().attempt == 1:
            raise pyxqueue.RetryLater(timedelta(hours=1))
        return 1

    handle = once.with_options(delay=timedelta(hours=1))()
    assert queue.eager is not None
    queue.eager.advance(timedelta(hours=2, seconds=-1))
    assert handle.state.name == "RETRY"
    assert handle.get(timeout=timedelta(seconds=1)) == 1
    assert list(handle.watch(timedelta(seconds=1))) == []


@pytest.mark.parametrize("bad", [timedelta(seconds=-1), "5 minutes"])
def test_a_length_of_time_that_is_none(queue: TaskQueue, bad: Any) -> None:
    """A negative `timedelta` and a text are refused where they are given."""
    with pytest.raises(ConfigurationError, match="delay="):
        queue.task(name="one")(lambda: 1).with_options(delay=bad)
    with pytest.raises(ConfigurationError, match="timeout="):
        queue.task(name="two", timeout=bad)(lambda: 1)
    with pytest.raises(ConfigurationError, match="lease="):
        TaskQueue("q", lease=bad)
