"""A queue in memory and its dashboard."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import pytest
from starlette.testclient import TestClient

from pyxqueue import TaskQueue
from pyxqueue.dashboard import Access, Dashboard

Visitor: TypeAlias = Callable[..., TestClient]
SAME_SITE = {"sec-fetch-site": "same-origin"}


@pytest.fixture
def queue() -> Iterator[TaskQueue]:
    made = TaskQueue(f"memory://{uuid.uuid4().hex}", stream_key="mail")
    yield made
    made.close()


@pytest.fixture
def visitor(queue: TaskQueue) -> Visitor:
    """Return a client of a dashboard of the queue, with these options; it says where its requests come from, as a
    browser does."""

    def visit(access: Any = Access.ALL, **options: Any) -> TestClient:
        app = Dashboard(queue, access=access, **options)
        return TestClient(app, headers=SAME_SITE, follow_redirects=False, raise_server_exceptions=True)

    return visit
