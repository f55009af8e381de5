"""The arguments of a command: the first may name a module, the others are ids or names."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ..printable import quoted
from .loading import is_module, only_a_module
from .target import Target


def take_module(target: Target, words: Sequence[str], *, everything: bool = False) -> Sequence[str]:
    """Return the ids among the arguments. If the first one names a module, it is used like --app and left out.

    If an option on the command line names the queue, all arguments are ids. If an environment variable does, a single
    argument is an id, unless it can only be a module, or no ids are expected because of `everything`.
    """
    if not words or {"app", "queue", "group"} & target.given.keys():
        return words
    may_be_id = len(words) == 1 and not everything and target.names_a_queue
    names_module = only_a_module(words[0]) if may_be_id else is_module(words[0], target.given.get("path", "."))
    return take_first(target, words) if names_module else words


def take_first(target: Target, words: Sequence[str]) -> Sequence[str]:
    """Use the first argument as the module, and return the others."""
    target.set_option("app", words[0], on_command_line=True)
    return words[1:]


def take_ids(target: Target, words: Sequence[str], what: str = "tasks", or_else: str = "") -> Sequence[str]:
    """Return the ids among the arguments. Raises `click.UsageError` if there are none. `or_else`: what can be given
    instead."""
    ids = take_module(target, words)
    if not ids:
        instead = f", {or_else}" if or_else else ""
        raise click.UsageError(f"give the IDs of the {what}{instead}{module_hint(words, ids)}")
    return ids


def take_one(target: Target, words: Sequence[str], what: str) -> str:
    """Return the only argument; if there are two, the first is the module. Raises `click.UsageError` otherwise."""
    left = take_first(target, words) if len(words) > 1 else take_module(target, words)
    if len(left) != 1:
        raise click.UsageError(f"give one {what}: [MODULE[:QUEUE]] {what.upper()}{module_hint(words, left)}")
    return left[0]


def module_hint(words: Sequence[str], left: Sequence[str]) -> str:
    """Return a hint for a user who meant an id that is also the name of a module."""
    if left or not words:
        return ""
    return f"; {quoted(words[0])} was used as MODULE: if it is an id, name the queue with --queue or --app"
