"""The machine runs on the in-memory backend, and finds what is wrong with wrong ones."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from pyxqueue.testing.machine import backend_machine
from pyxqueue.testing.memory import MemoryHarness
from tests.contract import wrong_brokers, wrong_keepers, wrong_stores
from tests.contract.wrong import Wrong

TestMemory = backend_machine(lambda: nullcontext(MemoryHarness())).TestCase
TestMemory.settings = settings(max_examples=40, stateful_step_count=40)

ALL = [*wrong_brokers.COLLECTION.all, *wrong_keepers.COLLECTION.all, *wrong_stores.COLLECTION.all]
