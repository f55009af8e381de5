"""The Lua scripts, read once when the module is imported: one file per intent, each with `_common.lua` in front."""

from __future__ import annotations

import hashlib
from importlib import resources

from attrs import frozen


@frozen
class Script:
    """A script, and the digest by which Redis knows it."""

    text: str
    sha: str


def _load() -> dict[str, Script]:
    folder = resources.files(__package__ or "") / "lua"
    common = (folder / "_common.lua").read_text("utf-8")
    scripts = {}
    for file in folder.iterdir():
        name, _, ending = file.name.partition(".")
        if ending == "lua" and not name.startswith("_"):
            text = common + file.read_text("utf-8")
            scripts[name] = Script(text, hashlib.sha1(text.encode()).hexdigest())  # noqa: S324 - Redis's choice
    return scripts


SCRIPTS = _load()
