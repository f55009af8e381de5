"""`AsyncResult`, the handle of one task: it waits for the result, watches progress and cancels."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import TYPE_CHECKING, Any, Generic, Never, TypeVar, cast

from ..clock import Seconds
from ..errors import ResultTimeoutError
from ..model.message import Cancellation, Progress, Record, TaskInfo, TaskStatus
from ..names import Unique, home_or_error, load
from ..printable import QUOTED, printable
from .bar import ProgressBar
from .habits import RESULT_HABITS, no_attribute
from .reader import Reader
from .waiting import End, Limit, Steps, arun, cancel, ends, look, next_info, run

if TYPE_CHECKING:
    from .views import TaskDetails

R = TypeVar("R")
_NOTHING: Any = object()


class AsyncResult(Unique, Generic[R]):
    """The handle of one task. A handle does not hold a connection, and any thread may use it.

    All times are in seconds, or a `timedelta`. Methods that begin with ``a``, such as `aget`, are for asyncio.
    """

    _to_send_instead = (
        "pass its value, handle.get(), or its id; to let a task wait for this one and get its value, call both in a "
        "flow: chain(...), or flow.add(...) in `with queue.flow() as flow:`"
    )
    """Said by the error for a handle as an argument."""

    def __init__(self, reader: Reader, task_id: str, task_name: str | None = None, created: bool = False) -> None:
        self.task_id = task_id
        self.created = created
        """True if the call that returned this handle created the task; False if the task was there already."""
        self._reader = reader
        self._task_name = task_name
        self._value: Any = _NOTHING
        self._success: Record | None = None

    # Waiting

    def get(self, timeout: Seconds | None = None, *, show_progress: bool = False) -> R:
        """Wait up to `timeout` seconds (None: without a limit) for the task to end, and return its return value.

        `show_progress` draws a progress bar while waiting, in a terminal or a notebook only.

        If the store cannot be reached meanwhile, `get` tries again for 30 s. After 3 s it logs a warning if no worker
        serves the queue.

        Raises `TaskError` if the task failed, `TaskCancelledError` if it was cancelled, `ResultTimeoutError` (a
        `TimeoutError`) if it has not ended in time or the store did not reply until then, `BrokerUnavailableError` if
        the store cannot be reached, `UnknownTaskError` if the store does not know the task or its result has expired,
        `SerializationError` if the result cannot be decoded here.
        """
        if self._has_value:
            return self._open(None)
        limit = Limit.of([self.task_id], timeout, [self._reader])
        return self._open(run(self._ends(limit, show_progress), limit)[self.task_id])

    async def aget(self, timeout: Seconds | None = None, *, show_progress: bool = False) -> R:
        """`get` for asyncio. It does not block the event loop. ``await handle`` waits without a limit."""
        if self._has_value:
            return self._open(None)
        limit = Limit.of([self.task_id], timeout, [self._reader])
        return self._open((await arun(self._ends(limit, show_progress), limit))[self.task_id])

    def __await__(self) -> Generator[Any, None, R]:
        return self.aget().__await__()

    def __call__(self, block: bool = True, timeout: Seconds | None = None) -> R | None:
        """Return `get(timeout)`. With ``block=False``, return the value if the task has ended, else None. Raises what
        `get` raises."""
        if block or self._has_value:
            return self.get(timeout)
        limit = Limit.of([self.task_id], 0, [self._reader], hint=False)
        try:
            return self._open(run(self._ends(limit, False), limit)[self.task_id])
        except ResultTimeoutError:
            return None

    def watch(self, timeout: Seconds | None = None) -> Watch:
        """Iterate over the changes of the task's progress with ``for`` or ``async for``, until the task ends.

        While iterating, raises `ResultTimeoutError` after `timeout` seconds, and `UnknownTaskError`.
        """
        return Watch(self._reader, self.task_id, timeout)

    # Inspecting: each of these is a round trip to the store

    @property
    def state(self) -> TaskStatus:
        """The status of the task now. It takes a round trip; use `astate` for asyncio. Raises `UnknownTaskError`."""
        return self._look().status

    async def astate(self) -> TaskStatus:
        """`state` for asyncio."""
        return (await self._alook()).status

    @property
    def progress(self) -> Progress | None:
        """The last progress that the task reported, or None. It takes a round trip; use `aprogress` for asyncio. Raises
        `UnknownTaskError`."""
        return self._look().progress

    async def aprogress(self) -> Progress | None:
        """`progress` for asyncio."""
        return (await self._alook()).progress

    @property
    def done(self) -> bool:
        """True if the task has ended, with success or not. It takes a round trip; use `adone` for asyncio. Raises
        `UnknownTaskError`."""
        return self.state.ended

    async def adone(self) -> bool:
        """`done` for asyncio."""
        return (await self.astate()).ended

    def info(self) -> TaskDetails:
        """Return the details of the task, as `TaskQueue.admin.task` does. Raises `UnknownTaskError`."""
        return self._details(self._look())

    async def ainfo(self) -> TaskDetails:
        """`info` for asyncio."""
        return self._details(await self._alook())

    # Ending

    def cancel(self, force: bool = False) -> Cancellation:
        """Cancel the task. A waiting task ends at once; a running one is interrupted within about a second.

        A second `cancel` interrupts a task once more that has ignored the first. `force` kills the process that runs
        the task; other tasks in that process go back to the queue uncharged. The `Cancellation` that is returned is
        false if the task has ended.
        """
        return run(cancel(self._reader, self.task_id, force))

    async def acancel(self, force: bool = False) -> Cancellation:
        """`cancel` for asyncio."""
        return await arun(cancel(self._reader, self.task_id, force))

    def forget(self) -> None:
        """Delete the stored result now, before its time to live has passed."""
        self._reader.backend.forget([self.task_id])

    async def aforget(self) -> None:
        """`forget` for asyncio."""
        await self._reader.producer.forget([self.task_id])

    def __repr__(self) -> str:
        return f"<AsyncResult {printable(self._task_name or 'task')} {printable(self.task_id, QUOTED)}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the name of the queue and the id. The process that loads them imports the module of the queue."""
        return _found, (*home_or_error(self._reader.queue, "__main__"), self.task_id, self._task_name, self.created)

    if not TYPE_CHECKING:  # a type checker must not think that there are more attributes

        def __getattr__(self, name: str) -> Never:
            raise no_attribute(self, name, RESULT_HABITS)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AsyncResult) and other.task_id == self.task_id

    def __hash__(self) -> int:
        return hash(self.task_id)

    def _look(self) -> TaskInfo:
        return run(look(self._reader, self.task_id))

    async def _alook(self) -> TaskInfo:
        return await arun(look(self._reader, self.task_id))

    def _details(self, info: TaskInfo) -> TaskDetails:
        from .views import TaskDetails  # noqa: PLC0415 - few programs look at details

        return TaskDetails.of(info, self._reader.codec)

    def _ends(self, limit: Limit, show_progress: bool) -> Steps[dict[str, End]]:
        """Return the steps of a wait for the end, with a progress bar if `show_progress`."""
        steps = ends(self._reader, [self.task_id], limit)
        return self._shown(steps, limit) if show_progress else steps

    def _shown(self, steps: Steps[dict[str, End]], limit: Limit) -> Steps[dict[str, End]]:
        with ProgressBar(self._task_name or self.task_id) as bar:
            seen: TaskInfo | None = None
            while seen is None or not seen.status.ended:
                before, seen = seen, (yield from next_info(self._reader, self.task_id, seen, limit))
                if (change := _change(before, seen)) is not None:
                    bar.show(change)
        return (yield from steps)

    @property
    def _has_value(self) -> bool:
        """Whether this handle has received the value already."""
        return self._value is not _NOTHING or self._success is not None

    def _keep(self, end: End | None) -> None:
        """Keep the record of a success. A failure is not kept, because the task may be retried."""
        if isinstance(end, Record) and end.status is TaskStatus.SUCCESS:
            self._success = end

    def _open(self, end: End | None) -> R:
        """Return the value of an end, or raise its error. `end` is None if this handle has the value already."""
        if self._value is not _NOTHING:
            return cast(R, self._value)
        end = end or self._success
        assert end is not None
        if isinstance(end, Exception):
            raise end
        if end.status is not TaskStatus.SUCCESS:
            raise self._reader.codec.end_error(end)
        self._value = self._reader.codec.open_result(end)
        self._success = None
        return cast(R, self._value)


async def changes_of(handle: AsyncResult[Any], timeout: Seconds | None) -> AsyncGenerator[TaskInfo]:
    """Yield what the store knows of a task, now and after each change of its status or its progress, until it has
    ended; for the dashboard. Raises `ResultTimeoutError` and `UnknownTaskError`."""
    reader, seen = handle._reader, None  # noqa: SLF001 - a part of it
    limit = Limit.of([handle.task_id], timeout, [reader], hint=False)
    while seen is None or not seen.status.ended:
        seen = await arun(next_info(reader, handle.task_id, seen, limit), limit)
        yield seen


def _found(module: str, queue: str, task_id: str, task_name: str | None, created: bool = False) -> AsyncResult[Any]:
    """Return the handle that was pickled with these values."""
    handle: AsyncResult[Any] = load(module, queue).result(task_id)
    return AsyncResult(handle._reader, task_id, task_name, created)  # noqa: SLF001 - a handle of our own


class Watch:
    """The changes of one task's progress, for ``for`` and ``async for``."""

    def __init__(self, reader: Reader, task_id: str, timeout: Seconds | None) -> None:
        self._reader = reader
        self._task_id = task_id
        self._timeout = timeout

    def _limit(self) -> Limit:
        return Limit.of([self._task_id], self._timeout, [self._reader])

    def __iter__(self) -> Iterator[Progress]:
        limit, seen = self._limit(), None
        while seen is None or not seen.status.ended:
            before, seen = seen, run(next_info(self._reader, self._task_id, seen, limit), limit)
            if (change := _change(before, seen)) is not None:
                yield change

    async def __aiter__(self) -> AsyncIterator[Progress]:
        limit, seen = self._limit(), None
        while seen is None or not seen.status.ended:
            before, seen = seen, await arun(next_info(self._reader, self._task_id, seen, limit), limit)
            if (change := _change(before, seen)) is not None:
                yield change


def _change(before: TaskInfo | None, now: TaskInfo) -> Progress | None:
    """Return the progress if it has changed, else None."""
    return now.progress if before is None or now.progress != before.progress else None
