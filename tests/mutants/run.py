"""Plant each fault in a copy of the project, and see whether its tests notice it.

    python -m tests.mutants.run [--jobs N] [FAULT ...]

A test that fails with the fault must pass without it. Prints a line for each fault, and exits with 1 if the tests
pass in spite of one.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue

from .faults import FAULTS, Fault

ROOT = Path(__file__).parents[2]
_LEFT_OUT = shutil.ignore_patterns(".*", "_build", "__pycache__", "dist", "build")
_FAILED = 1
"""The exit code of pytest when tests ran and some failed. Others say that it could not run them."""


def main() -> int:
    parser = argparse.ArgumentParser(description="Plant faults, and see whether the tests notice them.")
    parser.add_argument("names", nargs="*", metavar="FAULT", help="only these")
    parser.add_argument("--jobs", type=int, default=2, help="how many at once (2)")
    options = parser.parse_args()
    chosen = [fault for fault in FAULTS if not options.names or fault.name in options.names]
    if unknown := set(options.names) - {fault.name for fault in chosen}:
        parser.error(f"no such fault: {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory(prefix="pyxqueue-mutants-") as directory:
        copies = SimpleQueue[Path]()
        for number in range(options.jobs):
            copy = Path(directory, str(number))
            shutil.copytree(ROOT, copy, ignore=_LEFT_OUT)
            copies.put(copy)
        return _report(chosen, copies, options.jobs)


def _report(faults: Sequence[Fault], copies: SimpleQueue[Path], jobs: int) -> int:
    """Try the faults, a line for each. Returns the exit code."""
    missed = []
    with ThreadPoolExecutor(jobs) as threads:
        for fault, (found, words, seconds) in zip(
            faults, threads.map(lambda one: _try(one, copies), faults), strict=True
        ):
            print(f"{'noticed' if found else 'MISSED '} {seconds:5.1f} s  {fault.name}: {words}", flush=True)
            if not found:
                missed.append(fault.name)
    print(
        f"{len(faults) - len(missed)} of {len(faults)} faults were noticed"
        + "".join(f"\n  missed: {name}" for name in missed)
    )
    return 1 if missed else 0


def _try(fault: Fault, copies: SimpleQueue[Path]) -> tuple[bool, str, float]:
    """Return whether a test fails with the fault that passes without it, what it says, and how long that took."""
    copy, begun = copies.get(), time.monotonic()
    file = copy / fault.path
    right = file.read_text()
    try:
        file.write_text(right.replace(fault.before, fault.after))
        code, failed, words = _test(copy, ["-x", *fault.tests])
        file.write_text(right)
        is_noticed = code == _FAILED
        if is_noticed and failed and _test(copy, [failed])[0] != 0:
            is_noticed, words = False, f"{failed} fails without it too"
        return is_noticed, words, time.monotonic() - begun
    finally:
        file.write_text(right)
        copies.put(copy)


def _test(copy: Path, tests: Sequence[str]) -> tuple[int, str, str]:
    """Return the exit code of pytest, the first test that failed, and what to say of it."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-rf", "--tb=no", *tests]
    env = {**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, cwd=copy, env=env, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.strip()] or done.stderr.splitlines() or [""]
    failed = [line.removeprefix("FAILED ").partition(" - ")[0] for line in lines if line.startswith("FAILED ")]
    return done.returncode, failed[0] if failed else "", failed[0] if failed else lines[-1]


if __name__ == "__main__":
    sys.exit(main())
