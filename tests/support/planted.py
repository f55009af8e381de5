"""Random sequences find planted faults."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test

from tests.contract.wrong import Wrong


def assert_found(machine: type[RuleBasedStateMachine], wrong: Wrong, steps: int = 40) -> None:
    """Assert that the machine fails on a wrong backend, within 200 sequences that are the same in each run."""
    on_it = type("Machine", (machine,), {"make_harness": staticmethod(lambda: nullcontext(wrong.harness()))})
    thorough = settings(
        max_examples=200, stateful_step_count=steps, deadline=None, derandomize=True, phases=[Phase.generate]
    )
    with pytest.raises(AssertionError):
        run_state_machine_as_test(on_it, settings=thorough)
