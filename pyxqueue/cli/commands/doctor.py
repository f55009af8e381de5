"""``pyxqueue doctor``: say what is wrong with a queue and its store, and what to do about it."""

from __future__ import annotations

from collections.abc import Sequence

import click
from msgspec.structs import asdict

from ...model.findings import Finding
from ..output import json_option, print_json, say, say_wrapped
from ..target import Target, module_argument, pass_target, place_of, target_options

_MARKS = {"ok": "ok  ", "warning": "warn", "error": "bad "}


@click.command()
@module_argument
@target_options
@json_option
@click.option("--strict", is_flag=True, help="Exit with 1 for a warning too.")
@pass_target
def doctor(target: Target, as_json: bool, strict: bool) -> None:
    """Look for what is wrong with the queue and its store, and say what to do about it.

    It looks at the server's version, memory, persistence, eviction, replicas, clock, latency and the rights of this
    user, or at the file's journal, library, disk and pages; then at workers, pauses, failed tasks and seals. It changes
    nothing. It exits with 1 if something is bad.
    """
    queue = target.existing()
    findings = queue.admin.diagnose()
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        say(f"queue {queue.stream_key}, group {queue.consumer_group}, at {place_of(queue)}")
        _print(findings)
    levels = {finding.level for finding in findings}
    if "error" in levels or (strict and "warning" in levels):
        click.get_current_context().exit(1)


def _print(findings: Sequence[Finding]) -> None:
    width = max(len(finding.topic) for finding in findings)
    for finding in findings:
        indent = " " * (width + 8)
        say_wrapped(f"{_MARKS[finding.level]}  {finding.topic.ljust(width)}  {finding.text}", indent)
        if finding.remedy:
            say_wrapped(f"{indent}-> {finding.remedy}", f"{indent}   ")
