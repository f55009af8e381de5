"""What a storm has done to a queue, judged by the logs of producers and tasks and by what the store has in the end.

The logs are append-only: neither the store nor a killed process can take back a line. Their kinds:

* ``calling ID 0 PID DUE``: a producer is about to enqueue a task that must not start before DUE (ms);
* ``enqueued ID 0 PID``: the call has returned, so the task is accepted;
* ``start ID ATTEMPT PID NOW``, ``end ...``: the function of a task began, and ended;
* ``settled ID ATTEMPT PID VERDICT ACCEPTED``: a worker has reported an outcome, and the store took it (1) or not (0);
* ``killed - 0 PID NOW``: the storm has killed or stopped this process.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from attrs import asdict, define, field, frozen

from pyxqueue.model.message import TaskStatus
from tests.processes.app import Line

ENDS = {"Done": {TaskStatus.SUCCESS}, "Fail": {TaskStatus.FAILURE}, "Cancelled": {TaskStatus.CANCELLED}}
"""The outcomes that end a task, and how the store has to show it then."""
ENDED = frozenset(status for statuses in ENDS.values() for status in statuses)


@frozen
class Stored:
    """What the store has, once it can be reached again and its workers have had the time to do everything."""

    tasks: Mapping[str, TaskStatus]
    """Every task that it knows."""
    left: Mapping[str, int] = field(factory=dict)
    """What there is of tasks that have not ended, by key or table; nothing of it may be left."""


@frozen
class Findings:
    """What there is to say, by its kind. Only `extra_runs` and `recovered` may be: they are the price of faults."""

    lost: Sequence[str] = ()
    """Accepted, and the store does not know that it has ended."""
    unexpected: Sequence[str] = ()
    """Stored or run, and no producer has called it."""
    ghosts: Sequence[str] = ()
    """The store has accepted an end, and shows another one, or none."""
    recorded_twice: Sequence[str] = ()
    """The store has accepted more than one end."""
    stolen: Sequence[str] = ()
    """The store has accepted an end from a process that was not the last one to start it. A process that was stopped
    may start, when it goes on, what others have taken over: that makes it no owner, until it is noted as resumed."""
    early: Sequence[str] = ()
    """Started before it was due."""
    left: Mapping[str, int] = field(factory=dict)
    """What is left over in the store."""
    extra_runs: Mapping[str, int] = field(factory=dict)
    """How often a task started again in the same attempt."""
    unexplained: Mapping[str, int] = field(factory=dict)
    """How many of these no killed process explains."""
    recovered: Sequence[str] = ()
    """Stored, although the call raised or its producer was killed: allowed."""

    def wrong(self) -> Mapping[str, object]:
        """What must not be, by its name. Empty if the storm has done no harm."""
        allowed = ("extra_runs", "recovered")
        return {name: value for name, value in asdict(self).items() if value and name not in allowed}


@define
class _Seen:
    """What the logs say of one task."""

    called: bool = False
    accepted: bool = False
    due: int = 0
    early: bool = False
    attempts: list[int] = field(factory=list)
    """The attempt of each start."""
    pids: list[int] = field(factory=list)
    """The process of each start."""
    owner: int = 0
    """The process of the last start, without those by a process that had been stopped."""
    ends: list[str] = field(factory=list)
    """The outcomes that ended it, as far as the store has accepted them."""
    stolen: bool = False

    def read(self, line: Line, stopped: Collection[int]) -> None:
        match line.kind:
            case "calling":
                self.called, self.due = True, int(line.more[0])
            case "enqueued":
                self.accepted = True
            case "start":
                self.attempts.append(line.attempt)
                self.pids.append(line.pid)
                if line.pid not in stopped or not self.owner:
                    self.owner = line.pid
                self.early = self.early or int(line.more[0]) < self.due
            case "settled" if line.more[1] == "1" and line.more[0] in ENDS:
                self.ends.append(line.more[0])
                self.stolen = self.stolen or line.pid != self.owner

    @property
    def extra(self) -> int:
        """How many starts there were beyond the first one of each attempt."""
        return len(self.attempts) - len(set(self.attempts))


def check(lines: Iterable[Line], stored: Stored) -> Findings:
    """Compare what was promised with what has happened."""
    seen: dict[str, _Seen] = {}
    killed, stopped = set[int](), set[int]()
    for line in lines:
        match line.kind:
            case "killed":  # another process may get its pid later
                killed.add(line.pid)
            case "stopped":
                killed.add(line.pid)
                stopped.add(line.pid)
            case "resumed":
                stopped.discard(line.pid)
            case _:
                seen.setdefault(line.task_id, _Seen()).read(line, stopped)
    known, nobody = stored.tasks, _Seen()
    unexplained = {one: it.extra - sum(pid in killed for pid in it.pids) for one, it in seen.items()}
    return Findings(
        lost=[one for one, it in seen.items() if it.accepted and known.get(one) not in ENDED],
        unexpected=[one for one in [*seen, *(known.keys() - seen.keys())] if not seen.get(one, nobody).called],
        ghosts=[one for one, it in seen.items() if it.ends and known.get(one) not in ENDS[it.ends[0]]],
        recorded_twice=[one for one, it in seen.items() if len(it.ends) > 1],
        stolen=[one for one, it in seen.items() if it.stolen],
        early=[one for one, it in seen.items() if it.early],
        left=stored.left,
        extra_runs={one: it.extra for one, it in seen.items() if it.extra},
        unexplained={one: extra for one, extra in unexplained.items() if extra > 0},
        recovered=[one for one, it in seen.items() if it.called and not it.accepted and one in known],
    )


def recoveries(lines: Iterable[Line]) -> Mapping[int, Sequence[int]]:
    """After how many ms what a killed process was running started again, by the killed process."""
    running: dict[int, set[str]] = {}
    orphans: dict[str, tuple[int, int]] = {}
    found: dict[int, list[int]] = {}
    for line in lines:
        match line.kind:
            case "start":
                if line.task_id in orphans:
                    killed, at = orphans.pop(line.task_id)
                    found.setdefault(killed, []).append(int(line.more[0]) - at)
                running.setdefault(line.pid, set()).add(line.task_id)
            case "end":
                running.get(line.pid, set()).discard(line.task_id)
            case "killed":
                for task_id in running.pop(line.pid, set()):
                    orphans[task_id] = line.pid, int(line.more[0])
    return found
