"""Flows on a store that fails."""

from __future__ import annotations

import pytest

from pyxqueue import ConfigurationError, TaskQueue
from pyxqueue.backends.memory import MemoryBackend, MemoryStore
from pyxqueue.clock import FakeClock
from pyxqueue.errors import BrokerError
from pyxqueue.protocols import StoreOptions
from pyxqueue.testing import Fault, FaultyBroker, drain


@pytest.mark.parametrize("fault", [Fault.LOSE_CALL, Fault.LOSE_REPLY])
def test_a_flow_that_was_stored_in_part_is_enqueued_again(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second call stores the rest, and the handle of the flow is there only then."""
    monkeypatch.setattr("pyxqueue.client.flows._BATCH", 1)
    store = MemoryBackend(MemoryStore(FakeClock()), StoreOptions("q", lease_ms=30_000))
    faulty = TaskQueue(broker=FaultyBroker(store, [None, fault, None, fault], operations={"enqueue"}), stream_key="q")
    one = faulty.task(name="one")(lambda number=1: number + 1)
    flow = faulty.flow()
    last = flow.add(one, flow.add(one, flow.add(one)))

    for _ in range(2):
        with pytest.raises(BrokerError):
            flow.enqueue()
        with pytest.raises(ConfigurationError, match="the flow is not enqueued yet"):
            flow.result()
    assert flow.enqueue() is flow.result()
    drain(faulty)
    assert (last.get(0), len(flow.result())) == (4, 3)
    with pytest.raises(ConfigurationError, match="the flow is enqueued already"):
        flow.enqueue()
