"""Programs that use a queue without a pause, to see how soon they use it again after a failover."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from attrs import define, field

from pyxqueue import PyxqueueError, Task, TaskQueue
from tests.support.trees import Tree
from tests.support.until import until

_PAUSE = 0.02
_PATIENCE = 60.0


@define(eq=False)
class Users:
    """One calls in a thread, one in asyncio, and one waits for the results of a worker in another process."""

    _last: dict[str, tuple[float, float]] = field(factory=dict, init=False)
    """When the last use of each began and ended that succeeded."""
    _over: threading.Event = field(factory=threading.Event, init=False)

    def threads(self, job: Task[[int], int]) -> list[threading.Thread]:
        """Return a thread for each user, not started."""
        uses: dict[str, Callable[[], object]] = {"call": lambda: job(1), "wait": lambda: job(1).get(5)}
        made = [threading.Thread(target=self._use, args=use) for use in uses.items()]
        return [*made, threading.Thread(target=lambda: asyncio.run(self._await(job)))]

    def _use(self, name: str, use: Callable[[], object]) -> None:
        while not self._over.wait(_PAUSE):
            begun = time.monotonic()
            try:
                use()
            except PyxqueueError:  # also of a task that the failover has lost
                continue
            self._last[name] = begun, time.monotonic()

    async def _await(self, job: Task[[int], int]) -> None:
        while not self._over.is_set():
            await asyncio.sleep(_PAUSE)
            begun = time.monotonic()
            try:
                await job.aenqueue(1)
            except PyxqueueError:
                continue
            self._last["asyncio"] = begun, time.monotonic()

    def stop(self) -> None:
        self._over.set()

    def back(self, since: float = 0.0) -> dict[str, float]:
        """Wait until each has succeeded with something that it began after a time of `time.monotonic`. Returns how many
        seconds after that time it had its first success."""
        found: dict[str, float] = {}

        def all_are_back() -> bool:
            for name, (begun, ended) in list(self._last.items()):
                if begun > since:
                    found.setdefault(name, ended - since)
            return len(found) == 3

        try:
            until(all_are_back, "all users are back", _PATIENCE)
        except AssertionError as error:
            raise AssertionError(f"only {sorted(found)} are back") from error
        return found


@contextmanager
def users(url: str, stream_key: str, folder: Path) -> Iterator[Users]:
    """Start the users, and the worker."""
    place = {"TEST_STORE": url, "TEST_QUEUE": stream_key}
    with Tree("tests.topologies.app:queue", place, folder / "log"), closing(TaskQueue(url, stream_key)) as queue:
        found = Users()
        threads = found.threads(queue.task(name="double")(double))
        for thread in threads:
            thread.start()
        try:
            found.back()
            yield found
        finally:
            found.stop()
            for thread in threads:
                thread.join()


def double(value: int) -> int:
    return value * 2


def told(place: str, times: list[dict[str, float]], *, limit: float = 5.0) -> None:
    """Print how long it took, and check that it was no longer than `limit` (s)."""
    most = {name: max(one[name] for one in times) for name in sorted(times[0])}
    shown = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in most.items())
    print(f"{place}: back after", shown)  # noqa: T201 - the numbers of docs/explanation/guarantees.md
    assert max(most.values()) <= limit
