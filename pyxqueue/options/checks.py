"""Checks that several options have in common."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

from attrs import Attribute

from ..errors import ConfigurationError
from ..printable import quoted

MAX_SECONDS = 1e10
"""The limit for pauses, time limits and times to live (three centuries)."""


def whole_number(least: int) -> Callable[[object, Attribute[Any], object], None]:
    """Return a validator for whole numbers of at least `least`."""

    def check(_instance: object, attribute: Attribute[Any], value: object) -> None:
        if not isinstance(value, int) or value < least:
            raise ValueError(f"{attribute.name}={quoted(value)} must be a whole number, {least} or more")

    return check


def seconds(_instance: object, attribute: Attribute[Any], value: object) -> None:
    """Validate a number of seconds, 0 or more."""
    if not isinstance(value, int | float) or not 0 <= value < MAX_SECONDS:
        raise ValueError(f"{attribute.name}={quoted(value)} must be a number of seconds, 0 or more")


def duration(_instance: object, attribute: Attribute[Any], value: object) -> None:
    """Validate a number of seconds, more than 0."""
    if not isinstance(value, int | float) or not 0 < value < MAX_SECONDS:
        raise ValueError(f"{attribute.name}={quoted(value)} must be a number of seconds, more than 0")


def check_parameters(option: object, by: Iterable[str], task: str, known: Collection[str]) -> None:
    """Raise `ConfigurationError` if ``by=`` of an option names what is not among the parameters `known` of the task."""
    if unknown := [one for one in by if one not in known]:
        raise ConfigurationError(
            f"by= of {type(option).__name__} names {', '.join(map(quoted, unknown))}, which {task} does not have; its "
            f"parameters are {', '.join(known) or 'none'}"
        )
