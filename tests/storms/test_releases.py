"""Deploys, again and again: no task is lost, charged, or run by a release that does not know it."""

from __future__ import annotations

from typing import cast

import pytest
from attrs import evolve, frozen

from pyxqueue import TaskStatus
from pyxqueue.model.message import Message
from pyxqueue.testing.servers import ServerKind
from tests.conftest import Servers, kinds_to_test
from tests.processes.app import Site
from tests.support.seeds import SEED
from tests.support.trees import run_program

from .checker import check
from .releases import GRACE, LONG, ROUNDS
from .storm import Storm, oldest, storm


@frozen
class Stop:
    """How a tree ended, and the seconds that it took to start and to stop."""

    code: int
    started: float
    stopped: float

    @classmethod
    def read(cls, line: str) -> Stop:
        code, started, stopped = line.split()
        return cls(int(code), float(started), float(stopped))


def deploys(one: Storm, rounds: int, *, grace: float = 25, long: float = 0, patience: float = 100) -> list[Stop]:
    """Let two releases take turns, with all checks. long: the seconds of tasks that do not end within the grace."""
    variables = {ROUNDS: rounds, GRACE: grace, LONG: long, SEED: one.seed}
    more = {**one.site.environment(), **{name: str(value) for name, value in variables.items()}}
    stops = [Stop.read(line) for line in run_program("tests.storms.releases", more, patience)]

    assert [stop.code for stop in stops] == [0] * (rounds + 2)
    kinds = {line.task_id: line.more[1] for line in one.log.of("calling")}
    assert all(line.more[1] == kinds[line.task_id] for line in one.log.of("start")), "by a release that knows it"
    for info in one.app.queue.stores.backend.show(list(kinds)):
        assert info is not None
        assert isinstance(info.message, Message)
        assert (info.status, info.message.attempt, info.message.crashes) == (TaskStatus.SUCCESS, 1, 0)
    found = check(one.log.lines(), one.stored())
    wrong = {name: what for name, what in found.wrong().items() if name != "unexplained"}
    assert not wrong, f"{wrong}\n{one}"
    cut_off = {task_id for task_id in found.extra_runs if kinds[task_id] == "slow"} if long else set()
    assert set(found.extra_runs) == cut_off, f"{found.extra_runs}\n{one}"
    handed_back = sum(line.more[0] == "Defer" for line in one.log.of("settled"))
    started, stopped = max(stop.started for stop in stops), max(stop.stopped for stop in stops)
    print(  # noqa: T201 - the numbers of docs/explanation/guarantees.md
        f"{len(kinds)} tasks, {handed_back} handed back to the other release, {len(cut_off)} cut off at the end of the "
        f"grace; {len(stops)} trees started within {started:.2f} s, and ended within {stopped:.2f} s"
    )
    return stops


@pytest.mark.timeout(120)
@pytest.mark.parametrize("store", ["server", "sqlite"])
def test_two_releases(site: Site, servers: Servers, store: str) -> None:
    """What one release does not know waits for the other, as does a call that only the other one understands."""
    url = servers(oldest()).url if store == "server" else f"sqlite:///{site.log}.db"
    with storm(evolve(site, url=url, lease=30), seed=11) as one:
        deploys(one, rounds=4)


@pytest.mark.soak
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", [*kinds_to_test(), "sqlite"])
def test_two_releases_for_long(site: Site, servers: Servers, kind: str) -> None:
    """Tasks that run for longer than the grace are given back. A tree ends a second after its grace at the latest; a
    busy machine gets as much time more as it needed for the slowest start of a tree."""
    url = f"sqlite:///{site.log}.db" if kind == "sqlite" else servers(cast(ServerKind, kind)).url
    with storm(evolve(site, url=url, lease=30), seed=11) as one:
        stops = deploys(one, rounds=40, grace=1, long=2.5, patience=500)

    busy = max(stop.started for stop in stops)
    assert max(stop.stopped for stop in stops) <= 1 + 1 + busy
