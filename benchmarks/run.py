"""Compare task queues with each other: same machine, same store, same number of processes, taking turns.

python benchmarks/run.py --save latest      # writes latest.json, latest.md and latest.svg too
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from attrs import frozen
from contestants.base import ANSWER, JOURNAL_VARIABLE
from environments import Missing, interpreter, pins
from redis import Redis
from report import NAMES, STORES, page, write

from pyxqueue.backends.sqlite.driver import best
from pyxqueue.backends.sqlite.versions import wal_is_safe
from pyxqueue.testing.servers import Server

HERE = Path(__file__).parent
PHASES = {
    "redis": ("enqueue", "inline", "latency", "threads", "async", "flows"),
    "sqlite": ("enqueue", "inline", "latency"),
}
PACKAGES = ("pyxqueue", "redis", "hiredis", "apsw")
WARM_SECONDS = 1.5


@frozen
class Scale:
    """How much is measured."""

    rounds: int
    seconds: float
    """How long one measurement should take."""
    warm: float = WARM_SECONDS
    """How long the first warm-up of a process takes."""
    first: int = 50
    """How many calls the first warm-up has."""


class Failed(Exception):  # noqa: N818 - it says what happened
    """A phase of a contestant has no numbers."""


@frozen
class Results:
    """The results of all rounds."""

    about: Mapping[str, Mapping[str, str]]
    numbers: Mapping[str, Mapping[str, list[float]]]
    """By contestant and measure, one per round."""
    failed: Sequence[str]
    """What has no numbers, and why."""


def measure(name: str, phase: str, url: str, scale: Scale) -> dict[str, Any]:
    """Run one phase of one contestant in a process of its own."""
    sizes = ["--seconds", str(scale.seconds), "--warm", str(scale.warm), "--first", str(scale.first)]
    command = [interpreter(name), str(HERE / "measure.py"), name, "--phase", phase, "--url", url, *sizes]
    # A file, not a pipe: a worker that is slow to end would keep a pipe open.
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT, check=False)  # noqa: S603 - ours
        output.seek(0)
        said = output.read()
    answers = [line for line in said.splitlines() if line.startswith(ANSWER)]
    if done.returncode != 0 or not answers:
        raise Failed(f"{name}, {phase}: failed with {done.returncode}\n{said}")
    answer: dict[str, Any] = json.loads(answers[-1].removeprefix(ANSWER))
    return answer


@contextmanager
def file(durability: str) -> Iterator[str]:
    """A file that is not there yet, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        yield f"sqlite:///{folder}/bench.db?durability={durability}"


def run(
    names: Sequence[str], phases: Sequence[str], scale: Scale, place: Callable[[], AbstractContextManager[str]]
) -> Results:
    """All rounds: in each, the contestants take turns in every phase, each at a `place` of its own.

    Every second round has the reverse order, so that a machine that becomes slower or faster does so for all.
    """
    about: dict[str, dict[str, str]] = {}
    numbers: dict[str, dict[str, list[float]]] = {}
    failed = []
    for number in range(scale.rounds):
        for phase in phases:
            for name in names if number % 2 == 0 else reversed(names):
                start = time.monotonic()
                try:
                    with place() as url:
                        answer = measure(name, phase, url, scale)
                except Failed as error:
                    print(error, file=sys.stderr)
                    failed.append(str(error))
                    continue
                about[name] = answer["about"]
                for key, value in answer["numbers"].items():
                    numbers.setdefault(name, {}).setdefault(key, []).append(value)
                took = f"{time.monotonic() - start:.0f} s"
                print(f"round {number + 1} of {scale.rounds}: {phase}, {name}, {took}", file=sys.stderr)
    return Results(about, numbers, failed)


def on_redis(names: Sequence[str], scale: Scale) -> tuple[str, Results]:
    """Measure on one private server, which each measurement empties first."""
    with Server() as started:
        with Redis.from_url(started.url) as client:
            info = client.info("server")
        kind = "Valkey" if started.kind == "valkey" else "Redis"
        title = f"{kind} {info.get('valkey_version') or info['redis_version']}, no persistence"
        return title, run(names, PHASES["redis"], scale, lambda: nullcontext(started.url))


def on_sqlite(names: Sequence[str], scale: Scale, durability: str) -> tuple[str, Results]:
    """Measure on files, each of them new."""
    journal = "wal" if wal_is_safe(best().version) else "truncate"
    os.environ[JOURNAL_VARIABLE] = journal
    title = f"{best().shown} for pyxqueue, {sqlite3.sqlite_version} for the others, {journal}, durability={durability}"
    return title, run(names, PHASES["sqlite"], scale, partial(file, durability))


def present(names: Sequence[str]) -> list[str]:
    """Make the environments of the contestants, and leave out those that this machine cannot run."""
    found = []
    for name in names:
        try:
            interpreter(name)
        except Missing as error:
            print(f"{name} does not take part: {error}", file=sys.stderr)
        else:
            found.append(name)
    return found


def machine(names: Sequence[str]) -> str:
    """Where this was measured, and the versions of what was measured."""
    found = []
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found.append(f"{package} {version(package)}")
    model = f"{processor() or platform.machine()}, {os.cpu_count()} CPUs"
    found += dict.fromkeys(pin for name in names for pin in pins(name))
    return f"{model}, {platform.system()}, Python {platform.python_version()}; {', '.join(found)}"


def processor() -> str:
    """The name of the CPU, where the system tells it."""
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.5, help="how long one measurement should take")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", help=f"contestants, separated by commas; all: {','.join(NAMES)}")
    parser.add_argument("--durability", choices=("normal", "full"), default="normal", help="of the SQLite files")
    parser.add_argument("--save", type=Path, metavar="STEM", help="write STEM.json, and STEM.md and STEM.svg out of it")
    parser.add_argument("--quick", action="store_true", help="one round of shorter measurements")
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, one round: do the programs work at all?")
    options = parser.parse_args(words)
    options.names = options.only.split(",") if options.only else list(NAMES)
    if unknown := set(options.names) - set(NAMES):
        parser.error(f"no such contestant: {', '.join(sorted(unknown))}")
    options.scale = Scale(options.rounds, options.seconds)
    if options.quick:
        options.scale = Scale(1, options.seconds / 2, WARM_SECONDS / 2)
    if options.smoke:
        options.scale = Scale(1, 0.0, 0.0, 20)
    return options


def main() -> int:
    options = arguments()
    names = present(options.names)
    began = os.getloadavg()[0]
    everything: dict[str, tuple[str, Results]] = {}
    if redis := [name for name in names if name in STORES["redis"]]:
        everything["redis"] = on_redis(redis, options.scale)
    if sqlite := [name for name in names if name in STORES["sqlite"]]:
        everything["sqlite"] = on_sqlite(sqlite, options.scale, options.durability)
    content = {
        "command": f'make bench ARGS="{shlex.join(sys.argv[1:])}"',
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(names),
        "load": [began, os.getloadavg()[0]],
        "rounds": options.scale.rounds,
        "seconds": options.scale.seconds,
        "stores": {store: title for store, (title, _) in everything.items()},
        "about": {name: about for _, results in everything.values() for name, about in results.about.items()},
        "numbers": {name: found for _, results in everything.values() for name, found in results.numbers.items()},
    }
    failed = [text for _, results in everything.values() for text in results.failed]
    if options.save:
        stored = options.save.with_suffix(".json")
        stored.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n")
        print(write(stored))
    else:
        print(page(content))
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
