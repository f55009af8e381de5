"""Draw docs/_static/progress.svg: what the first program of README.md shows in a terminal while it runs.

Run it from the repository: ``python docs/pictures/progress_bar.py``. It runs the program in a terminal of its own and
takes the frame in which the bar is about two thirds full.
"""

from __future__ import annotations

import os
import pty
import re
import sys
import tempfile
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parent.parent.parent
PICTURE = ROOT / "docs/_static/progress.svg"
PROGRAM = re.compile(r"^```python\n(# (\w+\.py)\n.*?)^```$", re.MULTILINE | re.DOTALL)
FRAME = re.compile(r"(?:^|\r\x1b\[2K)([^\r\n]*?\b6[0-9]%[^\r\n]*)", re.MULTILINE)
COLUMNS = 76
FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
SVG = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="A progress bar">
<style>{styles}
.{unique_id}-matrix {{ font-family: {font}; font-size: {char_height}px; line-height: {line_height}px }}</style>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})">{backgrounds}<g class="{unique_id}-matrix">{matrix}</g></g>
</svg>
"""


def run_in_terminal(source: str, name: str) -> str:
    """Everything that the program writes to a terminal."""
    written: list[bytes] = []

    def read(descriptor: int) -> bytes:
        written.append(os.read(descriptor, 4096))
        return written[-1]

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_text(source)
        environment = {"COLUMNS": str(COLUMNS), "TERM": "xterm-256color", "PYTHONPATH": str(ROOT)}
        os.environ.update(environment)
        os.chdir(folder)
        pty.spawn([sys.executable, name], read)
        os.chdir(ROOT)
    return b"".join(written).decode()


def draw(lines: list[Text]) -> str:
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
    for line in lines:
        console.print(line)
    svg = console.export_svg(title="", unique_id="bar", code_format=SVG.replace("{font}", FONT))
    svg = re.sub(r' clip-path="[^"]*"|<text[^>]*>\s*</text>', "", svg)  # nothing here is wider than its line
    return re.sub(r"[ \t]+$", "", svg, flags=re.MULTILINE)


def main() -> None:
    found = PROGRAM.search((ROOT / "README.md").read_text())
    assert found
    source, name = found.groups()
    written = run_in_terminal(source, name)
    frames = FRAME.findall(written)
    PICTURE.write_text(draw([Text(f"$ python {name}"), Text.from_ansi(frames[len(frames) // 2])]))


if __name__ == "__main__":
    main()
