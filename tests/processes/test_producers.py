"""Producers that are killed while they enqueue: nothing is half stored, and what was accepted runs as it should."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from attrs import define, field
from redis import Redis

from pyxqueue import TaskQueue, TaskStatus
from pyxqueue.protocols import limits_of
from pyxqueue.testing.contract.steps import tokens
from tests.conftest import Servers
from tests.support.seeds import seed_of, seeds_of
from tests.support.trees import ROOT, Tree, environment
from tests.support.until import until

from .app import Line
from .produced import ALL, KEYS, LOG, SCHEDULES, STREAM, UNIQUE, URL, make_tasks
from .produced_producer import CALLS, LIVES, SEED

PROGRAMS = 2
"""How many produce at the same time."""
LIMITED = "one_by_one", "paced", "unique"
"""The tasks that have the limit of ALL."""


@define
class Call:
    """What a producer has noted about one call."""

    name: str
    key: str
    number: int
    begun: int
    """Where in the log it began."""
    task_id: str
    """Its own id, if the producer has made one; later that which the store has returned."""
    batch: int = 0
    accepted: int = 0
    """Where in the log it was accepted; 0 if the producer was killed before."""
    created: bool = True


@define
class Run:
    """What a worker has noted about one task."""

    name: str
    key: str
    number: int
    started: int
    ended: int = 0
    settled: int = 0


@define
class Log:
    """What has happened, in the order in which it was noted."""

    calls: dict[int, Call] = field(factory=dict)
    """By number."""
    runs: dict[str, Run] = field(factory=dict)
    """By task."""

    @classmethod
    def read(cls, path: Path) -> Log:
        log, batches = cls(), dict[str, Call]()
        for place, line in enumerate(Line.read(text) for text in path.read_text().splitlines()):
            if line.kind == "calling":
                name, key, number, *batch = line.more
                call = Call(name, key, int(number), place, line.task_id, int(batch[0]) if batch else 0)
                log.calls[call.number] = batches[line.task_id] = call
            elif line.kind == "accepted" and len(line.more) == 1:
                batches[line.task_id].accepted = place
            elif line.kind == "accepted":
                call = log.calls[int(line.more[2])]
                call.accepted, call.task_id, call.created = place, line.task_id, line.more[3:] != ["0"]
            elif line.kind == "start":
                assert line.task_id not in log.runs, f"{line.task_id} has started twice"
                name, key, number = line.more
                log.runs[line.task_id] = Run(name, key, int(number), place)
            elif line.kind == "end":
                log.runs[line.task_id].ended = place
            elif line.kind == "settled":
                assert line.more == ["Done", "1"]
                log.runs[line.task_id].settled = place
        return log

    def of(self, *names: str) -> list[Run]:
        """The runs of these tasks, in the order of their starts."""
        return sorted((one for one in self.runs.values() if one.name in names), key=lambda one: one.started)


def check_runs(log: Log) -> None:
    """What was accepted has run, to its end and with the arguments of a call that stands for it. What was not accepted
    was stored whole before its producer was killed, or not at all."""
    assert all(one.ended and one.settled for one in log.runs.values())
    joined: dict[str, list[Call]] = defaultdict(list)
    for call in log.calls.values():
        if call.accepted and call.name not in SCHEDULES:
            joined[call.task_id].append(call)
    assert joined.keys() <= log.runs.keys()
    for task_id, run in log.runs.items():
        call, others = log.calls[run.number], joined[task_id]
        assert {(one.name, one.key) for one in others} <= {(run.name, run.key)}
        assert sum(one.created for one in others) <= 1
        if call.name in SCHEDULES:
            assert (run.name, run.key) == ("plain", call.key)
            continue
        assert (run.name, run.key) == (call.name, call.key)
        assert call.task_id == (task_id if call.accepted or call.batch else "-")
        if run.name == "debounced":  # with the last call, of each producer
            assert all(one.number <= run.number for one in others if one.number // CALLS == run.number // CALLS)
        elif call.accepted:
            assert call.created
        else:
            assert not any(one.created for one in others)


def check_batches(log: Log) -> None:
    """A batch is stored from its first call on, and all of it if it was accepted."""
    batches: dict[int, list[Call]] = defaultdict(list)
    for call in log.calls.values():
        if call.batch:
            batches[call.batch].append(call)
    for calls in batches.values():
        stored = [call.task_id in log.runs for call in sorted(calls, key=lambda call: call.number)]
        assert stored == sorted(stored, reverse=True)


def most_at_once(runs: Sequence[Run]) -> int:
    marks = sorted([(one.started, 1) for one in runs] + [(one.ended, -1) for one in runs])
    now = most = 0
    for _, change in marks:
        now += change
        most = max(most, now)
    return most


def check_limits(log: Log) -> None:
    """No more ran at once than the limits say."""
    assert most_at_once(log.of(*LIMITED)) <= ALL
    for key in map(str, range(KEYS)):
        assert most_at_once([one for one in log.of("one_by_one") if one.key == key]) <= 1


def check_locks(log: Log) -> None:
    """One task at a time is live for each key, and a call that was dropped has met one that was."""
    for key in map(str, range(KEYS)):
        assert most_at_once([one for one in log.of("unique") if one.key == key]) <= 1
    for call in log.calls.values():
        if call.accepted and not call.created and call.name in UNIQUE:
            run = log.runs[call.task_id]
            assert (run.settled if call.name == "unique" else run.started) > call.begun


def check_schedules(queue: TaskQueue, log: Log, triggered: str) -> None:
    """Each schedule is that of one call, which was not over before the last accepted one began; and it has ticked as
    often as it says. triggered: the run of one of them, which says which call it was."""
    assert [one.id for one in queue.schedules] == sorted(SCHEDULES)
    for one in queue.schedules:
        calls = [call for call in log.calls.values() if call.name == one.id]
        last = max((call for call in calls if call.accepted), key=lambda call: call.accepted)
        assert one.every is not None
        possible = [call for call in calls if not call.accepted or call.accepted > last.begun]
        every = str(round(one.every.total_seconds()))
        if one.id == "hourly":
            assert log.runs[triggered].number in {call.number for call in possible}
            assert log.runs[triggered].key == every
        assert every in {call.key for call in possible}
        assert one.runs == sum(task_id.startswith(f"{one.id}.") for task_id in log.runs)
        assert (one.errors, one.skipped) == (0, 0)


def check_nothing_is_left(queue: TaskQueue, url: str) -> None:
    limits = limits_of(queue.stores.backend)
    assert limits is not None
    assert tokens(limits) == {}
    if url.startswith("redis"):
        with Redis.from_url(url) as client:
            names = [f"{{{queue.stream_key}}}:cg:{name}" for name in ("notes", "lines", "expiries", "parked")]
            assert [client.exists(name) for name in names[:3]] == [0, 0, 0]
            assert client.xlen(names[3]) == 0


def rage(url: str, stream: str, folder: Path, lives: int, seed: int) -> None:
    """Let producers be killed beside one tree of workers, with all checks."""
    path, seed = folder / "log", seed_of(seed)
    variables = {URL: url, STREAM: stream, LOG: str(path)}
    with ExitStack() as stack:
        tree = Tree("tests.processes.produced_worker", variables, folder / "tree.log", "-p", "1", "-t", "6")
        stack.enter_context(tree)
        queue = stack.enter_context(closing(TaskQueue(url, stream_key=stream)))
        backend, tasks = queue.stores.backend, make_tasks(queue)
        until(backend.consumers, "the workers wait for work")

        def over() -> bool:
            depth = backend.depth()
            return depth.waiting + depth.in_flight == 0

        command = [sys.executable, "-W", "error", "-m", "tests.processes.produced_producer"]
        programs = [
            subprocess.Popen(
                command, cwd=ROOT, env=environment({**variables, SEED: f"{seed}-{number}", LIVES: str(lives)})
            )
            for number in range(PROGRAMS)
        ]
        assert [one.wait(60 + lives) for one in programs] == [0] * PROGRAMS
        triggered = queue.schedules["hourly"].trigger()
        for one in queue.schedules:
            one.pause()
        until(over, "everything is done", 60 + lives)
        until(lambda: all(one.settled for one in Log.read(path).runs.values()), "the workers have noted it")
        log = Log.read(path)
        check_runs(log)
        check_batches(log)
        check_limits(log)
        check_locks(log)
        check_schedules(queue, log, triggered.task_id)
        shown = backend.show(sorted(log.runs))
        assert Counter(info and info.status for info in shown) == {TaskStatus.SUCCESS: len(shown)}

        for name in (*UNIQUE, "debounced"):
            lost = [call.key for call in log.calls.values() if call.name == name and not call.accepted]
            again = [tasks[name](key, 0) for key in {*map(str, range(KEYS)), *lost}]
            assert all(handle.created for handle in again), f"a lock of {name} has no holder"
            for handle in again:
                handle.get(30)
        until(over, "everything is done")
        check_nothing_is_left(queue, url)
        assert tree.stop() == 0


@pytest.mark.timeout(120)
@pytest.mark.parametrize("store", ["redis", "sqlite"])
def test_killed_producers_leave_nothing_half_stored(
    servers: Servers, stream_key: str, tmp_path: Path, store: str
) -> None:
    """Two programs, of which each is killed 12 times."""
    url = servers("valkey").url if store == "redis" else f"sqlite:///{tmp_path}/queue.db"
    rage(url, stream_key, tmp_path, lives=12, seed=1)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("seed", seeds_of(range(3)))
@pytest.mark.parametrize("store", ["redis", "sqlite"])
def test_killed_producers_for_long(servers: Servers, stream_key: str, tmp_path: Path, store: str, seed: int) -> None:
    """Two programs, of which each is killed 500 times."""
    url = servers("valkey").url if store == "redis" else f"sqlite:///{tmp_path}/queue.db"
    rage(url, stream_key, tmp_path, lives=500, seed=seed)
