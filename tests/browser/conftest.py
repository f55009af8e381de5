"""A real browser, and dashboards for it to look at.

The browser is Debian's Chromium. Where there is none, these tests are left out with a word; with ``CI=true`` they fail.
"""

from __future__ import annotations

import os
import shutil
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import pytest
import uvicorn
from attrs import define, field
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Route, sync_playwright

from pyxqueue import TaskQueue
from pyxqueue.dashboard import Access, Dashboard

from .filled import fill

Visit: TypeAlias = Callable[..., "Visitor"]
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """It is closed behind the module: while it is open, this thread has an event loop, and nobody can run another."""
    program = next(filter(None, map(shutil.which, _PROGRAMS)), None)
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no Chromium is installed: apt-get install chromium")
        pytest.skip("no Chromium is installed")
    with (
        sync_playwright() as playwright,
        closing(playwright.chromium.launch(executable_path=program, args=_FLAGS)) as one,
    ):
        yield one


@contextmanager
def served(app: Any) -> Iterator[str]:
    """Serve an ASGI application on a free port. Gives its address."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_level="error", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def queue() -> Iterator[TaskQueue]:
    """A queue with hostile text in every field of tasks in every place."""
    made = TaskQueue(f"memory://{uuid.uuid4().hex}", "shop")
    fill(made)
    yield made
    made.close()


@pytest.fixture(scope="module")
def dashboard(queue: TaskQueue) -> Dashboard:
    return Dashboard(queue, access=Access.ALL, title="Shop", badge="test", refresh=1)


@pytest.fixture(scope="module")
def address(dashboard: Dashboard) -> Iterator[str]:
    with served(dashboard) as address:
        yield address


@define(slots=False, eq=False)  # Playwright puts something into what it calls
class Visitor:
    """A window of the browser that notes what must not happen."""

    context: BrowserContext
    page: Page
    address: str
    faults: list[str] = field(factory=list)

    def see(self, path: str) -> Page:
        self.page.goto(self.address + path, wait_until="load")
        return self.page

    def forgive(self, text: str) -> None:
        """Forget what went wrong as it should."""
        self.faults = [fault for fault in self.faults if text not in fault]

    def note(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"{message.type}: {message.text}")

    def route(self, route: Route) -> None:
        """Let only requests to the dashboard through."""
        if urlsplit(route.request.url).netloc == urlsplit(self.address).netloc:
            route.continue_()
        else:
            self.faults.append(f"a request to {route.request.url}")
            route.abort()


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    """Opens windows, with options of Playwright; what went wrong in them fails the test."""
    opened: list[Visitor] = []

    def open_window(at: str = address, **options: Any) -> Visitor:
        context = browser.new_context(**options)
        visitor = Visitor(context, context.new_page(), at)
        opened.append(visitor)
        context.route("**/*", visitor.route)
        visitor.page.on("console", visitor.note)
        visitor.page.on("pageerror", lambda error: visitor.faults.append(f"an error of a script: {error}"))
        visitor.page.on("dialog", lambda dialog: visitor.faults.append(f"a dialog: {dialog.message}"))
        return visitor

    yield open_window
    for visitor in opened:
        with suppress(Exception):
            visitor.context.close()
    assert [fault for visitor in opened for fault in visitor.faults] == []
