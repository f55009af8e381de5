"""The kit tells a wrong backend from a right one, and names the law that it breaks."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from pyxqueue.protocols import Broker, Inspector, Results, ResultStore
from pyxqueue.testing.contract import BackendContract, ResultStoreContract, ScheduleContract, steps
from pyxqueue.testing.contract.laws import OPTIONAL, read_laws

from ..support.seen import waits
from .wrong import PLANTED, Wrong

LAWS = read_laws(Broker, Results, ResultStore, Inspector, *OPTIONAL)
CONTRACTS = {"R1": ResultStoreContract, "L1": ScheduleContract, "L2": ScheduleContract}
"""By law, the contract that has its tests; the others are in `BackendContract`."""


def names_for(law: str, contract: type) -> list[str]:
    return [name for name in dir(contract) if name.startswith(f"test_{law.lower()}_")]


PATIENCE = {"patience": 0.3}
"""A wrong backend that hangs shall not hold up the test for long."""


LONG = re.compile("thousand|many|storm|nothing")
"""What the names of tests with many tasks say."""


def failures(wrong: Wrong) -> Iterator[str]:
    """What the tests of the law say that fail, those with few tasks first."""
    impatient = type("Impatient", (wrong.contract,), PATIENCE)
    for name in sorted(names_for(wrong.law, wrong.contract), key=lambda name: bool(LONG.search(name))):
        try:
            getattr(impatient(), name)(wrong.harness())
        except AssertionError as error:
            yield str(error)


each_wrong_backend = pytest.mark.parametrize("wrong", PLANTED, ids=[f"{wrong.law}-{wrong.name}" for wrong in PLANTED])


@each_wrong_backend
def test_a_wrong_backend_fails(wrong: Wrong, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each wrong backend fails a test of the law that it breaks, and the failure quotes that law."""
    monkeypatch.setattr(steps.Call, "waits", waits)
    said = next(failures(wrong), None)
    assert said is not None
    assert_quotes(said, wrong.law)


@pytest.mark.soak
@each_wrong_backend
def test_every_failure_quotes_the_law(wrong: Wrong, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the tests of the law, not only the first that fails says so: all of them run to their end or quote it."""
    monkeypatch.setattr(steps.Call, "waits", waits)
    for said in failures(wrong):
        assert_quotes(said, wrong.law)


def assert_quotes(said: str, law: str) -> None:
    assert said.startswith(f"law {law} is broken: ")
    assert said.endswith(LAWS[law].text)


def test_every_law_has_tests_and_wrong_backends() -> None:
    """No law goes without a test of its number, nor without a backend that shows the test can fail."""
    assert sorted(LAWS) == sorted(
        [
            *(f"B{n}" for n in range(1, 16)),
            *(f"R{n}" for n in range(1, 6)),
            *(f"I{n}" for n in range(1, 10)),
            *(f"F{n}" for n in range(1, 5)),
            *(f"Q{n}" for n in range(1, 5)),
            *(f"L{n}" for n in range(1, 15)),
            *(f"M{n}" for n in range(1, 3)),
            *(f"P{n}" for n in range(1, 3)),
        ]
    )
    assert [law for law in LAWS if not names_for(law, CONTRACTS.get(law, BackendContract))] == []
    assert {wrong.law for wrong in PLANTED} == set(LAWS)


def test_every_test_names_a_law() -> None:
    """A test of the kit without a law's number in its name would ask for what nobody promised; those of the harness
    ask nothing of a backend."""
    laws = {law.lower() for law in LAWS}
    for name in {*dir(BackendContract), *dir(ResultStoreContract), *dir(ScheduleContract)}:
        if name.startswith("test") and not name.startswith("test_harness_"):
            found = re.fullmatch(r"test_([brilfqmp]\d+)_\w+", name)
            assert found is not None
            assert found[1] in laws
