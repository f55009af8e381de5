"""``pyxqueue limits``: show how many tasks may run at the same time, and change it."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ...client.limits import GateInfo, LimitInfo
from ..output import json_option, print_json, print_table, say
from ..target import Target, module_argument, pass_target, target_options

_LISTED = 50
_MOST = 1_000


@click.command()
@module_argument
@target_options
@click.option("--set", "name", metavar="NAME", help="Set the number of the limit NAME, with --concurrency or --reset.")
@click.option("--key", help="With --set: only for this key.")
@click.option("--concurrency", type=click.IntRange(0), help="How many tasks may run at once. 0: none starts.")
@click.option("--reset", is_flag=True, help="With --set: let the number in the code count again.")
@json_option
@pass_target
def limits(  # noqa: PLR0917 - the options of the command
    target: Target, name: str | None, key: str | None, concurrency: int | None, reset: bool, as_json: bool
) -> None:
    """Show the limits of the group: their numbers, how many places are taken, and how many tasks wait.

    What is set counts more than the number in the code, also after a deploy, until it is reset.
    """
    queue = target.existing()
    if name is not None:
        if (concurrency is None) is not reset:
            raise click.UsageError("--set needs either --concurrency N or --reset")
        queue.limits.set(name, key=key, concurrency=concurrency)
    elif key is not None or concurrency is not None or reset:
        raise click.UsageError("--key, --concurrency and --reset need --set NAME")
    numbers, gates = queue.limits.list(), queue.limits.gates(_MOST)
    if as_json:
        print_json(
            {
                "queue": queue.stream_key,
                "group": queue.consumer_group,
                "limits": [{"name": one.name, "number": one.number, "declared": one.declared} for one in numbers],
                "gates": [
                    {"name": one.name, "used": one.used, "limit": one.limit, "waiting": one.waiting} for one in gates
                ],
            }
        )
        return
    _print(numbers, gates)


def _print(numbers: Sequence[LimitInfo], gates: Sequence[GateInfo]) -> None:
    if not numbers and not gates:
        say("no limits")
        return
    if numbers:
        rows = [[one.name, one.number, _or_none(one.declared)] for one in numbers]
        print_table(["limit", "number", "in the code"], rows, {"limit"})
    if gates:
        say()
        taken = [[one.name, one.used, _or_none(one.limit), one.waiting] for one in gates[:_LISTED]]
        print_table(["gate", "used", "of", "waiting"], taken, {"gate"})
    if len(gates) > _LISTED:
        say(f"... and more gates: --json has the first {_MOST:,}")


def _or_none(number: int | None) -> int | str:
    return "-" if number is None else number
