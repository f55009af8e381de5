"""The list of planted faults fits to the code: one that no longer applies would prove nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from .faults import FAULTS, Fault
from .run import ROOT


def test_names_are_unique() -> None:
    """A fault is chosen by its name."""
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
def test_a_fault_has_its_place_and_its_tests(fault: Fault) -> None:
    """What it changes occurs once in its file, and the files of its tests exist."""
    assert (ROOT / fault.path).read_text().count(fault.before) == 1
    assert fault.before != fault.after
    paths = [test.partition("::")[0] for test in fault.tests if test.startswith("tests")]
    assert paths
    assert all(Path(ROOT, path).exists() for path in paths)
