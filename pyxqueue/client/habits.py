"""Names that users of other task queues try, and what to use instead. They only improve the text of errors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, TypeVar, cast

from attrs import AttrsInstance, fields

from ..errors import ArgumentError
from ..printable import quoted

F = TypeVar("F", bound=Callable[..., Any])


def _each(names: str, way: str) -> dict[str, str]:
    return dict.fromkeys(names.split(), way)


TASK_HABITS: Mapping[str, str] = {
    **_each("delay send kiq submit push defer", "call the task to enqueue it: {name}(...)"),
    **_each(
        "apply_async send_with_options kicker configure schedule enqueue_in enqueue_at",
        "options of a call: {name}.with_options(delay=60)(...)",
    ),
    **_each("apply call_local fn original_func original", "to run it here: {name}.call(...), or {name}.function"),
    **_each("starmap chunks batch map_async", "many calls: {name}.map([(1,), (2,)])"),
    **_each("s si signature subtask message", "a call for chain, group and chord: {name}.of(...)"),
    **_each("pipe then chain", "tasks one after the other: pyxqueue.chain({name}.of(...), ...)()"),
    **_each("AsyncResult fetch", "a handle by its id: queue.result(task_id)"),
    **_each("retry", "inside the task: raise pyxqueue.RetryLater(delay)"),
    **_each("request update_state", "inside the task: pyxqueue.current_task(), pyxqueue.progress(...)"),
}
QUEUE_HABITS: Mapping[str, str] = {
    **_each(
        "enqueue enqueue_call enqueue_many send_task apply_async add_task submit put push delay defer",
        "call a task to enqueue it: add(1, 2), or add.enqueue(1, 2)",
    ),
    **_each("enqueue_in enqueue_at schedule", "options of a call: add.with_options(delay=60)(1, 2)"),
    **_each(
        "cron periodic_task scheduled crontab periodic add_periodic_task scheduler beat recurring repeat",
        "a task that runs by itself: @queue.task(cron='30 2 * * *')",
    ),
    **_each("pause suspend resume unpause is_paused explain", "it is in queue.admin: queue.admin.pause(), .resume()"),
    **_each(
        "chain group chord pipeline workflow canvas dag",
        "tasks that wait for each other: `with queue.flow() as flow:`, or pyxqueue.chain(add.of(1, 2), ...)()",
    ),
    **_each(
        "limit rate_limit concurrency semaphore throttle",
        "an option of the task: @queue.task(limits=[Concurrency(2, by=...), Rate(10, per=60)]); queue.limits.set(...) "
        "changes it",
    ),
    **_each("actor job register", "a task is declared by @queue.task"),
    **_each("worker Worker work start_worker consume", "workers: queue.run(), queue.start(), or `pyxqueue worker`"),
    **_each("stop", "queue.shutdown() stops what queue.start() started"),
    **_each("AsyncResult fetch_job get_result get_job", "a handle by its id: queue.result(task_id)"),
    **_each("purge empty flush", "queue.admin.purge(waiting=True), or `pyxqueue purge`"),
    **_each("length size count depth", "queue.admin.info().depth"),
    **_each("cancel cancel_task revoke", "queue.admin.cancel(id), or `pyxqueue cancel`"),
    **_each("retry requeue", "queue.admin.retry(id), or `pyxqueue retry`"),
    **_each(
        "signal send_signal raise_event emit notify", "an event for one task: queue.send_event(task_id, name, value)"
    ),
    **_each(
        "step checkpoint sleep wait_for_event", "inside a task: current_task().step(...), .sleep(...), .wait_event(...)"
    ),
    **_each("info workers groups failed tasks delete remove_group queues", "it is a method of queue.admin"),
}
RESULT_HABITS: Mapping[str, str] = {
    **_each("id job_id", "handle.task_id"),
    **_each("result value return_value wait join wait_result", "handle.get(timeout=5), or await handle"),
    **_each("ready is_ready is_finished", "handle.done"),
    **_each("status get_status successful failed is_failed is_err", "handle.state"),
    **_each("revoke abort", "handle.cancel()"),
    **_each("error exc_info traceback exception", "handle.get() raises a TaskError with them"),
}
CANVAS_HABITS: Mapping[str, str] = {
    **_each("apply_async delay run apply start send", "call it to enqueue it: {name}(...)()"),
    **_each("get result wait join state", "call it to enqueue it, and wait for its handle: {name}(...)().get()"),
    **_each("then link add_completion_callback", "a step behind it: chain({name}(...), add.of())"),
    **_each(
        "link_error on_error error",
        "a task that runs however it ends: flow.add(add, after=[...], on_failure='continue') in queue.flow()",
    ),
}
FLOW_HABITS: Mapping[str, str] = {
    **_each("task_id", "handle.id"),
    **_each("result wait join", "handle.get(timeout=5), or await handle"),
    **_each("ready completed is_finished", "handle.done"),
    **_each("state status successful failed", "each task has a state: [one.state for one in handle]"),
    **_each("results children tasks", "the handle of each task: list(handle)"),
    **_each("progress completed_count", "for progress in handle.watch()"),
    **_each("revoke abort stop", "handle.cancel()"),
}
_OF_THE_TASK = "it belongs to the task: @queue.task({given}=...)"
CALL_HABITS: Mapping[str, str] = {
    **_each("countdown", "delay="),
    **_each("id job_id", "task_id="),
    **_each("queue queue_name routing_key", "a task stays on its queue: declare it on the other one too"),
    **_each("retries timeout hard_timeout result_ttl backoff name", _OF_THE_TASK),
    **_each("max_retries retry", "it belongs to the task: @queue.task(retries=...)"),
    **_each("time_limit soft_time_limit job_timeout", "it belongs to the task: @queue.task(timeout=...)"),
    **_each("limits cron every", _OF_THE_TASK),
}
TASK_OPTION_HABITS: Mapping[str, str] = {
    **_each("max_retries retry", "retries="),
    **_each("autoretry_for retry_when", "retry_on="),
    **_each("throws dont_autoretry_for", "give_up_on="),
    **_each("retry_backoff default_retry_delay min_backoff retry_delay", "backoff="),
    **_each("retry_backoff_max max_backoff", "backoff_max="),
    **_each("soft_time_limit job_timeout", "timeout="),
    **_each("time_limit", "hard_timeout="),
    **_each("ttl result_expires store_results ignore_result", "result_ttl="),
    **_each("bind context", "call pyxqueue.current_task() inside the task"),
    **_each("unique_for deduplicate once lock job_key singleton", "unique=Unique(by=(...))"),
    **_each(
        "concurrency max_concurrency concurrency_key concurrency_limit limits_concurrency semaphore max_running",
        "limits=[Concurrency(2, by=...)]",
    ),
    **_each("rate_limit rate limiter", "limits=[Rate(10, per=60)]"),
    **_each("rate_limit_window cooldown", "throttle=Throttle(60, by=(...))"),
    **_each("crontab schedule", "cron='30 2 * * *', or every=timedelta(...)"),
    **_each("tz", "timezone="),
    **_each("interval period run_every", "every=timedelta(...)"),
    **_each("coalesce catchup misfire_grace_time catchup_window", "missed=Missed(...)"),
    **_each("max_instances concurrency_policy", "overlap="),
    **_each("queue queue_name", "a task is on the queue that declares it"),
    **_each("delay eta task_id headers", "it belongs to a call: add.with_options({given}=...)(1, 2)"),
    **_each("countdown", "it belongs to a call: add.with_options(delay=...)(1, 2)"),
}


def no_attribute(obj: object, attribute: str, habits: Mapping[str, str], name: str = "") -> AttributeError:
    """Return the error for an unknown attribute, with a hint if other task queues have one of that name."""
    way = habits.get(attribute)
    hint = f": {way.format(name=name)}" if way else ""
    return AttributeError(f"{obj} has no attribute {quoted(attribute)}{hint}", name=attribute, obj=obj)


def instead(given: Iterable[str], known: Iterable[str], habits: Mapping[str, str]) -> str:
    """Return a hint with the options that the caller may have meant by unknown ones; empty if there is no guess."""
    from difflib import get_close_matches  # noqa: PLC0415 - only for a mistake

    listed, ways = list(known), []
    for one in given:
        close = get_close_matches(one, listed, 1, cutoff=0.8 if len(one) < 6 else 0.6)
        if one in habits:
            ways.append(f"{one}: {habits[one].format(given=one)}")
        elif close:
            ways.append(f"{one}: did you mean {close[0]}=?")
    return f" ({'; '.join(ways)})" if ways else ""


def explains_options(options: type[AttrsInstance]) -> Callable[[F], F]:
    """Return a decorator for a method whose parameters are the fields of `options`. For any other argument the method
    raises an `ArgumentError` that helps."""
    known = [field.name for field in fields(options)]

    def decorate(function: F) -> F:
        @wraps(function)
        def checked(self: Any, *args: Any, **given: Any) -> Any:
            unknown = sorted(set(given).difference(known))
            if unknown or args:
                what = (
                    f"takes options by name, not {quoted(args[0])}"
                    if args
                    else f"got an unknown option {', '.join(unknown)}"
                )
                hint = instead(unknown, known, CALL_HABITS)
                raise ArgumentError(f"{self.name}.{function.__name__} {what}{hint}; the options are {', '.join(known)}")
            return function(self, **given)

        return cast(F, checked)

    return decorate
