"""What a test leaves to chance comes from a seed that can be given to it again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .support.seeds import SEED, chance_of, seed_of, seeds_of

HERE = Path(__file__).parent
OF_ITS_OWN = re.compile(r"\bRandom\([\d)]")
"""A generator with a constant, or with nothing, as its seed."""


def test_the_variable_names_the_seed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """It replaces that of each test, and a test of several seeds runs once; what pytest shows of a failure has it."""
    monkeypatch.delenv(SEED, raising=False)
    assert (seed_of(3), seeds_of(range(2))) == (3, [0, 1])
    seventh = chance_of(7).random()
    monkeypatch.setenv(SEED, "7")

    assert (seed_of(3), seeds_of(range(2)), chance_of(3).random()) == (7, [7], seventh)
    assert capsys.readouterr().out.splitlines()[-1] == f"replay it with {SEED}=7"


def test_no_test_has_a_seed_of_its_own() -> None:
    """Each takes it from `support.seeds`, or from its parameters."""
    files = [file for file in HERE.rglob("*.py") if file != Path(__file__)]
    assert [str(file.relative_to(HERE)) for file in files if OF_ITS_OWN.search(file.read_text())] == []
