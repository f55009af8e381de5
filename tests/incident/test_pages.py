"""What an operator asks at three in the morning is answered by one page of the dashboard."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from .conftest import Drill

pytestmark = pytest.mark.timeout(480)  # the drill is built within the first test

# The numbers may be those before or after the last test.
ANSWERS: Mapping[str, tuple[str, str]] = {
    "what is wrong": (
        "/",
        r"Queues 1 needs attention .* web2 is silent and holds 1 task the process of shop\.thumbnail",
    ),
    "how much waits": ("/", r" (1,0.0|50,0.0) Ready 3 In flight 0 Delayed [23]1 Failed 66 History "),
    "which task is slow": ("/q/shop/cg/statistics", r" shop\.render 6 0 0 % 0 0 \d+ ms \d+ ms "),
    "what runs since when": ("/workers", r" web1:\d+ (?:(?!web2).)* shop\.export [\d.]+ (s|min) ago 120 of 4000 "),
    "which host is dead": ("/workers", r" web2:\d+ silent "),
    "what failed in groups": (
        "/q/shop/cg/failures",
        r" 20 shop\.charge incident\.PaymentRefusedError the card has expired .* 1 shop\.thumbnail WorkerLost its ",
    ),
    "how full is Redis": ("/", r" memory [\d.]+ MB, (8|9)\d% of its limit of [\d.]+ MB"),
    "which is the poison": ("/q/shop/cg", r" the process of shop\.thumbnail died 4 times within an hour"),
}


@pytest.mark.parametrize("question", ANSWERS)
def test_the_dashboard_answers(drill: Drill, question: str) -> None:
    """In words that can be read on the page."""
    path, answer = ANSWERS[question]

    page = drill.page(path)

    assert re.search(answer, page), page


def test_the_dashboard_acts(drill: Drill) -> None:
    """Pause a name, drain a host, retry one kind: each is a button, and the page says what was done."""
    assert " Paused " in drill.do("pause", task="shop.archive")
    assert "shop.archive Resume" in drill.page("/q/shop/cg/limits")
    assert " Resumed " in drill.do("resume", task="shop.archive")
    assert "shop.archive Resume" not in drill.page("/q/shop/cg/limits")
    assert "2 workers got the order" in drill.do("drain", worker="web1")
    retried = drill.do("retry", all="1", place="failed", name="shop.charge", error="ConnectionError", sure="1")
    assert "retried: 10" in retried
    assert " 21 Failed " in retried
