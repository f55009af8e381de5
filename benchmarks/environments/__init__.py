"""An environment for each contestant that needs one, made when it is first used: pins are in the files beside this.

`NAME.txt` lists the packages of `benchmarks/.venv-NAME`; a folder `NAME` with a `package-lock.json` is for Node.js. The
contestant `NAME_sqlite` has the environment of `NAME`.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


class Missing(Exception):  # noqa: N818 - it says what happened
    """A program that this machine does not have."""


def interpreter(name: str) -> str:
    """Return the Python that runs this contestant, and make its environment first if there is none.

    Raises `Missing` if the contestant needs Node.js and the machine has none.
    """
    name = name.removesuffix("_sqlite")
    if (HERE / name / "package-lock.json").exists():
        _install_node_packages(HERE / name)
    requirements = HERE / f"{name}.txt"
    return str(_install_python_packages(name, requirements)) if requirements.exists() else sys.executable


def pins(name: str) -> list[str]:
    """The versions of the packages that this contestant is named after; [] without an environment."""
    if (HERE / name / "package.json").exists():
        found = re.findall(r'"([\w-]+)": "([\d.]+)"', (HERE / name / "package.json").read_text())
        return [f"{package} {version}" for package, version in found]
    requirements = HERE / f"{name}.txt"
    lines = requirements.read_text().splitlines() if requirements.exists() else []
    starts = (f"{name}==", f"{name}-redis==")
    return [line.replace("==", " ") for line in lines if line.startswith(starts)]


def _install_python_packages(name: str, requirements: Path) -> Path:
    folder = HERE.parent / f".venv-{name}"
    python, stamp = folder / "bin" / "python", folder / ".stamp"
    wanted = requirements.read_text() + (HERE / "common.txt").read_text()
    if not stamp.exists() or stamp.read_text() != wanted:
        print(f"making the environment of {name}", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        _run(sys.executable, "-m", "venv", str(folder))
        _run(str(python), "-m", "pip", "install", "--quiet", "--requirement", str(requirements))
        stamp.write_text(wanted)
    return python


def _install_node_packages(folder: Path) -> None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if not node or not npm:
        raise Missing("node and npm are needed")
    modules, lock = folder / "node_modules", folder / "package-lock.json"
    stamp = modules / ".stamp"
    if not stamp.exists() or stamp.read_text() != lock.read_text():
        print(f"installing the packages of {folder.name}", file=sys.stderr)
        _run(npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder))
        stamp.write_text(lock.read_text())


def _run(*command: str) -> None:
    subprocess.run(command, check=True, stdout=sys.stderr)  # noqa: S603 - ours
