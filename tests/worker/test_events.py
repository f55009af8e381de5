"""What a worker's log says, and to whom."""

from __future__ import annotations

import io
import json
import logging
import logging.config
from collections.abc import Iterator

import pytest

from pyxqueue.cli.logs import JSONFormatter, set_up_logging
from pyxqueue.client.local_workers import configure_logging
from pyxqueue.model.message import Done, Fail, Failure, Outcome, Raised, Rejected, Retry, Returned, Verdict
from pyxqueue.worker import events
from pyxqueue.worker.events import TaskSettled, Throttle, hear_logs, log_settled


def settled(outcome: Outcome, verdict: Verdict, *, accepted: bool = True) -> TaskSettled:
    return TaskSettled("id-1", "shop.sell", 2, "w", outcome, verdict, accepted, 0.5)


@pytest.fixture
def restored() -> Iterator[None]:
    """Logging as it was."""
    names = ("", "pyxqueue", "pyxqueue.worker", "shop", "library")
    before = [(one, one.handlers[:], one.level, one.disabled) for one in map(logging.getLogger, names)]
    yield
    for one, handlers, level, disabled in before:
        one.handlers[:], one.disabled = handlers, disabled
        one.setLevel(level)


def test_a_failure_has_its_traceback_and_no_line_is_forged(caplog: pytest.LogCaptureFixture) -> None:
    """What a task raised is one line, and its traceback lines of their own; what moves a cursor is shown as it is."""
    failure = Failure("ValueError", "no\nERROR forged\x1b[2J", "Traceback\n  File\x1b[0m\nValueError: no\nERROR forged")

    log_settled(settled(Raised(failure), Fail("x")))

    (record,) = caplog.records
    text = record.getMessage().splitlines()
    assert text[0] == (r"shop.sell id-1, attempt 2: ValueError: no\nERROR forged\x1b[2J; kept with the failed tasks")
    assert text[1:] == ["  Traceback", r"    File\x1b[0m", "  ValueError: no", "  ERROR forged"]
    assert (record.task_id, record.task_name, record.attempt) == ("id-1", "shop.sell", 2)  # type: ignore[attr-defined]


def test_json_lines_have_what_was_said_beside_the_text() -> None:
    """A retry with the id, name and attempt of its task."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JSONFormatter())
    events.log.addHandler(handler)
    try:
        log_settled(settled(Raised(Failure("ValueError", "no")), Fail("x")))
    finally:
        events.log.removeHandler(handler)

    line = json.loads(stream.getvalue())
    assert (line["task_id"], line["task_name"], line["attempt"]) == ("id-1", "shop.sell", 2)
    assert "args" not in line


def test_successes_have_a_logger_of_their_own(caplog: pytest.LogCaptureFixture) -> None:
    """Silent unless it is asked for."""
    event = settled(Returned(b"1"), Done())
    log_settled(event)
    assert not caplog.records

    with caplog.at_level(logging.DEBUG, "pyxqueue.worker.done"):
        log_settled(event)
    assert [record.getMessage() for record in caplog.records] == ["done shop.sell id-1 in 0.500 s, attempt 2"]


def test_refused_messages_do_not_fill_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some lines in a span of time, then how many there were; failures of tasks that ran are each told."""
    moments = iter((0.0, 1.0, 2.0, 3.0, 12.0))
    monkeypatch.setattr(events, "_refusals", Throttle(2, 10.0, lambda: next(moments)))
    for _ in range(5):
        log_settled(settled(Rejected(Failure("Unreadable", "broken")), Fail("x")))
    for _ in range(3):
        log_settled(settled(Raised(Failure("ValueError", "no")), Fail("x")))

    texts = [record.getMessage() for record in caplog.records]
    assert sum("Unreadable" in text for text in texts) == 3
    assert texts[2] == "2 more messages were refused and are kept with the failed tasks"
    assert sum("ValueError" in text for text in texts) == 3


def test_a_retry_says_when(caplog: pytest.LogCaptureFixture) -> None:
    """In seconds, at level INFO."""
    with caplog.at_level(logging.INFO, "pyxqueue"):
        log_settled(settled(Raised(Failure("ValueError", "no")), Retry(1500)))
    assert caplog.records[0].getMessage().endswith("ValueError: no; again in 1.5 s")


@pytest.mark.usefixtures("restored")
def test_a_program_that_sets_up_its_logging_does_not_silence_workers() -> None:
    """`logging.config` disables every logger that is there, unless it says otherwise."""
    logging.config.dictConfig({"version": 1, "root": {"level": "INFO"}})
    assert events.log.disabled

    hear_logs()

    assert not events.log.disabled
    assert not logging.getLogger("pyxqueue").disabled


@pytest.mark.usefixtures("restored")
def test_lines_have_a_time_and_a_level_where_nobody_has_set_up_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    """As in a script that only says `queue.start()`."""
    logging.getLogger().handlers.clear()

    hear_logs()
    events.log.warning("something")

    line = capsys.readouterr().err
    assert line.endswith(" WARNING pyxqueue.worker: something\n")
    assert line[:4].isdigit()


@pytest.mark.usefixtures("restored")
def test_the_lines_of_a_program_with_a_handler_of_its_own_are_not_doubled(capsys: pytest.CaptureFixture[str]) -> None:
    """Ours go to stderr all the same."""
    logging.getLogger().handlers.clear()
    shop, stream = logging.getLogger("shop"), io.StringIO()
    shop.addHandler(logging.StreamHandler(stream))

    set_up_logging(None, "text")
    shop.warning("sold")
    events.log.info("started")

    assert stream.getvalue() == "sold\n"
    assert "sold" not in (told := capsys.readouterr().err)
    assert told.endswith("INFO pyxqueue.worker: started\n")


@pytest.mark.usefixtures("restored")
def test_a_handler_somewhere_else_hides_and_doubles_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """Many libraries have one that does nothing; the command and `run` set up one log between them."""
    logging.getLogger().handlers.clear()
    logging.getLogger("library").addHandler(logging.NullHandler())

    set_up_logging(None, "text")
    configure_logging()
    for name in ("library", "library.part", "application", "pyxqueue.worker"):
        logging.getLogger(name).info("said")

    lines = [line.split(" INFO ")[1] for line in capsys.readouterr().err.splitlines()]
    assert lines == ["library: said", "library.part: said", "application: said", "pyxqueue.worker: said"]


def test_a_traceback_that_was_made_elsewhere_is_in_json() -> None:
    """As the supervisor's are, which another process writes."""
    record = logging.makeLogRecord({"msg": "it broke", "exc_text": "Traceback: the cause"})

    assert json.loads(JSONFormatter().format(record))["exception"] == "Traceback: the cause"
