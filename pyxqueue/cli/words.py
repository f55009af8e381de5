"""The words behind a command: a first one may name a module, the others are what the command is about."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ..printable import quoted
from .loading import is_module, only_a_module
from .target import Target


def take_module(target: Target, words: Sequence[str], *, everything: bool = False) -> Sequence[str]:
    """The ids among the words behind a command: a first one that names a module says which queue, as --app does.

    Where an option says which queue, all are ids. Where a variable does, one word alone is an id, unless only a
    module can look like it, or no id is wanted, since `everything` is meant.
    """
    if not words or {"app", "queue", "group"} & target.said.keys():
        return words
    alone = len(words) == 1 and not everything and target.names_a_queue
    known = only_a_module(words[0]) if alone else is_module(words[0], target.said.get("path", "."))
    return take_first(target, words) if known else words


def take_first(target: Target, words: Sequence[str]) -> Sequence[str]:
    """The words but for the first, which is the module."""
    target.note("app", words[0], by_hand=True)
    return words[1:]


def take_ids(target: Target, words: Sequence[str]) -> Sequence[str]:
    """The words behind a command, which are ids but for a first one that names a module."""
    ids = take_module(target, words)
    if not ids:
        raise click.UsageError(f"say which: IDs{taken(words, ids)}")
    return ids


def take_one(target: Target, words: Sequence[str], what: str) -> str:
    """The one word behind a command; where there are two, the first is the module."""
    left = take_first(target, words) if len(words) > 1 else take_module(target, words)
    if len(left) != 1:
        raise click.UsageError(f"say which {what}: [MODULE[:QUEUE]] {what.upper()}{taken(words, left)}")
    return left[0]


def taken(words: Sequence[str], left: Sequence[str]) -> str:
    """For whoever meant an id by what is also the name of a module."""
    return (
        "" if left or not words else f"; {quoted(words[0])} is taken for the module, unless --queue or --app says which"
    )
