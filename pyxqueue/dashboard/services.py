"""What answers to requests need: the queues, the threads, the templates and the hub of one dashboard."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from typing import Any, TypeVar

from attrs import define, field
from jinja2 import Environment

from ..client.queue import TaskQueue
from ..errors import ConfigurationError
from ..printable import quoted
from . import pages
from .access import Gate
from .live import Hub
from .reading import Reading
from .rendering import Asset
from .threads import StoreThreads

T = TypeVar("T")

MAX_QUEUES = 200
_KEPT = 60.0


@define(eq=False)
class Queues:
    """The queues of a dashboard, by queue and group."""

    _find: Callable[[], Iterable[TaskQueue]]
    changes: bool
    """Whether the queues may change later."""
    _known: Mapping[tuple[str, str], TaskQueue] = field(factory=dict, init=False)
    _found_at: float = field(default=float("-inf"), init=False)

    @classmethod
    def of(cls, given: Any) -> Queues:
        """Check what was given. Raises `ConfigurationError`."""
        if isinstance(given, TaskQueue):
            given = [given]
        if callable(given):
            find: Callable[[], Any] = given
            return cls(find, changes=True)
        queues = by_name(given)
        if not queues:
            raise ConfigurationError("a dashboard needs a queue: Dashboard(queue, access=...)")
        return cls(queues.values, changes=False)

    def all(self) -> Mapping[tuple[str, str], TaskQueue]:
        """Return the queues. It may ask the store."""
        if not self._known or (self.changes and time.monotonic() - self._found_at > _KEPT):
            found = by_name(self._find())
            self._known = {name: self._known.get(name, queue) for name, queue in found.items()}
            self._found_at = time.monotonic()
        return self._known


def by_name(given: Any) -> dict[tuple[str, str], TaskQueue]:
    """Return queues by the names of queue and group. Raises `ConfigurationError` for two with the same."""
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise ConfigurationError(f"{quoted(given)} is not a queue: give a TaskQueue, or a list of them")
    found: dict[tuple[str, str], TaskQueue] = {}
    for queue in given:
        if not isinstance(queue, TaskQueue):
            raise ConfigurationError(f"{quoted(queue)} is not a queue: give a TaskQueue, or a list of them")
        name = queue.stream_key, queue.consumer_group
        if found.setdefault(name, queue) is not queue:
            raise ConfigurationError(
                f"two queues have the name {quoted(name[0])} and the group {quoted(name[1])}: give each store a "
                f"dashboard of its own"
            )
        if len(found) == MAX_QUEUES:
            break
    return found


@define(eq=False)
class Services:
    """The parts of one dashboard."""

    gate: Gate
    queues: Queues
    reading: Reading
    title: str
    badge: str
    refresh: int
    links: Sequence[tuple[str, str]]
    assets: Mapping[str, Asset]
    templates: Environment
    version: str = field(factory=lambda: metadata.version("pyxqueue"))
    threads: StoreThreads = field(factory=StoreThreads)
    hub: Hub = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.hub = Hub(self._look, self.refresh)

    async def run(self, work: Callable[[], T]) -> T:
        """Run a function that uses a store, in a thread."""
        return await self.threads.run(work)

    def close(self) -> None:
        self.hub.close()
        self.threads.close()

    async def _look(self) -> Mapping[str, str]:
        view = await self.run(lambda: self.reading.overview(list(self.queues.all().values())))
        return pages.live_overview(view)
