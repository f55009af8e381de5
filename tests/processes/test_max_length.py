"""A queue with a bound, and several programs that enqueue as fast as they may."""

from __future__ import annotations

import pytest
from attrs import evolve

from tests.storms.storm import producers, storm
from tests.support.until import until

from .app import Site
from .conftest import StartTree, on_every_store

BOUND = 30


@pytest.mark.timeout(120)
@on_every_store
def test_programs_never_pass_the_bound(site: Site, start_tree: StartTree) -> None:
    """Two of four programs wait for room, the others are refused and call again. What was accepted ends once."""
    waits, refused = (evolve(site, max_length=BOUND, full_wait=wait) for wait in (60, 0))
    with storm(site, seed=1) as one:
        trees = [start_tree("-p", "1", "-t", "4") for _ in range(2)]
        inspector, lengths = one.app.queue.stores.backend, set[int]()

        def enough() -> bool:
            depth = inspector.depth()
            lengths.add(depth.waiting + depth.in_flight)
            return len(one.log.of("end")) >= 200 and len(one.log.of("refused")) >= 20

        with producers(one, waits, waits, refused, refused):
            until(enough, f"two hundred are done; {one}", 60)
        one.drain(60)
        assert [tree.stop() for tree in trees] == [0, 0]
        assert max(lengths) <= BOUND
        assert max(lengths) >= BOUND - 1, "the queue was never full"
        assert one.judge().extra_runs == {}
        assert {line.more[0] for line in one.log.of("refused")} == {"QueueFullError"}
