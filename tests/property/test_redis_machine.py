"""Redis does what the in-memory backend does, whatever happens: on fakeredis for speed, on real servers for proof."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import pytest
import redis
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from pyxqueue.testing.machine import backend_machine
from pyxqueue.testing.servers import ServerKind

from ..conftest import Servers, kinds_to_test
from ..support.redis_harness import RedisHarness, fake_client


def run(client: Callable[[], redis.Redis], *, examples: int, steps: int, shrink: bool = False) -> None:
    """`shrink` makes a failure short, which takes many minutes on a server."""
    phases = [Phase.explicit, Phase.reuse, Phase.generate, *([Phase.shrink] if shrink else [])]
    machine = backend_machine(lambda: closing(RedisHarness(client())), maintain_reclaims=True, clock_goes_on=True)
    run_state_machine_as_test(
        machine, settings=settings(max_examples=examples, stateful_step_count=steps, deadline=None, phases=phases)
    )


def test_fakeredis_follows_the_model() -> None:
    """Ack, retry and progress by the model, on fakeredis."""
    run(fake_client, examples=6, steps=30)


@pytest.mark.parametrize("kind", kinds_to_test())
def test_a_server_follows_the_model(kind: ServerKind, servers: Servers) -> None:
    """Ack, retry and progress by the model, on a real server."""
    url = servers(kind).url
    run(lambda: redis.Redis.from_url(url), examples=8, steps=40)


@pytest.mark.soak
@pytest.mark.parametrize("kind", kinds_to_test())
def test_a_server_follows_the_model_for_long(kind: ServerKind, servers: Servers) -> None:
    """The same with many more and longer sequences."""
    url = servers(kind).url
    run(lambda: redis.Redis.from_url(url), examples=1000, steps=80, shrink=True)
