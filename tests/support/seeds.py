"""The seeds of tests that leave things to chance. ``PYXQUEUE_SEED=7`` plays each of them with the seed 7."""

from __future__ import annotations

import os
import random
from collections.abc import Iterable

SEED = "PYXQUEUE_SEED"
"""A variable, not an option of pytest: helpers read it without a fixture."""


def seed_of(usual: int) -> int:
    """Return the seed of a test: that of the variable, or else its usual one. If the test fails, it is shown."""
    seed = int(os.environ.get(SEED, usual))
    print(f"replay it with {SEED}={seed}")  # noqa: T201 - pytest keeps it for those that fail
    return seed


def chance_of(usual: int) -> random.Random:
    """Return what a test leaves things to, made from its seed."""
    return random.Random(seed_of(usual))


def seeds_of(usual: Iterable[int]) -> list[int]:
    """Return the seeds of a test that runs with several, which are in its name; one if the variable names it."""
    return [int(os.environ[SEED])] if SEED in os.environ else list(usual)
