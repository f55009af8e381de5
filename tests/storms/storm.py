"""A storm: tasks are enqueued while things break, then everything heals, the workers finish, and the checker judges."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pyxqueue import BrokerUnavailableError
from pyxqueue.ids import new_id
from pyxqueue.model.message import TaskStatus
from pyxqueue.testing.servers import ServerKind
from tests.conftest import kinds_to_test
from tests.processes.app import App, Line, Site, append_lines, now_ms
from tests.support.left_over import left_over
from tests.support.seeds import SEED, seed_of
from tests.support.trees import ROOT, environment
from tests.support.until import until

from .checker import Findings, Stored, check, recoveries

BATCH = 250


def oldest() -> ServerKind:
    """The oldest server that there is for this platform and interpreter."""
    kinds = kinds_to_test()
    return "redis62" if "redis62" in kinds else kinds[0]


class Log:
    """The lines of a log as they are appended, and which processes are running a task."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        self._path.touch()
        self._read = 0
        self._lines: list[Line] = []
        self._inside: dict[int, int] = {}

    def lines(self) -> Sequence[Line]:
        with self._path.open("rb") as file:
            file.seek(self._read)
            whole, _, _ = file.read().rpartition(b"\n")
        if whole:
            self._read += len(whole) + 1
            new = [Line.read(text) for text in whole.decode().splitlines()]
            self._lines += new
            for line in new:
                if line.kind in {"start", "end"}:
                    change = 1 if line.kind == "start" else -1
                    self._inside[line.pid] = self._inside.get(line.pid, 0) + change
        return self._lines

    def of(self, kind: str) -> Sequence[Line]:
        return [line for line in self.lines() if line.kind == kind]

    def busy(self) -> set[int]:
        """The processes that run a task, or died while they did."""
        self.lines()
        return {pid for pid, running in self._inside.items() if running}


class Storm:
    """One queue in a storm. The seed decides what happens; when it happens is up to the machine."""

    def __init__(self, site: Site, seed: int) -> None:
        self.site = site
        self.app: App = site.app()
        self.seed = seed_of(seed)
        self.chance = random.Random(self.seed)
        self.log = Log(site.log)
        self.killed: set[int] = set()
        self.orphaned = False
        """Whether a supervisor was killed: nobody was left to take its processes from the list of consumers."""

    def enqueue(
        self,
        count: int,
        shortest: float,
        longest: float,
        *,
        delay: float = 0,
        through: App | None = None,
        at_once: int = BATCH,
    ) -> list[str]:
        """Enqueue tasks that take so many seconds. A call that raises is repeated with the same ids, until it returns.

        delay: seconds after which they are due. through: another way to the store. at_once: how many in one call.
        """
        ids = [new_id() for _ in range(count)]
        task = (through or self.app)["timed"]
        if delay:
            task = task.with_options(delay=delay)
        for start in range(0, count, at_once):
            batch = ids[start : start + at_once]
            due = now_ms() + round(delay * 1000)
            append_lines(self.site.log, [("calling", one, 0, os.getpid(), due) for one in batch])
            calls = [(self.chance.uniform(shortest, longest), number) for number in range(start, start + len(batch))]
            while True:
                with suppress(BrokerUnavailableError):
                    task.map(calls, task_ids=batch)
                    break
            append_lines(self.site.log, [("enqueued", one, 0, os.getpid()) for one in batch])
        return ids

    def note_killed(self, *pids: int) -> None:
        """Note it before it happens, because what they run may start again at once."""
        self._note("killed", pids)

    def note_stopped(self, *pids: int) -> None:
        """Note it before it happens, as with those that are killed; they may go on."""
        self._note("stopped", pids)

    def _note(self, what: str, pids: Collection[int]) -> None:
        append_lines(self.site.log, [(what, "-", 0, one, now_ms()) for one in pids])
        self.killed.update(pids)

    def note_resumed(self, *pids: int) -> None:
        """Note of processes that were stopped that they have started all that they had claimed before."""
        append_lines(self.site.log, [("resumed", "-", 0, one) for one in pids])

    def kill(self, pid: int, *with_it: int) -> None:
        """Kill a process. `with_it`: those that have to end with it."""
        self.note_killed(pid, *with_it)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def over(self) -> bool:
        """True if nothing waits and nothing is in flight. False while the store cannot be reached."""
        with suppress(BrokerUnavailableError):
            depth = self.app.queue.stores.backend.depth()
            return depth.waiting + depth.in_flight == 0
        return False

    def drain(self, seconds: float) -> None:
        """Wait until the workers have done everything."""
        until(self.over, f"everything is done; {self}", seconds)

    def stored(self) -> Stored:
        backend, tasks, cursor = self.app.queue.stores.backend, dict[str, TaskStatus](), ""
        while True:
            page, cursor = backend.tasks(None, cursor, 1000)
            tasks |= {info.id: info.status for info in page}
            if not cursor:
                break
        self.app.queue.close()  # another SQLite in this process must not open its file before
        left = dict(left_over(self.site.url, self.site.stream))
        if self.orphaned:
            left.pop("consumers", None)
        return Stored(tasks, left)

    def judge(self) -> Findings:
        """What the checker finds, at the end of the storm.

        Raises `AssertionError` if something is wrong, which says how to replay the storm.
        """
        findings = check(self.log.lines(), self.stored())
        wrong = findings.wrong()
        assert not wrong, f"{wrong}\n{self}"
        return findings

    def recovery(self, killed: Collection[int]) -> str:
        """For how long the work of these processes lay still, in words."""
        found = recoveries(self.log.lines())
        times = sorted(ms for pid in killed for ms in found.get(pid, ()))
        return f"median {times[len(times) // 2]} ms, longest {times[-1]} ms" if times else "none"

    def __str__(self) -> str:
        return f"replay it with {SEED}={self.seed}; its log is {self.site.log}"


@contextmanager
def storm(site: Site, seed: int) -> Iterator[Storm]:
    """A storm that can be judged once its workers have ended, and closes its queue."""
    made = Storm(site, seed)
    try:
        yield made
    finally:
        made.app.queue.close()


@contextmanager
def producers(one: Storm, *sites: Site) -> Iterator[None]:
    """Programs that enqueue, one on each of these sites, killed at the end."""
    command = [sys.executable, "-W", "error", "-m", "tests.processes.app_producer"]
    started = [
        subprocess.Popen([*command, str(one.chance.random())], cwd=ROOT, env=environment(site.environment()))
        for site in sites
    ]
    try:
        yield
        assert [process.poll() for process in started] == [None] * len(sites), f"a program has ended; {one}"
    finally:
        for process in started:
            process.kill()
            process.wait()
