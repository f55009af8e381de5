"""The Lua scripts, read once when the module is imported: one file per intent, after what it uses of `_common.lua`."""

from __future__ import annotations

import hashlib
import re
from importlib import resources

from attrs import frozen

_DEFINED = re.compile(r"^local (?:function )?([\w, ]+)", re.MULTILINE)
_COMMENT = re.compile(r"--.*")


@frozen
class Script:
    """A script, and the digest by which Redis knows it."""

    text: str
    sha: str


def _load() -> dict[str, Script]:
    folder = resources.files(__package__ or "") / "lua"
    blocks = (folder / "_common.lua").read_text("utf-8").split("\n\n")
    scripts = {}
    for file in folder.iterdir():
        name, _, ending = file.name.partition(".")
        if ending == "lua" and not name.startswith("_"):
            text = _with_used(blocks, file.read_text("utf-8"))
            scripts[name] = Script(text, hashlib.sha1(text.encode()).hexdigest())  # noqa: S324 - Redis's choice
    return scripts


def _with_used(blocks: list[str], script: str) -> str:
    """Return `script` after those `blocks` of definitions that it uses, directly or not: Lua makes each function again
    whenever a script runs."""
    used = [script]
    for block in reversed(blocks):  # what a block uses stands before it
        names = {name.strip() for line in _DEFINED.findall(block) for name in line.split(",")}
        code = _COMMENT.sub("", "".join(used))
        if any(re.search(rf"\b{name}\b", code) for name in names):
            used.insert(0, f"{block}\n\n")
    return "".join(used)


SCRIPTS = _load()
