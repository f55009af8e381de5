"""What is sent to the server as a script."""

from __future__ import annotations

import re

import pytest
from redis import Redis
from redis.exceptions import ResponseError

from pyxqueue.backends.redis.scripts import NAMES, for_cluster, script

SPARE = 20
"""How many of the 200 local variables that Lua allows in a function each script leaves free at least."""


@pytest.mark.parametrize("name", NAMES)
def test_a_script_brings_only_the_functions_it_uses(name: str) -> None:
    """Each function costs something at every call."""
    code = re.sub(r"--.*", "", script(name).text)
    for function in re.findall(r"^(?:local )?function ([\w.]+)", code, re.MULTILINE):
        assert len(re.findall(rf"(?<![\w.]){re.escape(function)}\b", code)) > 1, function


def test_enqueue_does_not_bring_what_ends_a_task() -> None:
    assert "local function end_task" in script("settle").text
    assert "local function end_task" not in script("enqueue").text


def test_each_script_leaves_room_for_more_functions(redis_url: str) -> None:
    """Lua refuses a script with more than 200 local variables at once, and a function is one."""
    more = "local " + ", ".join(f"spare_{number}" for number in range(SPARE)) + "\n"
    with Redis.from_url(redis_url) as client:

        def refusal(text: str) -> str:
            try:
                client.script_load(more + text)
            except ResponseError as error:
                return str(error)
            return ""

        for name in NAMES:
            assert (refusal(script(name).text), name) == ("", name)
            assert (refusal(for_cluster(("EVAL", script(name).text))[1]), name) == ("", name)
