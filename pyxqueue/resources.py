"""Resources: things that a process opens once for its tasks, such as a pool of connections, and closes at its end.

Each process has its own: what was opened before a fork stays with the process that opened it.
"""

from __future__ import annotations

import atexit
import inspect
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar, cast

from attrs import define, field

from .errors import ConfigurationError
from .log import get_logger
from .printable import quoted

T = TypeVar("T")
log = get_logger("pyxqueue.resources")


@define(eq=False)
class _Opened:
    """A resource as it is in one process."""

    lock: threading.RLock = field(factory=threading.RLock)
    opening: bool = False
    is_open: bool = False
    value: Any = None
    generator: Iterator[Any] | None = None
    """The generator that closes the resource when it goes on; None if there is nothing to close."""


@define(eq=False)
class _Here:
    """The resources of a queue in one process."""

    by_resource: dict[object, _Opened] = field(factory=dict)
    order: list[tuple[str, _Opened]] = field(factory=list)
    """Those that are open, with their names, the first first."""


class Resources:
    """The resources of one queue."""

    def __init__(self) -> None:
        self._by_pid: dict[int, _Here] = {}
        """The resources of the parent of a fork stay here unused: freeing them could close what the parent uses."""

    def here(self) -> _Here:
        pid = os.getpid()
        found = self._by_pid.get(pid)
        if found is None:
            found = self._by_pid.setdefault(pid, _Here())
            atexit.register(_close_at_exit, self, pid)
        return found

    def close(self) -> None:
        """Close what this process has open, the last first. Errors are logged. The next use opens it again."""
        here = self._by_pid.get(os.getpid())
        while here is not None and here.order:
            name, opened = here.order.pop()
            with opened.lock:
                generator, opened.generator, opened.value, opened.is_open = opened.generator, None, None, False
            _close(name, generator)


class Resource(Generic[T]):
    """One instance of something in each process: ``pool()`` returns it, and opens it first if this process has none.

    `TaskQueue.resource` makes it. Threads may call it; the first one opens it, and the others wait.
    """

    def __init__(self, factory: Callable[[], T] | Callable[[], Iterator[T]], kept: Resources) -> None:
        self._factory = factory
        self._kept = kept
        self._name = getattr(factory, "__qualname__", repr(factory))
        self.__doc__ = factory.__doc__

    def __repr__(self) -> str:
        return f"<Resource {self._name}>"

    def __call__(self) -> T:
        """Return the instance of this process. Raises what opening it raises; the next call tries again."""
        here = self._kept.here()
        opened = here.by_resource.get(self) or here.by_resource.setdefault(self, _Opened())
        if not opened.is_open:
            with opened.lock:
                if not opened.is_open:
                    self._open(here, opened)
        return cast("T", opened.value)

    def _open(self, here: _Here, opened: _Opened) -> None:
        if opened.opening:
            raise ConfigurationError(f"the resource {self._name} needs itself to be opened")
        opened.opening = True
        try:
            made: Any = self._factory()
            opened.value, opened.generator = made, None
            if inspect.isgenerator(made):
                opened.value, opened.generator = _first(made, self._name), made
            here.order.append((self._name, opened))
            opened.is_open = True
        finally:
            opened.opening = False


def check_factory(factory: object) -> None:
    """Raise `ConfigurationError` if a resource cannot be made with this."""
    if not callable(factory):
        raise ConfigurationError(f"@queue.resource needs a function that opens the resource, but got {quoted(factory)}")
    if inspect.iscoroutinefunction(factory) or inspect.isasyncgenfunction(factory):
        raise ConfigurationError(
            f"{getattr(factory, '__qualname__', factory)} is async, and a resource is opened by plain code: use def; "
            "a client for asyncio can be made there and connects when it is first awaited"
        )


def _first(generator: Iterator[T], name: str) -> T:
    try:
        return next(generator)
    except StopIteration:
        raise ConfigurationError(f"the resource {name} yields nothing: yield what opens, close it below") from None


def _close(name: str, generator: Iterator[Any] | None) -> None:
    if generator is None:
        return
    try:
        next(generator)
    except StopIteration:
        return
    except (Exception, SystemExit):
        log.exception("the resource %s raised an error when it was closed", name)
    else:
        log.error("the resource %s yields more than once: it must yield what it opens, and then close it", name)


def _close_at_exit(resources: Resources, pid: int) -> None:
    if pid == os.getpid():
        resources.close()
