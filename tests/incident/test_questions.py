"""What an operator asks at three in the morning is answered by one command, and on one page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import pytest

from .conftest import Drill

pytestmark = pytest.mark.timeout(480)  # the drill is built within the first test

SCREENS: Mapping[str, tuple[Sequence[str], str]] = {
    "what is wrong": (["info"], r"! [\d,]+ wait, every worker is busy, the oldest waits (?s:.*)! 31 failed: "),
    "how much waits": (["info"], r"\ncg +(1,000|50,000) +3 +0 +31 +66 "),
    "which task is slow": (["top"], r"\ntask, 10 min .*\nshop\.render +6 +\d+ ms +\d+ ms "),
    "what runs since when": (["info"], r"\nweb1:\d+ +shop\.export +[\d.]+ (s|min) +░+ +[36]% rows\n"),
    "which host is dead": (["info"], r"\n! web2:\d+ is silent for [\d.]+ (s|min) and holds 1 task: "),
    "what failed in groups": (
        ["failed", "--by", "kind"],
        r"\n +20  shop\.charge  incident\.PaymentRefusedError: the card (?s:.*)\n +10  shop\.charge  ConnectionError: ",
    ),
    "how full is Redis": (["info"], r"\nmemory: [\d.]+ MB, (8|9)\d% of its limit of [\d.]+ MB\n"),
    "which is the poison": (["top"], r"\n! the process of shop\.thumbnail died 4 times within 10 min, while it ran\n"),
}


@pytest.mark.parametrize("question", SCREENS)
def test_the_command_line_answers(drill: Drill, question: str) -> None:
    """In words, on a screen of 80 columns."""
    words, answer = SCREENS[question]

    screen = drill.glance(*words)

    assert re.search(answer, screen), screen
    assert max(map(len, screen.splitlines())) <= 80


def test_programs_get_the_same_answers(drill: Drill) -> None:
    """As JSON: the slowest task, the oldest run, the silent host, the failures, the poison, and the memory."""
    (top,) = drill.ask("top")["groups"]
    kinds = {(kind["name"], kind["error"]): kind["count"] for kind in drill.ask("failed", "--by", "kind")["groups"]}
    findings = {one["topic"]: (one["level"], one["text"]) for one in drill.ask("doctor")}

    assert top["tasks"][0]["task"] == "shop.render"
    assert {run["task"] for run in top["running"]} == {"shop.export"}
    assert [one["on"].partition(":")[0] for one in top["workers"] if one["silent_ms"]] == ["web2"]
    assert kinds["shop.charge", "incident.PaymentRefusedError"] == 20
    assert kinds["shop.thumbnail", "WorkerLost"] == 1
    assert top["wrong"][-1].startswith("the process of shop.thumbnail died 4 times")
    assert findings["memory"][0] == "warning"
    assert "% of its limit" in findings["memory"][1]
    assert findings["silent workers"] == ("warning", "no sign of life from 1 worker on web2, holding 1 task")
