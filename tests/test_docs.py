"""Every code block of the documentation runs.

A Python block whose first comment is a file name is that file: with ``queue.run`` in it, it is served by a worker while
the page's other blocks run; named ``test_…``, pytest runs it; else it is a program of its own. All other Python blocks
of a page are one program, from top to bottom: on a server where the page has a worker, else in eager mode, as the pages
say. What a ``print(...)  # text`` promises must be printed.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from attrs import frozen
from click import Command, Context, Group
from redis import Redis

from pyxqueue.testing.servers import Server

from .conftest import Servers
from .running import ROOT, Place, assert_printed

PAGES = [
    *(page for page in [ROOT / "README.md", ROOT / "README-zh.md"]),
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in page.parts),
]
FENCE = re.compile(r"^(?P<ticks>```+)(?P<language>[\w{}-]*)[^\n]*\n(?P<text>.*?)^(?P=ticks)$", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"# ([\w/]+\.py)\n")
RUNNABLE = {"python", "sh"}
SHOWN = {"text", "ini", "dockerfile", "{toctree}", "{eval-rst}", "{include}", ""}
"""What is no program: output, files of other programs, and directives."""


@frozen
class Block:
    language: str
    text: str
    line: int

    @property
    def file(self) -> str | None:
        found = FILE_NAME.match(self.text)
        return found[1] if found else None


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [Block(found["language"], found["text"], text.count("\n", 0, found.start()) + 1) for found in FENCE.finditer(text)]


def shell_lines(page: Path, program: str) -> Iterator[list[str]]:
    """The arguments of every call of a program in the page's shell blocks."""
    for block in blocks(page):
        if block.language == "sh":
            for line in block.text.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words[:1] == [program]:
                    yield words[1:]


def page_ids(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages]


with_python = [page for page in PAGES if any(block.language == "python" for block in blocks(page))]
with_commands = [page for page in PAGES if any(shell_lines(page, "pyxqueue"))]


@pytest.fixture
def server(servers: Servers) -> Iterator[Server]:
    one = servers("valkey")
    yield one
    with Redis.from_url(one.url) as client:
        client.flushall()


@pytest.mark.parametrize("page", PAGES, ids=page_ids(PAGES))
def test_no_block_is_overlooked(page: Path) -> None:
    """Each block is in a language that is run, or is known to be no program."""
    languages = {block.language for block in blocks(page)}
    assert languages <= RUNNABLE | SHOWN


@pytest.mark.parametrize("page", with_python, ids=page_ids(with_python))
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, server: Server) -> None:
    """Its files are written, its workers serve, its tests pass, its programs print what they say."""
    run_page(page, tmp_path, server, page.read_text())


def run_page(page: Path, folder: Path, server: Server, text: str) -> None:
    found = [block for block in blocks(page) if block.language == "python"]
    found = [Block(block.language, _localized(block.text, server), block.line) for block in found]
    files = {block.file: block.text for block in found if block.file}
    for name, source in files.items():
        (folder / name).write_text(source)
    served = [name for name, source in files.items() if "queue.run(" in source]
    place = Place(folder, server.url)
    with ExitStack() as stack:
        for name in served:
            module = name.removesuffix(".py")
            command = f"import {module}; {module}.queue.run(1)"
            stack.enter_context(place.worker("-c", command, output=folder / f"{module}.log"))
        _run_files(place, {name: source for name, source in files.items() if name not in served})
        _run_rest(place if served else Place(folder, server.url, {"PYXQUEUE_EAGER": "1"}), found)


def _localized(source: str, server: Server) -> str:
    """The source, with the private server in place of the usual one."""
    local = source.replace("redis://localhost:6379/0", f"{server.url}/0")
    return local.replace("redis.Redis()", f"redis.Redis(port={server.port})")


def _run_files(place: Place, files: dict[str, str]) -> None:
    for name, source in files.items():
        if name.startswith("test_"):
            place.run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:valkey", "-p", "no:anyio", name)
        elif "__main__" in source:
            assert_printed(source, place.run(name))


def _run_rest(place: Place, found: list[Block]) -> None:
    """The blocks that are no files, each at the line it has on the page."""
    lines: list[str] = []
    for block in found:
        if block.file is None:
            lines += [""] * (block.line - len(lines))
            lines += block.text.splitlines()
    if lines:
        source = "\n".join(lines) + "\n"
        (place.folder / "page.py").write_text(source)
        assert_printed(source, place.run("page.py"))


@pytest.mark.parametrize("page", with_commands, ids=page_ids(with_commands))
def test_commands_are_ones_the_program_takes(page: Path) -> None:
    """Each ``pyxqueue`` line has a command, options and arguments that exist."""
    cli = pytest.importorskip("pyxqueue.cli", reason="there is no command line yet")
    for words in shell_lines(page, "pyxqueue"):
        parse(cli.main, words)


def parse(command: Command, words: list[str]) -> None:
    """Parse as click does, without running anything."""
    with command.make_context("pyxqueue", list(words)) as context:
        descend(command, context)


def descend(command: Command, context: Context) -> None:
    if isinstance(command, Group):
        rest = [*context._protected_args, *context.args]  # noqa: SLF001 - click has no other way to stop here
        _name, below, rest = command.resolve_command(context, rest)
        assert below is not None
        with below.make_context(below.name, rest, parent=context) as inner:
            descend(below, inner)
