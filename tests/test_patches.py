"""A test replaces what one module uses, not what its whole process uses: threads of other tests may still run."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
MODULES = "asyncio|os|random|signal|socket|subprocess|threading|time"
SHARED = re.compile(rf"""setattr\(\s*(?:["'](?:[\w.]+\.)?(?:{MODULES})\.\w+["']|(?:[\w.]+\.)?(?:{MODULES}),)""")
"""A function of a module of Python's own, by its path or by its module."""


def test_no_test_replaces_a_function_of_the_process() -> None:
    """It replaces the module in the one that uses it: `setattr("pyxqueue.clock.time", SimpleNamespace(...))`."""
    assert SHARED.search('monkeypatch.setattr("pyxqueue.clock.time.sleep", print)')
    assert SHARED.search('monkeypatch.setattr("time.sleep", print)')
    assert SHARED.search('monkeypatch.setattr(time, "sleep", print)')
    assert not SHARED.search('monkeypatch.setattr("pyxqueue.clock.time", clock)')
    files = [file for file in HERE.rglob("*.py") if file != Path(__file__)]
    assert [str(file.relative_to(HERE)) for file in files if SHARED.search(file.read_text())] == []
