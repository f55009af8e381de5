"""`gather` and `as_completed`: one wait for many handles."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import nullcontext
from typing import Any, Generic, Literal, TypeVar, overload

from ..clock import Seconds
from ..errors import ConfigurationError, PyxqueueError
from ..model.message import Progress
from ..printable import counted, quoted
from .bar import ProgressBar
from .reader import Reader
from .result import AsyncResult
from .waiting import End, Limit, Steps, arun, ends, run

R = TypeVar("R")
_TURN = 50
"""How many milliseconds to wait on one store before the next one's turn, if the handles belong to several stores."""


class AsCompleted(Generic[R]):
    """Iterates over handles in the order in which their tasks end, with ``for`` or ``async for``."""

    def __init__(self, handles: Iterable[AsyncResult[R]], timeout: Seconds | None) -> None:
        self._handles = _checked(handles, "as_completed")
        self._timeout = timeout

    def __iter__(self) -> Iterator[AsyncResult[R]]:
        pending = _Pending(self._handles, self._timeout)
        while pending:
            yield from pending.kept(run(pending.some(), pending.limit))

    async def __aiter__(self) -> AsyncIterator[AsyncResult[R]]:
        pending = _Pending(self._handles, self._timeout)
        while pending:
            for handle in pending.kept(await arun(pending.some(), pending.limit)):
                yield handle


class _Pending(Generic[R]):
    """The handles, by their positions in a list, whose tasks have not ended yet."""

    def __init__(self, handles: Sequence[AsyncResult[R]], timeout: Seconds | None) -> None:
        self._handles = handles
        self._stores: list[tuple[Reader, dict[str, list[int]]]] = []
        by_store: dict[int, dict[str, list[int]]] = {}
        self._ready: list[tuple[int, End | None]] = []
        for place, handle in enumerate(handles):
            if handle._has_value:  # noqa: SLF001 - the handle's other half
                self._ready.append((place, None))
                continue
            reader = handle._reader  # noqa: SLF001
            key = id(reader.backend)
            if key not in by_store:
                by_store[key] = {}
                self._stores.append((reader, by_store[key]))
            by_store[key].setdefault(handle.task_id, []).append(place)
        ids = [handle.task_id for handle in handles]
        self.limit = Limit.of(ids, timeout, [reader for reader, _ in self._stores])

    def __bool__(self) -> bool:
        return bool(self._ready or self._stores)

    def some(self) -> Steps[list[tuple[int, End | None]]]:
        """Wait until more tasks have ended, and return their positions and ends. Raises `ResultTimeoutError`."""
        ended, self._ready = self._ready, []
        while not ended:
            for store in list(self._stores):
                reader, left = store
                turn = _TURN if len(self._stores) > 1 and not reader.one_process else None
                found = yield from ends(reader, list(left), self.limit, turn)
                ended += [(place, end) for task_id, end in found.items() for place in left.pop(task_id)]
                if not left:
                    self._stores.remove(store)
        return ended

    def kept(self, ended: Iterable[tuple[int, End | None]]) -> Iterator[AsyncResult[R]]:
        """Yield the handles at these positions. Each keeps its record, so that its `get` needs no round trip."""
        for place, end in ended:
            self._handles[place]._keep(end)  # noqa: SLF001 - the handle's other half
            yield self._handles[place]


def as_completed(handles: Iterable[AsyncResult[R]], timeout: Seconds | None = None) -> AsCompleted[R]:
    """Iterate over handles with ``for`` or ``async for``, each as soon as its task has ended, with success or not.

    `get` of a handle that was yielded does not wait. One wait serves all handles; if they belong to several queues,
    their stores are asked in turn.

    While iterating, raises `ResultTimeoutError` after `timeout` seconds, and the errors of `AsyncResult.get` about the
    store.
    """
    return AsCompleted(handles, timeout)


@overload
def gather(
    handles: Iterable[AsyncResult[R]],
    *,
    timeout: Seconds | None = ...,
    return_exceptions: Literal[False] = ...,
    show_progress: bool = ...,
) -> list[R]: ...
@overload
def gather(
    handles: Iterable[AsyncResult[R]],
    *,
    timeout: Seconds | None = ...,
    return_exceptions: bool,
    show_progress: bool = ...,
) -> list[R | PyxqueueError]: ...
def gather(
    handles: Iterable[AsyncResult[Any]],
    *,
    timeout: Seconds | None = None,
    return_exceptions: bool = False,
    show_progress: bool = False,
) -> list[Any]:
    """Return the values of many handles in their order, waiting up to `timeout` seconds for all of them together.

    With `return_exceptions`, the list contains the error that `AsyncResult.get` would raise instead of a value;
    otherwise the first error is raised at once, and the other tasks continue. `show_progress` draws one bar for all, in
    a terminal or a notebook. The handles may belong to several queues.

    Raises `ResultTimeoutError` after `timeout` seconds, also with `return_exceptions`.
    """
    listed = _checked(handles, "gather")
    pending = _Pending(listed, timeout)
    return run(_values(listed, pending, return_exceptions, show_progress), pending.limit)


@overload
async def agather(
    handles: Iterable[AsyncResult[R]],
    *,
    timeout: Seconds | None = ...,
    return_exceptions: Literal[False] = ...,
    show_progress: bool = ...,
) -> list[R]: ...
@overload
async def agather(
    handles: Iterable[AsyncResult[R]],
    *,
    timeout: Seconds | None = ...,
    return_exceptions: bool,
    show_progress: bool = ...,
) -> list[R | PyxqueueError]: ...
async def agather(
    handles: Iterable[AsyncResult[Any]],
    *,
    timeout: Seconds | None = None,
    return_exceptions: bool = False,
    show_progress: bool = False,
) -> list[Any]:
    """`gather` for asyncio. It does not block the event loop."""
    listed = _checked(handles, "agather")
    pending = _Pending(listed, timeout)
    return await arun(_values(listed, pending, return_exceptions, show_progress), pending.limit)


def _values(
    handles: Sequence[AsyncResult[Any]], pending: _Pending[Any], errors_too: bool, show_progress: bool
) -> Steps[list[Any]]:
    """Wait for the values of all handles, with a progress bar if `show_progress`. Raises the first error, unless errors
    are collected too."""
    values: dict[int, Any] = {}
    with ProgressBar(counted(len(handles), "task")) if show_progress else nullcontext() as bar:
        while pending:
            for place, end in (yield from pending.some()):
                try:
                    values[place] = handles[place]._open(end)  # noqa: SLF001 - the handle's other half
                except PyxqueueError as error:
                    if not errors_too:
                        raise
                    values[place] = error
            if bar is not None:
                bar.show(Progress(len(values), len(handles)))
    return [values[place] for place in range(len(handles))]


def _checked(handles: Iterable[AsyncResult[R]], function: str) -> list[AsyncResult[R]]:
    """Return the handles as a list. Raises `ConfigurationError` if one of them is not a handle."""
    listed = list(handles) if isinstance(handles, Iterable) else None
    strange = [handles] if listed is None else [one for one in listed if not isinstance(one, AsyncResult)]
    if listed is None or strange:
        raise ConfigurationError(
            f"{function}() takes one iterable of handles, such as [add(1), add(2)], not {quoted(strange[0])}"
        )
    return listed
