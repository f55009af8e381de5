"""No text contains a part of a password, in whatever form the URL is."""

from __future__ import annotations

import json
import logging
import traceback
from contextlib import closing
from urllib.parse import quote, quote_plus

import pytest
from click.testing import CliRunner
from redis import Redis, UsernamePasswordCredentialProvider
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.sentinel import Sentinel

from pyxqueue import BrokerUnavailableError, ConfigurationError, PyxqueueError, TaskQueue
from pyxqueue.backends.redis import ConnectionConfig
from pyxqueue.backends.redis.faults import translate
from pyxqueue.cli import main
from pyxqueue.protocols import StoreOptions
from pyxqueue.stores import find_store
from pyxqueue.urls import shown

PARTS = ("hunter", "4711", "tw0")
"""The parts of the passwords; no text may contain one."""
MALFORMED = [
    "redis://:hunter/tw0@h/0",
    "redis://:hunter#tw0@h/0",
    "redis://:hunter?tw0@h/0",
    "redis://user:4711/tw0@h/0",
    "redis://user:4711#tw0@h/0",
    "redis://user:4711?tw0@h/0",
    "redis://user:4711?a=tw0@h/0",
    "redis://user:4711/0?a=tw0@h/0",
    "redis://user:4711/0#tw0",
    "redis://hunter/tw0@h",
    "redis://:hunter tw0",
    "redis://:hunter",
    "redis://user:hunter",
    "redis://user:hunter:tw0",
    "redis://:hunter[tw0@h/0/tw0",
    "redis://[hunter",
    "redis://h:hunter/0",
    "redis://h/hunter",
    "redis://h/0?hunter",
    "redis://h/0?password=hunter@tw0",
    "redis://h/0?socket_timeout=hunter",
    "redis://:hunter@h/0?db=tw0&password=hunter",
    "redis://:hunter℀tw0@h/tw0",
    "rediss://:hunter/tw0@h/0",
    "unix://:hunter",
    "unix://:hunter/tw0@/run/redis.sock",
    "unix://user:hunter?tw0@/run/redis.sock",
    "redis:/:hunter@h",
    "redis:/hunter",
    "redis:hunter@h",
    "redis::hunter@h:6379",
    "redis//:hunter@h/0",
    "://:hunter@h/0",
    "//:hunter@h/0",
    "user:hunter@h",
    "user:hunter@h:6379",
    " redis://:hunter@h/0",
    "redis+sentinel://:hunter/tw0@h/0",
    "REDIS://:hunter/tw0@h/0",
    "sqlite://:hunter@h/tw0",
    "sqlite:///q.db?key=hunter",
    "sqlite:///q.db?shared=maybe#hunter",
]
STORES = ("redis://127.0.0.1:1/0", "redis://127.0.0.1:1/1")
UNREACHABLE = [
    "redis://:hunter@127.0.0.1:1/0",
    "redis://hunter:tw0@127.0.0.1:1/0",
    "redis://127.0.0.1:1/0?password=hunter",
    "redis://127.0.0.1:1/0?pass%77ord=hunter",
    "redis://127.0.0.1:1/0?ssl_password=hunter",
    "rediss://:hunter@127.0.0.1:1/0?ssl_password=tw0",
    "redis://:hunter%2Ftw0@127.0.0.1:1/0",
    "redis://:hunter@tw0@127.0.0.1:1/0",
    "unix://:hunter@/nowhere/redis.sock?db=1",
    "unix://:hunter@tw0@/nowhere/redis.sock",
]


def check(text: str) -> None:
    assert not [part for part in PARTS if part in text], text


def texts(error: BaseException) -> str:
    """Everything that a log shows of an error."""
    return "".join([str(error), repr(error), *traceback.format_exception(error)]).replace(__file__, "")


@pytest.mark.parametrize("url", MALFORMED)
def test_a_malformed_url(
    url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is refused wherever it is given, and the error does not repeat it."""
    caplog.set_level(logging.DEBUG)
    for give in (
        lambda: TaskQueue(url).task_total(),
        lambda: TaskQueue(store=url, stream_key="x").task_total() if "://" in url else TaskQueue(url),
        lambda: TaskQueue(broker=url),  # type: ignore[arg-type]
        lambda: find_store(url, StoreOptions()).open().close(),
    ):
        try:
            give()
        except PyxqueueError as error:
            check(texts(error))
        else:
            raise AssertionError("it was not refused")
    monkeypatch.setenv("PYXQUEUE_URL", url)
    with pytest.raises(PyxqueueError) as refused:
        TaskQueue("x").task_total()
    check(texts(refused.value))
    check(caplog.text + shown(url))


@pytest.mark.parametrize("url", MALFORMED + UNREACHABLE)
def test_the_command_line(url: str) -> None:
    """As an option, from the environment, and in the place of a module or a store."""
    for args in (
        ["--url", url, "info"], ["info"], ["worker", url], ["info", "--app", url], ["move", url, "memory://"],
        ["move", "memory://", url],
    ):  # fmt: skip
        result = CliRunner().invoke(main, args, env={"PYXQUEUE_URL": url, "PYXQUEUE_APP": None})
        assert result.exit_code != 0
        check(result.output + (texts(result.exception) if result.exception else ""))


@pytest.mark.parametrize("url", UNREACHABLE)
def test_a_store_that_is_away(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """The error has the address of the store."""
    caplog.set_level(logging.DEBUG)
    place = "/nowhere/redis.sock" if url.startswith("unix") else "127.0.0.1:1/0"
    with closing(TaskQueue(url)) as queue, pytest.raises(PyxqueueError, match=place) as away:
        queue.task_total()

    check(caplog.text + "".join(str(one) for one in (away.value, repr(away.value), find_store(url, StoreOptions()))))
    check(repr(ConnectionConfig.from_url(url)) + shown(url))


@pytest.mark.parametrize("url", ["redis://:hunter/tw0@h/0", "redis://user:4711#tw0@h/0", "unix://:hunter"])
def test_the_error_says_how_to_write_such_a_password(url: str) -> None:
    """A character like `#` must be escaped in a URL."""
    with pytest.raises(ConfigurationError, match=r"redis://user:password@host|unix://user.*percent-encode.*%2F"):
        find_store(url, StoreOptions()).open()


ODD = "hunter/tw0 'é\"\\\n@"
"""A password that is different in each of the forms."""


def forms(secret: str) -> dict[str, str]:
    return {
        "raw": secret,
        "percent": quote(secret, safe=""),
        "percent, in part": secret.replace("/", "%2f").replace("@", "%40"),
        "percent, plus": quote_plus(secret),
        "repr": repr(secret)[1:-1],
        "ascii": ascii(secret),
        "bytes": repr(secret.encode()),
        "JSON": json.dumps(secret),
    }


def chained(text: str, link: str) -> Exception:
    """An error of the driver with this text, or an error that is chained to one."""
    inner = RedisConnectionError(text)
    if link == "itself":
        return inner
    if link == "group":
        inner = ExceptionGroup("several", [inner])  # type: ignore[assignment] # any exception will do
    outer = RedisConnectionError("no master found")
    if link == "note":
        outer.add_note(text)
    elif link == "context":
        outer.__context__ = inner
    else:
        outer.__cause__ = inner
    inner.__context__ = outer  # and one that never ends
    return outer


@pytest.mark.parametrize("link", ["itself", "cause", "context", "note", "group"])
@pytest.mark.parametrize("form", sorted(forms(ODD)))
def test_an_error_of_the_driver_with_the_password_is_hidden(form: str, link: str) -> None:
    """Only its type is shown, whatever form of the password it has, also if it is chained to an error that has it. An
    older driver shows all settings of a Sentinel that does not respond."""
    sentinel = Sentinel([("h", 1)], sentinel_kwargs={"password": ODD})
    tls = Redis("h", password="other", ssl=True, ssl_password=ODD)
    provider = Redis("h", credential_provider=UsernamePasswordCredentialProvider("user", ODD))
    for client in (Redis("h", password=ODD), sentinel.master_for("any", password="other"), tls, provider,
                   Redis("h", username=ODD)):  # fmt: skip
        ours = translate(
            chained(f"Connection(password={forms(ODD)[form]})", link), ConnectionConfig.from_client(client)
        )
        assert isinstance(ours, BrokerUnavailableError)
        assert "ConnectionError" in str(ours)
        assert ours.__cause__ is ours.__context__ is None
        check(texts(ours))


def test_an_error_of_the_driver_without_a_password_is_shown_with_its_cause() -> None:
    """It says what went wrong."""
    error = chained("Name or service not known", "cause")

    ours = translate(error, ConnectionConfig.from_client(Redis("h", username="user", password="hunter")))

    assert ours.__cause__ is error
    assert "no master found" in str(ours)


@pytest.mark.parametrize(
    "client",
    [
        Redis("redis://:hunter@h"), Redis("user:hunter@h"), Redis(":hunter"), Redis("hunter/tw0"),
        Redis(port="hunter"), Redis(db="redis://:hunter@h"),  # type: ignore[arg-type] # wrong on purpose
        Redis(unix_socket_path="unix://:hunter@/run/redis.sock"),
        Sentinel([("redis://:hunter@h", 1)]).master_for("any"), Redis("h", password="hunter\n"),
    ],
    ids=range(9),
)  # fmt: skip
def test_a_client_with_a_url_in_place_of_its_host(client: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """It is refused, and the error does not repeat it."""
    caplog.set_level(logging.DEBUG)
    with closing(TaskQueue(client)) as queue, pytest.raises(PyxqueueError) as refused:
        queue.task_total()

    check(texts(refused.value) + caplog.text)


@pytest.mark.parametrize("url", ["redis://user:hunter@h/0", "redis://h/0?password=hunter"])
def test_a_url_in_place_of_a_name(url: str) -> None:
    """It is refused, because the names of queues and groups are shown."""
    for names in ({"stream_key": url}, {"consumer_group": url}):
        with pytest.raises(ConfigurationError, match="first argument") as refused:
            TaskQueue("memory://", **names)  # type: ignore[arg-type] # names are given by the test
        check(texts(refused.value))
    for args in (["--queue", url, "info"], ["--queue", "q", "--group", url, "info"], ["move", "--queue", url, *STORES]):
        result = CliRunner().invoke(main, args)
        assert result.exit_code == 2
        check(result.output)


@pytest.mark.parametrize("url", [one for one in MALFORMED + UNREACHABLE if "://" in one])
@pytest.mark.parametrize("args", [["info", "rpc", "URL"], ["tasks", "--limit", "URL"], ["tasks", "--limit=URL"]])
def test_a_url_in_place_of_another_argument(args: list[str], url: str) -> None:
    """The error does not repeat it."""
    result = CliRunner().invoke(main, [arg.replace("URL", url) for arg in args], env={"PYXQUEUE_URL": None})

    assert result.exit_code == 2
    check(result.output)
