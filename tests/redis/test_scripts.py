"""What is sent to the server as a script."""

from __future__ import annotations

import re

import pytest

from pyxqueue.backends.redis.scripts import SCRIPTS


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_brings_only_the_functions_it_uses(name: str) -> None:
    """Each function costs something at every call."""
    code = re.sub(r"--.*", "", SCRIPTS[name].text)
    for function in re.findall(r"^local function (\w+)", code, re.MULTILINE):
        assert len(re.findall(rf"\b{function}\b", code)) > 1, function


def test_enqueue_does_not_bring_what_ends_a_task() -> None:
    assert "local function end_task" in SCRIPTS["settle"].text
    assert "local function end_task" not in SCRIPTS["enqueue"].text
