"""The stores on which random walks run."""

from __future__ import annotations

import pytest

from ..conftest import Servers
from ..support.machines import MakeHarness, in_file, in_memory, on_server


@pytest.fixture(params=["memory", "sqlite", "redis"])
def make(request: pytest.FixtureRequest, servers: Servers) -> MakeHarness:
    """Makes a store of each kind in turn."""
    if request.param == "redis":
        return on_server(servers("valkey").url)
    return in_memory if request.param == "memory" else in_file
