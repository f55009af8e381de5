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
from pyxqueue.errors import BrokerError
from pyxqueue.inflight import Slots
from pyxqueue.model.message import (
    Done,
    Fail,
    Failure,
    LeaseStatus,
    Outcome,
    Raised,
    Rejected,
    Retry,
    Returned,
    Verdict,
)
from pyxqueue.worker import events
from pyxqueue.worker.events import TaskSettled, Throttle, log_settled
from pyxqueue.worker.logs import enable_logs
from pyxqueue.worker.settling import SettlingQueue

from .harness import Bench


def fine() -> None:
    """A task."""


def settled(outcome: Outcome, verdict: Verdict, *, accepted: bool = True) -> TaskSettled:
    return TaskSettled("id-1", "shop.sell", 2, "w", outcome, verdict, accepted, 0.5)


@pytest.fixture
def restored() -> Iterator[None]:
    """Logging as it was."""
    # Also those of other tests: `logging.config` disables them all.
    names = {"", "pyxqueue", "pyxqueue.worker", "shop", "library", *logging.Logger.manager.loggerDict}
    before = [(one, one.handlers[:], one.level, one.disabled) for one in map(logging.getLogger, names)]
    yield
    for one, handlers, level, disabled in before:
        one.handlers[:], one.disabled = handlers, disabled
        one.setLevel(level)


def test_a_failure_has_its_traceback_and_no_line_is_forged(caplog: pytest.LogCaptureFixture) -> None:
    """The error is one line, its traceback is indented below it, and control characters are escaped."""
    failure = Failure("ValueError", "no\nERROR forged\x1b[2J", "Traceback\n  File\x1b[0m\nValueError: no\nERROR forged")

    log_settled(settled(Raised(failure), Fail("x")))

    (record,) = caplog.records
    text = record.getMessage().splitlines()
    assert text[0] == (r"shop.sell id-1, attempt 2: ValueError: no\nERROR forged\x1b[2J; kept with the failed tasks")
    assert text[1:] == ["  Traceback", r"    File\x1b[0m", "  ValueError: no", "  ERROR forged"]
    assert (record.task_id, record.task_name, record.attempt) == ("id-1", "shop.sell", 2)  # type: ignore[attr-defined]


def test_json_lines_have_the_fields_of_the_task() -> None:
    """Its id, its name and the attempt, beside the text."""
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
    """It logs at level DEBUG, so it is silent unless it is enabled."""
    event = settled(Returned(b"1"), Done())
    log_settled(event)
    assert not caplog.records

    with caplog.at_level(logging.DEBUG, "pyxqueue.worker.done"):
        log_settled(event)
    assert [record.getMessage() for record in caplog.records] == ["done shop.sell id-1 in 0.500 s, attempt 2"]


def test_refused_messages_do_not_fill_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A span of time has a few lines and then the number of the others; each failure of a task that ran is logged."""
    moments = iter((0.0, 1.0, 2.0, 3.0, 12.0))
    more = "messages refused and kept with the failed tasks: %d more"
    monkeypatch.setattr(events, "_refusals", Throttle(more, 2, 10.0, lambda: next(moments)))
    for _ in range(5):
        log_settled(settled(Rejected(Failure("Unreadable", "broken")), Fail("x")))
    for _ in range(3):
        log_settled(settled(Raised(Failure("ValueError", "no")), Fail("x")))

    texts = [record.getMessage() for record in caplog.records]
    assert sum("Unreadable" in text for text in texts) == 3
    assert texts[2] == "messages refused and kept with the failed tasks: 2 more"
    assert sum("ValueError" in text for text in texts) == 3


def test_a_retry_says_when(caplog: pytest.LogCaptureFixture) -> None:
    """In seconds, at level INFO."""
    with caplog.at_level(logging.INFO, "pyxqueue"):
        log_settled(settled(Raised(Failure("ValueError", "no")), Retry(1500)))
    assert caplog.records[0].getMessage().endswith("ValueError: no; due again in 1.5 s")


@pytest.mark.usefixtures("restored")
def test_a_program_that_sets_up_its_logging_does_not_silence_workers() -> None:
    """`logging.config` disables the loggers that exist, and `enable_logs` enables ours again."""
    logging.config.dictConfig({"version": 1, "root": {"level": "INFO"}})
    assert events.log.disabled

    enable_logs()

    assert not events.log.disabled
    assert not logging.getLogger("pyxqueue").disabled


@pytest.mark.usefixtures("restored")
def test_lines_have_a_time_and_a_level_if_logging_is_not_set_up(capsys: pytest.CaptureFixture[str]) -> None:
    """As in a script that only says `queue.start()`."""
    logging.getLogger().handlers.clear()

    enable_logs()
    events.log.warning("something")

    line = capsys.readouterr().err
    assert line.endswith(" WARNING pyxqueue.worker: something\n")
    assert line[:4].isdigit()


@pytest.mark.usefixtures("restored")
def test_the_lines_of_a_program_with_a_handler_of_its_own_are_not_doubled(capsys: pytest.CaptureFixture[str]) -> None:
    """The lines of pyxqueue go to stderr, and its own lines only to its own handler."""
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
    """The `NullHandler` of a library does not count, and the command and `run` add one handler between them."""
    logging.getLogger().handlers.clear()
    logging.getLogger("library").addHandler(logging.NullHandler())

    set_up_logging(None, "text")
    configure_logging()
    for name in ("library", "library.part", "application", "pyxqueue.worker"):
        logging.getLogger(name).info("said")

    lines = [line.split(" INFO ")[1] for line in capsys.readouterr().err.splitlines()]
    assert lines == ["library: said", "library.part: said", "application: said", "pyxqueue.worker: said"]


def test_a_traceback_that_was_made_elsewhere_is_in_json() -> None:
    """Another process formats the records of the supervisor, whose tracebacks are text already."""
    record = logging.makeLogRecord({"msg": "it broke", "exc_text": "Traceback: the cause"})

    assert json.loads(JSONFormatter().format(record))["exception"] == "Traceback: the cause"


MANY = 100


@pytest.fixture
def worker_bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A bench with new throttles, for which no time passes."""
    for name in ("_refusals", "_unsupported", "_not_ours", "_observer_failures"):
        monkeypatch.setattr(events, name, Throttle("%d more " + name, monotonic=lambda: 1.0))
    return Bench()


def test_an_observer_that_always_fails_does_not_fill_the_log(
    worker_bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """It raises at two events of each task."""

    def observer(_: object) -> None:
        raise ValueError("no\nERROR forged")

    worker_bench.task(fine)
    for number in range(MANY):
        worker_bench.put("fine", task_id=f"t{number}")
    worker_bench.worker(observer=observer).drain()

    assert sum("the observer raised an error" in one.message for one in caplog.records) == 20
    assert "no\nERROR forged" not in caplog.text


def test_tasks_that_are_not_known_do_not_fill_the_log(worker_bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """A program that writes to the store can name any task."""
    caplog.set_level(logging.INFO)
    for number in range(MANY):
        worker_bench.put("unheard_of", task_id=f"t{number}")
    worker_bench.worker().drain()

    assert sum("unheard_of" in one.message for one in caplog.records) == 20


def test_settlements_that_are_refused_do_not_fill_the_log(
    caplog: pytest.LogCaptureFixture, worker_bench: Bench
) -> None:
    """A worker that could not extend its leases loses all its messages."""
    caplog.set_level(logging.INFO)
    for _ in range(MANY):
        log_settled(settled(Returned(b"1"), Done(), accepted=False))

    assert sum("was settled before" in one.message for one in caplog.records) == 20


def test_messages_that_a_worker_cannot_note_do_not_fill_the_log(
    worker_bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each of them fails, and the worker goes on."""
    worker_bench.task(fine)
    for number in range(MANY):
        worker_bench.put("fine", task_id=f"t{number}")
    monkeypatch.setattr(Slots, "add", lambda *_, **__: 1 / 0)
    worker_bench.worker().drain()

    assert worker_bench.broker.depth().failed == MANY
    assert sum("cannot note the message" in one.message for one in caplog.records) == 20


def test_a_store_that_refuses_settlements_does_not_fill_the_log(
    worker_bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that writes to the store can make it refuse settlements."""

    def refuse(_: object) -> list[bool]:
        raise BrokerError("no")

    worker_bench.task(fine)
    for number in range(MANY):
        worker_bench.put("fine", task_id=f"t{number}")
    monkeypatch.setattr(worker_bench.broker, "settle", refuse)
    worker_bench.worker().drain()

    assert sum("refuses to settle" in one.message for one in caplog.records) == 20


def test_what_was_left_out_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    """The next span begins with the number; a line below the level is not counted, and `reset` begins a new span."""
    now = [0.0]
    throttle = Throttle("%d more", 1, 10.0, lambda: now[0])
    for text in ("a", "b", "c"):
        throttle.log(logging.WARNING, text)
    throttle.log(logging.DEBUG, "not shown")
    now[0] = 10.0
    throttle.log(logging.WARNING, "d")
    throttle.log(logging.WARNING, "e")
    throttle.reset()
    throttle.log(logging.WARNING, "f")

    assert [one.message for one in caplog.records] == ["a", "2 more", "d", "1 more", "f"]


def test_copies_do_not_fill_the_log(
    worker_bench: Bench, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program that writes to the store can make any number of copies."""
    worker_bench.task(fine)
    for number in range(MANY):
        worker_bench.put("fine", task_id=f"t{number}")
    worker = worker_bench.worker()
    worker._queues[0].sealed = True
    monkeypatch.setattr(worker_bench.broker, "extend", lambda extensions: [LeaseStatus.LOST] * len(extensions))
    monkeypatch.setattr(SettlingQueue, "insist", lambda _, settlements: [True] * len(settlements))

    assert worker.drain() == 0

    assert not worker_bench.broker.depth().ready
    assert sum("does not run copies" in one.message for one in caplog.records) == 20
