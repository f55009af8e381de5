"""Starting ``pyxqueue`` in a new interpreter that imports from where this one does."""

from __future__ import annotations

import os
import sys


def pyxqueue_command(*words: str) -> list[str]:
    """The command that runs ``pyxqueue`` with `words`.

    ``-m pyxqueue`` would look in the current folder first, where anybody may have put a ``pyxqueue.py``: it is left
    out, unless this process has it on its own path.
    """
    path = [os.path.abspath(folder) for folder in sys.path]  # noqa: PTH100 - of texts, and "" is the current folder
    program = f"import sys; sys.path[:] = {path!r}; from pyxqueue.cli import main; main(prog_name='pyxqueue')"
    return [sys.executable, "-P", "-c", program, *words]
