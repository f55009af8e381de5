"""Text from anyone, as it is shown to people."""

from __future__ import annotations

import ast
import io
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis import Redis

import pyxqueue
from pyxqueue.errors import PyxqueueError, TaskError
from pyxqueue.log import get_logger
from pyxqueue.printable import MAX_TRACEBACK, complain, counted, printable, printable_lines, quoted, traceback_of
from pyxqueue.serializers.errors import OutsideDomainError

PACKAGE = Path(pyxqueue.__file__).parent
HOSTILE = "a\0\x1b[2J\x1b]52;c;eA==\x07\r\nERROR forged\u2028b\u202ec\udcff\u200b[/x]"
LONG = 10_000_000
"""Characters. A parameter of that size is made when its test runs, or every process of a test run would keep it."""
ALWAYS_MORE = ("{len(ids)} tasks", "{count} tasks")
"""In texts of their own for one task."""


def test_a_number_with_its_noun() -> None:
    """One is not a plural."""
    assert [counted(number, "task") for number in (0, 1, 2, 1_200)] == ["0 tasks", "1 task", "2 tasks", "1,200 tasks"]


def test_no_text_of_the_package_puts_a_plural_behind_one() -> None:
    """Where a number is not `counted`, it stands behind the noun, or in brackets."""
    plural = re.compile(r"(%d|\{[^{}'\"]*\}) (more )?(tasks|messages|settlements|ticks|copies|events)\b")
    found = [
        f"{path.name}: {text[0]}"
        for path in PACKAGE.rglob("*.py")
        if "testing" not in path.parts
        for text in plural.finditer(path.read_text())
        if text[0] not in ALWAYS_MORE
    ]
    assert found == []


class Nasty:
    """An object whose `repr` raises `SystemExit`."""

    def __repr__(self) -> str:
        raise SystemExit("no")


class NastyError(Exception):
    def __str__(self) -> str:
        raise KeyboardInterrupt("no")


def of_a_colourful_class() -> object:
    return type("\x1b[31m" * LONG, (), {})()


def check(text: str, limit: int) -> None:
    """The text must be one printable line, no longer than its limit plus what an escape needs."""
    assert text.isprintable()
    assert len(text) <= limit + 60


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("größe 尺寸 ✓", "größe 尺寸 ✓"),
        ("one\nINFO forged", r"one\nINFO forged"),
        ("\r\x1b[2J\x07", r"\r\x1b[2J\x07"),
        ("\x1b]52;c;cm0gLXJm\x07", r"\x1b]52;c;cm0gLXJm\x07"),
        ("\x9b31m\x85\u2028", r"\x9b31m\x85\u2028"),
        ("a\u202eb\u2066c", r"a\u202eb\u2066c"),
        ("\udcff", r"\udcff"),
    ],
)
def test_nothing_but_text_reaches_a_terminal(text: str, shown: str) -> None:
    """Control characters, line ends and direction marks are shown escaped."""
    assert printable(text) == shown


@given(text=st.text(), limit=st.integers(1, 50))
def test_it_is_one_printable_line_of_bounded_length(text: str, limit: int) -> None:
    """Any text becomes one printable line of bounded length."""
    shown = printable(text, limit)

    assert shown.isprintable()
    assert len(shown) <= 10 * limit + 40


def test_a_long_text_says_what_is_missing() -> None:
    """A text that was cut says how much is missing."""
    assert printable("x" * 1_500, 3) == "xxx… (1,497 more characters)"


def test_lines_stay_lines() -> None:
    """Each line is made printable by itself."""
    assert printable_lines("a\n\tb\x1b[0m\nccc", 10) == "a\n    b\\x1b[0m\nccc"


@pytest.mark.parametrize(
    ("make", "shown"),
    [
        (lambda: "it's", '"it\'s"'),
        (lambda: "x" * LONG, f"'{'x' * 100}'… (9,999,900 more characters)"),
        (lambda: b"x" * LONG, f"b'{'x' * 100}'… (9,999,900 more characters)"),
        (lambda: None, "None"),
        (lambda: 2.5, "2.5"),
        (lambda: ["a"], "a list"),
        (Nasty, "a Nasty"),
        (lambda: NastyError("x"), "NastyError('x')"),
        (lambda: 10**5_000, "<int: cannot be shown, ValueError in its own code>"),
        (lambda: Redis(password="hunter2"), "a Redis"),
        (lambda: "redis://:hunter2@h/0", "the URL redis://h/0"),
        (lambda: "redis://:hunter2/x@h/0", "the URL redis://"),
        (of_a_colourful_class, None),
        (lambda: type("x" * LONG, (Exception,), {}), None),
        (lambda: HOSTILE, None),
        (lambda: HOSTILE.encode("utf-8", "surrogatepass"), None),
    ],
    ids=[
        "text",
        "long text",
        "long bytes",
        "none",
        "float",
        "list",
        "nasty",
        "nasty error",
        "large int",
        "client",
        "url",
        "odd url",
        "colours",
        "long name",
        "hostile",
        "hostile bytes",
    ],
)
def test_what_somebody_gave_is_repeated_fit_to_be_shown(make: Callable[[], object], shown: str | None) -> None:
    """A value is quoted at bounded length, without running code of its class, and without passwords."""
    text = quoted(make())

    check(text, 400)
    assert text == shown or shown is None


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001
        return caught


@pytest.mark.parametrize(
    "make",
    [lambda: NastyError("x"), lambda: ValueError("x" * LONG), lambda: type("y" * LONG, (Exception,), {})("z")],
    ids=["nasty", "long", "long name"],
)
def test_a_traceback_is_bounded_and_never_fails(make: Callable[[], BaseException]) -> None:
    """A traceback can be written whatever the exception's own code does."""
    assert 0 < len(traceback_of(raised(make()))) < MAX_TRACEBACK + 100


def test_what_has_no_log_is_printed_fit_to_be_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """A traceback on stderr is printable, too."""
    complain(raised(ValueError(HOSTILE)))

    told = capsys.readouterr().err
    assert told.replace("\n", "").isprintable()
    assert "a\\x00\\x1b[2J" in told


@pytest.mark.parametrize("kind", [PyxqueueError, *PyxqueueError.__subclasses__(), OutsideDomainError])
def test_the_text_of_an_error_is_fit_to_be_shown(kind: type[PyxqueueError]) -> None:
    """Every error of ours has a printable text, whatever it quotes."""
    for text in (HOSTILE, "x" * LONG):
        error: PyxqueueError = kind("", text) if issubclass(kind, TaskError) else kind(text)
        check(str(error), 2_000)


def test_the_traceback_in_a_failure_is_bounded() -> None:
    """A stored traceback may be forged: it is bounded, and its lines stay lines."""
    text = str(TaskError("x" * LONG, "y" * LONG, "z\x1b\n" * 100_000, "t" * LONG))

    assert text.replace("\n", "").isprintable()
    assert len(text) < 40_000


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    stream, logger = io.StringIO(), get_logger("pyxqueue.test")
    handler = logging.StreamHandler(stream)
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)


@pytest.mark.parametrize(
    "make",
    [
        lambda: HOSTILE,
        lambda: "x" * LONG,
        lambda: ValueError(HOSTILE),
        lambda: ValueError("x" * LONG),
        NastyError,
        Nasty,
    ],
    ids=["hostile", "long", "hostile error", "long error", "nasty error", "nasty"],
)
def test_a_line_of_the_log_is_one_line(lines: io.StringIO, make: Callable[[], object]) -> None:
    """Each line of the log is one line of bounded length."""
    get_logger("pyxqueue.test").error("%d of %s", 1, make())

    check(lines.getvalue().removesuffix("\n"), 2_100)


@pytest.mark.parametrize(
    "make",
    [lambda: ValueError(HOSTILE), lambda: ValueError("x" * LONG), lambda: NastyError(HOSTILE)],
    ids=["hostile", "long", "nasty"],
)
def test_an_exception_in_the_log_stands_below_its_line(
    lines: io.StringIO, caplog: pytest.LogCaptureFixture, make: Callable[[], BaseException]
) -> None:
    """A traceback in the log cannot be taken for a line of the log, and moves no cursor."""
    error = make()
    get_logger("pyxqueue.test").critical("it broke", exc_info=error)

    assert caplog.records[0].exc_info is None
    first, *others = lines.getvalue().splitlines()
    assert first == "it broke"
    assert type(error).__name__ in lines.getvalue()
    assert others
    assert all(line.startswith("  ") and line.isprintable() for line in others)
    assert len(lines.getvalue()) < MAX_TRACEBACK + 1_000


def modules() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if not name.startswith("testing/"):
            yield name, ast.parse(path.read_bytes())


def test_texts_quote_what_was_given_in_one_way() -> None:
    """Texts quote with `quoted`, which has a bound and shows no password; the ``!r`` of a text has neither."""
    found = [
        f"{name}:{node.lineno}"
        for name, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.FormattedValue) and node.conversion == ord("r")
    ]
    assert [place.partition(":")[0] for place in found] == ["supervisor/starters.py"]  # a program, not a text


def test_every_line_of_ours_is_made_fit_to_be_shown() -> None:
    """Every module that logs has its logger from `get_logger`."""

    def logger_of(value: Any) -> str:
        return value.func.id if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) else "another"

    found = {
        name: logger_of(node.value)
        for name, tree in modules()
        for node in tree.body
        if isinstance(node, ast.Assign) and any(getattr(one, "id", "") in ("log", "done") for one in node.targets)
    }
    assert len(found) >= 5
    assert set(found.values()) == {"get_logger"}
