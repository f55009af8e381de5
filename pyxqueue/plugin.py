"""Plugins: code that is called where a task is enqueued, runs and is settled, and where a process begins and ends.

An error of a plugin is logged and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from .errors import ConfigurationError
from .printable import class_of, quoted
from .serializers.tags import is_encodable

if TYPE_CHECKING:
    from .context import TaskContext
    from .worker.events import Event, Observer

_OURS = "pyxqueue-"
"""The beginning of the names of headers that pyxqueue itself writes."""


class Outgoing(Struct, frozen=True):
    """A message that is about to be enqueued."""

    id: str
    task: str
    """The name of the task."""
    queue: str
    """The name of the queue."""
    count: int = 1
    """How many messages this call enqueues together; more than 1 in `Task.map`."""


class Plugin:
    """Base of plugins, for ``TaskQueue(plugins=[...])``. Each method does nothing here: override those that you need. A
    method that is not overridden costs nothing. An exception in a method is logged and changes nothing. Several plugins
    are called in the order of the list; they are left, and stopped, in reverse.
    """

    def headers(self, call: Outgoing, /) -> Mapping[str, str]:  # noqa: ARG002 - for those who write it
        """Return headers to add to a message that this process is about to enqueue, in whatever way. Headers that were
        given with the call take precedence. It may be called more than once for a call, as when a unique call is tried
        again."""
        return {}

    def around(self, context: TaskContext, /) -> AbstractContextManager[object] | None:  # noqa: ARG002 - as above
        """Return a context manager, or None. It is entered just before the function of a task runs, and left after it:
        in the thread or `asyncio.Task` of the function, in its context, outside of its time limit.

        It is left with what the function raised: an error, or what ends a run in another way, such as `RetryLater`,
        `Reject`, `TaskSuspended`, `CancelRequested` or `asyncio.CancelledError`. It cannot swallow or replace that.
        """
        return None

    def observe(self, event: Event, /) -> None:
        """Take an event, as an ``observer`` does."""

    def inside(self, role: str, /) -> AbstractContextManager[object] | None:  # noqa: ARG002 - as above
        """Return a context manager, or None. In worker processes it is entered where pyxqueue itself talks to the
        store, never around the function of a task: `role` is ``"claim"``, ``"begin"``, ``"settle"`` or ``"monitor"``.
        """
        return None

    def started(self, worker: str, /) -> None:
        """Called once in each worker process, in its main thread, before its first task: after the fork, or after the
        imports. In eager mode, before the first task."""

    def stopping(self, seconds: float, /) -> None:
        """Called once before a worker process ends, which waits for it so many seconds: flush what is buffered. It runs
        in a thread of its own, when no task runs any more or, if one does not end, shortly before the grace is over.
        Not if the process is killed. In eager mode, when the queue is closed."""


class Plugins:
    """The plugins of a queue, sorted by the methods that they have."""

    def __init__(self, plugins: Sequence[Plugin]) -> None:
        self.all = tuple(plugins)
        self._headers, self._around, self._inside, self._started, self._stopping = (
            tuple(one for one in plugins if _writes(one, hook))
            for hook in ("headers", "around", "inside", "started", "stopping")
        )

    @classmethod
    def joined(cls, several: Iterable[Plugins | None]) -> Plugins | None:
        """Return the plugins of several queues, each once; None if there are none."""
        found = {id(one): one for plugins in several if plugins is not None for one in plugins.all}
        return cls(list(found.values())) if found else None

    @property
    def have_headers(self) -> bool:
        return bool(self._headers)

    @property
    def have_around(self) -> bool:
        return bool(self._around)

    @property
    def have_inside(self) -> bool:
        return bool(self._inside)

    @property
    def have_stopping(self) -> bool:
        return bool(self._stopping)

    def with_headers(self, given: Mapping[str, str], call: Outgoing) -> dict[str, str]:
        """Return the headers of a message: those that the caller gave, and those of the plugins."""
        headers: dict[str, str] = {}
        for plugin in self._headers:
            try:
                headers |= _checked(plugin.headers(call))
            except Exception:  # noqa: BLE001 - it is logged; an interrupt of the program goes on
                _failed(plugin, "headers")
        return headers | dict(given)

    def enter(self, context: TaskContext) -> Callable[[BaseException | None], None]:
        """Enter `around` of all plugins. Returns what leaves them, with what the task raised."""
        entered = _entered((one, one.around, context) for one in self._around)
        return lambda error: _leave(entered, "around", error)

    @contextmanager
    def inside(self, role: str) -> Iterator[None]:
        """Enter `inside` of all plugins."""
        entered = _entered((one, one.inside, role) for one in self._inside)
        try:
            yield
        finally:
            _leave(entered, "inside", None)

    def start(self, worker: str) -> None:
        """Call `started` of all plugins."""
        for plugin in self._started:
            try:
                plugin.started(worker)
            except BaseException:  # noqa: BLE001 - it is logged
                _failed(plugin, "started")

    def stops(self) -> Iterator[tuple[str, Callable[[float], None]]]:
        """Return for each plugin that has `stopping`, the last first, its name and a function that calls it and does
        not raise."""
        for plugin in reversed(self._stopping):
            yield _name(plugin), _stop_of(plugin)


def hooks_of(plugins: object, observer: Observer | None) -> tuple[Plugins | None, Observer | None]:
    """Return the plugins, and one observer that calls those of the plugins, then `observer`. Raises
    `ConfigurationError` for something that is not a plugin.
    """
    found = _list_of(plugins)
    observers = [one.observe for one in found if _writes(one, "observe")]
    if observer is not None:
        observers.append(observer)
    return (Plugins(found) if found else None), _each_of(observers)


def _list_of(plugins: object) -> list[Plugin]:
    if isinstance(plugins, Plugin) or not isinstance(plugins, Iterable):
        raise ConfigurationError(f"plugins={quoted(plugins)} is not a list: write plugins=[...]")
    found = []
    for one in plugins:
        if not isinstance(one, Plugin):
            what = f"the class {one.__name__}" if isinstance(one, type) else quoted(one)
            raise ConfigurationError(f"plugins: {what} is not a Plugin: give objects of subclasses of pyxqueue.Plugin")
        found.append(one)
    return found


def _each_of(observers: list[Observer]) -> Observer | None:
    if len(observers) < 2:
        return observers[0] if observers else None

    def observe(event: Event) -> None:
        from .worker.events import tell  # noqa: PLC0415 - an event is there, and with it the module

        for one in observers:
            tell(one, event)

    return observe


def _writes(plugin: Plugin, hook: str) -> bool:
    """Return whether a plugin overrides the method of a hook."""
    return getattr(getattr(plugin, hook), "__func__", None) is not getattr(Plugin, hook)


def _checked(headers: Any) -> Mapping[str, str]:
    if not isinstance(headers, Mapping) or not all(_is_text(text) for pair in headers.items() for text in pair):
        raise TypeError("headers() must return a mapping of texts to texts")
    if any(name.startswith(_OURS) for name in headers):
        raise ValueError(f"headers that begin with {_OURS} belong to pyxqueue itself")
    return headers


def _is_text(value: object) -> bool:
    return isinstance(value, str) and is_encodable(value)


_Entered = list[tuple[Plugin, AbstractContextManager[object]]]


def _entered(hooks: Iterable[tuple[Plugin, Callable[[Any], Any], Any]]) -> _Entered:
    """Call the hooks and enter what they return."""
    entered: _Entered = []
    for plugin, hook, argument in hooks:
        try:
            manager = hook(argument)
            if manager is not None:
                manager.__enter__()
                entered.append((plugin, manager))
        except BaseException:  # noqa: BLE001 - it is logged
            _failed(plugin, hook.__name__)
    return entered


def _leave(entered: _Entered, hook: str, error: BaseException | None) -> None:
    """Leave what was entered, the last first, with what the task raised."""
    raised_by_task = (None, None, None) if error is None else (type(error), error, error.__traceback__)
    for plugin, manager in reversed(entered):
        try:
            swallows = manager.__exit__(*raised_by_task)
        except BaseException as raised:  # noqa: BLE001 - it is logged
            if raised is not error:
                _failed(plugin, hook)
        else:
            if swallows and error is not None:
                _failed(plugin, hook, f"tried to swallow a {class_of(error)}, which it cannot")


def _stop_of(plugin: Plugin) -> Callable[[float], None]:
    def stop(seconds: float) -> None:
        try:
            plugin.stopping(seconds)
        except BaseException:  # noqa: BLE001 - it is logged
            _failed(plugin, "stopping")

    return stop


def _name(plugin: Plugin) -> str:
    return type(plugin).__name__


def _failed(plugin: Plugin, hook: str, what: str = "") -> None:
    """Log what a plugin did wrong: `what`, or else the error that is being handled."""
    from .worker.events import log_plugin_failure  # noqa: PLC0415 - not for a program that only enqueues

    log_plugin_failure(_name(plugin), hook, what)
