"""Reads the imports of the package and reports what breaks the rules of its architecture."""

from __future__ import annotations

import ast
import gc
from collections.abc import Iterator
from pathlib import Path

LAYERS: tuple[tuple[str, ...], ...] = (
    ("errors", "names", "clock", "waking", "hosts", "ids", "printable", "urls", "log"),
    ("model", "batching", "takeovers"),
    ("protocols", "locked"),
    ("split", "contact", "stacks"),
    (
        "calls",
        "options",
        "policy",
        "context",
        "inputs",
        "inflight",
        "offload",
        "resources",
        "stores",
        "steps",
        "serializers",
        "backends",
    ),
    ("codec", "registry", "ticking"),
    ("worker", "plugin"),
    ("supervisor", "core"),
    ("eager",),
    ("client",),
    ("plugins",),
    ("dashboard",),
    ("testing", "cli", "__main__", "__init__"),
)
"""The top-level modules and packages, lowest first. A module may import from its own layer and from those below."""

LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
MAX_LINES = 50
"""Of a function, with its signature, docstring and all that is nested in it."""
MAX_METHODS = 12
"""Public ones of a class, besides the operations that a protocol in `protocols` asks of it. The kit's classes are made
of tests, and their number says nothing."""


def violations(package: Path) -> list[str]:
    """Every broken rule in the package, in words."""
    sources = {name_of(path, package): path for path in sorted(package.rglob("*.py"))}
    gc.disable()  # CPython before 3.11.8 fails if what the garbage collector runs uses `ast` while `ast.parse` runs
    try:
        trees = {name: ast.parse(path.read_bytes(), path) for name, path in sources.items()}
    finally:
        gc.enable()
    found = [f"{name}: its layer is not known, add it to LAYERS" for name in sources if top(name) not in LEVEL]
    seam = {method for name, tree in trees.items() if top(name) == "protocols" for method in methods_of(tree)}
    for name, tree in trees.items():
        found += sizes(name, tree, seam)
    graph: dict[str, set[str]] = {}
    for name, tree in trees.items():
        imported = set(imports(tree, name, package.name, frozenset(sources)))
        found += [f"{name} -> {target}: {fault}" for target in sorted(imported) if (fault := judge(name, target))]
        graph[name] = {loaded for target in imported for loaded in loads(name, target) if loaded in sources}
    return found + [f"cycle: {' -> '.join(cycle)}" for cycle in cycles(graph)]


Function = ast.FunctionDef | ast.AsyncFunctionDef


def methods_of(tree: ast.AST) -> set[str]:
    """The names of all functions in the tree, at any depth."""
    return {node.name for node in ast.walk(tree) if isinstance(node, Function)}


def sizes(name: str, tree: ast.AST, seam: set[str]) -> Iterator[str]:
    """The functions and classes of a module that are too large."""
    for node in ast.walk(tree):
        if isinstance(node, Function):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > MAX_LINES:
                yield f"{name}.{node.name}: {lines} lines, at most {MAX_LINES} are allowed"
        elif isinstance(node, ast.ClassDef) and top(name) != "testing":
            methods = {each.name for each in node.body if isinstance(each, Function) and each.name[0] != "_"} - seam
            if len(methods) > MAX_METHODS:
                yield f"{name}.{node.name}: {len(methods)} public methods, at most {MAX_METHODS} are allowed"


def name_of(path: Path, package: Path) -> str:
    """The module's name below the package; a package's own code is its ``__init__``."""
    return ".".join(path.relative_to(package).with_suffix("").parts)


def top(name: str) -> str:
    return name.partition(".")[0]


def imports(tree: ast.AST, name: str, package: str, known: frozenset[str]) -> Iterator[str]:
    """The package's modules that `name` imports, also inside functions and under ``if TYPE_CHECKING``."""
    here = [package, *name.split(".")]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            wanted = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level] if node.level else []
            base = base + (node.module.split(".") if node.module else [])
            wanted = [[*base, alias.name] for alias in node.names]
        else:
            continue
        for parts in wanted:
            if parts[0] == package:
                yield module_of(parts[1:], known)


def module_of(parts: list[str], known: frozenset[str]) -> str:
    """The module that holds the name: ``from .message import Record`` is about `message`."""
    for end in range(len(parts), 0, -1):
        for candidate in (".".join(parts[:end]), ".".join([*parts[:end], "__init__"])):
            if candidate in known:
                return candidate
    # What is not there (yet) is judged by its name; a name of the package itself is in the package's __init__.
    return parts[0] if parts and parts[0] in LEVEL else "__init__"


def judge(name: str, target: str) -> str:
    """What is wrong with the import, empty if nothing."""
    level, target_level = LEVEL.get(top(name), len(LAYERS)), LEVEL.get(top(target), -1)
    if target_level > level:
        return "goes up"
    if top(name) == top(target) == "backends" and name.split(".")[1] != target.split(".")[1]:
        return "a backend imports another"
    if top(target) == "backends" and top(name) != "backends" and level < LEVEL["eager"]:
        return "the core names a backend"
    return ""


def loads(name: str, target: str) -> Iterator[str]:
    """The modules whose code must have run for the import: the target, and the packages around it but not around us."""
    yield target
    parts, ours = target.split(".")[:-1], name.split(".")[:-1]
    for end in range(1, len(parts) + 1):
        if parts[:end] != ours[:end]:
            yield ".".join([*parts[:end], "__init__"])


def cycles(graph: dict[str, set[str]]) -> list[list[str]]:
    """One cycle for each import that closes one."""
    found: list[list[str]] = []
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> None:
        if name in path:
            found.append([*path[path.index(name) :], name])
        elif name not in done:
            for target in sorted(graph[name]):
                visit(target, [*path, name])
            done.add(name)

    for name in sorted(graph):
        visit(name, [])
    return found
