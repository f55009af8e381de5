"""``pyxqueue health``: say whether the workers are alive, or whether the queue can be used; for container probes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from ...printable import counted
from ..output import duration, json_option, print_json, say
from ..target import Target, module_argument, pass_target, target_options


@click.command()
@module_argument
@target_options
@json_option
@click.option("--heartbeat", metavar="FILE", help="Look at this file alone, that of `pyxqueue worker --heartbeat`.")
@click.option(
    "--within",
    type=click.FloatRange(min=0),
    default=15.0,
    show_default=True,
    metavar="SECONDS",
    help="With --heartbeat: how old its last touch may be.",
)
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Fail unless so many workers are alive.")
@click.option("--oldest", type=click.FloatRange(min=0), metavar="SECONDS", help="No task may be ready for longer.")
@pass_target
def health(
    target: Target,
    /,
    *,
    as_json: bool,
    heartbeat: str | None,
    within: float,
    workers: int | None,
    oldest: float | None,
) -> None:
    """Exit with 0 if all is well, with 1 if it is not, with 3 if the store cannot be reached.

    With --heartbeat it is a liveness probe: it says whether the supervisor of the workers is alive. It does not ask the
    store, because an outage of the store is no reason to restart workers. Without --heartbeat it is a readiness probe,
    and asks the store.
    """
    if heartbeat is not None:
        facts, faults = _beat(heartbeat, within)
    else:
        facts, faults = _asked(target, workers, oldest)
    if as_json:
        print_json({"healthy": not faults, **facts, "faults": faults})
    else:
        for fault in faults:
            say(fault, err=True)
        if not faults:
            say("healthy: " + ", ".join(_fact(name, value) for name, value in facts.items()))
    if faults:
        click.get_current_context().exit(1)


def _fact(name: str, value: object) -> str:
    """Return a fact in words; the names of seconds end with `_s`."""
    return f"{name.removesuffix('_s')} {value} s" if name.endswith("_s") else f"{name} {value}"


def _beat(heartbeat: str, within: float) -> tuple[dict[str, Any], list[str]]:
    try:
        age = time.time() - Path(heartbeat).stat().st_mtime
    except OSError as error:
        return {"heartbeat_s": None}, [f"the workers are not alive: {heartbeat} cannot be read ({error.strerror})"]
    facts = {"heartbeat_s": round(age, 1)}
    if age <= within:
        return facts, []
    return facts, [f"the workers are not alive: {heartbeat} was last touched {duration(round(age * 1000))} ago"]


def _asked(target: Target, workers: int | None, oldest: float | None) -> tuple[dict[str, Any], list[str]]:
    queue = target.existing()
    depth, lease_ms = queue.admin.info().depth, queue.stores.backend.lease_ms()
    assert depth is not None  # an error says why it cannot be read
    live = sum(worker.idle_ms <= lease_ms for worker in queue.admin.workers(tasks=0))
    facts = {"ready": depth.ready, "oldest_s": round(depth.oldest_ms / 1000, 1), "workers": live}
    faults = []
    if workers is not None and live < workers:
        faults.append(f"{counted(live, 'worker')} alive, fewer than {workers}")
    if oldest is not None and depth.oldest_ms > oldest * 1000:
        faults.append(f"a task has been ready for {duration(depth.oldest_ms)}")
    return facts, faults
