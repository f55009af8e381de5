"""`pyxqueue dashboard`: where it listens, whom it lets in, and that it ends."""

from __future__ import annotations

import base64
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from click.testing import CliRunner
from starlette.testclient import TestClient

from pyxqueue import ConfigurationError, TaskQueue
from pyxqueue.cli import main
from pyxqueue.dashboard import Access, Dashboard
from pyxqueue.dashboard.access import HEADERS, Failures, Login, Standalone, host_of

from ..running import Place

PASSWORDS = "ann:correct-horse\n# a comment\n\nbob:battery-staple\n"


def basic(name: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


@pytest.fixture
def client(queue: TaskQueue) -> TestClient:
    """A visitor of a dashboard that asks for a password; a wrong one takes no time here."""
    login = Login.read(PASSWORDS, "a test")
    app = Standalone(Dashboard(queue, access=Access.READ), ["localhost", "queues.example"], login, 0, Failures(3))
    return TestClient(app, base_url="http://localhost")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        (basic("ann", "correct-horse"), 200),
        (basic("bob", "battery-staple"), 200),
        ({"authorization": "Bearer battery-staple"}, 200),
        (basic("ann", "battery-staple"), 401),
        (basic("ann", ""), 401),
        (basic("eve", "correct-horse"), 401),
        ({"authorization": "Bearer "}, 401),
        ({"authorization": "Basic !!!"}, 401),
        ({"authorization": "Digest x"}, 401),
    ],
)
def test_a_password_is_asked_for(client: TestClient, headers: Mapping[str, str], status: int) -> None:
    """Each name has its own; a program sends one as a token; every answer has the headers."""
    answer = client.get("/", headers=headers)

    assert answer.status_code == status
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


def test_only_the_probes_need_no_password(client: TestClient) -> None:
    """Not pages whose paths end like theirs."""
    assert client.get("/livez").status_code == client.get("/readyz").status_code == 200
    assert client.get("/t/mail/cg/livez").status_code == client.get("/q/mail/readyz").status_code == 401


def test_many_wrong_passwords_make_an_address_wait(client: TestClient) -> None:
    """A right one has to wait too, so that nobody learns which one it is."""
    for _ in range(3):
        client.get("/", headers=basic("ann", "wrong-password"))

    assert client.get("/", headers=basic("ann", "correct-horse")).status_code == 429


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost", 401), ("LOCALHOST:8642", 401), ("queues.example", 401), ("10.0.0.7:8642", 401), ("[::1]:8642", 401),
     ("evil.example", 421), ("", 421), ("localhost.evil.example", 421), ("127.0.0.1.evil.example", 421)],
)  # fmt: skip
def test_another_name_does_not_lead_here(client: TestClient, host: str, status: int) -> None:
    """A page of another site may let its name lead to this machine; an address cannot be faked in that way."""
    assert client.get("/", headers={"host": host}).status_code == status


@pytest.mark.parametrize("text", ["", "# nothing", "ann", "ann:", ":correct-horse", "ann:short"])
def test_a_file_without_good_passwords_is_refused(text: str) -> None:
    """The error has no password in it."""
    with pytest.raises(ConfigurationError, match="NAME:PASSWORD") as error:
        Login.read(text, "a test")
    assert "short" not in str(error.value)


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "192.0.2.7:80", "[::]:80", "example.org:80"])
def test_it_does_not_listen_for_others_without_a_password(listen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 2, and what to do."""
    monkeypatch.delenv("PYXQUEUE_DASHBOARD_AUTH", raising=False)

    result = CliRunner().invoke(main, ["dashboard", "--listen", listen])

    assert result.exit_code == 2
    assert "--auth-file" in result.stderr


@pytest.mark.parametrize("listen", ["127.0.0.1", "127.0.0.1:", ":80", "127.0.0.1:99999", "127.0.0.1:x"])
def test_an_address_that_is_none(listen: str) -> None:
    """Exit code 2."""
    result = CliRunner().invoke(main, ["dashboard", "--listen", listen])

    assert result.exit_code == 2
    assert "ADDRESS:PORT" in result.stderr


def test_hosts() -> None:
    """Without their ports, in lower case."""
    assert [host_of(text) for text in ("A.b:80", "[::1]:80", "[::1]", "a.b.", "")] == [
        "a.b",
        "[::1]",
        "[::1]",
        "a.b",
        "",
    ]


def test_the_command_serves_until_it_is_stopped(tmp_path: Path) -> None:
    """It shows the queues of the store, and SIGTERM ends it with 0, also while a page listens."""
    url = f"sqlite:///{tmp_path}/queue.db"
    queue = TaskQueue(url, stream_key="letters")
    queue.task(name="send")(print)(1)
    place = Place(tmp_path, url, {"PYXQUEUE_DASHBOARD_AUTH": PASSWORDS})
    with subprocess.Popen(
        [sys.executable, "-m", "pyxqueue", "dashboard", "--listen", "127.0.0.1:0"],
        cwd=tmp_path, env=place.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        address = process.stdout.readline().split()[2].rstrip(",;")
        page = urlopen(Request(address, headers=basic("ann", "correct-horse"))).read().decode()
        with pytest.raises(HTTPError, match="401"):
            urlopen(address)
        with urlopen(Request(f"{address}events", headers=basic("ann", "correct-horse"))) as stream:
            assert stream.readline()
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0
    assert "letters" in page
    queue.close()
