"""Every code block of the documentation runs.

A Python block whose first comment is a file name is that file: with ``queue.run`` or ``run_workers`` in it, it is
served by a worker while the page's other blocks run; named ``test_…``, pytest runs it; else it is a program of its
own. All other Python blocks of a page are one program, from top to bottom, in eager mode where the page says so. What a
``print(...)  # text`` promises must be printed, also if the call stands on several lines or the text in comments below.

A ``console`` block shows commands behind ``$`` and what they print. The commands run last, in order, in the folder
of the page's files; what they print must be as shown, apart from times, ids, pids, sizes and places of files.
A line ``...`` stands for any number of lines. The ``pyxqueue worker`` of such a block is the worker of the page.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest
from attrs import evolve, frozen
from click import Command, Context, Group
from redis import Redis

from pyxqueue.backends.redis.keys import GroupKeys, channel, later_stream, meta, schedule, timetable
from pyxqueue.backends.redis.reading import pairs
from pyxqueue.backends.redis.session import REPLY_TIMEOUT
from pyxqueue.cli import main
from pyxqueue.inflight import SLOTS
from pyxqueue.model.message import Message
from pyxqueue.options import DEFAULT_GRACE, TaskOptions
from pyxqueue.policy import MAX_DEFERRALS, NEWER_DELAY
from pyxqueue.protocols import DEFAULT_LEASE_MS, StoreOptions
from pyxqueue.supervisor.duties.maintenance import MAINTAIN_EVERY
from pyxqueue.testing.servers import Server
from pyxqueue.worker.batch_sizer import BUDGET, MAX_BATCH

from .conftest import Servers, kinds_to_test
from .running import PATIENCE, ROOT, WITH_TELEMETRY, Place, assert_printed

PAGES = [
    ROOT / "README.md",
    ROOT / "README-zh.md",
    ROOT / "examples/README.md",
    *(page for page in sorted((ROOT / "docs").rglob("*.md")) if "_build" not in page.parts),
]
FENCE = re.compile(r"^(?P<ticks>```+)(?P<language>[\w{}-]*)[^\n]*\n(?P<text>.*?)^(?P=ticks)$", re.MULTILINE | re.DOTALL)
ENTRY = "1767225600000-0"
"""The entry id that the pages show; that of the run takes its place."""
FILE_NAME = re.compile(r"# ([\w/]+\.py)\n")
RUNNABLE = {"python", "sh", "console"}
SHOWN = {"text", "ini", "dockerfile", "py", "{toctree}", "{eval-rst}", "{include}", ""}
"""Blocks that are not run: output, files of other programs, `py` for programs of other queues, and directives."""


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
    return [
        Block(found["language"], found["text"], text.count("\n", 0, found.start()) + 1)
        for found in FENCE.finditer(text)
    ]


def shell_lines(page: Path, program: str) -> Iterator[list[str]]:
    """The arguments of every call of a program in the page's shell blocks."""
    for block in blocks(page):
        if block.language == "sh":
            for line in block.text.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                if words[:1] == [program]:
                    yield words[1:]


def console_of(page: Path) -> list[tuple[list[str], list[str]]]:
    """Each command of the page's console blocks, and the lines that the page shows below it."""
    found: list[tuple[list[str], list[str]]] = []
    for block in blocks(page):
        if block.language == "console":
            for line in block.text.splitlines():
                if line.startswith("$ "):
                    found.append((shlex.split(line[2:]), []))
                else:
                    found[-1][1].append(line)
    return found


def page_ids(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages]


def python_of(page: Path) -> list[Block]:
    return [block for block in blocks(page) if block.language == "python"]


with_others = [
    page for page in PAGES if page.name.startswith("from-") and any(one.language == "py" for one in blocks(page))
]
# Those on other queues have the same Python, as another test says: it runs once.
with_python = [page for page in PAGES if python_of(page) and page not in with_others[1:]]
with_commands = [page for page in PAGES if any(shell_lines(page, "pyxqueue"))]


@pytest.fixture
def server(servers: Servers) -> Iterator[Server]:
    one = servers(kinds_to_test()[0])
    yield one
    with Redis.from_url(one.url) as client:
        client.flushall()


@pytest.mark.parametrize("page", PAGES, ids=page_ids(PAGES))
def test_no_block_is_overlooked(page: Path) -> None:
    """Each block is in a language that is run, or is known to be no program."""
    languages = {block.language for block in blocks(page)}
    assert languages <= RUNNABLE | SHOWN


@pytest.mark.parametrize("page", with_others, ids=page_ids(with_others))
def test_programs_of_other_queues_are_python(page: Path) -> None:
    """What a page shows of another queue compiles."""
    for block in blocks(page):
        if block.language == "py":
            compile("\n" * block.line + block.text, page.name, "exec")


def test_every_queue_is_compared_with_the_same_program() -> None:
    """The pages on other queues show one application and one test of it."""
    ours = [{block.file: block.text for block in python_of(page)} for page in with_others]

    assert ours[0].keys() == {"suppliers.py", "shop.py", "test_shop.py"}
    assert [files == ours[0] for files in ours] == [True] * 4


@pytest.mark.timeout(2 * PATIENCE)
@pytest.mark.parametrize("page", with_python, ids=page_ids(with_python))
def test_the_python_of_a_page_runs(page: Path, tmp_path: Path, server: Server) -> None:
    """Files are written, workers serve, tests pass, and programs print what the page promises."""
    entry = ENTRY
    with Redis.from_url(server.url) as client:
        for words in shell_lines(page, "redis-cli"):
            if words[0] == "XADD":
                entry = client.execute_command(*words).decode()
    found = [evolve(block, text=_localized(block.text, server, entry)) for block in python_of(page)]
    run(found, console_of(page), tmp_path, server, eager="`PYXQUEUE_EAGER=1`" in page.read_text())


def run(
    found: Sequence[Block], console: list[tuple[list[str], list[str]]], folder: Path, server: Server, *, eager: bool
) -> None:
    files = {block.file: block.text for block in found if block.file}
    for name, source in files.items():
        (folder / name).write_text(source)
    shown = {words[2]: words for words, _ in console if words[:2] == ["pyxqueue", "worker"]}
    runs = [name for name, source in files.items() if "queue.run(" in source or "run_workers(" in source]
    served = runs + [f"{module}.py" for module in shown if f"{module}.py" not in runs]
    # A page that does not speak of Redis is on the store that its reader has.
    url = server.url if any("redis" in block.text for block in found) else None
    traced = any("opentelemetry" in block.text or "otel" in block.text for block in found)
    place = Place(folder, url, WITH_TELEMETRY if traced else {})
    with ExitStack() as stack:
        for name in served:
            module = name.removesuffix(".py")
            alone = [name] if "run_workers(" in files[name] else ["-c", f"import {module}; {module}.queue.run(1)"]
            command = program(shown[module]) if module in shown else alone
            stack.enter_context(place.worker(*command, output=folder / f"{module}.log"))
        _run_files(place, {name: source for name, source in files.items() if name not in served})
        _run_rest(evolve(place, more={**place.more, "PYXQUEUE_EAGER": "1"}) if eager and not served else place, found)
        for words, lines in console:
            if words[:2] == ["pyxqueue", "worker"]:
                assert_shown([*lines, "..."], (folder / f"{words[2]}.log").read_text(), folder)
            else:
                assert_shown(lines, place.run(*program(words)), folder)


def program(words: list[str]) -> list[str]:
    """The arguments of this Python that do what the words do in a shell."""
    name, *rest = words
    return {"python": rest, "pyxqueue": ["-m", "pyxqueue", *rest]}[name]


CHANGING = {
    r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d[.,]\d{3}(\+00:00)?": "TIME",
    r"(?<![\w-])5[\w-]{17}(?![\w-])": "ID",
    r"\b(supervisor|worker-\d+-) ?\d+": r"\1PID",
    r"\bon [\w.-]+, group\b": "on HOST, group",
    r"[\d,.]+ (ms|s|min)\b": "DURATION",
    r"[\d,]+ bytes": "SIZE",
    " +": " ",
}
"""What is different each time that a program runs, and what stands for it; columns are as wide as that was."""


def masked(text: str, folder: Path) -> list[str]:
    text = text.replace(str(folder), "/srv/shop")
    for pattern, name in CHANGING.items():
        text = re.sub(pattern, name, text)
    return [line.rstrip() for line in text.splitlines()]


def assert_shown(lines: Sequence[str], output: str, folder: Path) -> None:
    """The output must be what the page shows."""
    wanted = masked("\n".join(lines), folder)
    pattern = "".join(r"(?:.*\n)*?" if line == "..." else re.escape(line) + r"\n" for line in wanted)
    got = "".join(f"{line}\n" for line in masked(output, folder))
    assert re.fullmatch(pattern, got), f"the page shows:\n{pattern}\nprinted, masked:\n{got}"


@pytest.mark.parametrize(
    ("shown", "output", "same"),
    [
        (["a 1 ms", "b"], "a   20.5 ms\nb\n", True),
        (["a", "..."], "a\nb\nc\n", True),
        (["a", "...", "c"], "a\nc\n", True),
        (["a"], "a\nb\n", False),
        (["a", "b"], "a\n", False),
        (["a 1"], "a 2\n", False),
        (["5X50t04rUxU2ZpeOBc x"], "5X50t0506cP1b6OFt8 y\n", False),
        (["a 1", "..."], "b\na 1\n", False),
    ],
)
def test_a_shown_output_is_compared(shown: list[str], output: str, same: bool, tmp_path: Path) -> None:
    """Outputs may differ only in what changes from run to run."""
    if same:
        assert_shown(shown, output, tmp_path)
    else:
        with pytest.raises(AssertionError, match="the page shows"):
            assert_shown(shown, output, tmp_path)


def _localized(source: str, server: Server, entry: str) -> str:
    """The source, with the private server in place of the usual one, and the entry's real id."""
    local = source.replace("redis://localhost:6379/0", f"{server.url}/0")
    return local.replace("redis.Redis()", f"redis.Redis(port={server.port})").replace(ENTRY, entry)


PARTS = {"test_laws.py": ("-k", "harness"), "test_machine.py": ("--collect-only",)}
"""Of these files only a part is run: they are among the example's own tests, which `test_thirdparty.py` runs whole."""


def _run_files(place: Place, files: dict[str, str]) -> None:
    for name, source in files.items():
        if name.startswith("test_"):
            options = ["-q", "-p", "no:cacheprovider", "-p", "no:valkey", "-p", "no:anyio", *PARTS.get(name, ())]
            place.run("-m", "pytest", *options, name)
        elif "__main__" in source:
            assert_printed(source, place.run(name))


def _run_rest(place: Place, found: Sequence[Block]) -> None:
    """Run the blocks that are not files, each at its line of the page."""
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
    for words in shell_lines(page, "pyxqueue"):
        parse(main, words)


def parse(command: Command, words: list[str]) -> None:
    """Parse as click does, without running anything."""
    with command.make_context("pyxqueue", list(words)) as context:
        descend(command, context)


def descend(command: Command, context: Context) -> None:
    if isinstance(command, Group):
        rest = [*context._protected_args, *context.args]
        _name, below, rest = command.resolve_command(context, rest)
        assert below is not None
        with below.make_context(below.name, rest, parent=context) as inner:
            descend(below, inner)


def commands(command: Command, path: str = "") -> Iterator[tuple[str, Command]]:
    """Every command that people may use, with its words."""
    if isinstance(command, Group):
        for name, below in command.commands.items():
            if not below.hidden:
                yield from commands(below, f"{path} {name}".strip())
    yield path, command


def test_the_reference_has_every_command_and_option() -> None:
    """Every command and option of the program is on the page."""
    page = (ROOT / "docs/reference/cli.md").read_text()
    wanted = {path for path, _ in commands(main)}
    wanted |= {
        option for _, one in commands(main) for parameter in one.params if not getattr(parameter, "hidden", False)
        for option in parameter.opts if option.startswith("-")
    }  # fmt: skip
    assert [word for word in sorted(wanted) if f"`{word}" not in page] == []


NUMBERS = [
    ("README.md", f"one lease ({DEFAULT_LEASE_MS // 1000} s)"),
    ("README-zh.md", f"{DEFAULT_LEASE_MS // 1000} 秒"),
    ("docs/explanation/guarantees.md", f"The lease is {DEFAULT_LEASE_MS // 1000} s by default"),
    ("docs/explanation/guarantees.md", f"`max_crashes` ({TaskOptions().max_crashes})"),
    ("docs/explanation/guarantees.md", f"grace ({DEFAULT_GRACE:g} s)"),
    ("docs/explanation/guarantees.md", f"fails after {REPLY_TIMEOUT:g} s"),
    ("docs/concepts.md", f"{MAX_DEFERRALS} deferrals the task fails"),
    ("docs/explanation/life.md", f"at most {MAX_DEFERRALS} times"),
    ("docs/explanation/life.md", f"Defer({NEWER_DELAY // 1000} s)"),
    ("docs/how-to/delayed.md", f"they look every {MAINTAIN_EVERY:g} s"),
    ("docs/how-to/workers.md", f"`grace` seconds ({DEFAULT_GRACE:g})"),
    ("docs/how-to/workers.md", f"about {BUDGET * 1000:g} ms together"),
    ("docs/how-to/retries.md", f"| `retries` | {TaskOptions().retries} |"),
    ("docs/how-to/retries.md", f"| `backoff` | {TaskOptions().backoff:g} s |"),
    ("docs/how-to/retries.md", f"| `backoff_max` | {TaskOptions().backoff_max:g} s |"),
    ("docs/how-to/retries.md", f"| `jitter` | {TaskOptions().jitter:g} |"),
    ("docs/how-to/retries.md", f"| `max_crashes` | {TaskOptions().max_crashes} |"),
    ("docs/how-to/moving.md", f"`queue_size` ended tasks ({StoreOptions().history:,})"),
    ("docs/design/0003-in-flight-table.md", f"{SLOTS:,} slots"),
    ("docs/design/0005-group-commit.md", f"up to {MAX_BATCH},"),
]


@pytest.mark.parametrize(("page", "text"), NUMBERS)
def test_numbers_are_those_of_the_code(page: str, text: str) -> None:
    """Figures on a page are those of the constants."""
    assert text in (ROOT / page).read_text()


def test_the_tests_that_a_page_names_are_there() -> None:
    """Who wants to see a guarantee hold finds the test."""
    page = (ROOT / "docs/explanation/guarantees.md").read_text()
    named = re.findall(r"`(\w+/\w+\.py)::(\w+)`", page)

    assert len(named) > 20
    assert [one for one in named if f"\ndef {one[1]}(" not in (ROOT / "tests" / one[0]).read_text()] == []


def test_no_text_of_the_package_points_into_the_repository() -> None:
    """An installed wheel has no `docs/`: an error names the rule itself."""
    package = ROOT / "pyxqueue"
    sources = [path for path in package.rglob("*") if path.suffix in {".py", ".lua"}]

    assert len(sources) > 100
    assert [path.name for path in sources if re.search(r"docs/|examples/|\w\.(md|rst)\b", path.read_text())] == []


def test_the_packed_field_is_as_described() -> None:
    """The page's example of a packed field is read as the page says."""
    page = (ROOT / "docs/explanation/wire-format.md").read_text()

    assert "`1:a3:xyz` is the field `a` with the value `xyz`" in page
    assert pairs([b"packed", b"1:a3:xyz"]) == {b"a": b"xyz"}


def test_the_wire_format_has_every_field_and_key() -> None:
    """The page names every field of a message and every key of a queue."""
    page = (ROOT / "docs/explanation/wire-format.md").read_text()
    names = [
        name.removesuffix("_ms") for name in Message.__struct_fields__ if name not in ("delay_ms", "lifetime_ms")
    ]  # they are turned into `due` and `expires`
    group = GroupKeys.of("NAME", "G", "NAME")
    keys = [*group.own, group.task("ID"), meta("NAME"), later_stream("NAME", "G"), channel("NAME", "CLIENT")]
    keys += [timetable("NAME"), schedule("NAME", "ID")]

    assert [name for name in (*names, *keys) if f"`{name}`" not in page] == []
