"""Which tests of the kit are long on fakeredis."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

_MANY = re.compile(
    "thousand|many|bounded|leave_nothing|nothing_is_left|keeps_its_class|wait_for_the_new|by_weight|two_handles_admit"
)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: Sequence[pytest.Item]) -> None:
    """Tests with a thousand tasks take seconds there, since it runs commands in Python. Real servers show the same."""
    for item in items:
        if "TestFakeRedis" in item.nodeid and _MANY.search(item.name):
            item.add_marker(pytest.mark.soak)
