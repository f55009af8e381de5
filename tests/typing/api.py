"""What type checkers say about the public API. Nothing here runs: mypy and pyright read it (``make types``)."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from datetime import datetime, timedelta
from typing import Any, assert_never, assert_type

from pyxqueue import (
    AsyncResult,
    CallConflicted,
    Cancellation,
    Concurrency,
    Debounce,
    EagerSession,
    Event,
    EventStatus,
    FlowResult,
    Missed,
    Outgoing,
    Plugin,
    Progress,
    PyxqueueError,
    Rate,
    Task,
    TaskCall,
    TaskContext,
    TaskExpired,
    TaskQueue,
    TaskSettled,
    TaskStarted,
    TaskStatus,
    Throttle,
    TickSkipped,
    Unique,
    agather,
    as_completed,
    chain,
    chord,
    current_task,
    eager_mode,
    gather,
    group,
    run_workers,
    track,
)
from pyxqueue.client.admin import (
    Admin,
    BatchResult,
    Explanation,
    QueueInfo,
    QueuePage,
    TaskDetails,
    TaskPage,
    WorkerInfo,
)
from pyxqueue.client.schedules import ScheduleHandle
from pyxqueue.model.message import TaskInfo
from pyxqueue.model.statistics import Statistics

queue = TaskQueue("typed")
other = TaskQueue("other")


@queue.task
def plain(url: str, /) -> bytes:
    return url.encode()


@queue.task
async def coroutine(url: str, times: int = 1) -> bytes:
    return url.encode() * times


@queue.task(retries=5, timeout=30, expires=timedelta(hours=1), retry_on=(OSError, ValueError))
def with_options(size: int, *, name: str = "") -> list[str]:
    return [name] * size


@queue.task(name="other")
async def coroutine_with_options(size: int) -> None:
    del size


def a_task_keeps_its_signature() -> None:
    assert_type(plain, Task[[str], bytes])
    assert_type(plain("a"), AsyncResult[bytes])
    assert_type(plain.enqueue("a"), AsyncResult[bytes])
    assert_type(with_options(3, name="a"), AsyncResult[list[str]])
    assert_type(plain.call("a"), bytes)
    assert_type(plain.map([("a",), ("b",)]), list[AsyncResult[bytes]])
    assert_type(plain.with_options(delay=60, headers={"a": "b"}), Task[[str], bytes])
    assert_type(plain.map(({"url": text} for text in "ab"), task_ids=["a", "b"], times=1), list[AsyncResult[bytes]])
    assert_type(plain.with_options(delay=timedelta(minutes=1)), Task[[str], bytes])
    assert_type(plain.with_options(expires=60), Task[[str], bytes])
    assert_type(plain.with_options(expires=timedelta(minutes=1)), Task[[str], bytes])
    assert_type(plain.with_options(expires=datetime.now().astimezone()), Task[[str], bytes])
    assert_type(plain.with_options(eta=datetime.now().astimezone())("a"), AsyncResult[bytes])


def options_are_checked() -> None:
    queue.task(retries="many")  # type: ignore[call-overload]
    queue.task(retrys=3)  # type: ignore[call-overload]
    queue.task(timeout=object())  # type: ignore[call-overload]
    queue.task(retry_on=ValueError("no type"))  # type: ignore[call-overload]
    queue.task(backoff=timedelta(seconds=1), backoff_max=60, jitter=0, give_up_on=KeyError, max_crashes=1)
    queue.task(name="n", timeout=None, hard_timeout=timedelta(minutes=1), result_ttl=60)
    plain.with_options(delay="soon")  # type: ignore[arg-type]
    plain.with_options(expires="soon")  # type: ignore[arg-type]
    plain.with_options(dealy=3)  # type: ignore[call-arg]
    plain.with_options(60)  # type: ignore[call-arg]
    plain.with_options(delay=None, eta=None, task_id="a", headers=None)


@queue.task(unique=Unique(by=("customer",), until="started"))
def unique(customer: int, reason: str = "") -> str:
    return f"{customer} {reason}"


@queue.task(debounce=Debounce(5, by="doc", max_wait=timedelta(minutes=1), keep="first"))
async def debounced(doc: int) -> None:
    del doc


def equal_calls_become_one() -> None:
    assert_type(unique(7), AsyncResult[str])
    assert_type(unique(7).created, bool)
    assert_type(debounced(1), AsyncResult[None])
    assert_type(unique.with_options(throttle=Throttle(60, key="a"))(7), AsyncResult[str])
    assert_type(unique.with_options(unique=Unique(window=timedelta(hours=1))), Task[[int, str], str])  # type: ignore[assert-type]
    Unique(until="never")  # type: ignore[arg-type]
    Unique(("customer",))  # type: ignore[call-arg]
    Debounce()  # type: ignore[call-arg]
    Throttle("soon")  # type: ignore[arg-type]
    queue.task(unique=Throttle(5))  # type: ignore[call-overload]


def one_of_seven(customer: int) -> int:
    return customer % 7


@queue.task(
    limits=[Concurrency(2, by="customer"), Concurrency(4, name="gpu"), Concurrency(1, by=one_of_seven, name="x")]
)
def limited(customer: int) -> str:
    return str(customer)


fair = TaskQueue("fair", fair_by="tenant", weights={"gold": 4, 7: 0.5})
fair_by_function = TaskQueue("fair", fair_by="tenant", weights=lambda tenant: 4 if tenant == "gold" else 1)


@fair.task
def shared(tenant: str) -> str:
    return tenant


def tenants_take_shares() -> None:
    assert_type(shared("gold"), AsyncResult[str])
    TaskQueue("fair", fair_by=7)  # type: ignore[arg-type]
    TaskQueue("fair", fair_by="tenant", weights=4)  # type: ignore[arg-type]


def limits_are_shown_and_set() -> None:
    assert_type(limited(7), AsyncResult[str])
    queue.limits.set("gpu", concurrency=4)
    queue.limits.set("limited", concurrency=None, key=7)
    queue.limits.set("api", rate=100, per=60, burst=10)
    queue.limits.set("api", rate=None, key=7)
    assert_type([str(rate.pace) for rate in queue.limits.rates()], list[str])
    queue.limits.set("api", rate=100)  # type: ignore[call-overload]
    assert_type([gate.waiting for gate in queue.limits.gates()], list[int])
    assert_type([limit.number for limit in queue.limits.list()], list[int | None])
    queue.limits.set("gpu")  # type: ignore[call-overload]
    queue.task(limits=[Rate(100, per=60, burst=10, name="api", by="customer"), Concurrency(2)])
    Rate(100)  # type: ignore[call-arg]
    Rate("100", per=60)  # type: ignore[arg-type]
    Concurrency("2")  # type: ignore[arg-type]
    Concurrency(2, "customer")  # type: ignore[call-arg]
    queue.task(limits=[2])  # type: ignore[list-item]


@queue.task(priority=-50)
def in_the_background(size: int) -> int:
    return size


def a_priority_is_a_whole_number() -> None:
    assert_type(in_the_background.with_options(priority=60)(7), AsyncResult[int])
    in_the_background.with_options(priority=0.5)  # type: ignore[arg-type]
    queue.task(priority="high")  # type: ignore[call-overload]


def an_async_task_returns_the_value_of_its_coroutine() -> None:
    assert_type(coroutine("a", times=2), AsyncResult[bytes])
    assert_type(coroutine("a").get(), bytes)
    assert_type(coroutine_with_options(1), AsyncResult[None])


def a_handle_knows_its_value() -> None:
    handle = plain("a")
    assert_type(handle.get(timeout=5), bytes)
    assert_type(handle.get(show_progress=True), bytes)
    assert_type(handle.get(timedelta(seconds=1)), bytes)
    assert_type(handle.info(), TaskDetails)
    assert_type(handle(block=False), bytes | None)
    assert_type(handle.state, TaskStatus)
    assert_type(handle.progress, Progress | None)
    assert_type(handle.done, bool)
    assert_type(handle.cancel(), Cancellation)
    for step in handle.watch(timeout=1):
        assert_type(step, Progress)


def handles_are_gathered() -> None:
    handles = [plain("a"), coroutine("b")]
    assert_type(gather(handles), list[bytes])
    assert_type(gather(handles, timeout=1, return_exceptions=True), list[bytes | PyxqueueError])
    for handle in as_completed(handles):
        assert_type(handle.get(), bytes)


async def handles_are_gathered_in_asyncio() -> None:
    handles = await plain.amap([("a",), ("b",)])
    assert_type(handles, list[AsyncResult[bytes]])
    assert_type(await agather(handles), list[bytes])
    assert_type(await agather(handles, return_exceptions=True), list[bytes | PyxqueueError])
    async for handle in as_completed(handles, timeout=1):
        assert_type(await handle, bytes)


async def a_handle_can_be_awaited() -> None:
    handle = await plain.aenqueue("a")
    assert_type(handle, AsyncResult[bytes])
    assert_type(await handle, bytes)
    assert_type(await handle.aget(timeout=1), bytes)
    assert_type(await handle.astate(), TaskStatus)
    assert_type(await handle.aprogress(), Progress | None)
    assert_type(await handle.adone(), bool)
    assert_type(await handle.ainfo(), TaskDetails)
    assert_type(await handle.acancel(), Cancellation)
    await handle.aforget()
    async for step in handle.watch():
        assert_type(step, Progress)


def a_queue_is_administered() -> None:
    assert_type(queue.admin, Admin)
    assert_type(queue.admin.info(), QueueInfo)
    assert_type(queue.admin.info("eu"), QueueInfo)
    assert_type(queue.admin.queues(limit=5), QueuePage | None)
    assert_type(list(queue.admin.workers()), list[WorkerInfo])
    assert_type(queue.admin.statistics(minutes=5), Statistics)
    assert_type(queue.admin.task(b"id"), TaskDetails)
    assert_type(queue.admin.tasks("failure", name="mail", after="", limit=10), TaskPage)
    assert_type(queue.admin.tasks(TaskStatus.PENDING), TaskPage)
    assert_type(queue.admin.failed(limit=10), TaskPage)
    assert_type(queue.admin.retry(["a", b"b"]), BatchResult)
    assert_type(queue.admin.retry(all_failed=True), BatchResult)
    assert_type(queue.admin.edit("a", args=[1], kwargs={"b": 2}, name="shop.pay", priority=5), AsyncResult[Any])
    assert_type(queue.admin.cancel("a", force=True), BatchResult)
    assert_type(queue.admin.delete(["a"]), BatchResult)
    assert_type(queue.admin.purge(waiting=True, failed=True, history=True), int)
    assert_type(list(queue.admin.groups()), list[str])
    assert_type(queue.admin.pause(), bool)
    assert_type(queue.admin.pause(limit="api", key=42), bool)
    assert_type(queue.admin.pause(task="shop.render"), bool)
    assert_type(queue.admin.resume(task="shop.render"), bool)
    assert_type(queue.admin.info().paused_tasks, Sequence[str])
    assert_type(queue.limits.paused(), Sequence[str])
    assert_type(queue.admin.resume(), bool)
    assert_type(queue.admin.explain("a"), Explanation)
    queue.admin.remove_group("eu")


def the_names_of_the_release_of_2021() -> None:
    assert_type(queue.get_task("a"), dict[str, Any])
    assert_type(queue.get_tasks(count=3), list[dict[str, Any]])
    assert_type(queue.get_workers(), dict[str, dict[str, Any]])
    assert_type(queue.retry_task(b"a"), AsyncResult[Any])
    assert_type(queue.clear_tasks(count=3), int)
    assert_type(queue.task_total(), int)
    assert_type(queue.gc(), int)


def workers_are_started_here() -> None:
    queue.start(2, threads=4)
    queue.restart()
    queue.shutdown()
    queue.run(1, grace=timedelta(seconds=5))
    queue.run(1, max_tasks_per_child=1_000, max_memory_per_child=512)
    run_workers([queue, other], 2, weights=[3, 1], threads=4)
    run_workers((queue, other), order="strict", grace=timedelta(seconds=5))
    queue.close()


def charge(number: int, cents: int = 0) -> str:
    return f"{number} {cents}"


async def fetch(url: str) -> bytes:
    return url.encode()


def steps() -> None:
    task = current_task()
    assert_type(task.step("charge", charge, 1, cents=2), str)
    task.step("charge", charge, "one")  # type: ignore[arg-type] # wrong on purpose
    task.sleep("cool off", timedelta(hours=1))
    assert_type(task.gather("add", [coroutine.of("a"), coroutine.of("b", 2)]), list[bytes])
    assert_type(task.gather("add", [plain.of("a")], return_exceptions=True), list[bytes | PyxqueueError])
    assert_type(queue.send_event("id", "approved", {"by": "Ada"}), EventStatus)
    task.save(task.cursor(0) + 1)


async def async_steps() -> None:
    task = current_task()
    assert_type(await task.astep("fetch", fetch, "url"), bytes)
    assert_type(await task.astep("charge", charge, 1), str)
    assert_type(await task.agather("add", [plain.of("a")]), list[bytes])
    assert_type(await queue.asend_event(plain("a"), "approved"), EventStatus)
    await task.asleep("cool off", 1)
    await task.asave(await task.await_event("approved", timeout=5))


def inside_a_task() -> None:
    assert_type(current_task(), TaskContext)
    assert_type(current_task().waited, float | None)
    assert_type(current_task().enqueued, datetime | None)
    for number in track([1, 2]):
        assert_type(number, int)


class Warm(Plugin):
    def headers(self, call: Outgoing, /) -> dict[str, str]:
        assert_type(call.count, int)
        return {}

    def around(self, context: TaskContext, /) -> AbstractContextManager[object]:
        return nullcontext()


TaskQueue("typed", max_length=10_000, full_wait=timedelta(seconds=5))
TaskQueue("typed", max_length="many")  # type: ignore[arg-type]
TaskQueue("typed", plugins=[Warm()])
TaskQueue("typed", plugins=[print])  # type: ignore[list-item]


@queue.resource
def returned() -> bytes:
    return b""


@queue.resource
def yielded() -> Iterator[bytes]:
    yield b""


@queue.resource
def generated() -> Generator[bytes, None, None]:
    yield b""


assert_type(returned(), bytes)
assert_type(yielded(), bytes)
assert_type(generated(), bytes)


def observe(event: Event) -> None:
    match event:
        case TaskStarted() | TaskSettled():
            assert_type(event.attempt, int)
        case TaskExpired() | CallConflicted():
            assert_type(event.task_id, str)
        case TickSkipped():
            assert_type(event.schedule, str)
        case _:
            assert_never(event)


@queue.task(cron="30 2 * * *", timezone="Europe/Berlin", missed=Missed("skip", grace=60), overlap="queue")
def nightly(keep: int = 7) -> int:
    return keep


@queue.every(timedelta(minutes=5), missed="all", overlap="allow", retries=3)
async def poll() -> str:
    return ""


def schedules() -> None:
    assert_type(nightly(3), AsyncResult[int])
    assert_type(poll(), AsyncResult[str])
    made = queue.schedules.upsert("id", plain, "url", cron="@daily", missed="skip", kwargs={"a": 1})
    assert_type(made, ScheduleHandle)
    assert_type(queue.schedules["id"].trigger(), AsyncResult[Any])
    for one in queue.schedules:
        assert_type(one.next, datetime | None)
    assert_type(current_task().tick, datetime | None)
    assert_type(current_task().missed, int)


client: Any = None
TaskQueue("redis://localhost", "a")
TaskQueue(client, "a")
TaskQueue(client, stream_key="a")
TaskQueue(client=client, stream_key="a")
TaskQueue("redis://localhost", stream_key="a", observer=observe, lease=5, serializer="msgpack", accept=["json"])

with eager_mode(propagate=True) as session:
    assert_type(session, EagerSession)
    session.advance(1.5)
    session.advance(timedelta(hours=1))


def flows() -> None:
    call = plain.of("a", times=2)
    assert_type(call, TaskCall[bytes])
    assert_type(chain(call, plain.of())(), FlowResult)
    assert_type(chord((plain.of(text) for text in "ab"), plain.of())(), FlowResult)
    assert_type(group(plain.of(text) for text in "ab")(), FlowResult)
    with queue.flow() as flow:
        first = flow.add(plain, "a")
        assert_type(first, AsyncResult[bytes])
        assert_type(flow.add(plain.of("a"), after=[first, "id"], on_failure="wait"), AsyncResult[bytes])
        assert_type(flow.add(plain, first, after={first: "continue"}), AsyncResult[bytes])
        assert_type(flow.chord([call], plain), AsyncResult[bytes])
        flow.add(plain, "a", on_failure="never")  # type: ignore[arg-type, unused-ignore] # wrong on purpose
    assert_type(flow.result(), FlowResult)
    assert_type(flow.result().infos(), Iterator[TaskInfo | None])
