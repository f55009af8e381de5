"""How big the code is, and how many frames one call, claim, settlement and look take in it.

    python benchmarks/shape.py [--url redis://...] [--url sqlite:////tmp/x.db] [--url memory://]

Frames are counted with `sys.setprofile`, on the second of two equal calls, only those of functions inside the
package; depth
is how many of them stand on each other. Sizes are of the package without its tests and without the kit. No number
depends on how fast the machine is.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pyxqueue
from pyxqueue import TaskQueue
from pyxqueue.model.message import Done, Message, Record, Settlement, TaskStatus
from pyxqueue.protocols import Broker, Inspector, ResultStore

PACKAGE = str(Path(pyxqueue.__file__).parent)
COMPREHENSIONS = ("<listcomp>", "<genexpr>", "<dictcomp>", "<setcomp>")
FENCE = "fence" if "fence" in inspect.signature(Record).parameters else "rank"


def counted(action: Callable[[], Any]) -> tuple[int, int, int]:
    """Frames of the package, how deep they stand, and in how many modules."""
    frames = depth = deepest = 0
    modules = set()

    def profile(frame: FrameType, event: str, _: object) -> None:
        nonlocal frames, depth, deepest
        code = frame.f_code
        if not code.co_filename.startswith(PACKAGE) or code.co_name in COMPREHENSIONS:
            return
        if event == "call":
            frames += 1
            depth += 1
            deepest = max(deepest, depth)
            modules.add(code.co_filename)
        elif event == "return":
            depth -= 1

    sys.setprofile(profile)
    try:
        action()
    finally:
        sys.setprofile(None)
    return frames, deepest, len(modules)


def walks(url: str) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """A call with its result, and each step of it in the store, the second time."""
    name = f"shape-{uuid.uuid4().hex[:8]}"
    queue = TaskQueue(url, stream_key=name)

    @queue.task(name="shape.add")
    def add(a: int, b: int) -> int:
        return a + b

    stores = queue.stores
    backend = getattr(stores, "backend", None) or stores.broker
    for turn in (1, 2):
        found = {"call": counted(lambda: add(1, 2))}
        found["enqueue"] = counted(lambda: backend.enqueue([Message(f"a{turn}", "shape.add")]))  # noqa: B023 - runs now
        claimed: list[Any] = []
        found["claim"] = counted(lambda: claimed.extend(backend.claim("shape", 2, 0)))  # noqa: B023 - runs now
        ends = [
            Settlement(
                one.receipt, Done(), Record(one.message.id, TaskStatus.SUCCESS, b"3", **{FENCE: getattr(one, FENCE)})
            )
            for one in claimed
        ]
        found["settle"] = counted(lambda: backend.settle(ends[:1]))  # noqa: B023 - runs now
        backend.settle(ends[1:])
        handle = queue.result(claimed[0].message.id)
        found["get"] = counted(lambda: handle.get(timeout=5))  # noqa: B023 - runs now
    yield from found.items()
    queue.close()


def size() -> Iterator[tuple[str, object]]:
    """What there is of the package."""
    files = [path for path in sorted(Path(PACKAGE).rglob("*.py")) if "testing" not in path.parts]
    lua = sum(len(path.read_text().splitlines()) for path in Path(PACKAGE).rglob("*.lua"))
    functions, classes = [], []
    for path in files:
        module = path.relative_to(PACKAGE)
        for node in ast.walk(ast.parse(path.read_text())):
            where = f"{module}:{getattr(node, 'name', '')}"
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                functions.append(((node.end_lineno or 0) - node.lineno + 1, where))
            elif isinstance(node, ast.ClassDef):
                public = [one for one in node.body if getattr(one, "name", "_")[0] != "_"]
                classes.append((len(public), where))
    yield "lines of Python", sum(len(path.read_text().splitlines()) for path in files)
    yield "lines of Lua", lua
    yield "modules", len(files)
    yield "classes", len(classes)
    yield "functions", len(functions)
    yield "longest function", "{} lines, {}".format(*max(functions))
    yield "largest class", "{} public members, {}".format(*max(classes))
    seam = {name for protocol in (Broker, ResultStore, Inspector) for name in vars(protocol) if name[0] != "_"}
    yield "operations of the seam", len(seam)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", action="append", help="a store to walk through; default: memory:// alone")
    for name, value in size():
        print(f"{name:24} {value}")
    for url in parser.parse_args().url or ["memory://"]:
        print(f"\n{url.partition(':')[0]:10} frames depth modules")
        for step, numbers in walks(url):
            print("{:10} {:6} {:5} {:7}".format(step, *numbers))


if __name__ == "__main__":
    main()
