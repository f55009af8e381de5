"""Storms use the workers of the tests with processes."""

from __future__ import annotations

import sys

from tests.processes.conftest import site, start_tree

__all__ = ["site", "start_tree"]

collect_ignore_glob = [] if sys.platform == "linux" else ["test_[!c]*.py"]  # they read /proc
