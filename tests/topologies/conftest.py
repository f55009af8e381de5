"""A store of several servers, shared by the tests that only use it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import kinds_to_test

from .servers import Nodes, Watched, cluster, watched

KIND = kinds_to_test()[0]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    """A cluster of three masters."""
    with cluster(KIND) as nodes:
        yield nodes


@pytest.fixture
def pair() -> Iterator[Watched]:
    """A master, its replica and a Sentinel."""
    with watched(KIND) as pair:
        yield pair
