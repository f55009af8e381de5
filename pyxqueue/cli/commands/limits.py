"""``pyxqueue limits``: show how many tasks may run at the same time or start in a period, and change it."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ...client.limits import GateInfo, LimitInfo, Limits, RateInfo
from ...model.limits import limit_of, shown_gate
from ...model.rates import Pace
from ...printable import quoted
from ..output import json_option, print_json, print_table, say
from ..target import Target, module_argument, pass_target, target_options

_LISTED = 50
_MOST = 1_000


@click.command()
@module_argument
@target_options
@click.option("--set", "name", metavar="NAME", help="Set the limit NAME, with --concurrency or --rate.")
@click.option("--key", help="With --set: only for this key.")
@click.option("--concurrency", type=click.IntRange(0), help="How many tasks may run at once. 0: none starts.")
@click.option("--rate", type=click.IntRange(0), help="How many tasks may start in each period. 0: none starts.")
@click.option("--per", type=float, metavar="SECONDS", help="With --rate: the length of the period.")
@click.option("--burst", type=click.IntRange(1), default=1, show_default=True, help="With --rate: how many at once.")
@click.option("--reset", is_flag=True, help="With --set: let what the code says count again, number and rate.")
@json_option
@pass_target
def limits(  # noqa: PLR0917 - the options of the command
    target: Target,
    name: str | None,
    key: str | None,
    concurrency: int | None,
    rate: int | None,
    per: float | None,
    burst: int,
    reset: bool,
    as_json: bool,
) -> None:
    """Show the limits of the group: numbers and rates, how many tokens are taken, and how many tasks wait.

    What is set counts more than the number in the code, also after a deploy, until it is reset.
    """
    queue = target.existing()
    given = (concurrency is not None) + (rate is not None) + reset
    if (name is not None and given != 1) or (rate is None) is not (per is None):
        raise click.UsageError("--set needs either --concurrency N, or --rate N --per SECONDS, or --reset")
    if name is None and (given or key is not None):
        raise click.UsageError("--key, --concurrency, --rate and --reset need --set NAME")
    if name is not None and rate is not None and per is not None:
        queue.limits.set(name, key=key, rate=rate, per=per, burst=burst)
    elif name is not None and concurrency is not None:
        queue.limits.set(name, key=key, concurrency=concurrency)
    elif name is not None:
        _reset(queue.limits, name, key)
    numbers, rates, gates = queue.limits.list(), queue.limits.rates(), queue.limits.gates(_MOST)
    if name is not None:
        _warn_if_unknown(name, [*numbers, *rates], gates)
    if as_json:
        print_json(
            {
                "queue": queue.stream_key,
                "group": queue.consumer_group,
                "limits": [{"name": one.name, "number": one.number, "declared": one.declared} for one in numbers],
                "rates": [_rate(one) for one in rates],
                "paused": list(queue.limits.paused()),
                "gates": [
                    {"name": one.name, "used": one.used, "limit": one.limit, "waiting": one.waiting} for one in gates
                ],
            }
        )
        return
    _print(numbers, rates, gates)
    for one in queue.limits.paused():
        say(f"the limit {shown_gate(one)} is paused: nothing gets past it until `pyxqueue resume --limit`")


def _warn_if_unknown(name: str, limits: Sequence[LimitInfo | RateInfo], gates: Sequence[GateInfo]) -> None:
    """Tell a user who may have misspelt the name of a limit."""
    known = sorted({one.name for one in limits if one.declared is not None} | {limit_of(gate.name) for gate in gates})
    if name not in known:
        others = f"; known are {', '.join(known[:_LISTED])}" if known else ""
        say(f"no task has a limit {quoted(name)} yet{others}. --reset removes the number again", err=True)


def _reset(limits: Limits, name: str, key: str | None) -> None:
    limits.set(name, key=key, concurrency=None)
    if limits.rates():
        limits.set(name, key=key, rate=None)


def _rate(one: RateInfo) -> dict[str, object]:
    return {"name": one.name, "pace": _pace(one.pace), "declared": _pace(one.declared)}


def _pace(pace: Pace | None) -> dict[str, object] | None:
    return None if pace is None else {"count": pace.count, "per": pace.period_us / 1_000_000, "burst": pace.burst}


def _print(numbers: Sequence[LimitInfo], rates: Sequence[RateInfo], gates: Sequence[GateInfo]) -> None:
    if not numbers and not rates and not gates:
        say("no limits")
        return
    if numbers:
        rows = [[one.name, one.number, _or_none(one.declared)] for one in numbers]
        print_table(["limit", "number", "in the code"], rows)
    if rates:
        say()
        paces = [[one.name, str(one.pace), "-" if one.declared is None else str(one.declared)] for one in rates]
        print_table(["rate", "pace", "in the code"], paces, {"pace", "in the code"})
    if gates:
        say()
        taken = [[shown_gate(one.name), one.used, _or_none(one.limit), one.waiting] for one in gates[:_LISTED]]
        print_table(["gate", "used", "of", "waiting"], taken)
    if len(gates) > _LISTED:
        say(f"... and more gates: --json has the first {_MOST:,}")


def _or_none(number: int | None) -> int | str:
    return "-" if number is None else number
