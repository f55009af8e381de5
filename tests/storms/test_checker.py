"""The checker finds each fault in a log that has it, and none in a log that has none."""

from __future__ import annotations

import pytest
from attrs import asdict

from pyxqueue.model.message import TaskStatus
from tests.processes.app import Line

from .checker import Findings, Stored, check, recoveries

DUE = 1_000
WHOLE = """
calling a 0 1 1000
enqueued a 0 1
start a 1 7 1000
end a 1 7 1200
settled a 1 7 Done 1
"""
"""The life of one task without a fault."""
SUCCESS, PENDING = TaskStatus.SUCCESS, TaskStatus.PENDING


def read(text: str) -> list[Line]:
    return [Line.read(line) for line in text.splitlines() if line]


def found(text: str, tasks: dict[str, TaskStatus], left: dict[str, int] | None = None) -> dict[str, object]:
    """What is not empty among the findings."""
    findings = check(read(text), Stored(tasks, left or {}))
    return {name: value for name, value in asdict(findings).items() if value}


def test_a_log_without_faults() -> None:
    """Nothing is found, and nothing is wrong."""
    assert found(WHOLE, {"a": SUCCESS}) == {}
    assert Findings().wrong() == {}


@pytest.mark.parametrize(
    ("text", "tasks", "kind"),
    [
        pytest.param("calling a 0 1 0\nenqueued a 0 1", {}, "lost", id="the store does not know it"),
        pytest.param("calling a 0 1 0\nenqueued a 0 1", {"a": PENDING}, "lost", id="it waits for ever"),
        pytest.param("", {"a": SUCCESS}, "unexpected", id="stored, called by nobody"),
        pytest.param("start a 1 7 5", {}, "unexpected", id="run, called by nobody"),
        pytest.param(WHOLE + "settled a 1 8 Done 1\n", {"a": SUCCESS}, "recorded_twice", id="ended by two"),
        pytest.param(WHOLE.replace("7 1000", "7 999"), {"a": SUCCESS}, "early", id="before it is due"),
        pytest.param("calling a 0 1 0\nsettled a 1 7 Done 1", {"a": TaskStatus.FAILURE}, "ghosts", id="other end"),
        pytest.param(
            WHOLE.replace("settled", "start a 1 8 1300\nsettled"), {"a": SUCCESS}, "stolen", id="ended by an old holder"
        ),
    ],
)  # fmt: skip
def test_each_fault_is_found(text: str, tasks: dict[str, TaskStatus], kind: str) -> None:
    """It is listed by its name, with the task, and is wrong."""
    findings = check(read(text), Stored(tasks))

    assert list(getattr(findings, kind)) == ["a"]
    assert kind in findings.wrong()


def test_a_ghost_that_the_store_has_forgotten() -> None:
    """Whoever waits for it would wait in vain, although its worker was told that it has ended."""
    assert found(WHOLE, {}) == {"lost": ["a"], "ghosts": ["a"]}


def test_what_is_left_in_the_store() -> None:
    """It is found by the key."""
    assert found(WHOLE, {"a": SUCCESS}, {"{q}:cg:notes": 1}) == {"left": {"{q}:cg:notes": 1}}


def test_extra_runs() -> None:
    """A second start in the same attempt is one; it is wrong unless the process of the first one was killed."""
    text = WHOLE.replace("start a 1 7", "start a 1 6 1000\nstart a 1 7")

    assert found(text, {"a": SUCCESS}) == {"extra_runs": {"a": 1}, "unexplained": {"a": 1}}
    assert found(text + "killed - 0 6 1100", {"a": SUCCESS}) == {"extra_runs": {"a": 1}}
    assert check(read(text + "killed - 0 5 1100"), Stored({"a": SUCCESS})).wrong() == {"unexplained": {"a": 1}}


def test_a_retry_is_no_extra_run() -> None:
    """The next attempt has a number of its own."""
    retried = "calling a 0 1 1000\nenqueued a 0 1\nstart a 1 6 1000\nsettled a 1 6 Retry 1\n"

    assert found(retried + "start a 2 7 1100\nsettled a 2 7 Done 1", {"a": SUCCESS}) == {}


def test_a_refused_settlement_is_no_end() -> None:
    """A zombie may report what it likes."""
    text = WHOLE.replace("start a 1 7", "start a 1 6 1000\nstart a 1 7") + "settled a 1 6 Done 0\nkilled - 0 6 1"

    assert found(text, {"a": SUCCESS}) == {"extra_runs": {"a": 1}}


def test_a_process_that_stood_still_owns_nothing_until_it_is_resumed() -> None:
    """What it starts late was taken over; later it may itself take over what another one had."""
    late = WHOLE.replace("start a 1 7", "stopped - 0 6 1\nstart a 1 7").replace("end", "start a 1 6 1100\nend")
    taken_over = WHOLE.replace("start a 1 7", "stopped - 0 7 1\n{}\nstopped - 0 6 1\nstart a 1 6 1000\nstart a 1 7")

    assert found(late, {"a": SUCCESS}) == {"extra_runs": {"a": 1}}
    assert found(taken_over.format("resumed - 0 7"), {"a": SUCCESS}) == {"extra_runs": {"a": 1}}
    assert found(taken_over.format(""), {"a": SUCCESS}) == {"extra_runs": {"a": 1}, "stolen": ["a"]}


def test_a_pid_that_is_used_again() -> None:
    """A process that has the pid of one that was killed is another one."""
    text = "killed - 0 7 1\n" + WHOLE.replace("start a 1 7", "start a 1 6 1000\nkilled - 0 6 1\nstart a 1 7")

    assert found(text, {"a": SUCCESS}) == {"extra_runs": {"a": 1}}


def test_a_call_that_raised() -> None:
    """Its task may be stored or not; both are allowed."""
    text = WHOLE.replace("enqueued a 0 1\n", "")

    assert found(text, {"a": SUCCESS}) == {"recovered": ["a"]}
    assert found("calling a 0 1 0", {}) == {}


def test_recoveries() -> None:
    """The time counts from the kill to the next start; what had ended before needs none."""
    text = """
start a 1 7 100
start b 1 7 100
end b 1 7 150
start c 1 8 150
killed - 0 7 200
start d 1 9 210
start a 1 9 450
"""
    assert recoveries(read(text)) == {7: [250]}
