"""Logins that fail: no text of ours holds the password, whatever is wrong with it."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from urllib.parse import quote

import pytest
from click.testing import CliRunner
from redis import Redis

from pyxqueue import PyxqueueError, TaskQueue
from pyxqueue.cli import main
from pyxqueue.testing.servers import Server, ServerKind
from tests.conftest import kinds_to_test

PASSWORD = "hunter/tw0 'é\"@"
PARTS = ("hunter", "tw0")
LONG = "hunter" * 100
"""A server repeats only its beginning."""


def check(text: str) -> None:
    assert not [part for part in PARTS if part in text], text


@pytest.fixture(params=kinds_to_test())
def kind(request: pytest.FixtureRequest) -> ServerKind:
    found: ServerKind = request.param
    return found


def failures(url: str, *, text: str) -> Iterator[str]:
    """All texts about a failed call: in threads, in asyncio and on the command line."""

    def told(call: Callable[[TaskQueue], object]) -> str:
        with closing(TaskQueue(url)) as queue, pytest.raises(PyxqueueError, match=text) as refused:
            call(queue)
        whole = "".join(traceback.format_exception(refused.value))
        error: BaseException | None = refused.value
        while error is not None:  # what a debugger or a reporter of errors shows, beside a traceback
            whole += f"{error}{error!r}"
            error = error.__context__
        return whole

    yield told(lambda queue: queue.task_total())
    yield told(lambda queue: queue.task(name="t")(int)())
    yield told(lambda queue: asyncio.run(queue.task(name="t")(int).aenqueue()))
    result = CliRunner().invoke(main, ["--url", url, "info"])
    assert result.exit_code in (1, 3)
    yield result.output


@pytest.mark.parametrize(("user", "password"), [("", PASSWORD), ("alice", LONG)])
def test_a_login_that_fails(kind: ServerKind, user: str, password: str, caplog: pytest.LogCaptureFixture) -> None:
    """The password is wrong, the user may do nothing, or the server quotes commands that it does not know."""
    caplog.set_level(logging.DEBUG)
    login = f"{user}:{quote(password, safe='')}"
    with Server(kind, args=["--requirepass", "another"]) as server:
        for told in failures(server.url.replace("//", f"//{login}@"), text="invalid|WRONG"):
            check(told)
        with Redis.from_url(server.url, password="another") as client:
            client.execute_command("ACL", "SETUSER", "alice", "on", f">{password}", "+hello", "+auth")
        for told in failures(server.url.replace("//", f"//alice:{quote(password, safe='')}@"), text="ermission"):
            check(told)
    with Server(kind, args=["--rename-command", "AUTH", ""]) as server:
        for told in failures(server.url.replace("//", f"//{login}@"), text="unknown command"):
            check(told)
    with suppress(PyxqueueError), closing(TaskQueue(server.url.replace("//", f"//{login}@"))) as queue:
        queue.task_total()
    check(caplog.text)
