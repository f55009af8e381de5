"""The Lua scripts, whose files are read when the module is imported. Each is one file, behind the functions of
`_common.lua` that it uses.

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

    @classmethod
    def of(cls, text: str) -> _Block:
        names = frozenset(name.strip() for line in _DEFINED.findall(text) for name in line.split(","))
        return cls(text, names)


@cache
def _words(text: str) -> frozenset[str]:
    """Return the names in a text: of `rates.at(gate)` these are `rates`, `rates.at` and `gate`."""
    found = _WORD.findall(_NO_CODE.sub("", text))
    return frozenset(name for table, field in found for name in (table, table + field))


_FOLDER = resources.files(__package__ or "") / "lua"
# All at once: an upgrade may replace the files while the program runs.
_TEXTS = {file.name.removesuffix(".lua"): file.read_text("utf-8") for file in _FOLDER.iterdir()}
NAMES = tuple(sorted(name for name in _TEXTS if not name.startswith("_")))
"""Of the scripts."""


@cache
def script(name: str) -> Script:
    """The script of this name. It is put together when it is first asked for: few programs use all of them."""
    return _composed(_common(), name)


def _composed(blocks: Sequence[_Block], name: str) -> Script:
    text = _with_used(blocks, _TEXTS[name])
    return Script(text, hashlib.sha1(text.encode()).hexdigest())  # noqa: S324 - Redis's choice


@cache
def _common() -> Sequence[_Block]:
    return _blocks("_common")


def _blocks(name: str) -> Sequence[_Block]:
    return [_Block.of(text) for text in _TEXTS[name].split("\n\n")]


def _with_used(blocks: Sequence[_Block], own: str) -> str:
    """Return a script's `own` text after those `blocks` that it uses, directly or not: Lua makes each function again
    whenever a script runs."""
    words, used = _words(own), [own]
    for block in reversed(blocks):  # what a block uses stands before it
        if not block.names.isdisjoint(words):
            words |= _words(block.text)
            used.append(block.text)
    return "\n\n".join(reversed(used))


@cache
def _for_clusters() -> Mapping[str, str]:
    """For the text of each script and its digest: those of its form for a cluster."""
    replaced = {one.names: one for one in _blocks("_cluster") if one.names}
    blocks = [replaced.get(block.names, block) for block in _common()]
    pairs = [(script(name), _composed(blocks, name)) for name in NAMES]
    return {old.sha: new.sha for old, new in pairs} | {old.text: new.text for old, new in pairs}


def for_cluster(command: Sequence[Any]) -> Sequence[Any]:
    """The command as it is sent to a cluster: a script of ours in its form for one."""
    if command[0] not in ("EVALSHA", "EVAL"):
        return command
    name, sent, *rest = command
    return name, _for_clusters().get(sent, sent), *rest
