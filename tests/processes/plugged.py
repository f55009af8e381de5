"""A queue with plugins and a resource, whose workers write down when they begin and end; as a program, one that starts
them itself."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator

from attrs import asdict, frozen

from pyxqueue import Plugin, TaskQueue
from tests.support.until import until

from .app import append

VARIABLE = "TEST_PLUGGED"


@frozen
class Plugged:
    """What workers and test have in common."""

    url: str
    stream: str
    log: str
    hangs: bool = False
    """Whether a plugin hangs when it is stopped, and a resource when it is closed."""
    threads: bool = False
    """Whether the module starts a thread, so that workers are not forked: they import it again."""

    def environment(self) -> dict[str, str]:
        return {VARIABLE: json.dumps(asdict(self))}

    def lines(self) -> list[list[str]]:
        with open(self.log, "a+") as file:  # noqa: PTH123 - made if it is not there
            file.seek(0)
            return [line.split() for line in file.read().splitlines()]

    def said(self, *words: str) -> list[list[str]]:
        return [line for line in self.lines() if line[: len(words)] == list(words)]


if VARIABLE in os.environ:
    plugged = Plugged(**json.loads(os.environ[VARIABLE]))

    class Noting(Plugin):
        def started(self, worker: str, /) -> None:
            append(plugged.log, "started", os.getpid(), worker)

        def stopping(self, seconds: float, /) -> None:
            append(plugged.log, "stopping", os.getpid(), 0 < seconds <= 5)

    class Hanging(Plugin):
        def stopping(self, seconds: float, /) -> None:
            if plugged.hangs:
                append(plugged.log, "hangs", os.getpid())
                time.sleep(1000)

    class Broken(Plugin):
        def started(self, worker: str, /) -> None:
            raise SystemExit(7)

        def stopping(self, seconds: float, /) -> None:
            raise SystemExit(8)

    queue = TaskQueue(plugged.url, stream_key=plugged.stream, plugins=[Noting(), Hanging(), Broken()])

    @queue.resource
    def pool() -> Iterator[int]:
        append(plugged.log, "opened", os.getpid())
        yield os.getpid()
        append(plugged.log, "closed", os.getpid())
        if plugged.hangs:
            time.sleep(1000)

    @queue.task(name="use")
    def use(path: str = "") -> None:
        append(plugged.log, "used", pool())
        while path and not os.path.exists(path):  # noqa: PTH110
            time.sleep(0.01)

    if plugged.threads:
        threading.Thread(target=threading.Event().wait, daemon=True).start()


def main() -> None:
    """Start workers, use them, and stop them."""
    pool()
    queue.start(1, grace=20)
    use()
    until(lambda: plugged.said("used"), "it runs")
    queue.shutdown()
    append(plugged.log, "shut", os.getpid())
    queue.close()


if __name__ == "__main__":
    main()
