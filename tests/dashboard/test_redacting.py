"""Secrets are hidden by the names of parameters, at any depth, in arguments, headers, results and errors."""

from __future__ import annotations

import pickle
from typing import Any

import msgspec
import pytest
from starlette.testclient import TestClient

from pyxqueue import Seal, TaskQueue
from pyxqueue.dashboard import Access, Dashboard
from pyxqueue.dashboard.redacting import HIDDEN, Redactor, is_secret, unpacked
from pyxqueue.dashboard.site import link
from pyxqueue.model.message import Fail, Failure, Message, Record, Settlement, TaskStatus

from .conftest import Visitor

SECRET = "hunter22-is-my-dog"
NAMES = [
    "password",
    "userPassword",
    "passwd",
    "db_pwd",
    "secret",
    "clientSecret",
    "token",
    "access_token",
    "api_key",
    "apikey",
    "X-Api-Key",
    "Authorization",
    "cookie",
    "Set-Cookie",
    "sessionId",
    "card",
    "card_number",
    "IBAN",
    "cvc",
    "pin",
    "key",
    "privateKey",
    "credentials",
    "passphrase",
    "otp",
    "ssn",
    "jwt",
    "AWS_SECRET_ACCESS_KEY",
]
HARMLESS = ["user", "monkey", "keyboard", "author", "discard", "spin", "opinion", "shopping", "name", "turkey", "pint"]


@pytest.mark.parametrize("name", NAMES)
def test_names_of_secrets(name: str) -> None:
    """However they are written."""
    assert is_secret(name)


@pytest.mark.parametrize("name", HARMLESS)
def test_other_names(name: str) -> None:
    """A name that only contains the letters of one is shown."""
    assert not is_secret(name)


@pytest.mark.parametrize(
    "value",
    [
        {"password": SECRET},
        {"a": [{"b": {"api_key": SECRET}}]},
        {"token": {"value": [SECRET]}},
        [{"!dict": [["token", SECRET]]}],
        {"!shop.User": {"name": "ann", "password": SECRET}},
        {"!tuple": [1, {"secret": SECRET}]},
        f"https://ann:{SECRET}@example.com/",
        f"password={SECRET}&user=ann",
        f'{{"token": "{SECRET}"}}',
        f"Authorization: Bearer {SECRET}",
        f"the token='{SECRET}' was wrong",
    ],
)
def test_a_secret_inside_of_a_value_is_hidden(value: Any) -> None:
    """At any depth, in values of any type, and in texts."""
    shown = Redactor().value("data", value).value

    assert SECRET not in shown
    assert HIDDEN in shown


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        ([1, True, 2.5], "[1, True, 2.5]"),
        ({"a": "b"}, "{'a': 'b'}"),
        ({"!set": [1, 2]}, "{1, 2}"),
        ({"!tuple": [1]}, "(1)"),
        ({"!datetime": "2026-11-27T00:00:00+00:00"}, "2026-11-27T00:00:00+00:00"),
        ({"!shop.Size": ["L"]}, "shop.Size(['L'])"),
        ({"$result": "5X6.1"}, "<the result of 5X6.1>"),
        ({"$results": ["5X6.0", 3]}, "<the results of 5X6.0>"),
        ({"$results": []}, "<the results of another task>"),
        ({}, "{}"),
        ("KeyError: 'id'", "\"KeyError: 'id'\""),
        (b"\x00\x01", "<2 bytes: 00 01>"),
    ],
)
def test_values_are_shown_as_python_writes_them(value: Any, text: str) -> None:
    """Those that JSON does not have too."""
    assert Redactor().value("data", value).value == text


def test_a_value_that_is_deep_or_long_is_cut() -> None:
    """Its text costs no more than what is shown of it."""
    deep: Any = []
    for _ in range(10_000):
        deep = [deep]

    assert "…" in Redactor().value("data", deep).value
    assert len(Redactor().value("data", ["x" * 1_000] * 10_000, limit=100).value) <= 101


def test_a_secret_that_was_hidden_is_hidden_in_errors_too() -> None:
    """An exception often repeats an argument, without its name."""
    redactor = Redactor()
    redactor.value("password", SECRET)

    assert redactor.text(f"cannot log in with {SECRET}") == f"cannot log in with {HIDDEN}"


def test_a_number_that_was_hidden_is_hidden_in_errors_too() -> None:
    """As that of a card, which is no text in the arguments."""
    redactor = Redactor()
    redactor.value("card", [4_111_111_111_111_111, True])

    assert redactor.text("True: 4111111111111111 has expired") == f"True: {HIDDEN} has expired"


NAMES_OF = {"queue": "mail", "group": "cg"}
PAGES_WITH_ERRORS = {
    "the group": link("", "group", **NAMES_OF),
    "by kind": link("", "failures", **NAMES_OF),
    "failed": link("", "tasks", place="failed", **NAMES_OF),
    "failed, filtered": link("", "tasks", place="failed", name="send", **NAMES_OF),
    "the task": link("", "task", id="one", **NAMES_OF),
    "by kind, as JSON": link("", "api_failures", **NAMES_OF),
    "failed, as JSON": link("", "api_tasks", place="failed", **NAMES_OF),
}


@pytest.mark.parametrize("more", [0, 2_000, 100_000], ids=["small", "a few KB", "large"])
@pytest.mark.parametrize("page", PAGES_WITH_ERRORS)
def test_no_page_shows_what_an_error_repeats_of_the_arguments(
    page: str, more: int, queue: TaskQueue, visitor: Visitor
) -> None:
    """However large these are: a text that cannot be searched for secrets is left out."""
    body = msgspec.json.encode([["x" * more], {"password": SECRET}])
    backend = queue.stores.backend
    backend.enqueue([Message("one", "send", body)])
    (taken,) = backend.claim("w", 1, 0)
    failure = Failure("LoginError", f"cannot log in with {SECRET}")
    record = Record("one", TaskStatus.FAILURE, error=failure)
    backend.settle([Settlement(taken.receipt, Fail(f"LoginError: cannot log in with {SECRET}"), record)])

    shown = visitor().get(PAGES_WITH_ERRORS[page]).text

    assert SECRET not in shown
    assert "LoginError" in shown
    if not more:
        assert f"cannot log in with {HIDDEN}" in shown


def test_a_hostile_text_takes_no_time_to_redact() -> None:
    """Neither many names without a value nor quotes that do not end."""
    for text in ("a='" * 20_000, 'token="\\"' * 8_000, "token" * 12_000, "-" * 60_000, "a=" * 30_000, "x://" * 15_000):
        Redactor().text(text)


@pytest.mark.parametrize("serializer", ["pickle", "yaml", "", "json2"])
def test_only_safe_formats_are_read(serializer: str) -> None:
    """Pickle is not, whatever the queue accepts."""
    with pytest.raises(ValueError, match="does not decode"):
        unpacked(serializer, b"[]")


class Bomb:
    """Fails the test if anything loads it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return pytest.fail, ("a pickle was loaded",)


def test_a_pickle_is_shown_without_being_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the arguments nor the result of a queue that accepts pickle, sealed or not."""
    queue = TaskQueue("memory://bombs", stream_key="mail", serializer="pickle", seal=Seal([b"k" * 32]))
    handle = queue.task(name="send")(print)(1)
    monkeypatch.setattr(pickle, "loads", lambda *_: pytest.fail("a pickle was loaded"))

    answer = TestClient(Dashboard(queue, access=Access.ALL)).get(f"/t/mail/cg/{handle.task_id}")

    assert answer.status_code == 200
    assert "does not decode pickle" in answer.text
    queue.close()
