"""The files in `examples/deploy` say what is true: of commands, variables, times and probes."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from pyxqueue.cli.program import main
from pyxqueue.options import DEFAULT_GRACE

DEPLOY = Path(__file__).parents[1] / "examples" / "deploy"
UNITS = sorted(DEPLOY.glob("*.service"))


def unit(path: Path) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment]  # the names of systemd have capitals
    parser.read_string(path.read_text())
    return parser["Service"]


def options_of(words: list[str]) -> dict[str, Any]:
    """What the command line of `pyxqueue worker` means. Raises for one that it does not accept."""
    program, command, *rest = words
    assert (Path(program).name, command) == ("pyxqueue", "worker")
    with click.Context(main) as context:
        worker = main.get_command(context, command)
        assert worker is not None
        return worker.make_context("worker", rest, parent=context).params


def variables() -> set[str]:
    """The environment variables that the workers read."""
    with click.Context(main) as context:
        worker = main.get_command(context, "worker")
        assert worker is not None
        return {str(option.envvar) for option in worker.params if option.envvar}


def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit(path: Path) -> None:
    """Its command is accepted, and it has longer than the running tasks have."""
    service = unit(path)
    options_of(shlex.split(service["ExecStart"].replace("%i", "shop")))
    assert int(service["TimeoutStopSec"]) > DEFAULT_GRACE
    assert (service["Type"], service["NotifyAccess"], service["KillMode"]) == ("notify", "main", "mixed")
    assert int(service["WatchdogSec"]) >= 10


def test_the_page_has_the_unit() -> None:
    """Its shorter form has the same settings."""
    page = (DEPLOY.parents[1] / "docs/how-to/workers.md").read_text()
    (shown,) = re.findall(r"```ini\n(.*?)```", page, re.DOTALL)
    whole = unit(DEPLOY / "pyxqueue-worker.service")
    lines = [line.split("=", 1) for line in shown.splitlines() if "=" in line and not line.startswith("Environment")]
    assert [(name, value) for name, value in lines if whole.get(name) != value] == []


def test_the_deployment() -> None:
    """Its command and variables are known, and it has longer to stop than the running tasks have."""
    pod = documents()[0]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    given = {one["name"]: one.get("value", "redis://store/0") for one in container["env"]}
    options_of(container["command"])
    assert given.keys() <= variables()
    assert pod["terminationGracePeriodSeconds"] >= float(given["PYXQUEUE_GRACE"]) + 10


@pytest.mark.parametrize(("age", "code"), [(0, 0), (14, 0), (60, 1), (None, 1)])
def test_the_liveness_probe(tmp_path: Path, age: int | None, code: int) -> None:
    """It runs as it stands, on a file that was touched, is old, or is not there."""
    (container,) = documents()[0]["spec"]["template"]["spec"]["containers"]
    variable = next(one["value"] for one in container["env"] if one["name"] == "PYXQUEUE_HEARTBEAT")
    command = container["livenessProbe"]["exec"]["command"]
    beat = tmp_path / "beat"
    if age is not None:
        beat.touch()
        now = beat.stat().st_mtime
        os.utime(beat, (now - age, now - age))
    assert variable in command[-1]
    words = [word.replace(variable, str(beat)) for word in command]
    found = subprocess.run(words, check=False, capture_output=True)
    assert bool(found.returncode) == bool(code)


def test_the_startup_probe() -> None:
    """It is a command of the program, with options that it has."""
    (container,) = documents()[0]["spec"]["template"]["spec"]["containers"]
    program, command, *rest = container["startupProbe"]["exec"]["command"]
    assert program == "pyxqueue"
    with click.Context(main) as context:
        found = main.get_command(context, command)
        assert found is not None
        found.make_context(command, rest, parent=context)


def test_the_scaling() -> None:
    """It scales the deployment, and to none."""
    deployment, scaled = documents()
    assert scaled["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    assert scaled["spec"]["minReplicaCount"] == 0
    assert [trigger["type"] for trigger in scaled["spec"]["triggers"]] == ["prometheus"]


def test_the_procfile() -> None:
    """Heroku kills after 30 s."""
    processes = dict(line.split(": ", 1) for line in (DEPLOY / "Procfile").read_text().splitlines())
    assert options_of(shlex.split(processes["worker"]))["grace"] < 30
