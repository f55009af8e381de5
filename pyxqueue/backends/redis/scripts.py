"""The Lua scripts, read once when the module is imported. Each is one file, behind the functions of `_common.lua` that
it uses.

In a cluster they have another form, in which `_cluster.lua` replaces some of these functions.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from msgspec import Struct

_DEFINED = re.compile(r"^(?:local function|local|function) ([\w., ]+)", re.MULTILINE)
_NO_CODE = re.compile(r"--.*|'[^']*'")
_WORD = re.compile(r"(\w+)(\.\w+)?")


class Script(Struct, frozen=True):
    """A script, and the digest by which Redis knows it."""

    text: str
    sha: str


class _Block(Struct, frozen=True):
    """Definitions of `_common.lua` that stand together."""

    text: str
    names: frozenset[str]
    """What it defines."""
    words: frozenset[str]
    """All names that occur in it."""

    @classmethod
    def of(cls, text: str) -> _Block:
        names = frozenset(name.strip() for line in _DEFINED.findall(text) for name in line.split(","))
        return cls(text, names, _words(text))


def _words(text: str) -> frozenset[str]:
    """Return the names in a text: of `rates.at(gate)` these are `rates`, `rates.at` and `gate`."""
    found = _WORD.findall(_NO_CODE.sub("", text))
    return frozenset(name for table, field in found for name in (table, table + field))


_FOLDER = resources.files(__package__ or "") / "lua"


def _load(blocks: Sequence[_Block]) -> dict[str, Script]:
    scripts = {}
    for file in _FOLDER.iterdir():
        name, _, ending = file.name.partition(".")
        if ending == "lua" and not name.startswith("_"):
            text = _with_used(blocks, file.read_text("utf-8"))
            scripts[name] = Script(text, hashlib.sha1(text.encode()).hexdigest())  # noqa: S324 - Redis's choice
    return scripts


def _blocks(file: str) -> list[_Block]:
    return [_Block.of(text) for text in (_FOLDER / file).read_text("utf-8").split("\n\n")]


def _with_used(blocks: Sequence[_Block], script: str) -> str:
    """Return `script` after those `blocks` that it uses, directly or not: Lua makes each function again whenever a
    script runs."""
    words, used = _words(script), [script]
    for block in reversed(blocks):  # what a block uses stands before it
        if not block.names.isdisjoint(words):
            words |= block.words
            used.append(block.text)
    return "\n\n".join(reversed(used))


SCRIPTS = _load(_blocks("_common.lua"))


@cache
def _for_clusters() -> Mapping[str, str]:
    """For the text of each script and its digest: those of its form for a cluster."""
    replaced = {one.names: one for one in _blocks("_cluster.lua") if one.names}
    scripts = _load([replaced.get(block.names, block) for block in _blocks("_common.lua")])
    pairs = [(one, scripts[name]) for name, one in SCRIPTS.items()]
    return {old.sha: new.sha for old, new in pairs} | {old.text: new.text for old, new in pairs}


def for_cluster(command: Sequence[Any]) -> Sequence[Any]:
    """The command as it is sent to a cluster: a script of ours in its form for one."""
    if command[0] not in ("EVALSHA", "EVAL"):
        return command
    name, script, *rest = command
    return name, _for_clusters().get(script, script), *rest
