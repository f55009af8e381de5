"""The Lua scripts, read once when the module is imported: one file per intent, after what it uses of `_common.lua`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from importlib import resources

from msgspec import Struct

_DEFINED = re.compile(r"^local (?:function )?([\w, ]+)", re.MULTILINE)
_COMMENT = re.compile(r"--.*")
_WORD = re.compile(r"\w+")


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
    return frozenset(_WORD.findall(_COMMENT.sub("", text)))


def _load() -> dict[str, Script]:
    folder = resources.files(__package__ or "") / "lua"
    blocks = [_Block.of(text) for text in (folder / "_common.lua").read_text("utf-8").split("\n\n")]
    scripts = {}
    for file in folder.iterdir():
        name, _, ending = file.name.partition(".")
        if ending == "lua" and not name.startswith("_"):
            text = _with_used(blocks, file.read_text("utf-8"))
            scripts[name] = Script(text, hashlib.sha1(text.encode()).hexdigest())  # noqa: S324 - Redis's choice
    return scripts


def _with_used(blocks: Sequence[_Block], script: str) -> str:
    """Return `script` after those `blocks` that it uses, directly or not: Lua makes each function again whenever a
    script runs."""
    words, used = _words(script), [script]
    for block in reversed(blocks):  # what a block uses stands before it
        if not block.names.isdisjoint(words):
            words |= block.words
            used.append(block.text)
    return "\n\n".join(reversed(used))


SCRIPTS = _load()
