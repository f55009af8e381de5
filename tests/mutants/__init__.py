"""Faults planted in the code itself, one at a time, and the tests that must notice each. `make mutants` runs them.

The kit has wrong backends of its own (`tests/contract/wrong`), which prove that its laws are tested. These here prove
that the suite notices when a guard is removed from the scripts, the worker or the supervisor.
"""
